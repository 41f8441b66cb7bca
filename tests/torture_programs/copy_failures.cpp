// Each copy or move of a value, or of a callable with a state, throws once: that comes out, or the
// run succeeds.
#define GRAFO_NO_FRAME_RECYCLING
#define TORTURE_THROWING_MOVES

#include "nth_failure.hpp"

namespace {

struct CopyFailure {
    using Told = torture::Broken;
    static constexpr const char* what = "copy or move";
    static void arm(std::uint64_t first, std::uint64_t second) noexcept {
        torture::counts().transfers = 0;
        torture::counts().failing_transfer = first;
        torture::counts().failing_transfer_too = second;
    }
    static std::uint64_t count() noexcept { return torture::counts().transfers; }
};

}  // namespace

int main(int argc, char** argv) {
    return torture::NthFailure<CopyFailure>("copy_failures", argc, argv).run();
}
