#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"
#include "farewell.hpp"

// A graph that is changed by its own bodies and callbacks while it runs.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;
using grafo_test::FarewellError;
using grafo_test::make_farewell;
using std::chrono::nanoseconds;

namespace {

using Log = std::vector<std::string>;
using Nodes = std::vector<AnyNode>;

Log ids(const Nodes& nodes) {
    Log result;
    for (const AnyNode& node : nodes) result.push_back(node.id());
    return result;
}

RunReport run_it(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.run());
}

RunReport try_it(TreeExecutor executor, ErrorPolicy policy = ErrorPolicy::keep_going) {
    EventLoop loop{virtual_time};
    executor.on_error(policy);
    return loop.run(executor.try_run());
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

std::string at(const std::string& what) {
    return std::to_string(EventLoop::current().now().time_since_epoch() / 1s) + " " + what;
}

int twice(int x) { return 2 * x; }

// A node that says in the log when it starts, and takes `work`.
Node<int> logging(Log& log, const std::string& id, nanoseconds work = 0s) {
    return Node{id, [&log, id, work]() -> Task<int> {
                    log.push_back(at(id));
                    if (work > 0ns) co_await sleep_for(work);
                    co_return 1;
                }};
}

// An output that does, when it goes, what it was given to do.
Node<std::shared_ptr<int>> make_holder(std::function<void()>& on_gone, std::string id) {
    return Node{std::move(id), [&on_gone] { return make_farewell(on_gone); }};
}

}  // namespace

// ---- new nodes ----------------------------------------------------------------------------------

TEST_CASE("A node made in a body starts when its parents are done, and gets what they forward") {
    Log log;
    const Node source{"source", [] { return 21; }};
    const Node maker{"maker",
                     [&](NodeContext& context, int x) -> Task<int> {
                         const Node<int> self(context.node());
                         const Node of_settled{"of_settled", twice, "x"_a = source};
                         const Node of_self{"of_self", twice, "x"_a};
                         const Node of_both{"of_both", [](int a, int b) { return a + b; },
                                            "a"_a = source, "b"_a};
                         self.connect(of_self, "x"_a);
                         self.connect(of_both, "b"_a = [](int y) { return y * 10; });
                         co_await sleep_for(1s);
                         log.push_back(std::to_string(of_settled.output()));
                         co_return x;
                     },
                     "x"_a = source};
    const RunReport report = run_it(TreeExecutor{source});
    CHECK(log == Log{"42"});  // while its maker was still running
    REQUIRE(ids(report.completed()) == Log{"source", "of_settled", "maker", "of_self", "of_both"});
    CHECK(report.completed()[3].output<int>() == 42);
    CHECK(report.completed()[4].output<int>() == 231);
}

TEST_CASE("A node without parents that is connected to a pending one starts, and delays that") {
    Log log;
    const Node<int> last = logging(log, "last");
    const Node<int> first{"first", [&log, ref = last.ref()]() -> Task<int> {
                              const Node<int> made = logging(log, "made", 5s);
                              made.connect(AnyNode(ref));
                              co_await sleep_for(1s);
                              co_return 1;
                          }};
    first.connect(last);
    const RunReport report = run_it(TreeExecutor{first});
    CHECK(log == Log{"0 made", "5 last"});
    CHECK(ids(report.completed()) == Log{"first", "made", "last"});
    CHECK(report.elapsed() == 5s);
}

TEST_CASE("New nodes that lead to and need other new ones join the run together") {
    Log log;
    const Node first{"first", [&log](NodeContext& context) {
                         const Node<int> a = logging(log, "a", 1s);
                         const Node<int> b = logging(log, "b", 3s);
                         const Node<int> c = logging(log, "c", 1s);
                         const Node<int> d = logging(log, "d");
                         a.connect(c).connect(d);
                         b.connect(d);  // b has no parent, and is not connected to the maker
                         context.node().connect(a);
                     }};
    const RunReport report = run_it(TreeExecutor{first});
    CHECK(log == Log{"0 b", "0 a", "1 c", "3 d"});
    CHECK(ids(report.completed()) == Log{"first", "a", "c", "b", "d"});
}

TEST_CASE("A node made in a body and connected to nothing is no part of the run") {
    Log log;
    AnyNode kept;
    const Node maker{"maker", [&] { kept = logging(log, "alone"); }};
    CHECK(ids(run_it(TreeExecutor{maker}).completed()) == Log{"maker"});
    CHECK(log.empty());
    CHECK(kept.state() == NodeState::pending);
    run_it(TreeExecutor{kept});
    CHECK(log == Log{"0 alone"});
}

TEST_CASE("Callbacks make nodes as bodies do") {
    enum class Where { before, after, after_later };
    const Where where = GENERATE(Where::before, Where::after, Where::after_later);
    const Node<int> parent = Node{"parent", [] { return 4; }};
    const auto make = [](const Node<int>& self) {
        const Node made{"made", twice, "x"_a};
        self.connect(made, "x"_a);
    };
    const auto make_later = [&make](const Node<int>& self) -> Task<> {
        co_await sleep_for(1s);
        make(self);
    };
    if (where == Where::before) parent.on_before_run(make);
    if (where == Where::after) parent.on_after_run(make);
    if (where == Where::after_later) parent.on_after_run(make_later);
    const RunReport report = run_it(TreeExecutor{parent});
    REQUIRE(ids(report.completed()) == Log{"parent", "made"});
    CHECK(report.completed()[1].output<int>() == 8);
    CHECK(parent.children().empty());
}

TEST_CASE("The new child of a node that was skipped is skipped, of one that failed as well") {
    Log log;
    const Node skipped{"skipped", []() -> Task<> { co_await skip("why"); }};
    const Node failed{"failed", [] { throw std::runtime_error("broken"); }};
    const Node maker{"maker", [&]() -> Task<> {
                         co_await sleep_for(1s);
                         const Node<int> a = logging(log, "a");
                         const Node<int> b = logging(log, "b");
                         skipped.connect(a);
                         failed.connect(b);
                     }};
    const RunReport report = try_it(TreeExecutor{skipped, failed, maker});
    CHECK(log.empty());
    CHECK(ids(report.skipped()) == Log{"skipped", "a", "b"});
}

TEST_CASE("The new children of a body that then fails are skipped") {
    Log log;
    const Node maker{"maker", [&log](NodeContext& context) {
                         context.node().connect(logging(log, "made"));
                         throw std::runtime_error("broken");
                     }};
    const RunReport report = try_it(TreeExecutor{maker});
    CHECK(ids(report.failed()) == Log{"maker"});
    CHECK(ids(report.skipped()) == Log{"made"});
    CHECK(log.empty());
}

