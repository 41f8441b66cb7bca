#pragma once
#include <chrono>
#include <coroutine>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/detached.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/timer_heap.hpp>
#include <grafo/detail/when_used.hpp>
#include <grafo/errors.hpp>
#include <grafo/reactor.hpp>
#include <grafo/task.hpp>

namespace grafo {

namespace detail {
class LoopDriver;
}

/// Selects the clock of an `EventLoop` that skips idle time: `EventLoop loop{virtual_time};`.
struct VirtualTime {
    constexpr explicit VirtualTime() noexcept {}
};
inline constexpr VirtualTime virtual_time{};

/// A single-threaded loop that resumes coroutines: the ready ones in the order they became ready,
/// those whose time has come, what other threads posted; asleep in the kernel in between.
/// One running loop a thread. Everything of a loop belongs to the thread that runs it, but `post`.
/// Neither copied nor moved; outlives what runs in it.
class EventLoop : detail::LoopCore {
public:
    /// The clock of timers and of `now()`; in virtual time its points count from zero.
    using Clock = std::chrono::steady_clock;
    using TimePoint = Clock::time_point;

    /// A loop in real time.
    EventLoop() : EventLoop(nullptr, false) {}
    /// A loop whose clock jumps to the next timer whenever nothing is ready; deterministic.
    explicit EventLoop(VirtualTime) : EventLoop(nullptr, true) {}
    /// A loop that sleeps in `reactor`, which must outlive it.
    explicit EventLoop(Reactor& reactor) : EventLoop(&reactor, false) {}
    /// A loop in virtual time that sleeps in `reactor`, which must outlive it: while an operation
    /// is out the clock stands still.
    EventLoop(VirtualTime, Reactor& reactor) : EventLoop(&reactor, true) {}
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    /// Destroys what was spawned and never run, and what was posted and never delivered. Not while
    /// it runs.
    ~EventLoop();

    /// Runs the task, and what is spawned meanwhile, and gives the task's result or rethrows.
    /// When the task is done, spawned tasks are cancelled and awaited. An exception of a spawned
    /// task or a posted function cancels the task and is thrown instead of its result. Throws
    /// `Error` inside a running loop of this thread, and `DeadlockError` when nothing can ever
    /// resume the task (it is cancelled first, so that it can clean up).
    template <class T>
    T run(Task<T> task) {
        const Running running(*this);
        const Remains remains(*this);
        if (!task) throw_empty("EventLoop::run");
        detail::Root<T> root(std::move(task));
        drive(root);
        finish();
        return result(root);
    }

    /// Starts a task that nobody awaits, at the end of the ready list; the loop owns it until it
    /// ends. An exception other than `Cancelled` ends `run` with it. Costs a recycled allocation.
    template <class T>
    void spawn(Task<T> task) {
        mailbox_->expect_here("EventLoop::spawn was called on another thread than the loop's");
        if (!task) throw_empty("EventLoop::spawn");
        auto* spawned = new SpawnedTask<T>(*this, std::move(task));
        spawned_.push_back(*spawned);
        make_ready(*spawned);
        if (finishing_) spawned->cancel();
    }

    /// Calls `fn` on the loop's thread, soon. From any thread, while the loop lives; one
    /// allocation. What is posted to a loop that does not run is called by its next `run`; an
    /// exception ends `run` with it.
    template <class F>
    void post(F&& fn) {
        static_cast<void>(detail::not_null(fn, "EventLoop::post"));
        mailbox_->post(*new Posted<std::decay_t<F>>(*this, std::forward<F>(fn)));
    }

    /// The time by this loop's clock: a clock read, or in virtual time the point of the last jump.
    [[nodiscard]] TimePoint now() const noexcept { return virtual_ ? now_ : Clock::now(); }

    /// The loop that runs on this thread; throws `Error` where there is none.
    [[nodiscard]] static EventLoop& current() {
        if (LoopCore::current == nullptr) detail::throw_no_loop();
        return static_cast<EventLoop&>(*LoopCore::current);
    }

private:
    friend struct detail::LoopAccess;
    friend class detail::LoopDriver;

    EventLoop(Reactor* reactor, bool is_virtual);

    // The loop; throws where another one of this thread runs.
    static LoopCore& may_run(EventLoop& loop);

    // While it lives, this is the loop of this thread, on which none runs else.
    template <bool Checked>
    class RunningLoop {
    public:
        explicit RunningLoop(EventLoop& loop) : current_(may_run(loop), loop.mailbox_) {}

    private:
        detail::CurrentLoop<Checked> current_;
    };
    using Running = RunningLoop<detail::checks_misuse>;

    // Waits for what only the end of the task's own frame left behind: its parameters, a stream
    // among them, say, live until then.
    class Remains {
    public:
        explicit Remains(EventLoop& loop) noexcept : loop_(loop) {}
        Remains(const Remains&) = delete;
        Remains& operator=(const Remains&) = delete;
        ~Remains() {
            if (loop_.abandoned > 0 || !loop_.spawned_.empty()) loop_.finish();
        }

