#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <grafo/detail/graph.hpp>
#include <grafo/detail/inline.hpp>

namespace grafo::detail {

GRAFO_INLINE void free_graph(Graph* graph) noexcept {
    // The first buried would run destructors that see the others: take the list away first.
    const FlatList<NodeCore*> nodes = std::move(graph->nodes);
    delete graph;
    for (NodeCore* node : nodes) bury(*node);
}

GRAFO_INLINE Graph& need_graph(NodeCore& node) {
    if (node.graph == nullptr) {
        Owned<Graph> graph(new Graph);
        graph->nodes.push_back(&node);
        graph->live = node.handles > 0 ? 1 : 0;
        node.place = 0;
        node.graph = graph.release();
    }
    return *node.graph;
}

GRAFO_INLINE void merge_graphs(NodeCore& a, NodeCore& b) {
    if (&a == &b) {
        need_graph(a);
        return;
    }
    if (a.graph != nullptr && a.graph == b.graph) return;
    if (b.graph == nullptr && a.graph != nullptr) {
        a.graph->nodes.push_back(&b);
        b.place = static_cast<std::uint32_t>(a.graph->nodes.size() - 1);
        a.graph->live += b.handles > 0 ? 1 : 0;
        b.graph = a.graph;
        b.graph->planned_by = 0;
        return;
    }
    if (a.graph == nullptr && b.graph != nullptr) return merge_graphs(b, a);
    Graph* winner = &need_graph(a);
    Graph* loser = &need_graph(b);
    if (winner->nodes.size() < loser->nodes.size()) std::swap(winner, loser);
    winner->nodes.reserve_more(loser->nodes.size());
    winner->runs.reserve_more(loser->runs.size());
    winner->holders.reserve_more(loser->holders.size());
    winner->cuts.reserve_more(loser->cuts.size());
    for (NodeCore* node : loser->nodes) {
        node->graph = winner;
        node->place = static_cast<std::uint32_t>(winner->nodes.size());
        winner->nodes.push_back(node);
    }
    for (RunHooks* run : loser->runs) {
        if (!winner->runs.contains(run)) winner->runs.push_back(run);
    }
    winner->holders.append(loser->holders);
    winner->cuts.append(loser->cuts);
    winner->live += loser->live;
    winner->pins += loser->pins;
    winner->unsure = winner->unsure || loser->unsure;
    winner->planned_by = 0;
    if (loser->pins == 0) {
        delete loser;
    } else {
        loser->merged_into = winner;
        loser->nodes = {};
        loser->runs = {};
        loser->holders = {};
        loser->cuts = {};
    }
}

GRAFO_INLINE void split_if_cut(NodeCore& a, NodeCore& b) {
    if (a.graph != b.graph || &a == &b) return;
    struct Side {
        std::uint32_t mark;
        FlatList<NodeCore*> seen;
        std::size_t at = 0;       // the one of them whose edges are looked at
        std::uint32_t edges = 0;  // that were looked at
    };
    Side sides[2] = {{Graph::next_mark(), FlatList(&a)}, {Graph::next_mark(), FlatList(&b)}};
    a.mark = sides[0].mark;
    b.mark = sides[1].mark;
    const Side* piece = nullptr;
    for (std::size_t turn = 0; piece == nullptr; turn ^= 1) {
        Side& side = sides[turn];
        const NodeCore& node = *side.seen[side.at];
        const std::uint32_t edge = side.edges++;
        const std::uint32_t outs = node.out.size();
        if (edge == outs + node.in.size()) {
            side.edges = 0;
            if (++side.at == side.seen.size()) piece = &side;
            continue;
        }
        NodeCore& neighbour = edge < outs ? node.out[edge].child() : *node.in[edge - outs].parent;
        if (neighbour.mark == sides[turn ^ 1].mark) return;
        if (neighbour.mark == side.mark) continue;
        neighbour.mark = side.mark;
        side.seen.push_back(&neighbour);
    }
    Graph& rest = *a.graph;
    Owned<Graph> part(new Graph);
    part->nodes.reserve(piece->seen.size());
    for (NodeCore* node : piece->seen) {
        rest.nodes.back()->place = node->place;
        rest.nodes[node->place] = rest.nodes.back();
        rest.nodes.pop_back();
        node->graph = part.get();
        node->place = static_cast<std::uint32_t>(part->nodes.size());
        part->nodes.push_back(node);
        if (node->handles > 0) {
            ++part->live;
            --rest.live;
        }
    }
    static_cast<void>(part.release());  // owned by its nodes' handles
}

template <class>
void sweep(Graph& graph) noexcept {
    const std::uint32_t mark = Graph::next_mark();
    NodeCore* first = nullptr;
    const auto reach = [&](NodeCore& node) {
        if (std::exchange(node.mark, mark) != mark) node.next = std::exchange(first, &node);
    };
    FlatList<NodeCore*> parts;
    graph.unsure = false;
    graph.planned_by = 0;
    for (NodeCore* root : graph.nodes) {
        if (root->handles == 0 || root->mark == mark) continue;
        try {
            parts.push_back(root);
        } catch (const std::bad_alloc&) {
            graph.unsure = true;
        }
        reach(*root);
        while (first != nullptr) {
            NodeCore& node = *first;
            first = node.next;
            for_each_neighbour(node, reach);
        }
    }
    for (auto i = static_cast<std::uint32_t>(graph.nodes.size()); i-- > 0;) {
        NodeCore* const node = graph.nodes[i];
        if (node->mark == mark) continue;
        graph.nodes.back()->place = i;
        graph.nodes[i] = graph.nodes.back();
        graph.nodes.pop_back();
        node->next = std::exchange(first, node);
    }
    for (std::size_t i = 1; i < parts.size(); ++i) {
        try {
            for (std::size_t k = 0; k < i; ++k) split_if_cut(*parts[i], *parts[k]);
        } catch (const std::bad_alloc&) {
            parts[i]->graph->unsure = true;
        }
    }
    while (first != nullptr) {  // the graphs may go with them
        NodeCore& node = *first;
        first = node.next;
        bury(node);
    }
}

template <class>
void settle_cuts(const FlatList<Cut>& cuts) noexcept {
    for (const auto& [a, b] : cuts) a->graph->found = b->graph->found = nullptr;
    for (const auto& [a, b] : cuts) {
        for (NodeCore* node : {a, b}) {
            NodeCore* other = std::exchange(node->graph->found, node);
            if (other == nullptr) continue;
            try {
                split_if_cut(*node, *other);
            } catch (const std::bad_alloc&) {
                node->graph->unsure = true;
            }
            other->graph->found = other;
            node->graph->found = node;
        }
    }
    Graph* found = nullptr;
    const std::uint32_t mark = Graph::next_mark();
    for (const auto& [a, b] : cuts) {
        for (NodeCore* node : {a, b}) {
            if (std::exchange(node->graph->mark, mark) == mark) continue;
            node->graph->next_found = std::exchange(found, node->graph);
            ++node->graph->pins;  // what goes first may hold the last handle of what comes later
        }
    }
    while (found != nullptr) {
        Graph* graph = std::exchange(found, found->next_found);
        if (--graph->pins > 0) continue;
        if (graph->live == 0) {
            free_graph(graph);
        } else if (graph->unsure) {
            sweep(*graph);
        }
    }
}

GRAFO_INLINE GraphPin::~GraphPin() {
    if (graph_ == nullptr) return;
    Graph* last = nullptr;
    for (Graph* graph = graph_; graph != nullptr;) {
        Graph* next = graph->merged_into;
        --graph->pins;
        if (next == nullptr) {
            last = graph;
        } else if (graph->pins == 0) {
            delete graph;
        }
        graph = next;
    }
    if (last->pins > 0) return;
    if (last->live == 0) {
        free_graph(last);
    } else if (!last->cuts.empty()) {
        const FlatList<Cut> cuts = std::move(last->cuts);
        settle_cuts(cuts);
    } else if (last->unsure) {
        sweep(*last);
    }
}

GRAFO_INLINE void settle_graph(Graph& graph) noexcept {
    if (!graph.runs.empty()) return;
    const GraphPin last(graph);  // goes after all others, and settles the cuts
    const FlatList<PinHolder*> holders = std::move(graph.holders);
    for (PinHolder* holder : holders) holder->hold_nodes_instead();
}

GRAFO_INLINE void edge_gone(NodeCore& a, NodeCore& b) noexcept {
    try {
        a.graph->cuts.push_back({&a, &b});
    } catch (const std::bad_alloc&) {
        a.graph->unsure = true;
    }
    settle_graph(*a.graph);
}

GRAFO_INLINE RunHooks* run_of(const NodeCore& node) noexcept {
    if (node.graph == nullptr) return nullptr;
    for (RunHooks* run : node.graph->runs) {
        if (run->has(node)) return run;
    }
    return nullptr;
}

GRAFO_INLINE NodeState state_of(const NodeCore& node) noexcept {
    const RunHooks* run = run_of(node);
    return run != nullptr ? run->state_of(node) : node.state;
}

GRAFO_INLINE Extras& NodeCore::need_extras() {
    if (extras == nullptr) {
        extras.reset(new Extras);
        has_extras = true;
    }
    return *extras;
}

GRAFO_INLINE WeakNode::WeakNode(NodeCore& node) {
    Extras& extras = node.need_extras();
    if (extras.weak == nullptr) extras.weak = new WeakCell{1, &node};
    cell_ = extras.weak;
    ++cell_->references;
}

GRAFO_INLINE Stream& NodeCore::need_stream() {
    Extras& made = need_extras();
    if (made.stream == nullptr) made.stream.reset(new Stream);
    return *made.stream;
}

GRAFO_INLINE Extras::~Extras() {
    if (weak == nullptr) return;
    weak->node = nullptr;
    if (--weak->references == 0) delete weak;
}

GRAFO_INLINE Extras::Extras() = default;

}  // namespace grafo::detail
