// The predicate of when takes the parent's output, or nothing, and gives a bool.
#include <string>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace grafo::literals;

int number();
void nothing();
int twice(int x);
bool is_even(int x);
bool always();
Task<bool> is_even_later(int x);
bool is_long(const std::string& text);
std::string text_of(int x);
void swallow(int x);
Task<> swallow_later(int x);

int main() {
    const Node source{"source", number};
    const Node silent{"silent", nothing};
    const Node child{"child", twice, "x"_a};
    const Node other{"other", twice, "x"_a};
    source.connect(child, "x"_a, when(is_even));
    source.connect(other, "x"_a = twice, when(is_even_later));
    AnyNode(source).connect(child, when(always));
    silent.connect(child, when(always));

// EXPECT: grafo: the predicate of when cannot be called with the parent's output
#if MUST_FAIL == 1
    source.connect(child, when(is_long));
#endif
// EXPECT: grafo: the predicate of when cannot be called with the parent's output
#if MUST_FAIL == 2
    silent.connect(child, when(is_even));
#endif
// EXPECT: grafo: the predicate of when gives a bool, or an awaitable of one
#if MUST_FAIL == 3
    source.connect(child, when(text_of));
#endif
// EXPECT: grafo: the predicate of when gives a bool, or an awaitable of one
#if MUST_FAIL == 4
    source.connect(child, when(swallow));
#endif
// EXPECT: grafo: the predicate of when gives a bool, or an awaitable of one
#if MUST_FAIL == 5
    source.connect(child, when(swallow_later));
#endif
// EXPECT: grafo: a predicate that takes the output needs a parent whose output type is known
#if MUST_FAIL == 6
    AnyNode(source).connect(child, when(is_even));
#endif
// EXPECT: grafo: connect takes a child, one way to forward, and one when(predicate)
#if MUST_FAIL == 7
    source.connect(child, when(is_even), when(always));
#endif
// EXPECT: grafo: connect takes a child, one way to forward, and one when(predicate)
#if MUST_FAIL == 8
    source.connect(child, when(is_even), "x"_a);
#endif
// EXPECT: grafo: connect takes a child, one way to forward, and one when(predicate)
#if MUST_FAIL == 9
    source.connect(child, "x"_a, when(is_even), when(always));
#endif
}
