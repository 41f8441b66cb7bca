// A task is awaited once, which std::move says.
#include <utility>

#include <grafo/grafo.hpp>

using namespace grafo;

Task<int> work();

Task<int> all() {
    Task<int> task = work();
    int sum = co_await work();
    sum += co_await std::move(task);

// EXPECT_REGEX: (use of|selected) deleted (function|operator) .*co_await
#if MUST_FAIL == 1
    Task<int> again = work();
    sum += co_await again;
#endif
    co_return sum;
}

struct Holder {
    Task<> kept;
};

Task<> keep(Holder& holder) {
    co_await std::move(holder.kept);

// EXPECT_REGEX: (use of|selected) deleted (function|operator) .*co_await
#if MUST_FAIL == 2
    co_await holder.kept;
#endif
}
