#include <grafo/grafo.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Which edges are taken, and when a node runs.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Equals;
using grafo_test::Counted;
using std::chrono::nanoseconds;

namespace {

using Log = std::vector<std::string>;
using Nodes = std::vector<AnyNode>;

Log ids(const Nodes& nodes) {
    Log result;
    for (const AnyNode& node : nodes) result.push_back(node.id());
    return result;
}

RunReport try_it(TreeExecutor executor, ErrorPolicy policy = ErrorPolicy::keep_going) {
    EventLoop loop{virtual_time};
    executor.on_error(policy);
    return loop.run(executor.try_run());
}

RunReport run_it(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.run());
}

std::string at(const std::string& what) {
    return std::to_string(EventLoop::current().now().time_since_epoch() / 1s) + " " + what;
}

// A node that says in the log when it starts, and takes `work`.
Node<int> logging(Log& log, const std::string& id, nanoseconds work = 0s) {
    return Node{id, [&log, id, work]() -> Task<int> {
                    log.push_back(at(id));
                    if (work > 0ns) co_await sleep_for(work);
                    co_return 1;
                }};
}

// Why a node has no output.
std::string reason_of(const AnyNode& node) {
    try {
        static_cast<void>(node.output<int>());
    } catch (const OutputUnavailableError& error) {
        return error.what();
    }
    return "it has one";
}

template <class E>
bool holds(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const E&) {
        return true;
    } catch (...) {
        return false;
    }
}

Task<> sleep_once(nanoseconds pause) { co_await sleep_for(pause); }

bool yes() { return true; }
bool no() { return false; }
int twice(int x) { return 2 * x; }

using Optional = std::optional<int>;

}  // namespace

// ---- the truth table ----------------------------------------------------------------------------

namespace {

enum class Ends { completed, failed, skipped, cancelled, not_taken };
constexpr std::array<const char*, 5> end_names{"completed", "failed", "skipped", "cancelled",
                                               "not taken"};

struct Situation {
    ErrorPolicy policy;
    int stops;
    std::size_t column;
};
const std::vector<Situation> situations{
    {ErrorPolicy::keep_going, 0, 0}, {ErrorPolicy::fail_fast, 0, 1},
    {ErrorPolicy::keep_going, 1, 2}, {ErrorPolicy::fail_fast, 1, 2},
    {ErrorPolicy::keep_going, 2, 3}, {ErrorPolicy::fail_fast, 2, 3},
};

// Stops the run when the node is about to start.
class StopBefore final : public Observer {
public:
    StopBefore(AnyNode node, int stops) : node_(std::move(node)), stops_(stops) {}
    void transition(const Transition& step) override {
        if (step.node() != node_ || step.to() != NodeState::ready) return;
        seen = true;
        for (int i = 0; i < stops_; ++i) executor->stop();
    }
    const TreeExecutor* executor = nullptr;
    bool seen = false;

private:
    AnyNode node_;
    int stops_;
};

Task<int> end_so(Ends ends, nanoseconds when) {
    try {
        co_await sleep_for(when);
    } catch (const Cancelled&) {
        if (ends != Ends::failed) throw;
    }
    if (ends == Ends::failed) throw std::runtime_error("broken");
    if (ends == Ends::skipped) throw Skip("for a reason");
    if (ends == Ends::cancelled) throw Cancelled();
    co_return 1;
}

NodeState state_of(Ends ends) {
    switch (ends) {
        case Ends::failed: return NodeState::failed;
        case Ends::skipped: return NodeState::skipped;
        case Ends::cancelled: return NodeState::cancelled;
        default: return NodeState::completed;
    }
}

// What becomes of a node whose parents end so, one after the other.
std::string outcome(Trigger trigger, Ends first, Ends second, const Situation& situation) {
    const Node a{"a", end_so, "ends"_a = first, "when"_a = nanoseconds(1s)};
    const Node b{"b", end_so, "ends"_a = second, "when"_a = nanoseconds(2s)};
    const Node c{"c", [](std::vector<int> xs) { return xs.size(); }, "xs"_args};
    c.trigger(trigger);
    a.connect(c, "xs"_a, when([first] { return first != Ends::not_taken; }));
    b.connect(c, "xs"_a, when([second] { return second != Ends::not_taken; }));
    StopBefore observer(c, situation.stops);
    TreeExecutor executor{c};
    executor.on_error(situation.policy).observe(observer);
    observer.executor = &executor;
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(a.state() == state_of(first));
    CHECK(b.state() == state_of(second));
    CHECK(observer.seen);
    CHECK(report.stopped() == (situation.stops > 0));
    CHECK(report.completed().size() + report.failed().size() + report.skipped().size() +
              report.cancelled().size() ==
          3);
    switch (c.state()) {
        case NodeState::completed:
            CHECK(c.output() ==
                  (first == Ends::completed ? 1U : 0U) + (second == Ends::completed ? 1U : 0U));
            return "runs";
        case NodeState::skipped: return "skipped";
        case NodeState::cancelled: return "cancelled";
        default: return "failed";
    }
}

Log cells_of(const std::string& line) {
    Log cells;
    std::size_t begin = line.find('|');
    for (std::size_t end; (end = line.find('|', begin + 1)) != std::string::npos; begin = end) {
        std::string cell = line.substr(begin + 1, end - begin - 1);
        cell.erase(0, cell.find_first_not_of(' '));
        cell.erase(cell.find_last_not_of(' ') + 1);
        cells.push_back(cell);
    }
    return cells;
}

// The published cells, by "trigger, one parent, the other".
std::map<std::string, Log> published_table() {
    std::string path = __FILE__;
    path.resize(path.rfind("tests"));
    std::ifstream file(path + "docs/running.md");
    REQUIRE(file);
    std::map<std::string, Log> table;
    std::string trigger;
    const std::string heading = "### `Trigger::";
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(heading)) {
            trigger = line.substr(heading.size(), line.size() - heading.size() - 1);
        } else if (!trigger.empty() && line.starts_with("| ") &&
                   !line.starts_with("| one parent")) {
            const Log cells = cells_of(line);
            REQUIRE(cells.size() == 6);
            table[trigger + ", " + cells[0] + ", " + cells[1]] =
                Log(cells.begin() + 2, cells.end());
        }
    }
    return table;
}

}  // namespace

