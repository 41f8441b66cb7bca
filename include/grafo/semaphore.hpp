#pragma once
#include <coroutine>
#include <cstddef>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/wait_room.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>

namespace grafo {

namespace detail {

// Waits in the semaphore's queue, then with its permit in the loop's ready list.
struct SemaphoreWaiter : Waiter {
    enum class Place : unsigned char { outside, queued, granted };
    SemaphoreWaiter(Control c, std::size_t w) noexcept : Waiter(c), weight(w) {}

    std::size_t weight;
    Shared<Mailbox> home;  // of its loop
    Place place = Place::outside;
};

class SemaphoreState final : public WaitRoom {
public:
    explicit SemaphoreState(std::size_t capacity);

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::size_t available() const noexcept { return available_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

    [[nodiscard]] bool take(std::size_t weight) noexcept;
    void give_back(std::size_t weight) noexcept;

    void enter(SemaphoreWaiter& waiter) noexcept;
    // Out of the queue, or out with the permit that it has not taken along.
    void leave(SemaphoreWaiter& waiter) noexcept;

    GRAFO_INLINE void advance() noexcept override;

private:
    void unqueue(SemaphoreWaiter& waiter) noexcept {
        waiter.unlink();
        --waiting_;
    }

    std::size_t capacity_;
    std::size_t available_;
    std::size_t waiting_ = 0;
    LinkList<SemaphoreWaiter> queue_;
};

}  // namespace detail

/// Lets at most `capacity` into what it guards: `auto guard = co_await semaphore.acquire();`.
/// A cheap handle: copies mean the same semaphore, which lives while a handle, a guard or a waiter
/// does. Strictly first come, first served: nobody overtakes one that waits for a greater weight.
/// Belongs to one thread; tasks of several loops of that thread may share it.
class Semaphore {
    using State = detail::SemaphoreState;

public:
    /// What was acquired; returns it when it is destroyed, also where no loop runs. Move-only.
    class [[nodiscard("a Guard that is not kept returns at once what was acquired")]] Guard {
    public:
        /// An empty guard.
        Guard() noexcept {}
        Guard(Guard&& other) noexcept
            : state_(std::move(other.state_)), weight_(std::exchange(other.weight_, 0)) {}
        /// Returns what it held.
        Guard& operator=(Guard&& other) noexcept {
            Guard taken(std::move(other));
            std::swap(state_, taken.state_);
            std::swap(weight_, taken.weight_);
            return *this;
        }
        ~Guard() { release(); }

        /// True while it holds something: not if default-constructed, released or moved from.
        [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

        /// Returns what was acquired now; the guard is empty then. Those whose turn it is become
        /// ready in their loop: nobody is resumed in here.
        void release() noexcept;

    private:
        friend class Semaphore;
        Guard(detail::Shared<State> state, std::size_t weight) noexcept
            : state_(std::move(state)), weight_(weight) {}

        detail::Shared<State> state_;
        std::size_t weight_ = 0;
    };

    class Awaiter : detail::SemaphoreWaiter {
    public:
        Awaiter(detail::Shared<State> state, std::size_t amount) noexcept
            : SemaphoreWaiter(&Awaiter::on_ask, amount), state_(std::move(state)) {}
        ~Awaiter() {
            if (state_ != nullptr) state_->leave(*this);
        }

        bool await_ready() noexcept {
            if (!state_->take(weight)) return false;
            place = Place::granted;
            return true;
        }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> coroutine) {
            EventLoop& loop = EventLoop::current();
            switch (begin(coroutine)) {
                case Begin::cancelled: return false;
                case Begin::dropped: return true;
                case Begin::wait: break;
            }
            home = detail::LoopAccess::mailbox(loop);
            state_->enter(*this);
            return true;
        }
        Guard await_resume() {
            check();
            place = Place::outside;
            return Guard(std::move(state_), weight);
        }

    private:
        static bool on_ask(Waiter& waiter, Ask ask);

        detail::Shared<State> state_;
    };

    /// What `acquire` gives: to be awaited, once or several times. Copyable.
    class [[nodiscard("an acquire does nothing until it is awaited")]] Acquire {
    public:
        Acquire(detail::Shared<State> state, std::size_t weight) noexcept
            : state_(std::move(state)), weight_(weight) {}
        Awaiter operator co_await() const noexcept { return Awaiter(state_, weight_); }

        using grafo_awaitable = void;

    private:
        detail::Shared<State> state_;
        std::size_t weight_;
    };

    /// A semaphore of which `capacity` is available; throws `Error` if that is 0. One allocation.
    explicit Semaphore(std::size_t capacity) : state_(new State(capacity)) {
        if (capacity == 0) throw Error("a Semaphore needs a capacity of 1 or more, not 0");
    }
    // No moves: a handle is never empty.
    Semaphore(const Semaphore&) noexcept = default;
    Semaphore& operator=(const Semaphore&) noexcept = default;
    ~Semaphore() = default;

    /// Awaited, waits until `weight` is available and all that came before have been served, and
    /// gives the guard that holds it; does not suspend where that is so now.
    /// Throws `Error` for a weight of 0 or above the capacity; the await throws `Cancelled` when
    /// its context is cancelled. No allocation.
    [[nodiscard("an acquire does nothing until it is awaited")]] Acquire acquire(
        std::size_t weight = 1) const {
        return Acquire(state_, checked(weight));
    }

    /// Takes `weight` if it is available now and nobody waits; else the guard is empty. Throws
    /// `Error` for a weight of 0 or above the capacity.
    [[nodiscard("a Guard that is not kept returns at once what was acquired")]] Guard try_acquire(
        std::size_t weight = 1) const {
        if (!state_->take(checked(weight))) return Guard();
        return Guard(state_, weight);
    }

    /// What is not held by guards, nor on its way to those whose turn has come.
    [[nodiscard]] std::size_t available() const noexcept { return state_->available(); }
    /// What the semaphore was made with.
    [[nodiscard]] std::size_t capacity() const noexcept { return state_->capacity(); }
    /// How many wait for their turn.
    [[nodiscard]] std::size_t waiting() const noexcept { return state_->waiting(); }

    /// True for handles of the same semaphore.
    friend bool operator==(const Semaphore&, const Semaphore&) noexcept = default;

private:
    friend struct detail::LimitAccess;

    std::size_t checked(std::size_t weight) const;

    detail::Shared<State> state_;
};

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/semaphore.hpp>
#endif