    private:
        EventLoop& loop_;
    };

    // A task of `spawn`; deletes itself at its end.
    class Spawned : public detail::Detached, public detail::Registered, public detail::PooledFrame {
    public:
        Spawned(EventLoop& loop, std::coroutine_handle<> coroutine, detail::PromiseBase& promise)
            : Detached(coroutine, promise), loop_(loop) {}
        virtual ~Spawned() = default;

    protected:
        EventLoop& loop_;
    };

    template <class T>
    class SpawnedTask final : public Spawned {
    public:
        SpawnedTask(EventLoop& loop, Task<T>&& task)
            : Spawned(loop, detail::TaskAccess::handle(task),
                      detail::TaskAccess::handle(task).promise()),
              task_(std::move(task)) {}

    private:
        void destroy_frame() noexcept override { task_ = Task<T>(); }
        void ended() noexcept override {
            if (task_) this->loop_.fail(detail::TaskAccess::handle(task_).promise().result.error());
            delete this;
        }
        Task<T> task_;
    };

    template <class F>
    struct Posted final : detail::Mail {
        template <class G>
        Posted(EventLoop& l, G&& g)
            : Mail(&Posted::call, &Posted::drop), loop(l), fn(std::forward<G>(g)) {}
        static void call(Mail& mail) {
            const detail::Owned<Posted> self(&static_cast<Posted&>(mail));
            self->loop.enter(nullptr);
            try {
                self->fn();
            } catch (...) {
                self->loop.fail(std::current_exception());
            }
        }
        static void drop(Mail& mail) { delete &static_cast<Posted&>(mail); }
        EventLoop& loop;
        F fn;
    };

    [[noreturn]] static void throw_empty(const char* where);

    template <class T>
    T result(detail::Root<T>& root) {
        if (std::exception_ptr error = std::exchange(error_, nullptr); error != nullptr) {
            std::rethrow_exception(error);
        }
        return root.result().take();
    }

    // Until the task is done.
    template <class = detail::WhenUsed>
    void drive(detail::Detached& root);

    // Until nothing that was started is left.
    template <class = detail::WhenUsed>
    void finish();

    // One round: what is ready, posted and due by now.
    void turn();

    void fire_timers(TimePoint now);

    // Nothing is ready: sleeps, or jumps, until something may be. False if nothing ever will.
    bool idle();

    void cancel_spawned();

    // A spawned task or a posted function threw.
    void fail(std::exception_ptr error);

    std::string deadlock_message();

    detail::ConditionReactor own_reactor_;
    detail::Owned<Reactor> instead_;  // of the own one, from the first descriptor watched on
    Reactor* reactor_;
    detail::Shared<detail::Mailbox> mailbox_;
    detail::TimerHeap timers_;
    detail::LinkList<detail::Registered> spawned_;
    detail::Detached* root_ = nullptr;
    std::exception_ptr error_;
    TimePoint now_{};
    bool virtual_;
    bool finishing_ = false;  // the task is done: what is spawned now is cancelled at once
};

/// Runs the task in a fresh `EventLoop` on this thread, and gives its result or rethrows.
template <class T>
T run(Task<T> task) {
    EventLoop loop;
    return loop.run(std::move(task));
}

namespace detail {

// What the awaiters, the runs and `iterate` use of a loop.
struct LoopAccess {
    static TimerHeap& timers(EventLoop& loop) noexcept { return loop.timers_; }
    static LoopCore& core(EventLoop& loop) noexcept { return loop; }
    static const Shared<Mailbox>& mailbox(EventLoop& loop) noexcept { return loop.mailbox_; }
    static Reactor& reactor(EventLoop& loop) noexcept { return *loop.reactor_; }
    // Not in one that the user has chosen.
    static bool sleeps_in_own(EventLoop& loop) noexcept {
        return loop.reactor_ == &loop.own_reactor_;
    }
    // In the place of its own, on the loop's thread.
    static void sleep_in(EventLoop& loop, Owned<Reactor> reactor) noexcept {
        loop.mailbox_->set_reactor(*reactor);
        loop.reactor_ = reactor.get();
        loop.instead_ = std::move(reactor);
    }
    // One task to its end; what it started goes on in the next step.
    template <class T>
    static T step(EventLoop& loop, Task<T> task) {
        const EventLoop::Running running(loop);
        Root<T> root(std::move(task));
        loop.drive(root);
        return loop.result(root);
    }
    // Calls fn inside the loop, then waits for what it left behind.
    template <class F>
    static void finish(EventLoop& loop, F&& fn) {
        if (LoopCore::current != nullptr) {  // it was refused to run in here: nothing to wait for
            fn();
            return;
        }
        const EventLoop::Running running(loop);
        fn();
        loop.finish();
    }
};

}  // namespace detail

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/event_loop.hpp>
#endif