TEST_CASE("Trigger, the ends of two parents, error policy and stop: as in the published table") {
    const std::map<std::string, Log> table = published_table();
    CHECK(table.size() == 3 * 15);
    const std::vector<std::pair<std::string, Trigger>> triggers{
        {"all_completed", Trigger::all_completed},
        {"any_completed", Trigger::any_completed},
        {"all_settled", Trigger::all_settled}};
    for (const auto& [name, trigger] : triggers) {
        for (std::size_t first = 0; first < end_names.size(); ++first) {
            for (std::size_t second = 0; second < end_names.size(); ++second) {
                const std::string one = end_names[std::min(first, second)];
                const std::string key =
                    name + ", " + one + ", " + end_names[std::max(first, second)];
                REQUIRE(table.count(key) == 1);
                for (const Situation& situation : situations) {
                    const bool stopped_by_first = situation.policy == ErrorPolicy::fail_fast &&
                                                  static_cast<Ends>(first) == Ends::failed;
                    // Then the second ends as cancelled, or fails as well.
                    if (stopped_by_first && static_cast<Ends>(second) != Ends::failed &&
                        static_cast<Ends>(second) != Ends::cancelled) {
                        continue;
                    }
                    CAPTURE(key, first, second, situation.stops, situation.column);
                    CHECK(outcome(trigger, static_cast<Ends>(first), static_cast<Ends>(second),
                                  situation) == table.at(key)[situation.column]);
                }
            }
        }
    }
}

// ---- conditions of edges ------------------------------------------------------------------------

TEST_CASE("Each form of connect takes a condition, and the edge is taken or not by its answer") {
    const bool answer = GENERATE(true, false);
    const auto asks = [answer] { return answer; };
    const Node source{"source", [] { return 4; }};
    const Node after{"after", [] { return 1; }};
    const Node whole{"whole", twice, "x"_a};
    const Node mapped{"mapped", twice, "x"_a};
    const Node mapped_later{"mapped later", twice, "x"_a};
    const Node by_name{"by name", twice, "x"_a};
    const Node by_itself{"by itself", twice, "x"_a};
    const Node list{"list", [](const std::vector<int>& xs) { return xs.size(); }, "xs"_args};
    const Node<int> erased = Node{"erased", twice, "x"_a};
    const Node erased_mapped{"erased mapped", twice, "x"_a};
    source.connect(after, when(asks));
    source.connect(whole, "x"_a, when(asks));
    source.connect(mapped, "x"_a = twice, when(asks));
    const auto add = [](int x) -> Task<int> {
        co_await sleep_for(1s);
        co_return x + 1;
    };
    source.connect(mapped_later, "x"_a = add, when(asks));
    source.connect(by_name, forward_as("x"), when(asks));
    source.connect(by_itself, forward_auto, when(asks));
    source.connect(list, "xs"_a, when(asks));
    source.connect(erased, "x"_a, when(asks));
    source.connect(Node<int>(erased_mapped), "x"_a = twice, when(asks));
    const RunReport report = run_it(TreeExecutor{source});
    CHECK(report.ok());
    CHECK(report.completed().size() == (answer ? 10 : 1));
    CHECK(report.skipped().size() == (answer ? 0 : 9));
    if (!answer) return;
    CHECK(after.output() == 1);
    CHECK(whole.output() == 8);
    CHECK(mapped.output() == 16);
    CHECK(mapped_later.output() == 10);
    CHECK(by_name.output() == 8);
    CHECK(by_itself.output() == 8);
    CHECK(list.output() == 1);
    CHECK(erased.output() == 8);
    CHECK(erased_mapped.output() == 16);
}

TEST_CASE("A condition takes the output or nothing, and is plain or a coroutine") {
    const bool is_big = GENERATE(true, false);
    const Node source{"source", [is_big] { return std::string(is_big ? 10 : 1, 'x'); }};
    const Node silent{"silent", [] {}};
    Nodes children;
    const auto child = [&](const std::string& id) {
        children.push_back(Node{id, [] { return 1; }});
        return children.back();
    };
    source.connect(child("by reference"), when([](const std::string& s) { return s.size() > 5; }));
    source.connect(child("by value"), when([](std::string s) { return s.size() > 5; }));
    source.connect(child("view"), when([](std::string_view s) { return s.size() > 5; }));
    source.connect(child("any"), when([](const auto& s) { return s.size() > 5; }));
    source.connect(child("nothing"), when([is_big] { return is_big; }));
    source.connect(child("like a bool"), when([](const std::string& s) {
                       return s.size() > 5 ? Optional(0) : Optional();
                   }));
    source.connect(child("later"), when([](const std::string& s) -> Task<bool> {
                       co_await sleep_for(1s);
                       co_return s.size() > 5;
                   }));
    source.connect(child("at once"), when([is_big]() -> Task<bool> { co_return is_big; }));
    source.connect(child("moved"), when([is_big, only = std::make_unique<int>(1)] {
                       return is_big && *only == 1;
                   }));
    const auto kept = when([is_big] { return is_big; });
    source.connect(child("named"), kept);
    auto changeable = when([is_big] { return is_big; });
    source.connect(child("changeable"), changeable);
    AnyNode(source).connect(child("of any"), when([is_big] { return is_big; }));
    AnyNode(source).connect(child("of any, later"),
                            when([is_big]() -> Task<bool> { co_return is_big; }));
    silent.connect(child("of silent"), when([is_big] { return is_big; }));
    const RunReport report = run_it(TreeExecutor{source, silent});
    CHECK(report.completed().size() == (is_big ? 2 + children.size() : 2));
    for (const AnyNode& node : children) {
        CAPTURE(node.id());
        CHECK(node.state() == (is_big ? NodeState::completed : NodeState::skipped));
    }
}

