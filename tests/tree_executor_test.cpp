#include <grafo/grafo.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"

// What an executor runs, in which order, and what it refuses.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Equals;

namespace {

using Log = std::vector<std::string>;

Log ids(const std::vector<AnyNode>& nodes) {
    Log result;
    for (const AnyNode& node : nodes) result.push_back(node.id());
    return result;
}

std::set<std::string> set_of(const std::vector<AnyNode>& nodes) {
    const Log names = ids(nodes);
    return {names.begin(), names.end()};
}

RunReport run_it(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.run());
}

RunReport try_it(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

template <class E, class F>
std::string message_of(F&& f) {
    try {
        f();
    } catch (const E& error) {
        return error.what();
    }
    return "nothing was thrown";
}

// A node that says in the log that it started.
Node<int> logging(Log& log, const std::string& id) {
    return Node{id, [&log, id] {
                    log.push_back(id);
                    return static_cast<int>(log.size());
                }};
}

// A node that sleeps and says when it starts.
Node<int> sleeping(Log& log, const std::string& id, std::chrono::seconds pause) {
    return Node{id, [&log, id, pause]() -> Task<int> {
                    log.push_back(id);
                    co_await sleep_for(pause);
                    co_return static_cast<int>(pause.count());
                }};
}

// a   b
//  \ / \       //
//   c   d
//   |
//   e
struct Fork {
    Fork() {
        a.connect(c);
        b.connect(c).connect(e);
        b.connect(d);
    }
    Log log;
    Node<int> a = logging(log, "a");
    Node<int> b = logging(log, "b");
    Node<int> c = logging(log, "c");
    Node<int> d = logging(log, "d");
    Node<int> e = logging(log, "e");
};

}  // namespace

static_assert(!std::is_copy_constructible_v<TreeExecutor>);
static_assert(std::is_nothrow_move_constructible_v<TreeExecutor>);
static_assert(!std::is_constructible_v<TreeExecutor>);
static_assert(!std::is_constructible_v<TreeExecutor, int>);

// ---- what runs ----------------------------------------------------------------------------------

TEST_CASE("Given all its roots, an executor runs the whole graph") {
    Fork fork;
    const RunReport report = run_it(TreeExecutor{fork.a, fork.b});
    CHECK(fork.log == Log{"a", "b", "c", "d", "e"});
    CHECK(report.completed().size() == 5);
}

TEST_CASE("Given one root, it runs what that leads to and the other parents of it, none left out") {
    Fork fork;
    CHECK(set_of(run_it(TreeExecutor{fork.a}).completed()) ==
          std::set<std::string>{"a", "b", "c", "e"});
    CHECK(fork.d.state() == NodeState::pending);
    CHECK(set_of(run_it(TreeExecutor{fork.b}).completed()) ==
          std::set<std::string>{"a", "b", "c", "d", "e"});
}

TEST_CASE("Given a sink, it runs only what it takes to make it") {
    Fork fork;
    CHECK(ids(run_it(TreeExecutor{fork.d}).completed()) == Log{"b", "d"});
    CHECK(fork.log == Log{"b", "d"});
    CHECK(fork.a.state() == NodeState::pending);
    CHECK(fork.c.state() == NodeState::pending);
    CHECK(ids(run_it(TreeExecutor{fork.e}).completed()) == Log{"a", "b", "c", "e"});
    CHECK(fork.d.state() == NodeState::completed);  // of its own last run
}

TEST_CASE("Given a node in the middle, it runs what that needs and what that leads to") {
    Fork fork;
    CHECK(ids(run_it(TreeExecutor{fork.c}).completed()) == Log{"a", "b", "c", "e"});
    CHECK(fork.d.state() == NodeState::pending);
}

TEST_CASE("A generator that lets others run goes on where it was") {
    int begun = 0;
    Node numbers{"numbers", [&]() -> AsyncGenerator<int> {
                     ++begun;
                     for (int i = 0; i < 1000; ++i) co_yield i;
                 }};
    bool beside = false;
    Node other{"other", [&]() -> Task<> {
                   beside = numbers.state() == NodeState::running;
                   co_return;
               }};
    Node last{"last", []() -> Task<> { co_return; }};
    other.connect(last);
    run_it(TreeExecutor{numbers, other});
    CHECK(begun == 1);
    CHECK(beside);
    CHECK(numbers.output().size() == 1000);
}

TEST_CASE("A node that is given twice, or with nodes that lead to it, runs once") {
    Fork fork;
    run_it(TreeExecutor{fork.a, fork.e, fork.a, fork.b, fork.e});
    CHECK(fork.log.size() == 5);
}

TEST_CASE("Graphs that have nothing to do with each other run in one run") {
    Fork first;
    Fork second;
    const RunReport report = run_it(TreeExecutor{first.d, second.d});
    CHECK(ids(report.completed()) == Log{"b", "b", "d", "d"});
}

TEST_CASE("What runs in random graphs is what the given nodes lead to and what that needs") {
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const std::size_t count = 2 + random() % 12;
        std::vector<std::vector<bool>> edge(count, std::vector<bool>(count));
        std::vector<AnyNode> nodes;
        for (std::size_t i = 0; i < count; ++i) {
            nodes.push_back(Node{std::to_string(i), [] {}});
        }
        for (std::size_t to = 1; to < count; ++to) {
            for (std::size_t from = 0; from < to; ++from) {
                if (random() % 5 != 0) continue;
                edge[from][to] = true;
                nodes[from].connect(nodes[to]);
            }
        }
        std::vector<bool> wanted(count);
        std::vector<AnyNode> given;
        for (std::size_t i = 0; i < 1 + count / 5; ++i) {
            const std::size_t chosen = random() % count;
            wanted[chosen] = true;
            given.push_back(nodes[chosen]);
        }
        for (std::size_t from = 0; from < count; ++from) {
            for (std::size_t to = from; to < count; ++to) {
                if (wanted[from] && edge[from][to]) wanted[to] = true;
            }
        }
        for (std::size_t to = count; to-- > 0;) {
            for (std::size_t from = 0; from < to; ++from) {
                if (wanted[to] && edge[from][to]) wanted[from] = true;
            }
        }
        std::set<std::string> expected;
        for (std::size_t i = 0; i < count; ++i) {
            if (wanted[i]) expected.insert(std::to_string(i));
        }
        const Log order = ids(run_it(TreeExecutor{given}).completed());
        CHECK(std::set<std::string>(order.begin(), order.end()) == expected);
        CHECK(order.size() == expected.size());
        const auto place = [&order](std::size_t node) {
            return std::find(order.begin(), order.end(), std::to_string(node)) - order.begin();
        };
        for (std::size_t to = 0; to < count; ++to) {
            for (std::size_t from = 0; from < to; ++from) {
                if (wanted[to] && edge[from][to]) CHECK(place(from) < place(to));
            }
        }
    }
}

