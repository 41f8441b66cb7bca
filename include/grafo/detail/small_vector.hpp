#pragma once
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace grafo::detail {

// A vector of trivial elements, with room for a few in itself: most nodes have one edge or two.
template <class T, std::uint32_t InPlace = 1>
class SmallVector {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

public:
    SmallVector() noexcept {}
    SmallVector(const SmallVector& other) { assign(other); }
    SmallVector(SmallVector&& other) noexcept { swap(other); }
    SmallVector& operator=(SmallVector other) noexcept {
        swap(other);
        return *this;
    }
    ~SmallVector() {
        if (capacity_ > InPlace) ::operator delete(heap_);
    }

    [[nodiscard, gnu::always_inline]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard, gnu::always_inline]] bool empty() const noexcept { return size_ == 0; }
    T& operator[](std::uint32_t i) noexcept { return data()[i]; }
    const T& operator[](std::uint32_t i) const noexcept { return data()[i]; }
    T* begin() noexcept { return data(); }
    T* end() noexcept { return data() + size_; }
    const T* begin() const noexcept { return data(); }
    const T* end() const noexcept { return data() + size_; }

    // Makes room, so that the next push_back does not throw.
    void reserve_one() {
        if (size_ == capacity_) grow(capacity_ * 2);
    }
    void push_back(const T& value) {
        const T copy = value;
        reserve_one();
        ::new (static_cast<void*>(end())) T(copy);
        ++size_;
    }
    void pop_back() noexcept { --size_; }
    // Keeps the order of the rest.
    void erase(std::uint32_t i) noexcept {
        T* const at = data() + i;
        --size_;
        std::memmove(static_cast<void*>(at), at + 1, (size_ - i) * sizeof(T));
    }

    void swap(SmallVector& other) noexcept {
        unsigned char bytes[sizeof(SmallVector)];
        void* a = this;
        void* b = &other;
        std::memcpy(bytes, a, sizeof bytes);
        std::memcpy(a, b, sizeof bytes);
        std::memcpy(b, bytes, sizeof bytes);
    }

private:
    [[gnu::always_inline]] T* data() noexcept { return capacity_ == InPlace ? inline_ : heap_; }
    [[gnu::always_inline]] const T* data() const noexcept {
        return capacity_ == InPlace ? inline_ : heap_;
    }

    void grow(std::uint32_t capacity) {
        T* const grown = static_cast<T*>(::operator new(capacity * sizeof(T)));
        std::memcpy(static_cast<void*>(grown), data(), size_ * sizeof(T));
        if (capacity_ > InPlace) ::operator delete(heap_);
        heap_ = grown;
        capacity_ = capacity;
    }
    void assign(const SmallVector& other) {
        if (other.size_ > InPlace) {
            heap_ = static_cast<T*>(::operator new(other.size_ * sizeof(T)));
            capacity_ = other.size_;
        }
        size_ = other.size_;
        std::memcpy(static_cast<void*>(data()), other.data(), size_ * sizeof(T));
    }

    std::uint32_t size_ = 0;
    std::uint32_t capacity_ = InPlace;
    union {
        T inline_[InPlace];
        T* heap_;
    };
};

}  // namespace grafo::detail
