// A parameter that is bound, or filled where the node is made, takes no edge.
// EXPECT: grafo: that parameter of the child is already bound or forwarded into
// EXPECT: grafo: that parameter of the child is already bound or forwarded into
// EXPECT: grafo: that parameter of the child is already bound or forwarded into
// EXPECT: grafo: that parameter of the child is already bound or forwarded into
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);

void test() {
    const Node parent{"parent", twice, "x"_a = 1};
    const Node value{"value", twice, "x"_a = 1};
    const Node filled{"filled", twice, "x"_a = parent};
    const Node deferred{"deferred", twice, "x"_a = [] { return 1; }};
    parent.connect(Node{"open", twice, "x"_a}, "x"_a);
    parent.connect(Node<int>(value));
#if MUST_FAIL == 1
    parent.connect(value, "x"_a);
#elif MUST_FAIL == 2
    parent.connect(value, "x"_a = twice);
#elif MUST_FAIL == 3
    parent.connect(filled, "x"_a);
#elif MUST_FAIL == 4
    AnyNode(parent).connect(deferred, "x"_a);
#endif
}
