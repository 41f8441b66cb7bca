// An acquire that nobody awaits does nothing, and a guard that nobody keeps guards nothing.
// FLAGS: -Werror=unused-result
// EXPECT: an acquire does nothing until it is awaited
// EXPECT: an acquire does nothing until it is awaited
// EXPECT: a Guard that is not kept returns at once what was acquired
#include <chrono>

#include <grafo/grafo.hpp>
using namespace grafo;
using namespace std::chrono_literals;

Task<> test() {
    const Semaphore semaphore{1};
    const RateLimiter limiter{1, 1s};
    const Semaphore::Guard guard = co_await semaphore.acquire();
    co_await limiter.acquire();
#if MUST_FAIL == 1
    semaphore.acquire();
#elif MUST_FAIL == 2
    limiter.acquire();
#elif MUST_FAIL == 3
    semaphore.try_acquire();
#endif
}
