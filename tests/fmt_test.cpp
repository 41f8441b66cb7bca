// What fmt prints of executors, nodes, events, reports and errors.
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grafo/fmt.hpp>
#include <grafo/grafo.hpp>

#if __has_include(<fmt/std.h>)
#include <fmt/std.h>  // also has a formatter for exceptions: both may be included
#endif

#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

namespace {

Task<int> slow(int seconds) {
    co_await sleep_for(std::chrono::seconds(seconds));
    co_return seconds;
}
int twice(int x) { return 2 * x; }

template <class E>
std::string formatted(E error) {
    return fmt::format("{}", error);
}

}  // namespace

TEST_CASE("An executor is its name, its description, and a line for each edge and each lone node") {
    //   extract -> transform -> load
    //        \------------------/       and `alone`
    const Node extract{"extract", [] { return 1; }};
    const Node transform{"transform", twice, "x"_a = extract};
    const Node load{"load", [](int x, int y) { return x + y; }, "x"_a = transform, "y"_a = extract};
    const Node alone{"alone", [] {}};

    const TreeExecutor executor{"ETL", {extract, alone, alone}};
    CHECK(fmt::format("{}", executor) ==
          "ETL\n"
          "extract -> transform\n"
          "extract -> load\n"
          "transform -> load\n"
          "alone");
    const TreeExecutor described = TreeExecutor{"ETL", {load}}.description("every night at three");
    CHECK(fmt::format("{}", described) ==
          "ETL\n"
          "every night at three\n"
          "transform -> load\n"
          "extract -> transform\n"
          "extract -> load");
}

TEST_CASE("An executor prints what it runs, and no edge to what it does not") {
    const Node root{"root", [] { return 1; }};
    const Node wanted{"wanted", twice, "x"_a = root};
    const Node other{"other", twice, "x"_a = root};
    CHECK(fmt::format("{}", TreeExecutor{"all", {root}}) == "all\nroot -> wanted\nroot -> other");
    CHECK(fmt::format("{}", TreeExecutor{"part", {wanted}}) == "part\nroot -> wanted");
}

TEST_CASE("A node is its id and its state, whatever the type of its handle") {
    const Node node{"extract", [] { return 1; }};
    const Node<int> typed = node;
    const AnyNode any = node;
    CHECK(fmt::format("{}", node) == "extract (pending)");
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{node}.run());
    CHECK(fmt::format("{}", node) == "extract (completed)");
    CHECK(fmt::format("{}", typed) == "extract (completed)");
    CHECK(fmt::format("{}", any) == "extract (completed)");
    CHECK(fmt::format("{}", AnyNode()) == "(no node)");
}

TEST_CASE("A state and an event's kind are words") {
    std::string states;
    for (const NodeState state :
         {NodeState::pending, NodeState::ready, NodeState::running, NodeState::completed,
          NodeState::failed, NodeState::skipped, NodeState::cancelled}) {
        states += fmt::format("{} ", state);
    }
    CHECK(states == "pending ready running completed failed skipped cancelled ");
    std::string kinds;
    for (const EventKind kind :
         {EventKind::started, EventKind::chunk, EventKind::completed, EventKind::failed,
          EventKind::retrying, EventKind::skipped, EventKind::cancelled}) {
        kinds += fmt::format("{} ", kind);
    }
    CHECK(kinds == "started chunk completed failed retrying skipped cancelled ");
}

TEST_CASE("An event is what happened and to which node, and what the error of a failure says") {
    const auto generate = []() -> AsyncGenerator<int> { co_yield 1; };
    const Node chunks{"chunks", generate};
    const Node fails{"fails", [](const std::vector<int>&) { throw std::runtime_error("broken"); },
                     "xs"_a = chunks};
    const Node after{"after", [] {}};
    fails.connect(after);
    const TreeExecutor executor = TreeExecutor{chunks}.on_error(ErrorPolicy::keep_going);
    std::vector<std::string> lines;
    const auto read = [&]() -> Task<> {
        AsyncGenerator<Event> events = executor.yielding();
        while (auto event = co_await events.next()) lines.push_back(fmt::format("{}", *event));
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(read()), RunError);
    CHECK(lines == std::vector<std::string>{
                       "started chunks", "chunk chunks", "completed chunks", "started fails",
                       "failed fails: node 'fails' failed: broken (path: chunks -> fails)",
                       "skipped after"});
}

TEST_CASE("A report is one line: how many nodes ended in which way, and the time") {
    const Node good{"good", slow, "seconds"_a = 2};
    const Node fails{"fails", [](int) { throw std::runtime_error("broken"); }, "x"_a = good};
    const Node after{"after", [] {}};
    fails.connect(after);
    EventLoop loop{virtual_time};
    CHECK(fmt::format("{}", loop.run(TreeExecutor{good}.try_run())) ==
          "1 completed, 1 failed, 1 skipped, 0 cancelled in 2 s");

    const Node quick{"quick", [] {}};
    CHECK(fmt::format("{}", loop.run(TreeExecutor{quick}.run())) ==
          "1 completed, 0 failed, 0 skipped, 0 cancelled in 0 s");
    CHECK(fmt::format("{}", RunReport()) == "0 completed, 0 failed, 0 skipped, 0 cancelled in 0 s");
}

