#pragma once
#include <cstddef>

// Counts what `operator new` gives, in the whole program: it is replaced in allocations.cpp.
namespace bench {

struct Allocations {
    std::size_t count = 0;
    std::ptrdiff_t bytes = 0;  // as malloc rounds them, with the word it keeps before each block
};

// Counts from its construction on. One at a time.
class CountAllocations {
public:
    CountAllocations();
    CountAllocations(const CountAllocations&) = delete;
    ~CountAllocations();
    [[nodiscard]] Allocations so_far() const;
};

// Gives free memory back to the system, so that the next build meets cold pages.
void forget_memory();

}  // namespace bench
