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
[[nodiscard]] std::string cycle_text(const FlatList<const NodeCore*>& cycle);

// The longest path down to the node, over the edges made outside of runs. Without recursion:
// parents come after their children on the stack, and are finished first.
[[nodiscard]] std::size_t level_of(NodeCore& node);

[[nodiscard]] const char* state_name(NodeState state) noexcept;

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
void update_driver(NodeCore& node) noexcept;

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