TEST_CASE("A node made after the run was stopped is cancelled, and its body never called") {
    Log log;
    TreeExecutor* running = nullptr;
    const Node maker{"maker", [&](NodeContext& context) -> Task<> {
                         running->stop();
                         const Node<int> made = logging(log, "made");
                         const Node<int> root = logging(log, "root");
                         root.connect(made);
                         context.node().connect(made);
                         co_return;
                     }};
    TreeExecutor executor{maker};
    running = &executor;
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.stopped());
    CHECK(log.empty());
    CHECK(report.completed().empty());
    CHECK(report.cancelled().size() + report.skipped().size() == 3);
}

TEST_CASE("A stream tells of the nodes made in its run as of others") {
    const Node maker{"maker", [](NodeContext& context) {
                         const Node made{"made", []() -> AsyncGenerator<int> {
                                             co_yield 1;
                                             co_yield 2;
                                         }};
                         context.node().connect(made);
                     }};
    Log log;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{maker}.yielding())) {
        if (auto chunk = event.chunk<int>()) {
            log.push_back(std::string(chunk->node) + " " + std::to_string(chunk->output));
        } else {
            log.push_back(event.node().id() +
                          (event.kind() == EventKind::started ? " started" : " ended"));
        }
    }
    CHECK(log ==
          Log{"maker started", "maker ended", "made started", "made 1", "made 2", "made ended"});
}

TEST_CASE("Each node may make the next: a run grows as long as it likes, without recursion") {
    constexpr int length = 5000;
    int made = 0;
    struct Grow {
        static void next(NodeContext& context, int* count) {
            if (++*count == length) return;
            const Node node{"next", &Grow::next, "count"_a = count};
            context.node().connect(node);
        }
    };
    const Node first{"first", &Grow::next, "count"_a = &made};
    const TreeExecutor executor{first};
    CHECK(run_it(executor).completed().size() == length);
    CHECK(made == length);
    made = length - 3;
    CHECK(run_it(executor).completed().size() == 3);
}

TEST_CASE("A tree that its nodes unfold runs each of them once, and the outputs come together") {
    // Each node of depth > 0 makes three; the leaves all feed one list.
    int calls = 0;
    const Node sum{"sum",
                   [](const std::vector<int>& all) {
                       int result = 0;
                       for (const int x : all) result += x;
                       return result;
                   },
                   "all"_args};
    struct Unfold {
        static Task<int> node(NodeContext& context, int depth, int* count, NodeRef<int> into) {
            ++*count;
            const Node<int> self(context.node());
            if (depth == 0) {
                self.connect(into.lock(), "all"_a);
                co_return 1;
            }
            for (int i = 0; i < 3; ++i) {
                const Node child{"child", &Unfold::node, "depth"_a = depth - 1, "count"_a = count,
                                 "into"_a = into};
                self.connect(child);
                child.connect(into.lock());
            }
            co_await sleep_for(1s);
            co_return 0;
        }
    };
    const Node root{"root", &Unfold::node, "depth"_a = 4, "count"_a = &calls, "into"_a = sum.ref()};
    root.connect(sum, "all"_a);
    const TreeExecutor executor{root};
    for (int i = 0; i < 2; ++i) {
        calls = 0;
        const RunReport report = run_it(executor);
        CHECK(calls == 1 + 3 + 9 + 27 + 81);
        CHECK(sum.output() == 81);
        CHECK(report.completed().size() == 1 + 3 + 9 + 27 + 81 + 1);
        CHECK(report.completed().back() == sum);
        CHECK(report.elapsed() == 4s);
    }
}

// ---- edges between nodes that are there
// -----------------------------------------------------------

TEST_CASE("A new edge to a pending node delays it until the new parent has settled") {
    Log log;
    const Node<int> slow = logging(log, "slow", 5s);
    const Node<int> child = logging(log, "child");
    const Node parent{"parent", [&] { slow.connect(child); }};
    parent.connect(child);
    const RunReport report = run_it(TreeExecutor{slow, parent});
    CHECK(log == Log{"0 slow", "5 child"});
    CHECK(report.elapsed() == 5s);
    CHECK(slow.children().empty());
}

TEST_CASE("A new edge from a settled node to a pending one forwards at once") {
    const Node settled{"settled", [] { return 3; }};
    const Node child{"child", [](const std::vector<int>& all) { return all; }, "all"_args};
    const Node late{"late", [&]() -> Task<int> {
                        co_await sleep_for(1s);
                        settled.connect(child, "all"_a = [](int x) { return x + 100; });
                        settled.connect(child, "all"_a);
                        co_return 1;
                    }};
    late.connect(child, "all"_a);
    run_it(TreeExecutor{settled, late});
    CHECK(child.output() == std::vector<int>{1, 103, 3});
    run_it(TreeExecutor{settled, late});
    CHECK(child.output() == std::vector<int>{1, 103, 3});
}

TEST_CASE("A child that was ready but waits for a place is pending again after a new edge") {
    Log log;
    const Node<int> child = logging(log, "child");
    const Node<int> root = logging(log, "root");
    const Node rewirer{"rewirer", [&] {
                           log.push_back("rewirer");
                           CHECK(child.state() == NodeState::ready);
                           const Node<int> made = logging(log, "made", 2s);
                           made.connect(child);
                           CHECK(child.state() == NodeState::pending);
                       }};
    root.connect(rewirer);
    root.connect(child);
    TreeExecutor executor{root};
    executor.max_concurrency(1);
    run_it(executor);
    CHECK(log == Log{"0 root", "rewirer", "0 made", "2 child"});
}

TEST_CASE("A pending child that is disconnected from one of its parents waits for the others") {
    Log log;
    const Node<int> slow = logging(log, "slow", 10s);
    const Node<int> other = logging(log, "other", 2s);
    const Node<int> child = logging(log, "child");
    slow.connect(child);
    other.connect(child);
    const Node cutter{"cutter", [&]() -> Task<> {
                          co_await sleep_for(1s);
                          slow.disconnect(child);
                      }};
    const RunReport report = run_it(TreeExecutor{slow, other, cutter});
    CHECK(log == Log{"0 slow", "0 other", "2 child"});
    CHECK(report.elapsed() == 10s);
    CHECK(child.parents() == Nodes{slow, other});
}

TEST_CASE("A pending child that is disconnected from the last it waits for starts at once") {
    Log log;
    const Node<int> slow = logging(log, "slow", 10s);
    const Node<int> quick = logging(log, "quick");
    const Node<int> child = logging(log, "child");
    quick.connect(child);
    slow.connect(child);
    slow.connect(child);  // both edges go
    const Node cutter{"cutter", [&]() -> Task<> {
                          co_await sleep_for(1s);
                          slow.disconnect(child);
                      }};
    run_it(TreeExecutor{slow, quick, cutter});
    CHECK(log == Log{"0 slow", "0 quick", "1 child"});
}

