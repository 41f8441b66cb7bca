#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include <grafo/detail/flat_list.hpp>

namespace grafo {

class Observer;

/// What a run does when a node fails.
enum class ErrorPolicy : unsigned char {
    fail_fast,   ///< stop starting, cancel the running, wait for them, report
    keep_going,  ///< only what depends on the failure is skipped
};

namespace detail {

struct RunOptions {
    std::string name;
    ErrorPolicy policy = ErrorPolicy::fail_fast;
    std::size_t max_concurrency = static_cast<std::size_t>(-1);
    bool timing = true;
    bool streaming = false;
    FlatList<Observer*> observers;
    bool shuffled = false;   // the ready nodes start in a random order,
    std::uint64_t seed = 0;  // drawn from this
};

}  // namespace detail

}  // namespace grafo
