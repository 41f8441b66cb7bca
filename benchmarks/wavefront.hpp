#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <grafo/grafo.hpp>
#include <span>
#include <vector>

#include "floor.hpp"
#include "shape.hpp"

namespace bench {

// A square in which each node waits for those above and to its left.
struct Wavefront {
    static constexpr const char* name = "wavefront";

    static Shape shape(std::uint32_t nodes) {
        const auto side = static_cast<std::uint32_t>(std::lround(std::sqrt(nodes)));
        Shape made{side * side, {}, std::vector<std::uint32_t>(side * side, 2)};
        for (std::uint32_t i = 0; i < side * side; ++i) {
            if (i % side + 1 < side) made.edges.push_back(Edge{i, i + 1, 1});
            if (i / side + 1 < side) made.edges.push_back(Edge{i, i + side, 0});
        }
        return made;
    }

    static grafo::Task<int> add(int up, int left) {
        co_return (up + left + first_value) & value_mask;
    }
    static std::vector<grafo::AnyNode> forwarding(const Shape& shape) {
        using namespace grafo::literals;
        using Square = decltype(grafo::Node{"n", add, "up"_a, "left"_a});
        const auto side = static_cast<std::uint32_t>(std::lround(std::sqrt(shape.nodes)));
        std::vector<Square> nodes;
        for (std::uint32_t i = 0; i < shape.nodes; ++i) {
            nodes.push_back(grafo::Node{"n", add, "up"_a, "left"_a});
            if (i < side) nodes.back().bind("up"_a = 0);
            if (i % side == 0) nodes.back().bind("left"_a = 0);
        }
        for (const Edge& edge : shape.edges) {
            if (edge.slot == 0) {
                nodes[edge.parent].connect(nodes[edge.child], "up"_a);
            } else {
                nodes[edge.parent].connect(nodes[edge.child], "left"_a);
            }
        }
        return {nodes.begin(), nodes.end()};
    }

    static by_hand::Body<int> add_by_hand(int up, int left) {
        co_return (up + left + first_value) & value_mask;
    }
    static by_hand::Body<int> body(std::span<const int> slots) {
        return add_by_hand(slots[0], slots[1]);
    }
};

}  // namespace bench
