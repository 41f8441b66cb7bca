#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <grafo/detail/bury.hpp>

namespace grafo::detail {

// The count of those who share an object, in the object itself. std::make_shared would cost each
// program that includes the library some 60 functions a type.
template <class Count>
class Counted {
public:
    Counted() noexcept = default;
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

    void hold() const noexcept { ++count_; }
    // True if that was the last.
    [[nodiscard]] bool let_go() const noexcept { return --count_ == 0; }

protected:
    ~Counted() = default;

private:
    mutable Count count_{0};
};
using SharedInThread = Counted<std::uint32_t>;
using SharedByThreads = Counted<std::atomic<std::uint32_t>>;

// A pointer to such an object, which goes with the last of them; with dispose(), if it has that.
template <class T>
class Shared {
public:
    Shared() noexcept = default;
    Shared(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor): as a pointer does
    explicit Shared(T* object) noexcept : object_(object) {
        if (object_ != nullptr) object_->hold();
    }
    Shared(const Shared& other) noexcept : Shared(other.object_) {}
    Shared(Shared&& other) noexcept : object_(other.object_) { other.object_ = nullptr; }
    Shared& operator=(Shared other) noexcept {
        T* const old = object_;
        object_ = other.object_;
        other.object_ = old;
        return *this;
    }
    ~Shared() {
        if (object_ == nullptr || !object_->let_go()) return;
        if constexpr (requires { object_->dispose(); }) {
            bury(*object_);
        } else {
            delete object_;
        }
    }

    [[nodiscard]] T* get() const noexcept { return object_; }
    [[nodiscard]] T& operator*() const noexcept { return *object_; }
    T* operator->() const noexcept { return object_; }
    [[nodiscard]] bool operator==(const Shared& other) const noexcept {
        return object_ == other.object_;
    }
    [[nodiscard]] bool operator==(std::nullptr_t) const noexcept { return object_ == nullptr; }

private:
    T* object_ = nullptr;
};

// A new object. In the initializer of a member `new T` itself would leak on g++ 12 when T's
// constructor throws.
template <class T>
[[nodiscard]] Shared<T> make_shared_object() {
    return Shared<T>(new T);
}

}  // namespace grafo::detail
