// A file that makes nodes, and knows no executor.
#include <grafo/node.hpp>

namespace {

grafo::Task<int> one() { co_return 1; }
grafo::AsyncGenerator<int> numbers() {
    co_yield 1;
    co_yield 2;
}

}  // namespace

grafo::AnyNode task_node() { return grafo::Node{"task", one}; }
grafo::AnyNode generator_node() { return grafo::Node{"generator", numbers}; }
int output_of_task(const grafo::AnyNode& node) { return node.output<int>(); }
