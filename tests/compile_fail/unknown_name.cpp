// connect names a parameter that the child has.
// EXPECT: grafo: the child has no parameter of that name
// EXPECT: grafo: the child has no parameter of that name
// EXPECT: grafo: the child has no parameter of that name
// EXPECT: grafo: the child has no parameter of that name
// EXPECT: grafo: the child has no parameter of that name
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);
int sum(std::vector<int> xs);

void test() {
    const Node parent{"parent", twice, "x"_a = 1};
    const Node child{"child", twice, "x"_a};
    const Node list{"list", sum, "xs"_args};
    parent.connect(child, "x"_a).connect(list, "xs"_args);
#if MUST_FAIL == 1
    parent.connect(child, "y"_a);
#elif MUST_FAIL == 2
    parent.connect(child, "y"_a = twice);
#elif MUST_FAIL == 3
    parent.connect(Node{"temporary", twice, "x"_a}, "X"_a);
#elif MUST_FAIL == 4
    AnyNode(parent).connect(child, "y"_a);
#elif MUST_FAIL == 5
    parent.connect(list, "x"_args);
#endif
}
