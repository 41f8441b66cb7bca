#pragma once
#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/foreign_awaiter.hpp>
#include <grafo/detail/frame_pool.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/result.hpp>
#include <grafo/errors.hpp>
#include <grafo/task.hpp>

namespace grafo {

template <class T, class R = void>
class AsyncGenerator;

namespace detail {

struct GeneratorAccess;

struct GeneratorPromiseBase : PromiseBase, PooledFrame, AwaitTransform {
    // Called at a co_yield instead of resuming the reader; true: stay suspended there.
    using Yielded = bool (*)(void* target, void* item);

    Yielded yielded = nullptr;
    void* yield_target = nullptr;
    void* item = nullptr;
    bool ended = false;  // the end, and its exception, were told
    bool asked = false;  // for an item that it has not given yet; kept in debug builds
};

// Suspends at a co_yield until the reader asks for the next item.
class YieldAwaiter {
public:
    YieldAwaiter(GeneratorPromiseBase& promise, void* item) noexcept
        : promise_(promise), item_(item) {}
    YieldAwaiter(const YieldAwaiter&) = delete;

    bool await_ready() const noexcept {
        return (promise_.context->flags & Context::cancelled) != 0;
    }
    bool await_suspend(std::coroutine_handle<>) const {
        if (promise_.yielded != nullptr) return promise_.yielded(promise_.yield_target, item_);
        promise_.item = item_;
        promise_.resume_target();
        return true;
    }
    void await_resume() const {
        if ((promise_.context->flags & Context::cancelled) == 0) return;
        promise_.context->flags &= static_cast<unsigned char>(~Context::pending);
        throw Cancelled();
    }

private:
    GeneratorPromiseBase& promise_;
    void* item_;
};

// The same, holding an item that was converted for this co_yield.
template <class T>
class YieldValueAwaiter {
public:
    template <class U>
    YieldValueAwaiter(GeneratorPromiseBase& promise, U&& value)
        : value_(std::forward<U>(value)), awaiter_(promise, std::addressof(value_)) {}

    bool await_ready() const noexcept { return awaiter_.await_ready(); }
    bool await_suspend(std::coroutine_handle<> coroutine) const {
        return awaiter_.await_suspend(coroutine);
    }
    void await_resume() const { awaiter_.await_resume(); }

private:
    T value_;
    YieldAwaiter awaiter_;
};

template <class T, class R>
struct GeneratorPromise : GeneratorPromiseBase {
    using Item = std::remove_reference_t<T>;

    void unhandled_exception() noexcept { result.set_error(std::current_exception()); }

    // The item itself, in this frame: what the reader dereferences until it asks for the next.
    YieldAwaiter yield_value(Item& value) noexcept {
        return YieldAwaiter(*this, const_cast<void*>(static_cast<const void*>(&value)));
    }
    YieldAwaiter yield_value(Item&& value) noexcept
        requires(!std::is_const_v<Item>)
    {
        return YieldAwaiter(*this, static_cast<void*>(&value));
    }
    template <class U>
        requires(!std::is_same_v<std::remove_cvref_t<U>, std::remove_cv_t<Item>> &&
                 std::is_convertible_v<U &&, T>)
    YieldValueAwaiter<std::remove_cv_t<Item>> yield_value(U&& value) {
        return YieldValueAwaiter<std::remove_cv_t<Item>>(*this, std::forward<U>(value));
    }
    YieldValueAwaiter<Item> yield_value(const Item& value)
        requires(!std::is_const_v<Item> && std::is_copy_constructible_v<Item>)
    {
        return YieldValueAwaiter<Item>(*this, value);
    }

    Result<R> result;
};

template <class T, class R>
struct AsyncGeneratorPromise final : GeneratorPromise<T, R> {
    AsyncGenerator<T, R> get_return_object() noexcept;
    template <class U = R>
        requires std::is_convertible_v<U&&, R>
    void return_value(U&& value) {
        this->result.set_value(std::forward<U>(value));
    }
};

template <class T>
struct AsyncGeneratorPromise<T, void> final : GeneratorPromise<T, void> {
    AsyncGenerator<T, void> get_return_object() noexcept;
    void return_void() noexcept { this->result.set_value(); }
};

}  // namespace detail

/// A coroutine that yields `T`s one after the other, awaiting in between, and with a second type
/// returns an `R` at its end: progress on the way, a result at the end.
/// Owns its frame; does nothing until the first `next()`; may be destroyed at any time, but not by
/// its own body. Each `next()` runs in the context of the coroutine that awaits it. No allocation
/// an item.
template <class T, class R>
class [[nodiscard("an AsyncGenerator does nothing until its items are asked for")]] AsyncGenerator {
public:
    using promise_type = detail::AsyncGeneratorPromise<T, R>;
    /// What it yields.
    using value_type = std::remove_cvref_t<T>;
    /// What it returns at its end.
    using result_type = R;

