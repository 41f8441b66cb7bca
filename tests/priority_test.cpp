#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

// Which of the nodes that are ready starts first: node.priority(n), executor.shuffle(seed).

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

namespace {

using Log = std::vector<std::string>;

Node<void> noted(Log& log, const std::string& id) {
    return Node{id, [&log, id] { log.push_back(id); }};
}

Task<> note_later(Log* log, std::string id, std::chrono::nanoseconds work) {
    log->push_back(std::move(id));
    co_await sleep_for(work);
}

void run_one_by_one(const NodeList& nodes) {
    TreeExecutor executor{nodes};
    executor.max_concurrency(1);
    EventLoop(virtual_time).run(executor.run());
}

}  // namespace

TEST_CASE("Of the nodes that are ready the one of the highest priority starts first") {
    Log log;
    Node low{noted(log, "low").priority(-5)};
    Node lowest{noted(log, "lowest").priority(INT_MIN)};
    Node none{noted(log, "none")};
    Node zero{noted(log, "zero").priority(0)};
    Node high{noted(log, "high").priority(7)};
    Node highest{noted(log, "highest").priority(INT_MAX)};
    Node high_too{noted(log, "high too").priority(7)};
    Node low_too{noted(log, "low too").priority(-5)};
    run_one_by_one(NodeList{low, lowest, none, zero, high, highest, high_too, low_too});
    CHECK(log == Log{"highest", "high", "high too", "none", "zero", "low", "low too", "lowest"});
}

TEST_CASE("A priority set anew counts from the next run on, and cannot be set in a run") {
    Log log;
    Node a{noted(log, "a").priority(1)};
    Node b{noted(log, "b").priority(2)};
    run_one_by_one(NodeList{a, b});
    a.priority(5);
    b.priority(0);
    run_one_by_one(NodeList{a, b});
    a.priority(-1);
    run_one_by_one(NodeList{a, b});
    CHECK(log == Log{"b", "a", "a", "b", "b", "a"});

    std::optional<TreeExecutor> executor;
    bool refused = false;
    Node waits{"waits", [&]() -> Task<> {
                   co_await sleep_for(1s);
                   try {
                       a.priority(3);
                   } catch (const SafeExecutionError&) {
                       refused = true;
                   }
               }};
    Node sleeps{"sleeps", []() -> Task<> { co_await sleep_for(2s); }};
    a = Node<void>(AnyNode(sleeps));
    executor.emplace(NodeList{waits, sleeps});
    EventLoop(virtual_time).run(executor->run());
    CHECK(refused);
}

TEST_CASE("With one place the order is exact, as nodes become ready") {
    Log log;
    // first takes 2 s; the others become ready while somebody else has the place.
    Node first{"first", note_later, "log"_a = &log, "id"_a = "first", "work"_a = 2s};
    Node urgent{"urgent", note_later, "log"_a = &log, "id"_a = "urgent", "work"_a = 1s};
    Node normal{"normal", note_later, "log"_a = &log, "id"_a = "normal", "work"_a = 1s};
    Node late{"late", note_later, "log"_a = &log, "id"_a = "late", "work"_a = 1s};
    Node child{"child", note_later, "log"_a = &log, "id"_a = "child", "work"_a = 1s};
    urgent.priority(1);
    child.priority(2);
    late.priority(-1);
    first.connect(urgent);
    first.connect(normal);
    normal.connect(child);
    run_one_by_one(NodeList{first, late});
    CHECK(log == Log{"first", "urgent", "normal", "child", "late"});
}

TEST_CASE("Priorities count with several places, with limits, and after a chunk") {
    Log log;
    Semaphore semaphore(1);
    Node holder{"holder", note_later, "log"_a = &log, "id"_a = "holder", "work"_a = 1s};
    holder.limit(semaphore).priority(9);
    std::vector<AnyNode> nodes{holder};
    for (const int priority : {1, 3, 2}) {
        const std::string id = std::to_string(priority);
        Node node{id, note_later, "log"_a = &log, "id"_a = id, "work"_a = 1s};
        nodes.push_back(node.limit(semaphore).priority(priority));
    }
    TreeExecutor executor{nodes};
    executor.max_concurrency(2);
    EventLoop(virtual_time).run(executor.run());
    CHECK(log == Log{"holder", "3", "2", "1"});

    log.clear();
    const auto generate = [&log](const std::string& id) {
        return [&log, id]() -> AsyncGenerator<int> {
            for (int i = 0; i < 2; ++i) {
                log.push_back(id);
                co_yield i;
            }
        };
    };
    Node low{"low", generate("low")};
    Node high{"high", generate("high")};
    high.priority(1);
    TreeExecutor streamed{low, high};
    streamed.max_concurrency(1);
    EventLoop loop{virtual_time};
    const auto read = [&]() -> Task<> {
        auto events = streamed.yielding();
        while (co_await events.next()) co_await sleep_for(1s);
    };
    loop.run(read());
    REQUIRE(log.size() == 4);
    CHECK(log[0] == "high");
    CHECK(log[1] == "low");  // high gave its place to it at its first chunk
}