TEST_CASE("A condition is asked once a run, after the completed event and before the transform") {
    Log log;
    const Node source{"source", [] { return 3; }};
    source.on_after_run([&log] { log.push_back("after run"); });
    const Node child{"child", [&log](int x) { log.push_back("child " + std::to_string(x)); },
                     "x"_a};
    source.connect(
        child,
        "x"_a =
            [&log](int x) {
                log.push_back("transform");
                return x * 10;
            },
        when([&log](int x) {
            log.push_back("asked " + std::to_string(x));
            return true;
        }));
    for (int i = 0; i < 2; ++i) {
        log.clear();
        run_it(TreeExecutor{source});
        CHECK(log == Log{"after run", "asked 3", "transform", "child 30"});
    }
}

TEST_CASE("The transform of an edge that is not taken is not called") {
    int calls = 0;
    const Node source{"source", [] { return 3; }};
    const auto plain = [&calls](int x) {
        ++calls;
        return x;
    };
    const auto coroutine = [&calls](int x) -> Task<int> {
        ++calls;
        co_return x;
    };
    const Node a{"a", twice, "x"_a};
    const Node b{"b", twice, "x"_a};
    const Node c{"c", [](const std::vector<int>& xs) { return xs; }, "xs"_args};
    c.trigger(Trigger::all_settled);
    const auto refuse = []() -> Task<bool> {
        co_await sleep_for(1s);
        co_return false;
    };
    source.connect(a, "x"_a = plain, when(no));
    source.connect(b, "x"_a = coroutine, when(refuse));
    source.connect(c, "xs"_a = plain, when(no));
    source.connect(c, "xs"_a = coroutine, when(refuse));
    source.connect(c, "xs"_a = [](int x) { return x + 1; }, when(yes));
    const RunReport report = run_it(TreeExecutor{source});
    CHECK(ids(report.skipped()) == Log{"a", "b"});
    CHECK(c.output() == std::vector<int>{4});
    CHECK(calls == 0);
}

TEST_CASE("The conditions of a node's edges are asked at the same time") {
    Log log;
    const Node<int> source = logging(log, "source");
    const Node<int> first = logging(log, "first");
    const Node<int> second = logging(log, "second");
    const auto after = [](nanoseconds pause) {
        return [pause](int) -> Task<bool> {
            co_await sleep_for(pause);
            co_return true;
        };
    };
    source.connect(first, when(after(2s)));
    source.connect(first, when(after(3s)));
    source.connect(second, when(after(1s)));
    CHECK(run_it(TreeExecutor{source}).elapsed() == 3s);
    CHECK(log == Log{"0 source", "1 second", "3 first"});
}

TEST_CASE("What a condition throws fails the child, and names the edge") {
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    const bool coroutine = GENERATE(false, true);
    const Trigger trigger =
        GENERATE(Trigger::all_completed, Trigger::any_completed, Trigger::all_settled);
    const Node source{"source", [] { return 3; }};
    bool called = false;
    const Node child{"child", [&called](Optional) { called = true; }, "x"_a};
    child.trigger(trigger);
    if (coroutine) {
        source.connect(child, "x"_a, when([](int) -> Task<bool> {
                           co_await sleep_for(1s);
                           throw std::out_of_range("row 7");
                       }));
    } else {
        source.connect(child, "x"_a, when([](int) -> bool { throw std::out_of_range("row 7"); }));
    }
    const RunReport report = try_it(TreeExecutor{source}, policy);
    CHECK(ids(report.completed()) == Log{"source"});
    REQUIRE(ids(report.failed()) == Log{"child"});
    CHECK_FALSE(called);
    CHECK(report.errors()[0].attempts() == 0);
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("condition of the edge") &&
                                              ContainsSubstring("'source' -> 'child'") &&
                                              ContainsSubstring("row 7"));
    bool nested = false;
    try {
        std::rethrow_exception(report.errors()[0].cause());
    } catch (const Error& error) {
        try {
            std::rethrow_if_nested(error);
        } catch (const std::out_of_range&) {
            nested = true;
        }
    }
    CHECK(nested);
}

TEST_CASE("A transform that throws behind a condition is called the transform of the edge") {
    const Node source{"source", [] { return 3; }};
    const Node child{"child", twice, "x"_a};
    source.connect(
        child, "x"_a = [](int) -> int { throw std::runtime_error("broken"); }, when(yes));
    const RunReport report = try_it(TreeExecutor{source});
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("the transform of the edge"));
}

TEST_CASE("A condition or a transform that ends as cancelled does not take the edge") {
    const int form = GENERATE(0, 1, 2, 3);
    const Node source{"source", [] { return 3; }};
    const Node child{"child", [](int x) { return x; }, "x"_a};
    const Node finally{"finally", [](Optional x) { return x.has_value(); }, "x"_a};
    finally.trigger(Trigger::all_settled);
    const auto connect = [&](const auto& to) {
        if (form == 0) source.connect(to, "x"_a, when([]() -> bool { throw Cancelled(); }));
        if (form == 1)
            source.connect(to, "x"_a, when([]() -> Task<bool> {
                               co_await yield();
                               throw Cancelled();
                           }));
        if (form == 2) source.connect(to, "x"_a = [](int) -> int { throw Cancelled(); });
        if (form == 3)
            source.connect(
                to, "x"_a = [](int) -> Task<int> {
                    co_await yield();
                    throw Cancelled();
                });
    };
    connect(child);
    connect(finally);
    const RunReport report = try_it(TreeExecutor{source}, ErrorPolicy::fail_fast);
    CHECK(report.ok());
    CHECK(ids(report.skipped()) == Log{"child"});
    CHECK(finally.state() == NodeState::completed);
    CHECK_FALSE(finally.output());
}

