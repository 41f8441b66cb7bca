#pragma once
#include <atomic>
#include <functional>
#include <thread>

/// Leaves SIGINT and SIGTERM to `StopOnSignals`. To be called before any thread is made.
void block_stop_signals();

/// A thread that waits for SIGINT and SIGTERM: the first calls `stop`, the second ends the process
/// with 130. Its destructor ends the thread.
class StopOnSignals {
public:
    explicit StopOnSignals(std::function<void()> stop);
    StopOnSignals(const StopOnSignals&) = delete;
    StopOnSignals& operator=(const StopOnSignals&) = delete;
    ~StopOnSignals();

private:
    std::atomic<bool> done_ = false;
    std::thread thread_;
};
