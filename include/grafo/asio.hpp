#pragma once
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <grafo/detail/asio_driver.hpp>
#include <grafo/detail/asio_library.hpp>
#include <grafo/detail/asio_operation.hpp>
#include <grafo/detail/asio_signals.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/task.hpp>
#include <grafo/tree_executor.hpp>

/// \file
/// Asio 1.19 or newer, standalone; with GRAFO_USE_BOOST_ASIO defined, Boost.Asio from Boost 1.77.
/// One of the two in a program. `asio::` below stands for either.

namespace grafo {

/// The completion token that makes an operation of Asio's a `Task`:
/// `std::size_t n = co_await socket.async_read_some(buffer, use_task);`.
class UseTask {
public:
    constexpr UseTask() noexcept {}

    /// An executor whose I/O objects have `use_task` as their default token.
    template <class Inner>
    class executor_with_default : public Inner {
    public:
        using default_completion_token_type = UseTask;
        template <class Other>
            requires(!std::same_as<Other, executor_with_default> &&
                     std::convertible_to<const Other&, Inner>)
        // NOLINTNEXTLINE(google-explicit-constructor): I/O objects convert their executors
        executor_with_default(const Other& other) noexcept : Inner(other) {}
    };
    /// The type of an I/O object like `T` with that default.
    template <class T>
    using as_default_on_t = typename T::template rebind_executor<
        executor_with_default<typename T::executor_type>>::other;
    /// Moves an I/O object to that type.
    template <class T>
    [[nodiscard]] static as_default_on_t<std::decay_t<T>> as_default_on(T&& object) {
        return as_default_on_t<std::decay_t<T>>(std::forward<T>(object));
    }
};

/// Given to an asynchronous operation of Asio's in place of a handler, makes it a `Task`. The
/// operation starts when that is awaited.
/// It gives what the handler would be given: nothing, a value, or several as a `std::tuple`; a
/// leading `asio::error_code` that is set is thrown as `asio::system_error`, a leading
/// `std::exception_ptr` as what it holds. What starting the operation throws comes out of the await
/// too, and `Error` if the operation dropped its handler and never called it.
/// Cancelled, timed out or dropped, the await emits `cancellation_type::all` at the operation's
/// cancellation slot, on the executor of its I/O object, and *waits* until the operation has ended,
/// so that it never uses buffers that are gone; whatever it ended with, the await then throws
/// `Cancelled`. An operation that cannot be cancelled is waited for.
/// Works in any loop, also where the operation's context is run by another thread; a virtual clock
/// stands still meanwhile. The I/O object must stay until then: `close()` it to end an operation
/// from elsewhere. The arguments are moved into the task; buffers refer to the caller's memory.
/// Costs one recycled frame and one recycled block beside Asio's own.
inline constexpr UseTask use_task{};

/// An event loop's sleep in the user's `io_context`, which wakes it for its own handlers:
/// `AsioReactor reactor{context}; EventLoop loop{reactor};`. Must outlive the loop, as the context
/// must outlive the reactor. Meanwhile nobody else may run the context, but for handlers that do.
/// The context's handlers run on the loop's thread, up to 64 between two rounds of the loop;
/// `EventLoop::current()` is the loop in them, and what they throw ends its `run` as an exception
/// of a posted function does.
/// The loop ends with its task, whatever work the context has of its own then; as long as it has
/// any, the loop reports no deadlock, and a virtual clock (`EventLoop{virtual_time, reactor}`)
/// stands still, while timers of Asio's go on in real time. A `stop()` of the context ends nothing.
class AsioReactor : public detail::IoReactor {
public:
    /// Throws what the timers of Asio throw when they cannot be made.
    explicit AsioReactor(detail::net::io_context& context)
        : IoReactor(context), timer_(context), state_(std::make_shared<State>()) {}

    /// The context.
    [[nodiscard]] detail::net::io_context& context() const noexcept { return io(); }

    void wait(const TimePoint* deadline) override {
        set_timer(deadline);
        restart();
        const auto work = detail::net::make_work_guard(io());
        for (;;) {
            state_->stale = false;
            const std::size_t handlers = guard([this] { return io().run_one(); });
            // A timer that was set anew is no reason to wake up, unless to go to rest for good.
            if (handlers == 0 || !state_->stale || deadline == nullptr) return;
        }
    }
    void wake() noexcept override {
        if (state_->woken.exchange(true)) return;
        detail::net::post(io(), [state = state_] { state->woken = false; });
    }
    [[nodiscard]] bool busy() const noexcept override { return has_work_ || any(); }
    void poll() override {
        run_handlers();
        tell();
    }

private:
    static constexpr int most_handlers = 64;

    void run_handlers() {
        restart();
        for (int left = most_handlers; left > 0; --left) {
            if (guard([this] { return io().poll_one(); }) == 0) break;
        }
        has_work_ = true;
        if (!io().stopped()) return;
        restart();  // it has no work, or somebody has stopped it: the next one tells
        has_work_ = guard([this] { return io().poll_one(); }) != 0 || !io().stopped();
        restart();
    }

    // What the handlers use, which may stay in the context for longer than this.
    struct State {
        std::atomic<bool> woken{false};
        bool stale = false;      // a handler has run of a timer that is not waited for any more
        unsigned timer_set = 0;  // counts how often
        bool timer_out = false;
    };

