#pragma once
#include <atomic>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/frame_pool.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/when_used.hpp>

// Awaits of other libraries. Their awaiters get the handle of a small coroutine of ours, which
// posts to the loop; the loop then resumes the user's coroutine. Such an await can be resumed from
// any thread, at once, later or, if its handle is destroyed, never; it cannot be cancelled.
namespace grafo::detail {

template <class A>
concept Awaiter = requires(A& awaiter) {
    { awaiter.await_ready() };
    awaiter.await_resume();
};

template <class A>
concept MemberCoAwait =
    requires(A&& awaitable) { static_cast<A&&>(awaitable).operator co_await(); };

template <class A>
concept FreeCoAwait = requires(A&& awaitable) { operator co_await(static_cast<A&&>(awaitable)); };

template <class A>
concept Awaitable = MemberCoAwait<A> || FreeCoAwait<A> || Awaiter<std::remove_reference_t<A>>;

template <class A>
decltype(auto) get_awaiter(A&& awaitable) {
    if constexpr (MemberCoAwait<A>) {
        return static_cast<A&&>(awaitable).operator co_await();
    } else if constexpr (FreeCoAwait<A>) {
        return operator co_await(static_cast<A&&>(awaitable));
    } else {
        return static_cast<A&&>(awaitable);
    }
}

// What `co_await` of it gives.
template <class A>
using await_result_t = decltype(get_awaiter(std::declval<A>()).await_resume());

// Types whose awaiters know our promises, contexts and loop.
template <class A>
concept LibraryAwaitable = requires { typename std::remove_cvref_t<A>::grafo_awaitable; };

// The wait behind a foreign await: knows the loop's mailbox, and whether the other side still has
// the handle.
struct ForeignWait : Waiter, Mail {
    ForeignWait() : Waiter(&ForeignWait::on_ask), Mail(&ForeignWait::deliver) {}

    // The side that the foreign awaiter's handle holds. Resumed or destroyed, it tells the loop
    // once; after that the wait may be gone.
    class Signal {
    public:
        Signal() : mailbox_(Mailbox::current()) {}
        Signal(Signal&& other) noexcept
            : wait_(std::exchange(other.wait_, nullptr)), mailbox_(std::move(other.mailbox_)) {}
        Signal& operator=(Signal&&) = delete;
        ~Signal() {
            if (wait_ == nullptr) return;
            wait_->lost = true;
            fire();
        }
        void fire() noexcept {
            Mail& mail = *std::exchange(wait_, nullptr);
            mailbox_->post(mail);
        }
        // Not before it is in its frame, which may fail to be allocated.
        void arm(ForeignWait& wait) noexcept { wait_ = &wait; }
        void disarm() noexcept { wait_ = nullptr; }

    private:
        ForeignWait* wait_ = nullptr;
        Shared<Mailbox> mailbox_;
    };

    struct Bridge {
        struct promise_type : PooledFrame {
            explicit promise_type(Signal& s) noexcept : signal(&s) {}
            Bridge get_return_object() noexcept {
                return Bridge{std::coroutine_handle<promise_type>::from_promise(*this)};
            }
            std::suspend_always initial_suspend() noexcept { return {}; }
            std::suspend_never final_suspend() noexcept { return {}; }
            void return_void() noexcept {}
            void unhandled_exception() noexcept { std::terminate(); }
            Signal* signal;  // the frame's own copy
        };
        explicit Bridge(std::coroutine_handle<promise_type> h) noexcept : handle(h) {}
        // The foreign side never got the handle, or gave it back at once.
        void discard() {
            handle.promise().signal->disarm();
            handle.destroy();
        }
        std::coroutine_handle<promise_type> handle;
    };
    template <class = WhenUsed>
    static Bridge make_bridge(Signal signal) {
        signal.fire();
        co_return;
    }

    static bool on_ask(Waiter& waiter, Ask ask) {
        return ask == Ask::busy && static_cast<ForeignWait&>(waiter).out;
    }
    // On the loop's thread: the other side has let go.
    static void deliver(Mail& mail) {
        auto& wait = static_cast<ForeignWait&>(mail);
        wait.set_out(false);
        if (wait.lost) {
            if (wait.context != nullptr && (wait.context->flags & Context::dropped) != 0) {
                wait.context->reap();
            }
            return;
        }
        LoopCore::current->make_ready(wait);
    }
    void set_out(bool is_out) noexcept {
        out = is_out;
        LoopCore::current->out += is_out ? 1 : std::size_t(-1);
    }
    // After the end of a foreign await a cancellation that came meanwhile is delivered.
    void check_after() {
        if (context != nullptr && (context->flags & Context::pending) != 0) {
            context->flags &= static_cast<unsigned char>(~Context::pending);
            throw Cancelled();
        }
    }

    bool out = false;
    bool lost = false;
};

template <class A>
class ForeignAwaiter : ForeignWait {
    using Inner = decltype(get_awaiter(std::declval<A>()));

public:
    explicit ForeignAwaiter(A&& awaitable) : inner_(get_awaiter(std::forward<A>(awaitable))) {}
    ForeignAwaiter(const ForeignAwaiter&) = delete;
    ForeignAwaiter& operator=(const ForeignAwaiter&) = delete;
    ~ForeignAwaiter() = default;

    bool await_ready() { return static_cast<bool>(inner_.await_ready()); }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        Bridge bridge = make_bridge(Signal());
        bridge.handle.promise().signal->arm(*this);
        set_out(true);
        try {
            using Result = decltype(inner_.await_suspend(bridge.handle));
            if constexpr (std::is_void_v<Result>) {
                inner_.await_suspend(bridge.handle);
            } else if constexpr (std::is_same_v<Result, bool>) {
                if (!inner_.await_suspend(bridge.handle)) {
                    end_now(bridge);
                    return false;
                }
            } else {
                // Symmetric transfer into the other library: one level deep, whatever it does
                // there.
                std::coroutine_handle<> other = inner_.await_suspend(bridge.handle);
                other.resume();
            }
        } catch (...) {
            end_now(bridge);
            throw;
        }
        return true;
    }

    decltype(auto) await_resume() {
        check();
        check_after();
        return inner_.await_resume();
    }

private:
    void end_now(Bridge& bridge) {
        bridge.discard();
        set_out(false);
        context->waiter = nullptr;
    }

    Inner inner_;
};

// `std::suspend_always` inside a task: nothing resumes it but a cancellation.
class NeverAwaiter : Waiter {
public:
    NeverAwaiter() noexcept : Waiter(&NeverAwaiter::on_ask) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) noexcept {
        return begin(coroutine) != Begin::cancelled;
    }
    void await_resume() const { check(); }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        if (ask != Ask::cancel || waiter.gave_up) return false;
        waiter.gave_up = true;
        LoopCore::current->make_ready(waiter);
        return true;
    }
};

// The await_transform of every promise of the library.
struct AwaitTransform {
    template <LibraryAwaitable A>
    static A&& await_transform(A&& awaitable) noexcept {
        return static_cast<A&&>(awaitable);
    }
    template <Awaitable A>
        requires(!LibraryAwaitable<A>)
    static ForeignAwaiter<A> await_transform(A&& awaitable) {
        return ForeignAwaiter<A>(std::forward<A>(awaitable));
    }
    static NeverAwaiter await_transform(std::suspend_always) noexcept { return NeverAwaiter(); }
    static std::suspend_never await_transform(std::suspend_never n) noexcept { return n; }
};

}  // namespace grafo::detail
