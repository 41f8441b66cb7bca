#pragma once
#include <cstddef>
#include <cstdint>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>

namespace grafo::detail {

// What a run has once it is over: the number of no plan.
constexpr std::uint32_t no_plan = 0xffffffff;

// Which nodes a run has. Made once, and kept while the wiring stays as it is.
struct Plan {
    std::uint32_t id = 0;  // neither 0 nor no_plan once it is made
    std::size_t node_count = 0;
    FlatList<NodeCore*> starts;  // those without parents, in connection order
    FlatList<Graph*> graphs;
    bool open = false;  // some edge leads to a node that is not among them
};

}  // namespace grafo::detail
