#pragma once
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/handle.hpp>
#include <grafo/detail/when_used.hpp>
#include <grafo/detail/wiring.hpp>

// What a node's public members ask of it.
namespace grafo::detail {

template <class Visit>
void for_each_child(const NodeCore& node, Visit&& visit) {
    const std::uint32_t mark = Graph::next_mark();
    for (std::uint32_t i = 0; i < node.out.size(); ++i) {
        NodeCore& child = node.out[i].child();
        if (std::exchange(child.mark, mark) != mark) visit(child);
    }
}

template <class Visit>
void for_each_parent(const NodeCore& node, Visit&& visit) {
    const std::uint32_t mark = Graph::next_mark();
    for (std::uint32_t i = 0; i < node.in.size(); ++i) {
        NodeCore& parent = *node.in[i].parent;
        if (std::exchange(parent.mark, mark) != mark) visit(parent);
    }
}

// The cycle that leads through `node`, following parents that were seen with `mark`.
[[nodiscard]] inline std::string cycle_text(const FlatList<const NodeCore*>& cycle) {
    std::string text;
    for (const NodeCore* node : cycle) text += in_quotes(node->id) + " -> ";
    return text + in_quotes(cycle[0]->id);
}

// The longest path down to the node, over the edges made outside of runs. Without recursion:
// parents come after their children on the stack, and are finished first.
[[nodiscard]] inline std::size_t level_of(NodeCore& node) {
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

[[nodiscard]] inline const char* state_name(NodeState state) noexcept {
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

// Throws the error that says why there is no output.
template <class = WhenUsed>
[[noreturn]] void throw_output_unavailable(NodeCore& node, TypeId wanted);

template <class T>
std::add_lvalue_reference_t<const T> typed_output(NodeCore& node) {
    const bool is_there = node.has_output && !node.output_moved &&
                          state_of(node) == NodeState::completed &&
                          node.type().output == type_id<T>();
    if (!is_there) throw_output_unavailable(node, type_id<T>());
    if constexpr (!std::is_void_v<T>) return output_of<T>(node);
}

// Whether the node is started by a coroutine that does more than call it.
inline void update_driver(NodeCore& node) noexcept {
    const Extras* extras = node.extras.get();
    if (node.has_deferred()) node.keeps_arguments = true;
    node.needs_driver =
        node.has_deferred() ||
        (extras != nullptr && (!extras->on_before_run.empty() || !extras->on_after_run.empty() ||
                               extras->timeout != std::chrono::nanoseconds::max() ||
                               extras->total_timeout != std::chrono::nanoseconds::max() ||
                               extras->retry != nullptr || extras->limits != nullptr));
}

template <class T>
[[nodiscard]] const Handle& checked_handle(const Handle& handle) {
    if (handle.core() != nullptr && handle.core()->type().output != type_id<T>()) {
        throw ForwardingTypeError("node " + in_quotes(handle.core()->id) + " gives " +
                                  type_name(handle.core()->type().output) + ", not " +
                                  type_name(type_id<T>()));
    }
    return handle;
}

}  // namespace grafo::detail
