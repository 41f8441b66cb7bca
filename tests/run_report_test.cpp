#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// What a run leaves behind; and that it is true, for random graphs.

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

RunReport try_it(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

TreeExecutor keep_going(const std::string& name, const Nodes& nodes) {
    return TreeExecutor(name, nodes).on_error(ErrorPolicy::keep_going);
}

std::optional<RunError> thrown_by(const RunReport& report) {
    try {
        report.throw_if_failed();
    } catch (const RunError& error) {
        return error;
    }
    return {};
}

AnyNode failing_after(const std::string& id, nanoseconds pause, const std::string& what) {
    return Node{id, [pause, what]() -> Task<> {
                    co_await sleep_for(pause);
                    throw std::runtime_error(what);
                }};
}

AnyNode sleeping(const std::string& id, nanoseconds pause) {
    return Node{id, [pause]() -> Task<> { co_await sleep_for(pause); }};
}

}  // namespace

static_assert(std::is_copy_constructible_v<RunReport>);
static_assert(std::is_nothrow_move_constructible_v<RunReport>);

// ---- its members --------------------------------------------------------------------------------

TEST_CASE("A report of no run is empty and ok") {
    const RunReport report;
    CHECK(report.ok());
    CHECK_FALSE(report.stopped());
    CHECK(report.completed().empty());
    CHECK(report.failed().empty());
    CHECK(report.skipped().empty());
    CHECK(report.cancelled().empty());
    CHECK(report.errors().empty());
    CHECK(report.elapsed() == 0ns);
    CHECK_NOTHROW(report.throw_if_failed());
}

TEST_CASE("A report lists the nodes of each end in the order in which it happened") {
    const Nodes nodes{
        sleeping("late", 4s),
        failing_after("fails late", 3s, "two"),
        sleeping("early", 1s),
        failing_after("fails early", 2s, "one"),
        Node{"skips late",
             []() -> Task<> {
                 co_await sleep_for(6s);
                 co_await skip("no");
             }},
        Node{"skips early", [] { throw Skip{"no"}; }},
    };
    nodes[1].connect(sleeping("below late", 1s));
    nodes[3].connect(sleeping("below early", 1s));
    const RunReport report = try_it(keep_going("flow", nodes));
    CHECK_FALSE(report.ok());
    CHECK_FALSE(report.stopped());
    CHECK(ids(report.completed()) == Log{"early", "late"});
    CHECK(ids(report.failed()) == Log{"fails early", "fails late"});
    CHECK(ids(report.skipped()) == Log{"skips early", "below early", "below late", "skips late"});
    CHECK(report.cancelled().empty());
    CHECK(report.elapsed() == 6s);
    REQUIRE(report.errors().size() == 2);
    CHECK(report.errors()[0].node() == nodes[3]);
    CHECK(report.errors()[1].node() == nodes[1]);
}

TEST_CASE("A skipped node leaves the run ok") {
    const Node node{"node", [] { throw Skip{"no"}; }};
    const RunReport report = try_it(TreeExecutor{node});
    CHECK(report.ok());
    CHECK(ids(report.skipped()) == Log{"node"});
    CHECK_NOTHROW(report.throw_if_failed());
}

TEST_CASE("Under fail_fast the cancelled are listed as they end, then what was never started") {
    const Node slow_to_end{"slow to end", []() -> Task<> {
                               bool cancelled = false;
                               try {
                                   co_await sleep_for(1h);
                               } catch (const Cancelled&) {
                                   cancelled = true;
                               }
                               if (cancelled) co_await sleep_for(5s);
                           }};
    const Nodes nodes{slow_to_end, sleeping("quick to end", 1h), failing_after("fails", 1s, "x")};
    const RunReport report = try_it(TreeExecutor{nodes});
    CHECK(ids(report.failed()) == Log{"fails"});
    CHECK(ids(report.cancelled()) == Log{"quick to end", "slow to end"});
    CHECK(report.completed().empty());
    CHECK(report.elapsed() == 6s);
    CHECK_FALSE(report.stopped());  // it failed; nobody stopped it
}