TEST_CASE("A function may return only the last node of a graph, and that runs all of it") {
    Log log;
    const auto build = [&log] {
        Node first{"first", [&log] {
                       log.emplace_back("first");
                       return 20;
                   }};
        Node second{"second", [&log] {
                        log.emplace_back("second");
                        return 1;
                    }};
        Node half{"half",
                  [&log](int x) {
                      log.emplace_back("half");
                      return x / 2;
                  },
                  "x"_a = first};
        return Node{"last",
                    [&log](int x, int y) {
                        log.emplace_back("last");
                        return x + y;
                    },
                    "x"_a = half, "y"_a = second};
    };
    const Node last = build();
    run_it(TreeExecutor{last});
    CHECK(last.output() == 11);
    CHECK(log == Log{"first", "second", "half", "last"});
}

// ---- in which order -----------------------------------------------------------------------------

TEST_CASE("Roots start in the order in which they are given") {
    Log log;
    const Node<int> c = logging(log, "c");
    const Node<int> a = logging(log, "a");
    const Node<int> b = logging(log, "b");
    run_it(TreeExecutor{b, c, a});
    CHECK(log == Log{"b", "c", "a"});
}

TEST_CASE("Children that become ready at once start in the order in which they were connected") {
    Log log;
    const Node<int> root = logging(log, "root");
    const Node<int> a = logging(log, "a");
    const Node<int> b = logging(log, "b");
    const Node<int> c = logging(log, "c");
    root.connect(c);
    root.connect(a);
    root.connect(b);
    run_it(TreeExecutor{root});
    CHECK(log == Log{"root", "c", "a", "b"});
}

TEST_CASE("What a sink needs starts in the order in which it was connected to the sink") {
    Log log;
    const Node<int> a = logging(log, "a");
    const Node<int> b = logging(log, "b");
    const Node<int> c = logging(log, "c");
    const Node<int> sink = logging(log, "sink");
    c.connect(sink);
    a.connect(sink);
    b.connect(sink);
    run_it(TreeExecutor{sink});
    CHECK(log == Log{"c", "a", "b", "sink"});
}

TEST_CASE("Nodes start in the order in which they became ready") {
    Log log;
    const Node<int> slow = sleeping(log, "slow", 3s);
    const Node<int> quick = sleeping(log, "quick", 1s);
    const Node<int> middling = sleeping(log, "middling", 2s);
    slow.connect(logging(log, "after slow"));
    quick.connect(logging(log, "after quick"));
    middling.connect(logging(log, "after middling"));
    run_it(TreeExecutor{slow, quick, middling});
    CHECK(log == Log{"slow", "quick", "middling", "after quick", "after middling", "after slow"});
}

TEST_CASE("A node that waits for its turn does not lose it to one that became ready later") {
    Log log;
    const Node<int> first = logging(log, "first");
    const Node<int> second = logging(log, "second");
    first.connect(logging(log, "first.1"));
    first.connect(logging(log, "first.2"));
    second.connect(logging(log, "second.1")).connect(logging(log, "second.1.1"));
    TreeExecutor executor{first, second};
    executor.max_concurrency(1);
    run_it(executor);
    CHECK(log == Log{"first", "second", "first.1", "first.2", "second.1", "second.1.1"});
}

TEST_CASE("Nodes whose sleeps end in the same moment settle in the order in which they slept") {
    Log log;
    std::vector<Node<int>> parents;
    for (const char* name : {"d", "a", "c", "b"}) {
        parents.push_back(sleeping(log, name, 1s));
        parents.back().connect(logging(log, std::string("after ") + name));
    }
    const RunReport report = run_it(TreeExecutor{parents});
    CHECK(log == Log{"d", "a", "c", "b", "after d", "after a", "after c", "after b"});
    CHECK(report.elapsed() == 1s);
}

TEST_CASE("A run in virtual time is the same each time") {
    const auto once = [] {
        Log log;
        std::mt19937 random(7);
        std::vector<Node<int>> nodes;
        for (int i = 0; i < 60; ++i) {
            nodes.push_back(sleeping(log, std::to_string(i), std::chrono::seconds(random() % 4)));
            for (int parents = 0; parents < 2 && i > 0; ++parents) {
                nodes[random() % static_cast<unsigned>(i)].connect(nodes.back());
            }
        }
        TreeExecutor executor{nodes};
        executor.max_concurrency(5);
        run_it(executor);
        return log;
    };
    const Log first = once();
    CHECK(first.size() == 60);
    CHECK(once() == first);
}

// ---- max_concurrency ----------------------------------------------------------------------------

TEST_CASE("max_concurrency(n) runs at most n nodes at once, and always n while there are enough") {
    const std::size_t limit = GENERATE(1U, 2U, 3U, 7U, 100U);
    int running = 0;
    int most = 0;
    Log log;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 7; ++i) {
        nodes.push_back(Node{std::to_string(i), [&, i]() -> Task<> {
                                 log.push_back(std::to_string(i));
                                 most = std::max(most, ++running);
                                 co_await sleep_for(1s);
                                 --running;
                             }});
    }
    TreeExecutor executor{nodes};
    executor.max_concurrency(limit);
    const RunReport report = run_it(executor);
    CHECK(most == static_cast<int>(std::min<std::size_t>(limit, 7)));
    CHECK(report.elapsed() == std::chrono::seconds((7 + limit - 1) / limit));
    CHECK(log == Log{"0", "1", "2", "3", "4", "5", "6"});
}

