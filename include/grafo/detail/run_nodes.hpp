#pragma once
#include <chrono>
#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <grafo/detail/run.hpp>

// A node's life in a run: touched, ready, started, ended with a word, settled, passed on.
namespace grafo::detail {

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
    node.stamp = stamp_;
    node.run = this;
    node.state = NodeState::pending;
    node.phase = Phase::idle;
    node.queued = false;
    node.blocked = false;
    node.called = false;
    node.output_moved = false;
    node.timed_out = TimedOut::no;
    node.flags = 0;
    node.running = false;
    node.pending = node.in.size();
    node.runtime = {};
    if (node.has_output) node.clear_output();
    if (node.error != nullptr) node.error = nullptr;
    if (node.extras != nullptr) {
        node.extras->skip_reason.clear();
        node.extras->attempts = 0;
    }
}

inline bool Run::is_settled(const NodeCore& node) const noexcept {
    return node.stamp == stamp_ && node.phase == Phase::idle && node.state >= NodeState::completed;
}

inline void Run::make_ready(NodeCore& node) noexcept {
    if (node.phase != Phase::idle || node.state != NodeState::pending) return;
    node.state = NodeState::ready;
    if (!std::exchange(node.queued, true)) ready_.push(node);
}

inline void Run::count_down(NodeCore& node) noexcept {
    if (--node.pending == 0) make_ready(node);
}