TEST_CASE("A stopped run is not ok, though no node failed") {
    TreeExecutor* running = nullptr;
    const Node stopper{"stopper", [&running] { running->stop(); }};
    const AnyNode other = sleeping("other", 1h);
    TreeExecutor executor{"flow", {other, stopper}};
    running = &executor;
    const RunReport report = try_it(executor);
    CHECK_FALSE(report.ok());
    CHECK(report.stopped());
    CHECK(report.errors().empty());
    CHECK(report.failed().empty());
    const auto error = thrown_by(report);
    REQUIRE(error);
    CHECK_THAT(error->what(), Equals("run 'flow' was stopped"));
    CHECK(error->stopped());
    CHECK(error->errors().empty());
}

TEST_CASE("throw_if_failed() says how many nodes failed, and of the first three why") {
    const auto text_of = [](int failures) {
        Nodes nodes;
        for (int i = 1; i <= failures; ++i) {
            const std::string number = std::to_string(i);
            nodes.push_back(
                failing_after("node" + number, std::chrono::seconds(i), "cause" + number));
        }
        const auto error = thrown_by(try_it(keep_going("flow", nodes)));
        REQUIRE(error);
        CHECK(error->errors().size() == static_cast<std::size_t>(failures));
        CHECK_FALSE(error->stopped());
        return std::string(error->what());
    };
    CHECK_THAT(text_of(1), Equals("run 'flow': a node failed: node 'node1' failed: cause1"));
    CHECK_THAT(text_of(2), ContainsSubstring("2 nodes failed") &&
                               ContainsSubstring("'node1' failed: cause1") &&
                               ContainsSubstring("'node2' failed: cause2"));
    CHECK_THAT(text_of(3), ContainsSubstring("3 nodes failed") && ContainsSubstring("cause3"));
    CHECK_THAT(text_of(5), ContainsSubstring("5 nodes failed") && ContainsSubstring("cause3") &&
                               !ContainsSubstring("cause4"));
}

TEST_CASE("A run that was stopped and in which a node failed tells both") {
    TreeExecutor* running = nullptr;
    const Node both{"both", [&running] {
                        running->stop();
                        throw std::runtime_error("broken");
                    }};
    TreeExecutor executor{"flow", both};
    running = &executor;
    const auto error = thrown_by(try_it(executor));
    REQUIRE(error);
    CHECK_THAT(error->what(), ContainsSubstring("'flow' was stopped") &&
                                  ContainsSubstring("a node failed") &&
                                  ContainsSubstring("broken"));
    CHECK(error->stopped());
    CHECK(error->errors().size() == 1);
}

TEST_CASE("run() throws the same RunError that try_run()'s report throws") {
    const Node root{"root", [] { return 1; }};
    const Node node{"node", [](int) { throw std::out_of_range("row 7"); }, "x"_a = root};
    const TreeExecutor executor{"flow", {root}};
    const auto told = thrown_by(try_it(executor));
    REQUIRE(told);
    std::optional<RunError> error;
    EventLoop loop{virtual_time};
    try {
        loop.run(executor.run());
    } catch (const RunError& caught) {
        error = caught;
    }
    REQUIRE(error);
    CHECK_THAT(error->what(), Equals(told->what()));
    REQUIRE(error->errors().size() == 1);
    const NodeError& failure = error->errors().front();
    CHECK(failure.node() == node);
    CHECK(failure.path() == Log{"root", "node"});
    CHECK(failure.attempts() == 1);
    CHECK_THAT(failure.what(), ContainsSubstring("'node'") && ContainsSubstring("row 7") &&
                                   ContainsSubstring("root -> node"));
    CHECK_THROWS_AS(std::rethrow_exception(failure.cause()), std::out_of_range);
    bool nested = false;
    try {
        std::rethrow_if_nested(failure);
    } catch (const std::out_of_range&) {
        nested = true;
    }
    CHECK(nested);
}

