#pragma once
#include <coroutine>
#include <cstdint>
#include <exception>
#include <utility>

#include <grafo/detail/look_ahead.hpp>
#include <grafo/detail/run.hpp>

// The short path: a node with nothing special, in a run that nobody watches. It does what the long
// one in run_nodes.hpp does with all that cannot happen left out, and leaves to it what goes
// another way: a body that throws, waits, or was cancelled meanwhile.
namespace grafo::detail {

// Counts the child down over an edge that only orders, or forwards without a transform.
[[gnu::always_inline]] inline void Run::pass_on(NodeCore& child, std::uint32_t stamp) {
    if (child.stamp != stamp) {
        if (child.plan != plan_id_) return;
        reset(child);
    }
    if (child.state != NodeState::pending || --child.pending > 0) return;
    if (bits_of<std::uint32_t>(static_cast<const NodeLap&>(child)) != 0 ||
        child.NodeSpecials::any()) {
        make_ready(child);
        return;
    }
    NodeLap lap;
    lap.state = NodeState::ready;
    lap.queued = true;
    static_cast<NodeLap&>(child) = lap;
    ready_.push_plain(child);
    if (looks_ahead_) fetch_rest(child);
}

// The end of a completed node: on to its children.
[[gnu::always_inline]] inline void Run::pass_on_all(NodeCore& node) {
    if (node.asks_edges) {
        deliver_all_slowly(node);
        return;
    }
    const std::uint32_t stamp = stamp_;
    for (const OutEdge edge : node.out) pass_on(edge.plain_child(), stamp);
}

inline void Run::deliver_all(NodeCore& node) {
    if (node.state == NodeState::completed && !observed_) {
        pass_on_all(node);
    } else {
        deliver_all_slowly(node);
    }
}

[[gnu::noinline]] inline void Run::deliver_all_slowly(NodeCore& node) {
    settling_ = &node;
    end_ = node.out.size();
    for (cursor_ = 0; cursor_ < end_ && !dropped_ && !frozen_;) {
        const OutEdge edge = node.out[cursor_++];  // a transform may remove edges
        deliver(node, edge);
    }
    settling_ = nullptr;
}

// The next node if nothing about it or the run is special: to be started, or to go on after a
// chunk.
[[gnu::always_inline]] inline NodeCore* Run::next_plain() noexcept {
    if (bits_of<std::uint64_t>(static_cast<const RunSpecials&>(*this)) != 0 ||
        slots_ >= options_.max_concurrency) {
        return nullptr;
    }
    NodeCore* node = ready_.plain_front();
    if (node == nullptr || node->NodeSpecials::any()) return nullptr;
    if (node->state != NodeState::ready && node->phase != Phase::parked) return nullptr;
    ready_.pop_plain();
    return node;
}

// A node on the short path has no place counted: it ends at once, or gets one here.
[[gnu::noinline]] inline void Run::become_common() noexcept {
    executing_ = nullptr;
    ++slots_;
}

[[gnu::noinline]] inline void Run::leave_plain(NodeCore& node, std::exception_ptr error) {
    boundary_known_ = false;
    become_common();
    finish_at_once(node, std::move(error));
}

[[gnu::noinline]] inline void Run::finish_common(NodeCore& node) {
    become_common();
    finish_executed(node);
}

[[gnu::noinline]] inline void Run::book_start(NodeCore& node) {
    if (options_.timing) {
        node.runtime = boundary().time_since_epoch();
        node.timed = true;
    }
    if (options_.streaming) tell(EventKind::started, node);
}

[[gnu::noinline]] inline void Run::book_end(NodeCore& node) {
    boundary_known_ = false;
    if (node.timed) node.runtime = boundary().time_since_epoch() - node.runtime;
    if (options_.streaming) tell(EventKind::completed, node);
}

[[gnu::always_inline]] inline void Run::run_plain(NodeCore& node) {
    if (node.state != NodeState::ready) return resume_parked(node);
    if (looks_ahead_ && node.next != nullptr && node.next->next != nullptr) {
        fetch_neighbours(*node.next->next);
    }
    NodeLap lap;
    lap.state = NodeState::running;
    lap.phase = Phase::body;
    lap.called = true;
    static_cast<NodeLap&>(node) = lap;
    node.running = true;
    executing_ = &node;
    core_.enter(&node);
    std::coroutine_handle<> body;
    try {
        if (keeps_book_) book_start(node);
        body = node.call(&Run::on_done, &node);
    } catch (...) {
        return leave_plain(node, std::current_exception());
    }
    if (body) {
        core_.resume(body);
        if (node.phase != Phase::finished) {
            boundary_known_ = false;
            become_common();
            if (!dropped_) activate(node);
            return;
        }
    }
    // The body may have stopped, dropped or rewired the run; what else is special comes from
    // outside.
    if (bits_of<std::uint64_t>(static_cast<const RunSpecials&>(*this)) != 0) {
        return body ? finish_common(node) : leave_plain(node, nullptr);
    }
    try {
        if (!node.take_plain_result()) return finish_common(node);
    } catch (...) {
        return leave_plain(node, std::current_exception());
    }
    executing_ = nullptr;
    node.running = false;
    node.phase = Phase::idle;
    node.state = NodeState::completed;
    node.ended = NodeState::completed;
    node.pending = ++settled_;
    report_->completed.push_back(&node);
    if (keeps_book_) book_end(node);
    pass_on_all(node);
}

}  // namespace grafo::detail