TEST_CASE("A condition may disconnect its own edge, and the child goes by what is left") {
    const bool coroutine = GENERATE(false, true);
    const bool answer = GENERATE(false, true);
    const bool last = GENERATE(false, true);  // is that its last edge?
    const Node source{"source", [] { return 3; }};
    const Node other{"other", []() -> Task<int> {
                         co_await sleep_for(5s);
                         co_return 4;
                     }};
    const Node child{"child", [](const std::vector<int>& xs) { return xs; }, "xs"_args};
    if (!last) other.connect(child, "xs"_a);
    if (coroutine) {
        source.connect(child, "xs"_a, when([&, answer](int) -> Task<bool> {
                           co_await sleep_for(1s);
                           source.disconnect(child);
                           co_await yield();
                           co_return answer;
                       }));
    } else {
        source.connect(child, "xs"_a, when([&, answer](int) {
                           source.disconnect(child);
                           return answer;
                       }));
    }
    for (int i = 0; i < 2; ++i) {
        const RunReport report = try_it(TreeExecutor{source, other});
        CHECK(report.ok());
        if (last) {
            CHECK(child.state() == NodeState::skipped);
            CHECK_THAT(reason_of(child), ContainsSubstring("disconnected"));
        } else {
            REQUIRE(child.state() == NodeState::completed);
            CHECK(child.output() == std::vector<int>{4});
        }
        CHECK(source.children() == Nodes{child});
    }
}

TEST_CASE("Each run asks its conditions anew") {
    int value = 1;
    const Node source{"source", [&value] { return value; }};
    const Node odd{"odd", twice, "x"_a};
    const Node even{"even", twice, "x"_a};
    const Node join{"join", [](Optional a, Optional b) { return a.value_or(0) + b.value_or(0); },
                    "a"_a = odd, "b"_a = even};
    join.trigger(Trigger::any_completed);
    source.connect(odd, "x"_a, when([](int x) { return x % 2 == 1; }));
    source.connect(even, "x"_a, when([](int x) -> Task<bool> { co_return x % 2 == 0; }));
    const TreeExecutor executor{source};
    for (value = 1; value < 5; ++value) {
        const RunReport report = run_it(executor);
        CHECK(report.completed().size() == 3);
        CHECK(ids(report.skipped()) == Log{value % 2 == 1 ? "even" : "odd"});
        CHECK(join.output() == 2 * value);
    }
}

TEST_CASE("A condition on a pipe is refused") {
    const Node source{"source", []() -> AsyncGenerator<int> { co_yield 1; }};
    const Node reader{"reader", [](AsyncGenerator<int>) {}, "xs"_a};
    CHECK_THROWS_AS(source.connect(reader, "xs"_a, when(yes)), ForwardingTypeError);
    CHECK(source.children().empty());
    CHECK_THROWS_WITH(source.connect(reader, forward_as("xs"), when(yes)),
                      ContainsSubstring("pipe") && ContainsSubstring("'xs'"));
}

TEST_CASE("A connect with a condition that is refused leaves no edge") {
    const Node source{"source", [] { return 1; }};
    const Node<int> child = Node{"child", twice, "x"_a = 3};
    CHECK_THROWS_AS(source.connect(child, "x"_a, when(yes)), ForwardingOverrideError);
    CHECK_THROWS_AS(source.connect(child, "y"_a, when(yes)), ForwardingParameterError);
    CHECK_THROWS_AS(source.connect(child, forward_auto, when(yes)), AutoForwardError);
    CHECK(source.children().empty());
    CHECK(run_it(TreeExecutor{child}).completed().size() == 1);
}

TEST_CASE("redirect keeps the condition of an edge, and disconnect removes it") {
    const Node source{"source", [] { return 1; }};
    const Node child{"child", [] { return 1; }};
    const Node other{"other", [] { return 1; }};
    source.connect(child, when(no));
    source.redirect({child, other});
    CHECK(ids(run_it(TreeExecutor{source}).skipped()) == Log{"child"});
    source.disconnect(child);
    source.connect(child);
    CHECK(run_it(TreeExecutor{source}).completed().size() == 3);
}

// ---- conditions while the graph changes ---------------------------------------------------------

TEST_CASE("An edge made in the run may have a condition: from a running, or a settled parent") {
    const bool answer = GENERATE(false, true);
    const Node settled{"settled", [] { return 5; }};
    const Node maker{"maker", [&, answer](NodeContext& context) -> Task<int> {
                         co_await sleep_for(1s);
                         const Node<int> self(context.node());
                         const Node a{"a", twice, "x"_a};
                         const Node b{"b", twice, "x"_a};
                         settled.connect(a, "x"_a,
                                         when([answer](int x) { return answer && x == 5; }));
                         const auto later = [answer](int x) -> Task<bool> {
                             co_await sleep_for(1s);
                             co_return answer&& x == 7;
                         };
                         self.connect(b, "x"_a, when(later));
                         co_return 7;
                     }};
    for (int i = 0; i < 2; ++i) {
        const RunReport report = run_it(TreeExecutor{settled, maker});
        if (answer) {
            CHECK(ids(report.completed()) == Log{"settled", "maker", "a", "b"});
        } else {
            CHECK(ids(report.skipped()) == Log{"a", "b"});
        }
        CHECK(settled.children().empty());
    }
}

TEST_CASE("An edge that was not taken and is disconnected before the child starts counts no more") {
    const Node source{"source", [] { return 5; }};
    const Node other{"other", [&]() -> Task<int> {
                         co_await sleep_for(1s);
                         co_return 6;
                     }};
    const Node child{"child", [](const std::vector<int>& xs) { return xs; }, "xs"_args};
    source.connect(child, "xs"_a, when(no));
    other.connect(child, "xs"_a);
    bool disconnect = true;
    other.on_after_run([&] {
        if (disconnect) source.disconnect(child);
    });
    run_it(TreeExecutor{child});
    REQUIRE(child.state() == NodeState::completed);
    CHECK(child.output() == std::vector<int>{6});
    disconnect = false;
    run_it(TreeExecutor{child});
    CHECK(child.state() == NodeState::skipped);
}

