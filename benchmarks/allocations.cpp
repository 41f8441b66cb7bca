#include "allocations.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace bench {

namespace {

// Switched off, counting costs one well-predicted branch, on all sides alike.
bool counting = false;
Allocations counted;

std::ptrdiff_t footprint(void* memory) {
    return static_cast<std::ptrdiff_t>(malloc_usable_size(memory) + sizeof(std::size_t));
}

void* allocate(std::size_t size, std::size_t alignment = 0) {
    void* memory = alignment == 0 ? std::malloc(size)
                                  : std::aligned_alloc(
                                        alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    if (counting) {
        ++counted.count;
        counted.bytes += footprint(memory);
    }
    return memory;
}

void release(void* memory) noexcept {
    if (counting && memory != nullptr) counted.bytes -= footprint(memory);
    std::free(memory);
}

}  // namespace

CountAllocations::CountAllocations() {
    counted = Allocations();
    counting = true;
}
CountAllocations::~CountAllocations() { counting = false; }
Allocations CountAllocations::so_far() const { return counted; }

void forget_memory() { malloc_trim(0); }

}  // namespace bench

void* operator new(std::size_t size) { return bench::allocate(size); }
void* operator new[](std::size_t size) { return bench::allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return bench::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return bench::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { bench::release(memory); }
void operator delete[](void* memory) noexcept { bench::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { bench::release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { bench::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { bench::release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { bench::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    bench::release(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
    bench::release(memory);
}