TEST_CASE(
    "A pending child that is disconnected from all its parents is skipped, and what follows") {
    Log log;
    const Node<int> slow = logging(log, "slow", 10s);
    const Node<int> child = logging(log, "child");
    const Node<int> grandchild = logging(log, "grandchild");
    slow.connect(child).connect(grandchild);
    const Node cutter{"cutter", [&]() -> Task<> {
                          co_await sleep_for(1s);
                          slow.disconnect(child);
                      }};
    const TreeExecutor executor{slow, cutter};
    const RunReport report = run_it(executor);
    CHECK(ids(report.completed()) == Log{"cutter", "slow"});
    CHECK(ids(report.skipped()) == Log{"child", "grandchild"});
    CHECK_THROWS_WITH(child.output(), ContainsSubstring("disconnected"));
    CHECK(log == Log{"0 slow"});
}

TEST_CASE("A child that loses the edge which fills an argument fails: the argument is missing") {
    const Node slow{"slow", []() -> Task<int> {
                        co_await sleep_for(10s);
                        co_return 1;
                    }};
    const Node child{"child", [](int x) { return x; }, "x"_a = slow};
    const Node cutter{"cutter", [&]() -> Task<> {
                          co_await sleep_for(1s);
                          slow.disconnect(child);
                      }};
    cutter.connect(child);
    const RunReport report = try_it(TreeExecutor{slow, cutter});
    REQUIRE(ids(report.failed()) == Log{"child"});
    CHECK(holds<MissingArgumentError>(report.errors()[0].cause()));
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("'x'"));
}

TEST_CASE("A forward is replaced by cutting its edge and connecting another parent") {
    const Node slow{"slow", []() -> Task<int> {
                        co_await sleep_for(10s);
                        co_return 1;
                    }};
    const Node spare{"spare", [] { return 2; }};
    const Node child{"child", twice, "x"_a};
    slow.connect(child, "x"_a = [](int x) { return x + 500; });
    const Node replace{"replace", [&]() -> Task<> {
                           co_await sleep_for(1s);
                           slow.disconnect(child);
                           spare.connect(child, forward_as("x"));
                       }};
    replace.connect(child);
    const TreeExecutor rewired{slow, spare, replace};
    run_it(rewired);
    CHECK(child.output() == 4);
    replace.disconnect(child);
    run_it(TreeExecutor{slow});  // as it was wired before, its transform included
    CHECK(child.output() == 1002);
}

TEST_CASE(
    "An edge whose transform is under way can be cut: that is cancelled, and not waited for") {
    Log log;
    const Node parent{"parent", [] { return 1; }};
    const Node<int> child = Node{"child",
                                 [&log](const std::vector<int>& all) {
                                     log.push_back(at("child"));
                                     return static_cast<int>(all.size());
                                 },
                                 "all"_args};
    const Node other{"other", [] { return 1; }};
    other.connect(child, forward_as("all"));
    const auto transform = [&log](int x) -> Task<std::vector<int>::value_type> {
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            log.push_back(at("cancelled"));
            throw;
        }
        co_return x;
    };
    parent.connect(child, "all"_a = transform);
    const Node cutter{"cutter", [&]() -> Task<> {
                          co_await sleep_for(1s);
                          parent.disconnect(child);
                      }};
    const RunReport report = run_it(TreeExecutor{parent, other, cutter});
    CHECK(log.size() == 2);
    CHECK(std::count(log.begin(), log.end(), "1 cancelled") == 1);
    CHECK(std::count(log.begin(), log.end(), "1 child") == 1);
    CHECK(child.output() == 1);
    CHECK(report.elapsed() == 1s);
}

TEST_CASE("Cutting a child that has settled changes nothing of its end") {
    Log log;
    const Node<int> parent = logging(log, "parent");
    const Node<int> child = logging(log, "child");
    const Node<int> grandchild = logging(log, "grandchild", 1s);
    parent.connect(child).connect(grandchild);
    const Node cutter{"cutter", [&]() -> Task<> {
                          co_await sleep_for(2s);
                          parent.disconnect(child);
                          child.disconnect(grandchild);
                      }};
    const RunReport report = run_it(TreeExecutor{parent, cutter});
    CHECK(ids(report.completed()) == Log{"parent", "child", "grandchild", "cutter"});
    CHECK(report.skipped().empty());
    CHECK(parent.children() == Nodes{child});
    CHECK(child.children() == Nodes{grandchild});
}

// ---- redirect -----------------------------------------------------------------------------------

TEST_CASE("redirect in on_after_run is a branch: what is cut off is skipped, what follows too") {
    const bool left = GENERATE(true, false);
    const Node test{"test", [left] { return left; }};
    const Node on_left{"left", [](bool x) { return x; }, "x"_a = test};
    const Node on_right{"right", [](bool x) { return x; }, "x"_a = test};
    const Node below_left{"below left", [](bool x) { return x; }, "x"_a = on_left};
    const Node below_right{"below right", [](bool x) { return x; }, "x"_a = on_right};
    test.on_after_run([&](const Node<bool>& self) {
        CHECK(self.state() == NodeState::completed);
        if (self.output()) {
            self.redirect({on_left});
        } else {
            self.redirect({on_right});
        }
    });
    const TreeExecutor executor{test};
    for (int run = 0; run < 2; ++run) {
        const RunReport report = run_it(executor);
        CHECK(report.ok());
        CHECK(ids(report.completed()) ==
              (left ? Log{"test", "left", "below left"} : Log{"test", "right", "below right"}));
        CHECK(ids(report.skipped()) ==
              (left ? Log{"right", "below right"} : Log{"left", "below left"}));
        CHECK((left ? on_left.output() : on_right.output()) == left);  // the forward was kept
        CHECK(test.children() == Nodes{on_left, on_right});
    }
}

TEST_CASE("redirect to a new node runs that instead") {
    Log log;
    const Node<int> parent = logging(log, "parent");
    const Node<int> usual = logging(log, "usual");
    parent.connect(usual);
    parent.on_after_run([&log](const AnyNode& self) {
        const Node<int> instead = logging(log, "instead");
        self.redirect({instead});
    });
    const RunReport report = run_it(TreeExecutor{parent});
    CHECK(log == Log{"0 parent", "0 instead"});
    CHECK(ids(report.skipped()) == Log{"usual"});
}

TEST_CASE("redirect to nothing skips all children") {
    Log log;
    const Node<int> parent = logging(log, "parent");
    parent.connect(logging(log, "a"));
    parent.connect(logging(log, "b"));
    parent.on_after_run([](const AnyNode& self) { self.redirect({}); });
    const TreeExecutor executor{parent};
    CHECK(ids(run_it(executor).skipped()) == Log{"a", "b"});
    CHECK(parent.children().size() == 2);
}

TEST_CASE("A child that is cut off by a redirect but has other parents runs after those") {
    Log log;
    const Node<int> parent = logging(log, "parent");
    const Node<int> other = logging(log, "other", 1s);
    const Node<int> child = logging(log, "child");
    parent.connect(child);
    other.connect(child);
    parent.on_after_run([](const AnyNode& self) { self.redirect({}); });
    const RunReport report = run_it(TreeExecutor{parent, other});
    CHECK(log == Log{"0 parent", "0 other", "1 child"});
    CHECK(report.skipped().empty());
}

