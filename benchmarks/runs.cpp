// The first run of a graph, which looks at all of it, and the second, which must not; and what a
// second run allocates.
#include <memory>
#include <string>

#include "allocations.hpp"
#include "chain.hpp"
#include "fan.hpp"
#include "graphs.hpp"
#include "layered.hpp"
#include "wavefront.hpp"
#include "workloads.hpp"

namespace bench {

namespace {

// Both runs of a new graph in one round of a contest.
template <class Side>
class TwoRuns {
public:
    explicit TwoRuns(const Shape& shape) : shape_(shape) {}
    double first() {
        Side side(shape_);
        const double once = run(side);
        seconds_.push_back(run(side));
        return once;
    }
    // Without that of the round that does not count.
    [[nodiscard]] Samples second() const { return {seconds_.begin() + 1, seconds_.end()}; }

private:
    double run(Side& side) const {
        const Stopwatch watch;
        side.run();
        return watch.stop() * 1e9 / shape_.nodes;
    }
    const Shape& shape_;
    Samples seconds_;
};

template <class S, bool Forwards>
class Untimed : public OurSide<S, Forwards> {
public:
    explicit Untimed(const Shape& shape) : OurSide<S, Forwards>(shape) { this->timing(false); }
};

template <class S, bool Forwards>
void first_and_second(Bench& bench) {
    const Shape shape = S::shape(graph_nodes);
    TwoRuns<Untimed<S, Forwards>> ours(shape);
    TwoRuns<FloorSide<S, Forwards>> floor(shape);
    Contest contest = bench.contest();
    contest.add("ours", [&] { return ours.first(); });
    contest.add("floor", [&] { return floor.first(); });
    contest.run();
    const std::string name = S::name + std::string(Forwards ? " forwarding" : "");
    bench.row(name + ": first run", "ns/node", contest["ours"], contest["floor"]);
    bench.row(name + ": second run", "ns/node", ours.second(), floor.second());
}

template <class S, bool Forwards>
void second_allocations(Bench& bench) {
    const Shape shape = S::shape(graph_nodes);
    OurSide<S, Forwards> side(shape);
    side.run();
    const CountAllocations counting;
    side.run();
    const double count = static_cast<double>(counting.so_far().count) / shape.nodes;
    const std::string name = S::name + std::string(Forwards ? " forwarding" : "");
    bench.row("allocations, " + name, "a node", {count});
}

template <class S>
void rows(Bench& bench) {
    first_and_second<S, false>(bench);
    first_and_second<S, true>(bench);
    second_allocations<S, false>(bench);
    second_allocations<S, true>(bench);
}

}  // namespace

void runs(Bench& bench) {
    rows<Chain>(bench);
    rows<Fan>(bench);
    rows<Wavefront>(bench);
    rows<Layered>(bench);
}

}  // namespace bench
