#pragma once
#include <string_view>

#include <grafo/event.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/run_report.hpp>

namespace grafo {

/// A step of a node from one state to the next, as an `Observer` sees it. Valid during the call.
class Transition {
public:
    /// The node.
    [[nodiscard]] AnyNode node() const { return AnyNode(node_); }
    /// What it was. From `running` to `ready`: an attempt has failed, `error()` says why, and
    /// another will follow. From a final state to `pending`: it will run again, in a loop.
    [[nodiscard]] NodeState from() const noexcept { return from_; }
    /// What it is now.
    [[nodiscard]] NodeState to() const noexcept { return to_; }
    /// When, by the loop's clock; taken once between two pieces of the user's code.
    [[nodiscard]] EventLoop::TimePoint time() const noexcept { return time_; }
    /// Which try of the body it is about, from 1; 0 before the first.
    [[nodiscard]] unsigned attempt() const noexcept { return attempt_; }
    /// What the node, or its attempt, failed with; else null.
    [[nodiscard]] const NodeError* error() const noexcept { return error_; }

    // Made by the run.
    Transition(detail::NodeCore& node, NodeState before, NodeState after, EventLoop::TimePoint time,
               unsigned attempt, const NodeError* error) noexcept
        : node_(node), from_(before), to_(after), time_(time), attempt_(attempt), error_(error) {}

private:
    detail::NodeCore& node_;
    NodeState from_;
    NodeState to_;
    EventLoop::TimePoint time_;
    unsigned attempt_;
    const NodeError* error_;
};

/// Sees what happens in the runs of the executors it was given to (`executor.observe(observer)`):
/// every step of every node, with its time. Called on the loop's thread, in the order it happens,
/// also where nobody reads the run's events. Must outlive those runs. It may stop them, but not
/// wire their graphs anew: that throws `SafeExecutionError`. What it throws cancels the run, which
/// then ends in that exception. A run without an observer does nothing for one.
class Observer {
public:
    Observer() = default;
    Observer(const Observer&) = delete;
    Observer& operator=(const Observer&) = delete;
    virtual ~Observer() = default;

    /// A run of the executor of that name begins.
    virtual void run_started(std::string_view /*executor*/, EventLoop::TimePoint /*time*/) {}
    /// A node has changed its state.
    virtual void transition(const Transition& /*step*/) {}
    /// The run is over. Not called for a run that was dropped.
    virtual void run_ended(const RunReport& /*report*/, EventLoop::TimePoint /*time*/) {}
};

}  // namespace grafo
