#pragma once
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace grafo::detail {

// The memory of a FlatList.
class FlatMemory {
public:
    FlatMemory(const FlatMemory&) = delete;
    FlatMemory& operator=(const FlatMemory&) = delete;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

protected:
    // Moves `size` items and destroys those they were; null: as bytes.
    using MoveItems = void (*)(void* to, void* from, std::size_t size) noexcept;

    FlatMemory() noexcept = default;
    ~FlatMemory() { ::operator delete(memory_); }

    void make_room(std::size_t capacity, std::size_t item_size, MoveItems move) {
        if (capacity <= capacity_) return;
        void* const grown = ::operator new(capacity * item_size);
        if (move != nullptr) {
            move(grown, memory_, size_);
        } else if (size_ > 0) {
            std::memcpy(grown, memory_, size_ * item_size);
        }
        ::operator delete(memory_);
        memory_ = grown;
        capacity_ = capacity;
    }
    [[gnu::noinline]] void grow(std::size_t item_size, MoveItems move) {
        make_room(size_ * 2 + 8, item_size, move);
    }
    void swap(FlatMemory& other) noexcept {
        void* const memory = memory_;
        const std::size_t size = size_;
        const std::size_t capacity = capacity_;
        memory_ = other.memory_;
        size_ = other.size_;
        capacity_ = other.capacity_;
        other.memory_ = memory;
        other.size_ = size;
        other.capacity_ = capacity;
    }

    void* memory_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

// A vector for the library's own lists. std::vector brings some 60 functions an element type to
// what every program compiles without optimization. push_back is in line, which g++ would not do
// where it is used as often as here. Elements move without throwing, the trivial ones as bytes.
template <class T>
class FlatList : public FlatMemory {
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
    ~FlatList() { clear(); }

    // Gives back what more than an eighth of the list is room to grow; keeps it without memory for
    // the move.
    void trim() noexcept {
        static_assert(trivial);
        if (capacity_ - size_ <= size_ / 8) return;
        try {
            FlatList trimmed;
            trimmed.reserve(size_);
            trimmed.append(*this);
            swap(trimmed);
        } catch (const std::bad_alloc&) {
        }
    }
    void reserve(std::size_t capacity) { make_room(capacity, sizeof(T), move_items()); }
    // Makes room for so many more, which then do not throw, and as much in advance as push_back.
    void reserve_more(std::size_t count) {
        if (size_ + count > capacity_) reserve(size_ + (count > size_ ? count : size_));
    }
    // Makes room, so that the next push_back does not throw.
    void reserve_one() {
        if (size_ == capacity_) grow(sizeof(T), move_items());
    }
    [[gnu::always_inline]] void push_back(T item) {
        if (size_ == capacity_) grow(sizeof(T), move_items());
        ::new (static_cast<void*>(begin() + size_)) T(static_cast<T&&>(item));
        ++size_;
    }
    void append(const FlatList& other) {
        reserve_more(other.size_);
        for (std::size_t i = 0; i < other.size_; ++i) push_back(other[i]);
    }
    void pop_back() noexcept {
        --size_;
        (*this)[size_].~T();
    }
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
    [[nodiscard]] std::size_t find_last(const T& item) const noexcept {
        for (std::size_t i = size_; i-- > 0;) {
            if ((*this)[i] == item) return i;
        }
        return npos;
    }
    [[nodiscard]] bool contains(const T& item) const noexcept { return find_last(item) != npos; }
    // Keeps the order of the rest.
    void erase_at(std::size_t place) noexcept {
        if constexpr (trivial) {
            T* const at = begin() + place;
            --size_;
            std::memmove(static_cast<void*>(at), at + 1, (size_ - place) * sizeof(T));
        } else {
            for (std::size_t i = place + 1; i < size_; ++i)
                (*this)[i - 1] = static_cast<T&&>((*this)[i]);
            pop_back();
        }
    }
    // Removes the item from all of its places.
    void erase(const T& item) noexcept {
        for (std::size_t i = size_; i-- > 0;) {
            if ((*this)[i] == item) erase_at(i);
        }
    }
    void erase_front(std::size_t count) noexcept {
        static_assert(trivial);
        size_ -= count;
        if (size_ > 0) std::memmove(memory_, begin() + count, size_ * sizeof(T));
    }
    void clear() noexcept {
        if constexpr (!trivial) {
            for (T& item : *this) item.~T();
        }
        size_ = 0;
    }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return begin()[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return begin()[i]; }
    [[nodiscard]] T& back() noexcept { return begin()[size_ - 1]; }
    [[nodiscard]] T* begin() noexcept { return static_cast<T*>(memory_); }
    [[nodiscard]] T* end() noexcept { return begin() + size_; }
    [[nodiscard]] const T* begin() const noexcept { return static_cast<const T*>(memory_); }
    [[nodiscard]] const T* end() const noexcept { return begin() + size_; }

private:
    static constexpr MoveItems move_items() noexcept {
        if constexpr (trivial) {
            return nullptr;
        } else {
            return [](void* to, void* from, std::size_t size) noexcept {
                for (std::size_t i = 0; i < size; ++i) {
                    T& item = static_cast<T*>(from)[i];
                    ::new (static_cast<void*>(static_cast<T*>(to) + i)) T(static_cast<T&&>(item));
                    item.~T();
                }
            };
        }
    }
};

}  // namespace grafo::detail