TEST_CASE("A place under max_concurrency is free again after a node failed or was skipped") {
    Log log;
    const Node failing{"failing", []() -> Task<> {
                           co_await sleep_for(1s);
                           throw std::runtime_error("broken");
                       }};
    const Node skipping{"skipping", []() -> Task<> {
                            co_await sleep_for(1s);
                            co_await skip("not today");
                        }};
    const Node<int> last = logging(log, "last");
    TreeExecutor executor{failing, skipping, last};
    executor.max_concurrency(1).on_error(ErrorPolicy::keep_going);
    const RunReport report = try_it(executor);
    CHECK(report.elapsed() == 2s);
    CHECK(log == Log{"last"});
}

TEST_CASE("max_concurrency(0) throws, names the executor and changes nothing") {
    Log log;
    TreeExecutor executor{"narrow", logging(log, "node")};
    CHECK_THAT(message_of<Error>([&] { executor.max_concurrency(0); }),
               ContainsSubstring("'narrow'") && ContainsSubstring("max_concurrency(0)"));
    run_it(executor);
    CHECK(log == Log{"node"});
}

TEST_CASE("Settings count for the runs that begin after them") {
    Log log;
    std::vector<Node<int>> nodes;
    for (int i = 0; i < 4; ++i) nodes.push_back(sleeping(log, "node", 1s));
    TreeExecutor executor{nodes};
    CHECK(run_it(executor).elapsed() == 1s);
    executor.max_concurrency(2);
    CHECK(run_it(executor).elapsed() == 2s);
    executor.max_concurrency(1);
    CHECK(run_it(executor).elapsed() == 4s);
}

// ---- again --------------------------------------------------------------------------------------

TEST_CASE("A second run starts afresh: outputs, forwarded arguments, states and counters") {
    int run = 0;
    std::vector<NodeState> states;
    const Node last{"last",
                    [](const std::vector<int>& all, int x) {
                        int sum = x;
                        for (const int one : all) sum += one;
                        return sum;
                    },
                    "all"_args, "x"_a = 1000};
    const Node other{"other", [] { return 5; }};
    const Node first{"first", [&, other_ref = other.ref(), last_ref = last.ref()] {
                         states.push_back(AnyNode(other_ref).state());
                         states.push_back(AnyNode(last_ref).state());
                         CHECK_THROWS_AS(last_ref.output(), OutputUnavailableError);
                         return ++run * 10;
                     }};
    first.connect(last, "all"_args);
    other.connect(last, "all"_args);
    const TreeExecutor executor{first, other};
    run_it(executor);
    CHECK(last.output() == 1015);
    run_it(executor);
    CHECK(last.output() == 1025);
    run_it(executor);
    CHECK(last.output() == 1035);
    REQUIRE(states.size() == 6);
    for (std::size_t i = 0; i < states.size(); ++i) {
        CHECK(states[i] == (i % 2 == 0 ? NodeState::ready : NodeState::pending));
    }
}

TEST_CASE("A run after a failed one knows nothing of it, and the old report nothing of the new") {
    bool broken = true;
    const Node node{"node", [&broken] {
                        if (broken) throw std::runtime_error("broken");
                        return 1;
                    }};
    const Node child{"child", [](int x) { return x + 1; }, "x"_a = node};
    const TreeExecutor executor{node};
    const RunReport first = try_it(executor);
    CHECK(executor.errors().size() == 1);
    CHECK(child.state() == NodeState::skipped);
    broken = false;
    const RunReport second = try_it(executor);
    CHECK(second.ok());
    CHECK(executor.errors().empty());
    CHECK(child.output() == 2);
    CHECK_FALSE(first.ok());
    CHECK(ids(first.failed()) == Log{"node"});
    CHECK(first.completed().empty());
    CHECK(ids(second.completed()) == Log{"node", "child"});
}

TEST_CASE("Executors over one graph may run it in turns") {
    Fork fork;
    const TreeExecutor all{fork.a, fork.b};
    const TreeExecutor some{fork.d};
    EventLoop loop{virtual_time};
    for (int i = 0; i < 3; ++i) {
        CHECK(loop.run(all.run()).completed().size() == 5);
        CHECK(loop.run(some.run()).completed().size() == 2);
    }
    CHECK(fork.log.size() == 21);
}

TEST_CASE("A moved executor is the same executor, settings, runs and report included") {
    Log log;
    TreeExecutor first{"flow", sleeping(log, "node", 1s)};
    first.description("text");
    TreeExecutor second = std::move(first);
    run_it(second);
    TreeExecutor third{logging(log, "other")};
    third = std::move(second);
    CHECK(third.name() == "flow");
    CHECK(third.description() == "text");
    CHECK(third.report().elapsed() == 1s);
    CHECK(log == Log{"node"});
}

// ---- what is refused ----------------------------------------------------------------------------

TEST_CASE("A second run over a node that is in a run is refused before any of its nodes starts") {
    Log log;
    const Node<int> shared = sleeping(log, "shared", 5s);
    const Node<int> lone = logging(log, "lone");
    const Node<int> sink = logging(log, "sink");
    lone.connect(sink);
    shared.connect(sink);
    const TreeExecutor first{shared};
    const TreeExecutor second{"second", {lone, sink}};
    EventLoop loop{virtual_time};
    std::string what;
    std::string streamed;
    const auto main = [&]() -> Task<> {
        co_await sleep_for(1s);
        try {
            co_await second.run();
        } catch (const SafeExecutionError& error) {
            what = error.what();
        }
        auto events = second.yielding();
        try {
            co_await events.next();
        } catch (const SafeExecutionError& error) {
            streamed = error.what();
        }
        CHECK(log == Log{"shared", "lone"});  // of the first run, to which lone belongs as well
        co_await sleep_for(10s);
    };
    const auto background = [&]() -> Task<> { co_await first.run(); };
    loop.spawn(background());
    loop.run(main());
    CHECK_THAT(what, ContainsSubstring("in a run that has not ended"));
    CHECK(streamed == what);
    CHECK(log == Log{"shared", "lone", "sink"});
    CHECK(second.report().completed().empty());
    loop.run(second.run());
    CHECK(log.size() == 6);
}

