#pragma once
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace grafo::detail {

// A vector of trivial elements whose push_back is in line, also where g++ finds that of std::vector
// too large.
template <class T>
class FlatList {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

public:
    FlatList() noexcept = default;
    FlatList(const FlatList&) = delete;
    FlatList& operator=(const FlatList&) = delete;
    ~FlatList() { ::operator delete(data_); }

    void reserve(std::size_t capacity) {
        if (capacity <= capacity_) return;
        auto* grown = static_cast<T*>(::operator new(capacity * sizeof(T)));
        if (size_ > 0) std::memcpy(static_cast<void*>(grown), data_, size_ * sizeof(T));
        ::operator delete(std::exchange(data_, grown));
        capacity_ = capacity;
    }
    void push_back(const T& item) {
        if (size_ == capacity_) grow();
        ::new (static_cast<void*>(data_ + size_++)) T(item);
    }
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
    // Removes the item from its last place, which it gives; keeps the order of the rest.
    std::size_t erase_last(const T& item) noexcept {
        for (std::size_t i = size_; i-- > 0;) {
            if (!(data_[i] == item)) continue;
            for (std::size_t k = i + 1; k < size_; ++k) data_[k - 1] = data_[k];
            --size_;
            return i;
        }
        return npos;
    }
    void erase_front(std::size_t count) noexcept {
        size_ -= count;
        std::memmove(static_cast<void*>(data_), data_ + count, size_ * sizeof(T));
    }
    void clear() noexcept { size_ = 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
    [[nodiscard]] const T* begin() const noexcept { return data_; }
    [[nodiscard]] const T* end() const noexcept { return data_ + size_; }

private:
    [[gnu::noinline]] void grow() { reserve(size_ * 2 + 8); }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace grafo::detail
