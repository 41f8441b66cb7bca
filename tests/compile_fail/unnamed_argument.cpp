// Each argument of a node has a name.
// EXPECT: grafo: each argument of a node is named
// EXPECT: grafo: each argument of a node is named
// EXPECT: grafo: each argument of a node is named
// EXPECT: grafo: each argument of a node is named
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int subtract(int x, int y);

void test() {
    const Node right{"right", subtract, "x"_a = 1, "y"_a = 2};
#if MUST_FAIL == 1
    const Node wrong{"wrong", subtract, 1, 2};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", subtract, "x"_a = 1, 2};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", subtract, right, "y"_a = 2};
#elif MUST_FAIL == 4
    const Node<int> wrong{"wrong", subtract, "x"_a = 1, "y"};
#endif
}
