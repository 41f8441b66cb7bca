#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
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
    std::optional<std::uint64_t> shuffle;  // the seed of a random order of ready nodes
};

}  // namespace detail

}  // namespace grafo
