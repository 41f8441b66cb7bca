#pragma once
#include <chrono>
#include <memory>

#include <grafo/detail/inline.hpp>

namespace grafo {

/// Told by a reactor that a descriptor which it watches can be read.
class Watcher {
public:
    /// Called on the loop's thread, from `wait` or `poll`, and again for as long as something is
    /// left to be read. May end its watch and begin others; must neither block nor resume a
    /// coroutine: it makes ready, or posts.
    virtual void readable() noexcept = 0;

protected:
    ~Watcher() = default;
};

/// A watch of a reactor: ends when it is destroyed. May outlive the reactor, and is then nothing.
class Watch {
public:
    Watch() = default;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    virtual ~Watch() = default;
};

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
    /// True while an operation is out whose end this reactor will see, and while it watches
    /// something: the loop then waits for it rather than report a deadlock, and a virtual clock
    /// stands still.
    [[nodiscard]] virtual bool busy() const noexcept { return false; }
    /// Runs what is ready by now, without blocking; called between two rounds of the loop.
    virtual void poll() {}
    /// Calls `watcher.readable()` whenever `descriptor` can be read, until the result is destroyed;
    /// both must live that long, and the descriptor stay open. Called by the loop's thread. An
    /// epoll descriptor can be watched too, so that one watch is enough for a source of many
    /// sockets. `nullptr`, as here, from a reactor that cannot watch descriptors.
    [[nodiscard]] GRAFO_INLINE virtual std::unique_ptr<Watch> watch(int descriptor,
                                                                    Watcher& watcher);
    /// The address of a variable that all reactors of a class have in common, and no others: how
    /// the functions that need such a reactor recognise the one that a loop sleeps in.
    [[nodiscard]] virtual const void* kind() const noexcept { return nullptr; }
};

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/reactor.hpp>
#endif
