// Tasks that a test cancels at the very moment it wants to.
#pragma once

#include <coroutine>
#include <utility>

#include <grafo/task.hpp>

namespace grafo_test {

/// `co_await own_context(place)` writes the context of the awaiting coroutine to `place`, without a
/// suspension. Valid until that coroutine ends.
class OwnContext {
public:
    explicit OwnContext(grafo::detail::Context*& place) noexcept : place_(&place) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) const noexcept {
        *place_ = &grafo::detail::context_of(coroutine);
        return false;
    }
    void await_resume() const noexcept {}

    using grafo_awaitable = void;

private:
    grafo::detail::Context** place_;
};

inline OwnContext own_context(grafo::detail::Context*& place) noexcept { return OwnContext(place); }

/// An awaitable of another library: opened by hand, cannot be cancelled. A dropped run that waits
/// for it stays, frozen, until it opens.
class Gate {
public:
    Gate() = default;
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    class Awaiter {
    public:
        explicit Awaiter(Gate& gate) noexcept : gate_(gate) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const noexcept {
            gate_.waiting_ = handle;
        }
        void await_resume() const noexcept {}

    private:
        Gate& gate_;
    };
    Awaiter operator co_await() noexcept { return Awaiter(*this); }
    void open() {
        if (waiting_) std::exchange(waiting_, {}).resume();
    }

private:
    std::coroutine_handle<> waiting_;
};

}  // namespace grafo_test
