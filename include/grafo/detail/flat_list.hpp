#pragma once
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace grafo::detail {

// A vector for the library's own lists. std::vector brings some 60 functions an element type to
// what every program compiles without optimization, and g++ finds its push_back too large to be put
// in line. Elements move without throwing, the trivial ones as bytes.
template <class T>
class FlatList {
    static constexpr bool trivial =
        std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>;
    static_assert(trivial || std::is_nothrow_move_constructible_v<T>);
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

public:
    FlatList() noexcept = default;
    explicit FlatList(T only) : FlatList() { push_back(static_cast<T&&>(only)); }
    FlatList(const FlatList& other) : FlatList() { append(other); }
    FlatList(FlatList&& other) noexcept { swap(other); }
    FlatList& operator=(FlatList other) noexcept {
        swap(other);
        return *this;
    }
    ~FlatList() {
        clear();
        ::operator delete(data_);
    }

    void reserve(std::size_t capacity) {
        if (capacity <= capacity_) return;
        auto* grown = static_cast<T*>(::operator new(capacity * sizeof(T)));
        if constexpr (trivial) {
            if (size_ > 0) std::memcpy(static_cast<void*>(grown), data_, size_ * sizeof(T));
        } else {
            for (std::size_t i = 0; i < size_; ++i) {
                ::new (static_cast<void*>(grown + i)) T(static_cast<T&&>(data_[i]));
                data_[i].~T();
            }
        }
        ::operator delete(data_);
        data_ = grown;
        capacity_ = capacity;
    }
    // Makes room, so that the next push_back does not throw.
    void reserve_one() {
        if (size_ == capacity_) grow();
    }
    [[gnu::always_inline]] void push_back(T item) {
        if (size_ == capacity_) grow();
        ::new (static_cast<void*>(data_ + size_)) T(static_cast<T&&>(item));
        ++size_;
    }
    void append(const FlatList& other) {
        reserve(size_ + other.size_);
        for (std::size_t i = 0; i < other.size_; ++i) push_back(other.data_[i]);
    }
    void pop_back() noexcept {
        --size_;
        data_[size_].~T();
    }
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
    [[nodiscard]] std::size_t find_last(const T& item) const noexcept {
        for (std::size_t i = size_; i-- > 0;) {
            if (data_[i] == item) return i;
        }
        return npos;
    }
    [[nodiscard]] bool contains(const T& item) const noexcept { return find_last(item) != npos; }
    // Keeps the order of the rest.
    void erase_at(std::size_t place) noexcept {
        for (std::size_t i = place + 1; i < size_; ++i) data_[i - 1] = static_cast<T&&>(data_[i]);
        pop_back();
    }
    // Removes the item from its last place, which it gives.
    std::size_t erase_last(const T& item) noexcept {
        const std::size_t place = find_last(item);
        if (place != npos) erase_at(place);
        return place;
    }
    // Removes the item from all of its places.
    void erase(const T& item) noexcept {
        for (std::size_t i = size_; i-- > 0;) {
            if (data_[i] == item) erase_at(i);
        }
    }
    void erase_front(std::size_t count) noexcept {
        static_assert(trivial);
        size_ -= count;
        if (size_ > 0) std::memmove(static_cast<void*>(data_), data_ + count, size_ * sizeof(T));
    }
    void clear() noexcept {
        if constexpr (!trivial) {
            for (T& item : *this) item.~T();
        }
        size_ = 0;
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }
    [[nodiscard]] T& back() noexcept { return data_[size_ - 1]; }
    [[nodiscard]] T* begin() noexcept { return data_; }
    [[nodiscard]] T* end() noexcept { return data_ + size_; }
    [[nodiscard]] const T* begin() const noexcept { return data_; }
    [[nodiscard]] const T* end() const noexcept { return data_ + size_; }

private:
    [[gnu::noinline]] void grow() { reserve(size_ * 2 + 8); }
    void swap(FlatList& other) noexcept {
        T* const data = data_;
        const std::size_t size = size_;
        const std::size_t capacity = capacity_;
        data_ = other.data_;
        size_ = other.size_;
        capacity_ = other.capacity_;
        other.data_ = data;
        other.size_ = size;
        other.capacity_ = capacity;
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace grafo::detail
