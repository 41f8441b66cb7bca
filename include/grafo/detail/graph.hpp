#pragma once
#include <atomic>
#include <cstdint>
#include <new>
#include <utility>

#include <grafo/detail/bury.hpp>
#include <grafo/detail/extras.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/node_core.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/when_used.hpp>

// Who owns the nodes. Nodes that edges hold together are one *graph*; it lives while any handle to
// any of its nodes lives, or a run or a report of it (a *pin*). Edges own nothing, so a cycle leaks
// nothing; when the last handle goes, all nodes of the graph go, one after the other.
namespace grafo::detail {

// Keeps graphs alive as a whole, as long as nothing is cut off them: a report, once its run is
// over.
class PinHolder {
public:
    // Holds the nodes it means by handles from now on, and no pins.
    virtual void hold_nodes_instead() noexcept = 0;

protected:
    ~PinHolder() = default;
};

// An edge that was removed.
struct Cut {
    NodeCore* parent;
    NodeCore* child;
};

class Graph {
public:
    Graph() = default;
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    FlatList<NodeCore*> nodes;
    FlatList<RunHooks*> runs;
    FlatList<PinHolder*> holders;
    std::uint32_t live = 0;  // nodes that have a handle
    std::uint32_t pins = 0;
    std::uint32_t planned_by = 0;  // the plan that is valid for the wiring as it is; 0: none
    std::uint32_t mark = 0;        // of the last traversal
    Graph* next_found = nullptr;   // in settle_cuts
    NodeCore* found =
        nullptr;  // in settle_cuts: a node that others were seen to hang together with
    Graph* merged_into = nullptr;  // then this is only what older pins point to
    FlatList<Cut> cuts;            // edges removed while pinned
    bool unsure = false;           // some could not be noted: there may be nodes that are cut off

