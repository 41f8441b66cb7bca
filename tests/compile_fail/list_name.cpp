// A list name belongs to a std::vector parameter.
// EXPECT: grafo: a list parameter ("xs"_args) is a std::vector<U>
// EXPECT: grafo: a list parameter ("xs"_args) is a std::vector<U>
// EXPECT: grafo: a list parameter ("xs"_args) is a std::vector<U>
#include <list>
#include <vector>

#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);

void test() {
    const Node one{"one", twice, "x"_a = 1};
    const Node value{"value", [](std::vector<int> xs) { return xs.size(); }, "xs"_args = {one}};
    const Node reference{"reference", [](const std::vector<int>& xs) { return xs.size(); },
                         "xs"_args};
#if MUST_FAIL == 1
    const Node wrong{"wrong", twice, "x"_args};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", twice, "x"_args = gather(one)};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", [](std::list<int> xs) { return xs.size(); }, "xs"_args};
#endif
}
