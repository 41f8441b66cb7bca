// A node takes one name for each parameter of its callable.
// EXPECT: a node takes one name for each parameter of its callable, in their order: the counts differ
// EXPECT: a node takes one name for each parameter of its callable, in their order: the counts differ
// EXPECT: a node takes one name for each parameter of its callable, in their order: the counts differ
// EXPECT: a node takes one name for each parameter of its callable, in their order: the counts differ
// EXPECT: a node takes one name for each parameter of its callable, in their order: the counts differ
// EXPECT: a node takes one name for each parameter of its callable, in their order: the counts differ
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int subtract(int x, int y);
int with_context(NodeContext& context, int x);
struct Counter {
    int add(int n);
};

void test() {
    const Node right{"right", subtract, "x"_a = 1, "y"_a = 2};
    const Node context{"context", with_context, "x"_a = 1};
    const Node member{"member", &Counter::add, "self"_a = Counter(), "n"_a = 1};
#if MUST_FAIL == 1
    const Node wrong{"wrong", subtract, "x"_a = 1};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", subtract, "x"_a = 1, "y"_a = 2, "z"_a = 3};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", subtract};
#elif MUST_FAIL == 4
    const Node wrong{"wrong", with_context, "context"_a, "x"_a = 1};
#elif MUST_FAIL == 5
    const Node wrong{"wrong", &Counter::add, "n"_a = 1};
#elif MUST_FAIL == 6
    const Node<int> wrong{"wrong", subtract, "x"_a};
#endif
}
