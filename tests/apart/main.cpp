// Runs nodes that another file has made, and makes none.
#include <grafo/event_loop.hpp>
#include <grafo/tree_executor.hpp>

grafo::AnyNode task_node();
grafo::AnyNode generator_node();
int output_of_task(const grafo::AnyNode& node);

int main() {
    const grafo::AnyNode task = task_node();
    const grafo::AnyNode generator = generator_node();
    grafo::run(grafo::TreeExecutor{task, generator}.run());
    const bool ran = output_of_task(task) == 1 && generator.output<std::vector<int>>().size() == 2;
    return ran ? 0 : 1;
}