TEST_CASE("What was thrown need not be a std::exception") {
    const Nodes nodes{Node{"number", [] { throw 42; }}, Node{"text", [] { throw "plain text"; }}};
    const RunReport report = try_it(keep_going("flow", nodes));
    REQUIRE(report.errors().size() == 2);
    CHECK_THROWS_AS(std::rethrow_exception(report.errors()[0].cause()), int);
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("'number'"));
    CHECK_THAT(report.errors()[1].what(), ContainsSubstring("plain text"));
}

TEST_CASE("Copies of a report share its content, and a report does not change after its run") {
    bool broken = true;
    const Node node{"node", [&broken] {
                        if (broken) throw std::runtime_error("broken");
                    }};
    const TreeExecutor executor{node};
    const RunReport first = try_it(executor);
    const RunReport copy = first;  // NOLINT: the copy is what is tested
    CHECK(&copy.errors() == &first.errors());
    CHECK(&executor.report().errors() == &first.errors());
    broken = false;
    const RunReport second = try_it(executor);
    CHECK(second.ok());
    CHECK_FALSE(first.ok());
    CHECK_FALSE(copy.ok());
    CHECK(copy.failed() == Nodes{node});
    CHECK(copy.errors().size() == 1);
}

TEST_CASE("A report keeps the nodes it names, and an error its node, when all else is gone") {
    Counted::reset();
    {
        std::optional<RunReport> report;
        std::optional<NodeError> error;
        {
            const Node first{"first", [c = Counted(7)] { return Counted(c); }};
            const Node second{
                "second", [c = Counted(1)](const Counted&) { throw std::runtime_error("broken"); },
                "x"_a = first};
            report = try_it(TreeExecutor{first});
        }
        CHECK(Counted::live() == 3);
        CHECK(report->completed().at(0).output<Counted>().value == 7);
        CHECK(report->failed().at(0).id() == "second");
        CHECK(report->failed().at(0).parents() == report->completed());
        error = report->errors().at(0);
        report.reset();
        CHECK(Counted::live() == 3);
        CHECK(error->node().parents().at(0).id() == "first");
        error.reset();
        CHECK(Counted::live() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A RunError outlives its run, its executor and its loop") {
    Counted::reset();
    {
        std::optional<RunError> error;
        {
            const Node node{"node", [c = Counted(1)] {
                                throw std::runtime_error("broken " + std::to_string(c.value));
                            }};
            error = thrown_by(try_it(TreeExecutor{"flow", node}));
        }
        REQUIRE(error);
        CHECK_THAT(error->what(), ContainsSubstring("broken 1"));
        CHECK(error->errors().at(0).node().state() == NodeState::failed);
        CHECK_THROWS_WITH(std::rethrow_exception(error->errors().at(0).cause()), "broken 1");
        const RunError copy = *error;  // NOLINT: the copy is what is tested
        error.reset();
        CHECK(copy.errors().at(0).node().id() == "node");
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}

// ---- random graphs ------------------------------------------------------------------------------

namespace {

enum class Ends { value, error, skip, timeout };
enum class Forwarding { order, whole, plain, coroutine };

struct EdgeSpec {
    std::size_t from;
    Forwarding forwarding;
    nanoseconds work;  // of a coroutine transform
    bool throws;
};

struct NodeSpec {
    Ends ends;
    nanoseconds work;
    int chunks;     // a generator if positive
    bool function;  // a plain function: takes no time
    std::vector<EdgeSpec> in;

    [[nodiscard]] bool has_list() const {
        return std::any_of(in.begin(), in.end(), [](const EdgeSpec& edge) {
            return edge.forwarding != Forwarding::order;
        });
    }
};

using Specs = std::vector<NodeSpec>;

Specs random_specs(std::uint32_t seed) {
    std::mt19937 random(seed);
    const auto below = [&random](std::uint32_t n) {
        return static_cast<std::uint32_t>(random()) % n;
    };
    Specs specs(1 + below(10));
    const bool troubled = below(5) != 0;
    for (std::size_t to = 0; to < specs.size(); ++to) {
        NodeSpec& spec = specs[to];
        const std::uint32_t roll = troubled ? below(20) : 19;
        spec.ends = roll < 3   ? Ends::error
                    : roll < 5 ? Ends::skip
                    : roll < 7 ? Ends::timeout
                               : Ends::value;
        spec.function = spec.ends != Ends::timeout && below(3) == 0;
        spec.chunks = !spec.function && below(3) == 0 ? 1 + static_cast<int>(below(3)) : 0;
        spec.work = spec.function ? 0ns : nanoseconds(below(4) * 100 + below(3));
        if (spec.ends == Ends::timeout) spec.work += 50ns;
        for (std::size_t from = 0; from < to; ++from) {
            if (below(3) != 0) continue;
            const auto forwarding = static_cast<Forwarding>(below(4));
            const bool transforms =
                forwarding == Forwarding::plain || forwarding == Forwarding::coroutine;
            spec.in.push_back(
                EdgeSpec{from, forwarding,
                         forwarding == Forwarding::coroutine ? nanoseconds(below(3) * 70) : 0ns,
                         troubled && transforms && below(8) == 0});
        }
    }
    return specs;
}

// What keep_going must make of it: found by going through the nodes in order, parents first.
struct Expected {
    NodeState state = NodeState::pending;
    long value = 0;
    nanoseconds end{};
    bool begun = false;  // its body was called
};

// A transform into a child that another one has failed before is not begun; where both fall on the
// same nanosecond, either may come first.
struct Model {
    std::vector<Expected> nodes;
    nanoseconds elapsed{};
    nanoseconds elapsed_at_least{};
    bool failed = false;
};

Model model_of(const Specs& specs) {
    Model model;
    for (std::size_t i = 0; i < specs.size(); ++i) {
        const NodeSpec& spec = specs[i];
        Expected expected;
        expected.value = static_cast<long>(i) + 1;
        bool blocked = false;
        std::optional<nanoseconds> thrown;
        for (const EdgeSpec& edge : spec.in) {
            const Expected& parent = model.nodes[edge.from];
            if (parent.state != NodeState::completed || !edge.throws) continue;
            const nanoseconds arrives = parent.end + edge.work;
            thrown = thrown ? std::min(*thrown, arrives) : arrives;
        }
        nanoseconds ready{};
        nanoseconds ready_at_least{};
        for (const EdgeSpec& edge : spec.in) {
            const Expected& parent = model.nodes[edge.from];
            nanoseconds arrives = parent.end;
            nanoseconds arrives_at_least = parent.end;
            if (parent.state != NodeState::completed) {
                blocked = true;
            } else {
                if (!thrown || parent.end <= *thrown) arrives += edge.work;
                if (!thrown || parent.end < *thrown) arrives_at_least += edge.work;
                if (edge.forwarding == Forwarding::whole) expected.value += parent.value;
                if (edge.forwarding == Forwarding::plain) expected.value += parent.value * 2;
                if (edge.forwarding == Forwarding::coroutine) expected.value += parent.value * 3;
            }
            ready = std::max(ready, arrives);
            ready_at_least = std::max(ready_at_least, arrives_at_least);
        }
        model.elapsed = std::max(model.elapsed, ready);
        model.elapsed_at_least = std::max(model.elapsed_at_least, ready_at_least);
        if (thrown) {
            expected.state = NodeState::failed;
            expected.end = *thrown;
        } else if (blocked) {
            expected.state = NodeState::skipped;
            expected.end = ready;
        } else {
            expected.begun = true;
            expected.end = ready + spec.work;
            switch (spec.ends) {
                case Ends::value: expected.state = NodeState::completed; break;
                case Ends::error: expected.state = NodeState::failed; break;
                case Ends::skip: expected.state = NodeState::skipped; break;
                case Ends::timeout:
                    expected.state = NodeState::failed;
                    expected.end = ready + spec.work / 2;
                    break;
            }
        }
        model.elapsed = std::max(model.elapsed, expected.end);
        model.elapsed_at_least = std::max(model.elapsed_at_least, expected.end);
        model.failed = model.failed || expected.state == NodeState::failed;
        model.nodes.push_back(expected);
    }
    return model;
}

long finish(const NodeSpec& spec, long base, const std::vector<long>& xs) {
    if (spec.ends == Ends::error) throw std::runtime_error("broken");
    if (spec.ends == Ends::skip) throw Skip{"random"};
    for (const long x : xs) base += x;
    return base;
}

// The bodies take the list by value: it is theirs while they sleep.
Task<long> task_body(NodeSpec spec, long base, std::vector<long> xs) {
    co_await sleep_for(spec.work);
    co_return finish(spec, base, xs);
}
AsyncGenerator<int, long> generator_body(NodeSpec spec, long base, std::vector<long> xs) {
    for (int i = 0; i < spec.chunks; ++i) co_yield i;
    co_await sleep_for(spec.work);
    co_return finish(spec, base, xs);
}

// `called` counts the calls of each body.
Node<long> make_node(const NodeSpec& spec, std::size_t i, std::vector<int>& called) {
    const long base = static_cast<long>(i) + 1;
    const std::string id = std::to_string(i);
    const auto with_list = [&](auto body) -> Node<long> {
        if (spec.has_list()) return Node{id, body, "xs"_args};
        return Node{id, [body] { return body(std::vector<long>()); }};
    };
    int* const calls = &called[i];
    if (spec.function) {
        return with_list([spec, base, calls](std::vector<long> xs) {
            ++*calls;
            return finish(spec, base, xs);
        });
    }
    if (spec.chunks > 0) {
        return with_list([spec, base, calls](std::vector<long> xs) {
            ++*calls;
            return generator_body(spec, base, std::move(xs));
        });
    }
    return with_list([spec, base, calls](std::vector<long> xs) {
        ++*calls;
        return task_body(spec, base, std::move(xs));
    });
}

std::vector<Node<long>> make_graph(const Specs& specs, std::vector<int>& called) {
    std::vector<Node<long>> nodes;
    for (std::size_t i = 0; i < specs.size(); ++i) {
        nodes.push_back(make_node(specs[i], i, called));
        if (specs[i].ends == Ends::timeout) nodes.back().timeout(specs[i].work / 2);
        for (const EdgeSpec& edge : specs[i].in) {
            const Node<long>& from = nodes[edge.from];
            switch (edge.forwarding) {
                case Forwarding::order: from.connect(nodes[i]); break;
                case Forwarding::whole: from.connect(nodes[i], "xs"_a); break;
                case Forwarding::plain:
                    from.connect(
                        nodes[i], "xs"_a = [throws = edge.throws](long x) {
                            if (throws) throw std::runtime_error("broken edge");
                            return x * 2;
                        });
                    break;
                case Forwarding::coroutine:
                    from.connect(
                        nodes[i], "xs"_a = [edge](long x) -> Task<long> {
                            co_await sleep_for(edge.work);
                            if (edge.throws) throw std::runtime_error("broken edge");
                            co_return x * 3;
                        });
                    break;
            }
        }
    }
    return nodes;
}

// Each node is in exactly the list of its state; gives the state by id.
std::map<std::string, NodeState> states_of(const RunReport& report,
                                           const std::vector<Node<long>>& nodes) {
    std::map<std::string, NodeState> states;
    std::size_t listed = 0;
    const auto list = [&](const Nodes& ended, NodeState state) {
        for (const AnyNode& node : ended) {
            states[node.id()] = state;
            CHECK(node.state() == state);
            ++listed;
        }
    };
    list(report.completed(), NodeState::completed);
    list(report.failed(), NodeState::failed);
    list(report.skipped(), NodeState::skipped);
    list(report.cancelled(), NodeState::cancelled);
    CHECK(listed == nodes.size());
    CHECK(states.size() == nodes.size());
    CHECK(report.errors().size() == report.failed().size());
    for (std::size_t i = 0; i < report.errors().size(); ++i) {
        CHECK(report.errors()[i].node() == report.failed()[i]);
    }
    return states;
}

void check_against_model(const Specs& specs, const Model& model, const RunReport& report,
                         const std::vector<Node<long>>& nodes, const std::vector<int>& called,
                         ErrorPolicy policy) {
    const auto states = states_of(report, nodes);
    CHECK(report.ok() == !model.failed);
    CHECK_FALSE(report.stopped());
    const bool whole = policy == ErrorPolicy::keep_going || !model.failed;
    if (whole) {
        CHECK(report.elapsed() >= model.elapsed_at_least);
        CHECK(report.elapsed() <= model.elapsed);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        CAPTURE(i);
        const Expected& expected = model.nodes[i];
        const NodeState state = states.at(std::to_string(i));
        if (whole) {
            CHECK(state == expected.state);
            CHECK(called[i] == (expected.begun ? 1 : 0));
        }
        CHECK(called[i] <= 1);
        if (state == NodeState::completed) {
            CHECK(expected.state == NodeState::completed);
            CHECK(nodes[i].output() == expected.value);
            CHECK(called[i] == 1);
        } else {
            CHECK_THROWS_AS(nodes[i].output(), Error);
        }
        if (state == NodeState::failed) CHECK(expected.state == NodeState::failed);
        if (state == NodeState::cancelled) CHECK_FALSE(whole);
        bool all_parents = true;
        for (const EdgeSpec& edge : specs[i].in) {
            all_parents =
                all_parents && states.at(std::to_string(edge.from)) == NodeState::completed;
        }
        if (called[i] == 1) CHECK(all_parents);
        if (state == NodeState::skipped && all_parents) CHECK(specs[i].ends == Ends::skip);
    }
    if (policy == ErrorPolicy::fail_fast && model.failed) CHECK_FALSE(report.failed().empty());
}

// The events of a run, checked as they come.
class EventLog {
public:
    void add(const Event& event) {
        const std::string id = event.node().id();
        Seen& seen = seen_[id];
        CHECK_FALSE(seen.final);  // nothing comes after the last word
        switch (event.kind()) {
            case EventKind::started:
                CHECK(seen.started == 0);
                ++seen.started;
                for (const AnyNode& parent : event.node().parents()) {
                    CHECK(seen_[parent.id()].final == NodeState::completed);
                }
                break;
            case EventKind::chunk:
                CHECK(seen.started == 1);
                CHECK(event.chunk<int>()->output == seen.chunks);
                ++seen.chunks;
                break;
            case EventKind::completed:
                CHECK(seen.started == 1);
                end(seen, id, NodeState::completed);
                break;
            case EventKind::failed:
                REQUIRE(event.error() != nullptr);
                CHECK(event.error()->node() == event.node());
                end(seen, id, NodeState::failed);
                break;
            case EventKind::skipped: end(seen, id, NodeState::skipped); break;
            case EventKind::cancelled: end(seen, id, NodeState::cancelled); break;
            case EventKind::retrying: FAIL("nothing is tried again here"); break;
        }
    }
    // Each node ended once, in the state that the report says, and in the same order.
    void check_against(const RunReport& report, const Specs& specs,
                       const std::vector<int>& called) {
        CHECK(seen_.size() == specs.size());
        CHECK(ended_[NodeState::completed] == ids(report.completed()));
        CHECK(ended_[NodeState::failed] == ids(report.failed()));
        CHECK(ended_[NodeState::skipped] == ids(report.skipped()));
        CHECK(ended_[NodeState::cancelled] == ids(report.cancelled()));
        for (std::size_t i = 0; i < specs.size(); ++i) {
            const Seen& seen = seen_[std::to_string(i)];
            CHECK(seen.started >= called[i]);
            if (seen.final == NodeState::completed) CHECK(seen.chunks == specs[i].chunks);
        }
    }

private:
    struct Seen {
        int started = 0;
        int chunks = 0;
        std::optional<NodeState> final;
    };
    void end(Seen& seen, const std::string& id, NodeState state) {
        seen.final = state;
        ended_[state].push_back(id);
    }
    std::map<std::string, Seen> seen_;
    std::map<NodeState, Log> ended_;
};

void check_random_graphs(ErrorPolicy policy, bool streamed) {
    int failed_runs = 0;
    int good_runs = 0;
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        CAPTURE(seed);
        const Specs specs = random_specs(seed);
        const Model model = model_of(specs);
        (model.failed ? failed_runs : good_runs) += 1;
        std::vector<int> called(specs.size());
        const std::vector<Node<long>> nodes = make_graph(specs, called);
        TreeExecutor executor{"random", nodes};
        executor.on_error(policy);
        for (int run = 0; run < 2; ++run) {
            CAPTURE(run);
            std::fill(called.begin(), called.end(), 0);
            EventLoop loop{virtual_time};
            bool thrown = false;
            if (streamed) {
                EventLog log;
                try {
                    for (const Event& event : iterate(loop, executor.yielding())) log.add(event);
                } catch (const RunError& error) {
                    thrown = true;
                    CHECK(error.errors().size() == executor.errors().size());
                }
                log.check_against(executor.report(), specs, called);
            } else {
                try {
                    loop.run(executor.run());
                } catch (const RunError&) {
                    thrown = true;
                }
            }
            CHECK(thrown == model.failed);
            check_against_model(specs, model, executor.report(), nodes, called, policy);
        }
    }
    // The seeds are of use only if they make both.
    CHECK(failed_runs >= 50);
    CHECK(good_runs >= 50);
}

}  // namespace

TEST_CASE("Random graphs that keep going end as a simple model says, each node in one state") {
    check_random_graphs(ErrorPolicy::keep_going, false);
}

TEST_CASE("Random graphs that fail fast end each node in one state, and give no wrong value") {
    check_random_graphs(ErrorPolicy::fail_fast, false);
}

TEST_CASE("Streams of random graphs that keep going tell each node's start before its one end") {
    check_random_graphs(ErrorPolicy::keep_going, true);
}

TEST_CASE("Streams of random graphs that fail fast tell each node's start before its one end") {
    check_random_graphs(ErrorPolicy::fail_fast, true);
}

TEST_CASE(
    "Random graphs give the same with few places, and under a seed the same order each time") {
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
        CAPTURE(seed);
        const Specs specs = random_specs(seed);
        const Model model = model_of(specs);
        std::vector<int> called(specs.size());
        const std::vector<Node<long>> nodes = make_graph(specs, called);
        TreeExecutor executor{"random", nodes};
        executor.on_error(ErrorPolicy::keep_going).max_concurrency(1 + seed % 3);
        const RunReport first = try_it(executor);
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            CHECK(nodes[i].state() == model.nodes[i].state);
            if (nodes[i].state() == NodeState::completed) {
                CHECK(nodes[i].output() == model.nodes[i].value);
            }
        }
        CHECK(first.elapsed() >= model.elapsed_at_least);
        const RunReport second = try_it(executor);
        CHECK(ids(second.completed()) == ids(first.completed()));
        CHECK(ids(second.failed()) == ids(first.failed()));
        CHECK(ids(second.skipped()) == ids(first.skipped()));
        CHECK(second.elapsed() == first.elapsed());
    }
}

TEST_CASE("The path of a failure goes along the parents that ended last") {
    Node early{"early", [] { return sleep_for(1s); }};
    Node late{"late", [] { return sleep_for(2s); }};
    Node node{"node", [] { throw std::runtime_error("broken"); }};
    early.connect(node);
    late.connect(node);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{early, late}.try_run());
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].path() == Log{"late", "node"});
}

TEST_CASE("The path of a failure goes along the plain parent that ended last") {
    Node early{"early", [] {}};
    Node late{"late", [] {}};
    Node node{"node", [] { throw std::runtime_error("broken"); }};
    early.connect(node);
    late.connect(node);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{early, late}.try_run());
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].path() == Log{"late", "node"});
}

TEST_CASE("A long path is told by its ends") {
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 10; ++i) {
        Node node{std::to_string(i), [i] {
                      if (i == 9) throw std::runtime_error("broken");
                  }};
        if (i > 0) nodes.back().connect(node);
        nodes.push_back(node);
    }
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{nodes[0]}.try_run());
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(),
               ContainsSubstring("0 -> 1 -> 2 -> 3 -> … (2 more) -> 6 -> 7 -> 8 -> 9"));
}