TEST_CASE(
    "A child that is running is not rewired: it is refused, nothing changes, the run goes on") {
    Log log;
    Log refused;
    const Node<int> parent = logging(log, "parent");
    const Node<int> running = logging(log, "running", 5s);
    const Node<int> pending = logging(log, "pending");
    parent.connect(running).connect(pending);
    const Node rewirer{"rewirer", [&]() -> Task<> {
                           co_await sleep_for(1s);
                           const auto refuse = [&refused](auto&& change) {
                               try {
                                   change();
                               } catch (const SafeExecutionError& error) {
                                   refused.emplace_back(error.what());
                               }
                           };
                           const Node<int> made = logging(log, "made");
                           refuse([&] { made.connect(running); });
                           refuse([&] { parent.connect(running); });
                           refuse([&] { parent.disconnect(running); });
                           refuse([&] { parent.redirect({}); });
                           refuse([&] { parent.redirect({pending}); });
                           refuse([&] { made.redirect({pending, running}); });
                           CHECK(parent.children() == Nodes{running});
                           CHECK(made.children().empty());
                           CHECK(pending.parents() == Nodes{running});
                       }};
    const RunReport report = run_it(TreeExecutor{parent, rewirer});
    CHECK(refused.size() == 6);
    for (const std::string& what : refused) CHECK_THAT(what, ContainsSubstring("'running'"));
    CHECK(log == Log{"0 parent", "0 running", "5 pending"});
    CHECK(ids(report.completed()) == Log{"parent", "rewirer", "running", "pending"});
}

// ---- what lasts ---------------------------------------------------------------------------------

TEST_CASE("Wiring made in a run is gone after it: all edges, forwards and their order are back") {
    Log log;
    bool rewire = true;
    const Node a{"a", [] { return 1; }};
    const Node b{"b", [] { return 2; }};
    const Node c{"c", []() -> Task<int> {
                     co_await sleep_for(5s);
                     co_return 3;
                 }};
    const Node list{"list", [](const std::vector<int>& all) { return all; }, "all"_args};
    const Node<int> extra = logging(log, "extra");
    c.connect(list, "all"_a);
    a.connect(list, "all"_a = [](int x) { return x * 100; });
    b.connect(list, "all"_a);
    const Node rewirer{"rewirer", [&]() -> Task<> {
                           co_await sleep_for(1s);
                           if (!rewire) co_return;
                           a.disconnect(list);
                           b.redirect({extra, list});
                           a.connect(list, "all"_a);
                           list.connect(extra);
                       }};
    const TreeExecutor executor{c, a, b, rewirer};
    const auto check_as_before = [&] {
        CHECK(list.parents() == Nodes{c, a, b});
        CHECK(list.children().empty());
        CHECK(extra.parents().empty());
        CHECK(a.children() == Nodes{list});
        CHECK(b.children() == Nodes{list});
        CHECK(list.level() == 1);
    };
    run_it(executor);
    CHECK(list.output() == std::vector<int>{3, 2, 1});
    CHECK(log == Log{"5 extra"});
    check_as_before();
    rewire = false;
    run_it(executor);
    CHECK(list.output() == std::vector<int>{3, 100, 2});
    CHECK(log.size() == 1);
    check_as_before();
    rewire = true;
    run_it(executor);
    CHECK(list.output() == std::vector<int>{3, 2, 1});
    check_as_before();
}

TEST_CASE(
    "An edge that a run has cut is there again, and what it holds goes when it is cut for good") {
    auto held = std::make_shared<int>(1);
    const Node source{"source", [] { return 1; }};
    const Node child{"child", [](int x) { return x; }, "x"_a = 7};
    source.connect(child, when([held](int) { return true; }));
    const Node body{"body", [&] { source.disconnect(child); }};
    body.connect(child);
    const TreeExecutor executor{source, body};
    for (int i = 0; i < 2; ++i) {
        CHECK(run_it(executor).completed().size() == 3);
        CHECK(child.parents() == Nodes{source, body});
        CHECK(held.use_count() == 2);
    }
    source.disconnect(child);
    CHECK(held.use_count() == 1);
}

TEST_CASE("A stream that is dropped puts the wiring back as well") {
    Log log;
    const Node<int> parent = logging(log, "parent");
    const Node<int> child = logging(log, "child", 5s);
    parent.connect(child);
    parent.on_after_run([&](const AnyNode& self) {
        self.connect(logging(log, "made"));
        self.disconnect(child);
    });
    {
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            auto events = TreeExecutor{parent}.yielding();
            while (const Event* event = co_await events.next()) {
                if (event->completed(parent)) break;
            }
        };
        loop.run(consume());
    }
    CHECK(parent.children() == Nodes{child});
    CHECK(child.parents() == Nodes{parent});
}

TEST_CASE("level() ignores the edges of the run that is on, and those of nodes made in it") {
    std::vector<std::size_t> levels;
    const Node a{"a", [] {}};
    const Node b{"b", [] {}};
    const Node c{"c", []() -> Task<> { co_await sleep_for(1s); }};
    const Node last{"last", [] {}};
    a.connect(b);
    c.connect(last);
    const Node rewirer{"rewirer", [&] {
                           b.connect(last);
                           const Node made{"made", [] {}};
                           made.connect(a.id() == "a" ? AnyNode(last) : AnyNode(a));
                           last.connect(Node{"below", [] {}});
                           levels = {a.level(), b.level(), c.level(), last.level()};
                           levels.push_back(made.level());
                       }};
    const RunReport report = run_it(TreeExecutor{a, c, rewirer});
    CHECK(report.completed().size() == 7);
    CHECK(levels == std::vector<std::size_t>{0, 1, 0, 1, 0});
    CHECK(last.level() == 1);
}

