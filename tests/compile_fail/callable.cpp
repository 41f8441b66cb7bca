// The parameters of a callable can be seen.
// EXPECT: grafo: a node needs a callable whose parameters can be seen
// EXPECT: grafo: a node needs a callable whose parameters can be seen
// EXPECT: grafo: a node needs a callable whose parameters can be seen
// EXPECT: grafo: a node needs a callable whose parameters can be seen
// EXPECT: grafo: a node needs a callable whose parameters can be seen
// EXPECT: grafo: a node needs a callable whose parameters can be seen
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

struct Overloaded {
    int operator()(int x);
    int operator()(double x);
};

void test() {
    const Node right{"right", [](int x) { return x; }, "x"_a = 1};
    const Node no_id{[] { return 1; }};
#if MUST_FAIL == 1
    const Node wrong{"wrong", [](auto x) { return x; }, "x"_a = 1};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", Overloaded(), "x"_a = 1};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", 5};
#elif MUST_FAIL == 4
    const Node wrong{"wrong"};
#elif MUST_FAIL == 5
    const Node wrong{[](auto...) { return 1; }};
#elif MUST_FAIL == 6
    const Node<int> wrong{"wrong", [](auto x) { return x; }, "x"_a = 1};
#endif
}
