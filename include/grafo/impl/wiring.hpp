#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/detail/wiring.hpp>

namespace grafo::detail {

GRAFO_INLINE std::string in_quotes(std::string_view text) {
    std::string result = "'";
    for (std::size_t zero = text.find('\0'); zero != text.npos; zero = text.find('\0')) {
        result += text.substr(0, zero);
        result += "\\0";  // it would end what a `what()` says
        text.remove_prefix(zero + 1);
    }
    result += text;
    result += '\'';
    return result;
}

GRAFO_INLINE std::string list_params(const NodeCore& node) {
    const NodeType& type = node.type();
    if (type.param_count == 0) return "it has none";
    std::string names = type.param_count == 1 ? "its only one is " : "it has ";
    for (std::uint32_t i = 0; i < type.param_count; ++i) {
        if (i > 0) names += ", ";
        names += in_quotes(type.params[i].name);
    }
    return names;
}

GRAFO_INLINE std::uint32_t need_param(const NodeCore& node, std::string_view name) {
    const std::uint32_t param = node.find_param(name);
    if (param == NodeCore::no_param) {
        throw ForwardingParameterError("node " + in_quotes(node.id) + " has no parameter " +
                                       in_quotes(name) + "; " + list_params(node));
    }
    return param;
}

GRAFO_INLINE void require_idle(const NodeCore& node, const char* what) {
    if constexpr (checks_misuse) {
        if (const RunHooks* run = run_of(node); run != nullptr) run->expect_own_thread();
    }
    if (node.phase != Phase::idle) {
        throw SafeExecutionError("node " + in_quotes(node.id) + " is running: " + what +
                                 " it has to wait until it has ended");
    }
}

GRAFO_INLINE bool replaces(const NodeCore& parent, const NodeCore& child,
                           const InEdge* edge) noexcept {
    const RunHooks* run = run_of(parent);
    return run != nullptr && run->replaces(parent, child, edge);
}

GRAFO_INLINE void check_fillable(const NodeCore& parent, const NodeCore& child,
                                 std::uint32_t param) {
    const ParamInfo& info = child.type().params[param];
    if (info.list) return;
    const InEdge* edge = child.find_edge(param);
    if (edge == nullptr && !child.is_bound(param)) return;
    if (replaces(parent, child, edge)) return;
    const std::string what =
        "parameter " + in_quotes(info.name) + " of node " + in_quotes(child.id) + " is already ";
    throw ForwardingOverrideError(
        what +
        (edge != nullptr ? "forwarded into by node " + in_quotes(edge->parent->id) : "bound"));
}

GRAFO_INLINE void check_takeable(const NodeCore& parent, const NodeCore& child) {
    const bool again = replaces(parent, child, nullptr);
    for (const OutEdge& out : parent.out) {
        if (again && &out.child() == &child) continue;
        for (const InEdge& in : out.child().in) {
            if (in.parent != &parent || in.forward == nullptr || !in.forward->takes()) continue;
            throw ForwardingOverrideError(
                "the output of node " + in_quotes(parent.id) +
                " is move-only and already moved to " + "node " + in_quotes(out.child().id) +
                ": node " + in_quotes(child.id) +
                " could take it as a const reference, or a transform could make a value of it");
        }
    }
}

GRAFO_INLINE void let_go_of(Forward* forward, RunHooks* run) noexcept {
    if (forward == nullptr) return;
    if (run != nullptr && forward->pipe() != nullptr) forward->pipe()->leave();
    if (!forward->owned() || forward->saved) return;
    if (run != nullptr) {
        run->keep_gone(*forward);
    } else {
        delete forward;
    }
}

GRAFO_INLINE void erase_out_edge(NodeCore& parent, std::uint32_t position, RunHooks* run) noexcept {
    const OutEdge edge = parent.out[position];
    const bool untold = parent.extras != nullptr &&
                        Connecting::cut(parent.extras->connecting, edge.child(), edge.forward());
    if (run != nullptr && !untold) run->edge_removed(parent, edge.child(), position);
    parent.out.erase(position);
}

// Looks through the shorter list.
GRAFO_INLINE std::uint32_t edges_between(const NodeCore& parent, const NodeCore& child) noexcept {
    std::uint32_t edges = 0;
    if (parent.out.size() < child.in.size()) {
        for (const OutEdge& edge : parent.out) edges += &edge.child() == &child ? 1 : 0;
    } else {
        for (const InEdge& edge : child.in) edges += edge.parent == &parent ? 1 : 0;
    }
    return edges;
}

GRAFO_INLINE void erase_edges(NodeCore& parent, NodeCore& child, RunHooks* run) noexcept {
    if (edges_between(parent, child) == 1) {
        std::uint32_t position = 0;
        while (child.in[position].parent != &parent) ++position;
        return erase_edge(parent, child, position, run);
    }
    for (std::uint32_t i = parent.out.size(); i-- > 0;) {
        if (&parent.out[i].child() != &child) continue;
        erase_out_edge(parent, i, run);
    }
    Forward* gone = nullptr;
    for (std::uint32_t i = child.in.size(); i-- > 0;) {
        if (child.in[i].parent != &parent) continue;
        Forward* const forward = child.in[i].forward;
        child.in.erase(i);
        if (forward != nullptr && forward->owned()) {
            forward->next_gone = std::exchange(gone, forward);
        }
    }
    while (gone != nullptr) {  // after all are erased, for it may connect the two anew
        Forward* const forward = std::exchange(gone, gone->next_gone);
        let_go_of(forward, run);
    }
}

GRAFO_INLINE void throw_late_pipe(const NodeCore& parent, const NodeCore& child) {
    throw SafeExecutionError(
        "node " + in_quotes(parent.id) +
        (state_of(parent) <= NodeState::running ? " has begun to yield" : " has ended") +
        " in the run that is on: a pipe to node " + in_quotes(child.id) +
        " has to be connected before that");
}

GRAFO_INLINE void check_pipe(const NodeCore& parent, const NodeCore& child) {
    if (run_of(parent) == nullptr) return;
    const bool between_attempts = parent.phase != Phase::idle && parent.called;
    if (state_of(parent) <= NodeState::ready && !between_attempts) return;
    throw_late_pipe(parent, child);
}

GRAFO_INLINE void require_one_run(const NodeCore& parent, const NodeCore& child) {
    const RunHooks* a = run_of(parent);
    const RunHooks* b = run_of(child);
    if (a == nullptr || b == nullptr || a == b) return;
    throw SafeExecutionError("nodes " + in_quotes(parent.id) + " and " + in_quotes(child.id) +
                             " are in two runs that have not ended: they cannot be connected yet");
}

GRAFO_INLINE RunHooks* run_that_restores(const NodeCore& node) noexcept {
    if (RunHooks* run = run_of(node); run != nullptr || !node.rewired) return run;
    for (RunHooks* run : node.graph->runs) {
        if (run->original_edges(node) != nullptr) return run;
    }
    return nullptr;
}

GRAFO_INLINE RunHooks* before_change(NodeCore& parent, NodeCore& child) {
    RunHooks* run = run_that_restores(parent);
    if (run == nullptr) run = run_that_restores(child);
    if (run != nullptr) {
        run->before_change(parent);
        run->before_change(child);
    } else {
        if (parent.graph != nullptr) parent.graph->planned_by = 0;
        if (child.graph != nullptr) child.graph->planned_by = 0;
    }
    return run;
}

GRAFO_INLINE void erase_edge(NodeCore& parent, NodeCore& child, std::uint32_t position,
                             RunHooks* run) noexcept {
    Forward* forward = child.in[position].forward;
    for (std::uint32_t i = 0; i < parent.out.size(); ++i) {
        if (parent.out[i] != OutEdge(child, seen_by_parent(forward))) {
            continue;
        }
        erase_out_edge(parent, i, run);
        break;
    }
    child.in.erase(position);
    let_go_of(forward, run);
}

GRAFO_INLINE void undo_connect(NodeCore& parent, NodeCore& child, Forward* forward) noexcept {
    const OutEdge edge(child, seen_by_parent(forward));
    for (std::uint32_t i = parent.out.size(); i-- > 0;) {
        if (parent.out[i] != edge) continue;
        parent.out.erase(i);
        break;
    }
    for (std::uint32_t i = child.in.size(); i-- > 0;) {
        if (child.in[i].parent != &parent || child.in[i].forward != forward) continue;
        child.in.erase(i);
        break;
    }
    if (forward != nullptr && forward->owned()) delete forward;
    edge_gone(parent, child);
}

template <class>
void connect_nodes(NodeCore& parent, NodeCore& child, ForwardOwner forward, std::uint32_t param) {
    require_idle(child, "to connect a parent to");
    const bool pipe = forward.get() != nullptr && forward.get()->pipe() != nullptr;
    if (forward.get() != nullptr) {
        if (param != NodeCore::no_param) check_fillable(parent, child, param);
        if (forward.get()->takes()) check_takeable(parent, child);
    }
    if (pipe) {
        check_pipe(parent, child);
        static_cast<void>(parent.need_stream());
    }
    require_one_run(parent, child);
    merge_graphs(parent, child);
    RunHooks* run = nullptr;
    try {
        run = before_change(parent, child);
        parent.out.reserve_one();
        child.in.reserve_one();
    } catch (...) {
        edge_gone(parent, child);  // before it was there
        throw;
    }
    Forward* given = forward.release();
    if (given != nullptr && given->owned()) given->child = &child;
    const OutEdge edge(child, seen_by_parent(given));
    parent.out.push_back(edge);
    if (edge.forward() != nullptr) parent.asks_edges = true;
    child.in.push_back(InEdge{&parent, given, param, 0});
    if (given != nullptr && given->owned()) child.owns_forwards = true;
    if (pipe) parent.feeds_pipes = true;
    if (parent.extras != nullptr && !parent.extras->on_connect.empty()) {
        Extras& extras = *parent.extras;
        const Connecting connecting(extras.connecting, child, edge.forward());
        try {
            for (std::size_t i = 0; i < extras.on_connect.size(); ++i) {
                static_cast<void>(extras.on_connect[i]->call(parent));
            }
        } catch (...) {
            if (connecting.is_there()) undo_connect(parent, child, given);
            throw;
        }
        if (!connecting.is_there()) return;
    }
    if (run == nullptr) return;
    const HeldRun held(run);
    try {
        run->edge_added(parent, edge);
    } catch (...) {
        undo_connect(parent, child, given);
        throw;
    }
}

template <class>
void disconnect_nodes(NodeCore& parent, NodeCore& child) {
    if (edges_between(parent, child) == 0) return;
    require_idle(child, "to disconnect a parent from");
    RunHooks* run = before_change(parent, child);
    {
        const HeldRun held(run);
        erase_edges(parent, child, run);
    }
    try {
        if (parent.extras != nullptr) {
            for (std::size_t i = 0; i < parent.extras->on_disconnect.size(); ++i) {
                static_cast<void>(parent.extras->on_disconnect[i]->call(parent));
            }
        }
    } catch (...) {
        edge_gone(parent, child);
        throw;
    }
    edge_gone(parent, child);
}

}  // namespace grafo::detail