TEST_CASE("Nodes made in a run are freed when neither a handle nor a report of it is left") {
    Counted::reset();
    {
        const Node maker{"maker", [](NodeContext& context) {
                             for (int i = 0; i < 3; ++i) {
                                 const Node made{"made", [c = Counted(i)] { return Counted(c); }};
                                 context.node().connect(made);
                             }
                         }};
        std::optional<TreeExecutor> executor{TreeExecutor{maker}};
        std::optional<RunReport> report = run_it(*executor);
        CHECK(Counted::live() == 6);  // three callables, three outputs
        CHECK(report->completed().back().output<Counted>().value == 2);
        SECTION("a report holds them, and so does its executor until the next run") {
            executor.reset();
            CHECK(Counted::live() == 6);
            report.reset();
            CHECK(Counted::live() == 0);
            CHECK(maker.state() == NodeState::completed);
        }
        SECTION("a handle of one holds that one") {
            AnyNode one = report->completed().at(2);
            executor.reset();
            report.reset();
            CHECK(Counted::live() == 2);
            CHECK(one.output<Counted>().value == 1);
            CHECK(one.parents().empty());
            one = AnyNode();
            CHECK(Counted::live() == 0);
        }
        SECTION("a second run makes its own, and frees those of the first") {
            report.reset();
            CHECK(Counted::live() == 6);
            run_it(*executor);
            CHECK(Counted::live() == 6);
            run_it(*executor);
            CHECK(Counted::live() == 6);
            executor.reset();
            CHECK(Counted::live() == 0);
        }
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What a run made and cut off again does not outlive its report") {
    Counted::reset();
    {
        const Node maker{"maker", [](NodeContext& context) -> Task<> {
                             {
                                 const Node made{"made", [c = Counted(1)] { return c.value; }};
                                 context.node().connect(made);
                                 context.node().redirect({});
                             }
                             co_await sleep_for(1s);
                         }};
        CHECK(ids(run_it(TreeExecutor{maker}).skipped()) == Log{"made"});
        CHECK(Counted::live() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A node that was made in a run may be run again by itself, or wired for good") {
    AnyNode kept;
    const Node maker{"maker", [&kept](NodeContext& context) {
                         const Node made{"made", twice, "x"_a};
                         Node<int>(context.node()).connect(made, "x"_a);
                         kept = made;
                         return 21;
                     }};
    run_it(TreeExecutor{maker});
    CHECK(kept.output<int>() == 42);
    CHECK(kept.parents().empty());
    CHECK_THROWS_AS(run_it(TreeExecutor{kept}), MissingArgumentError);
    const Node other{"other", [] { return 4; }};
    other.connect(kept, "x"_a);
    run_it(TreeExecutor{other});
    CHECK(kept.output<int>() == 8);
}

// ---- mistakes that show in the run
// ----------------------------------------------------------------

TEST_CASE("A cycle made in a run ends its nodes with CycleError, and not the run in a wait") {
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    Log log;
    const Node<int> beside = logging(log, "beside", 5s);
    const Node<int> maker{"maker", [&log](NodeContext& context) {
                              const Node<int> a = logging(log, "a");
                              const Node<int> b = logging(log, "b");
                              a.connect(b);
                              b.connect(a);
                              context.node().connect(a);
                              return 1;
                          }};
    const RunReport report = try_it(TreeExecutor{maker, beside}, policy);
    CHECK(log == Log{"0 beside"});
    CHECK(ids(report.completed()) == Log{"maker", "beside"});
    CHECK(report.completed().size() + report.failed().size() + report.skipped().size() +
              report.cancelled().size() ==
          4);
    REQUIRE_FALSE(report.errors().empty());
    for (const NodeError& error : report.errors()) {
        CHECK(holds<CycleError>(error.cause()));
        CHECK((error.node().id() == "a" || error.node().id() == "b"));
        CHECK(error.attempts() == 0);
    }
    if (policy == ErrorPolicy::keep_going) CHECK(report.errors().size() == 2);
}

TEST_CASE("A cycle closed in a run between pending nodes fails them, and the next run is sound") {
    Log log;
    bool close = true;
    const Node<int> a = logging(log, "a");
    const Node<int> b = logging(log, "b");
    const Node<int> c = logging(log, "c");
    const Node<int> after = logging(log, "after");
    const Node closer{"closer", [&] {
                          if (close) c.connect(a);
                      }};
    closer.connect(a).connect(b).connect(c).connect(after);
    const TreeExecutor executor{closer};
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK_FALSE(report.ok());
    CHECK(log.empty());
    CHECK(ids(report.completed()) == Log{"closer"});
    REQUIRE_FALSE(report.errors().empty());
    CHECK(holds<CycleError>(report.errors()[0].cause()));
    for (const AnyNode& node : Nodes{a, b, c, after}) {
        CHECK(node.state() >= NodeState::completed);  // settled, in one way or another
        CHECK(node.state() != NodeState::completed);
    }
    close = false;
    CHECK(loop.run(executor.run()).completed().size() == 5);
    CHECK(log == Log{"0 a", "0 b", "0 c", "0 after"});
}

TEST_CASE("A new node that leads to itself fails with CycleError") {
    const Node maker{"maker", [](NodeContext& context) {
                         const Node made{"made", [] {}};
                         made.connect(made);
                         context.node().connect(made);
                     }};
    const RunReport report = try_it(TreeExecutor{maker});
    REQUIRE(ids(report.failed()) == Log{"made"});
    CHECK(holds<CycleError>(report.errors()[0].cause()));
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("'made'"));
}

TEST_CASE("The missing argument of a node made in a run fails that node, and no other") {
    Log log;
    const Node maker{"maker", [&log](NodeContext& context) {
                         const Node<int> self(context.node());
                         const Node made{"made", [](int x, int y) { return x + y; }, "x"_a, "y"_a};
                         const Node<int> fine = logging(log, "fine");
                         self.connect(made, "x"_a);
                         self.connect(fine);
                         made.connect(logging(log, "below made"));
                         return 1;
                     }};
    const RunReport report = try_it(TreeExecutor{maker});
    CHECK(ids(report.completed()) == Log{"maker", "fine"});
    CHECK(ids(report.skipped()) == Log{"below made"});
    REQUIRE(ids(report.failed()) == Log{"made"});
    CHECK(holds<MissingArgumentError>(report.errors()[0].cause()));
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("'y'") && ContainsSubstring("'made'"));
    CHECK(log == Log{"0 fine"});
}

TEST_CASE("A wiring mistake in a body throws there, and can be handled there") {
    std::string what;
    const Node maker{"maker", [&what](NodeContext& context) {
                         const AnyNode made = Node{"made", [](const std::string&) {}, "text"_a};
                         try {
                             context.node().connect(made, "text"_a);
                         } catch (const ForwardingTypeError& error) {
                             what = error.what();
                         }
                         return 1;
                     }};
    const RunReport report = run_it(TreeExecutor{maker});
    CHECK_THAT(what, ContainsSubstring("'text'"));
    CHECK(ids(report.completed()) == Log{"maker"});
}

// ---- two graphs ---------------------------------------------------------------------------------

TEST_CASE("A run that connects to another graph takes what that leads to and needs, for the run") {
    Log log;
    const Node<int> needed = logging(log, "needed", 2s);
    const Node<int> target = logging(log, "target");
    const Node<int> below = logging(log, "below");
    const Node<int> apart = logging(log, "apart");
    needed.connect(target).connect(below);
    needed.connect(apart);  // neither led to nor needed by target
    const TreeExecutor own{needed};
    std::string refused;
    const Node<int> first{"first", [&](NodeContext& context) -> Task<int> {
                              context.node().connect(target);
                              try {
                                  co_await own.run();
                              } catch (const SafeExecutionError& error) {
                                  refused = error.what();
                              }
                              co_await sleep_for(1s);
                              co_return 1;
                          }};
    const RunReport report = run_it(TreeExecutor{first});
    CHECK(ids(report.completed()) == Log{"first", "needed", "target", "below"});
    CHECK_THAT(refused, ContainsSubstring("in a run"));
    CHECK(log == Log{"0 needed", "2 target", "2 below"});
    CHECK(first.children().empty());
    log.clear();
    CHECK(run_it(own).completed().size() == 4);
    CHECK(log == Log{"0 needed", "2 target", "2 apart", "2 below"});
}

TEST_CASE("A new node cannot be connected between two runs, but is to one of them") {
    Log log;
    std::string what;
    const Node<int> other_pending = logging(log, "other pending");
    const Node<int> other = logging(log, "other", 5s);
    other.connect(other_pending);
    const Node maker{"maker", [&](NodeContext& context) -> Task<> {
                         co_await sleep_for(1s);
                         const Node<int> made = logging(log, "made");
                         made.connect(other_pending);  // is part of the other run now
                         try {
                             context.node().connect(made);
                         } catch (const SafeExecutionError& error) {
                             what = error.what();
                         }
                         try {
                             context.node().connect(other_pending);
                         } catch (const SafeExecutionError&) {
                             what += "!";
                         }
                     }};
    const TreeExecutor first{maker};
    const TreeExecutor second{other};
    EventLoop loop{virtual_time};
    const auto background = [&first]() -> Task<> { co_await first.run(); };
    loop.spawn(background());
    const RunReport report = loop.run(second.run());
    CHECK_THAT(what, ContainsSubstring("two runs") && ContainsSubstring("!"));
    CHECK(ids(report.completed()) == Log{"made", "other", "other pending"});
    CHECK(ids(first.report().completed()) == Log{"maker"});
    CHECK(log == Log{"0 other", "1 made", "5 other pending"});
    CHECK(maker.children().empty());
    CHECK(other_pending.parents() == Nodes{other});
}

TEST_CASE("Two runs that each wire the same idle node: the second after the first has ended") {
    Log log;
    int refused = 0;
    const Node<int> idle = logging(log, "idle");
    const auto wire = [&](NodeContext& context, std::chrono::seconds when) -> Task<> {
        co_await sleep_for(when);
        try {
            context.node().connect(idle);
        } catch (const SafeExecutionError&) {
            ++refused;
        }
        co_await sleep_for(2s);
    };
    const Node one{"one", wire, "when"_a = 1s};
    const Node two{"two", wire, "when"_a = 2s};
    const Node three{"three", wire, "when"_a = 4s};
    const TreeExecutor first{one};
    const TreeExecutor second{two};
    const TreeExecutor third{three};
    EventLoop loop{virtual_time};
    const auto background = [](const TreeExecutor* executor) -> Task<> {
        co_await executor->run();
    };
    loop.spawn(background(&first));
    loop.spawn(background(&second));
    loop.run(third.run());
    CHECK(refused == 1);
    CHECK(log == Log{"3 idle", "6 idle"});
    CHECK(ids(second.report().completed()) == Log{"two"});
    CHECK(idle.parents().empty());
}

TEST_CASE("Edges between two steps of iterate: their transforms and conditions run in the loop") {
    EventLoop loop{virtual_time};
    Log log;
    const auto later = [&](const int& x) -> Task<int> {
        CHECK(&EventLoop::current() == &loop);
        try {
            co_await sleep_for(1s);
        } catch (const Cancelled&) {
            log.push_back("let go");
            throw;
        }
        co_return x + 1;
    };
    const Node<int> parent{"parent", [] { return 1; }};
    const Node<void> slow{"slow", []() -> Task<> { co_await sleep_for(9s); }};
    const auto note = [&log](int x) { log.push_back(std::to_string(x)); };
    const Node<void> child{"child", note, "x"_a};
    const Node<void> kept{"kept", note, "x"_a};
    const Node<void> cut{"cut", note, "x"_a};
    const TreeExecutor executor{parent, slow};
    bool wired = false;
    for (const Event& event : iterate(loop, executor.yielding())) {
        if (!event.completed(parent)) continue;
        wired = true;
        parent.connect(child, "x"_a, when([&]() -> Task<bool> {
                           co_await yield();
                           co_return true;
                       }));
        parent.connect(kept, "x"_a = later);
        parent.connect(cut, "x"_a = later);
        parent.disconnect(cut);
        CHECK_THROWS_AS(EventLoop::current(), Error);
    }
    CHECK(wired);
    CHECK(log == Log{"let go", "1", "2"});
    CHECK(cut.state() == NodeState::skipped);
}

TEST_CASE("An edge that another loop's task makes in a run: its transform runs in the run's loop") {
    EventLoop loop{virtual_time};
    EventLoop other{virtual_time};
    const Node<int> parent{"parent", [] { return 1; }};
    int got = 0;
    const Node<void> child{"child", [&got](int x) { got = x; }, "x"_a};
    const TreeExecutor executor{parent};
    const auto wire = [&]() -> Task<> {
        parent.connect(
            child, "x"_a = [&](const int& x) -> Task<int> {
                CHECK(&EventLoop::current() == &loop);
                co_await sleep_for(1s);
                co_return x + 1;
            });
        CHECK(&EventLoop::current() == &other);
        co_return;
    };
    for (const Event& event : iterate(loop, executor.yielding())) {
        if (event.completed(parent)) other.run(wire());
    }
    CHECK(got == 2);
}

TEST_CASE("A transform that cuts an edge passed on before does not skip those behind") {
    Node parent{"parent", [] { return 1; }};
    Node waits{"waits", [] { return sleep_for(1s); }};
    Node first{"first", [] {}};
    Node second{"second", [](int x) { return x; }, "x"_a};
    Node third{"third", [] {}};
    waits.connect(first);
    parent.connect(first);
    parent.connect(
        second, "x"_a = [&](int x) {
            parent.disconnect(first);
            return x + 1;
        });
    parent.connect(third);
    const RunReport report = run_it(TreeExecutor{parent});
    CHECK(report.completed().size() == 5);
    CHECK(second.output() == 2);
}

TEST_CASE("A former output whose destructor wires its node anew: the node is at rest, and obeys") {
    enum class Act { connect_late, cut_other, cut_child };
    for (const Act act : {Act::connect_late, Act::cut_other, Act::cut_child}) {
        CAPTURE(act);
        std::vector<std::string> log;
        std::function<void()> on_gone;
        const auto say = [&](const char* what) {
            return [&log, what]() -> Task<> {
                log.emplace_back(what);
                co_return;
            };
        };
        const auto wait_and_say = [&](const char* what) {
            return [&log, what]() -> Task<> {
                co_await sleep_for(1ms);
                log.emplace_back(what);
            };
        };
        Node first{"first", say("first")};
        Node other{"other", wait_and_say("other")};
        Node late{"late", wait_and_say("late")};
        Node second{"second", [&]() -> Task<std::shared_ptr<int>> {
                        log.emplace_back("second");
                        co_return make_farewell(on_gone);
                    }};
        Node third{"third", say("third")};
        first.connect(second);
        if (act == Act::cut_other) other.connect(second);
        second.connect(third);
        TreeExecutor executor{other, first};
        EventLoop loop{virtual_time};
        loop.run(executor.run());
        log.clear();
        on_gone = [&] {
            if (act == Act::connect_late) late.connect(second);
            if (act == Act::cut_other) other.disconnect(second);
            if (act == Act::cut_child) second.disconnect(third);
        };
        const RunReport report = loop.run(executor.try_run());
        CHECK(report.failed().empty());
        CHECK(second.state() == NodeState::completed);
        CHECK(third.state() == (act == Act::cut_child ? NodeState::skipped : NodeState::completed));
        if (act == Act::connect_late) {
            CHECK(log == std::vector<std::string>{"first", "other", "late", "second", "third"});
        }
    }
}

TEST_CASE("A former output goes when its node begins, and its destructor wires the parent anew") {
    enum class Act { connect_many, cut_next, cut_itself, stop };
    for (const Act act : {Act::connect_many, Act::cut_next, Act::cut_itself, Act::stop}) {
        CAPTURE(act);
        std::vector<std::string> log;
        std::function<void()> on_gone;
        const auto say = [&](std::string what) {
            return [&log, what = std::move(what)]() -> Task<> {
                log.push_back(what);
                co_return;
            };
        };
        Node parent{"parent", say("parent")};
        Node holder{"holder", [&]() -> Task<std::shared_ptr<int>> {
                        log.emplace_back("holder");
                        co_return make_farewell(on_gone);
                    }};
        Node next{"next", say("next")};
        Node last{"last", say("last")};
        parent.connect(holder);
        parent.connect(next);
        parent.connect(last);
        std::vector<AnyNode> late;
        for (int i = 0; i < 10; ++i) {
            late.push_back(Node{"late " + std::to_string(i), say("late")});
        }
        TreeExecutor executor{parent};
        EventLoop loop{virtual_time};
        loop.run(executor.run());
        log.clear();
        on_gone = [&] {
            for (const AnyNode& node : late) {
                if (act == Act::connect_many) parent.connect(node);
            }
            if (act == Act::cut_next) parent.disconnect(next);
            if (act == Act::cut_itself) parent.disconnect(holder);
            if (act == Act::stop) executor.stop();
        };
        const RunReport report = loop.run(executor.try_run());
        CHECK(report.failed().empty());
        std::vector<std::string> expected{"parent"};
        switch (act) {
            case Act::connect_many:
                expected.insert(expected.end(), {"holder", "next", "last"});
                expected.insert(expected.end(), 10, "late");
                break;
            case Act::cut_next: expected.insert(expected.end(), {"holder", "last"}); break;
            case Act::cut_itself: expected.insert(expected.end(), {"next", "last"}); break;
            case Act::stop: break;
        }
        CHECK(log == expected);
        CHECK(report.completed().size() == expected.size());
    }
}

TEST_CASE("A former output of a pipe's reader wires the producer anew when that opens its stream") {
    std::function<void()> on_gone;
    Node producer{"producer", []() -> AsyncGenerator<int> {
                      co_yield 1;
                      co_yield 2;
                  }};
    int sum = 0;
    Node reader{"reader",
                [&](AsyncGenerator<int> items) -> Task<std::shared_ptr<int>> {
                    while (const int* item = co_await items.next()) sum += *item;
                    co_return make_farewell(on_gone);
                },
                "items"_a};
    producer.connect(reader, "items"_a);
    Node plain{"plain", [] {}};
    producer.connect(plain);
    for (int i = 0; i < 5; ++i) producer.connect(Node{"other " + std::to_string(i), [] {}});
    std::vector<AnyNode> late;
    for (int i = 0; i < 10; ++i) late.push_back(Node{"late " + std::to_string(i), [] {}});
    const TreeExecutor executor{producer};
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    on_gone = [&] {
        producer.disconnect(plain);
        for (const AnyNode& node : late) producer.connect(node);
    };
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.failed().empty());
    CHECK(report.completed().size() == 17);
    CHECK(plain.state() == NodeState::skipped);
    CHECK(sum == 6);
    CHECK(loop.run(executor.run()).completed().size() == 8);
}

