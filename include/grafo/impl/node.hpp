#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/node.hpp>

namespace grafo::detail {

GRAFO_INLINE void throw_type_error(const NodeCore& parent, TypeId given, const NodeCore& child,
                                   std::uint32_t param) {
    const ParamInfo& info = child.type().params[param];
    const std::string name(info.name);
    std::string what = "node " + in_quotes(parent.id) + (info.pipe ? " yields " : " gives ");
    what += info.pipe && given == type_id<void>() ? "no chunks" : type_name(given);
    what += info.list ? ", but an element of list parameter " : ", but parameter ";
    what += in_quotes(name) + " of node " + in_quotes(child.id) +
            (info.pipe ? " reads a stream of " : " takes ") + type_name(info.type);
    what +=
        "; between nodes whose types are known only at run time they must be the same: forward ";
    what += "what a transform makes of it, connect(child, \"" + name + "\"_a = transform)";
    throw ForwardingTypeError(what);
}

GRAFO_INLINE void throw_erased_pipe(const NodeCore& parent, const NodeCore& child,
                                    std::uint32_t param) {
    const ParamInfo& info = child.type().params[param];
    throw ForwardingTypeError("parameter " + in_quotes(info.name) + " of node " +
                              in_quotes(child.id) + " reads a stream of " + type_name(info.type) +
                              ": a transform of what node " + in_quotes(parent.id) +
                              " yields needs a child whose parameters are known: keep the type "
                              "that Node{…} deduced");
}

GRAFO_INLINE Forward* need_erased_forward(const NodeCore& parent, NodeCore& child,
                                          std::uint32_t param) {
    check_fillable(parent, child, param);
    const TypeId given = given_type(parent, child, param);
    Forward* forward = child.erased_forward(param, given);
    if (forward == nullptr) throw_type_error(parent, given, child, param);
    return forward;
}

GRAFO_INLINE std::string cycle_text(const FlatList<const NodeCore*>& cycle) {
    std::string text;
    for (const NodeCore* node : cycle) text += in_quotes(node->id) + " -> ";
    return text + in_quotes(cycle[0]->id);
}

GRAFO_INLINE std::size_t level_of(NodeCore& node) {
    const RunHooks* run = run_of(node);
    const auto edges_of = [run](const NodeCore& n) -> const SmallVector<InEdge>& {
        const SmallVector<InEdge>* original = run != nullptr ? run->original_edges(n) : nullptr;
        return original != nullptr ? *original : n.in;
    };
    const std::uint32_t open = Graph::next_mark();
    const std::uint32_t closed = Graph::next_mark();
    struct Visit {
        NodeCore* node;
        std::uint32_t next;
    };
    FlatList<Visit> stack(Visit{&node, 0});
    node.mark = open;
    node.scratch = 0;
    while (true) {
        Visit& visit = stack.back();
        const SmallVector<InEdge>& edges = edges_of(*visit.node);
        if (visit.next < edges.size()) {
            NodeCore& parent = *edges[visit.next].parent;
            if (parent.mark == open) {
                FlatList<const NodeCore*> cycle;
                for (std::size_t i = stack.size(); i-- > 0;) {
                    cycle.push_back(stack[i].node);
                    if (stack[i].node == &parent) break;
                }
                throw CycleError("node " + in_quotes(node.id) +
                                 " has no level, for the edges form a cycle: " + cycle_text(cycle));
            }
            if (parent.mark == closed) {
                if (visit.node->scratch <= parent.scratch) visit.node->scratch = parent.scratch + 1;
                ++visit.next;
            } else {
                parent.mark = open;
                parent.scratch = 0;
                stack.push_back({&parent, 0});
            }
            continue;
        }
        visit.node->mark = closed;
        if (stack.size() == 1) return node.scratch;
        stack.pop_back();
    }
}

GRAFO_INLINE const char* state_name(NodeState state) noexcept {
    switch (state) {
        case NodeState::pending: return "pending";
        case NodeState::ready: return "ready";
        case NodeState::running: return "running";
        case NodeState::completed: return "completed";
        case NodeState::failed: return "failed";
        case NodeState::skipped: return "skipped";
        case NodeState::cancelled: return "cancelled";
    }
    return "unknown";
}

GRAFO_INLINE void update_driver(NodeCore& node) noexcept {
    const Extras* extras = node.extras.get();
    if (node.has_deferred()) node.keeps_arguments = true;
    node.needs_driver =
        node.has_deferred() ||
        (extras != nullptr && (!extras->on_before_run.empty() || !extras->on_after_run.empty() ||
                               extras->timeout != std::chrono::nanoseconds::max() ||
                               extras->total_timeout != std::chrono::nanoseconds::max() ||
                               extras->retry != nullptr || extras->limits != nullptr));
}

}  // namespace grafo::detail
