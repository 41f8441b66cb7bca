// What a body asks of its own node: NodeContext, and skip.
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::Equals;

namespace {

template <class... N>
RunReport try_graph(const N&... nodes) {
    const TreeExecutor executor{nodes...};
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

}  // namespace

TEST_CASE("A context is neither copied nor moved: it belongs to its node") {
    static_assert(!std::is_copy_constructible_v<NodeContext>);
    static_assert(!std::is_move_constructible_v<NodeContext>);
    static_assert(!std::is_copy_assignable_v<NodeContext>);
    NodeContext* first = nullptr;
    NodeContext* second = nullptr;
    const Node node{"node",
                    [&](NodeContext& context) { (first == nullptr ? first : second) = &context; }};
    try_graph(node);
    try_graph(node);
    CHECK(first != nullptr);
    CHECK(first == second);
}

TEST_CASE("node() is the node itself, in plain functions, coroutines and generators") {
    const Node plain{"plain", [](NodeContext& context) { return context.node().id(); }};
    const Node task{"task",
                    [](NodeContext& context, std::string text) -> Task<std::string> {
                        co_await sleep_for(1s);
                        co_return text + context.node().id();
                    },
                    "text"_a = "a "};
    const Node generator{"generator",
                         [](NodeContext& context, int n) -> AsyncGenerator<std::string> {
                             for (int i = 0; i < n; ++i) co_yield context.node().id();
                         },
                         "n"_a = 2};
    try_graph(plain, task, generator);
    CHECK(plain.output() == "plain");
    CHECK(task.output() == "a task");
    CHECK(generator.output() == std::vector<std::string>(2, "generator"));
}

TEST_CASE("A body sees itself running, and may change what comes after it") {
    NodeState seen = NodeState::pending;
    const Node last{"last", [] {}};
    const Node never{"never", [] {}};
    const Node node{"node", [&seen, ref = last.ref()](NodeContext& context) {
                        seen = context.node().state();
                        context.node().redirect({AnyNode(ref)});
                    }};
    node.connect(never);
    const RunReport report = try_graph(node);
    CHECK(seen == NodeState::running);
    CHECK(last.state() == NodeState::completed);
    CHECK(never.state() == NodeState::skipped);
    CHECK(report.ok());
    REQUIRE(node.children().size() == 1);  // the wiring of a run lasts for that run
    CHECK(node.children()[0] == never);
}

TEST_CASE("attempt() is 1 in a first try, of every run") {
    std::vector<unsigned> attempts;
    const Node node{"node", [&](NodeContext& context) { attempts.push_back(context.attempt()); }};
    const Node driven{"driven",
                      [&](NodeContext& context) { attempts.push_back(context.attempt()); }};
    driven.timeout(1s);
    try_graph(node, driven);
    try_graph(node, driven);
    CHECK(attempts == std::vector<unsigned>(4, 1));
}

TEST_CASE("cancelled() turns true when the node is asked to end, and stays true") {
    std::vector<bool> seen;
    const auto body = [&seen](NodeContext& context) -> Task<> {
        seen.push_back(context.cancelled());
        try {
            co_await sleep_for(10s);
        } catch (const Cancelled&) {
            seen.push_back(context.cancelled());
        }
        co_await sleep_for(1s);  // to clean up takes time, and is not disturbed
        seen.push_back(context.cancelled());
    };

    SECTION("by a timeout") {
        const Node node{"node", body};
        node.timeout(2s);
        const RunReport report = try_graph(node);
        CHECK(seen == std::vector<bool>{false, true, true});
        CHECK(report.elapsed() == 3s);
        CHECK(node.state() == NodeState::failed);
    }
    SECTION("by a failure elsewhere") {
        const Node node{"node", body};
        const Node fails{"fails", []() -> Task<> {
                             co_await sleep_for(4s);
                             throw std::runtime_error("broken");
                         }};
        const RunReport report = try_graph(node, fails);
        CHECK(seen == std::vector<bool>{false, true, true});
        CHECK(report.elapsed() == 5s);
        CHECK(node.state() == NodeState::cancelled);
    }
    SECTION("by stop()") {
        const Node node{"node", body};
        const TreeExecutor executor{node};
        EventLoop loop{virtual_time};
        const auto stop_later = [&executor]() -> Task<> {
            co_await sleep_for(3s);
            executor.stop();
        };
        loop.spawn(stop_later());
        const RunReport report = loop.run(executor.try_run());
        CHECK(seen == std::vector<bool>{false, true, true});
        CHECK(report.stopped());
        CHECK(node.state() == NodeState::cancelled);
    }
}

TEST_CASE("cancelled() is false again in the next run") {
    bool slow = true;
    std::vector<bool> seen;
    const Node node{"node", [&](NodeContext& context) -> Task<> {
                        seen.push_back(context.cancelled());
                        if (slow) co_await sleep_for(10s);
                    }};
    node.timeout(1s);
    try_graph(node);
    CHECK(node.state() == NodeState::failed);
    slow = false;
    try_graph(node);
    CHECK(node.state() == NodeState::completed);
    CHECK(seen == std::vector<bool>{false, false});
}

TEST_CASE("A plain function that nobody can interrupt may look whether it should end") {
    const Node node{"node", [](NodeContext& context) { return context.cancelled(); }};
    try_graph(node);
    CHECK_FALSE(node.output());
}

TEST_CASE("co_await skip ends the node as skipped, and unwinds its body") {
    struct Guard {
        explicit Guard(bool& flag) : unwound(flag) {}
        ~Guard() { unwound = true; }
        bool& unwound;
    };
    bool unwound = false;
    bool after = false;
    const Node node{"node", [&]() -> Task<int> {
                        const Guard guard(unwound);
                        co_await sleep_for(1s);
                        co_await skip("nothing new");
                        after = true;
                        co_return 1;
                    }};
    const Node child{"child", [](int x) { return x; }, "x"_a = node};
    const RunReport report = try_graph(node);
    CHECK(unwound);
    CHECK_FALSE(after);
    CHECK(report.ok());
    CHECK(report.skipped() == std::vector<AnyNode>{node, child});
    CHECK(node.state() == NodeState::skipped);
    CHECK_THROWS_WITH(node.output(),
                      Equals("node 'node' has no output: it is skipped (nothing new)"));
}

TEST_CASE("throw Skip does the same where no await is possible, and in generators") {
    const Node plain{"plain", []() -> int { throw Skip("old"); }};
    const Node generator{"generator", []() -> AsyncGenerator<int> {
                             co_yield 1;
                             co_await skip("enough");
                             co_yield 2;
                         }};
    const auto callback = [] { throw Skip("by a callback"); };
    const Node before{"before", [] { return 1; }};
    before.on_before_run(callback);
    const RunReport report = try_graph(plain, generator, before);
    CHECK(report.ok());
    CHECK(report.skipped().size() == 3);
    CHECK_THROWS_WITH(plain.output(), Equals("node 'plain' has no output: it is skipped (old)"));
    CHECK_THROWS_WITH(generator.output(),
                      Equals("node 'generator' has no output: it is skipped (enough)"));
    CHECK_THROWS_WITH(before.output(),
                      Equals("node 'before' has no output: it is skipped (by a callback)"));
}

TEST_CASE("Skip is no std::exception, so that a body's own handler does not swallow it") {
    static_assert(!std::is_base_of_v<std::exception, Skip>);
    static_assert(!std::is_base_of_v<std::exception, Cancelled>);
    bool swallowed = false;
    const Node node{"node", [&swallowed]() -> Task<> {
                        try {
                            co_await skip();
                        } catch (const std::exception&) {
                            swallowed = true;
                        }
                    }};
    try_graph(node);
    CHECK_FALSE(swallowed);
    CHECK(node.state() == NodeState::skipped);
    CHECK(Skip().why().empty());
    CHECK(Skip("why").why() == "why");
}
