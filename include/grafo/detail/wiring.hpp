#pragma once
#include <string>
#include <utility>

#include <grafo/detail/extras.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/when_used.hpp>
#include <grafo/errors.hpp>

// Edges between nodes, whatever their types; the typed side is in node.hpp.
namespace grafo::detail {

[[nodiscard]] std::string in_quotes(std::string_view text);

[[nodiscard]] std::string list_params(const NodeCore& node);

[[nodiscard]] std::uint32_t need_param(const NodeCore& node, std::string_view name);

void require_idle(const NodeCore& node, const char* what);

// A forward, deleted if it has state of its own and no edge took it over.
class ForwardOwner {
public:
    explicit ForwardOwner(Forward* forward) noexcept : forward_(forward) {}
    ForwardOwner(ForwardOwner&& other) noexcept : forward_(other.release()) {}
    ForwardOwner& operator=(ForwardOwner&&) = delete;
    ~ForwardOwner() {
        if (forward_ != nullptr && forward_->owned()) delete forward_;
    }
    [[nodiscard]] Forward* get() const noexcept { return forward_; }
    Forward* release() noexcept { return std::exchange(forward_, nullptr); }

private:
    Forward* forward_;
};

// May the parent's new edge replace this one, or a bound argument (null), of a child in a loop?
[[nodiscard]] bool replaces(const NodeCore& parent, const NodeCore& child,
                            const InEdge* edge) noexcept;

void check_fillable(const NodeCore& parent, const NodeCore& child, std::uint32_t param);

// A move-only output can be moved out once. A child that runs again replaces its own edge.
void check_takeable(const NodeCore& parent, const NodeCore& child);

// Once its edge is gone: the destructors of unread chunks, and of the callable, are the user's
// code.
void let_go_of(Forward* forward, RunHooks* run) noexcept;

// The run is told, unless it has not heard of the edge yet.
void erase_out_edge(NodeCore& parent, std::uint32_t position, RunHooks* run) noexcept;

void erase_edges(NodeCore& parent, NodeCore& child, RunHooks* run) noexcept;

// Chunks that have gone by cannot be read.
[[noreturn]] void throw_late_pipe(const NodeCore& parent, const NodeCore& child);

void check_pipe(const NodeCore& parent, const NodeCore& child);

void require_one_run(const NodeCore& parent, const NodeCore& child);

// The run that puts the node's edges back at its end: it is part of that, or that has changed them.
[[nodiscard]] RunHooks* run_that_restores(const NodeCore& node) noexcept;
RunHooks* before_change(NodeCore& parent, NodeCore& child);

// While a run is told of a change: conditions, transforms and destructors may let go of it.
class HeldRun {
public:
    explicit HeldRun(RunHooks* run) noexcept : run_(run) {
        if (run_ != nullptr) run_->hold();
    }
    HeldRun(const HeldRun&) = delete;
    HeldRun& operator=(const HeldRun&) = delete;
    ~HeldRun() {
        if (run_ != nullptr) run_->unhold();
    }

private:
    RunHooks* run_;
};

// What the parent's side of an edge knows of its forward.
[[nodiscard]] inline Forward* seen_by_parent(Forward* forward) noexcept {
    return forward != nullptr && (forward->evaluated() || forward->pipe() != nullptr) ? forward
                                                                                      : nullptr;
}

// Removes one edge, the child's in-edge at `position`.
void erase_edge(NodeCore& parent, NodeCore& child, std::uint32_t position, RunHooks* run) noexcept;

// Takes back the last edge that connect_nodes made between the two.
void undo_connect(NodeCore& parent, NodeCore& child, Forward* forward) noexcept;

// One more edge. Either happens whole or not at all; takes over the forward.
template <class = WhenUsed>
void connect_nodes(NodeCore& parent, NodeCore& child, ForwardOwner forward, std::uint32_t param);

template <class = WhenUsed>
void disconnect_nodes(NodeCore& parent, NodeCore& child);

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/wiring.hpp>
#endif
