#pragma once
#include <chrono>
#include <exception>
#include <string>

#include <grafo/conditions.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/node_core.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/retry.hpp>

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

// What a node needs before each of its attempts; see limits.hpp.
class HeldLimits;
class Limits {
public:
    Limits() = default;
    Limits(const Limits&) = delete;
    Limits& operator=(const Limits&) = delete;
    virtual ~Limits() = default;
    virtual Task<> acquire(HeldLimits& held, NodeCore& node) = 0;
    // Is one semaphore in both?
    [[nodiscard]] virtual bool shares_with(const Limits& other) const noexcept = 0;
    // Readers of one producer wait for each other: throws if not each of them can hold what it
    // needs.
    virtual void check_side_by_side(const NodeCore& producer,
                                    const FlatList<NodeCore*>& readers) const = 0;
};

using Callbacks = FlatList<Owned<Callback>>;

// Of a producer whose chunks are read in pipes, or copied to let it run ahead.
struct Stream {
    std::size_t buffer = 0;  // how many copies may be out; 0: the chunks stay in the frame
    // In the run that is on:
    FlatList<PipeEnd*> ends;
    std::size_t copies = 0;     // that are out
    std::uint32_t readers = 0;  // that have not moved on from the chunk in the frame
    std::uint32_t sharers = 0;  // those among them that have no copy of their own
    bool open = false;          // the producer has begun
};

// An edge of which its parent's on_connect is told, but not yet the run; on the stack of `connect`.
class Connecting {
public:
    Connecting(Connecting*& all, NodeCore& child, Forward* forward) noexcept
        : all_(all), outer_(all), child_(child), forward_(forward) {
        all = this;
    }
    Connecting(const Connecting&) = delete;
    Connecting& operator=(const Connecting&) = delete;
    ~Connecting() { all_ = outer_; }

    // A callback may have cut the edge, or ended the run that it belonged to.
    [[nodiscard]] bool is_there() const noexcept { return there_; }
    // One of these edges is cut: was it one that is not told of yet?
    static bool cut(Connecting* all, const NodeCore& child, const Forward* forward) noexcept {
        for (; all != nullptr; all = all->outer_) {
            if (!all->there_ || &all->child_ != &child || all->forward_ != forward) continue;
            all->there_ = false;
            return true;
        }
        return false;
    }
    static void cut_all(Connecting* all) noexcept {
        for (; all != nullptr; all = all->outer_) all->there_ = false;
    }

private:
    Connecting*& all_;
    Connecting* outer_;
    NodeCore& child_;
    Forward* forward_;  // as the parent sees it
    bool there_ = true;
};

// What only few nodes have.
struct Extras {
    Extras();
    Extras(const Extras&) = delete;
    Extras& operator=(const Extras&) = delete;
    ~Extras();

    Callbacks on_connect;
    Connecting* connecting = nullptr;
    Callbacks on_disconnect;
    Callbacks on_before_run;
    Callbacks on_after_run;
    std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
    std::chrono::nanoseconds total_timeout = std::chrono::nanoseconds::max();
    std::exception_ptr error;
    std::exception_ptr former_error;  // of the run before, until the node begins in this one
    std::string skip_reason;
    std::size_t skip_cause = 0;  // where in it the first cause begins
    std::string taken_by;        // the child that moved the output out
    unsigned attempts = 0;
    bool collect = true;
    Trigger trigger = Trigger::all_completed;
    Owned<RetryPolicy> retry;
    Owned<Limits> limits;
    int priority = 0;
    unsigned max_runs = 1000;
    unsigned again = 0;           // how often it ran again in this run
    std::uint32_t wave = 0;       // what made it run again: all that one run of a node led to
    std::uint32_t next_wave = 0;  // of what this run of the node makes run again
    unsigned without_slot = 0;    // its waits that need no place under max_concurrency
    Owned<Stream> stream;
    int queued_at = 0;                  // in ReadyQueue: its priority,
    NodeCore* last_of_level = nullptr;  // of the first of its priority, the last of it
    NodeCore* next_level = nullptr;     // and the first of the next lower one
    Task<> driver;                      // runs the callbacks, the timers and the body
    // What drives the node, and what tries it again; each from the first setting that needs it on.
    Task<> (*drive)(NodeCore& node) = nullptr;
    Task<> (*run_attempts)(NodeCore& node, Extras& extras, HeldLimits& held) = nullptr;
    class NodeTimer* timer = nullptr;  // the running attempt's, to be stopped while parked
    FlatList<NodeCore*> captured;      // debug builds: whose handles its callable holds
    WeakCell* weak = nullptr;          // what NodeRefs point to
};

}  // namespace grafo::detail
