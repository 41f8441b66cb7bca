#pragma once
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <grafo/event_loop.hpp>

namespace grafo::detail {

// A loop that never blocks: whoever has a loop of his own calls `turn` whenever the reactor is
// woken, what it gave is due, or some of its own handlers have run. Its tasks are those spawned in
// it; from outside `loop().post()` them there.
class LoopDriver {
public:
    // What there is to wait for after a round.
    struct Next {
        bool ready = false;  // nothing: another round, as soon as others had their turn
        bool idle = false;   // nothing is left: until something is posted
        std::optional<EventLoop::TimePoint> deadline;
        std::exception_ptr error;  // of a spawned task or a posted function
    };

    explicit LoopDriver(Reactor& reactor) : loop_(reactor) {
        static_cast<void>(loop_.mailbox_->fall_asleep());  // so that the first post is heard
    }

    [[nodiscard]] EventLoop& loop() noexcept { return loop_; }

    // One round. May be called inside a loop of another's that runs on this thread.
    [[nodiscard]] Next turn() {
        const CurrentLoop<> entered(loop_, loop_.mailbox_);
        loop_.mailbox_->wake_up();
        loop_.turn();
        Next next;
        next.error = std::exchange(loop_.error_, nullptr);
        next.ready = !loop_.ready.empty() || !loop_.mailbox_->fall_asleep();
        next.idle = loop_.spawned_.empty() && loop_.out == 0 && loop_.abandoned == 0;
        if (!loop_.timers_.empty()) next.deadline = loop_.timers_.first();
        return next;
    }

    // For good: drops all tasks, destructors only, and blocks until no other thread works for them.
    // `cut_off` makes ready what waits for an event that will not come any more. What another
    // library still holds then, and will never give back, is leaked.
    template <class CutOff>
    void drop(CutOff&& cut_off) {
        const CurrentLoop<> entered(loop_, loop_.mailbox_);
        loop_.mailbox_->set_reactor(loop_.own_reactor_);
        loop_.mailbox_->wake_up();
        loop_.spawned_.for_each([](Registered& registered) { spawned(registered).freeze(); });
        cut_off();
        for (;;) {
            loop_.spawned_.for_each([](Registered& registered) {
                spawned(registered).freeze();
                spawned(registered).reap();
            });
            if (!loop_.ready.empty() || !loop_.mailbox_->empty()) {
                loop_.turn();
            } else if (loop_.holds > 0) {
                loop_.mailbox_->wait(nullptr);
            } else {
                break;
            }
        }
        loop_.spawned_.for_each([](Registered& registered) { registered.unlink(); });
        loop_.error_ = nullptr;
    }

private:
    static EventLoop::Spawned& spawned(Registered& registered) noexcept {
        return static_cast<EventLoop::Spawned&>(registered);
    }

    EventLoop loop_;
};

}  // namespace grafo::detail
