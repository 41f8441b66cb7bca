#pragma once
#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <grafo/detail/run.hpp>

// Loops: nodes that have settled and run once more in the same run.
namespace grafo::detail {

inline void Run::run_again(NodeCore& node) {
    Extras& extras = node.need_extras();
    if (extras.again == 0) ran_again_.push_back(&node);
    Readers readers{&node, {}};
    for (const OutEdge& edge : node.out) {
        NodeCore& child = *edge.child;
        if (child.stamp != stamp_ || is_settled(child)) continue;
        readers.readers.push_back(&child);
    }
    readers_.reserve(readers_.size() + 1);
    edge_tasks_.for_each([&](EdgeTask& task) {
        if (&task.child != &node || task.removed) return;
        task.removed = true;
        task.cancel();
    });

    forget_end(node);
    ++extras.again;
    extras.attempts = 0;
    extras.skip_reason.clear();
    const NodeState before = node.state;
    static_cast<NodeLap&>(node) = NodeLap();
    node.blocked = false;
    node.runs_again = true;
    node.flags = 0;
    node.error = nullptr;
    if (observed_) observe(node, before, nullptr);

    bool pipe = false;
    for (const OutEdge& edge : node.out) {
        pipe = pipe || (edge.forward != nullptr && edge.forward->pipe() != nullptr);
    }
    for (const InEdge& edge : node.in) {
        pipe = pipe || (edge.forward != nullptr && edge.forward->pipe() != nullptr);
    }
    if (pipe || extras.again >= extras.max_runs) {
        const std::string what = "node " + in_quotes(node.id) + " cannot run again in one run: ";
        node.error = std::make_exception_ptr(
            Error(pipe ? what + "it is at an end of a pipe"
                       : what + "it has run " + std::to_string(extras.again) +
                             (extras.again == 1 ? " time" : " times") + " (max_runs)"));
        node.phase = Phase::finished;
        finished_.push(node);
        return;
    }
    if (!readers.readers.empty()) {
        node.held_back = true;
        readers_.push_back(std::move(readers));
    }
    node.pending = node.in.size();
    if (node.pending == 0) make_ready(node);
    deliver_settled(node);
}

// The end of a lap is also the beginning of the next one of its children.
inline void Run::settle_lap(NodeCore& node) {
    std::vector<NodeCore*> again;
    if (node.state == NodeState::completed) again = settled_children(node);
    deliver_all(node);
    for (NodeCore* child : again) {
        if (!stopping_ && is_settled(*child)) run_again(*child);
    }
}

inline void Run::forget_end(NodeCore& node) noexcept {
    for (auto* list :
         {&report_->completed, &report_->failed, &report_->skipped, &report_->cancelled}) {
        list->erase_last(&node);
    }
}

inline std::vector<NodeCore*> Run::settled_children(const NodeCore& node) const {
    std::vector<NodeCore*> children;
    for (const OutEdge& edge : node.out) {
        if (!is_settled(*edge.child)) continue;
        // An edge that closed a loop did so for that lap: the next one is for the node to ask for.
        const std::pair<const NodeCore*, const NodeCore*> pair(&node, edge.child);
        if (std::find(loops_.begin(), loops_.end(), pair) != loops_.end()) continue;
        if (std::find(children.begin(), children.end(), edge.child) == children.end()) {
            children.push_back(edge.child);
        }
    }
    return children;
}

inline void Run::release_readers(const NodeCore& node) noexcept {
    for (std::size_t i = 0; i < readers_.size();) {
        Readers& entry = readers_[i];
        std::erase(entry.readers, &node);
        if (!entry.readers.empty()) {
            ++i;
            continue;
        }
        NodeCore& read = *entry.read;
        readers_.erase(readers_.begin() + static_cast<std::ptrdiff_t>(i));
        read.held_back = false;
        if (read.pending == 0) make_ready(read);
    }
}

inline void Run::drop_replaced_edges(NodeCore& node) {
    const InEdge last = node.in[node.in.size() - 1];
    const bool from_any = last.param != NodeCore::no_param && !node.type().params[last.param].list;
    for (std::uint32_t i = node.in.size() - 1; i-- > 0;) {
        const InEdge edge = node.in[i];
        if (edge.param != last.param || (!from_any && edge.parent != last.parent)) continue;
        if (edge.parent != last.parent) before_change(*edge.parent);
        erase_edge(*edge.parent, node, i, this);
    }
}

}  // namespace grafo::detail
