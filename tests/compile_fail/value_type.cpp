// A bound value converts to the parameter as an argument would.
// EXPECT: grafo: the value does not convert to the parameter's type
// EXPECT: grafo: the value does not convert to the parameter's type
// EXPECT: grafo: the value does not convert to the parameter's type
// EXPECT: grafo: the value does not convert to the parameter's type
// EXPECT: grafo: the value does not convert to the parameter's type
// EXPECT: grafo: the value does not convert to the parameter's type
#include <memory>
#include <string>

#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);
int own(std::unique_ptr<int> p);

void test() {
    const Node node{"node", twice, "x"_a = 1.5f};
    const Node deferred{"deferred", twice, "x"_a = [] { return 1; }};
    const Node owner{"owner", own, "p"_a = std::make_unique<int>(1)};
    node.bind("x"_a = 2).bind("x"_a = [] { return 1; });
#if MUST_FAIL == 1
    const Node wrong{"wrong", twice, "x"_a = "text"};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", twice, "x"_a = [] { return std::string(); }};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", twice, "x"_a = [](int x) { return x; }};
#elif MUST_FAIL == 4
    const Node wrong{"wrong", own, "p"_a = 0.5};
#elif MUST_FAIL == 5
    node.bind("x"_a = "text");
#elif MUST_FAIL == 6
    node.bind("x"_a = [] {});
#endif
}
