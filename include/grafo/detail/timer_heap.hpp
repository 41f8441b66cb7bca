#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/flat_list.hpp>

namespace grafo::detail {

class TimerHeap;

// A wait for a point in time; leaves the heap when it is destroyed.
struct Timer : Waiter {
    using Waiter::Waiter;
    ~Timer() { leave(); }
    [[nodiscard]] bool queued() const noexcept { return heap != nullptr; }
    void leave() noexcept;
    // Nor is it resumed if it was about to be.
    void stop() noexcept {
        leave();
        unlink();
    }

    std::uint32_t place = 0;  // its own in the heap's table, while queued
    TimerHeap* heap = nullptr;
};

// A four-ary heap of timers, first set first served among equal times.
//
// Moving through the heap touches the heap only, never the timers, which lie in frames all over the
// memory: an entry knows its timer by a place in a table. A timer that leaves early clears its
// place; its entry goes when it comes first, or when more than half of the entries are like it.
class TimerHeap {
public:
    using TimePoint = std::chrono::steady_clock::time_point;

    TimerHeap() = default;
    TimerHeap(const TimerHeap&) = delete;
    TimerHeap& operator=(const TimerHeap&) = delete;
    ~TimerHeap();

    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] const TimePoint& first() const noexcept { return entries_[0].at; }

    // Makes room, so that the next insert does not throw.
    void reserve_one();
    // No throw after reserve_one().
    void insert(Timer& timer, TimePoint at);

    void remove(Timer& timer) noexcept;

    Timer& pop() noexcept;

private:
    struct Entry {
        TimePoint at;
        std::uint32_t order;  // may wrap: compared by difference
        std::uint32_t place;
    };
    union Place {
        Timer* timer;  // null once it left early
        std::uint32_t next_free;
    };
    static constexpr std::uint32_t none = static_cast<std::uint32_t>(-1);

    static bool before(const Entry& a, const Entry& b) noexcept {
        if (a.at != b.at) return a.at < b.at;
        return static_cast<std::int32_t>(a.order - b.order) < 0;
    }

    void free_place(std::uint32_t place) noexcept {
        places_[place].next_free = std::exchange(free_, place);
    }
    void drop_first() noexcept;
    // The first entry, if there is one, is of a timer that still waits.
    void drop_dead() noexcept;
    void sweep() noexcept;

    void rise(std::size_t position) noexcept;
    // Puts the entry where it belongs below `position`, whose own entry is overwritten.
    void sink(std::size_t position, const Entry entry) noexcept;

    FlatList<Entry> entries_;
    FlatList<Place> places_;
    std::uint32_t free_ = none;
    std::uint32_t inserted_ = 0;
    std::size_t dead_ = 0;  // entries whose timer left early
};

}  // namespace grafo::detail
