#pragma once
#include <cstdint>
#include <grafo/grafo.hpp>
#include <optional>
#include <utility>

#include "allocations.hpp"
#include "chain.hpp"
#include "floor.hpp"
#include "peers.hpp"
#include "sources.hpp"

// A chain as its user would build it, and nothing beside it: for what a graph costs to build, to
// keep and to destroy. All sides are kept alive by as little as they allow.
namespace bench {

inline constexpr std::uint32_t lifetime_nodes = 100'000;

struct GrafoChain {
    GrafoChain() : first(make()) {}
    static grafo::Node<int> make() {
        grafo::Node first{"n", step};
        auto last = first;
        for (std::uint32_t i = 1; i < lifetime_nodes; ++i) {
            grafo::Node next{"n", step};
            last.connect(next);
            last = next;
        }
        return first;
    }
    void run() {
        if (!executor) executor.emplace(first), executor->timing(false);
        grafo::run(executor->run());
    }
    grafo::Node<int> first;
    std::optional<grafo::TreeExecutor> executor;
};

// The same, with the ids that the library gives.
struct GrafoChainWithoutIds {
    GrafoChainWithoutIds() : first(make()) {}
    static grafo::Node<int> make() {
        grafo::Node first{step};
        auto last = first;
        for (std::uint32_t i = 1; i < lifetime_nodes; ++i) {
            grafo::Node next{step};
            last.connect(next);
            last = next;
        }
        return first;
    }
    grafo::Node<int> first;
};

struct FloorChain {
    FloorChain() {
        graph.add_node();
        for (std::uint32_t i = 1; i < lifetime_nodes; ++i) {
            graph.add_node();
            graph.add_edge(i - 1, i);
        }
        graph.seal();
    }
    void run() {
        graph.run([](std::span<const int>) { return by_hand::step(); });
    }
    by_hand::Graph<int, false> graph;
};

// The peers' outputs are a plain array, as their users write it; the nodes are theirs.
#if defined(GRAFO_BENCHMARK_TBB)
class TbbChain {
    using Message = tbb::flow::continue_msg;
    using Node = tbb::flow::continue_node<Message>;

public:
    TbbChain() : outputs_(lifetime_nodes) {
        for (int& output : outputs_) {
            nodes_.emplace_back(graph_, [&output](const Message& message) {
                output = ++steps;
                return message;
            });
            if (nodes_.size() > 1) tbb::flow::make_edge(*(nodes_.end() - 2), nodes_.back());
        }
    }
    void run() {
        nodes_.front().try_put(Message());
        graph_.wait_for_all();
    }

private:
    tbb::global_control one_{tbb::global_control::max_allowed_parallelism, 1};
    tbb::flow::graph graph_;
    std::vector<int> outputs_;
    std::deque<Node> nodes_;
};
#endif

#if defined(GRAFO_BENCHMARK_TASKFLOW)
class TaskflowChain {
public:
    TaskflowChain() : outputs_(lifetime_nodes) {
        tf::Task last;
        for (int& output : outputs_) {
            tf::Task next = flow_.emplace([&output] { output = ++steps; });
            if (!last.empty()) last.precede(next);
            last = next;
        }
    }
    void run() { one_worker().run(flow_).wait(); }

private:
    tf::Taskflow flow_;
    std::vector<int> outputs_;
};
#endif

}  // namespace bench
