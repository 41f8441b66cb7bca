#pragma once
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>

namespace grafo::detail {

// The wiring done while a run is on lasts for that run: this keeps what was there before.
class Rewiring {
public:
    Rewiring() = default;
    Rewiring(const Rewiring&) = delete;
    Rewiring& operator=(const Rewiring&) = delete;

    [[nodiscard]] bool any() const noexcept { return !kept_.empty(); }

    // About to change the node's edges.
    void keep(NodeCore& node) {
        if (node.rewired) return;
        kept_.push_back(Kept{&node, node.out, node.in});
        for (const InEdge& edge : node.in) {
            if (edge.forward != nullptr && edge.forward->owned()) edge.forward->saved = true;
        }
        node.rewired = true;
    }
    // The nodes became part of the run while it was on.
    void join(const FlatList<NodeCore*>& nodes) { joined_.append(nodes); }

    [[nodiscard]] const SmallVector<InEdge>* original(const NodeCore& node) const noexcept {
        if (!node.rewired) return nullptr;
        for (const Kept& kept : kept_) {
            if (kept.node == &node) return &kept.in;
        }
        return nullptr;
    }
    [[nodiscard]] FlatList<NodeCore*> joined_or_rewired() const {
        FlatList<NodeCore*> nodes = joined_;
        for (const Kept& kept : kept_) nodes.push_back(kept.node);
        return nodes;
    }

    void keep_gone(Forward& forward) noexcept {
        Forward*& list = forward.pipe() != nullptr ? gone_pipes_ : gone_;
        forward.next_gone = std::exchange(list, &forward);
    }
    [[nodiscard]] bool any_gone() const noexcept { return gone_ != nullptr; }
    // Called while no edge is being evaluated, but by tasks.
    void free_gone() noexcept {
        Forward* list = std::exchange(gone_, nullptr);
        while (list != nullptr) {
            Forward* const forward = std::exchange(list, list->next_gone);
            if (forward->in_use) {
                forward->next_gone = std::exchange(gone_, forward);
            } else {
                delete forward;
            }
        }
    }

    // Without the user's code: destructors wait for let_go().
    void restore() noexcept {
        for (Kept& kept : kept_) {
            NodeCore& node = *kept.node;
            const std::uint32_t mark = Graph::next_mark();
            for (const InEdge& edge : kept.in) edge.parent->mark = mark;
            for (const InEdge& edge : node.in) {
                Forward* forward = edge.forward;
                if (forward != nullptr && forward->owned() && !forward->saved) keep_gone(*forward);
                if (edge.parent->mark != mark) edge_gone(*edge.parent, node);
            }
            node.in.swap(kept.in);
            node.out.swap(kept.out);
            if (node.extras != nullptr) Connecting::cut_all(node.extras->connecting);
            for (const InEdge& edge : node.in) {
                if (edge.forward != nullptr && edge.forward->owned()) edge.forward->saved = false;
            }
            node.rewired = false;
        }
        for (NodeCore* node : joined_) node->plan = 0;
        joined_.clear();
    }
    // Of what was restored, and of what came instead. The nodes must be there still.
    void let_go() noexcept {
        const FlatList<Kept> restored = std::move(kept_);
        for (const Kept& kept : restored) {
            const SmallVector<InEdge>& in = kept.node->in;
            for (std::uint32_t i = 0; i < in.size(); ++i) {  // destructors may change the edges
                Forward* const forward = in[i].forward;
                if (forward == nullptr || !forward->owned()) continue;
                // It may have been cut when it had something for the node.
                if (forward->pipe() == nullptr) forward->reset();
            }
        }
        for (Forward** list : {&gone_, &gone_pipes_}) {
            while (*list != nullptr) delete std::exchange(*list, (*list)->next_gone);
        }
    }

private:
    struct Kept {
        NodeCore* node;
        SmallVector<OutEdge, 2> out;
        SmallVector<InEdge> in;
    };
    FlatList<Kept> kept_;
    FlatList<NodeCore*> joined_;
    Forward* gone_ = nullptr;
    Forward* gone_pipes_ = nullptr;  // their producers may know them still
};

}  // namespace grafo::detail