TEST_CASE("The same executor cannot run twice at once, nor from a body of its own run") {
    TreeExecutor* running = nullptr;
    std::string what;
    int calls = 0;
    const Node node{"node", [&]() -> Task<> {
                        ++calls;
                        try {
                            co_await running->run();
                        } catch (const SafeExecutionError& error) {
                            what = error.what();
                        }
                    }};
    TreeExecutor executor{node};
    running = &executor;
    CHECK(run_it(executor).ok());
    CHECK_THAT(what, ContainsSubstring("'node' is in a run"));
    CHECK(calls == 1);
}

TEST_CASE("Runs over parts of one graph that share no node may be on at once") {
    //  left   right
    //  /   \ /   \       //
    // l     m     r
    Log log;
    const Node<int> left = sleeping(log, "left", 2s);
    const Node<int> right = sleeping(log, "right", 2s);
    const Node<int> l = logging(log, "l");
    const Node<int> m = logging(log, "m");
    const Node<int> r = logging(log, "r");
    left.connect(l);
    left.connect(m);
    right.connect(m);
    right.connect(r);
    const TreeExecutor for_l{l};
    const TreeExecutor for_r{r};
    const TreeExecutor for_m{m};
    EventLoop loop{virtual_time};
    const auto background = [&]() -> Task<> { co_await for_l.run(); };
    const auto refused = [&]() -> Task<> {
        co_await sleep_for(1s);
        std::string what;
        try {
            co_await for_m.run();
        } catch (const SafeExecutionError& error) {
            what = error.what();
        }
        CHECK_THAT(what, ContainsSubstring("'left'") || ContainsSubstring("'right'"));
    };
    loop.spawn(background());
    loop.spawn(refused());
    CHECK(ids(loop.run(for_r.run()).completed()) == Log{"right", "r"});
    std::sort(log.begin(), log.end());
    CHECK(log == Log{"l", "left", "r", "right"});
    CHECK(loop.now().time_since_epoch() == 2s);
}

TEST_CASE("An argument that nobody fills is refused before any node has started") {
    Log log;
    const Node<int> root = logging(log, "root");
    root.on_before_run([&log] { log.emplace_back("before"); });
    const Node open{"open", [](int, int y) { return y; }, "x"_a = 1, "y"_a};
    root.connect(open);
    const TreeExecutor executor{root};
    CHECK_THAT(message_of<MissingArgumentError>([&] { run_it(executor); }),
               ContainsSubstring("parameter 'y' of node 'open'"));
    CHECK_THROWS_AS(try_it(executor), MissingArgumentError);
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(
        [&] {
            for (const Event& event : iterate(loop, executor.yielding())) {
                log.push_back(event.node().id());
            }
        }(),
        MissingArgumentError);
    CHECK(log.empty());
    CHECK(root.state() == NodeState::pending);
    open.bind("y"_a = 2);
    run_it(executor);
    CHECK(open.output() == 2);
    CHECK(log == Log{"before", "root"});
}

TEST_CASE("A list that no parent fills is refused like any open argument") {
    const Node node{"node", [](const std::vector<int>& all) { return all.size(); }, "all"_args};
    CHECK_THAT(message_of<MissingArgumentError>([&] { run_it(TreeExecutor{node}); }),
               ContainsSubstring("list parameter 'all' of node 'node'"));
}

TEST_CASE("A cycle is refused before any node has started, and its nodes are named in order") {
    Log log;
    const Node<int> root = logging(log, "root");
    const Node<int> a = logging(log, "a");
    const Node<int> b = logging(log, "b");
    const Node<int> c = logging(log, "c");
    const Node<int> tail = logging(log, "tail");
    root.connect(a).connect(b).connect(c).connect(tail);
    c.connect(a);
    for (const AnyNode& given : std::vector<AnyNode>{root, b, tail}) {
        const std::string what = message_of<CycleError>([&] { run_it(TreeExecutor{given}); });
        CHECK_THAT(what, ContainsSubstring("'a' -> 'b' -> 'c' -> 'a'") ||
                             ContainsSubstring("'b' -> 'c' -> 'a' -> 'b'") ||
                             ContainsSubstring("'c' -> 'a' -> 'b' -> 'c'"));
        CHECK_THAT(what, !ContainsSubstring("root") && !ContainsSubstring("tail"));
    }
    CHECK(log.empty());
    c.disconnect(a);
    run_it(TreeExecutor{root});
    CHECK(log == Log{"root", "a", "b", "c", "tail"});
}

TEST_CASE("An executor of no nodes, or of an empty handle, is refused by name") {
    const std::vector<AnyNode> none;
    CHECK_THAT(message_of<Error>([&] { TreeExecutor("flow", none); }),
               ContainsSubstring("'flow'") && ContainsSubstring("no nodes"));
    CHECK_THROWS_AS(TreeExecutor(none), Error);
    CHECK_THROWS_AS(TreeExecutor("flow", {}), Error);
    Log log;
    CHECK_THAT(message_of<Error>([&] { TreeExecutor("flow", {logging(log, "a"), AnyNode()}); }),
               ContainsSubstring("'flow'") && ContainsSubstring("empty"));
    CHECK_THROWS_AS(TreeExecutor(AnyNode()), Error);
}

// ---- how it is made and what it tells -----------------------------------------------------------

