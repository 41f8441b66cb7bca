#pragma once
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

#include <grafo/async_generator.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/event_loop.hpp>

namespace grafo {

/// A blocking input range over an `AsyncGenerator`, for a `main` that is no coroutine. Owns the
/// generator and, unless it was given one, the loop. Between two steps the loop stands still and
/// the thread is free; its destruction drops the generator and waits for what cannot be dropped at
/// once. That is the end of a run of the loop, as in `EventLoop::run`: what was spawned on it and
/// has not ended is cancelled, and what that throws then comes out of the loop's next `run`.
template <class T, class R = void>
class [[nodiscard]] Iterate {
public:
    class Iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using iterator_category = std::input_iterator_tag;
        using value_type = std::remove_cvref_t<T>;
        using difference_type = std::ptrdiff_t;
        using pointer = std::remove_reference_t<T>*;
        using reference = std::remove_reference_t<T>&;

        Iterator() noexcept = default;
        explicit Iterator(Iterate& range) : range_(&range) { ++*this; }

        reference operator*() const noexcept { return *operator->(); }
        pointer operator->() const noexcept {
            detail::refuse_misuse(item_ == nullptr,
                                  "an iterator of iterate() was dereferenced at the end");
            return item_;
        }
        Iterator& operator++() {
            detail::refuse_misuse(range_ == nullptr,
                                  "an iterator of no iterate() was moved to the next item");
            item_ = range_->step();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const Iterator& iterator, std::default_sentinel_t) noexcept {
            return iterator.item_ == nullptr;
        }

    private:
        Iterate* range_ = nullptr;
        pointer item_ = nullptr;
    };

    explicit Iterate(AsyncGenerator<T, R>&& generator)
        : own_loop_(new EventLoop),
          loop_(*own_loop_),
          mailbox_(detail::LoopAccess::mailbox(loop_)),
          generator_(std::move(generator)) {}
    Iterate(EventLoop& loop, AsyncGenerator<T, R>&& generator)
        : loop_(loop),
          mailbox_(detail::LoopAccess::mailbox(loop_)),
          generator_(std::move(generator)) {}
    Iterate(const Iterate&) = delete;
    Iterate& operator=(const Iterate&) = delete;
    ~Iterate() {
        expect_loop();
        if (mailbox_->closed()) return;  // nobody is there to wait for what the generator leaves
        detail::LoopAccess::finish(loop_, [this] { generator_ = AsyncGenerator<T, R>(); });
    }

    /// Runs the loop up to the first item. Call it once.
    [[nodiscard]] Iterator begin() { return Iterator(*this); }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    using Item = std::remove_reference_t<T>*;
    static Task<Item> next(AsyncGenerator<T, R>& generator) { co_return co_await generator.next(); }
    Item step() {
        expect_loop();
        return detail::LoopAccess::step(loop_, next(generator_));
    }
    void expect_loop() const noexcept {
        if constexpr (detail::checks_misuse) {
            detail::refuse_misuse(mailbox_->closed(), "an iterate() outlived its loop");
        }
    }

    detail::Owned<EventLoop> own_loop_;
    EventLoop& loop_;
    detail::Shared<detail::Mailbox> mailbox_;  // its, to see whether it is there still
    AsyncGenerator<T, R> generator_;
};

/// Iterates a generator from code that is no coroutine:
/// `for (const Event& e : iterate(executor.yielding()))`. Throws what the generator throws, and
/// `Error` inside a running loop of this thread.
template <class T, class R>
[[nodiscard]] Iterate<T, R> iterate(AsyncGenerator<T, R> generator) {
    return Iterate<T, R>(std::move(generator));
}

/// The same in a loop of the caller's, which must outlive the range: for `virtual_time`, say.
template <class T, class R>
[[nodiscard]] Iterate<T, R> iterate(EventLoop& loop, AsyncGenerator<T, R> generator) {
    return Iterate<T, R>(loop, std::move(generator));
}

}  // namespace grafo
