#pragma once
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/event_loop.hpp>

namespace grafo::detail {

GRAFO_INLINE TimerHeap::~TimerHeap() {
    for (const Entry& entry : entries_) {
        if (Timer* timer = places_[entry.place].timer; timer != nullptr) timer->heap = nullptr;
    }
}

GRAFO_INLINE void TimerHeap::reserve_one() {
    if (entries_.size() < entries_.capacity()) return;
    const std::size_t ample = entries_.size() * 2 + 16;
    places_.reserve(ample);
    entries_.reserve(ample);
}

GRAFO_INLINE void TimerHeap::insert(Timer& timer, TimePoint at) {
    if (free_ == none) {
        timer.place = static_cast<std::uint32_t>(places_.size());
        places_.push_back(Place{&timer});
    } else {
        timer.place = free_;
        free_ = std::exchange(places_[free_], Place{&timer}).next_free;
    }
    timer.heap = this;
    entries_.push_back(Entry{at, ++inserted_, timer.place});
    rise(entries_.size() - 1);
}

GRAFO_INLINE void TimerHeap::remove(Timer& timer) noexcept {
    timer.heap = nullptr;
    places_[timer.place].timer = nullptr;
    ++dead_;
    if (entries_[0].place == timer.place) {
        drop_dead();
    } else if (dead_ > 32 && dead_ > entries_.size() / 2) {
        sweep();
    }
}

GRAFO_INLINE Timer& TimerHeap::pop() noexcept {
    Timer& timer = *places_[entries_[0].place].timer;
    timer.heap = nullptr;
    drop_first();
    drop_dead();
    return timer;
}

GRAFO_INLINE void TimerHeap::drop_first() noexcept {
    free_place(entries_[0].place);
    const Entry last = entries_.back();
    entries_.pop_back();
    if (!entries_.empty()) sink(0, last);
}

GRAFO_INLINE void TimerHeap::drop_dead() noexcept {
    while (dead_ > 0 && places_[entries_[0].place].timer == nullptr) {
        --dead_;
        drop_first();
    }
}

GRAFO_INLINE void TimerHeap::sweep() noexcept {
    std::size_t kept = 0;
    for (const Entry& entry : entries_) {
        if (places_[entry.place].timer == nullptr) {
            free_place(entry.place);
        } else {
            entries_[kept++] = entry;
        }
    }
    while (entries_.size() > kept) entries_.pop_back();
    dead_ = 0;
    for (std::size_t i = (kept + 2) / 4; i-- > 0;) sink(i, entries_[i]);
}

GRAFO_INLINE void TimerHeap::rise(std::size_t position) noexcept {
    const Entry entry = entries_[position];
    while (position > 0 && before(entry, entries_[(position - 1) / 4])) {
        entries_[position] = entries_[(position - 1) / 4];
        position = (position - 1) / 4;
    }
    entries_[position] = entry;
}

GRAFO_INLINE void TimerHeap::sink(std::size_t position, const Entry entry) noexcept {
    const std::size_t size = entries_.size();
    for (;;) {
        const std::size_t first = position * 4 + 1;
        if (first >= size) break;
        std::size_t least = first;
        for (std::size_t i = first + 1; i < size && i < first + 4; ++i) {
            if (before(entries_[i], entries_[least])) least = i;
        }
        if (!before(entries_[least], entry)) break;
        entries_[position] = entries_[least];
        position = least;
    }
    entries_[position] = entry;
}

GRAFO_INLINE void Timer::leave() noexcept {
    if (heap != nullptr) heap->remove(*this);
}

GRAFO_INLINE Detached::Detached(std::coroutine_handle<> coroutine, PromiseBase& promise) noexcept
    : Job(&Detached::advance), coroutine_(coroutine) {
    promise.context = this;
    promise.tell_end(&Detached::on_done, this);
}

GRAFO_INLINE void Detached::finish() noexcept {
    unlink();
    running = false;
    done_ = true;
    ended();
}

GRAFO_INLINE void Detached::reap() noexcept {
    if (!busy()) end();
}

GRAFO_INLINE void Detached::advance(Job& job) {
    auto& self = static_cast<Detached&>(job);
    if (!self.running) {
        self.running = true;
        LoopCore::current->enter(&self);
        LoopCore::current->resume(self.coroutine_);
    } else {
        self.finish();
    }
}

GRAFO_INLINE void Detached::on_done(void* target) noexcept {
    auto& self = *static_cast<Detached*>(target);
    self.at_end_ = true;
    LoopCore::current->make_ready(self);
}

GRAFO_INLINE void Detached::end() noexcept {
    unlink();
    running = false;
    done_ = true;
    unwind(*this);
    destroy_frame();
    ended();
}

}  // namespace grafo::detail