TEST_CASE("A former output that goes as its node is cut off cuts others off the same parent") {
    for (const bool cuts_itself : {false, true}) {
        CAPTURE(cuts_itself);
        std::function<void()> on_gone;
        bool second = false;
        AnyNode self;
        AnyNode last;
        Node parent{"parent", [&] {
                        if (second) self.disconnect(last);
                    }};
        self = parent;
        std::vector<AnyNode> children;
        for (int i = 0; i < 9; ++i) {
            children.push_back(Node{"child " + std::to_string(i), [] {}});
            parent.connect(children.back());
        }
        const Node holder = make_holder(on_gone, "holder");
        last = holder;
        parent.connect(holder);
        const TreeExecutor executor{parent};
        EventLoop loop{virtual_time};
        loop.run(executor.run());
        second = true;
        on_gone = [&] {
            for (int i = 0; i < 8; ++i) self.disconnect(children[static_cast<std::size_t>(i)]);
            if (cuts_itself) self.disconnect(last);
        };
        const RunReport report = loop.run(executor.try_run());
        CHECK(report.failed().empty());
        CHECK(report.completed().size() == 2);
        CHECK(report.skipped().size() == 9);
        CHECK(children[8].state() == NodeState::completed);
        second = false;
        CHECK(loop.run(executor.run()).completed().size() == 11);
    }
}

