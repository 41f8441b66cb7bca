#pragma once
#include <chrono>
#include <exception>
#include <string>

#include <grafo/detail/driver.hpp>
#include <grafo/detail/inline.hpp>

namespace grafo::detail {

GRAFO_INLINE std::string timeout_text(const NodeCore& node) {
    const bool total = node.timed_out == TimedOut::total;
    const auto limit = total ? node.extras->total_timeout : node.extras->timeout;
    return "node " + in_quotes(node.id) + " did not end within " + duration_text(limit) +
           (total ? " (total_timeout)" : " (timeout)");
}

GRAFO_INLINE void NodeTimer::start() {
    if (left_ == std::chrono::nanoseconds::max()) return;
    if (left_.count() <= 0) {
        expire();
        return;
    }
    EventLoop& loop = EventLoop::current();
    TimerHeap& timers = LoopAccess::timers(loop);
    timers.reserve_one();
    deadline_ = after(loop.now(), left_);
    timers.insert(*this, deadline_);
}

GRAFO_INLINE void NodeTimer::pause() noexcept {
    if (!queued()) return;
    left_ = deadline_ - EventLoop::current().now();
    stop();
    paused_ = true;
}

GRAFO_INLINE void NodeTimer::expire() noexcept {
    // After the timeout of an attempt that could be followed by another, the total one counts.
    const bool overrides = what_ == TimedOut::total && node_.extras->retry != nullptr;
    if (node_.timed_out == TimedOut::no || overrides) node_.timed_out = what_;
    node_.cancel();
}

GRAFO_INLINE std::exception_ptr failed_attempt(NodeCore& node, const Extras& extras,
                                               std::exception_ptr error) {
    if (node.stop_asked || node.timed_out == TimedOut::total) return nullptr;
    if (extras.attempts >= extras.retry->attempts()) return nullptr;
    if (error == nullptr) error = std::make_exception_ptr(TimeoutError(timeout_text(node)));
    if (!extras.retry->wants(error) || node.stop_asked) return nullptr;
    return error;
}

}  // namespace grafo::detail