TEST_CASE("A node that is cut off from all of its parents in the run is skipped, by any trigger") {
    const Trigger trigger =
        GENERATE(Trigger::all_completed, Trigger::any_completed, Trigger::all_settled);
    const Node parent{"parent", [](NodeContext& context) { context.node().redirect({}); }};
    const Node child{"child", [] { return 1; }};
    child.trigger(trigger);
    parent.connect(child);
    CHECK(ids(run_it(TreeExecutor{parent}).skipped()) == Log{"child"});
    CHECK_THAT(reason_of(child), ContainsSubstring("disconnected from its parents"));
}

TEST_CASE("A node without parents runs, by any trigger") {
    const Trigger trigger =
        GENERATE(Trigger::all_completed, Trigger::any_completed, Trigger::all_settled);
    const Node node{"node", [] { return 1; }};
    node.trigger(trigger);
    CHECK(run_it(TreeExecutor{node}).completed().size() == 1);
}

// ---- reasons ------------------------------------------------------------------------------------

TEST_CASE("A skipped node says which parent it was skipped for, and what the first cause was") {
    const Node failed{"failed", []() -> int { throw std::runtime_error("broken"); }};
    const Node skipped{"skipped", []() -> int { throw Skip("no news"); }};
    const Node silent{"silent", []() -> int { throw Skip(); }};
    const Node cancelled{"cancelled", []() -> int { throw Cancelled(); }};
    const Node refusing{"refusing", [] { return 1; }};
    Nodes rows[3];
    for (const AnyNode& parent : Nodes{failed, skipped, silent, cancelled, refusing}) {
        AnyNode above = parent;
        for (Nodes& row : rows) {
            row.push_back(Node{"below " + above.id(), [] { return 1; }});
            if (above == refusing) {
                above.connect(row.back(), when(no));
            } else {
                above.connect(row.back());
            }
            above = row.back();
        }
    }
    try_it(TreeExecutor{failed, skipped, silent, cancelled, refusing});
    const auto reasons = [](const Nodes& row) {
        Log result;
        for (const AnyNode& node : row) {
            const std::string text = reason_of(node);
            const std::size_t begin = text.find("skipped (") + 9;
            result.push_back(text.substr(begin, text.size() - begin - 1));
        }
        return result;
    };
    CHECK(reasons(rows[0]) == Log{"parent 'failed' failed", "parent 'skipped' was skipped: no news",
                                  "parent 'silent' was skipped", "parent 'cancelled' was cancelled",
                                  "the condition of the edge from 'refusing' was not met"});
    CHECK(reasons(rows[1]) ==
          Log{"parent 'below failed' was skipped: parent 'failed' failed",
              "parent 'below skipped' was skipped: no news",
              "parent 'below silent' was skipped: parent 'silent' was skipped",
              "parent 'below cancelled' was skipped: parent 'cancelled' was cancelled",
              "parent 'below refusing' was skipped: the condition of the edge from 'refusing' was "
              "not met"});
    CHECK(reasons(rows[2])[0] == "parent 'below below failed' was skipped: parent 'failed' failed");
}

