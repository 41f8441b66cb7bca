#pragma once
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/async_generator.hpp>
#include <grafo/detail/branches.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/signature.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/task.hpp>

namespace grafo {

namespace detail {

// The items that a function is at work on. Lives on the heap: while its generator is suspended at a
// co_yield nobody waits for the branches, and one that something outside still uses then outlives
// the generator, with the function and the item.
template <class F, class X, class Y>
class MapSet final : public BranchSet {
public:
    MapSet(std::shared_ptr<F> fn, std::vector<X>&& items, std::size_t in_flight)
        : fn_(std::move(fn)),
          items_(std::move(items)),
          size_(in_flight < items_.size() ? in_flight : items_.size()),
          branches_(new TaskBranch<Y>[size_]),
          item_of_(size_) {
        free_.reserve(size_);
        for (std::size_t i = 0; i < size_; ++i) {
            add(branches_[i]);
            free_.push_back(size_ - 1 - i);
        }
    }

    // The generator is gone.
    void drop() noexcept {
        unlink();
        if (context != nullptr && context->waiter == this) context->waiter = nullptr;
        context = nullptr;
        dropped_ = true;
        for (std::size_t i = 0; i < size_; ++i) {
            if (branches_[i].busy()) {
                branches_[i].freeze();
                ++kept_;
            } else {
                destroy(branches_[i]);
            }
        }
        if (kept_ == 0) {
            delete this;
        } else {
            ++core_->abandoned;
        }
    }

    // Lets the function begin with as many more items as may be in flight.
    void fill() {
        core_ = &LoopAccess::core(EventLoop::current());
        while (!free_.empty() && begun_ < items_.size() && !closed_) {
            const std::size_t place = free_.back();
            try {
                branches_[place].adopt(call(begun_));
            } catch (...) {
                close(std::current_exception());
                return;
            }
            free_.pop_back();
            item_of_[place] = begun_++;
            queue(*core_, branches_[place]);
        }
    }

    // Nothing more begins and what runs is asked to end.
    void close(std::exception_ptr error) noexcept {
        if (closed_) return;
        closed_ = true;
        error_ = std::move(error);
        cancel_branches();
    }

    [[nodiscard]] std::size_t item_count() const noexcept { return items_.size(); }

    // An item that has ended and was not taken yet.
    [[nodiscard]] bool has_ended() const noexcept { return !ended_.empty(); }
    // The value of the first of those goes to results[i]; gives i.
    std::size_t take(std::vector<std::optional<Y>>& results) {
        auto& branch = static_cast<TaskBranch<Y>&>(ended_.front());
        const auto place = static_cast<std::size_t>(&branch - branches_.get());
        const std::size_t item = item_of_[place];
        results[item].emplace(branch.result().take());
        destroy(branch);
        free_.push_back(place);
        return item;
    }
    // The generator was cancelled at a co_yield.
    void cancel_from_inside() noexcept {
        cancelled_ = true;
        closed_ = true;
        while (!ended_.empty()) ended_.front().unlink();  // nobody reads them any more
        cancel_branches();
    }
    // What ended it before its end.
    void throw_if_closed() const {
        if (cancelled_) throw Cancelled();
        if (error_ != nullptr) std::rethrow_exception(error_);
    }

    [[nodiscard]] std::string_view label() const noexcept override { return label_; }

    // Suspends the generator until there is something to take, or nothing more to wait for.
    class Wait {
    public:
        explicit Wait(MapSet& set) noexcept : set_(set) {}
        bool await_ready() const noexcept { return set_.is_over() || set_.has_ended(); }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> coroutine) {
            return set_.wait(coroutine);
        }
        void await_resume() const noexcept {
            set_.context = nullptr;  // the next item may be asked for in another one
        }
        using grafo_awaitable = void;

    private:
        MapSet& set_;
    };

private:
    // Deletes itself.
    ~MapSet() = default;

    [[nodiscard]] bool is_over() const noexcept { return left_ == 0; }

