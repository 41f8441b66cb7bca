#pragma once
#include <cstddef>
#include <grafo/grafo.hpp>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "shape.hpp"
#include "sources.hpp"

namespace bench {

// The same graph with plain edges between equal nodes.
inline std::vector<grafo::AnyNode> order_only(const Shape& shape) {
    using Step = decltype(grafo::Node{"n", step});
    std::vector<Step> nodes;
    nodes.reserve(shape.nodes);
    for (std::uint32_t i = 0; i < shape.nodes; ++i) nodes.push_back(grafo::Node{"n", step});
    for (const Edge& edge : shape.edges) nodes[edge.parent].connect(nodes[edge.child]);
    return {nodes.begin(), nodes.end()};
}

// Ours: a graph with its executor and its loop.
class GrafoSide {
public:
    GrafoSide(const Shape& shape, std::vector<grafo::AnyNode> nodes)
        : nodes_(std::move(nodes)), executor_(starts(shape, nodes_)) {}

    void timing(bool on) { executor_.timing(on); }
    void run() { loop_.run(executor_.run()); }
    void stream() {
        if (loop_.run(count(executor_.yielding())) != nodes_.size()) {
            throw std::runtime_error("the stream did not tell of each node");
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    [[nodiscard]] int output(std::size_t i) const { return nodes_[i].output<int>(); }

private:
    static std::vector<grafo::AnyNode> starts(const Shape& shape,
                                              const std::vector<grafo::AnyNode>& nodes) {
        std::vector<bool> has_parent(shape.nodes);
        for (const Edge& edge : shape.edges) has_parent[edge.child] = true;
        std::vector<grafo::AnyNode> made;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            if (!has_parent[i]) made.push_back(nodes[i]);
        }
        return made;
    }
    static grafo::Task<std::size_t> count(grafo::AsyncGenerator<grafo::Event> events) {
        std::size_t completed = 0;
        while (const grafo::Event* event = co_await events.next()) {
            completed += event->kind() == grafo::EventKind::completed;
        }
        co_return completed;
    }

    std::vector<grafo::AnyNode> nodes_;
    grafo::TreeExecutor executor_;
    grafo::EventLoop loop_;
};

}  // namespace bench
