// A parameter is a value or a const reference.
// EXPECT: grafo: a parameter of a node's callable is taken by value or as const U&
// EXPECT: grafo: a parameter of a node's callable is taken by value or as const U&
// EXPECT: grafo: a parameter of a node's callable is taken by value or as const U&
// EXPECT: grafo: a parameter of a node's callable is taken by value or as const U&
// EXPECT: grafo: a parameter of a node's callable is taken by value or as const U&
#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

struct Counter {
    int add(int n);
    int get() const;
};

void test() {
    const Node value{"value", [](int x) { return x; }, "x"_a};
    const Node reference{"reference", [](const int& x) { return x; }, "x"_a};
    const Node context{"context", [](NodeContext&, int x) { return x; }, "x"_a};
    const Node open{"open", &Counter::get, "self"_a};
    const Node bound{"bound", &Counter::add, "self"_a = Counter(), "n"_a = 1};
#if MUST_FAIL == 1
    const Node wrong{"wrong", [](int& x) { return x; }, "x"_a};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", [](int&& x) { return x; }, "x"_a = 1};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", [](const int&& x) { return x; }, "x"_a};
#elif MUST_FAIL == 4
    const Node wrong{"wrong", &Counter::add, "self"_a, "n"_a = 1};
#elif MUST_FAIL == 5
    const Node<int> wrong{"wrong", [](int x, NodeContext&) { return x; }, "x"_a, "c"_a};
#endif
}
