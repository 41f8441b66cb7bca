#pragma once
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <grafo/detail/branches.hpp>
#include <grafo/detail/duration_text.hpp>
#include <grafo/detail/timer_heap.hpp>
#include <grafo/outcome.hpp>
#include <grafo/sleep.hpp>

// The sets of branches behind the combinators, each the awaiter of one.
namespace grafo::detail {

template <class T>
struct Kept {
    using type = T;
};
template <>
struct Kept<void> {
    using type = std::monostate;
};
// What a tuple or a struct holds for it, and what a vector or a variant holds.
template <class T>
using member_t = typename Kept<T>::type;
// <memory> brings std::reference_wrapper; <functional> would bring much more.
template <class T>
using element_t =
    std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>,
                       typename Kept<T>::type>;

template <class T>
member_t<T> take(TaskBranch<T>& branch) {
    if constexpr (std::is_void_v<T>) {
        branch.result().take();
        return std::monostate();
    } else {
        return branch.result().take();
    }
}
template <class T>
Outcome<T> take_outcome(TaskBranch<T>& branch) {
    if (std::exception_ptr error = branch.error(); error != nullptr) {
        return Outcome<T>(std::move(error));
    }
    if constexpr (std::is_void_v<T>) {
        return Outcome<T>(std::in_place);
    } else if constexpr (std::is_reference_v<T>) {
        return Outcome<T>(std::in_place, branch.result().value());
    } else {
        return Outcome<T>(std::in_place, std::move(branch.result().value()));
    }
}

// Which end of a branch ends the others.
enum class Decides : unsigned char { none, error, any };

// Waits until each of its branches has ended.
class JoinSet : public BranchSet {
protected:
    explicit JoinSet(Decides decides) noexcept : decides_(decides) {}
    ~JoinSet() = default;

    // After the wait: a cancellation first, then the error that ended the others.
    void check_join() const {
        check();
        if (cancelled_) throw Cancelled();
        if (decisive_ == nullptr) return;
        if (std::exception_ptr error = decisive_->error(); error != nullptr) {
            std::rethrow_exception(std::move(error));
        }
    }

    Branch* decisive_ = nullptr;  // whose end ended the others

private:
    void ended(Branch& branch, bool failed) noexcept final {
        --left_;
        if (decisive_ == nullptr && !cancelled_ &&
            (decides_ == Decides::any || (failed && decides_ == Decides::error))) {
            decisive_ = &branch;
            cancel_branches();
        }
        if (left_ == 0) hand_over();
    }

    Decides decides_;
};

// The branches of a pack lie in the awaiter.
template <class... T>
class PackSet : public JoinSet {
public:
    using Tasks = std::tuple<Task<T>...>;

    PackSet(Decides decides, Tasks&& tasks) : JoinSet(decides) {
        adopt(std::move(tasks), std::index_sequence_for<T...>());
    }
    ~PackSet() { destroy_branches(); }

    bool await_ready() const noexcept { return sizeof...(T) == 0; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        return wait_for_all(coroutine);
    }

protected:
    std::tuple<TaskBranch<T>...> branches_;

private:
    template <std::size_t... I>
    void adopt(Tasks&& tasks, std::index_sequence<I...>) {
        (std::get<I>(branches_).adopt(std::move(std::get<I>(tasks))), ...);
        (add(std::get<I>(branches_)), ...);
    }
};

// Those of a vector lie in a block of their own.
template <class A>
class VectorSet : public JoinSet {
public:
    using Tasks = std::vector<A>;
    using T = branch_result_t<A>;

    VectorSet(Decides decides, Tasks&& tasks)
        : JoinSet(decides), size_(tasks.size()), branches_(new TaskBranch<T>[tasks.size()]) {
        for (std::size_t i = 0; i < size_; ++i) {
            branches_[i].adopt(as_branch(static_cast<A&&>(tasks[i]), "a combinator"));
            add(branches_[i]);
        }
    }
    ~VectorSet() { destroy_branches(); }

