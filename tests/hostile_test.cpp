// Inputs that nobody means well with: names, counts, times, exceptions and callbacks at the ends of
// what they can be.
#include <grafo/fmt.hpp>
#include <grafo/grafo.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;
using std::chrono::nanoseconds;

namespace {

Task<int> one_later() {
    co_await sleep_for(1ms);
    co_return 1;
}
int add_one(int x) { return x + 1; }

RunReport try_run(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

std::string every_byte() {
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
    return all;
}
std::vector<std::string> hostile_names() {
    return {every_byte(),   "",        std::string(1'000'000, 'x'), std::string(3, '\0'),
            "{} {0} %s %n", "a' -> 'b"};
}

// Not a std::exception, and larger than what fits into a pointer.
struct Thing {
    explicit Thing(int v) : value(v) {}
    Counted value;
};
struct NoText : std::exception {
    const char* what() const noexcept override { return nullptr; }
};
struct LongText : std::exception {
    const char* what() const noexcept override { return text.c_str(); }
    std::string text = std::string(1'000'000, 'y');
};
struct HoldsNode : std::runtime_error {
    explicit HoldsNode(AnyNode n) : std::runtime_error("holds a node"), node(std::move(n)) {}
    AnyNode node;
};

}  // namespace

// ---- names ------------------------------------------------------------------------------------

TEST_CASE("Any name is kept byte by byte: in the node, the report, errors and their paths") {
    for (const std::string& name : hostile_names()) {
        const Node<void> root{name, [] {}};
        const Node<void> bad{name, [] { throw std::runtime_error("as it should"); }};
        root.connect(bad);
        CHECK(root.id() == name);
        TreeExecutor executor{name, root};
        executor.description(name);
        const RunReport report = try_run(executor);
        CHECK(executor.name() == name);
        CHECK(report.completed().at(0).id() == name);
        const NodeError error = executor.errors().at(0);
        CHECK(error.path() == std::vector<std::string>{name, name});
        CHECK(error.node().id() == name);
        CHECK_THAT(std::string(error.what()), ContainsSubstring("as it should"));
        CHECK(fmt::format("{}", root).find(name) != std::string::npos);
        CHECK_NOTHROW(fmt::format("{} {} {}", executor, report, error));
    }
}

TEST_CASE("Any text names no parameter but its own") {
    const Node parent{"parent", one_later};
    for (const std::string& name : hostile_names()) {
        const Node child{"child", add_one, "x"_a};
        CHECK_THROWS_AS(parent.connect(child, forward_as(name)), ForwardingParameterError);
        CHECK(parent.children().empty());
    }
    // A view of it is cut nowhere: "x\0" is not "x".
    const Node child{"child", add_one, "x"_a};
    CHECK_THROWS_AS(parent.connect(child, forward_as(std::string("x\0", 2))),
                    ForwardingParameterError);
}

TEST_CASE("A thousand nodes of one name are a thousand nodes") {
    const std::string name = GENERATE(std::string(), std::string("same"));
    std::vector<Node<int>> nodes;
    Node sum{name, [](const std::vector<int>& xs) { return static_cast<int>(xs.size()); },
             "xs"_args};
    for (int i = 0; i < 1'000; ++i) {
        const Node<int> node{name, one_later};
        node.connect(sum, "xs"_a);
        nodes.push_back(node);
    }
    CHECK(try_run(TreeExecutor{name, nodes}).completed().size() == 1'001);
    CHECK(sum.output() == 1'000);
    sum.connect(nodes.front());
    CHECK_THROWS_AS(try_run(TreeExecutor{name, nodes}), CycleError);
    sum.disconnect(nodes.front());
    CHECK(try_run(TreeExecutor{name, nodes}).ok());
}

// ---- counts -----------------------------------------------------------------------------------

TEST_CASE("100,000 parents are connected to one node, some of them cut off again") {
    constexpr int many = 100'000;
    std::vector<AnyNode> parents;
    const Node child{"child", [](const std::vector<int>& xs) { return xs.size(); }, "xs"_args};
    for (int i = 0; i < many; ++i) {
        const Node parent{"parent", [] { return 1; }};
        parent.connect(child, "xs"_a);
        parents.push_back(parent);
    }
    CHECK(child.level() == 1);
    CHECK(try_run(TreeExecutor{child}).ok());
    CHECK(child.output() == many);
    for (std::size_t i = 0; i < 20; ++i) {
        parents[i * 5'000].redirect(NodeList(child));
        parents[i * 5'000].disconnect(child);
    }
    CHECK(child.parents().size() == many - 20);
    CHECK(try_run(TreeExecutor{child}).completed().size() == many - 20 + 1);
    CHECK(child.output() == many - 20);
}

TEST_CASE("100,000 edges between the same two nodes are cut at once") {
    const Node parent{"parent", [] { return 1; }};
    const Node child{"child", [](const std::vector<int>& xs) { return xs.size(); }, "xs"_args};
    for (int i = 0; i < 100'000; ++i) parent.connect(child, "xs"_a);
    CHECK(parent.children().size() == 1);
    CHECK(try_run(TreeExecutor{child}).ok());
    CHECK(child.output() == 100'000);
    parent.disconnect(child);
    CHECK(parent.children().empty());
}

// ---- times ------------------------------------------------------------------------------------

TEST_CASE("At the end of a virtual clock limits that lie beyond it are never reached") {
    EventLoop loop{virtual_time};
    const auto go_to_the_end = []() -> Task<> { co_await sleep_for(nanoseconds::max() - 10ms); };
    loop.run(go_to_the_end());
    const Node node =
        Node{"node", one_later}.timeout(std::chrono::hours::max()).total_timeout(1'000h);
    CHECK(loop.run(TreeExecutor{node}.try_run()).ok());
    int attempts = 0;
    const Node flaky{"flaky", [&attempts] {
                         if (++attempts < 3) throw std::runtime_error("again");
                     }};
    flaky.retry(RetryPolicy{3}.backoff(1ms, 2.0));
    CHECK(loop.run(TreeExecutor{flaky}.try_run()).ok());
    // A pause that the clock cannot reach any more never ends; the run can still be ended.
    attempts = 0;
    flaky.retry(RetryPolicy{3}.backoff(1h));
    const auto limited = [](TreeExecutor executor) -> Task<> {
        co_await with_timeout(1ms, executor.try_run());
    };
    CHECK_THROWS_AS(loop.run(limited(TreeExecutor{flaky})), TimeoutError);
    const RateLimiter rate{1, 1h};
    const auto twice = [](RateLimiter limiter) -> Task<> {
        co_await limiter.acquire();
        co_await with_timeout(
            1ms, [](RateLimiter again) -> Task<> { co_await again.acquire(); }(limiter));
    };
    CHECK_THROWS_AS(loop.run(twice(rate)), TimeoutError);
    CHECK(loop.now() < EventLoop::TimePoint::max());
}

// ---- exceptions -------------------------------------------------------------------------------

TEST_CASE("Whatever is thrown fails its node, is kept as it was, and goes with the error") {
    Counted::reset();
    {
        const Node thing{"thing", [] { throw Thing(7); }};
        const Node no_text{"no text", [] { throw NoText(); }};
        const Node long_text{"long text", [] { throw LongText(); }};
        const Node null{"null", [] { throw nullptr; }};
        const Node of_a_task{"of a task", []() -> Task<> {
                                 co_await yield();
                                 throw std::make_unique<int>(3);
                             }};
        TreeExecutor executor{NodeList(thing, no_text, long_text, null, of_a_task)};
        executor.on_error(ErrorPolicy::keep_going);
        const RunReport report = try_run(executor);
        CHECK(report.failed().size() == 5);
        for (const NodeError& error : executor.errors()) {
            CHECK_THAT(std::string(error.what()), ContainsSubstring(error.node().id()));
            CHECK_NOTHROW(fmt::format("{}", error));
        }
        CHECK_THROWS_AS(report.throw_if_failed(), RunError);
        CHECK_THROWS_AS(std::rethrow_exception(executor.errors().at(0).cause()), Thing);
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("An exception that holds its own node holds it until that runs again") {
    Counted::reset();
    {
        const Node node{"node", [c = Counted(1), runs = 0](NodeContext& context) mutable {
                            if (++runs < 3) throw HoldsNode(context.node());
                        }};
        const Node child{"child", [] {}};
        node.connect(child);
        const TreeExecutor executor{node};
        CHECK(try_run(executor).failed().size() == 1);
        CHECK(try_run(executor).failed().size() == 1);
        CHECK(try_run(executor).ok());
    }
    CHECK(Counted::live() == 0);
}

// ---- callbacks --------------------------------------------------------------------------------

TEST_CASE("A callback may stop its run, twice, and then drop its executor") {
    const bool before = GENERATE(false, true);
    const Node child{"child", add_one, "x"_a};
    std::optional<TreeExecutor> executor;
    const auto end_it = [&executor] {
        if (!executor) return;
        executor->stop();
        executor->stop();
        executor.reset();
    };
    Node node{"node", one_later};
    if (before) {
        node.on_before_run(end_it);
    } else {
        node.on_after_run(end_it);
    }
    node.connect(child, "x"_a);
    executor.emplace(node);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor->try_run());
    CHECK_FALSE(report.ok());
    CHECK_FALSE(executor.has_value());
    CHECK(child.state() != NodeState::completed);
    CHECK(loop.run(TreeExecutor{node}.try_run()).ok());
    CHECK(child.output() == 2);
}

TEST_CASE("A callback may cut and connect anew the edges of the node that it is called for") {
    const Node child{"child", add_one, "x"_a};
    Node node{"node", one_later};
    int calls = 0;
    const auto reconnect = [&](const Node<int>& self) {
        ++calls;
        for (int i = 0; i < 3; ++i) {
            self.disconnect(child);
            self.connect(child, "x"_a = [](int x) { return x + 10; });
        }
    };
    node.on_before_run(reconnect).on_after_run(reconnect);
    node.connect(child, "x"_a);
    for (int i = 0; i < 2; ++i) {
        CHECK(try_run(TreeExecutor{node}).ok());
        CHECK(child.output() == 12);
        CHECK(node.children() == std::vector{AnyNode(child)});
    }
    CHECK(calls == 4);
}

TEST_CASE(
    "on_connect that cuts the edge that it is told of, and on_disconnect that makes it anew") {
    Node node{"node", one_later};
    const Node child{"child", [] { return 5; }};
    const AnyNode target = child;
    int told = 0;
    node.on_connect([&](const Node<int>& self) {
        if (++told < 3) self.disconnect(target);
    });
    node.on_disconnect([&](const Node<int>& self) {
        if (told < 3) self.connect(target);
    });
    node.connect(child);
    CHECK(told == 3);
    CHECK(node.children() == std::vector{target});
    CHECK(try_run(TreeExecutor{node}).completed().size() == 2);
}

TEST_CASE("on_connect that cuts the edge that it is told of, and then throws") {
    const Node<int> node{"node", one_later};
    const Node<int> child{"child", [](int x) { return x; }, "x"_a};
    node.on_connect([&](const Node<int>& self) {
        self.disconnect(child);
        throw std::runtime_error("no");
    });
    const Counted kept(1);
    CHECK_THROWS_WITH(node.connect(child, "x"_a = [kept](int x) { return x + kept.value; }), "no");
    CHECK(node.children().empty());
    CHECK(child.parents().empty());
}

TEST_CASE("on_connect that cuts the edge in a run: its child goes on as if there had been none") {
    const Node<void> slow{"slow", []() -> Task<> { co_await sleep_for(9s); }};
    bool slow_ended = false;
    const Node<void> pending{
        "pending", [&](std::optional<int>) { slow_ended = slow.state() == NodeState::completed; },
        "x"_a = 1};
    slow.connect(pending);
    const Node<int> ended{"ended", [] { return 5; }};
    const Node<int> node{"node", [&](NodeContext& context) -> Task<int> {
                             co_await sleep_for(1s);
                             const AnyNode self = context.node();
                             self.connect(pending);
                             self.connect(ended);
                             co_return 1;
                         }};
    node.on_connect([&](const Node<int>& self) {
        self.disconnect(pending);
        self.disconnect(ended);
    });
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{node, ended, slow}.try_run());
    CHECK(report.completed().size() == 4);
    CHECK(slow_ended);
}

TEST_CASE("on_connect that drops the run that the edge belongs to") {
    const Node<int> node{"node", [] { return 1; }};
    int got = 0;
    const Node<int> child{"child", [&got](int x) { return got = x; }, "x"_a};
    const TreeExecutor executor{node};
    const auto main = [&]() -> Task<> {
        AsyncGenerator<Event> events = executor.yielding();
        while (const Event* event = co_await events.next()) {
            if (event->completed(node)) break;
        }
        node.on_connect([&](const Node<int>& self) {
            events = AsyncGenerator<Event>();
            CHECK(self.children().empty());
        });
        const Counted kept(1);
        node.connect(child, "x"_a = [kept](int x) { return x + kept.value; });
    };
    EventLoop loop{virtual_time};
    loop.run(main());
    CHECK(got == 0);
    CHECK(node.children().empty());
}
