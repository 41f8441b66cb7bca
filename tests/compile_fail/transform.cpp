// A transform takes the parent's output and gives what the parameter takes.
#include <string>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace grafo::literals;

int number();
void nothing();
int twice(int x);
int length(const std::string& text);
std::string text_of(int x);
Task<std::string> text_later(int x);
void swallow(int x);

int main() {
    const Node source{"source", number};
    const Node silent{"silent", nothing};
    const Node child{"child", length, "text"_a};
    source.connect(child, "text"_a = text_later);
    silent.connect(Node{"after", twice, "x"_a}, "x"_a = number);
    const Node mapped{"mapped", length, "text"_a = source.map(text_of)};

// EXPECT: grafo: the transform cannot be called with the parent's output
#if MUST_FAIL == 1
    source.connect(child, "text"_a = length);
#endif
// EXPECT: grafo: the transform cannot be called with the parent's output
#if MUST_FAIL == 2
    silent.connect(child, "text"_a = text_of);
#endif
// EXPECT: grafo: what the transform gives does not convert to the parameter's type
#if MUST_FAIL == 3
    source.connect(child, "text"_a = twice);
#endif
// EXPECT: grafo: the transform gives nothing to forward
#if MUST_FAIL == 4
    source.connect(child, "text"_a = swallow);
#endif
// EXPECT: grafo: a transform needs a parent whose output type is known
#if MUST_FAIL == 5
    AnyNode(source).connect(child, "text"_a = text_of);
#endif
// EXPECT: grafo: the transform cannot be called with the parent's output
#if MUST_FAIL == 6
    const Node wrong{"wrong", length, "text"_a = source.map(length)};
#endif
}
