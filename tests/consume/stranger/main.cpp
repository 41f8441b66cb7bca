#include <cstdio>
#include <grafo/grafo.hpp>

using namespace grafo::literals;

int other();

int main() {
    grafo::Node twice{"twice", [](int x) { return 2 * x; }, "x"_a = 21};
    grafo::TreeExecutor executor{"stranger", {twice}};
    grafo::run(executor.run());
    std::printf("twice 21 is %d, twice %d is 14\n", twice.output(), other());
}
