#pragma once
#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/detail/context.hpp>
#include <grafo/detail/handle.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/pool_capture.hpp>
#include <grafo/detail/result.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>

namespace grafo {

/// Tells a function on a pool thread that its result is no longer wanted. Any thread may read it.
class StopFlag {
public:
    StopFlag() noexcept = default;
    StopFlag(const StopFlag&) = delete;
    StopFlag& operator=(const StopFlag&) = delete;

    /// True once the awaiting node or task was cancelled, timed out or dropped.
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
        if (threads == 0) threads = 1;
        threads_.reserve(threads);
        try {
            for (std::size_t i = 0; i < threads; ++i) {
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
        static_cast<void>(detail::not_null(fn, "ThreadPool::enqueue"));
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
            std::unique_ptr<Job> job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job->run();
            job.reset();  // what it held may enqueue something in its destructor
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
        static_cast<void>(pool.enqueue(std::forward<F>(fn)));
    } else if constexpr (requires { post(pool, std::forward<F>(fn)); }) {
        static_cast<void>(post(pool, std::forward<F>(fn)));
    } else {
        static_assert(std::is_invocable_v<Pool&, F>,
                      "grafo: a pool is what post(pool, f), pool.enqueue(f) or pool(f) accepts");
        static_cast<void>(pool(std::forward<F>(fn)));
    }
}

// What is done on a pool's thread, and then told to the loop as a letter.
struct PoolWork : Mail {
    using Work = void (*)(PoolWork&) noexcept;
    PoolWork(Work w, Deliver deliverer, Deliver undeliverable) noexcept
        : Mail(deliverer, undeliverable), work(w) {}
    Work work;
    bool lost = false;  // the pool let it go and never ran it
};

// What a pool is given: copyable and callable as const, since some pools need that. A pool that
// destroys it uncalled, because it was stopped say, tells the loop as well: nobody waits for ever.
class PoolCall {
public:
    explicit PoolCall(PoolWork& work) : ticket_(std::make_shared<Ticket>(work)) {}
    void operator()() const noexcept { ticket_->call(); }
    // The pool threw. False if it has called the work nevertheless, so that a letter will come.
    [[nodiscard]] bool revoke() noexcept { return ticket_->take() != nullptr; }

private:
    class Ticket {
    public:
        explicit Ticket(PoolWork& work) noexcept : mailbox_(Mailbox::current()), work_(&work) {}
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;
        ~Ticket() {
            if (PoolWork* work = take(); work != nullptr) {
                work->lost = true;
                mailbox_->post(*work);
            }
        }
        PoolWork* take() noexcept { return work_.exchange(nullptr, std::memory_order_acq_rel); }
        void call() noexcept {
            PoolWork* work = take();
            if (work == nullptr) return;
            work->work(*work);
            mailbox_->post(*work);  // from here on the loop may destroy it
        }

    private:
        Shared<Mailbox> mailbox_;
        std::atomic<PoolWork*> work_;
    };

    std::shared_ptr<Ticket> ticket_;
};

// What fn gives; `Refused` if it cannot be called as it should be.
struct Refused {};
template <class F>
struct OffloadTraits {
    static constexpr bool takes_flag = std::is_invocable_v<F&, const StopFlag&>;
    static constexpr bool callable = takes_flag || std::is_invocable_v<F&>;
    static auto type() {
        if constexpr (takes_flag) {
            return std::type_identity<std::invoke_result_t<F&, const StopFlag&>>();
        } else if constexpr (callable) {
            return std::type_identity<std::invoke_result_t<F&>>();
        } else {
            return std::type_identity<Refused>();
        }
    }
    using Made = typename decltype(type())::type;
};

template <class F>
inline constexpr bool is_reference_wrapper = false;
template <class T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = true;

template <class Given>
constexpr void check_offload() {
    using F = std::decay_t<Given>;
    using Made = typename OffloadTraits<F>::Made;
    static_assert(std::is_constructible_v<F, Given> && std::is_move_constructible_v<F>,
                  "grafo: offload moves its function to where a pool can call it: it must be "
                  "movable, and copyable or given by std::move");
    static_assert(OffloadTraits<F>::callable,
                  "grafo: offload runs a function that takes nothing or a const StopFlag&");
    static_assert(!LibraryAwaitable<Made>,
                  "grafo: offload runs a plain function: a coroutine would begin on the loop's "
                  "thread, not on the pool's");
    static_assert(!NodeHandle<Made>,
                  "grafo: nodes are made on the loop's thread, not on a pool's: let the function "
                  "give what the node is made from");
}

template <class Given>
constexpr void check_owning() {
    using F = std::decay_t<Given>;
    static_assert(!is_reference_wrapper<F>,
                  "grafo: offload_detached takes only what it owns: its function outlives the "
                  "caller, so it cannot be a std::reference_wrapper");
    static_assert(!std::is_reference_v<typename OffloadTraits<F>::Made>,
                  "grafo: offload_detached gives a value: what a reference refers to could be gone "
                  "with the function");
}

// A function, its flag and its result: used on the pool's thread between the call and the letter,
// else on the loop's.
template <class F>
class Offloaded : public PoolWork {
public:
    using Made = typename OffloadTraits<F>::Made;

