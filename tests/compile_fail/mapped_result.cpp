// What node.map(f) gives is something, and converts to the parameter.
// EXPECT: grafo: what the transform gives does not convert to the parameter's type
// EXPECT: grafo: the transform gives nothing to forward
// EXPECT: grafo: what the transform gives does not convert to the parameter's type
#include <string>
#include <vector>

#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);
int sum(std::vector<int> xs);
std::string name();
std::string same(const std::string& text);
void swallow(const std::string& text);
std::size_t size(const std::string& text);

void test() {
    const Node text{"text", name};
    const Node right{"right", twice, "x"_a = text.map(size)};
    const Node list{"list", sum, "xs"_args = gather(text.map(size))};
#if MUST_FAIL == 1
    const Node wrong{"wrong", twice, "x"_a = text.map(same)};
#elif MUST_FAIL == 2
    const Node wrong{"wrong", twice, "x"_a = text.map(swallow)};
#elif MUST_FAIL == 3
    const Node wrong{"wrong", sum, "xs"_args = gather(text.map(same))};
#endif
}
