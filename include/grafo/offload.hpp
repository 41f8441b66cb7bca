#pragma once
#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/detail/context.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/result.hpp>
#include <grafo/event_loop.hpp>

namespace grafo {

/// Tells a function on a pool thread that its result is no longer wanted. Any thread may read it.
class StopFlag {
public:
    StopFlag() noexcept = default;
    StopFlag(const StopFlag&) = delete;
    StopFlag& operator=(const StopFlag&) = delete;

    /// True once the awaiting node or task was cancelled.
    [[nodiscard]] bool stop_requested() const noexcept {
        return stop_.load(std::memory_order_relaxed);
    }
    /// The same.
    [[nodiscard]] explicit operator bool() const noexcept { return stop_requested(); }

    // Set by the awaiter.
    void request_stop() noexcept { stop_.store(true, std::memory_order_relaxed); }

private:
    std::atomic<bool> stop_{false};
};

/// A few threads and one queue, for `offload`. Its destructor runs what is queued, then joins.
class ThreadPool {
public:
    /// Starts `threads` threads, at least one. Throws `std::system_error` if there are none to be
    /// had.
    explicit ThreadPool(std::size_t threads = std::thread::hardware_concurrency()) {
        threads_.reserve(threads > 0 ? threads : 1);
        try {
            for (std::size_t i = 0; i < threads_.capacity(); ++i) {
                threads_.emplace_back([this] { work(); });
            }
        } catch (...) {
            join();
            throw;
        }
    }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    ~ThreadPool() { join(); }

    /// Runs `fn` on one of the threads, first come first served. From any thread. `fn` must not
    /// throw. One allocation.
    template <class F>
    void enqueue(F&& fn) {
        auto job = std::make_unique<JobOf<std::decay_t<F>>>(std::forward<F>(fn));
        {
            const std::lock_guard lock(mutex_);
            jobs_.push_back(std::move(job));
        }
        filled_.notify_one();
    }
    /// How many threads it has.
    [[nodiscard]] std::size_t size() const noexcept { return threads_.size(); }

private:
    struct Job {
        Job() = default;
        Job(const Job&) = delete;
        Job& operator=(const Job&) = delete;
        virtual ~Job() = default;
        virtual void run() noexcept = 0;
    };
    template <class F>
    struct JobOf final : Job {
        explicit JobOf(F&& f) : fn(std::move(f)) {}
        explicit JobOf(const F& f) : fn(f) {}
        void run() noexcept override { fn(); }
        F fn;
    };

    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            filled_.wait(lock, [this] { return !jobs_.empty() || ending_; });
            if (jobs_.empty()) return;
            const std::unique_ptr<Job> job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job->run();
            lock.lock();
        }
    }
    void join() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        filled_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    std::mutex mutex_;
    std::condition_variable filled_;
    std::deque<std::unique_ptr<Job>> jobs_;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