    Task<Y> call(std::size_t i) {
        using Param = type_at_t<0, typename Signature<F>::Params>;
        using Made = typename Signature<F>::Result;
        if constexpr (is_task<Made>) {
            return (*fn_)(static_cast<argument_t<Param>>(items_[i]));
        } else if constexpr (AwaitableResult<Made>) {
            return AwaitAsTask<Y, Made>::make((*fn_)(static_cast<argument_t<Param>>(items_[i])));
        } else {
            return call_as_task(*fn_, items_, i);
        }
    }
    template <class Param>
    using argument_t = std::conditional_t<std::is_reference_v<Param>, const X&, X&&>;

    static Task<Y> call_as_task(F& fn, std::vector<X>& items, std::size_t i) {
        using Param = type_at_t<0, typename Signature<F>::Params>;
        co_return fn(static_cast<argument_t<Param>>(items[i]));
    }

    template <class Promise>
    bool wait(std::coroutine_handle<Promise> coroutine) {
        const Begin begun = begin(coroutine);
        if (label_.empty()) label_ = context->label();
        if (begun == Begin::dropped) {
            freeze_branches();
            return true;
        }
        if (begun == Begin::cancelled) {
            gave_up = false;
            cancel_from_inside();
            if (is_over()) return false;
            context->waiter = this;
        }
        return true;
    }
    void on_cancel() noexcept override { closed_ = true; }
    void ended(Branch& branch, bool failed) noexcept override {
        --left_;
        if (failed) {
            close(branch.error());
        } else if (!closed_) {
            ended_.push_back(branch);
        }
        const bool waits = context != nullptr && context->waiter == this;
        if (waits && (is_over() || has_ended())) hand_over();
    }
    void reap(Branch& branch) noexcept override {
        if (!dropped_) {
            BranchSet::reap(branch);
            return;
        }
        destroy(branch);
        if (--kept_ > 0) return;
        --core_->abandoned;
        delete this;
    }

    std::shared_ptr<F> fn_;
    std::vector<X> items_;
    std::size_t size_;
    std::unique_ptr<TaskBranch<Y>[]> branches_;
    std::vector<std::size_t> item_of_;  // the item that a branch works on
    std::vector<std::size_t> free_;     // branches without one
    LinkList<Job> ended_;
    std::size_t begun_ = 0;
    std::size_t kept_ = 0;  // busy branches of a dropped set
    bool closed_ = false;   // after an error or a cancellation
    bool dropped_ = false;
    std::exception_ptr error_;
    std::string label_;
    LoopCore* core_ = nullptr;
};

// The set in the frame of its generator.
template <class F, class X, class Y>
class MapHolder {
    using Set = MapSet<F, X, Y>;

public:
    MapHolder(std::shared_ptr<F> fn, std::vector<X>&& items, std::size_t in_flight)
        : set_(new Set(std::move(fn), std::move(items), in_flight)) {}
    MapHolder(const MapHolder&) = delete;
    MapHolder& operator=(const MapHolder&) = delete;
    ~MapHolder() { set_->drop(); }
    Set& operator*() const noexcept { return *set_; }

    static AsyncGenerator<Y, std::vector<Y>> generate(std::shared_ptr<F> fn, std::vector<X> items,
                                                      std::size_t in_flight) {
        const MapHolder holder(std::move(fn), std::move(items), in_flight);
        Set& set = *holder;
        std::vector<std::optional<Y>> results(set.item_count());
        for (;;) {
            set.fill();
            co_await typename Set::Wait(set);
            if (!set.has_ended()) break;
            const std::size_t item = set.take(results);
            set.fill();  // goes on while the reader is at work
            bool cancelled = false;
            try {
                co_yield *results[item];
            } catch (const Cancelled&) {
                cancelled = true;
            }
            if (cancelled) set.cancel_from_inside();
        }
        set.throw_if_closed();
        std::vector<Y> all;
        all.reserve(results.size());
        for (std::optional<Y>& result : results) all.push_back(std::move(*result));
        co_return all;
    }

private:
    Set* set_;
};

// What map_each makes of a function; a sentence for what it cannot use.
template <class F>
struct MapTypes {
    static constexpr bool has_one_parameter = [] {
        if constexpr (Signature<F>::visible) {
            return !Signature<F>::is_member && Signature<F>::Params::size == 1;
        } else {
            return false;
        }
    }();
    static_assert(has_one_parameter,
                  "grafo: map_each needs a function of one parameter whose type can be seen: no "
                  "generic lambda, no overloaded operator(), no member function");
    static constexpr bool usable = false;
    using X = int;
    using Y = int;
};
template <class F>
    requires(Signature<F>::visible && !Signature<F>::is_member && Signature<F>::Params::size == 1)
struct MapTypes<F> {
    using Param = type_at_t<0, typename Signature<F>::Params>;
    using Result = typename Signature<F>::Result;
    using Made = std::conditional_t<AwaitableResult<Result>, branch_result_t<Result>, Result>;