TEST_CASE("The report of a stopped run says so") {
    const Node forever{"forever", slow, "seconds"_a = 1000};
    const TreeExecutor executor{forever};
    EventLoop loop{virtual_time};
    const auto stop = [&executor]() -> Task<> {
        co_await sleep_for(1500ms);
        executor.stop();
    };
    loop.spawn(stop());
    CHECK(fmt::format("{}", loop.run(executor.try_run())) ==
          "0 completed, 0 failed, 0 skipped, 1 cancelled in 1.5 s, stopped");
}

TEST_CASE("The time of a report has a unit that a person would choose") {
    const auto after = [](auto pause) {
        const auto wait = [pause]() -> Task<> { co_await sleep_for(pause); };
        const Node node{"node", wait};
        EventLoop loop{virtual_time};
        const std::string text = fmt::format("{}", loop.run(TreeExecutor{node}.run()));
        const std::string counts = "1 completed, 0 failed, 0 skipped, 0 cancelled in ";
        REQUIRE(text.substr(0, counts.size()) == counts);
        return text.substr(counts.size());
    };
    CHECK(after(0ns) == "0 s");
    CHECK(after(7ns) == "7 ns");
    CHECK(after(999ns) == "999 ns");
    CHECK(after(1us) == "1 us");
    CHECK(after(45600ns) == "45.6 us");
    CHECK(after(999499ns) == "999 us");
    CHECK(after(999500ns) == "1 ms");
    CHECK(after(12345us) == "12.3 ms");
    CHECK(after(999ms) == "999 ms");
    CHECK(after(999900us) == "1 s");
    CHECK(after(1250ms) == "1.25 s");
    CHECK(after(59940ms) == "59.9 s");
    CHECK(after(59950ms) == "1 min");
    CHECK(after(61s) == "1 min 1 s");
    CHECK(after(59min + 59s) == "59 min 59 s");
    CHECK(after(59min + 59600ms) == "1 h");
    CHECK(after(90min) == "1 h 30 min");
    CHECK(after(240h + 20s) == "240 h");
}

TEST_CASE("An error is what it says") {
    const Node fails{"fails", [] { throw std::runtime_error("broken"); }};
    EventLoop loop{virtual_time};
    try {
        loop.run(TreeExecutor{"Nightly", {fails}}.run());
        FAIL("it threw nothing");
    } catch (const RunError& error) {
        CHECK(fmt::format("{}", error) == error.what());
        CHECK(fmt::format("{}", error) ==
              "run 'Nightly': a node failed: node 'fails' failed: broken");
        REQUIRE(error.errors().size() == 1);
        CHECK(fmt::format("{}", error.errors()[0]) == "node 'fails' failed: broken");
    }
    CHECK(formatted(Error("text")) == "text");
    CHECK(formatted(ForwardingParameterError("text")) == "text");
    CHECK(formatted(ForwardingTypeError("text")) == "text");
    CHECK(formatted(ForwardingOverrideError("text")) == "text");
    CHECK(formatted(AutoForwardError("text")) == "text");
    CHECK(formatted(MissingArgumentError("text")) == "text");
    CHECK(formatted(CycleError("text")) == "text");
    CHECK(formatted(SafeExecutionError("text")) == "text");
    CHECK(formatted(OutputUnavailableError("text")) == "text");
    CHECK(formatted(TimeoutError("text")) == "text");
    CHECK(formatted(DeadlockError("text")) == "text");
}

TEST_CASE("A list of nodes is joined as a list of strings is") {
    const Node parent{"parent", [] {}};
    const Node one{"one", [] {}};
    const Node two{"two", [] {}};
    parent.connect(one);
    parent.connect(two);
    CHECK(fmt::format("{}", fmt::join(parent.children(), ", ")) == "one (pending), two (pending)");
}

TEST_CASE("A node that prints itself while it runs is running") {
    std::string seen;
    const Node node{"node",
                    [&seen](NodeContext& context) { seen = fmt::format("{}", context.node()); }};
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{node}.run());
    CHECK(seen == "node (running)");
}

TEST_CASE("All of them take width, fill and alignment as a string does") {
    const Node node{"n", [] {}};
    const AnyNode any = node;
    CHECK(fmt::format("[{:>12}]", node) == "[ n (pending)]");
    CHECK(fmt::format("[{:*<13}]", any) == "[n (pending)**]");
    CHECK(fmt::format("[{:^11}]", NodeState::completed) == "[ completed ]");
    CHECK(fmt::format("[{:.4}]", EventKind::completed) == "[comp]");
    CHECK(fmt::format("[{:-^8}]", Error("ab")) == "[---ab---]");
    CHECK(fmt::format("[{:_<58}]", RunReport()) ==
          "[0 completed, 0 failed, 0 skipped, 0 cancelled in 0 s______]");
    CHECK(fmt::format("[{:.1}]", TreeExecutor{"Name", {node}}) == "[N]");
    CHECK(fmt::format("[{:>{}}]", NodeState::ready, 7) == "[  ready]");
}
