#pragma once
#include <string>
#include <type_traits>

#include <grafo/errors.hpp>

namespace grafo::detail {

[[noreturn]] inline void throw_null_function(const char* where) {
    throw Error(std::string(where) + " was given a null pointer");
}

// The function itself; a null pointer to one is refused where it is given.
template <class F>
[[nodiscard]] constexpr F&& not_null(F&& fn, [[maybe_unused]] const char* where) {
    using Fn = std::remove_cvref_t<F>;
    if constexpr (std::is_pointer_v<Fn> || std::is_member_pointer_v<Fn>) {
        if (fn == nullptr) throw_null_function(where);
    }
    return static_cast<F&&>(fn);
}

}  // namespace grafo::detail
