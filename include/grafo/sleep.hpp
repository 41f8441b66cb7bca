#pragma once
#include <chrono>
#include <coroutine>
#include <limits>
#include <type_traits>
#include <utility>

#include <grafo/event_loop.hpp>

namespace grafo {

namespace detail {

// A duration in nanoseconds, rounded up, and held at the ends of the range.
template <class Rep, class Period>
[[nodiscard]] constexpr std::chrono::nanoseconds to_nanoseconds(
    const std::chrono::duration<Rep, Period>& duration) noexcept {
    using std::chrono::nanoseconds;
    // A float is too coarse for nanoseconds; a double stays one, so that 0.1 s are 100 ms.
    using Wide = std::chrono::duration<
        std::conditional_t<std::is_same_v<Rep, float> || std::is_same_v<Rep, double>, double,
                           long double>,
        std::nano>;
    const Wide wide = duration;
    if (!(wide < Wide(nanoseconds::max()))) return nanoseconds::max();
    if (wide <= Wide(nanoseconds::min())) return nanoseconds::min();
    // In integers where that is exact; else a unit such as 1/60 s could overflow on the way.
    if constexpr (std::is_floating_point_v<Rep> || std::ratio_divide<Period, std::nano>::den != 1) {
        return std::chrono::ceil<nanoseconds>(wide);
    } else {
        return std::chrono::ceil<nanoseconds>(duration);
    }
}

// now + duration; the last point of the clock where that lies beyond it.
[[nodiscard]] constexpr EventLoop::TimePoint after(EventLoop::TimePoint now,
                                                   std::chrono::nanoseconds duration) noexcept {
    return duration > EventLoop::TimePoint::max() - now ? EventLoop::TimePoint::max()
                                                        : now + duration;
}

// Waits in the loop's timers; a point that has passed is a `yield`.
class SleepAwaiter : Timer {
public:
    explicit SleepAwaiter(EventLoop::TimePoint until) noexcept
        : Timer(&SleepAwaiter::on_ask), when_(until.time_since_epoch()) {}
    explicit SleepAwaiter(std::chrono::nanoseconds duration) noexcept
        : Timer(&SleepAwaiter::on_ask), when_(duration), relative_(true) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        EventLoop& loop = EventLoop::current();
        TimerHeap& timers = LoopAccess::timers(loop);
        EventLoop::TimePoint until(when_);
        bool due = relative_ && when_.count() <= 0;
        if (!due) {
            const EventLoop::TimePoint now = loop.now();
            if (relative_) until = after(now, when_);
            due = until <= now;
            never_ = until == EventLoop::TimePoint::max();
            timers.reserve_one();
        }
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        if (due) {
            LoopAccess::core(loop).make_ready(*this);
        } else if (!never_) {
            timers.insert(*this, until);
        }
        return true;
    }
    void await_resume() const { check(); }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<SleepAwaiter&>(waiter);
        if (ask != Ask::cancel || (!self.queued() && !self.never_)) return false;
        self.leave();
        self.never_ = false;
        self.gave_up = true;
        LoopCore::current->make_ready(self);
        return true;
    }

    std::chrono::nanoseconds when_;  // from now if relative, else by the loop's clock
    bool relative_ = false;
    bool never_ = false;  // waits for the end of the clock: for a cancellation only
};

}  // namespace detail

/// What `sleep_for`, `sleep_until` and `yield` give: to be awaited. Copyable, holds no state.
template <class When>
class [[nodiscard("a sleep does nothing until it is awaited")]] Sleep {
public:
    explicit Sleep(When when) noexcept : when_(when) {}
    detail::SleepAwaiter operator co_await() const noexcept { return detail::SleepAwaiter(when_); }

    using grafo_awaitable = void;

private:
    When when_;
};

/// Resumes the awaiting coroutine once `duration` has passed on the loop's clock: never early, any
/// unit, rounded up to nanoseconds; `max()` and beyond is never. Zero or less is a `yield`.
/// Throws `Cancelled` when its context is cancelled. No allocation but the timer heap's growth.
template <class Rep, class Period>
Sleep<std::chrono::nanoseconds> sleep_for(
    const std::chrono::duration<Rep, Period>& duration) noexcept {
    return Sleep(detail::to_nanoseconds(duration));
}

/// Resumes the awaiting coroutine once the loop's clock has reached `time`, as `sleep_for` does.
inline Sleep<EventLoop::TimePoint> sleep_until(EventLoop::TimePoint time) noexcept {
    return Sleep(time);
}

/// Lets everything that is ready by now run first. Throws `Cancelled` when its context is
/// cancelled.
inline Sleep<std::chrono::nanoseconds> yield() noexcept {
    return Sleep(std::chrono::nanoseconds(0));
}

}  // namespace grafo
