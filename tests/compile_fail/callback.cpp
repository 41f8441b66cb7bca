// A callback takes nothing or the node.
#include <grafo/grafo.hpp>

using namespace grafo;

int main() {
    const Node node{"node", [] { return 1; }};
    node.on_connect([] {})
        .on_disconnect([](const AnyNode&) {})
        .on_before_run([](const Node<int>&) {})
        .on_after_run([]() -> Task<> { co_return; });

// EXPECT: grafo: a callback takes nothing or the node
#if MUST_FAIL == 1
    node.on_connect([](int) {});
#endif
// EXPECT: grafo: a callback takes nothing or the node
#if MUST_FAIL == 2
    node.on_disconnect([](const AnyNode&, const AnyNode&) {});
#endif
// EXPECT: grafo: a callback takes nothing or the node
#if MUST_FAIL == 3
    node.on_before_run([](const Node<double>&) {});
#endif
// EXPECT: grafo: a callback takes nothing or the node
#if MUST_FAIL == 4
    node.on_after_run([](int) -> Task<> { co_return; });
#endif
}
