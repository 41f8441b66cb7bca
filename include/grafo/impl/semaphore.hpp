#pragma once
#include <cstddef>
#include <string>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/semaphore.hpp>

namespace grafo::detail {

GRAFO_INLINE SemaphoreState::SemaphoreState(std::size_t capacity)
    : capacity_(capacity), available_(capacity) {}

GRAFO_INLINE bool SemaphoreState::take(std::size_t weight) noexcept {
    expect_one_thread();
    if (!queue_.empty()) advance();  // those whose loop is gone do not count
    if (!queue_.empty() || weight > available_) return false;
    available_ -= weight;
    return true;
}

GRAFO_INLINE void SemaphoreState::give_back(std::size_t weight) noexcept {
    expect_one_thread();
    available_ += weight;
    advance();
}

GRAFO_INLINE void SemaphoreState::enter(SemaphoreWaiter& waiter) noexcept {
    queue_.push_back(waiter);
    ++waiting_;
    waiter.place = SemaphoreWaiter::Place::queued;
    advance();
}

GRAFO_INLINE void SemaphoreState::leave(SemaphoreWaiter& waiter) noexcept {
    using Place = SemaphoreWaiter::Place;
    switch (std::exchange(waiter.place, Place::outside)) {
        case Place::outside: break;
        case Place::queued:
            unqueue(waiter);
            advance();
            break;
        case Place::granted: give_back(waiter.weight); break;
    }
}

GRAFO_INLINE void SemaphoreState::advance() noexcept {
    while (!queue_.empty()) {
        SemaphoreWaiter& first = queue_.front();
        if (running(first.home)) {
            if (first.weight > available_) return;
            unqueue(first);
            available_ -= first.weight;
            first.place = SemaphoreWaiter::Place::granted;
            LoopCore::current->make_ready(first);
        } else if (advance_in(first.home)) {
            return;
        } else {  // its loop is gone: it will never go on, and must not hold up the others
            unqueue(first);
            first.place = SemaphoreWaiter::Place::outside;
        }
    }
}

}  // namespace grafo::detail

namespace grafo {

GRAFO_INLINE std::size_t Semaphore::checked(std::size_t weight) const {
    if (weight == 0 || weight > capacity()) {
        throw Error("a weight of " + std::to_string(weight) +
                    " was asked of a Semaphore, which gives 1 to " + std::to_string(capacity()) +
                    ", its capacity");
    }
    return weight;
}

GRAFO_INLINE void Semaphore::Guard::release() noexcept {
    const detail::Shared<State> state = std::exchange(state_, nullptr);
    if (state != nullptr) state->give_back(std::exchange(weight_, 0));
}

GRAFO_INLINE bool Semaphore::Awaiter::on_ask(Waiter& waiter, Ask ask) {
    auto& self = static_cast<Awaiter&>(waiter);
    if (ask == Ask::busy || self.place == Place::outside) return false;
    self.state_->leave(self);
    if (ask != Ask::cancel) return false;
    self.gave_up = true;
    detail::LoopCore::current->make_ready(self);
    return true;
}

}  // namespace grafo
