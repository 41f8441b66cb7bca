// Building and connecting a chain in memory that the process has not touched.
#include <optional>

#include "lifetime.hpp"
#include "workloads.hpp"

namespace bench {

namespace {

template <class Graph>
std::function<double()> cold_build() {
    return [] {
        forget_memory();
        std::optional<Graph> graph;
        const Stopwatch watch;
        graph.emplace();
        return watch.stop() * 1e9 / lifetime_nodes;
    };
}

}  // namespace

void build(Bench& bench) {
    Contest contest = bench.contest();
    contest.add("ours", cold_build<GrafoChain>());
    contest.add("floor", cold_build<FloorChain>());
    contest.add("without ids", cold_build<GrafoChainWithoutIds>());
#if defined(GRAFO_BENCHMARK_TBB)
    contest.add("oneTBB", cold_build<TbbChain>());
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
    contest.add("Taskflow", cold_build<TaskflowChain>());
#endif
    contest.run();
    bench.row("build + connect", "ns/node", contest["ours"], contest["floor"],
              {{"oneTBB", contest["oneTBB"]}, {"Taskflow", contest["Taskflow"]}});
    bench.row("build + connect, ids left out", "ns/node", contest["without ids"], contest["floor"]);
}

}  // namespace bench
