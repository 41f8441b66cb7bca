#pragma once
#include <chrono>
#include <string>

namespace grafo::detail {

// In the largest unit in which it is a whole number: "1500 ms", "2 s".
[[nodiscard]] inline std::string duration_text(std::chrono::nanoseconds d) {
    struct Unit {
        std::chrono::nanoseconds::rep length;
        const char* name;
    };
    for (const Unit& unit :
         {Unit{1'000'000'000, " s"}, Unit{1'000'000, " ms"}, Unit{1'000, " us"}}) {
        if (d.count() % unit.length == 0)
            return std::to_string(d.count() / unit.length) + unit.name;
    }
    return std::to_string(d.count()) + " ns";
}

}  // namespace grafo::detail
