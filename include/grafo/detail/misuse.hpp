#pragma once
#include <cstdio>
#include <cstdlib>

// What the library is not made for and cannot refuse without a cost where it counts: debug builds
// say so on stderr and end the program; with NDEBUG nothing of that is left. The list is in
// docs/misuse.md.
namespace grafo::detail {

#ifdef NDEBUG
constexpr bool checks_misuse = false;
#else
constexpr bool checks_misuse = true;
#endif

[[noreturn]] inline void misused(const char* what) noexcept {
    std::fprintf(stderr, "grafo: %s\n", what);
    std::abort();
}

// `what` is a sentence; `wrong` is not evaluated with NDEBUG if it has no effects.
inline void refuse_misuse([[maybe_unused]] bool wrong, [[maybe_unused]] const char* what) noexcept {
    if constexpr (checks_misuse) {
        if (wrong) misused(what);
    }
}

}  // namespace grafo::detail
