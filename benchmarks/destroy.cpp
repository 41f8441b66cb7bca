// The end of a chain that has run.
#include <optional>

#include "lifetime.hpp"
#include "workloads.hpp"

namespace bench {

namespace {

template <class Graph>
std::function<double()> destruction() {
    return [] {
        std::optional<Graph> graph;
        graph.emplace();
        graph->run();
        const Stopwatch watch;
        graph.reset();
        return watch.stop() * 1e9 / lifetime_nodes;
    };
}

}  // namespace

void destroy(Bench& bench) {
    Contest contest = bench.contest();
    contest.add("ours", destruction<GrafoChain>());
    contest.add("floor", destruction<FloorChain>());
#if defined(GRAFO_BENCHMARK_TBB)
    contest.add("oneTBB", destruction<TbbChain>());
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
    contest.add("Taskflow", destruction<TaskflowChain>());
#endif
    contest.run();
    bench.row("destroy", "ns/node", contest["ours"], contest["floor"],
              {{"oneTBB", contest["oneTBB"]}, {"Taskflow", contest["Taskflow"]}});
}

}  // namespace bench
