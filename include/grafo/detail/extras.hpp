#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <grafo/detail/node_core.hpp>

namespace grafo::detail {

// A user's callback on a node, plain or a coroutine.
class Callback {
public:
    Callback() = default;
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;
    virtual ~Callback() = default;
    // The task to be awaited, or an empty one if the callback is plain and all is done.
    virtual Task<> call(NodeCore& node) = 0;
};

using Callbacks = std::vector<std::unique_ptr<Callback>>;

// What only few nodes have.
struct Extras {
    Extras() = default;
    Extras(const Extras&) = delete;
    Extras& operator=(const Extras&) = delete;
    ~Extras() {
        if (weak == nullptr) return;
        weak->node = nullptr;
        if (--weak->references == 0) delete weak;
    }

    Callbacks on_connect;
    Callbacks on_disconnect;
    Callbacks on_before_run;
    Callbacks on_after_run;
    std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
    std::chrono::nanoseconds total_timeout = std::chrono::nanoseconds::max();
    std::string skip_reason;
    std::string taken_by;  // the child that moved the output out
    unsigned attempts = 0;
    bool collect = true;
    Task<> driver;                     // runs the callbacks, the timers and the body
    class NodeTimer* timer = nullptr;  // the running attempt's, to be stopped while parked
    std::vector<NodeCore*> captured;   // debug builds: whose handles its callable holds
    WeakCell* weak = nullptr;          // what NodeRefs point to
};

}  // namespace grafo::detail