TEST_CASE("An executor is made from a node, nodes, braces, and any range of nodes") {
    Log log;
    const Node deduced{"deduced", [&log] { log.emplace_back("deduced"); }};
    const Node<int> typed = logging(log, "typed");
    const AnyNode any = logging(log, "any");
    const std::vector<Node<int>> vector{typed, typed};
    const std::list<AnyNode> list{any, typed};
    const std::array<AnyNode, 2> array{any, deduced};
    const std::deque<Node<int>> deque{typed};
    const AnyNode plain[] = {typed, any};
    const std::span<const AnyNode> span(array);
    const std::string name = "name";

    CHECK(ids(TreeExecutor{deduced}.roots()) == Log{"deduced"});
    CHECK(ids(TreeExecutor{deduced, typed, any}.roots()) == Log{"deduced", "typed", "any"});
    CHECK(ids(TreeExecutor("name", typed).roots()) == Log{"typed"});
    CHECK(ids(TreeExecutor{"name", {any}}.roots()) == Log{"any"});
    CHECK(ids(TreeExecutor{"name", {any, deduced}}.roots()) == Log{"any", "deduced"});
    CHECK(ids(TreeExecutor{vector}.roots()) == Log{"typed", "typed"});
    CHECK(ids(TreeExecutor{"name", vector}.roots()) == Log{"typed", "typed"});
    CHECK(ids(TreeExecutor{list}.roots()) == Log{"any", "typed"});
    CHECK(ids(TreeExecutor{name, list}.roots()) == Log{"any", "typed"});
    CHECK(ids(TreeExecutor{array}.roots()) == Log{"any", "deduced"});
    CHECK(ids(TreeExecutor{span}.roots()) == Log{"any", "deduced"});
    CHECK(ids(TreeExecutor{"name", span.subspan(1)}.roots()) == Log{"deduced"});
    CHECK(ids(TreeExecutor{deque}.roots()) == Log{"typed"});
    CHECK(ids(TreeExecutor{plain}.roots()) == Log{"typed", "any"});
    CHECK(ids(TreeExecutor{NodeList{any, typed}}.roots()) == Log{"any", "typed"});
    const TreeExecutor assigned = {typed, any};
    CHECK(ids(assigned.roots()) == Log{"typed", "any"});
    CHECK(assigned.roots() == std::vector<AnyNode>{typed, any});
    run_it(TreeExecutor{span});
    CHECK(log == Log{"any", "deduced"});
}

TEST_CASE("name() and description() are what was given, and a name may be left out") {
    Log log;
    const Node<int> node = logging(log, "node");
    TreeExecutor named{"ML Pipeline", node};
    CHECK(named.name() == "ML Pipeline");
    CHECK(named.description().empty());
    CHECK(&named.description("Trains.") == &named);
    CHECK(named.description() == "Trains.");
    CHECK_FALSE(TreeExecutor{node}.name().empty());
    Observer observer;
    const TreeExecutor chained = TreeExecutor{"chained", {node}}
                                     .description("text")
                                     .max_concurrency(1)
                                     .timing(false)
                                     .shuffle(1)
                                     .observe(observer)
                                     .on_error(ErrorPolicy::keep_going);
    CHECK(chained.description() == "text");
    CHECK(chained.name() == "chained");
}

TEST_CASE("roots() are the nodes that were given, leaves() what of the run has no children") {
    Fork fork;
    CHECK(ids(TreeExecutor{fork.b}.roots()) == Log{"b"});
    CHECK(set_of(TreeExecutor{fork.b}.leaves()) == std::set<std::string>{"d", "e"});
    CHECK(ids(TreeExecutor{fork.d}.leaves()) == Log{"d"});
    const TreeExecutor executor{fork.d};
    fork.d.connect(fork.e);
    CHECK(ids(executor.leaves()) == Log{"e"});  // as wired now
}

TEST_CASE("for_each_edge visits each pair of the run once, and none outside of it") {
    Fork fork;
    fork.b.connect(fork.d);  // a second edge of the pair
    std::vector<std::string> edges;
    TreeExecutor{fork.a, fork.b}.for_each_edge([&](const AnyNode& parent, const AnyNode& child) {
        edges.push_back(parent.id() + " -> " + child.id());
    });
    std::sort(edges.begin(), edges.end());
    CHECK(edges == Log{"a -> c", "b -> c", "b -> d", "c -> e"});
}

TEST_CASE("errors() and report() tell of the last run, or so far of the one that is on") {
    TreeExecutor* running = nullptr;
    std::vector<std::size_t> errors;
    std::vector<Log> failed;
    const Node failing{"failing", [] { throw std::runtime_error("broken"); }};
    const Node watching{"watching", [&]() -> Task<> {
                            co_await sleep_for(1s);
                            errors.push_back(running->errors().size());
                            failed.push_back(ids(running->report().failed()));
                        }};
    TreeExecutor executor{failing, watching};
    executor.on_error(ErrorPolicy::keep_going);
    running = &executor;
    CHECK(executor.errors().empty());
    CHECK(executor.report().ok());
    CHECK(executor.report().completed().empty());
    const RunReport report = try_it(executor);
    CHECK(errors == std::vector<std::size_t>{1});
    CHECK(failed == std::vector<Log>{{"failing"}});
    CHECK(executor.errors().size() == 1);
    CHECK(executor.errors().at(0).node() == failing);
    CHECK(ids(executor.report().completed()) == Log{"watching"});
    CHECK(executor.report().elapsed() == report.elapsed());
}

TEST_CASE("A run that throws RunError leaves its report with the executor") {
    const Node failing{"failing", [] { throw std::runtime_error("broken"); }};
    const TreeExecutor executor{failing};
    CHECK_THROWS_AS(run_it(executor), RunError);
    CHECK(executor.report().failed() == std::vector<AnyNode>{failing});
}

TEST_CASE("timing(false) takes no times of nodes, and timing(true) does again") {
    Log log;
    const Node<int> node = sleeping(log, "node", 2s);
    TreeExecutor executor{node};
    run_it(executor);
    CHECK(node.runtime() == 2s);
    executor.timing(false);
    run_it(executor);
    CHECK(node.runtime() == 0s);
    executor.timing(true);
    run_it(executor);
    CHECK(node.runtime() == 2s);
}

