#pragma once
#include <cstddef>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/errors.hpp>

namespace grafo::detail {

GRAFO_INLINE NodePath::NodePath(std::size_t size) : ids(size) {}

GRAFO_INLINE NodePath::~NodePath() = default;

GRAFO_INLINE NodeErrors::NodeErrors() noexcept = default;

GRAFO_INLINE NodeErrors::~NodeErrors() = default;

GRAFO_INLINE void NodeErrors::dispose() noexcept { delete this; }

GRAFO_INLINE void NodeErrors::erase_at(std::size_t place) {
    for (std::size_t i = place + 1; i < list.size(); ++i) list[i - 1] = std::move(list[i]);
    list.pop_back();
}

}  // namespace grafo::detail
