// A task that nobody awaits does nothing: the compiler says so.
// FLAGS: -Werror=unused-result
// EXPECT: a Task does nothing until it is awaited
// EXPECT_REGEX: ignoring return value of .*nodiscard
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

Task<int> later();

void test() {
    const Node node{"node", later};
    const Task<int> kept = later();
    static_cast<void>(later());
#if MUST_FAIL == 1
    later();
#elif MUST_FAIL == 2
    TreeExecutor{node}.run();
#endif
}
