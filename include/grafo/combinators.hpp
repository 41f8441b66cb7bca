#pragma once
#include <chrono>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/detail/branches.hpp>
#include <grafo/detail/join.hpp>
#include <grafo/errors.hpp>
#include <grafo/outcome.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

namespace grafo {

/// What `when_all`, `when_all_settled`, `when_any` and `with_timeout` give: to be awaited, once.
/// Owns its tasks, which never start if it is not awaited.
template <class Awaiter>
class [[nodiscard("a combinator does nothing until it is awaited")]] Combined {
public:
    using Tasks = typename Awaiter::Tasks;

    explicit Combined(Tasks&& tasks) : tasks_(std::move(tasks)) {}
    Combined(Combined&& other) noexcept : tasks_(std::move(other.tasks_)) {}
    Combined& operator=(Combined&& other) noexcept {
        tasks_ = std::move(other.tasks_);
        return *this;
    }
    ~Combined() = default;

    /// Starts the tasks; the awaiting coroutine owns them from then on.
    Awaiter operator co_await() && { return Awaiter(std::move(tasks_)); }
    /// A combinator is awaited once: `co_await std::move(all)`.
    Awaiter operator co_await() & = delete;

    using grafo_awaitable = void;

private:
    Tasks tasks_;
};

/// Runs the tasks at once, and gives their values as a `std::tuple` in the order given: `void` as
/// `std::monostate`, references as they are.
/// The first error cancels the others, waits until they have ended, and is rethrown; one that never
/// started never will. If the awaiting coroutine is cancelled, so are all of them, and `Cancelled`
/// is thrown when they have ended. Takes tasks (temporary, or moved) and any other awaitables; a
/// named one must live that long. Throws `Error` for a task that was moved from. No allocation.
template <class... A>
    requires(!detail::is_one_vector<A...>)
Combined<detail::AllOfPack<detail::branch_result_t<A>...>> when_all(A&&... tasks) {
    return Combined<detail::AllOfPack<detail::branch_result_t<A>...>>(
        std::tuple<Task<detail::branch_result_t<A>>...>(
            detail::as_branch<A>(std::forward<A>(tasks), "when_all")...));
}

/// The same for any number of tasks, as a `std::vector` of their values: `void` as
/// `std::monostate`, references as `std::reference_wrapper`. One allocation beside the result's.
template <class A>
Combined<detail::AllOfVector<A>> when_all(std::vector<A> tasks) {
    return Combined<detail::AllOfVector<A>>(detail::checked_branches(tasks, "when_all"));
}
template <class T>
Combined<detail::AllOfVector<Task<T>>> when_all(std::vector<Task<T>>& tasks) {
    static_assert(detail::tasks_are_moved<T>,
                  "grafo: tasks are awaited once: give the vector to when_all with std::move");
    return when_all(std::move(tasks));
}

/// Runs the tasks at once, and gives how each of them ended, as a `std::tuple` of `Outcome`s. No
/// error cancels another task. If the awaiting coroutine is cancelled, so are all of them, and
/// `Cancelled` is thrown when they have ended.
template <class... A>
    requires(!detail::is_one_vector<A...>)
Combined<detail::SettledPack<detail::branch_result_t<A>...>> when_all_settled(A&&... tasks) {
    return Combined<detail::SettledPack<detail::branch_result_t<A>...>>(
        std::tuple<Task<detail::branch_result_t<A>>...>(
            detail::as_branch<A>(std::forward<A>(tasks), "when_all_settled")...));
}

/// The same for any number of tasks, as a `std::vector` of `Outcome`s.
template <class A>
Combined<detail::SettledVector<A>> when_all_settled(std::vector<A> tasks) {
    return Combined<detail::SettledVector<A>>(detail::checked_branches(tasks, "when_all_settled"));
}
template <class T>
Combined<detail::SettledVector<Task<T>>> when_all_settled(std::vector<Task<T>>& tasks) {
    static_assert(
        detail::tasks_are_moved<T>,
        "grafo: tasks are awaited once: give the vector to when_all_settled with std::move");
    return when_all_settled(std::move(tasks));
}

/// Runs the tasks at once until the first has ended, cancels the others, waits until they have
/// ended, and gives the `index` and the `value` of the first, a `std::variant`, or rethrows what it
/// threw: `auto [index, value] = co_await when_any(a(), b());`. In the variant `void` is
/// `std::monostate`, a reference a `std::reference_wrapper`. If the awaiting coroutine is
/// cancelled, so are all of them, and `Cancelled` is thrown when they have ended.
template <class... A>
    requires(!detail::is_one_vector<A...>)
Combined<detail::AnyOfPack<detail::branch_result_t<A>...>> when_any(A&&... tasks) {
    static_assert(sizeof...(A) > 0, "grafo: when_any needs at least one task");
    return Combined<detail::AnyOfPack<detail::branch_result_t<A>...>>(
        std::tuple<Task<detail::branch_result_t<A>>...>(
            detail::as_branch<A>(std::forward<A>(tasks), "when_any")...));
}

/// The same for any number of tasks of one type; `value` is of that type, for `void` a
/// `std::monostate`. Throws `Error` if there is none.
template <class A>
Combined<detail::AnyOfVector<A>> when_any(std::vector<A> tasks) {
    if (tasks.empty()) throw Error("when_any was given no tasks: none of them can end first");
    return Combined<detail::AnyOfVector<A>>(detail::checked_branches(tasks, "when_any"));
}
template <class T>
Combined<detail::AnyOfVector<Task<T>>> when_any(std::vector<Task<T>>& tasks) {
    static_assert(detail::tasks_are_moved<T>,
                  "grafo: tasks are awaited once: give the vector to when_any with std::move");
    return when_any(std::move(tasks));
}

/// Awaits a task, or another awaitable, and gives what it gives or rethrows; when `limit` has
/// passed it is cancelled, waited for, and `TimeoutError` is thrown, also if it returned a value
/// meanwhile; another exception that it ends with comes out itself.
/// Any unit of time, rounded up to nanoseconds; zero or less cancels it at its first suspension,
/// `max()` is no limit. If the awaiting coroutine is cancelled, so is the task; `Cancelled` is
/// thrown when that has ended. No allocation but the timer heap's growth.
template <class Rep, class Period, class A>
Combined<detail::TimedSet<detail::branch_result_t<A>>> with_timeout(
    const std::chrono::duration<Rep, Period>& limit, A&& task) {
    using T = detail::branch_result_t<A>;
    return Combined<detail::TimedSet<T>>(
        detail::Timed<T>(detail::to_nanoseconds(limit),
                         detail::as_branch<A>(std::forward<A>(task), "with_timeout")));
}

}  // namespace grafo
