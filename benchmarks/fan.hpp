#pragma once
#include <cstddef>
#include <cstdint>
#include <grafo/grafo.hpp>
#include <span>
#include <vector>

#include "chain.hpp"
#include "floor.hpp"
#include "shape.hpp"
#include "sources.hpp"

namespace bench {

// One node to many, and these to one that takes them all.
struct Fan {
    static constexpr const char* name = "fan";

    static Shape shape(std::uint32_t nodes) {
        Shape made{nodes, {}, std::vector<std::uint32_t>(nodes, 1)};
        const std::uint32_t last = nodes - 1;
        made.slots[0] = 0;
        made.slots[last] = nodes - 2;
        for (std::uint32_t i = 1; i < last; ++i) {
            made.edges.push_back(Edge{0, i, 0});
            made.edges.push_back(Edge{i, last, i - 1});
        }
        return made;
    }

    static int sum(std::span<const int> xs) {
        int total = 0;
        for (const int x : xs) total = (total + x) & value_mask;
        return total;
    }
    static grafo::Task<int> collect(const std::vector<int>& xs) { co_return sum(xs); }
    static std::vector<grafo::AnyNode> forwarding(const Shape& shape) {
        using namespace grafo::literals;
        std::vector<grafo::AnyNode> nodes;
        grafo::Node source{"n", first};
        grafo::Node sink{"n", collect, "xs"_args};
        nodes.push_back(source);
        while (nodes.size() + 1 < shape.nodes) {
            grafo::Node middle{"n", Chain::pass, "x"_a};
            source.connect(middle, "x"_a);
            middle.connect(sink, "xs"_args);
            nodes.push_back(middle);
        }
        nodes.push_back(sink);
        return nodes;
    }

    static by_hand::Body<int> collect_by_hand(std::span<const int> xs) { co_return sum(xs); }
    static by_hand::Body<int> body(std::span<const int> slots) {
        if (slots.size() > 1) return collect_by_hand(slots);
        return Chain::body(slots);
    }
};

}  // namespace bench