    static constexpr bool takes_item =
        ParamTraits<Param>::accepted && !std::is_same_v<Param, const bool&>;
    static_assert(ParamTraits<Param>::accepted,
                  "grafo: map_each needs a function that takes its item by value or as const U&");
    static_assert(!std::is_same_v<Param, const bool&>,
                  "grafo: map_each needs a function that takes a bool by value");
    static constexpr bool is_generator = ResultTraits<Result>::kind == BodyKind::generator;
    static_assert(!is_generator,
                  "grafo: map_each needs a function that gives one value, not a generator");
    static_assert(!std::is_void_v<Made>,
                  "grafo: map_each needs a function that gives a value, not void");
    static_assert(!std::is_reference_v<Made>,
                  "grafo: map_each needs a function that gives a value, not a reference");
    static constexpr bool usable =
        takes_item && !is_generator && !std::is_void_v<Made> && !std::is_reference_v<Made>;
    using X = std::conditional_t<takes_item, std::remove_cvref_t<Param>, int>;
    using Y = std::conditional_t<usable, std::remove_cv_t<Made>, int>;
};

}  // namespace detail

/// What `map_each` gives: a callable that turns a vector of items into a generator of what the
/// function makes of each. Copies share the function, which lives as long as one of them or a
/// generator that came from it.
template <class F>
class MapEach {
    using Types = detail::MapTypes<F>;
    using X = typename Types::X;
    using Y = typename Types::Y;

public:
    // Made by map_each.
    explicit MapEach(F fn, std::size_t in_flight)
        : fn_(std::make_shared<F>(std::move(fn))), in_flight_(in_flight) {}
    // No moves: a callable is never without its function.
    MapEach(const MapEach&) noexcept = default;
    MapEach& operator=(const MapEach&) noexcept = default;
    ~MapEach() = default;

    /// Yields what the function gives for each item, as each ends, and returns all of it in the
    /// order of the items.
    AsyncGenerator<Y, std::vector<Y>> operator()(std::vector<X> items) const {
        if constexpr (Types::usable) {
            return detail::MapHolder<F, X, Y>::generate(fn_, std::move(items), in_flight_);
        } else {
            return AsyncGenerator<Y, std::vector<Y>>();
        }
    }

private:
    std::shared_ptr<F> fn_;
    std::size_t in_flight_;
};

/// Turns `fn(X) -> Task<Y>` into a callable `(std::vector<X>) -> AsyncGenerator<Y,
/// std::vector<Y>>`, for a node or to be called: `Node n{"n", map_each(fetch, 8), "urls"_a =
/// urls}`. At most `in_flight` items are at work at once, the first ones first; a `Y` is yielded as
/// each ends, and all of them are returned in the order of the items. `fn` is a function, a lambda
/// or a functor; it takes its item by value, moved, or as `const X&`, and gives a task, another
/// awaitable or a plain value. While the reader is at work with a `Y` those in flight go on, and no
/// more begin than that.
/// The first error cancels the others, waits for them, and is rethrown; a cancellation likewise.
/// A generator that is dropped destroys what is in flight; what another library or thread still
/// uses is destroyed when that lets go. Throws `Error` if `in_flight` is 0. A few allocations a
/// call, none an item.
template <class F>
[[nodiscard]] MapEach<F> map_each(F fn, std::size_t in_flight) {
    static_cast<void>(detail::not_null(fn, "map_each"));
    if (in_flight == 0) {
        throw Error("map_each was given 0 items in flight: it would never begin");
    }
    return MapEach<F>(std::move(fn), in_flight);
}

}  // namespace grafo