    /// An empty generator: at its end.
    AsyncGenerator() noexcept = default;
    AsyncGenerator(AsyncGenerator&& other) noexcept
        : coroutine_(std::exchange(other.coroutine_, {})) {}
    AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
        AsyncGenerator dying(std::move(other));
        std::swap(coroutine_, dying.coroutine_);
        return *this;
    }
    ~AsyncGenerator() {
        if (coroutine_) coroutine_.destroy();
    }

    // Another type where misuse is looked for, since that takes both of its functions.
    template <bool Checked>
    class AwaiterOfNext {
    public:
        explicit AwaiterOfNext(std::coroutine_handle<promise_type> coroutine) noexcept
            : coroutine_(coroutine) {}

        bool await_ready() const noexcept { return !coroutine_ || coroutine_.done(); }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> awaiting) const
            noexcept(detail::OwnPromise<Promise>) {
            detail::require_loop<Promise>();
            promise_type& promise = coroutine_.promise();
            if constexpr (Checked) {
                detail::refuse_misuse(std::exchange(promise.asked, true),
                                      "next() of an AsyncGenerator was awaited while another "
                                      "next() of it had not given its item yet");
            }
            promise.awaited_by(awaiting, nullptr);
            promise.item = nullptr;
            return detail::LoopCore::current->hand_over(coroutine_, awaiting);
        }
        std::remove_reference_t<T>* await_resume() const {
            if (!coroutine_) return nullptr;
            promise_type& promise = coroutine_.promise();
            if constexpr (Checked) promise.asked = false;
            void* item = std::exchange(promise.item, nullptr);
            if (item == nullptr && !std::exchange(promise.ended, true)) {
                if (std::exception_ptr error = promise.result.error(); error != nullptr) {
                    std::rethrow_exception(error);
                }
            }
            return static_cast<std::remove_reference_t<T>*>(item);
        }

        using grafo_awaitable = void;

    private:
        std::coroutine_handle<promise_type> coroutine_;
    };
    using NextAwaiter = AwaiterOfNext<detail::checks_misuse>;

    /// `co_await gen.next()` gives a pointer to the next item, valid until the next `next()`, and
    /// null at the end; rethrows, once, what the body threw. One at a time; throws `Error` where no
    /// loop runs.
    [[nodiscard]] NextAwaiter next() noexcept { return NextAwaiter(coroutine_); }

    /// What the body returned, owned by the generator. Throws `Error` before the end, and what the
    /// body threw if it threw.
    [[nodiscard]] std::add_lvalue_reference_t<R> result()
        requires(!std::is_void_v<R>)
    {
        if (!coroutine_ || !coroutine_.done()) {
            throw Error("AsyncGenerator::result() was called before the generator's end");
        }
        auto& result = coroutine_.promise().result;
        if (!result.has_value()) std::rethrow_exception(result.error());
        return result.value();
    }

private:
    friend promise_type;
    friend struct detail::GeneratorAccess;
    explicit AsyncGenerator(std::coroutine_handle<promise_type> coroutine) noexcept
        : coroutine_(coroutine) {}

    std::coroutine_handle<promise_type> coroutine_;
};

namespace detail {

template <class T, class R>
AsyncGenerator<T, R> AsyncGeneratorPromise<T, R>::get_return_object() noexcept {
    return AsyncGenerator<T, R>(std::coroutine_handle<AsyncGeneratorPromise>::from_promise(*this));
}

template <class T>
AsyncGenerator<T, void> AsyncGeneratorPromise<T, void>::get_return_object() noexcept {
    return AsyncGenerator<T, void>(
        std::coroutine_handle<AsyncGeneratorPromise>::from_promise(*this));
}

// How a run reaches a generator's frame.
struct GeneratorAccess {
    template <class T, class R>
    static std::coroutine_handle<AsyncGeneratorPromise<T, R>> handle(
        const AsyncGenerator<T, R>& generator) noexcept {
        return generator.coroutine_;
    }
    template <class T, class R>
    static std::coroutine_handle<AsyncGeneratorPromise<T, R>> release(
        AsyncGenerator<T, R>&& generator) noexcept {
        return std::exchange(generator.coroutine_, {});
    }
};

}  // namespace detail

}  // namespace grafo
