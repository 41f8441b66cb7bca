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
    if (child.stamp == stamp || child.NodeSpecials::any()) [[unlikely]] {
        if (child.stamp != stamp) reset(child);
        if (child.state != NodeState::pending || --child.pending > 0) return;
        if (bits_of<std::uint32_t>(static_cast<const NodeLap&>(child)) != 0 ||
            child.NodeSpecials::any()) {
            make_ready(child);
            return;
        }
    } else {
        const std::uint32_t pending = child.in.size() - 1;
        begin_lap(child, stamp);
        child.pending = pending;
        if (pending > 0) {
            static_cast<NodeLap&>(child) = NodeLap();
            return;
        }
    }
    NodeLap lap;
    lap.state = NodeState::ready;
    lap.queued = true;
    static_cast<NodeLap&>(child) = lap;
    const bool waits = ready_.push_plain(child);
    if (waits && looks_ahead_) fetch_rest(child);
}

// The end of a completed node: on to its children.
[[gnu::always_inline]] inline void Run::pass_on_all(NodeCore& node) {
    if (node.asks_edges) [[unlikely]] {
        deliver_all_slowly(node);
        return;
    }
    const std::uint32_t stamp = stamp_;
    for (const OutEdge& edge : node.out) pass_on(edge.plain_child(), stamp);
}

inline void Run::deliver_all(NodeCore& node) {
    if (node.state == NodeState::completed && !watched_ && !rewired_) {
        pass_on_all(node);
    } else {
        deliver_all_slowly(node);
    }
}

[[gnu::noinline]] inline void Run::deliver_all_slowly(NodeCore& node) {
    settling_ = &node;
    cursor_ = 0;
    end_ = node.out.size();
    while (cursor_ < end_ && !dropped_ && !frozen_) {
        const OutEdge edge = node.out[cursor_++];  // a transform may remove edges
        deliver(node, edge);
    }
    settling_ = nullptr;
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

// The body waits, or has thrown.
[[gnu::noinline]] inline void Run::leave_stretch(NodeCore& node, NodeCore::Stretch stretch) {
    become_common();
    if (stretch == NodeCore::Stretch::threw) return finish_executed(node);
    boundary_known_ = false;
    if (!dropped_) activate(node);
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
    if (options_.timing) {
        node.runtime = boundary().time_since_epoch() - node.runtime;
        node.timed = true;
    }
    if (options_.streaming) tell(EventKind::completed, node);
}

// For a node that others wait behind.
[[gnu::always_inline]] inline void Run::look_ahead(const NodeCore& node) const noexcept {
    if (node.next == nullptr || !looks_ahead_) return;
    if (node.next->next != nullptr) fetch_neighbours(*node.next->next);
}

// False if the node was not plain after all.
[[gnu::always_inline]] inline bool Run::run_plain(NodeCore& node) {
    NodeLap lap;
    lap.state = NodeState::running;
    lap.phase = Phase::body;
    lap.called = true;
    static_cast<NodeLap&>(node) = lap;
    node.running = true;
    executing_ = &node;
    core_.enter(&node);
    look_ahead(node);
    auto stretch = NodeCore::Stretch::ended;
    try {
        if (keeps_book_) [[unlikely]]
            book_start(node);
        stretch = node.run_plainly(core_);
    } catch (...) {
        leave_plain(node, std::current_exception());
        return false;
    }
    if (stretch != NodeCore::Stretch::ended) [[unlikely]] {
        leave_stretch(node, stretch);  // what this throws is the run's own trouble
        return false;
    }
    // The body may have stopped, dropped or rewired the run, or another thread interrupted it; what
    // else is special comes from outside.
    if (is_special() || interrupted()) [[unlikely]] {
        leave_plain(node, nullptr);
        return false;
    }
    executing_ = nullptr;
    node.running = false;
    lap.phase = Phase::idle;
    lap.state = lap.ended = NodeState::completed;
    static_cast<NodeLap&>(node) = lap;
    node.pending = ++settled_;
    report_->completed.push_back(&node);
    if (keeps_book_) [[unlikely]]
        book_end(node);
    pass_on_all(node);
    return true;
}

// As many as `budget` says; one only where a reader comes in between. False if the next node, or
// the run, is not plain.
[[gnu::always_inline]] inline bool Run::run_plain_ones(int& budget) {
    if (is_special() || slots_ >= options_.max_concurrency) return false;
    NodeCore* node = ready_.plain_front();
    if (node == nullptr || node->NodeSpecials::any()) return false;
    if (node->phase == Phase::parked) {
        ready_.pop_plain();
        resume_parked(*node);
        --budget;
        return true;
    }
    if (node->state != NodeState::ready) return false;
    if (node->owns_output) {   // of the run before
        node->clear_output();  // whose destructor may do anything
        return true;
    }
    int left = options_.streaming ? 1 : budget;
    budget -= left;
    do {
        ready_.pop_plain();
        --left;
        if (!run_plain(*node)) break;
        node = ready_.plain_front();
        // Transforms are the user's code as well.
    } while (left > 0 && !is_special() && node != nullptr && !node->any_or_output() &&
             node->state == NodeState::ready);
    budget += left;
    return true;
}

}  // namespace grafo::detail
