#pragma once
#include <cstddef>
#include <cstdint>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>

namespace grafo::detail {

// Which nodes a run has. Made once, and kept while the wiring stays as it is.
struct Plan {
    std::uint32_t id = 0;
    std::size_t node_count = 0;
    FlatList<NodeCore*> starts;  // those without parents, in connection order
    FlatList<Graph*> graphs;
    bool open = false;  // some edge leads to a node that is not among them
};

}  // namespace grafo::detail
