// bind gives a value to a parameter that is there and takes it.
#include <string>
#include <vector>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace grafo::literals;

int total(const std::vector<int>& parts, int more);

int main() {
    const Node node{"node", total, "parts"_args, "more"_a};
    node.bind("more"_a = 3).bind("more"_a = [] { return 4; });

// EXPECT: grafo: the node has no parameter of that name
#if MUST_FAIL == 1
    node.bind("less"_a = 3);
#endif
// EXPECT: grafo: a list parameter is filled by edges, not bound
#if MUST_FAIL == 2
    node.bind("parts"_a = std::vector<int>{1, 2});
#endif
// EXPECT: grafo: the value does not convert to the parameter's type
#if MUST_FAIL == 3
    node.bind("more"_a = std::string("3"));
#endif
// EXPECT: grafo: the value does not convert to the parameter's type
#if MUST_FAIL == 4
    node.bind("more"_a = [] { return std::string("3"); });
#endif
}