TEST_CASE("Random priorities start in the order of a model, one place at a time") {
    std::minstd_rand random(1);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() / 64) % n; };
    for (int run = 0; run < 200; ++run) {
        CAPTURE(run);
        Log log;
        struct Made {
            int priority;
            std::size_t became_ready;
            std::vector<std::size_t> children;
        };
        std::vector<AnyNode> nodes;
        std::vector<Made> made;
        const std::size_t roots = 1 + below(10);
        for (std::size_t i = 0; i < 20; ++i) {
            made.push_back(Made{static_cast<int>(below(7)) - 3, i, {}});
            nodes.push_back(noted(log, std::to_string(i)));
            if (below(3) > 0 || made[i].priority != 0) nodes[i].priority(made[i].priority);
            if (i < roots) continue;
            const std::size_t parent = below(i);
            nodes[parent].connect(nodes[i]);
            made[parent].children.push_back(i);
        }
        std::vector<AnyNode> given(nodes.begin(),
                                   nodes.begin() + static_cast<std::ptrdiff_t>(roots));
        run_one_by_one(given);

        Log expected;
        std::vector<std::size_t> ready;
        for (std::size_t i = 0; i < roots; ++i) ready.push_back(i);
        while (!ready.empty()) {
            const auto next =
                std::max_element(ready.begin(), ready.end(), [&](std::size_t a, std::size_t b) {
                    return made[a].priority < made[b].priority;  // the first of the highest
                });
            const std::size_t node = *next;
            ready.erase(next);
            expected.push_back(std::to_string(node));
            ready.insert(ready.end(), made[node].children.begin(), made[node].children.end());
        }
        CHECK(log == expected);
    }
}

// ---- shuffle ------------------------------------------------------------------------------------

namespace {

struct Shuffled {
    Log order;
    long output = 0;
    std::chrono::nanoseconds elapsed{};
};

Shuffled shuffled(std::optional<std::uint64_t> seed, std::size_t places, int priority = 0) {
    Shuffled result;
    Node sum{"sum",
             [](const std::vector<long>& parts) {
                 long total = 0;
                 for (const long part : parts) total = total * 3 + part;
                 return total;
             },
             "parts"_args};
    std::vector<AnyNode> nodes;
    for (long i = 0; i < 8; ++i) {
        const std::string id = std::to_string(i);
        Node part{id, [&result, id, i] {
                      result.order.push_back(id);
                      return i;
                  }};
        if (priority != 0) part.priority(priority);
        part.connect(sum, "parts"_a);
        nodes.push_back(part);
    }
    TreeExecutor executor{nodes};
    executor.max_concurrency(places);
    if (seed) executor.shuffle(*seed);
    result.elapsed = EventLoop(virtual_time).run(executor.run()).elapsed();
    result.output = sum.output();
    return result;
}

}  // namespace

TEST_CASE("shuffle(seed) starts ready nodes in another order, the same for the same seed") {
    const std::size_t places = GENERATE(1U, 100U);
    const int priority = GENERATE(0, 1, -1);
    const Shuffled plain = shuffled({}, places, priority);
    CHECK(plain.order == Log{"0", "1", "2", "3", "4", "5", "6", "7"});
    std::set<Log> orders;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        const Shuffled first = shuffled(seed, places, priority);
        CHECK(shuffled(seed, places, priority).order == first.order);
        CHECK(first.output == plain.output);
        CHECK(std::set<std::string>(first.order.begin(), first.order.end()).size() == 8);
        orders.insert(first.order);
    }
    CHECK(orders.size() > 45);
}

TEST_CASE("A second run under the same seed has the same order; priorities hold under shuffle") {
    Log log;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 9; ++i) {
        const int priority = i % 3 - 1;
        nodes.push_back(noted(log, std::to_string(priority)).priority(priority));
    }
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        TreeExecutor executor{nodes};
        executor.shuffle(seed).max_concurrency(1);
        EventLoop loop{virtual_time};
        log.clear();
        loop.run(executor.run());
        CHECK(log == Log{"1", "1", "1", "0", "0", "0", "-1", "-1", "-1"});
    }
    log.clear();
    std::vector<AnyNode> others;
    for (int i = 0; i < 9; ++i) others.push_back(noted(log, std::to_string(i)));
    TreeExecutor executor{others};
    executor.shuffle(4);
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    const Log first = std::exchange(log, {});
    loop.run(executor.run());
    CHECK(log == first);
}

TEST_CASE("Whatever the order, a random graph with priorities gives the same outputs") {
    std::minstd_rand random(7);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() / 64) % n; };
    for (int run = 0; run < 60; ++run) {
        CAPTURE(run);
        std::vector<Node<long>> nodes;
        for (std::size_t i = 0; i < 15; ++i) {
            Node node{std::to_string(i),
                      [i](const std::vector<long>& xs) {
                          long total = static_cast<long>(i) + 1;
                          for (const long x : xs) total = total * 5 + x;
                          return total % 1'000'003;
                      },
                      "xs"_args = NodeList(std::vector<AnyNode>())};
            for (std::size_t parent = 0; parent < i; ++parent) {
                if (below(5) == 0) nodes[parent].connect(node, "xs"_a);
            }
            if (below(2) == 0) node.priority(static_cast<int>(below(5)) - 2);
            nodes.push_back(node);
        }
        std::vector<long> outputs;
        for (std::uint64_t seed = 0; seed < 5; ++seed) {
            TreeExecutor executor{nodes};
            if (seed > 0) executor.shuffle(seed);
            executor.max_concurrency(1 + below(4));
            CHECK(EventLoop(virtual_time).run(executor.run()).ok());
            std::vector<long> seen;
            for (const Node<long>& node : nodes) seen.push_back(node.output());
            if (seed == 0) outputs = seen;
            CHECK(seen == outputs);
        }
    }
}
