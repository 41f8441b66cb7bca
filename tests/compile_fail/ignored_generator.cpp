// A generator that nobody reads does nothing: the compiler says so.
// FLAGS: -Werror=unused-result
// EXPECT: an AsyncGenerator does nothing until its items are asked for
// EXPECT_REGEX: ignoring return value of .*nodiscard
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

AsyncGenerator<int> generate();

void test() {
    const Node node{"node", generate};
    const AsyncGenerator<int> kept = generate();
    static_cast<void>(generate());
#if MUST_FAIL == 1
    generate();
#elif MUST_FAIL == 2
    TreeExecutor{node}.yielding();
#endif
}