TEST_CASE("A former output that goes as its node gets a parent connects that parent to others") {
    std::function<void()> on_gone;
    bool second = false;
    AnyNode self;
    AnyNode last;
    std::vector<AnyNode> late;
    for (int i = 0; i < 10; ++i) late.push_back(Node{"late " + std::to_string(i), [] {}});
    Node parent{"parent", [&] {
                    if (second) self.connect(last);
                }};
    self = parent;
    Node root{"root", [] {}};
    const Node holder = make_holder(on_gone, "holder");
    last = holder;
    root.connect(parent);
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1s); }};
    root.connect(slow);
    slow.connect(holder);
    const TreeExecutor executor{root};
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    second = true;
    on_gone = [&] {
        for (const AnyNode& node : late) self.connect(node);
    };
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.failed().empty());
    CHECK(report.completed().size() == 14);
    second = false;
    CHECK(loop.run(executor.run()).completed().size() == 4);
}

TEST_CASE("A node wired anew by who reads the stream, which its former output drops as it goes") {
    const bool cuts = GENERATE(false, true);
    std::function<void()> on_gone;
    Node slow{"slow", []() -> Task<> { co_await sleep_for(50ms); }};
    Node parent{"parent", [] {}};
    const Node holder = make_holder(on_gone, "holder");
    slow.connect(holder);
    const TreeExecutor executor{slow, parent};
    bool dropped = false;
    const auto wire_and_read = [&]() -> Task<> {
        co_await executor.run();
        std::optional<AsyncGenerator<Event>> events(executor.yielding());
        static_cast<void>(co_await events->next());
        co_await sleep_for(5ms);
        on_gone = [&] {
            events.reset();
            dropped = true;
        };
        if (cuts) {
            slow.disconnect(holder);
        } else {
            parent.connect(holder);
        }
        CHECK_FALSE(dropped);  // it goes when its node begins, or does not
        co_await sleep_for(1s);
        CHECK(dropped);
    };
    EventLoop loop{virtual_time};
    loop.run(wire_and_read());
    CHECK(holder.state() == NodeState::cancelled);
    CHECK_THROWS_AS(holder.output(), OutputUnavailableError);
    CHECK(loop.run(executor.run()).ok());
}

