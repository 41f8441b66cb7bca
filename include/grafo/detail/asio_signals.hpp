#pragma once
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include <grafo/detail/asio_library.hpp>
#include <grafo/detail/condition_reactor.hpp>
#include <grafo/detail/executor_state.hpp>

namespace grafo::detail {

// Ends the process at the second SIGINT or SIGTERM: in the signal handler itself, since a loop that
// is held by a node would not get to it. The first goes on to the handler that was there before.
class SecondSignal {
public:
    SecondSignal() {
        const LockGuard lock(mutex_);
        seen_ = 0;
        if (users_++ > 0) return;
        before_interrupt_ = std::signal(SIGINT, &SecondSignal::on_signal);
        before_terminate_ = std::signal(SIGTERM, &SecondSignal::on_signal);
    }
    SecondSignal(const SecondSignal&) = delete;
    SecondSignal& operator=(const SecondSignal&) = delete;
    ~SecondSignal() {
        const LockGuard lock(mutex_);
        if (--users_ > 0) return;
        restore(SIGINT, before_interrupt_);
        restore(SIGTERM, before_terminate_);
    }

private:
    using Handler = void (*)(int);

    static void on_signal(int number) {
        if (seen_.fetch_add(1) > 0) std::_Exit(130);
        const Handler before = number == SIGINT ? before_interrupt_ : before_terminate_;
        if (before != SIG_DFL && before != SIG_IGN && before != SIG_ERR) before(number);
    }
    // Unless somebody else has put his own handler there since.
    static void restore(int number, Handler before) noexcept {
        if (before == SIG_ERR) return;
        const Handler now = std::signal(number, before);
        if (now != &SecondSignal::on_signal) std::signal(number, now);
    }

    static inline Mutex mutex_;
    static inline int users_ = 0;
    static inline std::atomic<int> seen_{0};
    static inline std::atomic<Handler> before_interrupt_{nullptr};
    static inline std::atomic<Handler> before_terminate_{nullptr};
};

// Stops the runs of an executor at a signal. Owned by the handler that waits for that.
class SignalStop : public std::enable_shared_from_this<SignalStop> {
public:
    SignalStop(net::io_context& context, ExecutorState& state)
        : context_(context), signals_(context, SIGINT, SIGTERM), state_(&state) {
        second_.emplace();
    }

    void listen() {
        signals_.async_wait([self = shared_from_this()](const NetErrorCode& error, int) {
            self->context_.get_executor().on_work_started();
            if (error) return;
            self->listen();
            if (self->state_ != nullptr) self->state_->stop();
        });
        // To wait for a signal is nothing that a context should go on running for; nor should it
        // be stopped by the last of its work going here.
        const bool stopped = context_.stopped();
        context_.get_executor().on_work_finished();
        if (!stopped && context_.stopped()) context_.restart();
    }
    // The executor is gone.
    void end() noexcept {
        state_ = nullptr;
        second_.reset();
        NetErrorCode ignored;
        signals_.cancel(ignored);
        signals_.clear(ignored);
    }

private:
    net::io_context& context_;
    net::signal_set signals_;
    ExecutorState* state_;
    std::optional<SecondSignal> second_;  // its handler goes over that of the set
};

class SignalWatch final : public StopSignals {
public:
    SignalWatch(net::io_context& context, ExecutorState& state) {
        const auto stop = std::make_shared<SignalStop>(context, state);
        stop_ = stop;
        stop->listen();
    }
    ~SignalWatch() override {
        if (const auto stop = stop_.lock(); stop != nullptr) stop->end();
    }

private:
    std::weak_ptr<SignalStop> stop_;
};

}  // namespace grafo::detail