TEST_CASE("The reason stays as short however long the chain of skipped nodes is") {
    const Node first{"first", []() -> int { throw std::runtime_error("broken"); }};
    AnyNode last = first;
    std::optional<TreeExecutor> executor{TreeExecutor{first}};
    for (int i = 0; i < 20'000; ++i) {
        const AnyNode next = Node{"link", [] { return 1; }};
        last.connect(next);
        last = next;
    }
    const RunReport report = try_it(std::move(*executor));
    CHECK(report.skipped().size() == 20'000);
    CHECK_THAT(reason_of(last), ContainsSubstring("parent 'link' was skipped: parent 'first' "
                                                  "failed"));
    CHECK(reason_of(last).size() < 150);
}

// ---- any_completed ------------------------------------------------------------------------------

TEST_CASE("any_completed waits until all parents have ended, and runs with what there is") {
    Log log;
    const auto branch = [&log](const std::string& id, nanoseconds work, bool fails) {
        return Node{id, [&log, id, work, fails]() -> Task<int> {
                        co_await sleep_for(work);
                        log.push_back(at(id));
                        if (fails) throw std::runtime_error("broken");
                        co_return 1;
                    }};
    };
    const Node join{"join",
                    [&log](Optional a, const int* b, const Optional& c) {
                        log.push_back(at("join"));
                        return std::to_string(a.value_or(-1)) + (b != nullptr ? "b" : "-") +
                               std::to_string(c.value_or(-1));
                    },
                    "a"_a, "b"_a, "c"_a};
    join.trigger(Trigger::any_completed);
    branch("a", 1s, false).connect(join, "a"_a);
    branch("b", 3s, true).connect(join, "b"_a);
    branch("c", 2s, true).connect(join, "c"_a);
    const RunReport report = try_it(TreeExecutor{join});
    CHECK(log == Log{"1 a", "2 c", "3 b", "3 join"});
    REQUIRE(join.state() == NodeState::completed);
    CHECK(join.output() == "1--1");
    CHECK(report.failed().size() == 2);
}

TEST_CASE("any_completed under fail_fast does not run after a failure") {
    const Node fine{"fine", [] { return 1; }};
    const Node broken{"broken", []() -> Task<int> {
                          co_await sleep_for(1s);
                          throw std::runtime_error("broken");
                      }};
    const Node join{"join", [] { return 1; }};
    join.trigger(Trigger::any_completed);
    fine.connect(join);
    broken.connect(join);
    const RunReport report = try_it(TreeExecutor{fine, broken}, ErrorPolicy::fail_fast);
    CHECK(ids(report.cancelled()) == Log{"join"});
}

// ---- parameters that may be empty ---------------------------------------------------------------

TEST_CASE("An edge that is not taken gives nullopt, nullptr or no element") {
    const bool taken = GENERATE(false, true);
    const Node text{"text", [] { return std::string("text"); }};
    const Node only{"only", [] { return std::make_unique<int>(7); }};
    const Node maybe{"maybe", [] { return Optional(3); }};
    const auto asks = [taken] { return taken; };
    const Node by_value{"by value", [](std::optional<std::string> x) { return x; }, "x"_a};
    const Node by_reference{"by reference", [](const std::optional<std::string>& x) { return x; },
                            "x"_a};
    const Node pointer{"pointer", [](const std::string* x) { return x; }, "x"_a};
    const Node list{"list", [](std::vector<std::string> xs) { return xs; }, "xs"_args};
    const Node pointers{"pointers", [](std::vector<const std::string*> xs) { return xs; },
                        "xs"_args};
    const Node by_list_reference{"by list reference",
                                 [](const std::vector<const std::string*>& xs) { return xs; },
                                 "xs"_args};
    const Node moved{"moved", [](std::optional<std::unique_ptr<int>> x) { return x ? **x : 0; },
                     "x"_a};
    const Node same{"same", [](Optional x) { return x; }, "x"_a};
    const Node converted{"converted", [](std::optional<std::string> x) { return x; }, "x"_a};
    const Nodes all{by_value,          by_reference, pointer, list,     pointers,
                    by_list_reference, moved,        same,    converted};
    for (const AnyNode& node : all) node.trigger(Trigger::all_settled);
    text.connect(by_value, "x"_a, when(asks));
    text.connect(by_reference, "x"_a, when(asks));
    text.connect(pointer, "x"_a, when(asks));
    text.connect(list, "xs"_a, when(asks));
    text.connect(pointers, "xs"_a, when(asks));
    text.connect(by_list_reference, "xs"_a, when(asks));
    only.connect(moved, "x"_a, when(asks));
    maybe.connect(same, "x"_a, when(asks));
    text.connect(converted, "x"_a = [](const std::string& s) { return s + "!"; }, when(asks));
    run_it(TreeExecutor{text, only, maybe});
    for (const AnyNode& node : all) {
        CAPTURE(node.id());
        REQUIRE(node.state() == NodeState::completed);
    }
    CHECK(by_value.output().value_or("") == (taken ? "text" : ""));
    CHECK(by_reference.output().value_or("") == (taken ? "text" : ""));
    CHECK(pointer.output() == (taken ? &text.output() : nullptr));
    CHECK(list.output().size() == (taken ? 1 : 0));
    CHECK(pointers.output() == (taken ? std::vector<const std::string*>{&text.output()}
                                      : std::vector<const std::string*>{}));
    CHECK(by_list_reference.output() == pointers.output());
    CHECK(moved.output() == (taken ? 7 : 0));
    CHECK(same.output().value_or(0) == (taken ? 3 : 0));
    CHECK(converted.output().value_or("") == (taken ? "text!" : ""));
    if (!taken) CHECK(*only.output() == 7);  // it was not moved out
}

TEST_CASE("A list under all_settled has the elements of those edges that were taken, in order") {
    const Node list{"list", [](const std::vector<const int*>& xs) { return xs; }, "xs"_args};
    list.trigger(Trigger::all_settled);
    std::vector<Node<int>> parents;
    for (int i = 0; i < 6; ++i) {
        parents.push_back(Node{[i] {
            if (i == 2) throw std::runtime_error("broken");
            if (i == 4) throw Skip();
            return i;
        }});
        parents.back().connect(list, "xs"_a, when([i] { return i != 3; }));
    }
    try_it(TreeExecutor{list});
    CHECK(list.output() == std::vector<const int*>{&parents[0].output(), &parents[1].output(),
                                                   &parents[5].output()});
}

TEST_CASE(
    "A parameter that cannot be empty is refused under the other triggers, before the start") {
    const Trigger trigger = GENERATE(Trigger::any_completed, Trigger::all_settled);
    const int form = GENERATE(0, 1, 2, 3, 4);
    bool started = false;
    const Node source{"source", [&started] {
                          started = true;
                          return 1;
                      }};
    AnyNode child;
    if (form == 0) child = Node{"child", twice, "x"_a = source};
    if (form == 1) child = Node{"child", [](const int& x) { return x; }, "x"_a = source};
    if (form == 2) child = Node{"child", twice, "x"_a = source.map(twice)};
    if (form >= 3) child = Node{"child", twice, "x"_a};
    if (form == 3) source.connect(child, "x"_a, when(yes));
    if (form == 4) source.connect(child, forward_as("x"));
    const TreeExecutor executor{source};
    if (trigger == Trigger::any_completed) {
        CHECK(run_it(executor).ok());  // also after a run that was fine
        started = false;
    }
    child.trigger(trigger);
    CHECK_THROWS_AS(run_it(executor), ForwardingTypeError);
    CHECK_THROWS_WITH(run_it(executor), ContainsSubstring("'child'") && ContainsSubstring("'x'") &&
                                            ContainsSubstring("'source'") &&
                                            ContainsSubstring("optional"));
    CHECK_FALSE(started);
    child.trigger(Trigger::all_completed);
    CHECK(run_it(executor).ok());
}

TEST_CASE("Bound and deferred arguments may be of any type under each trigger") {
    const Node source{"source", [] { return 1; }};
    const Node child{"child", [](int a, int b, Optional c) { return a + b + c.value_or(0); },
                     "a"_a = 1, "b"_a = [] { return 2; }, "c"_a = source};
    child.trigger(Trigger::all_settled);
    run_it(TreeExecutor{source});
    CHECK(child.output() == 4);
}

TEST_CASE("An edge made in the run into a parameter that cannot be empty fails the child") {
    const Node maker{"maker", [](NodeContext& context) {
                         const Node made{"made", twice, "x"_a};
                         made.trigger(Trigger::all_settled);
                         Node<int>(context.node()).connect(made, "x"_a);
                         return 1;
                     }};
    const RunReport report = try_it(TreeExecutor{maker});
    REQUIRE(ids(report.failed()) == Log{"made"});
    CHECK(holds<ForwardingTypeError>(report.errors()[0].cause()));
}

// ---- the graph's finally ------------------------------------------------------------------------

TEST_CASE("all_settled runs after a failure under fail_fast, and is not cancelled by one") {
    Log log;
    const Node broken{"broken", []() -> Task<int> {
                          co_await sleep_for(1s);
                          throw std::runtime_error("broken");
                      }};
    const Node fine{"fine", [] { return 1; }};
    const Node<int> running = logging(log, "running", 3s);  // when the failure comes
    const Node<int> after = logging(log, "after", 3s);
    const Node<int> last = logging(log, "last");
    const Node<int> other = logging(log, "other", 1h);
    running.trigger(Trigger::all_settled);
    after.trigger(Trigger::all_settled);
    last.trigger(Trigger::all_settled);
    fine.connect(running);
    broken.connect(after).connect(last);
    const RunReport report = try_it(TreeExecutor{fine, broken, other}, ErrorPolicy::fail_fast);
    CHECK(ids(report.completed()) == Log{"fine", "running", "after", "last"});
    CHECK(ids(report.cancelled()) == Log{"other"});
    CHECK(log == Log{"0 other", "0 running", "1 after", "4 last"});
    CHECK(report.elapsed() == 4s);
}

TEST_CASE("all_settled runs after the first stop, and a second one cancels it") {
    const int stops = GENERATE(0, 1, 2);  // while it runs
    Log log;
    const TreeExecutor* running = nullptr;
    const Node<int> work = logging(log, "work", 1h);
    const Node tidy{"tidy", [&]() -> Task<int> {
                        log.push_back(at("tidy"));
                        for (int i = 0; i < stops; ++i) running->stop();
                        bool cancelled = false;
                        try {
                            co_await sleep_for(5s);
                        } catch (const Cancelled&) {
                            cancelled = true;
                        }
                        log.push_back(at(cancelled ? "cancelled" : "tidied"));
                        if (cancelled) throw Cancelled();
                        co_return 1;
                    }};
    const Node<int> after = logging(log, "after");
    const Node<int> unconditional = logging(log, "unconditional");
    tidy.trigger(Trigger::all_settled);
    unconditional.trigger(Trigger::all_settled);
    work.connect(tidy).connect(after);
    tidy.connect(unconditional);
    const Node stopper{"stopper", [&]() -> Task<> {
                           co_await sleep_for(1s);
                           running->stop();
                       }};
    TreeExecutor executor{work, stopper};
    running = &executor;
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.stopped());
    if (stops == 0) {
        CHECK(log == Log{"0 work", "1 tidy", "6 tidied", "6 unconditional"});
        CHECK(ids(report.cancelled()) == Log{"stopper", "work", "after"});
    } else {
        CHECK(log == Log{"0 work", "1 tidy", "1 cancelled"});
        CHECK(tidy.state() == NodeState::cancelled);
        CHECK(unconditional.state() == NodeState::cancelled);
        CHECK(after.state() == NodeState::skipped);
    }
}

