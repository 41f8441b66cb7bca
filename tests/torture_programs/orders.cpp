// The order in which ready nodes start, permuted: whatever it is, the graph comes to the same.
// Up to 7 nodes that are ready at once start in each order that there is; more in many.

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "form.hpp"
#include "graph_run.hpp"
#include "graph_spec.hpp"

using namespace torture;

namespace {

// A graph whose first so many nodes need nothing, and whose ends do not hang on the order.
GraphSpec draw_wide(Random& random, int roots) {
    GraphSpec graph = draw_graph(random);
    while (graph.size() < roots + 3) {
        NodeSpec node;
        node.kind = random.one_in(2) ? Kind::plain : Kind::task;
        for (int from = 0; from < graph.size(); ++from) {
            if (!random.one_in(3)) continue;
            EdgeSpec edge;
            edge.from = from;
            edge.to = graph.size();
            graph.edges.push_back(edge);
        }
        graph.nodes.push_back(node);
    }
    std::erase_if(graph.edges, [&](const EdgeSpec& edge) { return edge.to < roots; });
    for (int i = 0; i < graph.size(); ++i) {
        NodeSpec& node = graph.node(i);
        node.loops_to.clear();
        if (i >= roots) continue;
        node.made_by = -1;
        node.priority = 0;
        node.fails_in = 0;
        node.semaphore = node.rate = node.before_throws = false;
    }
    graph.fail_fast = false;
    graph.places = 0;
    graph.rounds = {RoundSpec()};
    make_valid(graph);
    return graph;
}

// What the graph comes to under that many seeds, or until its roots have started in each of
// `orders`; wrong is what is not as the model says.
std::string permute(const GraphSpec& graph, int roots, std::uint64_t seeds, std::size_t orders,
                    Digest* digest) {
    Counted::reset();
    std::string problems;
    {
        Bench bench(graph);
        std::set<std::vector<int>> seen;
        std::uint64_t seed = 0;
        for (; seed < seeds && problems.empty() && seen.size() < orders; ++seed) {
            bench.shuffle(mix(graph.shuffle + seed));
            problems = bench.round(graph.rounds[0], nullptr);
            if (!problems.empty()) {
                problems = fmt::format("  shuffle({}):\n", mix(graph.shuffle + seed)) + problems;
            }
            std::vector<int> order = bench.begins();
            std::erase_if(order, [&](int i) { return i >= roots; });
            seen.insert(std::move(order));
        }
        if (problems.empty() && orders < SIZE_MAX && seen.size() < orders) {
            problems = fmt::format("  {} of {} orders in {} runs\n", seen.size(), orders, seed);
        }
        if (digest == nullptr || !problems.empty()) return problems;
        digest->add(seed);
        for (const std::vector<int>& order : seen) {
            for (const int i : order) digest->add(i);
        }
        problems = bench.round(graph.rounds[0], digest);
    }
    if (Counted::live() != 0) problems += fmt::format("  {} values are left\n", Counted::live());
    return problems;
}

}  // namespace

int main(int argc, char** argv) {
    Topic topic("orders", argc, argv);
    topic.shrinks();
    const int most_roots = topic.length() == Length::brief ? 5 : 7;
    return topic.run({24, 60, 300}, [&](std::uint64_t number, Random random, Digest& digest) {
        // Every other one is about all orders, of 2 nodes and up.
        const bool all = number % 2 == 0;
        const int roots =
            all ? 2 + static_cast<int>(number / 2 % static_cast<unsigned>(most_roots - 1))
                : 8 + random.below(25);
        std::size_t orders = all ? 1 : SIZE_MAX;
        for (std::size_t k = 2; all && k <= static_cast<std::size_t>(roots); ++k) orders *= k;
        // So that with each seed another order is as good as certain to have come.
        const std::uint64_t seeds = all ? 50 * orders : topic.pick({20, 1'000, 5'000});
        const GraphSpec graph = draw_wide(random, roots);
        if (topic.alone()) fmt::print(stderr, "{}", text_of(graph));
        const std::string problems =
            topic.outcome([&] { return permute(graph, roots, seeds, orders, &digest); });
        if (problems.empty()) return problems;
        // While it is made smaller it may lose roots.
        const auto check = [&topic](const GraphSpec& candidate) {
            return topic.outcome([&] { return permute(candidate, 0, 200, SIZE_MAX, nullptr); });
        };
        const GraphSpec small =
            shrink(graph, [&](const GraphSpec& candidate) { return !check(candidate).empty(); });
        return text_of(small) + check(small) + problems;
    });
}
