#pragma once
#include <cstdint>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/shared.hpp>

namespace grafo::detail {

// The shared state of a limit: what coroutines wait for, in turn. They may belong to different
// loops of a thread, of which one at most is running; nobody is woken into another loop than its
// own.
class WaitRoom : public SharedInThread {
public:
    WaitRoom() noexcept : id_(next_id()) {}
    WaitRoom(const WaitRoom&) = delete;
    WaitRoom& operator=(const WaitRoom&) = delete;

    // Unique and increasing; whoever needs several limits takes them in this order.
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

    virtual ~WaitRoom() {
        if constexpr (checks_misuse) set_user(nullptr);
    }
    // Lets those in whose turn it is.
    virtual void advance() noexcept = 0;

protected:
    // What uses it may do so on one thread only.
    void expect_one_thread() noexcept {
        if constexpr (checks_misuse) {
            if (user_ != nullptr) {
                user_->expect_here("a Semaphore or a RateLimiter is used by two threads");
            }
            if (LoopCore::current != nullptr) set_user(Mailbox::current().get());
        }
    }

    // Is it the loop of this mailbox that is running?
    [[nodiscard]] static bool running(const Shared<Mailbox>& home) noexcept {
        return LoopCore::current != nullptr && Mailbox::current() == home;
    }

    // Calls `advance` as soon as that loop runs. False if the loop is gone.
    [[nodiscard]] bool advance_in(const Shared<Mailbox>& home) noexcept;

private:
    struct Letter final : Mail {
        Letter(WaitRoom& r, Shared<Mailbox> h) noexcept
            : Mail(&Letter::arrive, &Letter::drop), room(&r), home(std::move(h)) {}
        static void arrive(Mail& mail);
        static void drop(Mail& mail);
        static Shared<WaitRoom> open(Mail& mail) noexcept;
        Shared<WaitRoom> room;
        Shared<Mailbox> home;
    };

    static std::uint64_t next_id() noexcept;

    void set_user(Mailbox* mailbox) noexcept;

    std::uint64_t id_;
    // Of the loop that used it last, and held. Noted in debug builds; no Shared, since the others
    // would have to look for it at the end.
    Mailbox* user_ = nullptr;
    Letter* letter_ = nullptr;  // the last one on its way
};

// What the nodes see of a limit's handle.
struct LimitAccess {
    template <class Limit>
    [[nodiscard]] static std::uint64_t id(const Limit& limit) noexcept {
        return limit.state_->id();
    }
    template <class Limit>
    [[nodiscard]] static const auto& state(const Limit& limit) noexcept {
        return limit.state_;
    }
};

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/wait_room.hpp>
#endif
