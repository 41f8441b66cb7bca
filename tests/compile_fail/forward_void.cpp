// A node that gives nothing has nothing to forward, but may order.
// EXPECT: grafo: the parent gives nothing to forward (void)
// EXPECT: grafo: the parent gives nothing to forward (void)
// EXPECT: grafo: the parent gives nothing to forward (void)
// EXPECT: grafo: the node gives nothing to forward (void)
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);
Task<> later();

void test() {
    const Node nothing{"nothing", [] {}};
    const Node task{"task", later};
    const Node child{"child", twice, "x"_a};
    nothing.connect(task).connect(child);
    task.connect(child, "x"_a = [] { return 1; });
#if MUST_FAIL == 1
    nothing.connect(child, "x"_a);
#elif MUST_FAIL == 2
    task.connect(child, "x"_a);
#elif MUST_FAIL == 3
    nothing.connect(AnyNode(child), "x"_a);
#elif MUST_FAIL == 4
    const Node wrong{"wrong", twice, "x"_a = nothing};
#endif
}
