#pragma once
#include <cstdint>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/run.hpp>

// What a run makes of edges and nodes that come and go while it is on.
namespace grafo::detail {

inline bool Run::has(const NodeCore& node) const noexcept { return node.plan == plan_id_; }

inline NodeState Run::state_of(const NodeCore& node) const noexcept {
    return node.stamp == stamp_ ? node.state : NodeState::pending;
}

inline const SmallVector<InEdge>* Run::original_edges(const NodeCore& node) const noexcept {
    return rewiring_.original(node);
}

inline bool Run::replaces(const NodeCore& parent, const NodeCore& child,
                          const InEdge* edge) const noexcept {
    if (!has(child) || !parent.running) return false;
    if (is_settled(child)) return true;
    if (child.stamp != stamp_ || child.phase != Phase::idle || !child.runs_again) return false;
    return edge == nullptr || edge->lap != child.extras->again;
}

inline void Run::edge_added(NodeCore& parent, const OutEdge& edge) {
    if (dropped_ || frozen_) return;  // nothing starts any more: the edge goes with the run
    NodeCore& child = edge.child();
    if (!has(child) && !has(parent)) return;  // so does that of two which only its wiring has met
    boundary_known_ = false;                  // it may be called at any time
    const CurrentLoop<> current(LoopAccess::core(loop_), LoopAccess::mailbox(loop_));
    if (!has(child)) {
        join(child);
        return;
    }
    if (!has(parent)) join(parent);
    if (!touch_without_last(child)) return;
    try {
        meet_edge(parent, edge);
    } catch (...) {
        give_up(std::current_exception());  // without memory, half of it is done
    }
    schedule();
}

// Both of its ends are in the run.
inline void Run::meet_edge(NodeCore& parent, const OutEdge& edge) {
    NodeCore& child = edge.child();
    if (is_settled(child)) {
        if (parent.running) close_loop(parent, child);
        return;
    }
    ++child.pending;
    if (replaces(parent, child, nullptr)) close_loop(parent, child);
    if (child.state == NodeState::ready) set_state(child, NodeState::pending);
    if (is_settled(parent) || reads_former(child, parent)) deliver(parent, edge);
}

inline void Run::edge_removed(NodeCore& parent, NodeCore& child, std::uint32_t position) {
    if (!has(child)) return;
    boundary_known_ = false;
    const CurrentLoop<> current(LoopAccess::core(loop_), LoopAccess::mailbox(loop_));
    touch(child);
    const bool reads = reads_former(child, parent);
    bool delivered = is_settled(parent) || reads;
    if (&parent == settling_) {
        delivered = position < cursor_;
        if (position < cursor_) --cursor_;
        if (position < end_) --end_;
    }
    Forward* const forward = parent.out[position].forward();
    if (forward != nullptr && forward->pipe() != nullptr) {
        delivered = delivered || (parent.stamp == stamp_ && parent.stream()->open);
    } else if (forward != nullptr) {
        edge_tasks_.for_each([&](EdgeTask& task) {
            if (&task.forward != forward || (task.removed && !task.again)) return;
            task.again = false;
            delivered = false;
            if (!std::exchange(task.removed, true)) task.cancel();
        });
        finished_edges_.for_each([&](EdgeTask& task) {
            if (&task.forward != forward || (task.removed && !task.again)) return;
            task.again = false;
            task.removed = true;
            delivered = false;
        });
    }
    if (!is_settled(child)) {
        block(child);  // cut off from its last parent it will be skipped
        if (!delivered) count_down(child);
    }
    if (reads) {
        std::size_t edges = 0;
        for (const OutEdge& edge : parent.out) edges += &edge.child() == &child ? 1 : 0;
        if (edges == 1) release_reader(parent, child);  // this was the last
    }
    schedule();
}

// Does the edge carry chunks of a node that has begun without it?
inline bool Run::is_late_pipe(const InEdge& edge) const noexcept {
    return edge.pipe() != nullptr && edge.parent->stamp == stamp_ && edge.parent->stream()->open;
}

inline void Run::join(NodeCore& first) {
    FlatList<NodeCore*> joined;
    const auto add = [&](NodeCore& node) {
        if (has(node)) return;
        joined.push_back(&node);
        node.plan = plan_id_;
    };
    try {
        add(first);
        for (std::size_t i = 0; i < joined.size(); ++i) {
            for (const OutEdge& edge : joined[i]->out) add(edge.child());
        }
        for (std::size_t i = 0; i < joined.size(); ++i) {
            for (const InEdge& edge : joined[i]->in) {
                if (is_late_pipe(edge)) throw_late_pipe(*edge.parent, *joined[i]);
                add(*edge.parent);
            }
        }
        rewired_ = true;
        rewiring_.join(joined);
    } catch (...) {
        for (NodeCore* node : joined) node->plan = 0;
        throw;
    }
    for (NodeCore* node : joined) reset(*node);
    try {
        for (NodeCore* node : joined) {
            if (node->in.empty()) make_ready(*node);
            deliver_settled(*node);
        }
    } catch (...) {
        give_up(std::current_exception());
    }
    schedule();
}

inline void Run::deliver_settled(NodeCore& child) {
    const SmallVector<InEdge> edges = child.in;  // a transform may change them
    for (std::uint32_t i = 0; i < edges.size(); ++i) {
        const InEdge& edge = edges[i];
        if (!is_settled(*edge.parent)) continue;
        if (dropped_ || frozen_) return;
        const auto is_it = [&](const InEdge& other) {
            return other.parent == edge.parent && other.forward == edge.forward;
        };
        bool there = i < child.in.size() && is_it(child.in[i]);
        for (std::uint32_t k = 0; k < child.in.size() && !there; ++k) there = is_it(child.in[k]);
        if (there) {
            deliver(*edge.parent, OutEdge(child, seen_by_parent(edge.forward)));
        } else if (!is_settled(child)) {
            count_down(child);  // whoever cut it took it for delivered
        }
    }
}

}  // namespace grafo::detail
