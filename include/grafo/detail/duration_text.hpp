#pragma once
#include <chrono>
#include <string>

namespace grafo::detail {

// In the largest unit in which it is a whole number: "1500 ms", "2 s".
[[nodiscard]] inline std::string duration_text(std::chrono::nanoseconds d) {
    using namespace std::chrono;
    const auto in = [](auto count, const char* unit) { return std::to_string(count) + unit; };
    if (d % seconds(1) == nanoseconds(0)) return in(d / seconds(1), " s");
    if (d % milliseconds(1) == nanoseconds(0)) return in(d / milliseconds(1), " ms");
    if (d % microseconds(1) == nanoseconds(0)) return in(d / microseconds(1), " us");
    return in(d.count(), " ns");
}

}  // namespace grafo::detail
