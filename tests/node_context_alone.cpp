// All that grafo/node_context.hpp declares can be called by who includes nothing else.
#include <grafo/node_context.hpp>

#include <cstddef>

namespace {

std::size_t look(grafo::NodeContext& context) {
    return context.attempt() + context.node().id().size() + (context.cancelled() ? 1U : 0U);
}

}  // namespace

int main() {
    std::size_t (*volatile const called)(grafo::NodeContext&) = &look;
    return called != nullptr ? 0 : 1;
}
