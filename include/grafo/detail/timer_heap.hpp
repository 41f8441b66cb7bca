#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <grafo/detail/context.hpp>

namespace grafo::detail {

// A wait for a point in time; leaves the heap when it is destroyed.
struct Timer : Waiter {
    static constexpr std::size_t not_queued = static_cast<std::size_t>(-1);
    using Waiter::Waiter;
    std::uint64_t sequence = 0;
    std::size_t position = not_queued;
};

// A four-ary heap of timers, first set first served among equal times.
class TimerHeap {
public:
    using TimePoint = std::chrono::steady_clock::time_point;

    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] const TimePoint& first() const noexcept { return entries_.front().at; }

    TimerHeap() = default;
    TimerHeap(const TimerHeap&) = delete;
    TimerHeap& operator=(const TimerHeap&) = delete;
    ~TimerHeap() {
        for (const Entry& entry : entries_) entry.timer->position = Timer::not_queued;
    }

    // Makes room, so that the next insert does not throw.
    void reserve_one() {
        if (entries_.size() == entries_.capacity()) entries_.reserve(entries_.size() * 2 + 16);
    }
    // No throw after reserve_one().
    void insert(Timer& timer, TimePoint at) {
        entries_.push_back(Entry{at, &timer});
        timer.sequence = ++sequence_;
        rise(entries_.size() - 1);
    }

    void remove(Timer& timer) noexcept {
        const std::size_t position = timer.position;
        timer.position = Timer::not_queued;
        const Entry last = entries_.back();
        entries_.pop_back();
        if (position == entries_.size()) return;
        entries_[position] = last;
        last.timer->position = position;
        if (position > 0 && before(entries_[position], entries_[parent(position)])) {
            rise(position);
        } else {
            sink(position);
        }
    }

    Timer& pop() noexcept {
        Timer& timer = *entries_.front().timer;
        remove(timer);
        return timer;
    }

private:
    struct Entry {
        TimePoint at;
        Timer* timer;
    };

    static bool before(const Entry& a, const Entry& b) noexcept {
        return a.at != b.at ? a.at < b.at : a.timer->sequence < b.timer->sequence;
    }
    static std::size_t parent(std::size_t position) noexcept { return (position - 1) / 4; }

    void rise(std::size_t position) noexcept {
        const Entry entry = entries_[position];
        while (position > 0 && before(entry, entries_[parent(position)])) {
            place(position, entries_[parent(position)]);
            position = parent(position);
        }
        place(position, entry);
    }

    void sink(std::size_t position) noexcept {
        const Entry entry = entries_[position];
        const std::size_t size = entries_.size();
        for (;;) {
            const std::size_t first = position * 4 + 1;
            if (first >= size) break;
            std::size_t least = first;
            for (std::size_t i = first + 1; i < size && i < first + 4; ++i) {
                if (before(entries_[i], entries_[least])) least = i;
            }
            if (!before(entries_[least], entry)) break;
            place(position, entries_[least]);
            position = least;
        }
        place(position, entry);
    }

    void place(std::size_t position, const Entry& entry) noexcept {
        entries_[position] = entry;
        entry.timer->position = position;
    }

    std::vector<Entry> entries_;
    std::uint64_t sequence_ = 0;
};

}  // namespace grafo::detail
