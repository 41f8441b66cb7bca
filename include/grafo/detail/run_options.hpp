#pragma once
#include <cstddef>
#include <string>

namespace grafo {

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
};

}  // namespace detail

}  // namespace grafo
