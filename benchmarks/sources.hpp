#pragma once
#include <grafo/grafo.hpp>

#include "shape.hpp"

// The bodies of our nodes that no edge forwards into.
namespace bench {

inline grafo::Task<int> step() { co_return ++steps; }
inline grafo::Task<int> first() { co_return first_value; }

}  // namespace bench
