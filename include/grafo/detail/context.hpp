#pragma once
#include <coroutine>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <grafo/detail/link.hpp>
#include <grafo/errors.hpp>

// Who waits, who resumes whom, and how a wait is given up.
//
// A *context* is a chain of coroutines that await each other: a node's attempt, a spawned task, a
// branch of a combinator. Only its innermost coroutine can be waiting, in one *waiter*. Whoever
// ends the wait makes the waiter ready; the loop resumes it. To cancel a context is to ask its
// waiter to give up; to drop it is to destroy its outermost frame, at once where no code outside
// this library and nothing on the stack still uses it, else when that is over (`reap`).
namespace grafo::detail {

struct Waiter;
struct PromiseBase;

class Context {
public:
    enum Flag : unsigned char {
        cancelled = 1,  // asked to end, for good
        pending = 2,    // a request that no await has received yet
        dropped = 4,    // to be destroyed as soon as it is not busy
    };

    Context() noexcept = default;
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    // Asks the current await to throw Cancelled, or the next one that would suspend.
    void cancel() noexcept;
    // Something outside still uses the frames: they must not be destroyed now.
    [[nodiscard]] bool busy() const noexcept;
    // Nothing below is resumed any more.
    void freeze() noexcept;
    // This is about to be destroyed, and not busy: runs below let go of their nodes now, the
    // innermost first, so that none does inside the destruction of another's.
    void drop_below() noexcept;
    // Called when a dropped context may no longer be busy.
    virtual void reap() noexcept = 0;
    // The id of the node that it belongs to; empty where there is none.
    [[nodiscard]] virtual std::string_view label() const noexcept { return {}; }

    Waiter* waiter = nullptr;
    bool running = false;  // started and not yet ended
    unsigned char flags = 0;

protected:
    ~Context();
};

// What the loop runs next.
struct Job : Link {
    using Step = void (*)(Job&);
    explicit Job(Step s) noexcept : step(s) {}
    Step step;
};

// One suspended await of a coroutine; a member of its awaiter.
struct Waiter : Job {
    enum class Ask : unsigned char {
        cancel,  // give up: make yourself ready with `gave_up` set, or answer false
        busy,    // does anything outside use what is suspended here?
        freeze,  // pass `freeze` on to the contexts below
        drop,    // pass `drop_below` on to them
    };
    static constexpr std::size_t asks = 4;
    using Control = bool (*)(Waiter&, Ask);

    explicit Waiter(Control c) noexcept : Job(&Waiter::resume), control(c) {}
    ~Waiter() {
        if (context != nullptr && context->waiter == this) context->waiter = nullptr;
    }

    // Begins the wait. False if it must not begin, because a cancellation is due (await_resume then
    // throws), or because the coroutine is about to be destroyed (check `suspended()`).
    enum class Begin : unsigned char { wait, cancelled, dropped };
    template <class Promise>
    [[nodiscard]] Begin begin(std::coroutine_handle<Promise> coroutine) noexcept;

    void check() const {
        if (gave_up) throw Cancelled();
    }

    static void resume(Job& job);

    Control control;
    std::coroutine_handle<> handle;
    PromiseBase* promise = nullptr;  // of that coroutine; null if it is another library's
    Context* context = nullptr;
    bool gave_up = false;
};

// Names what waits, when nothing will ever come.
struct WaitList : Link {
    using Describe = void (*)(WaitList&, std::string& names);
    explicit WaitList(Describe d) noexcept : describe(d) {}
    Describe describe;
};

// Told on the loop's thread who has control of it: see watchdog.hpp.
class Monitor {
public:
    // The user's code is about to run; `label` is empty where it is no node's.
    virtual void enter(std::string_view label) noexcept = 0;
    // The loop is back.
    virtual void leave() noexcept = 0;

protected:
    ~Monitor() = default;
};

// What a coroutine reaches of the loop that runs it.
struct LoopCore {
    LinkList<Job> ready;
    std::coroutine_handle<> next;  // resumed as soon as the one that runs now is suspended
    unsigned depth = 0;            // of the coroutines that run in place
    static constexpr unsigned most_in_place = 16;  // so that no depth of awaits takes the stack

    void make_ready(Job& job) noexcept {
        job.unlink();
        ready.push_back(job);
    }
    // Resumes a coroutine, and what it hands over to, until all are suspended.
    void resume(std::coroutine_handle<> coroutine) {
        coroutine.resume();
        while (next) [[unlikely]]
            std::exchange(next, {}).resume();
    }

    // For an await_suspend: runs `to` in place. False if it came back to `from`, which then goes
    // on without having been suspended; else the loop, or whoever waits below, is the next to run.
    [[nodiscard]] bool hand_over(std::coroutine_handle<> to,
                                 std::coroutine_handle<> from) noexcept {
        if (depth == most_in_place) {
            next = to;
            return true;
        }
        ++depth;
        to.resume();
        --depth;
        if (next != from) return true;
        next = {};
        return false;
    }

    // Said wherever the loop gives control to the user's code, and where it gets it back.
    void enter(const Context* context) noexcept {
        if (monitor == nullptr) [[likely]]
            return;
        monitor->enter(context != nullptr ? context->label() : std::string_view());
    }
    void leave() noexcept {
        if (monitor != nullptr) monitor->leave();
    }

