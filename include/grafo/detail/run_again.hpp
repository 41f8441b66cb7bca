#pragma once
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/run.hpp>

// Loops: nodes that have settled and run once more in the same run.
namespace grafo::detail {

inline void Run::close_loop(NodeCore& parent, NodeCore& child) {
    const bool settled = is_settled(child);
    Extras& extras = child.need_extras();
    if (settled && stopping_) return drop_replaced_edges(child);
    child.in[child.in.size() - 1].lap = extras.again + (settled ? 1 : 0);
    drop_replaced_edges(child);
    if (!is_loop(parent, child) && leads_to(child, parent)) loops_.push_back({&parent, &child});
    if (!settled) return;
    Extras& asking = parent.need_extras();
    if (asking.next_wave == 0) asking.next_wave = ++waves_;
    run_again(child, asking.next_wave);
}

inline void Run::run_again(NodeCore& node, std::uint32_t wave) {
    Extras& extras = node.need_extras();
    if (extras.again == 0) ran_again_.push_back(&node);
    wave_waiters_.reserve(ran_again_.size());
    edge_tasks_.for_each([&](EdgeTask& task) {
        if (&task.child != &node) return;
        task.again = false;
        if (!std::exchange(task.removed, true)) task.cancel();
    });
    finished_edges_.for_each([&](EdgeTask& task) {
        if (&task.child == &node) task.removed = true;
    });

    forget_end(node);
    ++running_again_;
    ++extras.again;
    extras.wave = wave;
    extras.attempts = 0;
    drop_stale_edges(node);
    hold_back_for_readers(node);
    const NodeState before = node.state;
    const NodeState ended = node.ended;
    static_cast<NodeLap&>(node) = NodeLap();
    node.ended = ended;
    node.blocked = false;
    node.runs_again = true;
    node.flags = 0;
    const std::exception_ptr gone = std::exchange(extras.former_error, nullptr);
    extras.former_error = std::exchange(extras.error, nullptr);
    node.pending = node.in.size();
    if (observed_) observe(node, before, nullptr);

    bool pipe = false;
    for (const OutEdge& edge : node.out) {
        pipe = pipe || edge.pipe() != nullptr;
    }
    for (const InEdge& edge : node.in) {
        pipe = pipe || edge.pipe() != nullptr;
    }
    if (pipe || extras.again >= extras.max_runs) {
        const std::string what = "node " + in_quotes(node.id) + " cannot run again in one run: ";
        extras.error = std::make_exception_ptr(
            Error(pipe ? what + "it is at an end of a pipe"
                       : what + "it has run " + std::to_string(extras.max_runs) +
                             (extras.max_runs == 1 ? " time" : " times") + " (max_runs)"));
        end_unstarted(node);
        return;
    }
    if (node.pending == 0) make_ready(node);
    deliver_settled(node);
}

// The end of a lap is also the beginning of the next one of its children.
inline void Run::settle_lap(NodeCore& node) {
    --running_again_;
    if (node.state != NodeState::skipped) node.extras->skip_reason.clear();
    FlatList<NodeCore*> again;
    if (node.state == NodeState::completed) again = settled_children(node);
    deliver_all(node);
    if (!readers_.empty()) release_readers(&node);
    for (NodeCore* child : again) {
        if (stopping_ || dropped_ || frozen_) break;
        if (is_settled(*child)) run_again(*child, node.extras->wave);
    }
}

// What that node asks for in its next run is another lap.
inline bool Run::began_wave(const NodeCore& node, std::uint32_t wave) noexcept {
    return node.extras != nullptr && node.extras->next_wave == wave;
}

inline void Run::hold_back_for_readers(NodeCore& node) {
    for (std::size_t i = readers_.size(); i-- > 0;) {
        if (readers_[i].read == &node) readers_.erase_at(i);
    }
    Readers readers{&node, {}};
    for (const OutEdge& edge : node.out) {
        NodeCore& child = edge.child();
        if (child.stamp != stamp_ || is_settled(child)) continue;
        if (child.phase == Phase::idle && child.runs_again &&
            child.extras->wave == node.extras->wave && !began_wave(node, node.extras->wave)) {
            // It has not started, and wants what this lap will give it.
            bool delivered = true;
            edge_tasks_.for_each([&](EdgeTask& task) {
                if (&task.forward != edge.forward()) return;
                if (task.removed && !task.again) return;
                task.again = false;
                delivered = false;
                if (!std::exchange(task.removed, true)) task.cancel();
            });
            finished_edges_.for_each([&](EdgeTask& task) {
                if (&task.forward != edge.forward()) return;
                if (task.removed && !task.again) return;
                task.again = false;
                task.removed = true;
                delivered = false;
            });
            if (delivered) ++child.pending;
            if (child.state == NodeState::ready) set_state(child, NodeState::pending);
            continue;
        }
        readers.readers.push_back(&child);
    }
    bool read = !readers.readers.empty();
    edge_tasks_.for_each([&](EdgeTask& task) { read = read || &task.parent == &node; });
    node.held_back = read;
    if (read) readers_.push_back(std::move(readers));
}

// Each list is in the order of the nodes' ends, and so of their numbers; an edge that threw may
// have changed that of a node.
inline void Run::forget_end(NodeCore& node) noexcept {
    ReportData& report = *report_;
    FlatList<NodeCore*>& list = node.state == NodeState::completed ? report.completed
                                : node.state == NodeState::failed  ? report.failed
                                : node.state == NodeState::skipped ? report.skipped
                                                                   : report.cancelled;
    std::size_t place = 0;
    for (std::size_t end = list.size(); place < end;) {
        const std::size_t middle = place + (end - place) / 2;
        if (list[middle]->pending < node.pending) {
            place = middle + 1;
        } else {
            end = middle;
        }
    }
    if (place == list.size() || list[place] != &node) place = list.find_last(&node);
    if (place == list.npos) return;
    list.erase_at(place);
    if (&list == &report.failed) report.errors->erase_at(place);  // each has one, at its place
}

inline bool Run::is_loop(const NodeCore& parent, const NodeCore& child) const noexcept {
    for (const Loop& loop : loops_) {
        if (loop.parent == &parent && loop.child == &child) return true;
    }
    return false;
}

inline bool Run::leads_to(NodeCore& from, const NodeCore& to) const {
    const std::uint32_t mark = Graph::next_mark();
    FlatList<NodeCore*> found(&from);
    from.mark = mark;
    for (std::size_t i = 0; i < found.size(); ++i) {
        for (const OutEdge& edge : found[i]->out) {
            NodeCore& child = edge.child();
            if (child.mark == mark || is_loop(*found[i], child)) continue;
            if (&child == &to) return true;
            child.mark = mark;
            found.push_back(&child);
        }
    }
    return false;
}

inline FlatList<NodeCore*> Run::settled_children(const NodeCore& node) const {
    FlatList<NodeCore*> children;
    const std::uint32_t mark = Graph::next_mark();
    for (const OutEdge& edge : node.out) {
        // An edge that closed a loop did so for that lap: the next one is for the node to ask for.
        NodeCore& child = edge.child();
        if (!is_settled(child) || is_loop(node, child)) continue;
        if (std::exchange(child.mark, mark) != mark) children.push_back(&child);
    }
    return children;
}

// Has the node been given, or will it be, what the parent made before it was asked to run again?
inline bool Run::reads_former(const NodeCore& node, const NodeCore& parent) const noexcept {
    for (const Readers& entry : readers_) {
        if (entry.read == &parent) return entry.readers.contains(&node);
    }
    return false;
}

inline void Run::release_reader(const NodeCore& parent, const NodeCore& node) noexcept {
    for (Readers& entry : readers_) {
        if (entry.read == &parent) entry.readers.erase(&node);
    }
    release_readers(nullptr);
}

inline void Run::release_readers(const NodeCore* node) noexcept {
    for (std::size_t i = 0; i < readers_.size();) {
        Readers& entry = readers_[i];
        if (entry.read == node) {  // it was stuck, and has failed before they let it begin
            readers_.erase_at(i);
            continue;
        }
        entry.readers.erase(node);
        bool read = !entry.readers.empty();
        edge_tasks_.for_each([&](EdgeTask& task) { read = read || &task.parent == entry.read; });
        if (read) {
            ++i;
            continue;
        }
        NodeCore& free = *entry.read;
        readers_.erase_at(i);
        free.held_back = false;
        if (free.error() != nullptr) {
            end_unstarted(free);
        } else if (free.pending == 0) {
            make_ready(free);
        }
    }
}

// Else the node would run twice for one reason, and the first time with arguments of two laps:
// where the ways to it are of different length.
inline bool Run::awaits_wave(NodeCore& node) noexcept {
    const std::uint32_t wave = node.extras->wave;
    const std::uint32_t mark = Graph::next_mark();
    bool found = false;
    try {
        visited_.clear();
        visited_.push_back(&node);
        for (std::size_t i = 0; i < visited_.size() && !found; ++i) {
            const NodeCore& at = *visited_[i];
            for (const InEdge& edge : at.in) {
                NodeCore& parent = *edge.parent;
                if (std::exchange(parent.mark, mark) == mark || is_loop(parent, at)) continue;
                const bool same = parent.runs_again && parent.extras->wave == wave;
                if (!is_settled(parent)) {
                    found = found || (same && &at != &node);
                } else if (!same && !began_wave(parent, wave)) {
                    visited_.push_back(&parent);
                }
            }
        }
        if (found && !wave_waiters_.contains(&node)) wave_waiters_.push_back(&node);
    } catch (const std::bad_alloc&) {
        return false;
    }
    return found;
}

inline void Run::retry_wave_waiters() noexcept {
    for (std::size_t i = 0; i < wave_waiters_.size();) {
        NodeCore& node = *wave_waiters_[i];
        const bool waits = node.phase == Phase::idle && node.state == NodeState::pending &&
                           node.pending == 0 && !node.held_back;
        if (waits && awaits_wave(node)) {
            ++i;
            continue;
        }
        wave_waiters_.erase_at(i);
        if (waits) make_ready(node);
    }
}

inline void Run::drop_edge(NodeCore& node, std::uint32_t position) {
    before_change(*node.in[position].parent);
    before_change(node);
    erase_edge(*node.in[position].parent, node, position, this);
}

inline void Run::drop_replaced_edges(NodeCore& node) {
    const InEdge last = node.in[node.in.size() - 1];
    const bool from_any = last.param != NodeCore::no_param && !node.type().params[last.param].list;
    for (std::uint32_t i = node.in.size() - 1; i-- > 0;) {
        const InEdge edge = node.in[i];
        if (edge.param != last.param || (!from_any && edge.parent != last.parent)) continue;
        if (edge.lap > 0 && edge.lap == last.lap) continue;  // made for the same lap
        drop_edge(node, i);
    }
}

inline void Run::drop_stale_edges(NodeCore& node) {
    for (std::uint32_t i = node.in.size(); i-- > 0;) {
        const InEdge edge = node.in[i];
        if (edge.lap == node.extras->again || !is_loop(*edge.parent, node)) continue;
        const bool gives = edge.param != NodeCore::no_param && edge.forward != nullptr &&
                           (!is_settled(*edge.parent) || is_taken(edge));
        if (!gives) drop_edge(node, i);
    }
}

}  // namespace grafo::detail