// ---- a flow in a flow ---------------------------------------------------------------------------

TEST_CASE("A body may run a flow of its own, as deep as it likes") {
    struct Nested {
        static Task<int> depth(int left) {
            if (left == 0) co_return 0;
            const Node inner{"depth " + std::to_string(left), &Nested::depth, "left"_a = left - 1};
            const Node plus{"plus", [](int x) { return x + 1; }, "x"_a = inner};
            const TreeExecutor executor{"inner", {inner}};
            co_await sleep_for(1s);
            co_await executor.run();
            co_return plus.output();
        }
    };
    const Node outer{"outer", &Nested::depth, "left"_a = 20};
    const RunReport report = run_it(TreeExecutor{outer});
    CHECK(outer.output() == 20);
    CHECK(report.elapsed() == 20s);
    CHECK(ids(report.completed()) == Log{"outer"});
}

TEST_CASE("A body may stream a flow of its own, and yield on what that yields") {
    const Node outer{"outer", []() -> AsyncGenerator<int> {
                         const Node inner{"inner", []() -> AsyncGenerator<int> {
                                              for (int i = 1; i <= 3; ++i) {
                                                  co_await sleep_for(1s);
                                                  co_yield i;
                                              }
                                          }};
                         const TreeExecutor executor{inner};
                         auto events = executor.yielding();
                         while (const Event* event = co_await events.next()) {
                             if (auto chunk = event->chunk(inner)) co_yield chunk->output * 10;
                         }
                     }};
    std::vector<int> chunks;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{outer}.yielding())) {
        if (auto chunk = event.chunk(outer)) chunks.push_back(chunk->output);
    }
    CHECK(chunks == std::vector<int>{10, 20, 30});
    CHECK(outer.output() == chunks);
    CHECK(loop.now().time_since_epoch() == 3s);
}

TEST_CASE("The failure of a flow in a body fails that, and the error has both paths") {
    const Node root{"root", [] { return 1; }};
    const Node outer{"outer",
                     [](int x) -> Task<int> {
                         const Node first{"first", [] { return 1; }};
                         const Node second{
                             "second", [](int) -> int { throw std::runtime_error("disk full"); },
                             "x"_a = first};
                         const TreeExecutor inner{"inner flow", {first}};
                         co_await inner.run();
                         co_return x;
                     },
                     "x"_a = root};
    std::optional<RunError> caught;
    try {
        run_it(TreeExecutor{"outer flow", {root}});
    } catch (const RunError& error) {
        caught = error;
    }
    REQUIRE(caught);
    CHECK_THAT(caught->what(),
               ContainsSubstring("'outer flow'") && ContainsSubstring("root -> outer") &&
                   ContainsSubstring("'inner flow'") && ContainsSubstring("first -> second") &&
                   ContainsSubstring("disk full"));
    REQUIRE(caught->errors().size() == 1);
    const NodeError& failure = caught->errors().front();
    CHECK(failure.path() == Log{"root", "outer"});
    CHECK(failure.node() == outer);
    bool seen = false;
    try {
        std::rethrow_exception(failure.cause());
    } catch (const RunError& inner) {
        REQUIRE(inner.errors().size() == 1);
        CHECK(inner.errors().front().path() == Log{"first", "second"});
        CHECK(inner.errors().front().node().id() == "second");  // though its flow has ended
        CHECK_THROWS_WITH(std::rethrow_exception(inner.errors().front().cause()), "disk full");
        seen = true;
    }
    CHECK(seen);
}

TEST_CASE("A body that handles the failure of its own flow completes") {
    const Node outer{"outer", []() -> Task<std::string> {
                         const Node failing{"failing", [] { throw std::runtime_error("broken"); }};
                         const TreeExecutor inner{failing};
                         const RunReport report = co_await inner.try_run();
                         co_return report.ok() ? "fine" : report.failed().at(0).id();
                     }};
    CHECK(run_it(TreeExecutor{outer}).ok());
    CHECK(outer.output() == "failing");
}

// ---- callbacks ----------------------------------------------------------------------------------

TEST_CASE("A node's end is in this order: body, output, on_after_run, the event, its edges") {
    Log log;
    EventLoop loop{virtual_time};
    const auto note = [&](const std::string& text) {
        log.push_back(std::to_string(loop.now().time_since_epoch() / 1s) + " " + text);
    };
    const Node parent{"parent", [&note]() -> Task<int> {
                          note("body begins");
                          co_await sleep_for(1s);
                          note("body ends");
                          co_return 7;
                      }};
    const auto before = [&note](const Node<int>& node) -> Task<> {
        note("before begins");
        CHECK(node.state() == NodeState::running);
        CHECK_THROWS_AS(node.output(), OutputUnavailableError);
        co_await sleep_for(1s);
        note("before ends");
    };
    const auto after = [&note](const Node<int>& node) -> Task<> {
        note("after begins with " + std::to_string(node.output()));
        CHECK(node.state() == NodeState::completed);
        co_await sleep_for(1s);
        CHECK(node.state() == NodeState::completed);
        note("after ends");
    };
    parent.on_before_run(before).on_after_run(after);
    const Node child{"child", [&note](int x) { note("child has " + std::to_string(x)); }, "x"_a};
    const auto transform = [&note](int x) -> Task<int> {
        co_await sleep_for(1s);
        note("edge");
        co_return x * 2;
    };
    parent.connect(child, "x"_a = transform);
    for (const Event& event : iterate(loop, TreeExecutor{parent}.yielding())) {
        if (event.kind() == EventKind::completed) note(event.node().id() + " completed");
    }
    CHECK(log == Log{"0 before begins", "1 before ends", "1 body begins", "2 body ends",
                     "2 after begins with 7", "3 after ends", "3 parent completed", "4 edge",
                     "4 child has 14", "4 child completed"});
    CHECK(parent.runtime() == 3s);
}

