#pragma once
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <string>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/inline.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/timer_heap.hpp>
#include <grafo/detail/wait_room.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/sleep.hpp>

namespace grafo {

namespace detail {

struct RateQueueLink : Link {};

// Waits in the limiter's queue until it is resumed; when it is the first there, also in its loop's
// timers or ready list.
struct RateWaiter : Timer, RateQueueLink {
    using Timer::Timer;
    Shared<Mailbox> home;  // of its loop
    bool called = false;   // its time is set, has come, or never comes
};

class RateLimiterState final : public WaitRoom {
public:
    using TimePoint = EventLoop::TimePoint;

    RateLimiterState(std::size_t count, std::chrono::nanoseconds per);

    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::chrono::nanoseconds per() const noexcept { return per_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

    // Spends one grant if nobody waits and it may be spent now.
    [[nodiscard]] bool take(TimePoint now);

    void enter(RateWaiter& waiter) noexcept;
    // Its turn has come, and it takes it.
    void pass(RateWaiter& waiter, TimePoint now) noexcept;
    void leave(RateWaiter& waiter) noexcept;

    // So that a waiter more can `pass` without an allocation.
    void make_room();

    GRAFO_INLINE void advance() noexcept override;

private:
    void call(RateWaiter& waiter);

    void unqueue(RateWaiter& waiter) noexcept;

    // When the next grant may be spent; not after now: at once.
    [[nodiscard]] TimePoint next(TimePoint now) noexcept;

    void spend(TimePoint now) noexcept;

    std::size_t count_;
    std::chrono::nanoseconds per_;
    FlatList<TimePoint> grants_;  // the last `count`, a ring when it is full
    std::size_t oldest_ = 0;
    TimePoint last_ = TimePoint::min();
    std::size_t waiting_ = 0;
    LinkList<RateQueueLink> queue_;
};

}  // namespace detail

/// Lets at most `count` through in any window of length `per`, however it is placed:
/// `RateLimiter{10, 1s}`, `co_await limiter.acquire();`.
/// A cheap handle: copies mean the same limiter, which lives while a handle or a waiter does.
/// Strictly first come, first served. Belongs to one thread and, at a time, to one loop; in another
/// loop whose clock is behind the former one's it starts afresh. Remembers its last `count` grants,
/// 8 bytes each, and has one timer while somebody waits.
class RateLimiter {
    using State = detail::RateLimiterState;

public:
    class Awaiter : detail::RateWaiter {
    public:
        explicit Awaiter(detail::Shared<State> state) noexcept
            : RateWaiter(&Awaiter::on_ask), state_(std::move(state)) {}
        ~Awaiter() { state_->leave(*this); }

        bool await_ready() { return state_->take(EventLoop::current().now()); }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> coroutine) {
            EventLoop& loop = EventLoop::current();
            state_->make_room();
            detail::LoopAccess::timers(loop).reserve_one();
            switch (begin(coroutine)) {
                case Begin::cancelled: return false;
                case Begin::dropped: return true;
                case Begin::wait: break;
            }
            home = detail::LoopAccess::mailbox(loop);
            state_->enter(*this);
            return true;
        }
        void await_resume() {
            check();
            if (RateQueueLink::linked()) state_->pass(*this, EventLoop::current().now());
        }

    private:
        static bool on_ask(Waiter& waiter, Ask ask);

        detail::Shared<State> state_;
    };

    /// What `acquire` gives: to be awaited, once or several times. Copyable.
    class [[nodiscard("an acquire does nothing until it is awaited")]] Acquire {
    public:
        explicit Acquire(detail::Shared<State> state) noexcept : state_(std::move(state)) {}
        Awaiter operator co_await() const noexcept { return Awaiter(state_); }

        using grafo_awaitable = void;

    private:
        detail::Shared<State> state_;
    };

    /// A limiter that has granted nothing yet. `per` is rounded up to nanoseconds; `max()` and
    /// beyond means `count` in all. Throws `Error` if `count` is 0 or `per` is not positive. One
    /// allocation.
    template <class Rep, class Period>
    explicit RateLimiter(std::size_t count, const std::chrono::duration<Rep, Period>& per)
        : state_(new State(count, detail::to_nanoseconds(per))) {
        if (count == 0) throw Error("a RateLimiter needs a count of 1 or more, not 0");
        if (!(per > std::chrono::duration<Rep, Period>::zero())) {
            throw Error("a RateLimiter needs a duration above zero, not " +
                        std::to_string(detail::to_nanoseconds(per).count()) + " ns");
        }
    }
    // No moves: a handle is never empty.
    RateLimiter(const RateLimiter&) noexcept = default;
    RateLimiter& operator=(const RateLimiter&) noexcept = default;
    ~RateLimiter() = default;

    /// Awaited, waits until all that came before have been let through and one more may be; does
    /// not suspend where that is so now. What it spends is spent when it resumes.
    /// The await throws `Cancelled` when its context is cancelled: that spends nothing. No
    /// allocation once the limiter has grown to what is in use.
    [[nodiscard("an acquire does nothing until it is awaited")]] Acquire acquire() const noexcept {
        return Acquire(state_);
    }

    /// How many are let through in any window of `per()`.
    [[nodiscard]] std::size_t count() const noexcept { return state_->count(); }
    /// The length of the window.
    [[nodiscard]] std::chrono::nanoseconds per() const noexcept { return state_->per(); }
    /// How many wait for their turn.
    [[nodiscard]] std::size_t waiting() const noexcept { return state_->waiting(); }

    /// True for handles of the same limiter.
    friend bool operator==(const RateLimiter&, const RateLimiter&) noexcept = default;

private:
    friend struct detail::LimitAccess;

    detail::Shared<State> state_;
};

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/rate_limiter.hpp>
#endif
