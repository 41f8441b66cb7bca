#pragma once
#include <cstddef>
#include <cstdio>
#include <string>

#include <grafo/detail/extras.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/when_used.hpp>

// In debug builds: a graph that is kept alive only by handles inside its own callables and bound
// values is reported, since nothing will ever free it. Handles that such a callable holds on the
// heap are not seen, nor is a graph of more than a thousand nodes: each handle dropped looks at
// all.
namespace grafo::detail {

// Where the report goes; stderr unless a test looks.
inline void (*report_self_hold)(const std::string& message) = [](const std::string& message) {
    std::fputs(message.c_str(), stderr);
};

#ifndef NDEBUG
// The node being made on this thread, and the nodes whose handles it got inside.
struct Captures {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    FlatList<NodeCore*> held;
    std::size_t ever = 0;

    static Captures& current() {
        static thread_local Captures captures;
        return captures;
    }
    void note(const void* handle, NodeCore* node) {
        const auto* at = static_cast<const std::byte*>(handle);
        if (node != nullptr && begin <= at && at < end) held.push_back(node);
    }
};

template <class = WhenUsed>
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
#endif

}  // namespace grafo::detail
