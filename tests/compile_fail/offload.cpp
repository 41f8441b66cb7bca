// What a pool can run, and what may outlive the coroutine that gave it.
// EXPECT: grafo: offload runs a function that takes nothing or a const StopFlag&
// EXPECT: grafo: offload runs a plain function: a coroutine would begin on the loop's thread, not on the pool's
// EXPECT: grafo: nodes are made on the loop's thread, not on a pool's
// EXPECT: grafo: offload moves its function to where a pool can call it
// EXPECT: grafo: offload moves its function to where a pool can call it
// EXPECT: grafo: offload_detached takes only what it owns
// EXPECT: grafo: offload_detached gives a value
// EXPECT: grafo: a pool is what post(pool, f), pool.enqueue(f) or pool(f) accepts
// FLAGS: -Wno-unused-result
#include <functional>
#include <memory>
#include <utility>

#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
using namespace grafo;

struct MoveOnly {
    std::unique_ptr<int> owned;
    int operator()() const { return 1; }
};
struct Pinned {
    Pinned() = default;
    Pinned(Pinned&&) = delete;
    int operator()() const { return 1; }
};
int global = 1;

Task<> test(ThreadPool& pool) {
    MoveOnly move_only;
    auto number = [] { return 1; };
    auto reference = []() -> int& { return global; };
    co_await offload(pool, reference);
    co_await offload(pool, std::ref(number));
#if MUST_FAIL == 1
    offload(pool, [](int x) { return x; });
#elif MUST_FAIL == 2
    offload(pool, []() -> Task<> { co_return; });
#elif MUST_FAIL == 3
    offload_detached(pool, [] { return Node{[] {}}; });
#elif MUST_FAIL == 4
    offload(pool, move_only);
#elif MUST_FAIL == 5
    Pinned pinned;
    offload_detached(pool, std::move(pinned));
#elif MUST_FAIL == 6
    offload_detached(pool, std::ref(number));
#elif MUST_FAIL == 7
    offload_detached(pool, reference);
#elif MUST_FAIL == 8
    int no_pool = 1;
    co_await offload(no_pool, number);
#endif
    co_await offload_detached(pool, std::move(move_only));
}
