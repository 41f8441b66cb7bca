#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include <grafo/arguments.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/inspect.hpp>
#include <grafo/detail/plan.hpp>

// Whether the nodes of a run can run at all, and the making of its plan.
namespace grafo::detail {

inline void throw_missing(const NodeCore& node, std::uint32_t param) {
    const ParamInfo& info = node.type().params[param];
    throw MissingArgumentError(
        (info.list ? "list parameter " : "parameter ") + in_quotes(info.name) + " of node " +
        in_quotes(node.id) +
        " is filled by nobody: bind it or forward a parent's output into it (a move-only value is "
        "spent by the run that moved it)");
}

[[nodiscard]] inline std::string param_text(const NodeCore& node, std::uint32_t param) {
    return "parameter " + in_quotes(node.type().params[param].name) + " of node " +
           in_quotes(node.id);
}

// An edge may give nothing under these triggers: the parameter must have a value for that.
inline void check_may_be_empty(const NodeCore& node, const InEdge& edge) {
    const ParamInfo& info = node.type().params[edge.param];
    if (!info.pipe && (info.list || info.may_be_empty)) return;
    throw ForwardingTypeError(
        param_text(node, edge.param) + " takes " + (info.pipe ? "a stream of " : "") +
        type_name(info.type) + " from node " + in_quotes(edge.parent->id) +
        ", but the trigger of the node lets it run without: take a std::optional, a const pointer "
        "or a list");
}

// What an attempt moves from is not there for the next one.
inline void check_retry(const NodeCore& node) {
    const std::string name = "node " + in_quotes(node.id) + " cannot retry: ";
    for (std::uint32_t i = 0; i < node.type().param_count; ++i) {
        const InEdge* edge = node.find_edge(i);
        const ParamInfo& info = node.type().params[i];
        if (info.pipe && edge != nullptr) {
            throw ForwardingTypeError(name + param_text(node, i) +
                                      " reads a stream, whose chunks come once");
        }
        const bool moved = edge != nullptr ? info.single_use || edge->forward->takes()
                                           : info.single_use && !node.is_deferred(i);
        if (!moved) continue;
        throw ForwardingTypeError(name + param_text(node, i) +
                                  " is move-only and taken by value, so the first attempt would "
                                  "spend it: take it as a const reference");
    }
    if (node.feeds_pipes) {
        for (const OutEdge& edge : node.out) {
            if (edge.pipe() == nullptr) continue;
            throw ForwardingTypeError(name + "node " + in_quotes(edge.child().id) +
                                      " reads its chunks in a pipe, and has those of a failed "
                                      "attempt already");
        }
    }
}

inline void check_arguments(const NodeCore& node) {
    const std::uint32_t count = node.type().param_count;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!node.is_bound(i) && node.find_edge(i) == nullptr) throw_missing(node, i);
    }
    const bool always = node.trigger() == Trigger::all_completed;
    for (const InEdge& edge : node.in) {
        if (edge.forward == nullptr || edge.param == NodeCore::no_param) continue;
        if (!always) check_may_be_empty(node, edge);
        if (edge.forward->pipe() != nullptr || edge.parent->collects()) continue;
        throw ForwardingTypeError("node " + in_quotes(edge.parent->id) +
                                  " forwards its chunks to node " + in_quotes(node.id) +
                                  ", but collect(false) keeps none");
    }
    if (node.extras != nullptr && node.extras->retry != nullptr) check_retry(node);
}

// A move-only output goes once, and a node may ask for it again in a run.
inline void check_moved(const NodeCore& node) {
    for (const InEdge& edge : node.in) {
        if (edge.forward == nullptr || !edge.forward->takes()) continue;
        if (!edge.parent->output_moved || !is_taken(edge)) continue;
        throw OutputUnavailableError(
            param_text(node, edge.param) + " takes the output of node " +
            in_quotes(edge.parent->id) +
            " by value, but that is move-only and was moved out before: take it as a const "
            "reference, or let that node run again as well");
    }
}

// A reader that also waits for its producer's end would hold that up for ever; so would one that
// needs what the producer holds.
inline void check_pipes_of(NodeCore& producer) {
    FlatList<NodeCore*> readers;
    for (const OutEdge& edge : producer.out) {
        if (edge.pipe() != nullptr) readers.push_back(&edge.child());
    }
    // Those that hang together with the producer by pipes alone, `piped`, and those that wait for
    // the end of one of these, `behind`.
    const std::uint32_t piped = Graph::next_mark();
    const std::uint32_t behind = Graph::next_mark();
    struct Step {
        NodeCore* node;
        bool waits;
    };
    FlatList<Step> steps(Step{&producer, false});
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const Step step = steps[i];
        for (const OutEdge& edge : step.node->out) {
            NodeCore& child = edge.child();
            if (step.waits || edge.pipe() == nullptr) {
                if (std::exchange(child.scratch, behind) != behind) steps.push_back({&child, true});
            } else if (std::exchange(child.mark, piped) != piped) {
                steps.push_back({&child, false});
            }
        }
    }
    for (const NodeCore* reader : readers) {
        if (reader->scratch != behind) continue;
        throw CycleError("node " + in_quotes(reader->id) + " reads the chunks of node " +
                         in_quotes(producer.id) +
                         " in a pipe, and waits for its end by another path: it could never start");
    }
    for (const NodeCore* reader : readers) {
        if (!has_limits(*reader)) continue;
        reader->extras->limits->check_side_by_side(producer, readers);
        break;
    }
    if (!has_limits(producer)) return;
    for (const Step& step : steps) {
        const NodeCore& other = *step.node;
        if (&other == &producer || step.waits || !has_limits(other)) continue;
        if (!producer.extras->limits->shares_with(*other.extras->limits)) continue;
        throw Error("nodes " + in_quotes(producer.id) + " and " + in_quotes(other.id) +
                    " are held together by a pipe and limited by one semaphore: each could wait "
                    "for the other");
    }
}

