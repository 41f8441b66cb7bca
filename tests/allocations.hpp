// Replaces the program's operator new: it counts, and fails when a test wants it to. Included by
// the one file of a test program.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

namespace grafo_test {

inline std::size_t allocations = 0;
inline std::size_t frees = 0;
inline std::size_t largest_allocation = 0;  // in bytes
inline std::size_t fail_at = std::numeric_limits<std::size_t>::max();

inline void* allocate(std::size_t size, std::size_t alignment = 0) {
    if (++allocations == fail_at) throw std::bad_alloc();
    if (size > largest_allocation) largest_allocation = size;
    void* memory = alignment == 0 ? std::malloc(size)
                                  : std::aligned_alloc(
                                        alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
inline void free(void* memory) noexcept {
    if (memory != nullptr) ++frees;
    std::free(memory);
}

}  // namespace grafo_test

void* operator new(std::size_t size) { return grafo_test::allocate(size); }
void* operator new[](std::size_t size) { return grafo_test::allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return grafo_test::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return grafo_test::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void operator delete(void* memory) noexcept { grafo_test::free(memory); }
void operator delete[](void* memory) noexcept { grafo_test::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { grafo_test::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { grafo_test::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { grafo_test::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { grafo_test::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    grafo_test::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
    grafo_test::free(memory);
}
