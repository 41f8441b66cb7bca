#pragma once
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "floor.hpp"
#include "grafo_side.hpp"
#include "harness.hpp"
#include "peers.hpp"
#include "shape.hpp"

// What the four shapes have in common.
namespace bench {

inline constexpr std::uint32_t graph_nodes = 100'000;

// The floor's side of a shape.
template <class S, bool Forwards>
class FloorSide {
public:
    explicit FloorSide(const Shape& shape) : graph_(shape) {}
    void run() {
        if constexpr (Forwards) {
            graph_.run([](std::span<const int> slots) { return S::body(slots); });
        } else {
            graph_.run([](std::span<const int>) { return by_hand::step(); });
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return graph_.size(); }
    [[nodiscard]] int output(std::size_t i) const noexcept { return graph_.output(i); }

private:
    by_hand::Graph<int, Forwards> graph_;
};

// Ours: nodes wired as the shape says.
template <class S, bool Forwards>
class OurSide : public GrafoSide {
public:
    explicit OurSide(const Shape& shape) : GrafoSide(shape, make(shape)) {}

private:
    static std::vector<grafo::AnyNode> make(const Shape& shape) {
        if constexpr (Forwards) {
            return S::forwarding(shape);
        } else {
            return order_only(shape);
        }
    }
};

// Every body ran once, and after those of its parents.
template <class Side>
void check_order(const Shape& shape, const Side& side) {
    require(side.size() == shape.nodes, "a side has another number of nodes");
    long long sum = 0;
    for (std::size_t i = 0; i < side.size(); ++i) sum += side.output(i);
    const long long n = shape.nodes;
    require(sum == n * (n + 1) / 2, "a node did not run, or ran twice");
    for (const Edge& edge : shape.edges) {
        require(side.output(edge.parent) < side.output(edge.child), "a node ran before its parent");
    }
}

template <class Side>
[[nodiscard]] long long sum_of_outputs(const Side& side) {
    long long sum = 0;
    for (std::size_t i = 0; i < side.size(); ++i) sum += side.output(i);
    return sum;
}

// Both give the same, with another value to start from each time.
template <class Floor>
void check_values(GrafoSide& ours, Floor& floor) {
    for (first_value = 1; first_value < 4; ++first_value) {
        first_value == 2 ? ours.stream() : ours.run();
        floor.run();
        require(sum_of_outputs(ours) == sum_of_outputs(floor), "the sums of outputs differ");
        for (std::size_t i = 0; i < ours.size(); ++i) {
            require(ours.output(i) == floor.output(i), "an output differs");
        }
    }
}

// With and without forwarding, run() and yielding(), timing on and off.
template <class S, bool Forwards>
void graph_rows(Bench& bench) {
    const Shape shape = S::shape(graph_nodes);
    OurSide<S, Forwards> ours(shape);
    FloorSide<S, Forwards> floor(shape);
    if constexpr (Forwards) {
        check_values(ours, floor);
    } else {
        steps = 0, ours.run();
        check_order(shape, ours);
        steps = 0, ours.stream();
        check_order(shape, ours);
        steps = 0, floor.run();
        check_order(shape, floor);
    }

    // Single runs in turn: each finds the caches as the others left them, as a graph in a program
    // does. Repeated at once, a graph of this size would be measured in the cache.
    Contest contest = bench.contest(3);
    const auto add = [&](const char* name, auto once) {
        contest.add(name, single(shape.nodes, once));
    };
    add("run", [&] { ours.timing(false), ours.run(); });
    add("floor", [&] { floor.run(); });
    add("stream", [&] { ours.timing(false), ours.stream(); });
    add("timed run", [&] { ours.timing(true), ours.run(); });
    add("timed stream", [&] { ours.timing(true), ours.stream(); });
#if defined(GRAFO_BENCHMARK_TBB)
    std::unique_ptr<TbbSide> tbb;
    if constexpr (!Forwards) {
        tbb = std::make_unique<TbbSide>(shape);
        steps = 0, tbb->run();
        check_order(shape, *tbb);
        add("oneTBB", [&] { tbb->run(); });
    }
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
    std::unique_ptr<TaskflowSide> taskflow;
    if constexpr (!Forwards) {
        taskflow = std::make_unique<TaskflowSide>(shape);
        steps = 0, taskflow->run();
        check_order(shape, *taskflow);
        add("Taskflow", [&] { taskflow->run(); });
    }
#endif
    contest.run();
    const std::string name = S::name + std::string(Forwards ? " forwarding" : "");
    bench.row(name, "ns/node", contest["run"], contest["floor"],
              {{"oneTBB", contest["oneTBB"]}, {"Taskflow", contest["Taskflow"]}});
    bench.added(name + ": yielding() adds", "ns/node", contest["stream"], contest["run"]);
    bench.added(name + ": timing adds", "ns/node", contest["timed run"], contest["run"]);
    bench.added(name + ": both add", "ns/node", contest["timed stream"], contest["run"]);
}

template <class S>
void graph_rows(Bench& bench) {
    graph_rows<S, false>(bench);
    graph_rows<S, true>(bench);
}

}  // namespace bench
