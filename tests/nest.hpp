// What lies innermost where one thing is nested in another many times, for tests of depth.
#pragma once

#include <chrono>
#include <stdexcept>

#include <grafo/errors.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

#include "gate.hpp"

namespace grafo_test {

/// What it does: ends, throws, sleeps for an hour, or waits for the gate.
enum class Bottom { value, error, sleep, gate };

/// Counts how often the innermost is reached and cancelled.
struct Nest {
    Bottom bottom = Bottom::value;
    Gate gate;
    int reached = 0;
    int cancelled = 0;
};

inline grafo::Task<int> bottom_of(Nest& nest) {
    ++nest.reached;
    if (nest.bottom == Bottom::error) throw std::out_of_range("the bottom");
    try {
        if (nest.bottom == Bottom::sleep) co_await grafo::sleep_for(std::chrono::hours(1));
        if (nest.bottom == Bottom::gate) co_await nest.gate;
    } catch (const grafo::Cancelled&) {
        ++nest.cancelled;
        throw;
    }
    co_return 0;
}

}  // namespace grafo_test