TEST_CASE("Callbacks are called once a node run, in each run again") {
    Log log;
    const Node<int> node = logging(log, "body");
    node.on_before_run([&log] { log.emplace_back("before 1"); })
        .on_before_run([&log] { log.emplace_back("before 2"); })
        .on_after_run([&log] { log.emplace_back("after 1"); })
        .on_after_run([&log] { log.emplace_back("after 2"); });
    const Log once{"before 1", "before 2", "body", "after 1", "after 2"};
    const TreeExecutor executor{node};
    run_it(executor);
    CHECK(log == once);
    run_it(executor);
    Log twice = once;
    twice.insert(twice.end(), once.begin(), once.end());
    CHECK(log == twice);
}

TEST_CASE("A throw in on_before_run fails the node, whose body is never called") {
    const bool waits = GENERATE(false, true);
    Log log;
    const Node<int> node = logging(log, "body");
    const Node<int> child = logging(log, "child");
    node.connect(child);
    const auto coroutine = []() -> Task<> {
        co_await sleep_for(1s);
        throw std::runtime_error("not ready");
    };
    if (waits) {
        node.on_before_run(coroutine);
    } else {
        node.on_before_run([] { throw std::runtime_error("not ready"); });
    }
    node.on_before_run([&log] { log.emplace_back("second before"); });
    node.on_after_run([&log] { log.emplace_back("after"); });
    const RunReport report = try_it(TreeExecutor{node});
    CHECK(log.empty());
    CHECK(report.failed() == std::vector<AnyNode>{node});
    CHECK(report.skipped() == std::vector<AnyNode>{child});
    CHECK_THAT(report.errors().at(0).what(), ContainsSubstring("not ready"));
    CHECK(report.errors().at(0).attempts() == 0);
}

TEST_CASE("A throw in on_after_run fails the node: it has no output and its children are skipped") {
    const bool waits = GENERATE(false, true);
    Log log;
    const Node<int> node = logging(log, "body");
    const Node child{"child", [](int x) { return x; }, "x"_a = node};
    const auto coroutine = [](const AnyNode& self) -> Task<> {
        co_await sleep_for(1s);
        throw std::runtime_error("bad output of " + self.id());
    };
    if (waits) {
        node.on_after_run(coroutine);
    } else {
        node.on_after_run(
            [](const AnyNode& self) { throw std::runtime_error("bad output of " + self.id()); });
    }
    node.on_after_run([&log] { log.emplace_back("second after"); });
    const RunReport report = try_it(TreeExecutor{node});
    CHECK(log == Log{"body"});
    CHECK(node.state() == NodeState::failed);
    CHECK(child.state() == NodeState::skipped);
    CHECK(report.completed().empty());
    CHECK_THROWS_WITH(node.output(), ContainsSubstring("bad output of body"));
    CHECK(report.errors().at(0).attempts() == 1);
}

TEST_CASE("A throw in a transform fails the child, which never starts, and names the edge") {
    const bool waits = GENERATE(false, true);
    Log log;
    const Node parent{"parent", [] { return 7; }};
    const Node child{"child", [&log](int) { log.emplace_back("child"); }, "x"_a};
    const Node sibling{"sibling", [&log](int) { log.emplace_back("sibling"); }, "x"_a};
    const Node below{"below", [&log] { log.emplace_back("below"); }};
    const auto coroutine = [](int) -> Task<int> {
        co_await sleep_for(1s);
        throw std::runtime_error("no such unit");
    };
    if (waits) {
        parent.connect(child, "x"_a = coroutine);
    } else {
        parent.connect(child, "x"_a = [](int) -> int { throw std::runtime_error("no such unit"); });
    }
    parent.connect(sibling, "x"_a);
    child.connect(below);
    TreeExecutor executor{parent};
    executor.on_error(ErrorPolicy::keep_going);
    const RunReport report = try_it(executor);
    CHECK(log == Log{"sibling"});
    CHECK(parent.output() == 7);
    CHECK(report.failed() == std::vector<AnyNode>{child});
    CHECK(report.skipped() == std::vector<AnyNode>{below});
    REQUIRE(report.errors().size() == 1);
    const NodeError& error = report.errors().front();
    CHECK(error.node() == child);
    CHECK(error.attempts() == 0);
    CHECK(error.path() == Log{"parent", "child"});
    CHECK_THAT(error.what(), ContainsSubstring("'child'") &&
                                 ContainsSubstring("edge 'parent' -> 'child'") &&
                                 ContainsSubstring("no such unit"));
}

TEST_CASE("A child fails once, though several of its transforms throw or others still wait") {
    const Node quick{"quick", [] { return 1; }};
    const Node slow{"slow", []() -> Task<int> {
                        co_await sleep_for(5s);
                        co_return 1;
                    }};
    const auto fail = [](int) -> int { throw std::runtime_error("broken"); };
    const Node child{"child", [](int, int, int) {}, "a"_a, "b"_a, "c"_a};
    quick.connect(child, "a"_a = fail);
    quick.connect(child, "b"_a = fail);
    slow.connect(child, "c"_a = fail);
    TreeExecutor executor{quick, slow};
    executor.on_error(ErrorPolicy::keep_going);
    const RunReport report = try_it(executor);
    CHECK(report.errors().size() == 1);
    CHECK(report.failed() == std::vector<AnyNode>{child});
    CHECK(slow.state() == NodeState::completed);
    CHECK(report.elapsed() == 5s);
}

// ---- skip ---------------------------------------------------------------------------------------