    void found_due() noexcept override {}  // its run_one, or poll_one, returns
    void restart() {
        if (io().stopped()) io().restart();
    }
    void set_timer(const TimePoint* deadline) {
        if (state_->timer_out && deadline != nullptr && *deadline == deadline_) return;
        if (!state_->timer_out && deadline == nullptr) return;
        ++state_->timer_set;
        state_->timer_out = deadline != nullptr;
        if (deadline == nullptr) {
            timer_.cancel();
            return;
        }
        deadline_ = *deadline;
        timer_.expires_at(deadline_);
        timer_.async_wait(
            [state = state_, number = state_->timer_set](const detail::NetErrorCode&) {
                if (state->timer_set == number) {
                    state->timer_out = false;
                } else {
                    state->stale = true;
                }
            });
    }
    // Handlers of the user's may throw.
    template <class F>
    static std::size_t guard(F&& run_some) {
        try {
            return run_some();
        } catch (...) {
            EventLoop::current().post(
                [error = std::current_exception()] { std::rethrow_exception(error); });
            return 1;
        }
    }

    detail::net::steady_timer timer_;
    std::shared_ptr<State> state_;
    TimePoint deadline_{};
    bool has_work_ = false;
};

/// Runs the task in a fresh `EventLoop` that sleeps in `context`, and gives its result or rethrows.
/// What holds for `AsioReactor` holds here.
template <class T>
T run(detail::net::io_context& context, Task<T> task) {
    AsioReactor reactor(context);
    EventLoop loop(reactor);
    return loop.run(std::move(task));
}

/// Spawns a task in the loop that `context` drives, for a context that the user runs himself:
/// `co_spawn(context, executor.run(), asio::detached);`. From any thread.
/// All tasks of a context share one loop, which takes a round at a time between the context's other
/// handlers, and lives until the context is destroyed. `context.run()` does not return while there
/// are tasks. One thread at a time may run the context. There is no `DeadlockError`, since handlers
/// of the user's may end any wait; what a task throws that was spawned *inside* comes out of
/// `context.run()`.
/// The completion handler's signature is `void(std::exception_ptr, T)`, for `Task<>`
/// `void(std::exception_ptr)`, as that of `asio::co_spawn`; `T` needs a default constructor. It is
/// called on its associated executor, or in the context. A task that ends as cancelled gives
/// `asio::system_error` with `asio::error::operation_aborted`. The handler's cancellation slot
/// cancels the task.
/// Destroying the context drops the tasks that are left, destructors only, and waits for what they
/// have offloaded. Costs a few allocations a task.
template <class T, class CompletionToken>
auto co_spawn(detail::net::io_context& context, Task<T> task, CompletionToken&& token) {
    static_assert(std::is_void_v<T> || std::default_initializable<T>,
                  "grafo: the handler of co_spawn is given a T also when the task has failed: T "
                  "needs a default constructor");
    if (!task) throw Error("co_spawn was given an empty Task: it was moved from");
    return detail::net::async_initiate<CompletionToken, typename detail::SpawnSignature<T>::type>(
        detail::SpawnInitiation(context), token, std::move(task));
}

/// The `io_context` that the loop of this thread sleeps in or is driven by, to make sockets and
/// timers with. Throws `Error` if no loop is running, or one that has none.
[[nodiscard]] inline detail::net::io_context& current_io_context() {
    detail::IoReactor* reactor = detail::IoReactor::of(EventLoop::current());
    if (reactor == nullptr) {
        throw Error(
            "the loop of this thread sleeps in no io_context: use grafo::run(context, task), an "
            "AsioReactor, or co_spawn");
    }
    return reactor->io();
}

/// The first SIGINT or SIGTERM stops the executor's runs gracefully, as `executor.stop()` does; the
/// second one ends the process with exit code 130, at once, also while a node holds the loop.
/// For as long as the executor or a run of it lives; after that the signals have their default
/// action again, unless other signal sets of Asio's listen. `context` must be run, by a loop or by
/// the user, for the first one to be heard. To listen is no work: a context does not run for it.
/// Several executors may listen: the first signal after the last call of this stops them all.
/// Throws `asio::system_error` if the signals are not to be had.
inline void stop_on_signals(const TreeExecutor& executor, detail::net::io_context& context) {
    detail::ExecutorState& state = *detail::ExecutorAccess::state(executor);
    state.signals.reset(new detail::SignalWatch(context, state));
}
/// The same in the context of the running loop; throws `Error` where `current_io_context` does.
inline void stop_on_signals(const TreeExecutor& executor) {
    stop_on_signals(executor, current_io_context());
}

}  // namespace grafo

// Asio's hook for completion tokens.
#if defined(GRAFO_USE_BOOST_ASIO)
namespace boost::asio {
#else
namespace asio {
#endif

template <class R, class... Args>
class async_result<grafo::UseTask, R(Args...)> {
public:
    using return_type = grafo::Task<grafo::detail::AsioValue<Args...>>;

    template <class Initiation, class... Given>
    static return_type initiate(Initiation&& initiation, grafo::UseTask, Given&&... given) {
        return grafo::detail::AsioTask<Args...>::start(std::forward<Initiation>(initiation),
                                                       std::forward<Given>(given)...);
    }
};

}  // namespace asio
