// An event has chunks of generator nodes only, and needs to know what they yield.
// EXPECT: grafo: this node yields no chunks: its callable is not an AsyncGenerator
// EXPECT: grafo: this node yields no chunks: its callable is not an AsyncGenerator
// EXPECT: of a Node<T> or an AnyNode ask for chunk<Y>(node)
// EXPECT: of a Node<T> or an AnyNode ask for chunk<Y>(node)
#include <vector>

#include <grafo/grafo.hpp>
using namespace grafo;
using namespace grafo::literals;

AsyncGenerator<int> generate();
AsyncGenerator<int, double> generate_and_tell();
Task<int> later();

void test(const Event& event) {
    const Node generator{"generator", generate};
    const Node result{"result", generate_and_tell};
    const Node plain{"plain", [] { return 1; }};
    const Node task{"task", later};
    static_cast<void>(event.chunk(generator));
    static_cast<void>(event.chunk(result));
    static_cast<void>(event.chunk<int>(AnyNode(generator)));
#if MUST_FAIL == 1
    static_cast<void>(event.chunk(plain));
#elif MUST_FAIL == 2
    static_cast<void>(event.chunk(task));
#elif MUST_FAIL == 3
    static_cast<void>(event.chunk(Node<std::vector<int>>(generator)));
#elif MUST_FAIL == 4
    static_cast<void>(event.chunk(AnyNode(generator)));
#endif
}
