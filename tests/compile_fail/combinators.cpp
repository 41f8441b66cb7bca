// Combinators take what can be awaited, and own their tasks.
// FLAGS: -Werror=unused-result
// EXPECT: grafo: a task is awaited once: give it to a combinator with std::move
// EXPECT: grafo: tasks are awaited once: give the vector to when_all with std::move
// EXPECT: grafo: tasks are awaited once: give the vector to when_any with std::move
// EXPECT: grafo: a combinator takes what can be awaited: tasks and other awaitables
// EXPECT: grafo: a combinator takes what can be awaited: tasks and other awaitables
// EXPECT: grafo: when_any needs at least one task
// EXPECT: a combinator does nothing until it is awaited
// EXPECT_REGEX: (use of|selected) deleted (function|operator) .*co_await
// EXPECT: grafo: tasks are awaited once: give the vector to when_all_settled with std::move
// EXPECT: grafo: a task is awaited once: give it to a combinator with std::move
#include <chrono>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace std::chrono_literals;

Task<int> work();

Task<> test() {
    std::vector<Task<int>> tasks;
    Task<int> task = work();
    co_await when_all(work(), sleep_for(1s), std::move(task));
    co_await when_all(std::move(tasks));
    auto all = when_any(work(), work());
    co_await std::move(all);
#if MUST_FAIL == 1
    co_await when_all(work(), task);
#elif MUST_FAIL == 2
    co_await when_all(tasks);
#elif MUST_FAIL == 3
    co_await when_any(tasks);
#elif MUST_FAIL == 4
    co_await when_all(work(), 5);
#elif MUST_FAIL == 5
    co_await when_all(work(), std::move(tasks));
#elif MUST_FAIL == 6
    co_await when_any();
#elif MUST_FAIL == 7
    when_all(work(), work());
#elif MUST_FAIL == 8
    auto again = when_all(work(), work());
    co_await again;
#elif MUST_FAIL == 9
    co_await when_all_settled(tasks);
#elif MUST_FAIL == 10
    co_await with_timeout(1s, task);
#endif
}
