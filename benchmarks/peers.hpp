#pragma once
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "shape.hpp"

// The same order-only graphs in other libraries, on one thread. GRAFO_BENCHMARK_TBB is set by
// CMake; Taskflow is no Debian package: it is compared where its headers are found.

#if defined(GRAFO_BENCHMARK_TBB)
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#endif

#if __has_include(<taskflow/taskflow.hpp>)
#include <taskflow/taskflow.hpp>
#define GRAFO_BENCHMARK_TASKFLOW 1
#endif

namespace bench {

#if defined(GRAFO_BENCHMARK_TBB)
inline constexpr bool has_tbb = true;

class TbbSide {
    using Message = tbb::flow::continue_msg;
    using Node = tbb::flow::continue_node<Message>;

public:
    explicit TbbSide(const Shape& shape) : outputs_(shape.nodes) {
        arena_.execute([&] {
            graph_ = std::make_unique<tbb::flow::graph>();
            for (int& output : outputs_) {
                nodes_.emplace_back(*graph_, [&output](const Message& message) {
                    output = ++steps;
                    return message;
                });
            }
            std::vector<bool> has_parent(shape.nodes);
            for (const Edge& edge : shape.edges) {
                tbb::flow::make_edge(nodes_[edge.parent], nodes_[edge.child]);
                has_parent[edge.child] = true;
            }
            for (std::size_t i = 0; i < nodes_.size(); ++i) {
                if (!has_parent[i]) starts_.push_back(&nodes_[i]);
            }
        });
    }
    void run() {
        arena_.execute([&] {
            for (Node* start : starts_) start->try_put(Message());
            graph_->wait_for_all();
        });
    }
    [[nodiscard]] std::size_t size() const noexcept { return outputs_.size(); }
    [[nodiscard]] int output(std::size_t i) const noexcept { return outputs_[i]; }

private:
    tbb::global_control one_{tbb::global_control::max_allowed_parallelism, 1};
    tbb::task_arena arena_{1};
    std::unique_ptr<tbb::flow::graph> graph_;
    std::vector<int> outputs_;
    std::deque<Node> nodes_;
    std::vector<Node*> starts_;
};
#else
inline constexpr bool has_tbb = false;
#endif

#if defined(GRAFO_BENCHMARK_TASKFLOW)
inline constexpr bool has_taskflow = true;

inline tf::Executor& one_worker() {
    static tf::Executor executor(1);
    return executor;
}

class TaskflowSide {
public:
    explicit TaskflowSide(const Shape& shape) : outputs_(shape.nodes) {
        std::vector<tf::Task> tasks;
        tasks.reserve(shape.nodes);
        for (int& output : outputs_) {
            tasks.push_back(flow_.emplace([&output] { output = ++steps; }));
        }
        for (const Edge& edge : shape.edges) tasks[edge.parent].precede(tasks[edge.child]);
    }
    void run() { one_worker().run(flow_).wait(); }
    [[nodiscard]] std::size_t size() const noexcept { return outputs_.size(); }
    [[nodiscard]] int output(std::size_t i) const noexcept { return outputs_[i]; }

private:
    tf::Taskflow flow_;
    std::vector<int> outputs_;
};
#else
inline constexpr bool has_taskflow = false;
#endif

}  // namespace bench