namespace detail {

template <class Pool, class F>
void post_to(Pool& pool, F&& fn) {
    if constexpr (requires { pool.enqueue(std::forward<F>(fn)); }) {
        pool.enqueue(std::forward<F>(fn));
    } else if constexpr (requires { post(pool, std::forward<F>(fn)); }) {
        post(pool, std::forward<F>(fn));
    } else {
        static_assert(std::is_invocable_v<Pool&, F>,
                      "grafo: a pool is what post(pool, f), pool.enqueue(f) or pool(f) accepts");
        pool(std::forward<F>(fn));
    }
}

// Runs fn elsewhere while the coroutine is suspended. fn and its result live in the coroutine's
// frame, which therefore is never destroyed while fn runs.
template <class Pool, class F>
class OffloadAwaiter : Waiter, Mail {
    static constexpr bool takes_flag = std::is_invocable_v<F&, const StopFlag&>;
    static auto call_type() {
        if constexpr (takes_flag) {
            return std::type_identity<std::invoke_result_t<F&, const StopFlag&>>();
        } else {
            return std::type_identity<std::invoke_result_t<F&>>();
        }
    }
    using Made = typename decltype(call_type())::type;

public:
    OffloadAwaiter(Pool& pool, F&& fn)
        : Waiter(&OffloadAwaiter::on_ask),
          Mail(&OffloadAwaiter::on_done),
          pool_(pool),
          fn_(std::move(fn)) {}
    OffloadAwaiter(const OffloadAwaiter&) = delete;
    OffloadAwaiter& operator=(const OffloadAwaiter&) = delete;
    ~OffloadAwaiter() = default;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        set_out(true);
        try {
            post_to(pool_, [this, mailbox = Mailbox::current()] {
                work();
                mailbox->post(*this);  // from here on the loop may destroy the awaiter
            });
        } catch (...) {
            set_out(false);
            context->waiter = nullptr;
            throw;
        }
        return true;
    }
    Made await_resume() {
        check();
        if (context != nullptr && (context->flags & Context::pending) != 0 &&
            result_.error() == nullptr) {
            context->flags &= static_cast<unsigned char>(~Context::pending);
            throw Cancelled();
        }
        return result_.take();
    }

private:
    // On the pool's thread.
    void work() noexcept {
        if (stop_.stop_requested()) return;  // not wanted any more before it began
        try {
            if constexpr (takes_flag) {
                set_result([this]() -> Made { return fn_(std::as_const(stop_)); });
            } else {
                set_result([this]() -> Made { return fn_(); });
            }
        } catch (...) {
            result_.set_error(std::current_exception());
        }
    }
    template <class Call>
    void set_result(Call&& call) {
        if constexpr (std::is_void_v<Made>) {
            call();
            result_.set_value();
        } else {
            result_.set_value(call());
        }
    }

    static void on_done(Mail& mail) {
        auto& self = static_cast<OffloadAwaiter&>(mail);
        self.set_out(false);
        LoopCore::current->make_ready(self);
    }
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<OffloadAwaiter&>(waiter);
        if (ask == Ask::busy) return self.out_;
        self.stop_.request_stop();
        return false;
    }
    void set_out(bool out) noexcept {
        out_ = out;
        LoopCore::current->out += out ? 1 : std::size_t(-1);
        LoopCore::current->holds += out ? 1 : std::size_t(-1);
    }

    Pool& pool_;
    F fn_;
    StopFlag stop_;
    Result<Made> result_;
    bool out_ = false;
};

}  // namespace detail

/// What `offload` gives: to be awaited, once.
template <class Pool, class F>
class [[nodiscard("an offload does nothing until it is awaited")]] Offload {
public:
    Offload(Pool& pool, F&& fn) : pool_(pool), fn_(std::move(fn)) {}
    detail::OffloadAwaiter<Pool, F> operator co_await() && {
        return detail::OffloadAwaiter<Pool, F>(pool_, std::move(fn_));
    }

    using grafo_awaitable = void;

private:
    Pool& pool_;
    F fn_;
};

/// Runs `fn` on a thread of `pool` and resumes on the loop with its result, or rethrows what it
/// threw. Always waits for `fn`, so that it may refer to the caller's variables (`[&]`): a
/// cancellation or a timeout is delivered when it returns; a `fn` that takes a `const StopFlag&`
/// may end early. `fn` and its result are destroyed on the loop's thread. The pool is what
/// `pool.enqueue(f)`, `post(pool, f)` or `pool(f)` accepts, and must live that long; a virtual
/// clock stands still meanwhile.
template <class Pool, class F>
Offload<Pool, std::decay_t<F>> offload(Pool& pool, F&& fn) {
    static_assert(std::is_invocable_v<std::decay_t<F>&> ||
                      std::is_invocable_v<std::decay_t<F>&, const StopFlag&>,
                  "grafo: offload runs a function that takes nothing or a const StopFlag&");
    return Offload<Pool, std::decay_t<F>>(pool, std::decay_t<F>(std::forward<F>(fn)));
}

}  // namespace grafo