namespace grafo {

GRAFO_INLINE EventLoop::EventLoop(Reactor* reactor, bool is_virtual)
    : reactor_(reactor != nullptr ? reactor : &own_reactor_),
      mailbox_(new detail::Mailbox(*reactor_)),
      virtual_(is_virtual) {}

GRAFO_INLINE EventLoop::~EventLoop() {
    if constexpr (detail::checks_misuse) {
        detail::refuse_misuse(mailbox_->runs(), "an EventLoop was destroyed while it runs");
    }
    while (!spawned_.empty()) {
        auto& spawned = static_cast<Spawned&>(spawned_.front());
        spawned.detail::Registered::unlink();
        spawned.drop_for_good();
    }
    mailbox_->close();
}

GRAFO_INLINE detail::LoopCore& EventLoop::may_run(EventLoop& loop) {
    if (LoopCore::current != nullptr) {
        throw Error(
            "a loop was run inside a running loop of this thread: co_await the task instead, or "
            "spawn it");
    }
    return loop;
}

GRAFO_INLINE void EventLoop::throw_empty(const char* where) {
    throw Error(std::string(where) + " was given an empty Task: it was moved from");
}

template <class>
void EventLoop::drive(detail::Detached& root) {
    root_ = &root;
    ready.push_front(root);  // the reader of a stream, say, before what the stream comes from
    bool tried_cancelling = false;
    for (;;) {
        turn();
        if (root.at_end()) root.finish();
        if (root.done()) break;
        if (!ready.empty() || idle()) continue;
        if (!tried_cancelling) {
            tried_cancelling = true;
            if (error_ == nullptr) {
                error_ = std::make_exception_ptr(DeadlockError(deadlock_message()));
            }
            root.cancel();
            cancel_spawned();
        } else {
            root.drop_for_good();
        }
    }
    root_ = nullptr;
}

template <class>
void EventLoop::finish() {
    finishing_ = true;
    cancel_spawned();
    for (;;) {
        turn();
        if (spawned_.empty() && abandoned == 0) break;
        if (!ready.empty() || idle()) continue;
        spawned_.for_each([](detail::Registered& r) { static_cast<Spawned&>(r).drop_for_good(); });
        abandoned = 0;
    }
    finishing_ = false;
}

GRAFO_INLINE void EventLoop::turn() {
    detail::LinkList<detail::Job> batch;
    batch.splice_back(ready);
    while (!batch.empty()) {
        detail::Job& job = batch.front();
        job.unlink();
        job.step(job);
        leave();
        if (root_ != nullptr && root_->at_end()) break;
    }
    if (!batch.empty()) {  // the rest keeps its place before what became ready meanwhile
        batch.splice_back(ready);
        ready.splice_back(batch);
    }
    if (!mailbox_->empty()) {
        mailbox_->deliver();
        leave();
    }
    if (reactor_ != &own_reactor_) reactor_->poll();
    if (!virtual_ && !timers_.empty()) fire_timers(Clock::now());
}

GRAFO_INLINE void EventLoop::fire_timers(TimePoint now) {
    while (!timers_.empty() && timers_.first() <= now) make_ready(timers_.pop());
}

GRAFO_INLINE bool EventLoop::idle() {
    if (!mailbox_->empty()) return true;
    const bool must_wait = holds > 0 || reactor_->busy();
    if (virtual_ && !timers_.empty() && !must_wait) {
        now_ = timers_.first();
        fire_timers(now_);
        return true;
    }
    if (!virtual_ && !timers_.empty()) {
        const TimePoint deadline = timers_.first();
        mailbox_->wait(&deadline);
        return true;
    }
    if (must_wait || out > 0) {
        mailbox_->wait(nullptr);
        return true;
    }
    return false;
}

GRAFO_INLINE void EventLoop::cancel_spawned() {
    spawned_.for_each([](detail::Registered& r) { static_cast<Spawned&>(r).cancel(); });
}

GRAFO_INLINE void EventLoop::fail(std::exception_ptr error) {
    if (error == nullptr || error_ != nullptr) return;
    try {
        std::rethrow_exception(error);
    } catch (const Cancelled&) {
        return;
    } catch (...) {
        error_ = std::move(error);
    }
    if (root_ != nullptr) root_->cancel();
}

GRAFO_INLINE std::string EventLoop::deadlock_message() {
    std::string names;
    waiting.for_each([&](detail::WaitList& list) { list.describe(list, names); });
    return "deadlock: nothing is ready, timed or out on other threads, but " +
           (names.empty() ? std::string("the task waits") : "these nodes wait: " + names);
}

}  // namespace grafo
