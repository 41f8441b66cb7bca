#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include <grafo/detail/handle.hpp>
#include <grafo/detail/inline.hpp>

namespace grafo::detail {

GRAFO_INLINE void throw_empty_handle() { throw Error("an empty AnyNode was used as a node"); }

#ifndef NDEBUG
GRAFO_INLINE Captures& Captures::current() {
    static thread_local Captures captures;
    return captures;
}

GRAFO_INLINE void Captures::note(const void* handle, NodeCore* node) {
    const auto* at = static_cast<const std::byte*>(handle);
    if (node != nullptr && begin <= at && at < end) held.push_back(node);
}

template <class>
void check_self_hold(Graph& graph) {
    constexpr std::size_t most_nodes = 1000;
    if (graph.pins > 0 || graph.live == 0 || graph.live > Captures::current().ever) return;
    if (graph.nodes.size() > most_nodes) return;
    const std::uint32_t live = Graph::next_mark();
    for (NodeCore* node : graph.nodes) {
        node->mark = live;
        node->scratch = node->handles;
    }
    const NodeCore* holder = nullptr;
    const NodeCore* held = nullptr;
    for (NodeCore* node : graph.nodes) {
        if (node->extras == nullptr) continue;
        for (NodeCore* target : node->extras->captured) {
            if (target->mark != live) continue;
            --target->scratch;
            holder = node;
            held = target;
        }
    }
    for (const NodeCore* node : graph.nodes) {
        if (node->scratch != 0) return;
    }
    report_self_hold("grafo: a graph is kept alive only by its own callables and leaks: node '" +
                     holder->id + "' holds a handle of node '" + held->id +
                     "'; let it hold a NodeRef (node.ref()) instead\n");
}

GRAFO_INLINE CaptureScope::~CaptureScope() {
    Captures& captures = Captures::current();
    captures.begin = captures.end = nullptr;
    captures.held.clear();
}

GRAFO_INLINE void CaptureScope::keep(NodeCore& node) {
    Captures& captures = Captures::current();
    if (captures.held.empty()) return;
    captures.ever += captures.held.size();
    node.need_extras().captured = captures.held;
}
#endif

}  // namespace grafo::detail