inline void check_pipes(const FlatList<NodeCore*>& nodes) {
    for (NodeCore* node : nodes) {
        if (node->feeds_pipes) check_pipes_of(*node);
    }
}

// A plan is current if no graph of the given nodes has changed, or was planned anew, since.
[[nodiscard]] inline bool is_current(const Plan& plan, const NodeList& given) {
    if (plan.id == 0) return false;
    for (const Handle& handle : given) {
        const Graph* graph = handle.core()->graph;
        if (graph == nullptr || graph->planned_by != plan.id) return false;
    }
    return true;
}

// Finds a cycle among nodes of which `left` have unsettled parents, and prints it.
[[noreturn]] inline void throw_cycle(const FlatList<NodeCore*>& nodes) {
    // scratch counts parents that are not settled: following such parents runs into the cycle.
    const NodeCore* at = nullptr;
    for (const NodeCore* node : nodes) {
        if (node->scratch > 0) at = node;
    }
    FlatList<const NodeCore*> trail;
    const std::uint32_t mark = Graph::next_mark();
    while (at->mark != mark) {
        const_cast<NodeCore*>(at)->mark = mark;
        trail.push_back(at);
        for (const InEdge& edge : at->in) {
            if (edge.parent->scratch > 0) {
                at = edge.parent;
                break;
            }
        }
    }
    FlatList<const NodeCore*> cycle;
    for (std::size_t i = trail.size(); i-- > 0;) {
        cycle.push_back(trail[i]);
        if (trail[i] == at) break;
    }
    throw CycleError("the edges form a cycle: " + cycle_text(cycle));
}

inline void check_free(const NodeCore& node) {
    if (run_of(node) == nullptr) return;
    throw SafeExecutionError("node " + in_quotes(node.id) +
                             " is in a run that has not ended: it cannot be run again yet");
}
// No node of the plan may be in a run.
inline void check_free(const Plan& plan) {
    for (const Graph* graph : plan.graphs) {
        if (graph->runs.empty()) continue;
        for (const NodeCore* node : graph->nodes) {
            if (node->plan == plan.id) check_free(*node);
        }
    }
}

// All that the given nodes lead to, and all that this needs. Throws before anything has changed.
inline void make_plan(Plan& plan, const NodeList& given) {
    Plan made;
    FlatList<NodeCore*> nodes;  // in the order they were found
    const std::uint32_t mark = Graph::next_mark();
    const auto find = [&](NodeCore& node) {
        if (std::exchange(node.mark, mark) != mark) nodes.push_back(&node);
    };
    for (const Handle& handle : given) find(*handle.core());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        for (const OutEdge& edge : nodes[i]->out) find(edge.child());
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        for (const InEdge& edge : nodes[i]->in) find(*edge.parent);
    }
    for (const NodeCore* node : nodes) check_free(*node);
    for (const NodeCore* node : nodes) check_arguments(*node);
    check_pipes(nodes);

    // Starts in connection order: down from the given ones, or up to what a given one needs.
    const std::uint32_t seen = Graph::next_mark();
    FlatList<NodeCore*> stack;
    const auto search = [&](NodeCore& from) {
        stack.push_back(&from);
        while (!stack.empty()) {
            NodeCore& node = *stack.back();
            stack.pop_back();
            if (std::exchange(node.mark, seen) == seen) continue;
            if (node.in.empty()) made.starts.push_back(&node);
            for (std::uint32_t i = node.in.size(); i-- > 0;) {
                if (node.in[i].parent->mark != seen) stack.push_back(node.in[i].parent);
            }
        }
    };
    for (const Handle& handle : given) search(*handle.core());
    for (NodeCore* node : nodes) search(*node);

    for (NodeCore* node : nodes) node->scratch = node->in.size();
    FlatList<NodeCore*> settled = made.starts;
    for (std::size_t i = 0; i < settled.size(); ++i) {
        for (const OutEdge& edge : settled[i]->out) {
            NodeCore& child = edge.child();
            if (child.mark != seen) {
                made.open = true;
            } else if (--child.scratch == 0) {
                settled.push_back(&child);
            }
        }
    }
    if (settled.size() < nodes.size()) throw_cycle(nodes);

    static std::atomic<std::uint32_t> last_id{0};
    do made.id = number_after(last_id);
    while (made.id == no_plan);
    for (NodeCore* node : nodes) {
        Graph& graph = need_graph(*node);
        if (std::exchange(graph.mark, mark) != mark) made.graphs.push_back(&graph);
    }
    made.node_count = nodes.size();
    for (NodeCore* node : nodes) node->plan = made.id;
    for (Graph* graph : made.graphs) {
        graph->nodes.trim();
        graph->planned_by = made.id;
    }
    plan = std::move(made);
}

}  // namespace grafo::detail