    static std::uint32_t next_mark() noexcept {
        static std::atomic<std::uint32_t> last{0};
        return last.fetch_add(1, std::memory_order_relaxed) + 1;
    }
};

inline void free_graph(Graph* graph) noexcept {
    // The first buried would run destructors that see the others: take the list away first.
    const FlatList<NodeCore*> nodes = std::move(graph->nodes);
    delete graph;
    for (NodeCore* node : nodes) bury(*node);
}

inline void add_handle(NodeCore& node) noexcept {
    if (node.handles++ == 0 && node.graph != nullptr) ++node.graph->live;
}

inline void drop_handle(NodeCore& node) noexcept {
    if (--node.handles > 0) return;
    if (node.graph == nullptr) {
        bury(node);
    } else if (--node.graph->live == 0 && node.graph->pins == 0) {
        free_graph(node.graph);
    }
}

// The graph of a node that may never have been connected. Strong guarantee.
inline Graph& need_graph(NodeCore& node) {
    if (node.graph == nullptr) {
        Owned<Graph> graph(new Graph);
        graph->nodes.push_back(&node);
        graph->live = node.handles > 0 ? 1 : 0;
        node.place = 0;
        node.graph = graph.release();
    }
    return *node.graph;
}

// One graph from two; the smaller one's nodes move. Strong guarantee.
inline void merge_graphs(NodeCore& a, NodeCore& b) {
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

// Calls visit(neighbour) for both directions of each edge.
template <class Visit>
void for_each_neighbour(NodeCore& node, Visit&& visit) {
    for (const OutEdge& edge : node.out) visit(edge.child());
    for (const InEdge& edge : node.in) visit(*edge.parent);
}

// After an edge between a and b is gone: makes two graphs of one if nothing else holds them
// together. Searches from both ends in step, so it costs no more than twice the smaller part.
inline void split_if_cut(NodeCore& a, NodeCore& b) {
    if (a.graph != b.graph || &a == &b) return;
    struct Side {
        std::uint32_t mark;
        FlatList<NodeCore*> seen;
        std::size_t next = 0;
    };
    Side sides[2] = {{Graph::next_mark(), FlatList(&a)}, {Graph::next_mark(), FlatList(&b)}};
    a.mark = sides[0].mark;
    b.mark = sides[1].mark;
    Side* piece = nullptr;
    for (std::size_t turn = 0; piece == nullptr; turn ^= 1) {
        Side& side = sides[turn];
        if (side.next == side.seen.size()) {
            piece = &side;
            break;
        }
        NodeCore& node = *side.seen[side.next++];
        bool met = false;
        for_each_neighbour(node, [&](NodeCore& neighbour) {
            if (neighbour.mark == sides[turn ^ 1].mark) met = true;
            if (neighbour.mark == side.mark) return;
            neighbour.mark = side.mark;
            side.seen.push_back(&neighbour);
        });
        if (met) return;
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

// Frees the nodes that hang together with none that has a handle, which takes no memory, and makes
// graphs of the parts that do; without memory for that they remain one, which is unsure still.
template <class = WhenUsed>
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

// Takes care of edges that are gone: what no handle holds any more is freed.
template <class = WhenUsed>
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

// Keeps a graph, as it is now and whatever it is merged into, alive.
class GraphPin {
public:
    explicit GraphPin(Graph& graph) noexcept : graph_(&graph) { ++graph.pins; }
    GraphPin(GraphPin&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
    GraphPin& operator=(GraphPin&& other) noexcept {
        std::swap(graph_, other.graph_);
        return *this;
    }
    ~GraphPin() {
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
    [[nodiscard]] Graph& graph() const noexcept {
        Graph* graph = graph_;
        while (graph->merged_into != nullptr) graph = graph->merged_into;
        return *graph;
    }

private:
    Graph* graph_;
};

// Frees what the cuts of the graph cut off, unless a run is on.
inline void settle_graph(Graph& graph) noexcept {
    if (!graph.runs.empty()) return;
    const GraphPin last(graph);  // goes after all others, and settles the cuts
    const FlatList<PinHolder*> holders = std::move(graph.holders);
    for (PinHolder* holder : holders) holder->hold_nodes_instead();
}

// An edge between the two is gone. What that cuts off is found out at once, or when the run is
// over.
inline void edge_gone(NodeCore& a, NodeCore& b) noexcept {
    try {
        a.graph->cuts.push_back({&a, &b});
    } catch (const std::bad_alloc&) {
        a.graph->unsure = true;
    }
    settle_graph(*a.graph);
}

// Points to a node without keeping it alive.
class WeakNode {
public:
    explicit WeakNode(NodeCore& node);
    WeakNode(const WeakNode& other) noexcept : cell_(other.cell_) { ++cell_->references; }
    WeakNode& operator=(WeakNode other) noexcept {
        std::swap(cell_, other.cell_);
        return *this;
    }
// https://gcc.gnu.org/bugzilla/show_bug.cgi?id=104475 and its like: at -O2 g++ 12 mixes up the
// copies.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuse-after-free"
#endif
    ~WeakNode() {
        if (--cell_->references == 0) delete cell_;
    }
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#pragma GCC diagnostic pop
#endif
    // Null once the node is gone.
    [[nodiscard]] NodeCore* get() const noexcept { return cell_->node; }

private:
    WeakCell* cell_;
};

// The run that a node is part of, if one is on.
[[nodiscard]] inline RunHooks* run_of(const NodeCore& node) noexcept {
    if (node.graph == nullptr) return nullptr;
    for (RunHooks* run : node.graph->runs) {
        if (run->has(node)) return run;
    }
    return nullptr;
}

[[nodiscard]] inline NodeState state_of(const NodeCore& node) noexcept {
    const RunHooks* run = run_of(node);
    return run != nullptr ? run->state_of(node) : node.state;
}

// Once the parent has settled: does the edge count, and give what it forwards?
[[nodiscard]] inline bool is_taken(const InEdge& edge) noexcept {
    return edge.parent->ended == NodeState::completed &&
           (edge.forward == nullptr || !edge.forward->evaluated() || edge.forward->taken);
}

inline Extras& NodeCore::need_extras() {
    if (extras == nullptr) {
        extras.reset(new Extras);
        has_extras = true;
    }
    return *extras;
}

inline WeakNode::WeakNode(NodeCore& node) {
    Extras& extras = node.need_extras();
    if (extras.weak == nullptr) extras.weak = new WeakCell{1, &node};
    cell_ = extras.weak;
    ++cell_->references;
}

inline unsigned NodeCore::attempts() const noexcept {
    if (!called) return 0;
    return extras != nullptr && extras->attempts > 0 ? extras->attempts : 1;
}

inline std::exception_ptr NodeCore::error() const noexcept {
    return extras != nullptr ? extras->error : nullptr;
}

inline Trigger NodeCore::trigger() const noexcept {
    return extras != nullptr ? extras->trigger : Trigger::all_completed;
}

inline Stream* NodeCore::stream() const noexcept {
    return extras != nullptr ? extras->stream.get() : nullptr;
}

inline Stream& NodeCore::need_stream() {
    Extras& made = need_extras();
    if (made.stream == nullptr) made.stream.reset(new Stream);
    return *made.stream;
}

[[nodiscard]] inline bool has_limits(const NodeCore& node) noexcept {
    return node.extras != nullptr && node.extras->limits != nullptr;
}

inline bool NodeCore::collects() const noexcept {
    return extras == nullptr || extras->collect || !type().output_is_chunks;
}

inline NodeCore::~NodeCore() {
    for (const InEdge& edge : in) {
        if (edge.forward != nullptr && edge.forward->owned()) delete edge.forward;
    }
}

}  // namespace grafo::detail