TEST_CASE("A former error goes when its node begins anew, and its destructor may wire that") {
    std::function<void()> on_gone;
    bool fails = true;
    Node first{"first", [] {}};
    Node second{"second", [&] {
                    if (fails) throw FarewellError(make_farewell(on_gone));
                }};
    Node third{"third", [] {}};
    first.connect(second).connect(third);
    EventLoop loop{virtual_time};
    const TreeExecutor executor{first};
    CHECK(loop.run(executor.try_run()).failed().size() == 1);
    loop.run(TreeExecutor{Node{"another", [] {}}}.run());
    fails = false;
    std::vector<AnyNode> late;
    for (int i = 0; i < 10; ++i) late.push_back(Node{"late " + std::to_string(i), [] {}});
    on_gone = [&] {
        first.disconnect(second);
        for (const AnyNode& node : late) first.connect(node);
    };
    const RunReport report = loop.run(executor.try_run());
    CHECK(on_gone == nullptr);
    CHECK(report.completed().size() == 11);
    CHECK(second.state() == NodeState::skipped);
    CHECK(third.state() == NodeState::skipped);
    CHECK(loop.run(executor.run()).completed().size() == 3);
}

TEST_CASE("A node that an edge fails keeps neither output nor error of the run before") {
    const bool fails = GENERATE(false, true);
    CAPTURE(fails);
    std::weak_ptr<int> former;
    bool edge_throws = false;
    Node source{"source", [] { return 1; }};
    const Node child{"child",
                     [&](int x) {
                         auto made = std::make_shared<int>(x);
                         former = made;
                         if (fails) throw FarewellError(std::move(made));
                         return made;
                     },
                     "x"_a};
    source.connect(
        child, "x"_a = [&](int x) {
            if (edge_throws) throw std::runtime_error("as the test wants it");
            return x;
        });
    CHECK(try_it(TreeExecutor{source}).failed().size() == (fails ? 1 : 0));
    CHECK_FALSE(former.expired());
    edge_throws = true;
    CHECK(ids(try_it(TreeExecutor{source}).failed()) == Log{"child"});
    CHECK(former.expired());
}

TEST_CASE("What a run's wiring has met is wired for that run, though it is no part of it") {
    const Node<int> stranger{"stranger", [] { return 4; }};
    {
        Node source{"source", [] { return 1; }};
        Node aside{"aside", [] { return 3; }};
        source.connect(aside);
        const Node body{"body", [&] {
                            source.disconnect(aside);
                            aside.connect(stranger);
                        }};
        source.connect(body);
        run_it(TreeExecutor{body});
        CHECK(aside.state() == NodeState::pending);
        CHECK(aside.children().empty());
        CHECK(aside.parents() == Nodes{source});
    }
    CHECK(stranger.parents().empty());
    CHECK(run_it(TreeExecutor{stranger}).ok());
}

TEST_CASE("on_connect may wire the child that a running node is being connected to") {
    Node<int> last{"last", [] { return 2; }};
    {
        Node middle{"middle", [] { return 1; }};
        Node first{"first",
                   [&](NodeContext& context) { Node<void>(context.node()).connect(middle); }};
        first.on_connect([&] { middle.connect(last); });
        run_it(TreeExecutor{first});
        CHECK(last.state() == NodeState::completed);
        CHECK(middle.children().empty());
    }
    CHECK(last.parents().empty());
}

TEST_CASE("A body that has dropped its run may connect new nodes: the edges go with that run") {
    std::optional<AsyncGenerator<Event>> events;
    std::optional<Node<int>> last;
    {
        Node first{"first", [&](NodeContext& context) -> Task<> {
                       co_await grafo::yield();
                       events.reset();
                       Node middle{"middle", [] { return 1; }};
                       last.emplace(Node{"last", [] { return 2; }});
                       Node<void>(context.node()).connect(middle);
                       middle.connect(*last);
                       co_await grafo::yield();
                   }};
        const TreeExecutor executor{first};
        const auto read = [&]() -> Task<> {
            while (co_await events->next() != nullptr) {
            }
        };
        const auto drop = [&]() -> Task<> {
            events.emplace(executor.yielding());
            EventLoop::current().spawn(read());
            co_await sleep_for(1s);
        };
        EventLoop loop{virtual_time};
        loop.run(drop());
    }
    REQUIRE(last.has_value());
    CHECK(last->parents().empty());
}

TEST_CASE(
    "A transform made in a run goes with the run's wiring, and may wire other nodes as it goes") {
    std::function<void()> on_gone;
    std::vector<AnyNode> others;
    for (int i = 0; i < 20; ++i) others.push_back(Node{"other " + std::to_string(i), [] {}});
    Node first{"first", [] { return 1; }};
    const Node all{"all", [](const std::vector<int>& x) { return x.size(); }, "all"_args};
    for (const AnyNode& other : others) first.connect(other);
    first.connect(all, "all"_a);
    bool once = true;
    first.on_after_run([&] {
        if (!std::exchange(once, false)) return;
        on_gone = [&] {
            for (std::size_t i = 0; i + 1 < others.size(); ++i) others[i].connect(others[i + 1]);
        };
        first.connect(all, "all"_a = [held = make_farewell(on_gone)](int x) { return x + *held; });
    });
    run_it(TreeExecutor{first});
    CHECK(on_gone == nullptr);
    CHECK(others[0].children() == Nodes{others[1]});
    CHECK(run_it(TreeExecutor{first}).ok());
}

TEST_CASE("A condition that throws for a node which is ready already fails that node alone") {
    const std::size_t places = GENERATE(std::size_t{1}, std::size_t{10});
    CAPTURE(places);
    Node source{"source", [] { return 1; }};
    Log begun;
    const Node maker{"maker", [&] {
                         for (const char* const id : {"a", "b", "c"}) {
                             const Node child{id, [&begun, id] { begun.emplace_back(id); }};
                             source.connect(child);
                             if (child.id() != "b") continue;
                             source.connect(child, when([](int) -> bool {
                                                throw std::runtime_error("as the test wants it");
                                            }));
                         }
                     }};
    source.connect(maker);
    TreeExecutor executor{source};
    executor.max_concurrency(places).on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(begun == Log{"a", "c"});
    CHECK(ids(report.failed()) == Log{"b"});
    CHECK(ids(report.completed()) == Log{"source", "maker", "a", "c"});
}
