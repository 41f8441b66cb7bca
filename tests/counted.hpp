// A value that counts what happens to it, for tests about lifetimes.
#pragma once

#include <atomic>
#include <utility>

namespace grafo_test {

/// Counts its constructions of every kind; live() is the number of objects alive now.
/// Counting is thread-safe; the counters are shared by the whole program: reset() first.
struct Counted {
    explicit Counted(int value_ = 0) noexcept : value{value_} {
        ++counters().constructed;
        ++counters().live;
    }

    Counted(const Counted& other) noexcept : value{other.value} {
        ++counters().copies;
        ++counters().live;
    }

    Counted(Counted&& other) noexcept : value{std::exchange(other.value, -1)} {
        ++counters().moves;
        ++counters().live;
    }

    Counted& operator=(const Counted& other) noexcept {
        value = other.value;
        ++counters().copies;
        return *this;
    }

    Counted& operator=(Counted&& other) noexcept {
        // Through a temporary, so that moving an object to itself keeps its value.
        const int taken = std::exchange(other.value, -1);
        value = taken;
        ++counters().moves;
        return *this;
    }

    ~Counted() { --counters().live; }

    int value;

    /// Objects alive now: constructions of every kind minus destructions.
    [[nodiscard]] static int live() noexcept { return counters().live; }

    /// Objects made from a value since reset(), not counting copies and moves.
    [[nodiscard]] static int constructed() noexcept { return counters().constructed; }

    /// Copy constructions and copy assignments since reset().
    [[nodiscard]] static int copies() noexcept { return counters().copies; }

    /// Move constructions and move assignments since reset().
    [[nodiscard]] static int moves() noexcept { return counters().moves; }

    /// Sets every counter to zero; call it while no object is alive.
    static void reset() noexcept {
        counters().live = 0;
        counters().constructed = 0;
        counters().copies = 0;
        counters().moves = 0;
    }

private:
    struct Counters {
        std::atomic<int> live{0};
        std::atomic<int> constructed{0};
        std::atomic<int> copies{0};
        std::atomic<int> moves{0};
    };

    static Counters& counters() noexcept {
        static Counters all;
        return all;
    }
};

}  // namespace grafo_test
