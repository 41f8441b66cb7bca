#pragma once
#include <chrono>
#include <coroutine>
#include <exception>
#include <string>
#include <utility>

#include <grafo/detail/owned.hpp>
#include <grafo/detail/run.hpp>

// A node's life in a run: touched, ready, started, ended with a word, settled, passed on.
namespace grafo::detail {

inline void Run::resume_parked(NodeCore& node) {
    node.queued = false;
    node.phase = Phase::body;
    ++slots_;
    boundary_known_ = false;
    executing_ = &node;
    if (node.extras != nullptr && node.extras->timer != nullptr) node.extras->timer->resume();
    core_.enter(&node);
    core_.resume(node.coroutine());
    executing_ = nullptr;
    if (node.phase != Phase::finished) return;
    deactivate(node);
    finish_executed(node);
}

inline bool Run::touch(NodeCore& node) {
    if (node.stamp == stamp_) return true;
    if (node.plan != plan_id_) return false;
    reset(node);
    return true;
}

inline bool Run::touch_without_last(NodeCore& node) {
    const bool is_new = node.stamp != stamp_;
    if (!touch(node)) return false;
    if (is_new) --node.pending;
    return true;
}

inline void Run::reset(NodeCore& node) {
    static_cast<NodeLap&>(node) = NodeLap();
    node.pending = node.in.size();
    begin_lap(node, stamp_);
    if (node.NodeSpecials::any()) reset_specials(node);
}

// What is reset but the lap itself and what is special.
[[gnu::always_inline]] inline void Run::begin_lap(NodeCore& node, std::uint32_t stamp) noexcept {
    node.stamp = stamp;
    node.run = this;
    node.flags = 0;
    node.running = false;
}

[[gnu::noinline]] inline void Run::reset_specials(NodeCore& node) noexcept {
    node.blocked = false;
    node.held_back = false;
    node.runs_again = false;
    if (!node.has_extras) return;
    Extras& extras = *node.extras;
    extras.skip_reason.clear();
    extras.attempts = 0;
    extras.again = 0;
    extras.next_wave = 0;
    extras.without_slot = 0;
    if (extras.stream != nullptr) {
        extras.stream->open = false;
        extras.stream->copies = 0;
    }
    extras.former_error = std::exchange(extras.error, nullptr);
}

// What a node has of its run, or its lap, before: it goes when the node begins, and nowhere
// earlier, for its destructors are the user's code.
inline bool Run::has_former(const NodeCore& node) noexcept {
    return node.has_output || (node.has_extras && node.extras->former_error != nullptr);
}
inline void Run::drop_former(NodeCore& node) noexcept {
    node.clear_output();
    drop_former_error(node);
}
inline void Run::drop_former_error(NodeCore& node) noexcept {
    if (!node.has_extras) return;
    const std::exception_ptr gone = std::exchange(node.extras->former_error, nullptr);
}
inline void Run::drop_unread_former(NodeCore& node) noexcept {
    if (!node.runs_again) node.clear_output();
    drop_former_error(node);
}

inline bool Run::is_settled(const NodeCore& node) const noexcept {
    return node.stamp == stamp_ && node.phase == Phase::idle && node.state >= NodeState::completed;
}

inline void Run::make_ready(NodeCore& node) noexcept {
    if (node.phase != Phase::idle || node.state != NodeState::pending || node.held_back) return;
    if (running_again_ > 1 && node.runs_again && awaits_wave(node)) return;
    set_state(node, NodeState::ready);
    enqueue(node);
}

inline void Run::count_down(NodeCore& node) noexcept {
    if (--node.pending == 0) make_ready(node);
}

// A pipe counts from its producer's start on.
inline bool Run::stands(const InEdge& edge) noexcept {
    if (edge.pipe() != nullptr && edge.parent->stream()->open) return true;
    return is_taken(edge);
}

inline bool Run::is_triggered(const NodeCore& node) noexcept {
    if (node.in.empty()) return false;  // it was cut off
    const Trigger trigger = node.trigger();
    if (trigger == Trigger::all_settled) return true;
    bool all = true;
    bool any = false;
    for (const InEdge& edge : node.in) {
        const bool taken = stands(edge);
        all = all && taken;
        any = any || taken;
    }
    return trigger == Trigger::any_completed ? any : all;
}

inline bool Run::runs_code(const NodeCore& node) const noexcept {
    if (node.phase == Phase::parked) return true;
    if (node.state != NodeState::ready || (node.blocked && !is_triggered(node))) return false;
    return !stopping_ || runs_anyway(node);
}

inline void Run::begin(NodeCore& node) {
    if (node.phase == Phase::parked) {
        resume_parked(node);
        return;
    }
    if (node.phase == Phase::idle &&
        node.error() != nullptr) {  // of an edge, made when it was ready
        node.queued = false;
        end_unstarted(node);
        return;
    }
    const auto rests = [&] { return node.state == NodeState::ready && node.phase == Phase::idle; };
    if (has_former(node) && rests()) drop_former(node);
    node.queued = false;
    if (!rests() || frozen_) return;  // an edge was added, or the run is no more
    if (!runs_code(node)) {
        begin_in_vain(node);
        return;
    }
    node.phase = Phase::body;
    node.running = true;
    if (node.extras != nullptr) node.extras->next_wave = 0;
    node.called = !node.needs_driver;  // else when its callbacks have let it begin
    ++slots_;
    executing_ = &node;
    core_.enter(&node);
    std::coroutine_handle<> body;
    try {
        if (!has_limits(node)) started(node);
        if (rewired_) {
            check_arguments(node);
            check_moved(node);
        }
        body = start_body(node);
    } catch (...) {
        executing_ = nullptr;
        finish_at_once(node, std::current_exception());
        return;
    }
    if (!body) {
        executing_ = nullptr;
        finish_at_once(node, nullptr);
        return;
    }
    boundary_known_ = false;
    core_.resume(body);
    executing_ = nullptr;
    if (node.phase == Phase::finished) {
        finish_executed(node);
    } else if (!dropped_) {
        activate(node);
    }
}

// It has come to its end before it waited.
inline void Run::finish_executed(NodeCore& node) {
    if (dropped_ || frozen_) {
        push_finished(node);
    } else {
        finish(node);
    }
}

inline void Run::begin_in_vain(NodeCore& node) {
    if (node.blocked && !is_triggered(node)) {
        skip_blocked(node);
    } else {
        settle(node, NodeState::cancelled);
    }
}

inline void Run::started(NodeCore& node) {
    if (options_.timing) {
        node.runtime = boundary().time_since_epoch();
        node.timed = true;
    }
    if (options_.streaming) tell(EventKind::started, node);
    set_state(node, NodeState::running);
    if (node.feeds_pipes) open_stream(node);
}

inline void Run::started_late(NodeCore& node) {
    boundary_known_ = false;
    started(node);
    schedule();  // the reader of events, and those of its chunks
}

inline void Run::go_on(SlotAwaiter& waiter) {
    take_slot_anyway(waiter.node());
    boundary_known_ = false;
    waiter.unlink();
    Waiter::resume(waiter);
}

inline std::coroutine_handle<> Run::start_body(NodeCore& node) {
    if (!node.needs_driver) return node.call(&Run::on_done, &node);
    Extras& extras = node.need_extras();
    extras.driver = extras.drive(node);
    const auto driver = TaskAccess::handle(extras.driver);
    driver.promise().context = &node;
    driver.promise().tell_end(&Run::on_done, &node);
    return driver;
}

inline void Run::finish_at_once(NodeCore& node, std::exception_ptr error) {
    boundary_known_ = false;
    if (dropped_ || frozen_) {
        node.phase = Phase::finished;
        push_finished(node);
        return;
    }
    end_body(node, std::move(error));
}

inline void Run::finish(NodeCore& node) {
    std::exception_ptr error;
    if (!node.running) {  // a transform of one of its edges threw: it never started
        node.phase = Phase::idle;
        fail(node);
        drop_unread_former(node);
        return;
    }
    boundary_known_ = false;
    try {
        if (node.needs_driver) {
            const Task<> driver = std::move(node.extras->driver);
            error = TaskAccess::handle(driver).promise().result.error();
        } else {
            error = node.take_result();
        }
    } catch (...) {
        error = std::current_exception();
    }
    end_body(node, std::move(error));
}

// What the edges keep for the node: what transforms made, chunks that it has not read.
inline void Run::release_forwards(NodeCore& node) noexcept {
    for (std::uint32_t i = 0; i < node.in.size(); ++i) {  // destructors may change the edges
        Forward* const forward = node.in[i].forward;
        if (forward != nullptr && forward->owned()) forward->reset();
    }
}

inline void Run::end_body(NodeCore& node, std::exception_ptr error) {
    node.phase = Phase::idle;
    node.running = false;
    if (node.extras == nullptr || std::exchange(node.extras->without_slot, 0) == 0) --slots_;
    if (node.timed) node.runtime = boundary().time_since_epoch() - node.runtime;
    if (node.state == NodeState::completed) node.state = NodeState::running;  // for on_after_run
    if (node.keeps_arguments) node.release_arguments();
    if (error != nullptr || (node.flags & Context::cancelled) != 0) node.clear_output();
    if (dropped_ || fatal_ != nullptr) {  // dropped by a destructor of one of those
        if (node.owns_forwards) release_forwards(node);
        drop_former(node);
        node.state = NodeState::cancelled;
        return;
    }
    if (error == nullptr && (node.flags & Context::cancelled) == 0) {
        settle(node, NodeState::completed);
        return;
    }
    NodeState state = NodeState::cancelled;
    if (error != nullptr) {
        try {
            std::rethrow_exception(error);
        } catch (const Skip& skip) {
            set_skip_reason(node, skip.why());
            find_skip_cause(node);
            state = NodeState::skipped;
        } catch (const Cancelled&) {
        } catch (const NodeError& failure) {
            if (!is_failure_of_producer(node, failure)) return fail_with(node, std::move(error));
            set_skip_reason(node, "its producer " + in_quotes(failure.node().id()) + " failed");
            state = NodeState::skipped;
        } catch (...) {
            return fail_with(node, std::move(error));
        }
    }
    if (node.timed_out != TimedOut::no) {
        node.need_extras().error = std::make_exception_ptr(TimeoutError(timeout_text(node)));
        fail(node);
    } else {
        settle(node, state);
    }
}

// Did the node let pass what came out of a pipe?
inline bool Run::is_failure_of_producer(const NodeCore& node, const NodeError& failure) {
    const AnyNode failed = failure.node();
    for (const InEdge& edge : node.in) {
        if (edge.parent != failed.core() || edge.forward == nullptr) continue;
        if (edge.forward->pipe() != nullptr) return edge.parent->state == NodeState::failed;
    }
    return false;
}

inline void Run::fail_with(NodeCore& node, std::exception_ptr error) {
    node.need_extras().error = without_handle(std::move(error));
    fail(node);
}

inline void Run::fail(NodeCore& node) {
    report_->errors->list.push_back(make_node_error(node));
    settle(node, NodeState::failed);
    if (options_.policy == ErrorPolicy::fail_fast && !stopping_) {
        stopping_ = true;
        cancel_active();
    }
}

inline void Run::set_skip_reason(NodeCore& node, std::string why) {
    Extras& extras = node.need_extras();
    extras.skip_reason = std::move(why);
    extras.skip_cause = 0;
}

// What came out of a pipe names the first cause already.
inline void Run::find_skip_cause(NodeCore& node) {
    for (const InEdge& edge : node.in) {
        if (edge.pipe() == nullptr) continue;
        if (edge.parent->state != NodeState::skipped) continue;
        std::size_t cause = 0;
        if (skip_of_producer(*edge.parent, cause) == node.extras->skip_reason) {
            node.extras->skip_cause = cause;
            return;
        }
    }
}

// The parent, and what was the first cause of it: a reason as long as the path would take
// quadratic time.
inline void Run::skip_blocked(NodeCore& node) {
    Extras& extras = node.need_extras();
    extras.skip_reason = "it was disconnected from its parents";
    extras.skip_cause = 0;
    for (const InEdge& edge : node.in) {
        if (stands(edge)) continue;
        const NodeCore& parent = *edge.parent;
        if (parent.ended == NodeState::completed) {
            extras.skip_reason =
                "the condition of the edge from " + in_quotes(parent.id) + " was not met";
            break;
        }
        extras.skip_reason = "parent " + in_quotes(parent.id) + " " +
                             (parent.ended == NodeState::failed ? "" : "was ") +
                             state_name(parent.ended);
        if (parent.ended == NodeState::skipped && !parent.extras->skip_reason.empty()) {
            extras.skip_reason += ": ";
            extras.skip_cause = extras.skip_reason.size();
            extras.skip_reason.append(parent.extras->skip_reason, parent.extras->skip_cause);
        }
        break;
    }
    settle(node, NodeState::skipped);
}

inline void Run::settle(NodeCore& node, NodeState state) {
    if (node.owns_forwards) {
        release_forwards(node);
        if (dropped_) return;  // by a destructor
    }
    node.ended = state;
    set_state(node, state);
    node.pending = ++settled_;
    if (state == NodeState::completed) {
        record(report_->completed, EventKind::completed, node);
    } else {
        record_end(node, state);
    }
    if (node.runs_again) {
        settle_lap(node);
    } else {
        deliver_all(node);
        if (!readers_.empty()) release_readers(&node);
    }
    if (!wave_waiters_.empty()) retry_wave_waiters();
}

inline void Run::record_end(NodeCore& node, NodeState state) {
    switch (state) {
        case NodeState::failed: {
            report_->failed.push_back(&node);
            if (!options_.streaming) break;
            Owned<NodeError> error(new NodeError(report_->errors->list.back()));
            tell_error(EventKind::failed, node, std::move(error), std::chrono::nanoseconds(0));
            break;
        }
        case NodeState::skipped: record(report_->skipped, EventKind::skipped, node); break;
        default: record(report_->cancelled, EventKind::cancelled, node); break;
    }
}

inline void Run::deliver(NodeCore& parent, const OutEdge& edge) {
    NodeCore& child = edge.child();
    if (!touch(child)) return;
    Forward* const forward = edge.forward();
    if (forward != nullptr && forward->pipe() != nullptr && parent.stream()->open) {
        forward->pipe()->finish();  // it was counted down when the parent began
        return;
    }
    if (is_settled(child)) return;
    // The parent was stuck and has failed: the child goes on with what it was given before.
    if (!readers_.empty() && !parent.held_back && reads_former(child, parent)) return;
    if (parent.ended != NodeState::completed) {
        block(child);
    } else if (forward != nullptr && stopping_ && !runs_anyway(child)) {
        forward->taken = true;  // nobody knows: it is the stop that keeps the child from starting
    } else if (forward != nullptr) {
        if (!transform(parent, child, *forward)) return;
        if (!forward->taken) block(child);
    }
    count_down(child);
}

inline bool Run::transform(NodeCore& parent, NodeCore& child, Forward& forward) {
    if (forward.in_use) {  // for a lap that is over, and soon it is as well
        edge_tasks_.for_each([&](EdgeTask& task) {
            if (&task.forward == &forward) task.again = true;
        });
        finished_edges_.for_each([&](EdgeTask& task) {
            if (&task.forward == &forward) task.again = true;
        });
        return false;
    }
    try {
        boundary_known_ = false;
        transforming_ = true;
        core_.enter(&parent);
        Task<> task = forward.evaluate(parent);
        transforming_ = false;
        if (dropped_ || frozen_) {  // by the transform itself
            forward.reset();
            return false;
        }
        if (!task) return true;
        auto* edge = new EdgeTask(*this, parent, child, forward, std::move(task));
        edge_tasks_.push_back(*edge);
        edge->start(core_);
    } catch (...) {
        transforming_ = false;
        if (dropped_ || frozen_) return false;
        edge_threw(parent, child, forward, std::current_exception());
    }
    return false;
}

inline void Run::finish_edge(EdgeTask& finished) {
    Owned<EdgeTask> task(&finished);
    task->unlink();
    NodeCore& parent = task->parent;
    const OutEdge edge(task->child, &task->forward);
    const bool again = task->removed && task->again;
    if (!task->removed) end_edge(*task);
    task = nullptr;
    if (again) deliver(parent, edge);
    if (!readers_.empty()) release_readers(nullptr);
}

inline void Run::end_edge(EdgeTask& task) {
    std::exception_ptr error = task.error();
    if (is_settled(task.child)) {
        task.forward.reset();  // nobody will take it
        return;
    }
    if (error != nullptr) {
        edge_threw(task.parent, task.child, task.forward, std::move(error));
        return;
    }
    if (!task.forward.taken) block(task.child);
    count_down(task.child);
}

inline void Run::edge_threw(const NodeCore& parent, NodeCore& child, Forward& forward,
                            std::exception_ptr cause) {
    bool cancelled = false;
    try {
        std::rethrow_exception(cause);
    } catch (const Cancelled&) {
        cancelled = true;
    } catch (...) {
    }
    if (cancelled) {
        // By the stop, which keeps the child from starting, or by what the edge itself has met.
        forward.taken = stopping_ && !runs_anyway(child);
        if (!forward.taken) block(child);
        count_down(child);
        return;
    }
    count_down_silently(child);
    if (child.phase != Phase::idle || child.error() != nullptr || is_settled(child)) return;
    try {
        std::rethrow_exception(std::move(cause));
    } catch (...) {
        child.need_extras().error = make_edge_error(parent, child, forward);
    }
    end_unstarted(child);
}

// It has an error, and ends once nobody reads its former output any more, and it is in no list.
inline void Run::end_unstarted(NodeCore& node) noexcept {
    if (node.held_back || node.phase != Phase::idle || is_settled(node) || node.queued) return;
    node.phase = Phase::finished;
    push_finished(node);
}

inline std::exception_ptr Run::make_edge_error(const NodeCore& parent, const NodeCore& child,
                                               const Forward& forward) {
    try {
        std::string what = forward.asking ? "the condition" : "the transform";
        what += " of the edge " + in_quotes(parent.id) + " -> " + in_quotes(child.id);
        what += " threw: " + exception_text(std::current_exception());
        std::throw_with_nested(Error(what));
    } catch (...) {
        return std::current_exception();
    }
}

}  // namespace grafo::detail