    bool await_ready() const noexcept { return size_ == 0; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        return wait_for_all(coroutine);
    }

protected:
    template <class Made, class Take>
    std::vector<Made> take_all(Take take_one) {
        std::vector<Made> results;
        results.reserve(size_);
        for (std::size_t i = 0; i < size_; ++i) results.push_back(take_one(branches_[i]));
        return results;
    }

    std::size_t size_;
    std::unique_ptr<TaskBranch<T>[]> branches_;
};

template <class... T>
class AllOfPack : public PackSet<T...> {
public:
    explicit AllOfPack(std::tuple<Task<T>...>&& tasks)
        : PackSet<T...>(Decides::error, std::move(tasks)) {}
    std::tuple<member_t<T>...> await_resume() {
        this->check_join();
        return std::apply(
            [](auto&... branch) { return std::tuple<member_t<T>...>{take(branch)...}; },
            this->branches_);
    }
};

template <class A>
class AllOfVector : public VectorSet<A> {
    using T = branch_result_t<A>;

public:
    explicit AllOfVector(std::vector<A>&& tasks) : VectorSet<A>(Decides::error, std::move(tasks)) {}
    std::vector<element_t<T>> await_resume() {
        this->check_join();
        return this->template take_all<element_t<T>>(
            [](TaskBranch<T>& branch) -> element_t<T> { return take(branch); });
    }
};

template <class... T>
class SettledPack : public PackSet<T...> {
public:
    explicit SettledPack(std::tuple<Task<T>...>&& tasks)
        : PackSet<T...>(Decides::none, std::move(tasks)) {}
    std::tuple<Outcome<T>...> await_resume() {
        this->check_join();
        return std::apply(
            [](auto&... branch) { return std::tuple<Outcome<T>...>{take_outcome(branch)...}; },
            this->branches_);
    }
};

template <class A>
class SettledVector : public VectorSet<A> {
    using T = branch_result_t<A>;

public:
    explicit SettledVector(std::vector<A>&& tasks)
        : VectorSet<A>(Decides::none, std::move(tasks)) {}
    std::vector<Outcome<T>> await_resume() {
        this->check_join();
        return this->template take_all<Outcome<T>>(
            [](TaskBranch<T>& branch) { return take_outcome(branch); });
    }
};

template <class... T>
class AnyOfPack : public PackSet<T...> {
    using Value = std::variant<element_t<T>...>;

public:
    explicit AnyOfPack(std::tuple<Task<T>...>&& tasks)
        : PackSet<T...>(Decides::any, std::move(tasks)) {}
    WhenAny<Value> await_resume() {
        this->check_join();
        return pick(std::index_sequence_for<T...>());
    }

private:
    template <std::size_t... I>
    WhenAny<Value> pick(std::index_sequence<I...>) {
        std::size_t index = 0;
        static_cast<void>(
            ((this->decisive_ == &std::get<I>(this->branches_) || (++index, false)) || ...));
        using Make = WhenAny<Value> (*)(AnyOfPack&);
        static constexpr Make makes[] = {&AnyOfPack::template make<I>...};
        return makes[index](*this);
    }
    template <std::size_t I>
    static WhenAny<Value> make(AnyOfPack& self) {
        return WhenAny<Value>(I, Value(std::in_place_index<I>, take(std::get<I>(self.branches_))));
    }
};

template <class A>
class AnyOfVector : public VectorSet<A> {
    using T = branch_result_t<A>;

public:
    explicit AnyOfVector(std::vector<A>&& tasks) : VectorSet<A>(Decides::any, std::move(tasks)) {
        if (this->size_ == 0) throw Error("a when_any was awaited that was moved from");
    }
    WhenAny<member_t<T>> await_resume() {
        this->check_join();
        auto& first = static_cast<TaskBranch<T>&>(*this->decisive_);
        return WhenAny<member_t<T>>(static_cast<std::size_t>(&first - this->branches_.get()),
                                    take(first));
    }
};

// Calls back once the time has come; leaves the loop's timers when it is destroyed.
class Deadline : Timer {
public:
    using Passed = void (*)(void* target);

