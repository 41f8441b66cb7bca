// A descriptor that a test makes readable at the very moment it wants to, and what waits for it.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <coroutine>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>

#include <grafo/detail/poll_reactor.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/reactor.hpp>

#include "catch.hpp"

namespace grafo_test {

/// Hands its handle out and waits for whoever resumes it.
class Park {
public:
    explicit Park(std::coroutine_handle<>& place) : place_(place) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const { place_ = handle; }
    void await_resume() const noexcept {}

private:
    std::coroutine_handle<>& place_;
};

/// A descriptor that can be read once it was set and until it is cleared; calls a function then.
class Signal : public grafo::Watcher {
public:
    explicit Signal(std::function<void()> f) : fn(std::move(f)) {}
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    virtual ~Signal() { close(descriptor); }

    /// From any thread, where Catch2 may not be asked.
    void set() const {
        if (eventfd_write(descriptor, 1) != 0) std::abort();
    }
    void clear() const {
        eventfd_t value = 0;
        REQUIRE(eventfd_read(descriptor, &value) == 0);
    }
    void readable() noexcept override {
        ++calls;
        fn();
    }
    void begin() { watch = grafo::detail::watch(grafo::EventLoop::current(), descriptor, *this); }

    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    std::function<void()> fn;
    int calls = 0;
    std::unique_ptr<grafo::Watch> watch;
};

}  // namespace grafo_test
