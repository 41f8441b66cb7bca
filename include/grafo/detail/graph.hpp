#pragma once
#include <atomic>
#include <cstdint>
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

// For what nodes remember: never 0, which they have from the start, not even when all others were
// given and they begin anew.
[[gnu::always_inline]] inline std::uint32_t number_after(
    std::atomic<std::uint32_t>& last) noexcept {
    for (;;) {
        const std::uint32_t number = last.fetch_add(1, std::memory_order_relaxed) + 1;
        if (number != 0) [[likely]]
            return number;
    }
}

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
        return number_after(last);
    }
};

void free_graph(Graph* graph) noexcept;

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
Graph& need_graph(NodeCore& node);

// One graph from two; the smaller one's nodes move. Strong guarantee.
void merge_graphs(NodeCore& a, NodeCore& b);

// Calls visit(neighbour) for both directions of each edge.
template <class Visit>
void for_each_neighbour(NodeCore& node, Visit&& visit) {
    for (const OutEdge& edge : node.out) visit(edge.child());
    for (const InEdge& edge : node.in) visit(*edge.parent);
}

// After an edge between a and b is gone: makes two graphs of one if nothing else holds them
// together. Searches from both ends in step, an edge each, so it costs no more than twice the
// smaller part, however many neighbours the other end has.
void split_if_cut(NodeCore& a, NodeCore& b);

// Frees the nodes that hang together with none that has a handle, which takes no memory, and makes
// graphs of the parts that do; without memory for that they remain one, which is unsure still.
template <class = WhenUsed>
void sweep(Graph& graph) noexcept;

// Takes care of edges that are gone: what no handle holds any more is freed.
template <class = WhenUsed>
void settle_cuts(const FlatList<Cut>& cuts) noexcept;

// Keeps a graph, as it is now and whatever it is merged into, alive.
class GraphPin {
public:
    explicit GraphPin(Graph& graph) noexcept : graph_(&graph) { ++graph.pins; }
    GraphPin(GraphPin&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
    GraphPin& operator=(GraphPin&& other) noexcept {
        std::swap(graph_, other.graph_);
        return *this;
    }
    ~GraphPin();
    [[nodiscard]] Graph& graph() const noexcept {
        Graph* graph = graph_;
        while (graph->merged_into != nullptr) graph = graph->merged_into;
        return *graph;
    }

private:
    Graph* graph_;
};

// Frees what the cuts of the graph cut off, unless a run is on.
void settle_graph(Graph& graph) noexcept;

// An edge between the two is gone. What that cuts off is found out at once, or when the run is
// over.
void edge_gone(NodeCore& a, NodeCore& b) noexcept;

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
[[nodiscard]] RunHooks* run_of(const NodeCore& node) noexcept;

[[nodiscard]] NodeState state_of(const NodeCore& node) noexcept;

// Once the parent has settled: does the edge count, and give what it forwards?
[[nodiscard]] inline bool is_taken(const InEdge& edge) noexcept {
    return edge.parent->ended == NodeState::completed &&
           (edge.forward == nullptr || !edge.forward->evaluated() || edge.forward->taken);
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

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/graph.hpp>
#endif
