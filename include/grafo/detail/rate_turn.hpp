#pragma once
#include <coroutine>
#include <utility>

#include <grafo/detail/shared.hpp>
#include <grafo/detail/slots.hpp>
#include <grafo/rate_limiter.hpp>

namespace grafo::detail {

// Waits for a node's turn at a rate, and takes it if the node gets its place under
// `max_concurrency` at that moment. Gives false where it does not: nothing is spent then, since the
// node would use it later than the rate let it through.
class RateTurnAwaiter : RateWaiter {
public:
    RateTurnAwaiter(const RateLimiter& rate, SlotRelease& slot)
        : RateWaiter(&RateTurnAwaiter::on_ask), state_(LimitAccess::state(rate)), slot_(slot) {}
    ~RateTurnAwaiter() { state_->leave(*this); }

    bool await_ready() {
        const EventLoop::TimePoint now = EventLoop::current().now();
        if (!slot_.could_take()) return state_->waiting() == 0;
        taken_ = state_->take(now);
        return taken_;
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        EventLoop& loop = EventLoop::current();
        state_->make_room();
        LoopAccess::timers(loop).reserve_one();
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        home = LoopAccess::mailbox(loop);
        state_->enter(*this);
        return true;
    }
    bool await_resume() {
        check();
        if (RateQueueLink::linked() && slot_.could_take()) {
            state_->pass(*this, EventLoop::current().now());
            taken_ = true;
        }
        return taken_ && slot_.take_at_once();
    }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<RateTurnAwaiter&>(waiter);
        if (ask == Ask::busy || !self.RateQueueLink::linked()) return false;
        self.state_->leave(self);
        if (ask != Ask::cancel) return false;
        self.gave_up = true;
        LoopCore::current->make_ready(self);
        return true;
    }

    Shared<RateLimiterState> state_;
    SlotRelease& slot_;
    bool taken_ = false;
};

// What is awaited; the awaiter itself is neither copied nor moved.
class RateTurn {
public:
    RateTurn(const RateLimiter& rate, SlotRelease& slot) noexcept : rate_(rate), slot_(slot) {}
    RateTurnAwaiter operator co_await() const { return RateTurnAwaiter(rate_, slot_); }
    using grafo_awaitable = void;

private:
    const RateLimiter& rate_;
    SlotRelease& slot_;
};

}  // namespace grafo::detail
