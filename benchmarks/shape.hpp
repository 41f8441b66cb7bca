#pragma once
#include <cstdint>
#include <vector>

namespace bench {

// A graph as all sides build it. `slot` is which argument of the child an edge fills.
struct Edge {
    std::uint32_t parent;
    std::uint32_t child;
    std::uint32_t slot;
};

struct Shape {
    std::uint32_t nodes = 0;
    std::vector<Edge> edges;           // in the order they are connected
    std::vector<std::uint32_t> slots;  // how many arguments each node has; edges may fill fewer
};

// How many bodies have run: what an order-only body gives, so that its output says when it ran.
inline int steps = 0;

// Values are kept this short, since path counts do not fit an int.
inline constexpr int value_mask = 0xffff;

// What the nodes without parents forward; another in each checked run, so that a value of an
// earlier run is not taken for one of this run.
inline int first_value = 1;

}  // namespace bench
