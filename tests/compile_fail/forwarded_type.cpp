// What is forwarded converts to the parameter as an argument would.
// EXPECT: grafo: the parent's output does not convert to the parameter's type
// EXPECT: grafo: the parent's output does not convert to the parameter's type
// EXPECT: grafo: the parent's output does not convert to the parameter's type
// EXPECT: grafo: the node's output does not convert to the parameter's type
// EXPECT: grafo: the node's output does not convert to the parameter's type
// EXPECT: grafo: the parent's output does not convert to the parameter's type
// EXPECT: grafo: the node's output does not convert to the parameter's type
#include <memory>
#include <string>
#include <vector>

#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

int twice(int x);
int sum(std::vector<int> xs);
std::string name();
int read_shared(std::shared_ptr<int> p);

void test() {
    const Node text{"text", name};
    const Node number{"number", [] { return 1.5f; }};
    const Node child{"child", twice, "x"_a};
    const Node list{"list", sum, "xs"_args};
    const Node shared{"shared", read_shared, "p"_a};
    number.connect(child, "x"_a);  // float to int: as an argument would
    number.connect(list, "xs"_a);
#if MUST_FAIL == 1
    text.connect(child, "x"_a);
#elif MUST_FAIL == 2
    Node<std::string>(text).connect(child, "x"_a);
#elif MUST_FAIL == 3
    text.connect(list, "xs"_a);
#elif MUST_FAIL == 4
    const Node wrong{"wrong", twice, "x"_a = text};
#elif MUST_FAIL == 5
    const Node wrong{"wrong", sum, "xs"_args = gather(number, text)};
#elif MUST_FAIL == 6
    number.connect(shared, "p"_a);
#elif MUST_FAIL == 7
    const Node<int> wrong{"wrong", twice, "x"_a = Node<std::string>(text)};
#endif
}
