// One side of one shape and a number of runs, nothing else: what valgrind counts.
#include <stdexcept>
#include <string>

#include "chain.hpp"
#include "fan.hpp"
#include "graphs.hpp"
#include "layered.hpp"
#include "wavefront.hpp"
#include "workloads.hpp"

namespace bench {

namespace {

constexpr std::uint32_t probe_nodes = 2'000;

template <class Side>
void run(Side& side, int runs) {
    for (int i = 0; i < runs; ++i) side.run();
}

template <class S, bool Forwards>
void probe_side(std::string_view side, bool yielding, int runs) {
    const Shape shape = S::shape(probe_nodes);
    std::printf("%u\n", shape.nodes);
    if (side == "ours") {
        OurSide<S, Forwards> ours(shape);
        ours.timing(false);
        if (!yielding) return run(ours, runs);
        for (int i = 0; i < runs; ++i) ours.stream();
    } else if (side == "floor") {
        FloorSide<S, Forwards> floor(shape);
        run(floor, runs);
#if defined(GRAFO_BENCHMARK_TBB)
    } else if (side == "oneTBB" && !Forwards) {
        TbbSide tbb(shape);
        run(tbb, runs);
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
    } else if (side == "Taskflow" && !Forwards) {
        TaskflowSide taskflow(shape);
        run(taskflow, runs);
#endif
    } else {
        throw std::runtime_error("there is no side " + std::string(side));
    }
}

template <class S>
bool probe_shape(std::string_view shape, std::string_view way, std::string_view side, int runs) {
    if (shape != S::name) return false;
    if (way == "forwarding") {
        probe_side<S, true>(side, false, runs);
    } else {
        probe_side<S, false>(side, way == "yielding", runs);
    }
    return true;
}

}  // namespace

void probe(std::string_view shape, std::string_view way, std::string_view side, int runs) {
    const bool found = probe_shape<Chain>(shape, way, side, runs) ||
                       probe_shape<Fan>(shape, way, side, runs) ||
                       probe_shape<Wavefront>(shape, way, side, runs) ||
                       probe_shape<Layered>(shape, way, side, runs);
    require(found, "there is no shape of that name");
}

}  // namespace bench
