// What a second run over an unchanged graph allocates: something for the run, nothing for a node.
#include <grafo/grafo.hpp>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "allocations.hpp"
#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;
using grafo_test::allocations;

namespace {

using Nodes = std::vector<Node<int>>;

Task<int> one() { co_return 1; }
Task<int> pass(int x) { co_return x; }
int add_up(const std::vector<int>& xs) {
    int total = 0;
    for (const int x : xs) total = (total + x) % 1'000;
    return total;
}
Task<int> sum(const std::vector<int>& xs) { co_return add_up(xs); }
Task<int> sum_of_its_own(std::vector<int> xs) { co_return add_up(xs); }

// A shape says who the parents of its i-th node are, all of them before it.
struct Shape {
    std::string name;
    std::vector<std::size_t> (*parents)(std::size_t i, std::size_t nodes);
};

const Shape chain{"chain", [](std::size_t i, std::size_t) {
                      return i == 0 ? std::vector<std::size_t>{} : std::vector{i - 1};
                  }};
const Shape fan{"fan", [](std::size_t i, std::size_t nodes) {
                    std::vector<std::size_t> parents;
                    if (i > 0 && i + 1 < nodes) parents.push_back(0);
                    if (i + 1 == nodes) {
                        for (std::size_t k = 1; k + 1 < nodes; ++k) parents.push_back(k);
                    }
                    return parents;
                }};
const Shape wavefront{"wavefront", [](std::size_t i, std::size_t) {
                          constexpr std::size_t width = 10;
                          std::vector<std::size_t> parents;
                          if (i >= width) parents.push_back(i - width);
                          if (i % width > 0) parents.push_back(i - 1);
                          return parents;
                      }};
// Layers of a tenth of the nodes; four parents each, spread over the layer before.
const Shape layered{"layered", [](std::size_t i, std::size_t nodes) {
                        const std::size_t width = nodes / 10;
                        std::vector<std::size_t> parents;
                        for (std::size_t k = 0; i >= width && k < 4; ++k) {
                            parents.push_back((i / width - 1) * width + (i * 7 + k * 3) % width);
                        }
                        return parents;
                    }};

Nodes order_only(const Shape& shape, std::size_t count) {
    Nodes nodes;
    for (std::size_t i = 0; i < count; ++i) {
        const Node next{"n", one};
        for (const std::size_t parent : shape.parents(i, count)) nodes[parent].connect(next);
        nodes.push_back(next);
    }
    return nodes;
}

// One parent forwards into "x", several into the list "xs".
template <auto Sum = sum>
Nodes forwarding(const Shape& shape, std::size_t count) {
    Nodes nodes;
    for (std::size_t i = 0; i < count; ++i) {
        const auto parents = shape.parents(i, count);
        if (parents.empty()) {
            nodes.push_back(Node{"n", one});
        } else if (parents.size() == 1) {
            nodes.push_back(Node{"n", pass, "x"_a = nodes[parents[0]]});
        } else {
            const Node next{"n", Sum, "xs"_args};
            for (const std::size_t parent : parents) nodes[parent].connect(next, "xs"_args);
            nodes.push_back(next);
        }
    }
    return nodes;
}

// How a graph is run: through a stream or not, timed or not.
struct Way {
    std::string name;
    bool streaming;
    bool timing;
};
const Way ways[] = {{"run()", false, false},
                    {"run(), timed", false, true},
                    {"yielding()", true, false},
                    {"yielding(), timed", true, true}};

Task<std::size_t> read(AsyncGenerator<Event> events) {
    std::size_t completed = 0;
    while (const Event* event = co_await events.next()) {
        completed += event->kind() == EventKind::completed ? 1 : 0;
    }
    co_return completed;
}

// How many allocations the run took. No assertion while they are counted: it would allocate itself.
std::size_t count(EventLoop& loop, TreeExecutor& executor, const Way& way, RunReport& report) {
    executor.timing(way.timing);
    const std::size_t before = allocations;
    if (way.streaming) {
        static_cast<void>(loop.run(read(executor.yielding())));
    } else {
        report = loop.run(executor.run());
    }
    return allocations - before;
}

std::size_t second_run(const Nodes& nodes, const Way& way) {
    TreeExecutor executor{"again", nodes};
    EventLoop loop;
    RunReport first;
    RunReport second;
    const std::size_t cold = count(loop, executor, way, first);
    first = RunReport();
    const std::size_t warm = count(loop, executor, way, second);
    CHECK(warm <= cold);
    CHECK(executor.report().completed().size() == nodes.size());
    return warm;
}

std::size_t second_run_beside_the_first_report(const Nodes& nodes, const Way& way) {
    TreeExecutor executor{"again", nodes};
    EventLoop loop;
    RunReport first;
    RunReport second;
    count(loop, executor, way, first);
    first = executor.report();
    const std::size_t warm = count(loop, executor, way, second);
    CHECK(first.completed().size() == nodes.size());
    return warm;
}

std::size_t run_of_another_executor(const Nodes& nodes, const Way& way) {
    EventLoop loop;
    RunReport report;
    TreeExecutor first{"first", nodes};
    count(loop, first, way, report);
    TreeExecutor second{"second", nodes};
    return count(loop, second, way, report);
}

const Shape shapes[] = {chain, fan, wavefront, layered};

// Under a sanitizer each coroutine frame is an allocation of its own.
#if defined(GRAFO_NO_FRAME_RECYCLING)
constexpr std::size_t a_node = 1;
#else
constexpr std::size_t a_node = 0;
#endif

}  // namespace

TEST_CASE("A second run over an unchanged graph allocates as much for 1,000 nodes as for 100") {
    for (const Shape& shape : shapes) {
        for (const auto make : {&order_only, &forwarding<>}) {
            for (const Way& way : ways) {
                INFO(shape.name << (make == &order_only ? "" : ", forwarding") << ", " << way.name);
                const std::size_t small = second_run(make(shape, 100), way);
                const std::size_t large = second_run(make(shape, 1'000), way);
                CHECK(large == small + 900 * a_node);
                CHECK(small <= 11 + 105 * a_node);
            }
        }
    }
}

TEST_CASE("A report that is kept costs the next run its own lists, and still nothing a node") {
    for (const Shape& shape : shapes) {
        INFO(shape.name);
        const Way& way = ways[0];
        const auto small = second_run_beside_the_first_report(forwarding(shape, 100), way);
        const auto large = second_run_beside_the_first_report(forwarding(shape, 1'000), way);
        CHECK(large <= small + 8 + 900 * a_node);
    }
}

TEST_CASE("A run of another executor allocates lists that double, and nothing a node") {
    for (const Shape& shape : shapes) {
        for (const Way& way : ways) {
            INFO(shape.name << ", " << way.name);
            const auto small = run_of_another_executor(forwarding(shape, 100), way);
            const auto large = run_of_another_executor(forwarding(shape, 1'000), way);
            CHECK(large <= small + 8 + 900 * a_node);
        }
    }
}

TEST_CASE("A list taken by value belongs to the body: it is the one allocation of such a node") {
    for (const Way& way : ways) {
        INFO(way.name);
        const std::size_t small = second_run(forwarding<sum_of_its_own>(layered, 100), way);
        const std::size_t large = second_run(forwarding<sum_of_its_own>(layered, 1'000), way);
        CHECK(large == small + 900 * a_node + 810);  // a tenth of the nodes have no parents
    }
}
