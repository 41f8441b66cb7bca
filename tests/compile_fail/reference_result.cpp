// What a callable gives is a value, which the node keeps.
// EXPECT: grafo: a node's callable gives a value, not a reference: the node keeps it
// EXPECT: grafo: a node's callable gives a value, not a reference: the node keeps it
// EXPECT: grafo: a node's callable gives a value, not a reference: the node keeps it
// EXPECT: grafo: a node's callable gives a value, not a reference: the node keeps it
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int& reference();
Task<int&> reference_later();

void test() {
    const Node right{"right", [] { return reference(); }};
    const Node pointer{"pointer", [] { return &reference(); }};
#if MUST_FAIL == 1
    const Node wrong{"wrong", [](const int& x) -> const int& { return x; }, "x"_a = 1};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", reference};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", reference_later};
#elif MUST_FAIL == 4
    const Node<int> wrong{"wrong", reference};
#endif
}