TEST_CASE(
    "Under all_settled conditions and transforms are evaluated after the first stop as well") {
    const int stops = GENERATE(1, 2);
    Log log;
    const TreeExecutor* running = nullptr;
    const Node source{"source", [] { return 1; }};
    const auto asks = [&log](int) -> Task<bool> {
        co_await sleep_for(2s);
        log.push_back(at("asked"));
        co_return true;
    };
    const auto makes = [&log](int x) -> Task<int> {
        co_await sleep_for(2s);
        log.push_back(at("made"));
        co_return x + 1;
    };
    const Node finally{"finally", [](Optional x) { return x.value_or(0); }, "x"_a};
    const Node child{"child", twice, "x"_a};
    finally.trigger(Trigger::all_settled);
    source.connect(finally, "x"_a = makes, when(asks));
    source.connect(child, "x"_a = makes, when(asks));
    const Node stopper{"stopper", [&]() -> Task<> {
                           co_await sleep_for(1s);
                           for (int i = 0; i < stops; ++i) running->stop();
                       }};
    TreeExecutor executor{source, stopper};
    running = &executor;
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(child.state() == NodeState::cancelled);
    if (stops == 1) {
        CHECK(log == Log{"2 asked", "4 made"});
        REQUIRE(finally.state() == NodeState::completed);
        CHECK(finally.output() == 2);
    } else {
        CHECK(log.empty());
        CHECK(finally.state() == NodeState::cancelled);
    }
}

TEST_CASE("A stop that comes before a condition was asked cancels the child, in each run alike") {
    const Trigger trigger = GENERATE(Trigger::all_completed, Trigger::any_completed);
    const bool skipped = GENERATE(false, true);  // its other parent
    int asked = 0;
    const Node other{"other", [skipped]() -> int {
                         if (skipped) throw Skip();
                         return 1;
                     }};
    const Node source{"source", [] { return 1; }};
    const Node child{"child", [] { return 1; }};
    child.trigger(trigger);
    other.connect(child);
    const auto asks = [&asked] {
        ++asked;
        return true;
    };
    source.connect(child, when(asks));
    class StopAtEnd final : public Observer {
    public:
        StopAtEnd(const bool& on, const AnyNode& node) : on_(on), node_(node) {}
        void transition(const Transition& step) override {
            if (on_ && step.node() == node_ && step.to() == NodeState::completed) executor->stop();
        }
        const TreeExecutor* executor = nullptr;

    private:
        const bool& on_;
        AnyNode node_;
    };
    bool observe = false;
    StopAtEnd observer(observe, source);
    TreeExecutor executor{other, source};
    executor.observe(observer);
    observer.executor = &executor;
    EventLoop loop{virtual_time};
    const NodeState expected =
        skipped && trigger == Trigger::all_completed ? NodeState::skipped : NodeState::cancelled;
    observe = true;
    loop.run(executor.try_run());
    CHECK(asked == 0);
    CHECK(source.state() == NodeState::completed);
    CHECK(child.state() == expected);
    observe = false;
    loop.run(executor.try_run());
    CHECK(asked == 1);
    observe = true;
    loop.run(executor.try_run());
    CHECK(asked == 1);
    CHECK(child.state() == expected);
}

