#pragma once
#include <atomic>

#include <grafo/detail/condition_reactor.hpp>
#include <grafo/detail/context.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/shared.hpp>

namespace grafo::detail {

// A letter to the loop: delivered once, on the loop's thread. If the loop is gone it is dropped
// (`discard`), on the thread that posts or that destroyed the loop.
struct Mail {
    using Deliver = void (*)(Mail&);
    explicit Mail(Deliver d, Deliver undeliverable = nullptr) noexcept
        : deliver(d), discard(undeliverable) {}
    Mail(const Mail&) = delete;
    Mail& operator=(const Mail&) = delete;

    Deliver deliver;
    Deliver discard;
    Mail* next_mail = nullptr;
};

// The only thing of a loop that other threads touch; outlives the loop while someone may post.
class Mailbox : public SharedByThreads {
public:
    explicit Mailbox(Reactor& reactor) noexcept : reactor_(&reactor) {}
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;

    // The mailbox of the loop that runs on this thread.
    static const Shared<Mailbox>& current() noexcept { return *current_; }
    // Gives the former one.
    static const Shared<Mailbox>* set_current(const Shared<Mailbox>* mailbox) noexcept {
        const Shared<Mailbox>* const former = current_;
        current_ = mailbox;
        return former;
    }

    // Is its loop run by another thread now? Known in debug builds.
    [[nodiscard]] bool runs_elsewhere() const noexcept {
        const void* thread = run_by_.load(std::memory_order_relaxed);
        return thread != nullptr && thread != this_thread();
    }
    [[nodiscard]] bool runs() const noexcept {
        return run_by_.load(std::memory_order_relaxed) != nullptr;
    }
    // `what` says what only that loop's thread may do.
    void expect_here(const char* what) const noexcept {
        if constexpr (checks_misuse) refuse_misuse(runs_elsewhere(), what);
    }
    // Its loop has ended. On that loop's thread.
    [[nodiscard]] bool closed() const noexcept { return reactor_ == nullptr; }

    // Any thread.
    void post(Mail& mail) noexcept;

    // The loop's thread, from here on.
    [[nodiscard]] bool empty() const noexcept { return !filled_.load(std::memory_order_acquire); }

    void deliver();

    // Blocks until there is mail or `deadline` is reached.
    void wait(const Reactor::TimePoint* deadline);
    // From here on a post wakes the reactor. False if there is mail.
    [[nodiscard]] bool fall_asleep() noexcept;
    void wake_up() noexcept;

    void set_reactor(Reactor& reactor) noexcept;

    // The loop is about to end.
    void close() noexcept;

private:
    Mail* take() noexcept;

    template <bool Checked>
    friend class RunByThread;
    static const void* this_thread() noexcept { return &current_; }

    Mutex mutex_;
    Reactor* reactor_;
    std::atomic<const void*> run_by_{nullptr};  // a thread, by something that only it has
    Mail* first_ = nullptr;
    Mail** last_ = &first_;
    std::atomic<bool> filled_{false};
    bool sleeping_ = false;

    static inline constinit thread_local const Shared<Mailbox>* current_ = nullptr;
};

// While it lives, this thread runs the loop of that mailbox.
template <bool Checked>
class RunByThread {
public:
    explicit RunByThread(Mailbox& mailbox) noexcept : mailbox_(mailbox) {
        if constexpr (Checked) {
            before_ = mailbox_.run_by_.exchange(Mailbox::this_thread(), std::memory_order_relaxed);
            refuse_misuse(before_ != nullptr && before_ != Mailbox::this_thread(),
                          "an EventLoop was run while another thread runs it");
        }
    }
    RunByThread(const RunByThread&) = delete;
    RunByThread& operator=(const RunByThread&) = delete;
    ~RunByThread() {
        if constexpr (Checked) mailbox_.run_by_.store(before_, std::memory_order_relaxed);
    }

private:
    Mailbox& mailbox_;
    const void* before_ = nullptr;
};

// The loop that is current on this thread while it lives, also inside another one.
template <bool Checked = checks_misuse>
class CurrentLoop {
public:
    CurrentLoop(LoopCore& loop, const Shared<Mailbox>& mailbox) noexcept
        : run_by_(*mailbox), loop_(LoopCore::current), mailbox_(Mailbox::set_current(&mailbox)) {
        LoopCore::current = &loop;
    }
    CurrentLoop(const CurrentLoop&) = delete;
    CurrentLoop& operator=(const CurrentLoop&) = delete;
    ~CurrentLoop() {
        LoopCore::current = loop_;
        Mailbox::set_current(mailbox_);
    }

private:
    RunByThread<Checked> run_by_;
    LoopCore* loop_;
    const Shared<Mailbox>* mailbox_;
};

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/mailbox.hpp>
#endif