inline void Run::begin(NodeCore& node) {
    node.queued = false;
    if (node.phase == Phase::parked) {
        resume_parked(node);
        return;
    }
    if (node.state != NodeState::ready) return;  // an edge was added meanwhile
    if (node.blocked) {
        skip_blocked(node);
        return;
    }
    if (stopping_) {
        settle(node, NodeState::cancelled);
        return;
    }
    if (active_.size() == active_.capacity()) active_.reserve(active_.size() * 2 + 16);
    if (options_.streaming) tell(EventKind::started, node);
    node.state = NodeState::running;
    node.phase = Phase::body;
    node.running = true;
    node.called = !node.needs_driver;  // else when its callbacks have let it begin
    if (options_.timing) node.runtime = boundary().time_since_epoch();
    ++slots_;
    executing_ = &node;
    std::coroutine_handle<> body;
    try {
        if (rewiring_.any()) check_arguments(node);
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
    if (node.phase != Phase::finished && !dropped_) activate(node);
}

inline std::coroutine_handle<> Run::start_body(NodeCore& node) {
    if (!node.needs_driver) return node.call(&Run::on_done, &node);
    Extras& extras = node.need_extras();
    extras.driver = drive_node(node);
    const auto driver = TaskAccess::handle(extras.driver);
    driver.promise().context = &node;
    driver.promise().done = &Run::on_done;
    driver.promise().target = &node;
    return driver;
}

inline void Run::finish_at_once(NodeCore& node, std::exception_ptr error) {
    boundary_known_ = false;
    if (dropped_ || frozen_) {
        node.phase = Phase::finished;
        finished_.push(node);
        return;
    }
    end_body(node, std::move(error));
}

inline void Run::finish(NodeCore& node) {
    std::exception_ptr error;
    if (!node.running) {  // a transform of one of its edges threw: it never started
        node.phase = Phase::idle;
        fail(node);
        return;
    }
    boundary_known_ = false;
    try {
        if (node.extras != nullptr && node.extras->driver) {
            const Task<> driver = std::move(node.extras->driver);
            TaskAccess::handle(driver).promise().result.take();
        } else {
            node.take_result();
        }
    } catch (...) {
        error = std::current_exception();
    }
    end_body(node, std::move(error));
}

inline void Run::end_body(NodeCore& node, std::exception_ptr error) {
    node.phase = Phase::idle;
    node.running = false;
    --slots_;
    if (options_.timing) node.runtime = boundary().time_since_epoch() - node.runtime;
    node.release_arguments();
    if (node.owns_forwards) {
        for (const InEdge& edge : node.in) {
            if (edge.forward != nullptr && edge.forward->owned()) edge.forward->reset();
        }
    }
    if (fatal_ != nullptr) {
        node.clear_output();
        node.state = NodeState::cancelled;
        return;
    }
    if (error == nullptr && (node.flags & Context::cancelled) == 0) {
        settle(node, NodeState::completed);
        return;
    }
    node.clear_output();
    NodeState state = NodeState::cancelled;
    if (error != nullptr) {
        try {
            std::rethrow_exception(error);
        } catch (const Skip& skip) {
            node.need_extras().skip_reason = skip.why();
            state = NodeState::skipped;
        } catch (const Cancelled&) {
        } catch (...) {
            node.error = without_handle(std::move(error));
            fail(node);
            return;
        }
    }
    if (node.timed_out != TimedOut::no) {
        node.error = std::make_exception_ptr(TimeoutError(timeout_text(node)));
        fail(node);
    } else {
        settle(node, state);
    }
}

inline std::string Run::timeout_text(const NodeCore& node) {
    const bool total = node.timed_out == TimedOut::total;
    const auto limit = total ? node.extras->total_timeout : node.extras->timeout;
    return "node " + in_quotes(node.id) + " did not end within " + duration_text(limit) +
           (total ? " (total_timeout)" : " (timeout)");
}

inline std::string Run::duration_text(std::chrono::nanoseconds d) {
    using namespace std::chrono;
    const auto in = [](auto count, const char* unit) { return std::to_string(count) + unit; };
    if (d % 1s == 0ns) return in(d / 1s, " s");
    if (d % 1ms == 0ns) return in(d / 1ms, " ms");
    if (d % 1us == 0ns) return in(d / 1us, " us");
    return in(d.count(), " ns");
}

inline void Run::fail(NodeCore& node) {
    node.state = NodeState::failed;
    report_->errors->push_back(make_node_error(node));
    settle(node, NodeState::failed);
    if (options_.policy == ErrorPolicy::fail_fast && !stopping_) {
        stopping_ = true;
        cancel_active();
    }
}

inline void Run::skip_blocked(NodeCore& node) {
    if (node.in.empty()) {
        node.need_extras().skip_reason = "it was disconnected from its parents";
    }
    for (const InEdge& edge : node.in) {
        if (edge.parent->state == NodeState::completed) continue;
        node.need_extras().skip_reason = "parent " + in_quotes(edge.parent->id) + " " +
                                         (edge.parent->state == NodeState::failed ? "" : "was ") +
                                         state_name(edge.parent->state);
        break;
    }
    settle(node, NodeState::skipped);
}

inline void Run::settle(NodeCore& node, NodeState state) {
    node.state = state;
    node.pending = ++settled_;
    switch (state) {
        case NodeState::completed: record(report_->completed, EventKind::completed, node); break;
        case NodeState::failed: record(report_->failed, EventKind::failed, node); break;
        case NodeState::skipped: record(report_->skipped, EventKind::skipped, node); break;
        default: record(report_->cancelled, EventKind::cancelled, node); break;
    }
    settling_ = &node;
    end_ = node.out.size();
    for (cursor_ = 0; cursor_ < end_ && !dropped_ && !frozen_;) {
        const std::uint32_t at = cursor_++;  // a transform may remove edges
        deliver(node, node.out[at]);
    }
    settling_ = nullptr;
}

inline void Run::deliver(NodeCore& parent, const OutEdge& edge) {
    NodeCore& child = *edge.child;
    if (!touch(child) || is_settled(child)) return;
    if (parent.state != NodeState::completed) {
        child.blocked = true;
    } else if (edge.forward != nullptr && !stopping_) {
        if (!transform(parent, child, *edge.forward)) return;
    }
    count_down(child);
}

inline bool Run::transform(NodeCore& parent, NodeCore& child, Forward& forward) {
    try {
        boundary_known_ = false;
        transforming_ = true;
        Task<> task = forward.evaluate(parent);
        transforming_ = false;
        if (dropped_ || frozen_) return false;  // by the transform itself
        if (!task) return true;
        auto* edge = new EdgeTask(*this, parent, child, forward, std::move(task));
        edge_tasks_.push_back(*edge);
        edge->start(core_);
    } catch (...) {
        transforming_ = false;
        if (!dropped_ && !frozen_) fail_edge(parent, child, std::current_exception());
    }
    return false;
}

inline void Run::finish_edge(EdgeTask& finished) {
    const std::unique_ptr<EdgeTask> task(&finished);
    task->unlink();
    if (task->removed) return;
    std::exception_ptr error = task->error();
    if (error == nullptr) {
        count_down(task->child);
        return;
    }
    try {
        std::rethrow_exception(error);
    } catch (const Cancelled&) {
        count_down(task->child);  // the run is stopping: the child will be cancelled
    } catch (...) {
        fail_edge(task->parent, task->child, std::move(error));
    }
}

inline void Run::fail_edge(const NodeCore& parent, NodeCore& child, std::exception_ptr cause) {
    count_down_silently(child);
    if (child.phase != Phase::idle || child.error != nullptr) return;
    try {
        std::rethrow_exception(std::move(cause));
    } catch (...) {
        child.error = make_edge_error(parent, child);
    }
    child.phase = Phase::finished;
    finished_.push(child);
}

inline std::exception_ptr Run::make_edge_error(const NodeCore& parent, const NodeCore& child) {
    try {
        std::throw_with_nested(Error("the transform of the edge " + in_quotes(parent.id) + " -> " +
                                     in_quotes(child.id) +
                                     " threw: " + exception_text(std::current_exception())));
    } catch (...) {
        return std::current_exception();
    }
}

}  // namespace grafo::detail