    Offloaded(F&& fn, Mail::Deliver deliverer, Mail::Deliver undeliverable)
        : PoolWork(&Offloaded::run, deliverer, undeliverable), fn_(move_for_pool(fn, &fn_)) {}

    void request_stop() noexcept { stop_.request_stop(); }

    // For the await_resume of the one that waited.
    Made take(const Waiter& waiter) {
        waiter.check();
        Context* context = waiter.context;
        // An error of fn goes before a cancellation that came meanwhile; a result does not.
        if (context != nullptr && (context->flags & Context::pending) != 0 &&
            (cancelled_ || result_.error() == nullptr)) {
            context->flags &= static_cast<unsigned char>(~Context::pending);
            throw Cancelled();
        }
        if (lost) {
            throw Error(
                "offload: the pool dropped the function before it ran: it was stopped or "
                "destroyed too early");
        }
        if (result_.error() == nullptr && !result_.has_value()) throw Cancelled();
        return result_.take();
    }

private:
    static void run(PoolWork& work) noexcept {
        auto& self = static_cast<Offloaded&>(work);
        if (self.stop_.stop_requested()) return;  // not wanted any more before it began
        try {
            self.call();
        } catch (const Cancelled&) {
            self.cancelled_ = true;
            self.result_.set_error(std::current_exception());
        } catch (...) {
            self.result_.set_error(std::current_exception());
        }
    }
    void call() {
        if constexpr (std::is_void_v<Made>) {
            invoke();
            result_.set_value();
        } else {
            result_.set_value(invoke());
        }
    }
    Made invoke() {
        if constexpr (OffloadTraits<F>::takes_flag) {
            return fn_(std::as_const(stop_));
        } else {
            return fn_();
        }
    }

    F fn_;
    StopFlag stop_;
    bool cancelled_ = false;  // fn itself threw Cancelled
    Result<Made> result_;
};

// Waits for fn, which lives with its result in the coroutine's frame: that is never destroyed while
// fn runs.
template <class Pool, class F>
class OffloadAwaiter : Waiter, Offloaded<F> {
    using Work = Offloaded<F>;

public:
    OffloadAwaiter(Pool& pool, F&& fn)
        : Waiter(&OffloadAwaiter::on_ask),
          Work(std::move(fn), &OffloadAwaiter::on_done, nullptr),
          pool_(pool) {}
    OffloadAwaiter(const OffloadAwaiter&) = delete;
    OffloadAwaiter& operator=(const OffloadAwaiter&) = delete;
    ~OffloadAwaiter() = default;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        static_cast<void>(EventLoop::current());  // throws if there is none
        PoolCall call(*this);
        const Begin begun = begin(coroutine);
        if (begun != Begin::wait) {
            static_cast<void>(call.revoke());
            return begun == Begin::dropped;
        }
        set_out(true);
        try {
            post_to(pool_, PoolCall(call));
        } catch (...) {
            if (!call.revoke()) return true;
            set_out(false);
            context->waiter = nullptr;
            throw;
        }
        return true;
    }
    typename Work::Made await_resume() { return this->take(*this); }

private:
    static void on_done(Mail& mail) {
        auto& self = static_cast<OffloadAwaiter&>(static_cast<Work&>(mail));
        self.set_out(false);
        LoopCore::current->make_ready(self);
    }
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<OffloadAwaiter&>(waiter);
        if (ask == Ask::busy) return self.out_;
        self.request_stop();
        return false;
    }
    void set_out(bool out) noexcept {
        out_ = out;
        LoopCore::current->out += out ? 1 : std::size_t(-1);
        LoopCore::current->holds += out ? 1 : std::size_t(-1);
    }

