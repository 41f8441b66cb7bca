// Memory that a chain keeps, built and run once, and the handle to it.
#include <optional>

#include "lifetime.hpp"
#include "workloads.hpp"

namespace bench {

namespace {

template <class Graph>
Samples kept() {
    {
        Graph warm;  // pools of frames and of threads are the process's, not the graph's
        warm.run();
    }
    const CountAllocations counting;
    Graph graph;
    graph.run();
    return {static_cast<double>(counting.so_far().bytes) / lifetime_nodes};
}

}  // namespace

void memory(Bench& bench) {
    std::vector<Bench::Peer> peers;
#if defined(GRAFO_BENCHMARK_TBB)
    peers.push_back({"oneTBB", kept<TbbChain>()});
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
    peers.push_back({"Taskflow", kept<TaskflowChain>()});
#endif
    bench.row("memory", "bytes/node", kept<GrafoChain>(), kept<FloorChain>(), peers);
    bench.note(
        "memory is what operator new gave and did not get back, by malloc_usable_size and a word "
        "each");
}

}  // namespace bench