TEST_CASE("A body may skip itself by an await or a throw: that is no failure") {
    enum class How { await, throw_in_task, throw_in_function, throw_in_generator };
    const How how =
        GENERATE(How::await, How::throw_in_task, How::throw_in_function, How::throw_in_generator);
    bool after = false;
    AnyNode node;
    switch (how) {
        case How::await:
            node = Node{"node", [&after]() -> Task<int> {
                            co_await skip("nothing new");
                            after = true;
                            co_return 1;
                        }};
            break;
        case How::throw_in_task:
            node = Node{"node", [&after]() -> Task<int> {
                            co_await sleep_for(1s);
                            if (!after) throw Skip{"nothing new"};
                            co_return 1;
                        }};
            break;
        case How::throw_in_function:
            node = Node{"node", [&after] {
                            if (!after) throw Skip{"nothing new"};
                        }};
            break;
        case How::throw_in_generator:
            node = Node{"node", [&after]() -> AsyncGenerator<int> {
                            co_yield 1;
                            if (!after) throw Skip{"nothing new"};
                        }};
            break;
    }
    node.on_after_run([&after] { after = true; });
    const RunReport report = run_it(TreeExecutor{node});
    CHECK(report.ok());
    CHECK(report.skipped() == std::vector<AnyNode>{node});
    CHECK(report.completed().empty());
    CHECK(report.errors().empty());
    CHECK(node.state() == NodeState::skipped);
    CHECK_FALSE(after);
    CHECK_THROWS_WITH(node.output<int>(),
                      ContainsSubstring("'node'") && ContainsSubstring("nothing new"));
}

TEST_CASE("Skip unwinds the body: what it held is released, and no handler of errors sees it") {
    Log log;
    struct Scope {
        explicit Scope(Log& l) : log(l) {}
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        ~Scope() { log.emplace_back("released"); }
        Log& log;
    };
    const Node node{"node", [&log]() -> Task<> {
                        const Scope scope(log);
                        try {
                            co_await skip("why");
                        } catch (const std::exception&) {
                            log.emplace_back("handled");
                        }
                        log.emplace_back("went on");
                    }};
    run_it(TreeExecutor{node});
    CHECK(log == Log{"released"});
}

TEST_CASE("The children of a skipped node are skipped, each naming its own parent as the reason") {
    Log log;
    const Node skipping{"skipping", []() -> Task<int> {
                            co_await skip("cache is warm");
                            co_return 1;
                        }};
    const Node<int> beside = sleeping(log, "beside", 3s);
    const Node child{"child", [](int x, int) { return x; }, "x"_a = skipping, "y"_a = beside};
    const Node grandchild{"grandchild", [](int x) { return x; }, "x"_a = child};
    const Node<int> unrelated = logging(log, "unrelated");
    beside.connect(unrelated);
    const RunReport report = run_it(TreeExecutor{skipping, beside});
    CHECK(ids(report.skipped()) == Log{"skipping", "child", "grandchild"});
    CHECK(log == Log{"beside", "unrelated"});
    CHECK_THROWS_WITH(skipping.output(), ContainsSubstring("(cache is warm)"));
    CHECK_THROWS_WITH(child.output(), ContainsSubstring("'skipping' was skipped"));
    CHECK_THROWS_WITH(grandchild.output(), ContainsSubstring("'child' was skipped"));
}

TEST_CASE("What depends on a failed node is skipped, and says so") {
    const Node failing{"failing", []() -> int { throw std::runtime_error("broken"); }};
    const Node child{"child", [](int x) { return x; }, "x"_a = failing};
    TreeExecutor executor{failing};
    executor.on_error(ErrorPolicy::keep_going);
    try_it(executor);
    CHECK_THROWS_WITH(child.output(), ContainsSubstring("'failing' failed"));
}

TEST_CASE("A node skipped in one run may complete in the next, and forgets the reason") {
    bool warm = true;
    const Node node{"node", [&warm] {
                        if (warm) throw Skip{"cache is warm"};
                        return 1;
                    }};
    const Node child{"child", [](int x) { return x + 1; }, "x"_a = node};
    const TreeExecutor executor{node};
    run_it(executor);
    CHECK(child.state() == NodeState::skipped);
    warm = false;
    run_it(executor);
    CHECK(child.output() == 2);
    warm = true;
    run_it(executor);
    CHECK_THROWS_WITH(child.output(), ContainsSubstring("'node' was skipped"));
}

TEST_CASE(
    "A body whose co_return is undone by a destructor that throws goes on, and gives the last") {
    struct Throwing {
        ~Throwing() noexcept(false) { throw std::runtime_error("undone"); }
    };
    const bool waits = GENERATE(false, true);
    const Node node{"node", [waits]() -> Task<int> {
                        try {
                            const Throwing throwing;
                            co_return 1;
                        } catch (const std::runtime_error&) {
                        }
                        if (waits) co_await sleep_for(std::chrono::milliseconds(1));
                        co_return 2;
                    }};
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{node}.run());
    CHECK(node.output() == 2);
}

TEST_CASE("A body fails with what a destructor throws after its co_return, a value or none") {
    struct Throwing {
        ~Throwing() noexcept(false) { throw std::runtime_error("undone"); }
    };
    const bool waits = GENERATE(false, true);
    const Node none{"none", [waits]() -> Task<> {
                        const Throwing throwing;
                        if (waits) co_await sleep_for(std::chrono::milliseconds(1));
                        co_return;
                    }};
    const Node number{"number", [waits]() -> Task<int> {
                          const Throwing throwing;
                          if (waits) co_await sleep_for(std::chrono::milliseconds(1));
                          co_return 1;
                      }};
    EventLoop loop{virtual_time};
    TreeExecutor executor{none, number};
    executor.on_error(ErrorPolicy::keep_going);
    CHECK(ids(loop.run(executor.try_run()).failed()) == Log{"none", "number"});
}

TEST_CASE("An edge that throws fails its child in each run, and not in one where it does not") {
    bool throws = true;
    Node source{"source", [] { return 1; }};
    const Node child{"child", [](int x) { return x; }, "x"_a};
    source.connect(
        child, "x"_a = [&](int x) {
            if (throws) throw std::runtime_error("edge");
            return x;
        });
    const TreeExecutor executor{source};
    EventLoop loop{virtual_time};
    for (int i = 0; i < 2; ++i) {
        CHECK(ids(loop.run(executor.try_run()).failed()) == Log{"child"});
    }
    throws = false;
    CHECK(loop.run(executor.try_run()).ok());
    CHECK(child.output() == 1);
}
