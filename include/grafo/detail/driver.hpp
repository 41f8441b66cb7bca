#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <utility>

#include <grafo/detail/extras.hpp>
#include <grafo/detail/node_core.hpp>
#include <grafo/sleep.hpp>

// A node with callbacks, deferred arguments or a timeout is run by a coroutine of ours; any other
// is called directly.
namespace grafo::detail {

// Cancels a node when its time is up; stands still while the node is parked on a chunk.
class NodeTimer : Timer {
public:
    NodeTimer(NodeCore& node, TimedOut what, std::chrono::nanoseconds limit)
        : Timer(&NodeTimer::on_ask), node_(node), what_(what), left_(limit) {
        step = &NodeTimer::fire;
    }
    ~NodeTimer() { stop(); }

    void start() {
        if (left_ == std::chrono::nanoseconds::max()) return;
        if (left_.count() <= 0) {
            expire();
            return;
        }
        EventLoop& loop = EventLoop::current();
        heap_ = &LoopAccess::timers(loop);
        heap_->reserve_one();
        deadline_ = after(loop.now(), left_);
        heap_->insert(*this, deadline_);
    }
    void stop() noexcept {
        if (position != not_queued) heap_->remove(*this);
        unlink();
    }
    void pause() noexcept {
        if (position == not_queued) return;
        left_ = deadline_ - EventLoop::current().now();
        stop();
        paused_ = true;
    }
    void resume() {
        if (std::exchange(paused_, false)) start();
    }

private:
    static bool on_ask(Waiter&, Ask) { return false; }
    static void fire(Job& job) { static_cast<NodeTimer&>(job).expire(); }
    void expire() noexcept {
        if (node_.timed_out == TimedOut::no) node_.timed_out = what_;
        node_.cancel();
    }

    NodeCore& node_;
    TimedOut what_;
    bool paused_ = false;
    std::chrono::nanoseconds left_;
    EventLoop::TimePoint deadline_{};
    TimerHeap* heap_ = nullptr;
};

// Awaits the node's body: its output is there afterwards, or it throws what the body threw.
class BodyAwaiter {
public:
    explicit BodyAwaiter(NodeCore& node) noexcept : node_(node) {}
    BodyAwaiter(const BodyAwaiter&) = delete;
    BodyAwaiter& operator=(const BodyAwaiter&) = delete;
    ~BodyAwaiter() { node_.destroy_body(); }

    bool await_ready() {
        body_ = node_.call(&BodyAwaiter::on_done, this);
        return !body_;
    }
    void await_suspend(std::coroutine_handle<> driver) noexcept {
        driver_ = driver;
        LoopCore::current->next = body_;
    }
    void await_resume() {
        if (body_) node_.take_result();
    }

private:
    static void on_done(void* target) noexcept {
        LoopCore::current->next = static_cast<BodyAwaiter*>(target)->driver_;
    }

    NodeCore& node_;
    std::coroutine_handle<> body_;
    std::coroutine_handle<> driver_;
};

// What is awaited to run the body; the awaiter itself is neither copied nor moved.
class Body {
public:
    explicit Body(NodeCore& node) noexcept : node_(node) {}
    BodyAwaiter operator co_await() const noexcept { return BodyAwaiter(node_); }
    using grafo_awaitable = void;

private:
    NodeCore& node_;
};

// Takes the running attempt's timer to its node, where a parked chunk finds it.
class TimerScope {
public:
    TimerScope(Extras& extras, NodeTimer& timer) : extras_(extras) {
        extras_.timer = &timer;
        timer.start();
    }
    TimerScope(const TimerScope&) = delete;
    TimerScope& operator=(const TimerScope&) = delete;
    ~TimerScope() { extras_.timer = nullptr; }

private:
    Extras& extras_;
};

inline Task<> run_attempt(NodeCore& node, Extras& extras) {
    NodeTimer timer(node, TimedOut::attempt, extras.timeout);
    const TimerScope scope(extras, timer);
    node.called = true;
    extras.attempts = 1;
    std::uint32_t index = 0;
    Task<> evaluation;
    while (node.next_deferred(index, evaluation)) {
        if (evaluation) co_await std::move(evaluation);
    }
    co_await Body(node);
}

inline Task<> run_callbacks(NodeCore& node, Callbacks& callbacks) {
    for (std::size_t i = 0; i < callbacks.size(); ++i) {
        Task<> callback = callbacks[i]->call(node);
        if (callback) co_await std::move(callback);
    }
}

inline Task<> drive_node(NodeCore& node) {
    Extras& extras = *node.extras;
    NodeTimer total(node, TimedOut::total, extras.total_timeout);
    total.start();
    co_await run_callbacks(node, extras.on_before_run);
    co_await run_attempt(node, extras);
    total.stop();
    if ((node.flags & Context::cancelled) != 0) throw Cancelled();
    node.state = NodeState::completed;
    co_await run_callbacks(node, extras.on_after_run);
}

}  // namespace grafo::detail