    Monitor* monitor = nullptr;  // normally none

    std::size_t out = 0;        // awaits that only another library or thread can end
    std::size_t holds = 0;      // those among them for which a virtual clock stands still
    std::size_t abandoned = 0;  // frames dropped, but still in use outside
    LinkList<WaitList> waiting;

    static inline constinit thread_local LoopCore* current = nullptr;
};

[[noreturn]] void throw_no_loop();

// A coroutine frame and its owner.
class OwnedFrame {
public:
    explicit OwnedFrame(std::coroutine_handle<> f) noexcept : frame_(f) {}
    OwnedFrame(const OwnedFrame&) = delete;
    OwnedFrame& operator=(const OwnedFrame&) = delete;
    ~OwnedFrame() { destroy(); }
    void destroy() noexcept {
        if (frame_) std::exchange(frame_, {}).destroy();
    }
    [[nodiscard]] std::coroutine_handle<> frame() const noexcept { return frame_; }

private:
    std::coroutine_handle<> frame_;
};

// Each promise of the library: its context, and whom to tell at its end. `done == nullptr` means:
// resume the coroutine at address `target`; without one, whoever resumed this one looks.
struct PromiseBase {
    using Done = void (*)(void* target) noexcept;

    std::suspend_always initial_suspend() const noexcept { return {}; }
    // Tells of the end; the coroutine is suspended after that.
    std::suspend_always final_suspend() const noexcept {
        if (target == nullptr) return {};
        if (done != nullptr) {
            done(target);
        } else {
            resume_target();
        }
        return {};
    }
    [[gnu::always_inline]] void resume_target() const noexcept {
        LoopCore::current->next = std::coroutine_handle<>::from_address(target);
    }
    [[gnu::always_inline]] void tell_end(Done whom, void* at) noexcept {
        done = whom;
        target = at;
    }
    // That coroutine goes on at the end; `holder` in its frame has this one's, if that is its own.
    template <class Promise>
    void awaited_by(std::coroutine_handle<Promise> awaiting, OwnedFrame* holder) noexcept;

    Context* context;  // set before it starts
    Done done;         // set where `target` is
    void* target = nullptr;
    PromiseBase* parent = nullptr;  // of the coroutine that awaits this one, if it is ours
    OwnedFrame* owner;  // set where `parent` is: in that coroutine's frame; null for a generator
};

// A coroutine of this library's, which only a loop resumes.
template <class Promise>
concept OwnPromise = requires(Promise& promise) { static_cast<PromiseBase&>(promise); };

// For the await_suspend of what needs a loop: a coroutine of another library may have none.
template <class Promise>
void require_loop() noexcept(OwnPromise<Promise>) {
    if constexpr (!OwnPromise<Promise>) {
        if (LoopCore::current == nullptr) throw_no_loop();
    }
}

template <class Promise>
[[nodiscard]] PromiseBase* promise_of(std::coroutine_handle<Promise> coroutine) noexcept {
    if constexpr (OwnPromise<Promise>) {
        return &coroutine.promise();
    } else {
        return nullptr;
    }
}

// The context of a coroutine of another library that awaits one of ours: nobody cancels it.
class ForeignContext final : public Context {
public:
    void reap() noexcept override {}
};

template <class Promise>
[[nodiscard]] Context& context_of(std::coroutine_handle<Promise> coroutine) noexcept {
    if constexpr (OwnPromise<Promise>) {
        return *coroutine.promise().context;
    } else {
        static thread_local ForeignContext foreign;
        return foreign;
    }
}

template <class Promise>
[[gnu::always_inline]] inline void PromiseBase::awaited_by(std::coroutine_handle<Promise> awaiting,
                                                           OwnedFrame* holder) noexcept {
    context = &context_of(awaiting);
    tell_end(nullptr, awaiting.address());
    parent = promise_of(awaiting);
    owner = holder;
}

// Destroys the frames of a suspended context from the innermost outwards, all but the outermost:
// as deep as they are nested, that takes no stack. A generator goes with the frame that reads it.
void unwind(Context& context) noexcept;

inline Context::~Context() {
    if (waiter != nullptr) waiter->context = nullptr;
}

inline bool Context::busy() const noexcept {
    if (!running) return false;
    return waiter == nullptr || waiter->control(*waiter, Waiter::Ask::busy);
}

template <class Promise>
Waiter::Begin Waiter::begin(std::coroutine_handle<Promise> coroutine) noexcept {
    handle = coroutine;
    promise = promise_of(coroutine);
    context = &context_of(coroutine);
    if (context->flags != 0) {
        if ((context->flags & Context::dropped) != 0) {
            context->waiter = this;
            LoopCore::current->make_ready(*this);
            return Begin::dropped;
        }
        if ((context->flags & Context::pending) != 0) {
            context->flags &= static_cast<unsigned char>(~Context::pending);
            gave_up = true;
            return Begin::cancelled;
        }
    }
    context->waiter = this;
    return Begin::wait;
}

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/context.hpp>
#endif
