// Replaces the program's operator new: it counts what lives, and fails when a program wants it to.
// Included by the one file of a program, before the library: no coroutine frame may rest in a pool.
// What is fresh or freed is filled, so that its use shows without a sanitizer too.
#pragma once

#if !defined(GRAFO_NO_FRAME_RECYCLING)
#error "define GRAFO_NO_FRAME_RECYCLING first, so that each frame is an allocation"
#endif

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace torture {

// Freed memory is filled, so that who uses it sees. AddressSanitizer sees more, and has marked
// places in it that must not be written.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool fills = false;
#elif defined(__has_feature)
inline constexpr bool fills = !__has_feature(address_sanitizer);
#else
inline constexpr bool fills = true;
#endif

struct Memory {
    std::int64_t alive = 0;
    std::int64_t bytes = 0;  // of them; 0 where the C library does not tell
    std::uint64_t allocations = 0;
    std::uint64_t failing = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t failing_too = std::numeric_limits<std::uint64_t>::max();
};
inline Memory& memory() noexcept {
    static constinit Memory all;
    return all;
}

inline std::int64_t size_of([[maybe_unused]] void* place) noexcept {
#if defined(__GLIBC__)
    return static_cast<std::int64_t>(malloc_usable_size(place));
#else
    return 0;
#endif
}

inline void* allocate(std::size_t size, std::size_t alignment) {
    Memory& all = memory();
    if (++all.allocations == all.failing || all.allocations == all.failing_too) {
        throw std::bad_alloc();
    }
    const std::size_t whole = (size + alignment - 1) / alignment * alignment;
    void* place = alignment <= alignof(std::max_align_t) ? std::malloc(size > 0 ? size : 1)
                                                         : std::aligned_alloc(alignment, whole);
    if (place == nullptr) throw std::bad_alloc();
    ++all.alive;
    std::memset(place, 0xcd, size);
    all.bytes += size_of(place);
    return place;
}

inline void deallocate(void* place) noexcept {
    if (place == nullptr) return;
    --memory().alive;
    if constexpr (fills) {
        std::memset(place, 0xdd, static_cast<std::size_t>(size_of(place)));
        asm volatile("" : : "r"(place) : "memory");  // else no such write is left before free()
    }
    memory().bytes -= size_of(place);
    std::free(place);
}

inline void* allocate_or_null(std::size_t size, std::size_t alignment) noexcept {
    try {
        return allocate(size, alignment);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

}  // namespace torture

void* operator new(std::size_t size) { return torture::allocate(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) {
    return torture::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return torture::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return torture::allocate(size, static_cast<std::size_t>(alignment));
}
// AddressSanitizer's own of these would not call those above.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return torture::allocate_or_null(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return torture::allocate_or_null(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return torture::allocate_or_null(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return torture::allocate_or_null(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* place) noexcept { torture::deallocate(place); }
void operator delete[](void* place) noexcept { torture::deallocate(place); }
void operator delete(void* place, std::size_t) noexcept { torture::deallocate(place); }
void operator delete[](void* place, std::size_t) noexcept { torture::deallocate(place); }
void operator delete(void* place, std::align_val_t) noexcept { torture::deallocate(place); }
void operator delete[](void* place, std::align_val_t) noexcept { torture::deallocate(place); }
void operator delete(void* place, std::size_t, std::align_val_t) noexcept {
    torture::deallocate(place);
}
void operator delete[](void* place, std::size_t, std::align_val_t) noexcept {
    torture::deallocate(place);
}
void operator delete(void* place, const std::nothrow_t&) noexcept { torture::deallocate(place); }
void operator delete[](void* place, const std::nothrow_t&) noexcept { torture::deallocate(place); }
void operator delete(void* place, std::align_val_t, const std::nothrow_t&) noexcept {
    torture::deallocate(place);
}
void operator delete[](void* place, std::align_val_t, const std::nothrow_t&) noexcept {
    torture::deallocate(place);
}
