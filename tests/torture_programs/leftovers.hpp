// What may be left of a case, which is nothing.
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "memory.hpp"
#include "user_objects.hpp"

namespace torture {

/// Nothing of a case may be left; `alive` is how many allocations there were before it.
inline void check_nothing_lives(std::int64_t alive, std::string& wrong) {
    if (counts().alive != 0) wrong += fmt::format("\n  {} objects live on", counts().alive);
    if (counts().mistakes != 0) wrong += fmt::format("\n  {} uses after an end", counts().mistakes);
    // A text is an allocation as well.
    if (wrong.empty() && memory().alive != alive) {
        wrong = fmt::format("{} allocations live on", memory().alive - alive);
    }
}

}  // namespace torture
