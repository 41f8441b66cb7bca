#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <grafo/grafo.hpp>
#include <random>
#include <span>
#include <vector>

#include "fan.hpp"
#include "floor.hpp"
#include "shape.hpp"
#include "sources.hpp"

namespace bench {

// 100 layers, each node with 4 different random parents in the layer before; the same on each
// machine and in each run.
struct Layered {
    static constexpr const char* name = "layered";
    static constexpr std::uint32_t layers = 100;

    static Shape shape(std::uint32_t nodes, std::uint32_t parents = 4) {
        const std::uint32_t width = nodes / layers;
        Shape made{width * layers, {}, std::vector<std::uint32_t>(width * layers, parents)};
        std::minstd_rand random(20240817);
        std::vector<std::uint32_t> chosen;
        for (std::uint32_t i = 0; i < made.nodes; ++i) {
            if (i < width) {
                made.slots[i] = 0;
                continue;
            }
            const std::uint32_t before = (i / width - 1) * width;
            chosen.clear();
            while (chosen.size() < std::min(parents, width)) {
                const auto parent = before + static_cast<std::uint32_t>(random()) % width;
                if (std::find(chosen.begin(), chosen.end(), parent) != chosen.end()) continue;
                made.edges.push_back(Edge{parent, i, static_cast<std::uint32_t>(chosen.size())});
                chosen.push_back(parent);
            }
        }
        return made;
    }

    static std::vector<grafo::AnyNode> forwarding(const Shape& shape) {
        using namespace grafo::literals;
        using Source = decltype(grafo::Node{"n", first});
        using Inner = decltype(grafo::Node{"n", Fan::collect, "xs"_args});
        std::vector<Source> sources;
        std::vector<Inner> inner;
        for (std::uint32_t i = 0; i < shape.nodes; ++i) {
            if (shape.slots[i] == 0) {
                sources.push_back(grafo::Node{"n", first});
            } else {
                inner.push_back(grafo::Node{"n", Fan::collect, "xs"_args});
            }
        }
        for (const Edge& edge : shape.edges) {
            const Inner& child = inner[edge.child - sources.size()];
            if (edge.parent < sources.size()) {
                sources[edge.parent].connect(child, "xs"_args);
            } else {
                inner[edge.parent - sources.size()].connect(child, "xs"_args);
            }
        }
        std::vector<grafo::AnyNode> nodes(sources.begin(), sources.end());
        nodes.insert(nodes.end(), inner.begin(), inner.end());
        return nodes;
    }

    static by_hand::Body<int> body(std::span<const int> slots) {
        return slots.empty() ? by_hand::first() : Fan::collect_by_hand(slots);
    }
};

}  // namespace bench
