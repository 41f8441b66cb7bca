#pragma once
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace grafo::detail {

struct TaskAccess;

// Nothing yet, a value or an exception.
template <class T>
class Result {
    using Stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>;

public:
    Result() noexcept {}
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
    ~Result() { reset(); }

    template <class U>
    void set_value(U&& value) {
        if constexpr (!std::is_trivially_destructible_v<Stored>) reset();  // never an error here
        if constexpr (std::is_reference_v<T>) {
            T reference = static_cast<U&&>(value);
            ::new (static_cast<void*>(&value_)) Stored(std::addressof(reference));
        } else {
            ::new (static_cast<void*>(&value_)) Stored(static_cast<U&&>(value));
        }
        state_ = State::value;
    }
    void set_error(std::exception_ptr error) noexcept {
        reset();
        ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(error));
        state_ = State::error;
    }

    [[nodiscard]] bool has_value() const noexcept { return state_ == State::value; }
    [[nodiscard]] std::exception_ptr error() const noexcept {
        return state_ == State::error ? error_ : nullptr;
    }

    // Moves the value out, or throws the error.
    T take() {
        if (state_ == State::error) std::rethrow_exception(error_);
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*value_);
        } else {
            return std::move(value_);
        }
    }
    [[nodiscard]] Stored& value() noexcept { return value_; }

    void reset() noexcept {
        if (state_ == State::value) std::destroy_at(&value_);
        if (state_ == State::error) std::destroy_at(&error_);
        state_ = State::empty;
    }

private:
    enum class State : unsigned char { empty, value, error };
    union {
        Stored value_;
        std::exception_ptr error_;
    };
    State state_ = State::empty;
};

template <>
class Result<void> {
public:
    Result() noexcept {}
    void set_value() noexcept { done_ = true; }
    void set_error(std::exception_ptr error) noexcept {
        error_ = std::move(error);
        done_ = false;
    }
    [[nodiscard]] bool has_value() const noexcept { return done_; }
    [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
    void take() {
        if (error_ != nullptr) std::rethrow_exception(error_);
    }

private:
    std::exception_ptr error_;
    bool done_ = false;
};

}  // namespace grafo::detail
