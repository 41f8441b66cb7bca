#pragma once
#include <chrono>

namespace grafo {

/// What an `EventLoop` sleeps in while nothing is ready: the one part of the loop that an event
/// source with handlers of its own (an Asio `io_context`, say) replaces.
/// Both functions are called by the loop only; `wake` from any thread.
class Reactor {
public:
    /// A point of the clock that the loop's timers use.
    using TimePoint = std::chrono::steady_clock::time_point;

    Reactor() = default;
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;
    virtual ~Reactor() = default;

    /// Blocks until `wake()` was called since the last wait, or `deadline` is reached, or handlers
    /// of the reactor's own have run. May return early; must not poll. `nullptr`: no deadline.
    virtual void wait(const TimePoint* deadline) = 0;
    /// Ends the current or the next `wait`. Called from any thread, must not block.
    virtual void wake() noexcept = 0;
    /// True while an operation is out whose end this reactor will see: the loop then waits for it
    /// rather than report a deadlock, and a virtual clock stands still.
    [[nodiscard]] virtual bool busy() const noexcept { return false; }
    /// Runs what is ready by now, without blocking; called between two rounds of the loop.
    virtual void poll() {}
};

}  // namespace grafo
