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
    ~TimerHeap() {
        for (const Entry& entry : entries_) {
            if (Timer* timer = places_[entry.place].timer; timer != nullptr) timer->heap = nullptr;
        }
    }

    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] const TimePoint& first() const noexcept { return entries_[0].at; }

    // Makes room, so that the next insert does not throw.
    void reserve_one() {
        if (entries_.size() < entries_.capacity()) return;
        const std::size_t ample = entries_.size() * 2 + 16;
        places_.reserve(ample);
        entries_.reserve(ample);
    }
    // No throw after reserve_one().
    void insert(Timer& timer, TimePoint at) {
        if (free_ == none) {
            timer.place = static_cast<std::uint32_t>(places_.size());
            places_.push_back(Place{&timer});
        } else {
            timer.place = free_;
            free_ = std::exchange(places_[free_], Place{&timer}).next_free;
        }
        timer.heap = this;
        entries_.push_back(Entry{at, ++inserted_, timer.place});
        rise(entries_.size() - 1);
    }

    void remove(Timer& timer) noexcept {
        timer.heap = nullptr;
        places_[timer.place].timer = nullptr;
        ++dead_;
        if (entries_[0].place == timer.place) {
            drop_dead();
        } else if (dead_ > 32 && dead_ > entries_.size() / 2) {
            sweep();
        }
    }

    Timer& pop() noexcept {
        Timer& timer = *places_[entries_[0].place].timer;
        timer.heap = nullptr;
        drop_first();
        drop_dead();
        return timer;
    }

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
    void drop_first() noexcept {
        free_place(entries_[0].place);
        const Entry last = entries_.back();
        entries_.pop_back();
        if (!entries_.empty()) sink(0, last);
    }
    // The first entry, if there is one, is of a timer that still waits.
    void drop_dead() noexcept {
        while (dead_ > 0 && places_[entries_[0].place].timer == nullptr) {
            --dead_;
            drop_first();
        }
    }
    void sweep() noexcept {
        std::size_t kept = 0;
        for (const Entry& entry : entries_) {
            if (places_[entry.place].timer == nullptr) {
                free_place(entry.place);
            } else {
                entries_[kept++] = entry;
            }
        }
        while (entries_.size() > kept) entries_.pop_back();
        dead_ = 0;
        for (std::size_t i = (kept + 2) / 4; i-- > 0;) sink(i, entries_[i]);
    }

    void rise(std::size_t position) noexcept {
        const Entry entry = entries_[position];
        while (position > 0 && before(entry, entries_[(position - 1) / 4])) {
            entries_[position] = entries_[(position - 1) / 4];
            position = (position - 1) / 4;
        }
        entries_[position] = entry;
    }
    // Puts the entry where it belongs below `position`, whose own entry is overwritten.
    void sink(std::size_t position, const Entry entry) noexcept {
        const std::size_t size = entries_.size();
        for (;;) {
            const std::size_t first = position * 4 + 1;
            if (first >= size) break;
            std::size_t least = first;
            for (std::size_t i = first + 1; i < size && i < first + 4; ++i) {
                if (before(entries_[i], entries_[least])) least = i;
            }
            if (!before(entries_[least], entry)) break;
            entries_[position] = entries_[least];
            position = least;
        }
        entries_[position] = entry;
    }

    FlatList<Entry> entries_;
    FlatList<Place> places_;
    std::uint32_t free_ = none;
    std::uint32_t inserted_ = 0;
    std::size_t dead_ = 0;  // entries whose timer left early
};

inline void Timer::leave() noexcept {
    if (heap != nullptr) heap->remove(*this);
}

}  // namespace grafo::detail
