// The user's objects in the graphs: each knows whether it lives, and may fail to be copied or
// moved. The user's code says where it is with here(), and waits with pause(): the places at which
// a program here breaks something.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

namespace torture {

// copy_failures.cpp wants moves that may throw: the library then takes other ways.
#if defined(TORTURE_THROWING_MOVES)
inline constexpr bool moves_safely = false;
#else
inline constexpr bool moves_safely = true;
#endif

/// The place, or the number, of what does not fail.
inline constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

/// What breaks the user's code; no error of the library's own.
struct Broken {
    explicit Broken(std::uint64_t where) noexcept : place(where) {}
    std::uint64_t place;
};

/// What the user's code and the user's objects did.
struct Counts {
    std::int64_t alive = 0;
    std::uint64_t mistakes = 0;   // destroyed twice, or used after the end
    std::uint64_t transfers = 0;  // copies and moves
    std::uint64_t failing_transfer = never;
    std::uint64_t failing_transfer_too = never;
    std::uint64_t places = 0;  // reached by here()
    std::uint64_t breaking_place = never;
    void (*break_it)() = nullptr;
};
inline Counts& counts() noexcept {
    static constinit Counts all;
    return all;
}

inline void here() {
    Counts& all = counts();
    if (++all.places == all.breaking_place) all.break_it();
}

/// A value. Its address is its own, so an object that was copied byte by byte is found too.
class Item {
public:
    explicit Item(int v = 0) noexcept : value(v) { begin(); }
    Item(const Item& other) noexcept(moves_safely) : value(other.checked().value) {
        transfer();
        begin();
    }
    Item(Item&& other) noexcept(moves_safely) : value(other.checked().value) {
        transfer();
        other.value = -1;
        begin();
    }
    Item& operator=(const Item& other) noexcept(moves_safely) {
        transfer();
        checked().value = other.checked().value;
        return *this;
    }
    Item& operator=(Item&& other) noexcept(moves_safely) {
        transfer();
        const int taken = std::exchange(other.checked().value, -1);
        checked().value = taken;
        return *this;
    }
    ~Item() {
        if (self_ != this) ++counts().mistakes;
        self_ = nullptr;
        --counts().alive;
    }

    int value;

private:
    void begin() noexcept {
        self_ = this;
        ++counts().alive;
    }
    static void transfer() noexcept(moves_safely) {
        Counts& all = counts();
        ++all.transfers;
        if (all.transfers != all.failing_transfer && all.transfers != all.failing_transfer_too) {
            return;
        }
        if constexpr (!moves_safely) throw Broken(all.transfers);
    }
    const Item& checked() const noexcept {
        if (self_ != this) ++counts().mistakes;
        return *this;
    }
    Item& checked() noexcept {
        if (self_ != this) ++counts().mistakes;
        return *this;
    }

    const Item* volatile self_ = nullptr;
};

/// The same, only to be moved.
class Sole {
public:
    explicit Sole(int value = 0) noexcept : item(value) {}
    Sole(Sole&&) = default;
    Sole& operator=(Sole&&) = default;
    Sole(const Sole&) = delete;
    Sole& operator=(const Sole&) = delete;
    ~Sole() = default;

    Item item;
};

/// Waits so many milliseconds of virtual time, or for 0 a turn of the loop.
inline grafo::Task<> pause(int milliseconds) {
    const Item local(milliseconds);
    here();
    if (milliseconds == 0) {
        co_await grafo::yield();
    } else {
        co_await grafo::sleep_for(std::chrono::milliseconds(milliseconds));
    }
    here();
}

}  // namespace torture
