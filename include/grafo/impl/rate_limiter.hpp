#pragma once
#include <chrono>
#include <cstddef>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/rate_limiter.hpp>

namespace grafo::detail {

GRAFO_INLINE RateLimiterState::RateLimiterState(std::size_t count, std::chrono::nanoseconds per)
    : count_(count), per_(per) {}

GRAFO_INLINE bool RateLimiterState::take(TimePoint now) {
    expect_one_thread();
    if (!queue_.empty() || next(now) > now) return false;
    make_room();
    spend(now);
    return true;
}

GRAFO_INLINE void RateLimiterState::enter(RateWaiter& waiter) noexcept {
    queue_.push_back(waiter);
    ++waiting_;
    advance();
}

GRAFO_INLINE void RateLimiterState::pass(RateWaiter& waiter, TimePoint now) noexcept {
    spend(now);
    leave(waiter);
}

GRAFO_INLINE void RateLimiterState::leave(RateWaiter& waiter) noexcept {
    if (!waiter.RateQueueLink::linked()) return;
    unqueue(waiter);
    advance();
}

GRAFO_INLINE void RateLimiterState::make_room() {
    const std::size_t needed = grants_.size() + waiting_ + 1;
    if (grants_.capacity() >= needed || grants_.capacity() >= count_) return;
    const std::size_t ample = needed + needed / 2 + 8;
    grants_.reserve(ample < count_ ? ample : count_);
}

GRAFO_INLINE void RateLimiterState::advance() noexcept {
    while (!queue_.empty()) {
        auto& first = static_cast<RateWaiter&>(queue_.front());
        if (running(first.home)) {
            if (!std::exchange(first.called, true)) call(first);
            return;
        }
        if (advance_in(first.home)) return;
        unqueue(first);  // its loop is gone
    }
}

GRAFO_INLINE void RateLimiterState::call(RateWaiter& waiter) {
    EventLoop& loop = EventLoop::current();
    const TimePoint now = loop.now();
    const TimePoint at = next(now);
    if (at <= now) {
        LoopCore::current->make_ready(waiter);
    } else if (at != TimePoint::max()) {
        TimerHeap& timers = LoopAccess::timers(loop);
        timers.reserve_one();
        timers.insert(waiter, at);
    }
}

GRAFO_INLINE void RateLimiterState::unqueue(RateWaiter& waiter) noexcept {
    waiter.leave();
    waiter.RateQueueLink::unlink();
    --waiting_;
}

GRAFO_INLINE RateLimiterState::TimePoint RateLimiterState::next(TimePoint now) noexcept {
    if (now < last_) {  // another clock: what was granted by the former one says nothing
        grants_.clear();
        oldest_ = 0;
        last_ = now;
    }
    if (grants_.size() < count_) return now;
    return after(grants_[oldest_], per_);
}

GRAFO_INLINE void RateLimiterState::spend(TimePoint now) noexcept {
    last_ = now;
    if (grants_.size() < count_) {
        grants_.push_back(now);
        return;
    }
    grants_[oldest_] = now;
    oldest_ = oldest_ + 1 == count_ ? 0 : oldest_ + 1;
}

}  // namespace grafo::detail

namespace grafo {

GRAFO_INLINE bool RateLimiter::Awaiter::on_ask(Waiter& waiter, Ask ask) {
    auto& self = static_cast<Awaiter&>(waiter);
    if (ask == Ask::busy || !self.RateQueueLink::linked()) return false;
    self.state_->leave(self);
    if (ask != Ask::cancel) return false;
    self.gave_up = true;
    detail::LoopCore::current->make_ready(self);
    return true;
}

}  // namespace grafo
