#pragma once
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

/// Random numbers that are the same for a seed with every standard library: the engines of
/// <random> are, its distributions and std::shuffle are not.
class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    /// From -1 to 1.
    [[nodiscard]] double symmetric() {
        return static_cast<double>(engine_() >> 11) * 0x1p-52 - 1.0;
    }
    /// Less than `end`. The remainder prefers small numbers by less than `end` in 2^64.
    [[nodiscard]] std::size_t below(std::size_t end) {
        return static_cast<std::size_t>(engine_() % end);
    }
    template <class T>
    void shuffle(std::vector<T>& items) {
        for (std::size_t left = items.size(); left > 1; --left) {
            std::swap(items[left - 1], items[below(left)]);
        }
    }

private:
    std::mt19937_64 engine_;
};
