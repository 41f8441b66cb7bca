#pragma once
#include <cstddef>
#include <cstdint>

#include <grafo/detail/node_core.hpp>

// A graph that is larger than the caches is run at the speed of the memory, since its nodes lie
// where they were made. So a run asks for what it will touch some turns before it does.
namespace grafo::detail {

// With more nodes than that a graph is larger than the second-level cache of most machines.
inline constexpr std::size_t nodes_in_cache = 4096;

[[gnu::always_inline]] inline void fetch(const void* object, std::size_t offset = 0) noexcept {
#if defined(__GNUC__)
    __builtin_prefetch(static_cast<const char*>(object) + offset, 1);
#endif
}

// What the run of a node touches beside what has just made it ready: the end of its object, with
// callable, arguments and output, and lists of edges that are too long to lie in it.
[[gnu::always_inline]] inline void fetch_rest(const NodeCore& node) noexcept {
    fetch(&node, sizeof(NodeCore));
    fetch(node.out.begin());
    if (!node.takes_arguments) return;
    fetch(node.in.begin());
    fetch(node.in.begin(), 64);
    fetch(node.in.end());
}

// The children of a node whose turn is near, and the outputs that it is given.
[[gnu::always_inline]] inline void fetch_neighbours(const NodeCore& node) noexcept {
    constexpr std::uint32_t most = 8;  // of more, the first would be gone again
    const std::uint32_t children = node.out.size() < most ? node.out.size() : most;
    for (std::uint32_t i = 0; i < children; ++i) {
        const NodeCore& child = node.out[i].child();
        fetch(&child);
        fetch(&child, 64);
    }
    if (!node.takes_arguments) return;
    const std::uint32_t parents = node.in.size() < most ? node.in.size() : most;
    for (std::uint32_t i = 0; i < parents; ++i) {
        fetch(node.in[i].parent);
        fetch(node.in[i].parent, sizeof(NodeCore));
    }
}

}  // namespace grafo::detail
