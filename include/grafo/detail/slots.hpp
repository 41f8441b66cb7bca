#pragma once
#include <coroutine>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/node_core.hpp>

// Places under `max_concurrency`. A node that waits for a chunk, a limit or its next attempt gives
// its place back meanwhile, and stands in line for one before it goes on: so nobody who works waits
// for somebody who does not.
namespace grafo::detail {

[[nodiscard]] inline bool take_slot_at_once(NodeCore& node) noexcept {
    if (!node.run->could_take_slot(node)) return false;
    node.run->take_slot_anyway(node);
    return true;
}

// Where a node without a place stands: null once it has its place again, or needs none.
struct Placeless {
    NodeCore* node = nullptr;
    SlotAwaiter* in_line = nullptr;

    [[nodiscard]] bool take_at_once() noexcept {
        if (node != nullptr && !take_slot_at_once(*node)) return false;
        node = nullptr;
        return true;
    }
};

class SlotAwaiter : public Waiter {
public:
    explicit SlotAwaiter(Placeless& place) noexcept : Waiter(&SlotAwaiter::on_ask), place_(place) {}
    SlotAwaiter(const SlotAwaiter&) = delete;
    SlotAwaiter& operator=(const SlotAwaiter&) = delete;
    ~SlotAwaiter() {
        if (place_.in_line == this) place_.in_line = nullptr;
    }

    bool await_ready() const noexcept { return place_.take_at_once(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) noexcept {
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        place_.in_line = this;
        place_.node->run->stand_in_line(*this);
        return true;
    }
    void await_resume() const {
        check();
        place_.node = nullptr;
    }
    [[nodiscard]] NodeCore& node() const noexcept { return *place_.node; }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        if (ask != Ask::cancel || waiter.gave_up) return false;
        waiter.gave_up = true;
        LoopCore::current->make_ready(waiter);  // out of the line
        return true;
    }
    Placeless& place_;
};

// What is awaited; the awaiter itself is neither copied nor moved.
class TakeSlot {
public:
    explicit TakeSlot(Placeless& place) noexcept : place_(place) {}
    SlotAwaiter operator co_await() const noexcept { return SlotAwaiter(place_); }
    using grafo_awaitable = void;

private:
    Placeless& place_;
};

// While it lives, the node has no place, until `co_await take_back()`.
class SlotRelease {
public:
    explicit SlotRelease(NodeCore& node) {
        if (node.run->leave_slot(node)) place_.node = &node;
    }
    SlotRelease(const SlotRelease&) = delete;
    SlotRelease& operator=(const SlotRelease&) = delete;
    ~SlotRelease() {
        if (place_.node != nullptr) place_.node->run->take_slot_anyway(*place_.node);
    }
    [[nodiscard]] TakeSlot take_back() noexcept { return TakeSlot(place_); }
    // The node has settled, though somebody still waits in its name.
    void forget() noexcept {
        place_.node = nullptr;
        if (place_.in_line == nullptr) return;
        LoopCore::current->make_ready(*std::exchange(place_.in_line, nullptr));
    }
    [[nodiscard]] bool could_take() const noexcept {
        return place_.node == nullptr || place_.node->run->could_take_slot(*place_.node);
    }
    [[nodiscard]] bool take_at_once() noexcept { return place_.take_at_once(); }
    void leave_again(NodeCore& node) { place_.node = node.run->leave_slot(node) ? &node : nullptr; }

private:
    Placeless place_;
};

}  // namespace grafo::detail