    Deadline(Passed passed, void* target) noexcept
        : Timer(&Deadline::on_ask), passed_(passed), target_(target) {
        step = &Deadline::fire;
    }

    // No throw after reserve_one() of the loop's timers.
    void start(EventLoop& loop, std::chrono::nanoseconds limit) {
        const EventLoop::TimePoint at = after(loop.now(), limit);
        if (at == EventLoop::TimePoint::max()) return;
        LoopAccess::timers(loop).insert(*this, at);
    }
    using Timer::stop;

private:
    static bool on_ask(Waiter&, Ask) { return false; }
    static void fire(Job& job) {
        auto& self = static_cast<Deadline&>(job);
        self.passed_(self.target_);
    }

    Passed passed_;
    void* target_;
};

// One task, and how long it may take.
template <class T>
struct Timed {
    Timed(std::chrono::nanoseconds l, Task<T>&& t) noexcept : limit(l), task(std::move(t)) {}
    std::chrono::nanoseconds limit;
    Task<T> task;
};

[[nodiscard]] inline bool is_cancelled(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const Cancelled&) {
        return true;
    } catch (...) {
        return false;
    }
}

template <class T>
class TimedSet : public BranchSet {
public:
    using Tasks = Timed<T>;

    explicit TimedSet(Timed<T>&& timed)
        : limit_(timed.limit), deadline_(&TimedSet::on_deadline, this) {
        branch_.adopt(std::move(timed.task));
        add(branch_);
    }
    ~TimedSet() { destroy_branches(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        EventLoop& loop = EventLoop::current();
        LoopAccess::timers(loop).reserve_one();
        if (!wait_for_all(coroutine)) return false;
        if (left_ == 0) return true;  // about to be destroyed
        if (limit_.count() > 0) {
            deadline_.start(loop, limit_);
        } else {
            branch_.cancel();  // for its first await
        }
        return true;
    }
    T await_resume() {
        check();
        Result<T>& result = branch_.result();
        if (result.error() == nullptr || is_cancelled(result.error())) {
            if (cancelled_) throw Cancelled();
            // With no time at all: only if there was a suspension at which to end.
            if (timed_out_ || (limit_.count() <= 0 && !branch_.is_pending())) {
                throw TimeoutError(timeout_text(label(), limit_));
            }
        }
        return result.take();
    }

private:
    void ended(Branch& /*branch*/, bool /*failed*/) noexcept override {
        --left_;
        deadline_.stop();
        hand_over();
    }
    void on_cancel() noexcept override { deadline_.stop(); }
    void on_freeze() noexcept override { deadline_.stop(); }
    static void on_deadline(void* target) {
        auto& self = *static_cast<TimedSet*>(target);
        self.timed_out_ = true;
        self.cancel_branches();
        self.wake_if_over();
    }
    static std::string timeout_text(std::string_view node, std::chrono::nanoseconds limit) {
        std::string text =
            node.empty() ? "a task" : "node '" + std::string(node) + "' awaited a task that";
        return text + " did not end within " + duration_text(limit) + " (with_timeout)";
    }

    TaskBranch<T> branch_;
    std::chrono::nanoseconds limit_;
    Deadline deadline_;
    bool timed_out_ = false;
};

template <class A>
inline constexpr bool is_vector = false;
template <class A>
inline constexpr bool is_vector<std::vector<A>> = true;
template <class... A>
inline constexpr bool is_one_vector =
    sizeof...(A) == 1 && (is_vector<std::remove_cvref_t<A>> && ...);

// The vector itself, when nothing in it was moved from.
template <class A>
std::vector<A>&& checked_branches(std::vector<A>& tasks, const char* combinator) {
    if constexpr (is_task<A>) {
        for (const A& task : tasks) {
            if (!task) throw_empty_task(combinator);
        }
    }
    return std::move(tasks);
}

template <class T>
inline constexpr bool tasks_are_moved = false;

}  // namespace grafo::detail
