// Node<T> is a node whose output is exactly a T.
#include <vector>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace grafo::literals;

int number();
Task<int> number_later();
AsyncGenerator<int> numbers();

int main() {
    const Node<int> plain{"plain", number};
    const Node<int> task{"task", number_later};
    const Node<std::vector<int>> generator{"generator", numbers};

// EXPECT: grafo: the callable gives another type than this Node<T> holds
#if MUST_FAIL == 1
    const Node<double> wider{"wider", number};
#endif
// EXPECT: grafo: the callable gives another type than this Node<T> holds
#if MUST_FAIL == 2
    const Node<void> nothing{"nothing", number_later};
#endif
// EXPECT: grafo: the callable gives another type than this Node<T> holds
#if MUST_FAIL == 3
    const Node<int> one_chunk{"one_chunk", numbers};
#endif
}
