#pragma once
#include <cstddef>

namespace grafo::detail {

// The only pointer to an object. std::unique_ptr would cost each program that includes the library
// some 40 functions a type, for its deleter and the tuple that holds it.
template <class T>
class Owned {
public:
    Owned() noexcept = default;
    Owned(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor): as a pointer does
    explicit Owned(T* object) noexcept : object_(object) {}
    Owned(Owned&& other) noexcept : object_(other.release()) {}
    Owned& operator=(Owned&& other) noexcept {
        reset(other.release());
        return *this;
    }
    [[gnu::always_inline]] ~Owned() { delete object_; }

    [[nodiscard]] T* get() const noexcept { return object_; }
    [[nodiscard]] T& operator*() const noexcept { return *object_; }
    T* operator->() const noexcept { return object_; }
    [[nodiscard]] bool operator==(std::nullptr_t) const noexcept { return object_ == nullptr; }

    void reset(T* object = nullptr) noexcept {
        T* const old = object_;
        object_ = object;
        delete old;
    }
    T* release() noexcept {
        T* const object = object_;
        object_ = nullptr;
        return object;
    }

private:
    T* object_ = nullptr;
};

}  // namespace grafo::detail