    Pool& pool_;
    bool out_ = false;
};

// A function that may outlive the coroutine that awaits it: a block with two owners, the awaiter
// and the letter that the pool will send. All but `run` and the last release of a block whose loop
// is gone is on the loop's thread.
template <class F>
class DetachedWork final : public Offloaded<F> {
public:
    explicit DetachedWork(F&& fn)
        : Offloaded<F>(std::move(fn), &DetachedWork::on_done, &DetachedWork::on_discard) {}

    // The awaiter's side. Before the pool gets the call:
    void begin(Waiter& waiter) noexcept {
        mailbox_ = Mailbox::current();
        waiter_ = &waiter;
        owners_.store(2, std::memory_order_relaxed);
        count(1);
    }
    // There will be no letter: the pool did not take the call.
    void never_begun() noexcept {
        waiter_ = nullptr;
        owners_.store(1, std::memory_order_relaxed);
        count(std::size_t(-1));
    }
    [[nodiscard]] bool awaited() const noexcept { return waiter_ != nullptr; }
    // The awaiter lets go, whether fn has ended or not.
    void leave() noexcept {
        if (std::exchange(waiter_, nullptr) != nullptr) {
            this->request_stop();
            // On another loop or none, the letter's delivery will do that, if the loop lives.
            if (LoopCore::current != nullptr && Mailbox::current() == mailbox_) {
                count(std::size_t(-1));
            }
        }
        release();
    }

private:
    static void on_done(Mail& mail) {
        auto& self = static_cast<DetachedWork&>(mail);
        if (self.counted_) self.count(std::size_t(-1));
        if (Waiter* waiter = std::exchange(self.waiter_, nullptr); waiter != nullptr) {
            LoopCore::current->make_ready(*waiter);
        }
        self.release();
    }
    static void on_discard(Mail& mail) { static_cast<DetachedWork&>(mail).release(); }
    void release() noexcept {
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    void count(std::size_t change) noexcept {
        counted_ = change == 1;
        LoopCore::current->out += change;
        LoopCore::current->holds += change;
    }

    Shared<Mailbox> mailbox_;   // of the loop
    Waiter* waiter_ = nullptr;  // while fn is out and somebody waits for it
    bool counted_ = false;      // keeps the loop waiting, and a virtual clock still
    std::atomic<int> owners_{1};
};

// The awaiter's ownership of such a block.
template <class F>
class DetachedOwner {
public:
    explicit DetachedOwner(DetachedWork<F>* work) noexcept : work_(work) {}
    DetachedOwner(DetachedOwner&& other) noexcept : work_(std::exchange(other.work_, nullptr)) {}
    DetachedOwner& operator=(DetachedOwner&&) = delete;
    ~DetachedOwner() { leave(); }
    void leave() noexcept {
        if (work_ != nullptr) std::exchange(work_, nullptr)->leave();
    }
    [[nodiscard]] bool empty() const noexcept { return work_ == nullptr; }
    DetachedWork<F>* operator->() const noexcept { return work_; }
    DetachedWork<F>& operator*() const noexcept { return *work_; }

private:
    DetachedWork<F>* work_;
};

// Waits for fn until it has ended or the coroutine gives up.
template <class Pool, class F>
class DetachedAwaiter : Waiter {
public:
    DetachedAwaiter(Pool& pool, DetachedOwner<F>&& work) noexcept
        : Waiter(&DetachedAwaiter::on_ask), pool_(pool), work_(std::move(work)) {}
    DetachedAwaiter(const DetachedAwaiter&) = delete;
    DetachedAwaiter& operator=(const DetachedAwaiter&) = delete;
    ~DetachedAwaiter() = default;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        static_cast<void>(EventLoop::current());  // throws if there is none
        if (work_.empty()) throw Error("an offload_detached was awaited that was moved from");
        PoolCall call(*work_);
        const Begin begun = begin(coroutine);
        if (begun != Begin::wait) {
            static_cast<void>(call.revoke());
            return begun == Begin::dropped;
        }
        work_->begin(*this);
        try {
            post_to(pool_, PoolCall(call));
        } catch (...) {
            if (!call.revoke()) return true;
            work_->never_begun();
            context->waiter = nullptr;
            throw;
        }
        return true;
    }
    typename OffloadTraits<F>::Made await_resume() {
        check();
        return work_->take(*this);
    }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<DetachedAwaiter&>(waiter);
        if (ask != Ask::cancel || self.work_.empty() || !self.work_->awaited()) return false;
        self.work_.leave();
        self.gave_up = true;
        LoopCore::current->make_ready(self);
        return true;
    }

    Pool& pool_;
    DetachedOwner<F> work_;
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

