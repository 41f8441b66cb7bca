// An awaitable of another library, for tests about what cannot be cancelled.
#pragma once

#include <coroutine>
#include <utility>

namespace grafo_test {

/// Opened by hand; cannot be cancelled, and knows nothing of the library. One waits at a time.
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
        int await_resume() const noexcept { return 7; }

    private:
        Gate& gate_;
    };
    Awaiter operator co_await() noexcept { return Awaiter(*this); }

    /// True while someone waits.
    [[nodiscard]] bool waited() const noexcept { return waiting_ != nullptr; }
    /// Resumes who waits.
    void open() {
        if (waiting_) std::exchange(waiting_, {}).resume();
    }
    /// Destroys the handle of who waits instead.
    void lose() {
        if (waiting_) std::exchange(waiting_, {}).destroy();
    }

private:
    std::coroutine_handle<> waiting_;
};

}  // namespace grafo_test
