#pragma once
#include <string_view>

// What is wanted of each row, in one place. Rows that are not named here are for information:
// nothing is set for pipes, large values and what building without ids costs.
namespace bench {

struct Share {
    std::string_view peer;  // empty: none
    double of = 0;          // at most so many times what the peer takes in the same run
};

struct Goal {
    std::string_view row;
    enum class Of { floor, amount } of;  // a multiple of the floor, or an amount of the row's unit
    double target;
    double must;    // 0: none but the peer's
    Share peer;     // a second must
    Share instead;  // where that peer is not there; measured once with both
};

inline constexpr Goal goals[] = {
    // one thread, no timing, plain edges
    {"chain", Goal::Of::floor, 1.5, 2.5, {"Taskflow", 1}, {"oneTBB", 0.55}},
    {"fan", Goal::Of::floor, 1.5, 2.5, {"Taskflow", 1}, {"oneTBB", 0.70}},
    {"wavefront", Goal::Of::floor, 1.5, 2.5, {"Taskflow", 1}, {"oneTBB", 0.39}},
    {"layered", Goal::Of::floor, 1.5, 2.5, {"Taskflow", 1}, {"oneTBB", 0.83}},
    // an int forwarded along each edge; the floor has typed slots
    {"chain forwarding", Goal::Of::floor, 2, 3, {}, {}},
    {"fan forwarding", Goal::Of::floor, 2, 3, {}, {}},
    {"wavefront forwarding", Goal::Of::floor, 2, 3, {}, {}},
    {"layered forwarding", Goal::Of::floor, 2, 3, {}, {}},
    // what the stream and the clock add to a node
    {"chain: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"fan: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"wavefront: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"layered: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"chain forwarding: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"fan forwarding: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"wavefront forwarding: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"layered forwarding: yielding() adds", Goal::Of::amount, 40, 60, {}, {}},
    {"chain: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"fan: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"wavefront: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"layered: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"chain forwarding: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"fan forwarding: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"wavefront forwarding: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    {"layered forwarding: timing adds", Goal::Of::amount, 30, 30, {}, {}},
    // coroutines; half of libcoro is 0.4 of Asio, measured once side by side
    {"task call", Goal::Of::floor, 1.2, 1.5, {}, {}},
    {"generator", Goal::Of::floor, 1.5, 0, {"Asio", 0.5}, {}},
    {"chunks", Goal::Of::amount, 25, 40, {}, {}},
    {"chunks and a result", Goal::Of::amount, 25, 40, {}, {}},
    {"timers", Goal::Of::floor, 1.3, 0, {"libcoro", 0.5}, {"Asio", 0.4}},
    // a chain's whole life
    {"build + connect", Goal::Of::floor, 2.5, 0, {"Taskflow", 0.5}, {"oneTBB", 0.345}},
    {"memory", Goal::Of::amount, 160, 240, {}, {}},
    {"destroy", Goal::Of::amount, 20, 40, {}, {}},
    // allocations a node in a second run; a run as a whole may allocate
    {"allocations, chain", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, fan", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, wavefront", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, layered", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, chain forwarding", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, fan forwarding", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, wavefront forwarding", Goal::Of::amount, 0.001, 0.001, {}, {}},
    {"allocations, layered forwarding", Goal::Of::amount, 0.001, 0.001, {}, {}},
};

}  // namespace bench
