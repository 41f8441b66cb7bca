#pragma once
#include <coroutine>

#include <grafo/detail/context.hpp>

// Places under `max_concurrency`. A node that waits for a chunk, a limit or its next attempt gives
// its place back meanwhile, and stands in line for one before it goes on: so nobody who works waits
// for somebody who does not.
namespace grafo::detail {

class NodeCore;
class SlotAwaiter;

// See run_streams.hpp. False where nothing is limited: there is nothing to take back then.
bool leave_slot(NodeCore& node);
// True if the node need not stand in line.
bool take_slot_at_once(NodeCore& node) noexcept;
void stand_in_line(SlotAwaiter& waiter, NodeCore& node) noexcept;
// Without standing in line: the wait was given up.
void take_slot_anyway(NodeCore& node) noexcept;

class SlotAwaiter : public Waiter {
public:
    explicit SlotAwaiter(NodeCore*& node) noexcept : Waiter(&SlotAwaiter::on_ask), node_(node) {}
    SlotAwaiter(const SlotAwaiter&) = delete;
    SlotAwaiter& operator=(const SlotAwaiter&) = delete;
    ~SlotAwaiter() = default;

    bool await_ready() const noexcept {
        if (node_ != nullptr && !take_slot_at_once(*node_)) return false;
        node_ = nullptr;
        return true;
    }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) noexcept {
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        stand_in_line(*this, *node_);
        return true;
    }
    void await_resume() const {
        check();
        node_ = nullptr;
    }
    [[nodiscard]] NodeCore& node() const noexcept { return *node_; }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        if (ask != Ask::cancel || waiter.gave_up) return false;
        waiter.gave_up = true;
        LoopCore::current->make_ready(waiter);  // out of the line
        return true;
    }
    NodeCore*& node_;  // null once it has its place
};

// What is awaited; the awaiter itself is neither copied nor moved.
class TakeSlot {
public:
    explicit TakeSlot(NodeCore*& node) noexcept : node_(node) {}
    SlotAwaiter operator co_await() const noexcept { return SlotAwaiter(node_); }
    using grafo_awaitable = void;

private:
    NodeCore*& node_;
};

// While it lives, the node has no place, until `co_await take_back()`.
class SlotRelease {
public:
    explicit SlotRelease(NodeCore& node) : node_(leave_slot(node) ? &node : nullptr) {}
    SlotRelease(const SlotRelease&) = delete;
    SlotRelease& operator=(const SlotRelease&) = delete;
    ~SlotRelease() {
        if (node_ != nullptr) take_slot_anyway(*node_);
    }
    [[nodiscard]] TakeSlot take_back() noexcept { return TakeSlot(node_); }

private:
    NodeCore* node_;
};

}  // namespace grafo::detail
