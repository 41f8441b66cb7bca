#pragma once
#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

#include <grafo/detail/misuse.hpp>

namespace grafo {

/// How one task of `when_all_settled` ended: with a value, which it holds, or with an exception.
/// `T` may be a reference, which is kept, or `void`. Copied and moved as `T` is.
template <class T>
class Outcome {
    using Stored = std::conditional_t<
        std::is_void_v<T>, std::monostate,
        std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

public:
    /// What the task gives.
    using value_type = T;

    // Made by the library.
    template <class... U>
    explicit Outcome(std::in_place_t, U&&... value)
        : content_(std::in_place_index<0>, std::forward<U>(value)...) {}
    explicit Outcome(std::exception_ptr error)
        : content_(std::in_place_index<1>, std::move(error)) {}

    /// True if the task gave a value.
    [[nodiscard]] bool has_value() const noexcept { return content_.index() == 0; }
    /// The same.
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    /// What the task threw; null if it gave a value.
    [[nodiscard]] std::exception_ptr error() const noexcept {
        const std::exception_ptr* error = std::get_if<1>(&content_);
        return error != nullptr ? *error : nullptr;
    }

    /// The value; rethrows what the task threw.
    std::add_lvalue_reference_t<T> value() & {
        check();
        return **this;
    }
    std::add_lvalue_reference_t<const T> value() const& {
        check();
        return **this;
    }
    std::add_rvalue_reference_t<T> value() && {
        check();
        return *std::move(*this);
    }

    /// The value, without a check.
    std::add_lvalue_reference_t<T> operator*() & noexcept {
        expect_value();
        if constexpr (std::is_reference_v<T>) {
            return **std::get_if<0>(&content_);
        } else if constexpr (!std::is_void_v<T>) {
            return *std::get_if<0>(&content_);
        }
    }
    std::add_lvalue_reference_t<const T> operator*() const& noexcept {
        expect_value();
        if constexpr (std::is_reference_v<T>) {
            return **std::get_if<0>(&content_);
        } else if constexpr (!std::is_void_v<T>) {
            return *std::get_if<0>(&content_);
        }
    }
    std::add_rvalue_reference_t<T> operator*() && noexcept {
        expect_value();
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T&&>(**std::get_if<0>(&content_));
        } else if constexpr (!std::is_void_v<T>) {
            return std::move(*std::get_if<0>(&content_));
        }
    }
    /// A member of the value, without a check.
    std::remove_reference_t<T>* operator->() noexcept
        requires(!std::is_void_v<T>)
    {
        return std::addressof(**this);
    }
    std::add_const_t<std::remove_reference_t<T>>* operator->() const noexcept
        requires(!std::is_void_v<T>)
    {
        return std::addressof(**this);
    }

private:
    void check() const {
        if (const std::exception_ptr* error = std::get_if<1>(&content_); error != nullptr) {
            std::rethrow_exception(*error);
        }
    }

    void expect_value() const noexcept {
        detail::refuse_misuse(!has_value(), "the value of an Outcome that is an error was used");
    }

    std::variant<Stored, std::exception_ptr> content_;
};

/// What `when_any` gives: which task ended first, and its value.
template <class V>
struct WhenAny {
    // Made by the library.
    template <class U>
    explicit WhenAny(std::size_t i, U&& v) : index(i), value(std::forward<U>(v)) {}

    std::size_t index;  ///< the place of the task among those given
    V value;            ///< of a pack: a `std::variant`, whose `index()` is the same
};

}  // namespace grafo
