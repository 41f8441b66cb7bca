// What a retry's predicate takes can be seen, and is an error.
// EXPECT: grafo: RetryPolicy::when needs a function whose parameter can be seen
// EXPECT: grafo: RetryPolicy::when needs a function whose parameter can be seen
// EXPECT: grafo: RetryPolicy::when needs a function of one parameter
// EXPECT: grafo: RetryPolicy::when needs a function of one parameter
// EXPECT: grafo: RetryPolicy::when needs a function of one parameter
// EXPECT: grafo: RetryPolicy::when needs a function of one parameter
// EXPECT: grafo: RetryPolicy::when needs a function that gives a bool
#include <stdexcept>

#include <grafo/grafo.hpp>
using namespace grafo;

struct MyError {
    bool may_be_retried();
};

void test() {
    RetryPolicy policy{3};
    policy.when([](const std::runtime_error&) { return true; });
#if MUST_FAIL == 1
    policy.when([](const auto&) { return true; });
#elif MUST_FAIL == 2
    policy.when(true);
#elif MUST_FAIL == 3
    policy.when([] { return true; });
#elif MUST_FAIL == 4
    policy.when([](const std::runtime_error&, int) { return true; });
#elif MUST_FAIL == 5
    policy.when([](std::runtime_error&) { return true; });
#elif MUST_FAIL == 6
    policy.when(&MyError::may_be_retried);
#elif MUST_FAIL == 7
    policy.when([](const std::runtime_error&) {});
#endif
}
