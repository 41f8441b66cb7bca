// Random graphs of everything that a graph may have: values and ends against a small model, the
// rest by what must always hold. A failure is made smaller before it is shown.

#include <cstdint>
#include <string>

#include "form.hpp"
#include "graph_run.hpp"
#include "graph_spec.hpp"

using namespace torture;

int main(int argc, char** argv) {
    Topic topic("random_graphs", argc, argv);
    topic.shrinks();
    const auto check = [&topic](const GraphSpec& graph, Digest* digest) {
        return topic.outcome([&] { return check_graph(graph, digest); });
    };
    return topic.run({3'000, 20'000, 1'000'000}, [&](std::uint64_t, Random random, Digest& digest) {
        const GraphSpec graph = draw_graph(random);
        if (topic.alone()) fmt::print(stderr, "{}", text_of(graph));
        std::string problems = check(graph, &digest);
        if (problems.empty() || topic.first()) return problems;
        const GraphSpec small = shrink(
            graph, [&](const GraphSpec& candidate) { return !check(candidate, nullptr).empty(); });
        return text_of(small) + check(small, nullptr);
    });
}
