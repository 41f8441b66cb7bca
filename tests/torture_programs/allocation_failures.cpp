// Each allocation fails once, every coroutine frame among them: std::bad_alloc comes out, or the
// run succeeds.
#define GRAFO_NO_FRAME_RECYCLING

#include <new>

#include "nth_failure.hpp"

namespace {

struct AllocationFailure {
    using Told = std::bad_alloc;
    static constexpr const char* what = "allocation";
    static void arm(std::uint64_t first, std::uint64_t second) noexcept {
        torture::memory().allocations = 0;
        torture::memory().failing = first;
        torture::memory().failing_too = second;
    }
    static std::uint64_t count() noexcept { return torture::memory().allocations; }
};

}  // namespace

int main(int argc, char** argv) {
    return torture::NthFailure<AllocationFailure>("allocation_failures", argc, argv).run();
}
