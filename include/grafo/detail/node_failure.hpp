#pragma once
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/node.hpp>

// The errors that speak of a node.
namespace grafo::detail {

[[nodiscard]] inline const char* text_or_none(const char* text) noexcept {
    return text != nullptr ? text : "an exception without a text";
}

// What an exception says, whatever it is.
[[nodiscard]] inline std::string exception_text(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& exception) {
        return text_or_none(exception.what());
    } catch (const Cancelled&) {
        return "cancelled";
    } catch (const char* text) {  // a thrown nullptr is one, too
        return text_or_none(text);
    } catch (const std::string& text) {
        return text;
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

// From a root down to the node, along those parents that settled last.
[[nodiscard]] inline Shared<NodePath> path_to(NodeCore& node) {
    FlatList<NodeCore*> nodes;
    const std::uint32_t mark = Graph::next_mark();
    for (NodeCore* at = &node; at->mark != mark;) {
        at->mark = mark;  // edges made in a run may form a cycle
        nodes.push_back(at);
        if (at->in.empty()) break;
        NodeCore* last = at->in[0].parent;
        for (const InEdge& edge : at->in) {
            if (edge.parent->stamp == at->stamp && edge.parent->state >= NodeState::completed &&
                (last->stamp != at->stamp || edge.parent->pending > last->pending)) {
                last = edge.parent;
            }
        }
        at = last;
    }
    Shared<NodePath> path(new NodePath(nodes.size()));
    for (std::size_t i = 0; i < nodes.size(); ++i) path->ids[nodes.size() - 1 - i] = nodes[i]->id;
    return path;
}

[[nodiscard]] inline std::string path_text(const std::vector<std::string>& path) {
    std::string text;
    constexpr std::size_t most = 8;
    for (std::size_t i = 0; i < path.size(); ++i) {
        if (path.size() > most && i == most / 2) {
            text += " -> … (" + std::to_string(path.size() - most) + " more)";
            i = path.size() - most / 2;
        }
        if (i > 0) text += " -> ";
        text += path[i];
    }
    return text;
}

[[nodiscard]] inline NodeError make_node_error(NodeCore& node) {
    const Shared<const FailureData> failure(
        new NodeFailure(AnyNode(node), node, path_to(node), node.attempts()));
    const std::string name = "node " + in_quotes(node.id);
    std::string cause = exception_text(node.error());
    if (cause.starts_with(name + " ")) cause.replace(0, name.size(), "it");
    std::string what = name + " failed: " + cause;
    const std::vector<std::string>& path = failure->path->ids;
    if (path.size() > 1) what += " (path: " + path_text(path) + ")";
    try {
        std::rethrow_exception(node.error());
    } catch (...) {
        return NodeError(what, failure);  // nests what is being handled
    }
}

// What a node keeps of what it threw: a NodeError without the handle that would keep the graph
// alive that keeps the error.
[[nodiscard]] inline std::exception_ptr without_handle(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const NodeError& node_error) {
        const AnyNode node = node_error.node();
        if (!node) return error;
        const Shared<const FailureData> failure(new NodeFailure(
            AnyNode(), *node.core(), ErrorAccess::failure(node_error).path, node_error.attempts()));
        try {
            if (node_error.cause() != nullptr) std::rethrow_exception(node_error.cause());
        } catch (...) {
            return std::make_exception_ptr(NodeError(node_error.what(), failure));
        }
    } catch (...) {
    }
    return error;
}

template <class>
void throw_output_unavailable(NodeCore& node, TypeId wanted) {
    const NodeState state = state_of(node);
    if (state == NodeState::failed && node.error() != nullptr) throw make_node_error(node);
    std::string what = "node " + in_quotes(node.id) + " has no output: ";
    if (state != NodeState::completed) {
        what += "it is ";
        what += state_name(state);
        if (state == NodeState::skipped && node.extras != nullptr &&
            !node.extras->skip_reason.empty()) {
            what += " (" + node.extras->skip_reason + ")";
        }
    } else if (node.type().output != wanted) {
        what += "it gives " + type_name(node.type().output) + ", not " + type_name(wanted);
    } else if (node.output_moved) {
        what += "it was moved to ";
        std::string takers;
        for (const OutEdge& out : node.out) {
            for (const InEdge& in : out.child().in) {
                if (in.parent == &node && in.forward != nullptr && in.forward->takes()) {
                    takers = "node " + in_quotes(out.child().id);
                }
            }
        }
        what += takers.empty() ? std::string("a node of the last run") : takers;
    } else {
        what += "its chunks were not collected (collect(false))";
    }
    throw OutputUnavailableError(what);
}

}  // namespace grafo::detail
