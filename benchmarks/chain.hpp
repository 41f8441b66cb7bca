#pragma once
#include <cstddef>
#include <cstdint>
#include <grafo/grafo.hpp>
#include <span>
#include <vector>

#include "floor.hpp"
#include "shape.hpp"
#include "sources.hpp"

namespace bench {

// node -> node -> node …
struct Chain {
    static constexpr const char* name = "chain";

    static Shape shape(std::uint32_t nodes) {
        Shape made{nodes, {}, std::vector<std::uint32_t>(nodes, 1)};
        made.slots[0] = 0;
        for (std::uint32_t i = 1; i < nodes; ++i) made.edges.push_back(Edge{i - 1, i, 0});
        return made;
    }

    static grafo::Task<int> pass(int x) { co_return (x + 1) & value_mask; }
    static std::vector<grafo::AnyNode> forwarding(const Shape& shape) {
        using namespace grafo::literals;
        std::vector<grafo::AnyNode> nodes;
        grafo::Node from{"n", first};
        grafo::Node to{"n", pass, "x"_a};
        from.connect(to, "x"_a);
        nodes.assign({from, to});
        while (nodes.size() < shape.nodes) {
            grafo::Node next{"n", pass, "x"_a};
            to.connect(next, "x"_a);
            nodes.push_back(next);
            to = next;
        }
        return nodes;
    }

    static by_hand::Body<int> pass_by_hand(int x) { co_return (x + 1) & value_mask; }
    static by_hand::Body<int> body(std::span<const int> slots) {
        return slots.empty() ? by_hand::first() : pass_by_hand(slots[0]);
    }
};

}  // namespace bench
