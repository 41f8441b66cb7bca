#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <grafo/detail/duration_text.hpp>
#include <grafo/detail/extras.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/inspect.hpp>
#include <grafo/detail/node_core.hpp>
#include <grafo/detail/slots.hpp>
#include <grafo/detail/when_used.hpp>
#include <grafo/detail/wiring.hpp>
#include <grafo/semaphore.hpp>
#include <grafo/sleep.hpp>

// A node with callbacks, deferred arguments, a timeout, limits or retries is run by a coroutine of
// ours; any other is called directly.
namespace grafo::detail {

[[nodiscard]] std::string timeout_text(const NodeCore& node);

// Cancels a node when its time is up; stands still while the node is parked on a chunk.
class NodeTimer : Timer {
public:
    NodeTimer(NodeCore& node, TimedOut what, std::chrono::nanoseconds limit)
        : Timer(&NodeTimer::on_ask), node_(node), what_(what), left_(limit) {
        step = &NodeTimer::fire;
    }

    void start();
    using Timer::stop;
    void pause() noexcept;
    void resume() {
        if (std::exchange(paused_, false)) start();
    }

private:
    static bool on_ask(Waiter&, Ask) { return false; }
    static void fire(Job& job) { static_cast<NodeTimer&>(job).expire(); }
    void expire() noexcept;

    NodeCore& node_;
    TimedOut what_;
    bool paused_ = false;
    std::chrono::nanoseconds left_;
    EventLoop::TimePoint deadline_{};
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
        if (!body_) return;
        const std::exception_ptr error = node_.take_result();
        if (error != nullptr) std::rethrow_exception(error);
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

// No time at all is over at the first suspension: who has none was in time.
inline void forgive_timeout(NodeCore& node) noexcept {
    if ((node.flags & Context::pending) == 0 || node.stop_asked) return;
    node.timed_out = TimedOut::no;
    node.flags &= Context::dropped;
}

template <class = WhenUsed>
Task<> run_attempt(NodeCore& node, Extras& extras) {
    NodeTimer timer(node, TimedOut::attempt, extras.timeout);
    const TimerScope scope(extras, timer);
    node.called = true;
    ++extras.attempts;
    const std::uint32_t count = node.type().param_count;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!node.is_deferred(i) || node.find_edge(i) != nullptr) continue;
        const AnySlot at = node.any_slot(i);
        Task<> evaluation = at.actions->evaluate(at.slot);
        if (evaluation) co_await std::move(evaluation);
    }
    co_await Body(node);
    if (extras.timeout.count() <= 0) forgive_timeout(node);
}

// What a node holds during an attempt.
class HeldLimits {
public:
    HeldLimits() noexcept {}
    HeldLimits(const HeldLimits&) = delete;
    HeldLimits& operator=(const HeldLimits&) = delete;
    ~HeldLimits() { release(); }
    void release() noexcept { guards_.clear(); }

    void reserve(std::size_t guards) { guards_.reserve(guards); }
    void add(Semaphore::Guard&& guard) { guards_.push_back(std::move(guard)); }

private:
    FlatList<Semaphore::Guard> guards_;
};

// The failure of an attempt that another one may follow; null if it must stand. Asks the user.
[[nodiscard]] std::exception_ptr failed_attempt(NodeCore& node, const Extras& extras,
                                                std::exception_ptr error);

// Which pauses a node draws: by its id, and as there may be many of that, by how many nodes with
// retries have begun in its run before it.
inline std::uint64_t pauses_of(const std::string& id, std::uint64_t number) noexcept {
    return std::hash<std::string>()(id) + number * 0x9e3779b97f4a7c15U;
}

// The attempts of a node that retries, to the one that counts.
template <class = WhenUsed>
Task<> run_attempts(NodeCore& node, Extras& extras, HeldLimits& held) {
    const std::uint64_t pauses = pauses_of(node.id, node.run->retriers++);
    for (;;) {
        std::exception_ptr error;
        try {
            co_await run_attempt(node, extras);
        } catch (const Skip&) {
            if (node.timed_out != TimedOut::attempt) throw;  // else it is a timeout all the same
        } catch (const Cancelled&) {
            if (node.timed_out != TimedOut::attempt) throw;
        } catch (...) {
            error = std::current_exception();
        }
        if (error == nullptr && node.timed_out == TimedOut::no) co_return;
        if ((node.flags & Context::dropped) != 0) co_await yield();  // by its body: it ends there
        const std::exception_ptr failure = failed_attempt(node, extras, error);
        if (failure == nullptr) {
            if (error != nullptr) std::rethrow_exception(error);
            co_return;
        }
        node.timed_out = TimedOut::no;
        node.flags &= Context::dropped;  // the timeout was that attempt's
        node.clear_output();
        held.release();
        const std::chrono::nanoseconds delay = extras.retry->delay(extras.attempts, pauses);
        node.run->retrying(node, failure, delay);
        if (delay.count() > 0) {
            SlotRelease slot(node);
            co_await sleep_for(delay);
            co_await slot.take_back();
        } else {
            co_await yield();  // so that a stop, a timer or the reader gets its turn
        }
        if (has_limits(node)) co_await extras.limits->acquire(held, node);
        if ((node.flags & Context::cancelled) != 0) throw Cancelled();
        node.run->trying_again(node);
    }
}

template <class = WhenUsed>
Task<> run_callbacks(NodeCore& node, Callbacks& callbacks) {
    for (std::size_t i = 0; i < callbacks.size(); ++i) {
        Task<> callback = callbacks[i]->call(node);
        if (callback) co_await std::move(callback);
    }
}

template <class = WhenUsed>
Task<> drive_node(NodeCore& node) {
    Extras& extras = *node.extras;
    HeldLimits held;
    if (has_limits(node)) {
        co_await extras.limits->acquire(held, node);
        node.run->started_late(node);
    }
    NodeTimer total(node, TimedOut::total, extras.total_timeout);
    total.start();
    co_await run_callbacks(node, extras.on_before_run);
    if (extras.retry != nullptr) {
        co_await extras.run_attempts(node, extras, held);
    } else {
        co_await run_attempt(node, extras);
    }
    total.stop();
    if (extras.total_timeout.count() <= 0) forgive_timeout(node);
    held.release();
    if ((node.flags & Context::cancelled) != 0) throw Cancelled();
    node.state = NodeState::completed;
    co_await run_callbacks(node, extras.on_after_run);
}

// Called where the node gets what only a driver does.
template <class = WhenUsed>
void use_driver(NodeCore& node) {
    node.need_extras().drive = &drive_node<>;
    update_driver(node);
}

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/driver.hpp>
#endif