/// What `offload_detached` gives: to be awaited, once.
template <class Pool, class F>
class [[nodiscard("an offload does nothing until it is awaited")]] OffloadDetached {
public:
    OffloadDetached(Pool& pool, F&& fn)
        : pool_(pool), work_(new detail::DetachedWork<F>(std::move(fn))) {}
    detail::DetachedAwaiter<Pool, F> operator co_await() && {
        return detail::DetachedAwaiter<Pool, F>(pool_, std::move(work_));
    }

    using grafo_awaitable = void;

private:
    Pool& pool_;
    detail::DetachedOwner<F> work_;
};

/// Runs `fn` on a thread of `pool` and resumes on the loop with its result, or rethrows what it
/// threw. Always waits for `fn`, so that it may refer to the caller's variables (`[&]`): a
/// cancellation or a timeout is delivered when it returns; a `fn` that takes a `const StopFlag&`
/// may end early, and one that has not begun by then is not called any more. What `fn` throws goes
/// before a cancellation. Throws what the pool throws when it is given the work, and `Error` if the
/// pool drops it unrun, because it was stopped say.
/// `fn` and its result are destroyed on the loop's thread; `fn` must not hold node handles
/// (reported in debug builds). The pool is what `pool.enqueue(f)`, `post(pool, f)` or `pool(f)`
/// accepts, and must live that long; a virtual clock stands still meanwhile. One small allocation
/// beside the pool's own.
template <class Pool, class F>
Offload<Pool, std::decay_t<F>> offload(Pool& pool, F&& fn) {
    detail::check_offload<F>();
    static_cast<void>(detail::not_null(fn, "offload"));
    return Offload<Pool, std::decay_t<F>>(pool, std::decay_t<F>(std::forward<F>(fn)));
}

/// The same, but a cancelled, timed out or dropped coroutine gives up at once: the await throws
/// `Cancelled`, or its frame goes, while `fn` goes on and its result is thrown away. So `fn` takes
/// only what it owns: no references, no pointers to what the coroutine holds. A `const StopFlag&`
/// that it takes is set when the coroutine gives up; a `fn` that has not begun by then is not
/// called any more.
/// Abandoned work keeps neither `EventLoop::run` nor a virtual clock waiting; `fn` and its result
/// are then destroyed on the loop's thread the next time it turns, at the latest when it is
/// destroyed, and on the pool's thread if the loop is gone by then. The pool must outlive the
/// await. Throws as `offload` does. Two small allocations beside the pool's own.
template <class Pool, class F>
OffloadDetached<Pool, std::decay_t<F>> offload_detached(Pool& pool, F&& fn) {
    detail::check_offload<F>();
    detail::check_owning<F>();
    static_cast<void>(detail::not_null(fn, "offload_detached"));
    return OffloadDetached<Pool, std::decay_t<F>>(pool, std::decay_t<F>(std::forward<F>(fn)));
}

}  // namespace grafo
