// A parameter that reads a stream takes the chunks of a generator, converted or mapped.
#include <string>
#include <vector>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace grafo::literals;

AsyncGenerator<int> numbers();
AsyncGenerator<std::string> texts();
AsyncGenerator<int, double> numbers_and_mean();
Task<std::vector<int>> list();
Task<int> sum(AsyncGenerator<int> in);
Task<int> sum_all(std::vector<AsyncGenerator<int>> ins);
int look(const AsyncGenerator<int>& in);
int length(const std::string& text);
void swallow(int x);
std::string text_of(int x);

int main() {
    const Node source{"source", numbers};
    const Node words{"words", texts};
    const Node plain{"plain", list};
    const Node reader{"reader", sum, "in"_a};
    const Node readers{"readers", sum_all, "ins"_args};
    source.connect(reader, "in"_a);
    source.connect(readers, "ins"_args);
    words.connect(reader, "in"_a = length);
    const Node mapped{"mapped", sum, "in"_a = words.map(length)};
    const Node with_result{"with_result", sum, "in"_a = Node{"mean", numbers_and_mean}};
    const Node bound{"bound", sum, "in"_a = numbers()};

// EXPECT: grafo: the parameter reads a stream, but the parent yields no chunks of a type that
// converts
#if MUST_FAIL == 1
    plain.connect(reader, "in"_a);
#endif
// EXPECT: grafo: the parameter reads a stream, but the parent yields no chunks of a type that
// converts
#if MUST_FAIL == 2
    words.connect(reader, "in"_a);
#endif
// EXPECT: grafo: the parameter reads a stream, but the node yields no chunks of a type that
// converts
#if MUST_FAIL == 3
    const Node wrong{"wrong", sum, "in"_a = plain};
#endif
// EXPECT: grafo: the parameter reads a stream, but the parent yields no chunks
#if MUST_FAIL == 4
    plain.connect(reader, "in"_a = length);
#endif
// EXPECT: grafo: the transform cannot be called with what the parent yields
#if MUST_FAIL == 5
    source.connect(reader, "in"_a = length);
#endif
// EXPECT: grafo: the transform cannot be called with what the parent yields
#if MUST_FAIL == 6
    const Node wrong{"wrong", sum, "in"_a = source.map(length)};
#endif
// EXPECT: grafo: the transform gives nothing to forward
#if MUST_FAIL == 7
    source.connect(reader, "in"_a = swallow);
#endif
// EXPECT: grafo: what the transform gives does not convert to the parameter's type
#if MUST_FAIL == 8
    source.connect(reader, "in"_a = text_of);
#endif
// EXPECT: keep the type that Node{
#if MUST_FAIL == 9
    AnyNode(source).connect(reader, "in"_a = length);
#endif
// EXPECT: grafo: a parameter that reads a stream is taken by value
#if MUST_FAIL == 10
    const Node wrong{"wrong", look, "in"_a};
#endif
// EXPECT: grafo: the parameter reads a stream, but the parent yields no chunks
#if MUST_FAIL == 11
    words.connect(readers, "ins"_args);
#endif
// EXPECT: grafo: the value does not convert to the parameter's type
#if MUST_FAIL == 12
    const Node wrong{"wrong", sum, "in"_a = texts()};
#endif
}
