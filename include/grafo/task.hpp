#pragma once
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/foreign_awaiter.hpp>
#include <grafo/detail/frame_pool.hpp>
#include <grafo/detail/result.hpp>

namespace grafo {

template <class T = void>
class Task;

namespace detail {

template <class T>
struct TaskPromiseBase : PromiseBase, PooledFrame, AwaitTransform {
    void unhandled_exception() noexcept { result.set_error(std::current_exception()); }

    Result<T> result;
};

template <class T>
struct TaskPromise final : TaskPromiseBase<T> {
    Task<T> get_return_object() noexcept;
    template <class U = T>
        requires std::is_convertible_v<U&&, T>
    void return_value(U&& value) {
        this->result.set_value(std::forward<U>(value));
    }
};

template <>
struct TaskPromise<void> final : TaskPromiseBase<void> {
    Task<void> get_return_object() noexcept;
    void return_void() noexcept { result.set_value(); }
};

}  // namespace detail

/// A coroutine that runs when it is awaited and gives one `T` (a value, a reference or `void`), or
/// rethrows what its body threw.
/// Owns its frame: an unawaited task never starts. Awaited, it runs in the context of the awaiting
/// coroutine, so a cancellation of that reaches its current await. Starts in place, and comes back
/// in place if nothing made it wait; however deep tasks await each other, that takes no more stack
/// than 16 of them. Costs one recycled frame, and no allocation once the thread has warmed up.
template <class T>
class [[nodiscard("a Task does nothing until it is awaited")]] Task {
public:
    using promise_type = detail::TaskPromise<T>;
    /// What awaiting the task gives.
    using value_type = T;

    /// An empty task; awaiting it throws `Error`.
    Task() noexcept = default;
    Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
    Task& operator=(Task&& other) noexcept {
        Task dying(std::move(other));
        std::swap(coroutine_, dying.coroutine_);
        return *this;
    }
    ~Task() {
        if (coroutine_) coroutine_.destroy();
    }

    /// True unless the task is empty or was awaited.
    [[nodiscard]] explicit operator bool() const noexcept { return coroutine_ != nullptr; }

    class Awaiter : detail::OwnedFrame {
    public:
        explicit Awaiter(Task&& task) noexcept : OwnedFrame(std::exchange(task.coroutine_, {})) {}
        bool await_ready() const {
            if (!frame()) throw Error("an empty Task was awaited: it was moved from");
            return false;
        }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept(
            detail::OwnPromise<Promise>) {
            detail::require_loop<Promise>();
            promise().awaited_by(awaiting, this);
            return detail::LoopCore::current->hand_over(frame(), awaiting);
        }
        T await_resume() { return promise().result.take(); }

    private:
        promise_type& promise() const noexcept {
            return std::coroutine_handle<promise_type>::from_address(frame().address()).promise();
        }
    };

    /// Starts the task; the awaiting coroutine owns it from then on. Throws `Error` where no loop
    /// runs.
    Awaiter operator co_await() && noexcept { return Awaiter(std::move(*this)); }
    /// A task is awaited once: `co_await std::move(task)`.
    Awaiter operator co_await() & = delete;

    using grafo_awaitable = void;

private:
    friend promise_type;
    friend struct detail::TaskAccess;
    explicit Task(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}

    std::coroutine_handle<promise_type> coroutine_;
};

namespace detail {

template <class T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
    return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

inline Task<void> TaskPromise<void>::get_return_object() noexcept {
    return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

// How the loop, the combinators and the nodes reach a task's frame.
struct TaskAccess {
    template <class T>
    static std::coroutine_handle<TaskPromise<T>> handle(const Task<T>& task) noexcept {
        return task.coroutine_;
    }
    template <class T>
    static std::coroutine_handle<TaskPromise<T>> release(Task<T>&& task) noexcept {
        return std::exchange(task.coroutine_, {});
    }
};

}  // namespace detail

}  // namespace grafo