TEST_CASE("When the task that awaits the run is cancelled, all_settled still runs and is awaited") {
    Log log;
    const Node<int> work = logging(log, "work", 1h);
    const Node<int> tidy = logging(log, "tidy", 2s);
    tidy.trigger(Trigger::all_settled);
    work.connect(tidy);
    const TreeExecutor executor{work};
    EventLoop loop{virtual_time};
    const auto awaiting = [&]() -> Task<> {
        try {
            co_await executor.run();
        } catch (const Cancelled&) {
            log.push_back(at("cancelled"));
        }
    };
    loop.spawn(awaiting());
    loop.run(sleep_once(1s));  // then it cancels what was spawned
    CHECK(log == Log{"0 work", "1 tidy", "3 cancelled"});
    CHECK(tidy.state() == NodeState::completed);
}

TEST_CASE("A run that is dropped does not run what all_settled waits for") {
    Log log;
    const Node<int> work = logging(log, "work", 1h);
    const Node<int> tidy = logging(log, "tidy");
    tidy.trigger(Trigger::all_settled);
    work.connect(tidy);
    {
        EventLoop loop{virtual_time};
        const auto program = [&]() -> Task<> {
            auto events = TreeExecutor{work}.yielding();
            co_await events.next();
        };
        loop.run(program());
    }
    CHECK(log == Log{"0 work"});
    CHECK(tidy.state() == NodeState::cancelled);
}

TEST_CASE("A timeout and an error of its own end a node with all_settled as any other") {
    const Node broken{"broken", [] { throw std::runtime_error("broken"); }};
    const Node slow{"slow", []() -> Task<> { co_await sleep_for(1h); }};
    const Node thrower{"thrower", [] { throw std::runtime_error("as well"); }};
    slow.trigger(Trigger::all_settled).timeout(1s);
    thrower.trigger(Trigger::all_settled);
    broken.connect(slow);
    broken.connect(thrower);
    const RunReport report = try_it(TreeExecutor{broken}, ErrorPolicy::fail_fast);
    CHECK(ids(report.failed()) == Log{"broken", "thrower", "slow"});
    CHECK(holds<TimeoutError>(report.errors()[2].cause()));
}

TEST_CASE("all_settled retries, waits for its limits and runs its callbacks after a stop") {
    Log log;
    const TreeExecutor* running = nullptr;
    const Semaphore semaphore(1);
    const Node stopper{"stopper", [&] { running->stop(); }};
    int attempts = 0;
    const Node tidy{"tidy", [&]() -> Task<> {
                        co_await sleep_for(1s);
                        if (++attempts < 3) throw std::runtime_error("not yet");
                        log.push_back(at("tidied"));
                    }};
    tidy.trigger(Trigger::all_settled).retry(RetryPolicy{3}.backoff(1s, 1.0)).limit(semaphore);
    tidy.on_before_run([&log]() -> Task<> {
        co_await sleep_for(1s);
        log.push_back(at("before"));
    });
    tidy.on_after_run([&log]() -> Task<> {
        co_await sleep_for(1s);
        log.push_back(at("after"));
    });
    stopper.connect(tidy);
    TreeExecutor executor{stopper};
    running = &executor;
    EventLoop loop{virtual_time};
    loop.run(executor.try_run());
    CHECK(log == Log{"1 before", "6 tidied", "7 after"});
    CHECK(tidy.state() == NodeState::completed);
}

// ---- nothing is left ----------------------------------------------------------------------------

TEST_CASE("Conditions that wait leave nothing, wherever the run is dropped or stopped") {
    const bool drop = GENERATE(true, false);
    std::size_t most = 1;
    for (std::size_t at_event = 0; at_event < most; ++at_event) {
        CAPTURE(at_event);
        Counted::reset();
        {
            const Node source{"source", [c = Counted(3)] { return Counted(c.value); }};
            const Node join{
                "join",
                [c = Counted(4)](const std::optional<Counted>& x, const std::vector<Counted>& xs) {
                    return Counted(static_cast<int>(xs.size()) + (x ? x->value : 0));
                },
                "x"_a, "xs"_args};
            join.trigger(Trigger::all_settled);
            const auto asks = [c = Counted(1)](const Counted& x) -> Task<bool> {
                const Counted local(x.value);
                co_await sleep_for(1s);
                co_return local.value == 3 && c.value == 1;
            };
            const auto makes = [](const Counted& x) -> Task<Counted> {
                const Counted local(x.value);
                co_await sleep_for(1s);
                co_return Counted(local.value);
            };
            source.connect(join, "x"_a = makes, when(asks));
            source.connect(join, "xs"_a, when(asks));
            source.connect(join, "xs"_a = makes, when(asks));
            join.connect(Node{"after", [c = Counted(1)] { return c.value; }}, when(asks));
            TreeExecutor executor{source};
            EventLoop loop{virtual_time};
            const auto program = [&]() -> Task<> {
                auto events = executor.yielding();
                std::size_t count = 0;
                try {
                    while (co_await events.next()) {
                        if (count++ < at_event) continue;
                        if (drop) co_return;
                        executor.stop();
                    }
                } catch (const RunError&) {
                }
                if (count > most) most = count;
                if (at_event == 0 && !drop) most = 12;
            };
            if (drop) most = 7;
            loop.run(program());
        }
        CHECK(Counted::live() == 0);
    }
}
