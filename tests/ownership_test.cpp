// Who keeps a graph alive, and that nothing of it is left afterwards.
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::Counted;

namespace {

template <class... N>
RunReport run_graph(const N&... nodes) {
    const TreeExecutor executor{nodes...};
    EventLoop loop{virtual_time};
    return loop.run(executor.run());
}

template <class... N>
RunReport try_graph(const N&... nodes) {
    const TreeExecutor executor{nodes...};
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

// A node whose callable counts for one live object.
auto counted_node(const std::string& id) {
    return Node{id, [c = Counted(1)] { return c.value; }};
}
auto counted_child(const std::string& id) {
    return Node{id, [c = Counted(1)](int x) { return x + c.value; }, "x"_a};
}

Node<int> last_of_three() {
    const Node first = counted_node("first");
    const Node second = counted_child("second");
    const Node third = counted_child("third");
    return first.connect(second, "x"_a).connect(third, "x"_a);
}

}  // namespace

TEST_CASE("Locals in a loop may die, the graph they made lives through one handle") {
    Counted::reset();
    {
        std::vector<Node<int>> roots;
        std::vector<Node<int>> leaves;
        for (int i = 0; i < 3; ++i) {
            const Node first = counted_node("first_" + std::to_string(i));
            const Node second = counted_child("second_" + std::to_string(i));
            const Node third = counted_child("third_" + std::to_string(i));
            first.connect(second, "x"_a).connect(third, "x"_a);
            roots.push_back(first);
            leaves.push_back(third);
        }
        CHECK(Counted::live() == 9);
        run_graph(roots);
        for (const auto& leaf : leaves) CHECK(leaf.output() == 3);
        leaves.clear();
        CHECK(Counted::live() == 9);
        CHECK(roots[1].children().at(0).id() == "second_1");
        roots.erase(roots.begin());
        CHECK(Counted::live() == 6);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A function may return the last node only, and the run still makes all it needs") {
    Counted::reset();
    {
        const Node<int> last = last_of_three();
        CHECK(Counted::live() == 3);
        const RunReport report = run_graph(last);
        CHECK(report.completed().size() == 3);
        CHECK(last.output() == 3);
        CHECK(last.level() == 2);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A cycle of edges leaks nothing, whether it was ever run or not") {
    Counted::reset();
    {
        const Node a = counted_child("a");
        const Node b = counted_child("b");
        a.connect(b, "x"_a).connect(a, "x"_a);
        a.connect(a);
        CHECK(Counted::live() == 2);
    }
    CHECK(Counted::live() == 0);
    {
        const Node a = counted_child("a");
        const Node b = counted_child("b");
        a.connect(b, "x"_a).connect(a, "x"_a);
        CHECK_THROWS_AS(run_graph(a), CycleError);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("An isolated node is freed with its last handle") {
    Counted::reset();
    {
        std::optional<Node<int>> first{counted_node("node")};
        AnyNode second = *first;
        first.reset();
        CHECK(Counted::live() == 1);
        second = AnyNode();
        CHECK(Counted::live() == 0);
    }
    static_cast<void>(counted_node("temporary"));
    CHECK(Counted::live() == 0);
}

TEST_CASE("The whole graph is freed with the last handle of any of its nodes") {
    Counted::reset();
    std::optional<Node<int>> a{counted_node("a")};
    std::optional<Node<int>> b{counted_child("b")};
    a->connect(*b, "x"_a);
    b.reset();
    CHECK(Counted::live() == 2);
    AnyNode child = a->children().at(0);
    a.reset();
    CHECK(Counted::live() == 2);
    CHECK(child.parents().at(0).id() == "a");
    child = AnyNode();
    CHECK(Counted::live() == 0);
}

TEST_CASE("disconnect frees at once what is cut off and nobody holds") {
    Counted::reset();
    {
        const Node root = counted_node("root");
        const Node kept = counted_child("kept");
        {
            const Node lost = counted_child("lost");
            const Node below = counted_child("below");
            root.connect(lost, "x"_a).connect(below, "x"_a);
            root.connect(kept, "x"_a);
        }
        CHECK(Counted::live() == 4);
        const AnyNode lost = root.children().at(0);
        root.disconnect(lost);
        CHECK(Counted::live() == 4);  // `lost` is held
    }
    CHECK(Counted::live() == 0);
    {
        const Node root = counted_node("root");
        root.connect(counted_child("lost"), "x"_a).connect(counted_child("below"), "x"_a);
        root.connect(counted_child("kept"), "x"_a);
        CHECK(Counted::live() == 4);
        root.redirect({root.children().at(1)});
        CHECK(Counted::live() == 2);
        root.redirect({});
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What is cut off but held together with something held stays") {
    //   a -> b -> d
    //    \-> c --/      without a -> b, b still hangs on d
    Counted::reset();
    {
        const Node a = counted_node("a");
        const Node c = counted_child("c");
        const Node d{"d", [c = Counted(1)](int x, int y) { return x + y; }, "x"_a, "y"_a};
        {
            const Node b = counted_child("b");
            a.connect(b, "x"_a).connect(d, "x"_a);
            a.connect(c, "x"_a).connect(d, "y"_a);
            a.disconnect(b);
            b.bind("x"_a = 4);
        }
        CHECK(Counted::live() == 4);
        run_graph(a);
        CHECK(d.output() == 5 + 2);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Two graphs that are connected and cut again have lives of their own") {
    Counted::reset();
    std::optional<Node<int>> a{last_of_three()};
    std::optional<Node<int>> b{last_of_three()};
    a->connect(*b);
    a->disconnect(*b);
    a.reset();
    CHECK(Counted::live() == 3);
    CHECK(b->level() == 2);
    b.reset();
    CHECK(Counted::live() == 0);
}

TEST_CASE("An executor, a report and an error keep the graph") {
    Counted::reset();
    {
        std::optional<TreeExecutor> executor;
        {
            const Node root = counted_node("root");
            root.connect(counted_child("child"), "x"_a);
            executor.emplace(root);
        }
        CHECK(Counted::live() == 2);
        EventLoop loop{virtual_time};
        std::optional<RunReport> report = loop.run(executor->run());
        executor.reset();
        CHECK(Counted::live() == 2);
        CHECK(report->completed().size() == 2);
        report.reset();
        CHECK(Counted::live() == 0);
    }
    {
        std::exception_ptr error;
        {
            const Node root = counted_node("root");
            const Node fails{"fails", [c = Counted(1)](int) { throw std::runtime_error("broken"); },
                             "x"_a = root};
            try {
                run_graph(root);
            } catch (...) {
                error = std::current_exception();
            }
        }
        REQUIRE(error != nullptr);
        CHECK(Counted::live() == 2);
        try {
            std::rethrow_exception(std::exchange(error, nullptr));
        } catch (const RunError& run_error) {
            CHECK(run_error.errors().at(0).node().id() == "fails");
            CHECK(run_error.errors().at(0).node().parents().at(0).id() == "root");
        }
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A run keeps its graph, though every handle is gone") {
    Counted::reset();
    {
        EventLoop loop{virtual_time};
        const auto start = [] {
            const Node root{"root", [c = Counted(1)]() -> Task<int> {
                                co_await sleep_for(1s);
                                co_return c.value;
                            }};
            root.connect(counted_child("child"), "x"_a);
            return TreeExecutor{root}.run();
        };
        const RunReport report = loop.run(start());
        CHECK(report.completed().size() == 2);
        CHECK(report.completed().at(1).output<int>() == 2);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A run that was never awaited holds nothing once it is dropped") {
    Counted::reset();
    {
        const Task<RunReport> task = TreeExecutor{last_of_three()}.run();
        const AsyncGenerator<Event> stream = TreeExecutor{last_of_three()}.yielding();
        CHECK(Counted::live() == 6);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What a run cuts off is freed at the latest when it ends") {
    Counted::reset();
    {
        std::vector<int> live;
        const Node root{"root", [&live](NodeContext& context) -> Task<> {
                            const AnyNode self = context.node();
                            for (int i = 0; i < 3; ++i) {
                                const Node made = counted_node("made");
                                self.connect(made);
                                self.disconnect(made);
                            }
                            self.connect(counted_node("kept for the run"));
                            live.push_back(Counted::live());
                            co_return;
                        }};
        run_graph(root);
        REQUIRE(live.size() == 1);
        CHECK(live[0] >= 1);
        CHECK(root.children().empty());
        CHECK(Counted::live() == 0);
    }
    CHECK(Counted::live() == 0);
}

#ifndef NDEBUG
TEST_CASE("A graph kept alive only by its own callables and values is reported, with both names") {
    static std::string said;
    const auto before = std::exchange(grafo::detail::report_self_hold,
                                      [](const std::string& message) { said += message; });
    Counted::reset();
    NodeRef<int> ref = [] {
        const Node held = counted_node("held");
        const Node holder{"holder", [](const Node<int>& other) { return other.output(); },
                          "other"_a = Node<int>(held)};
        held.connect(holder);
        CHECK(said.empty());
        return holder.ref();
    }();
    CHECK(said ==
          "grafo: a graph is kept alive only by its own callables and leaks: node 'holder' holds a "
          "handle of node 'held'; let it hold a NodeRef (node.ref()) instead\n");
    said.clear();

    // Another value takes the place of the one that held it.
    const Node<int> other = counted_node("other");
    ref.lock().bind("other"_a = other);
    CHECK(ref.expired());
    CHECK(Counted::live() == 1);
    {
        const Node holder{"holder", [](const Node<int>& node) { return node.output(); },
                          "other"_a = other};
        holder.connect(other);
        holder.bind("other"_a = Node<int>(counted_node("another")));
        {
            const AnyNode copy = other;
        }
        CHECK(Counted::live() == 2);
    }
    CHECK(said.empty());
    grafo::detail::report_self_hold = before;
}
#endif

TEST_CASE("A wiring mistake in a constructor leaves the parents unconnected and leaks nothing") {
    Counted::reset();
    {
        const Node good = counted_node("good");
        const AnyNode bad = Node{"bad", [c = Counted(1)] { return std::string("text"); }};
        const AnyNode good_too = counted_node("good_too");
        const int before = Counted::live();
        const auto make = [&] {
            const Node child{"child",
                             [c = Counted(1)](int a, int b, std::vector<int> rest, Counted d) {
                                 return a + b + static_cast<int>(rest.size()) + d.value + c.value;
                             },
                             "a"_a = good,
                             "b"_a = good.map([c = Counted(2)](int x) { return x + c.value; }),
                             "rest"_args = {good_too, bad},
                             "d"_a = Counted(5)};
        };
        CHECK_THROWS_AS(make(), ForwardingTypeError);
        CHECK(good.children().empty());
        CHECK(good_too.children().empty());
        CHECK(bad.children().empty());
        CHECK(Counted::live() == before);

        run_graph(good);  // and they are as usable as before
        CHECK(good.output() == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A wiring mistake does not disturb what was connected before") {
    const Node good{"good", [] { return 1; }};
    const Node child{"child", [](int x) { return x; }, "x"_a = good};
    const AnyNode text = Node{"text", [] { return std::string("text"); }};
    CHECK_THROWS_AS(
        (Node<int>{"wrong", [](int x, int y) { return x + y; }, "x"_a = good, "y"_a = text}),
        ForwardingTypeError);
    REQUIRE(good.children().size() == 1);
    CHECK(good.children()[0] == child);
    run_graph(good);
    CHECK(child.output() == 1);
}

TEST_CASE("A value whose copy throws in the constructor leaks nothing") {
    struct Throws {
        Throws() = default;
        Throws(const Throws&) { throw std::runtime_error("no copy"); }
        Throws(Throws&&) noexcept = default;
        Throws& operator=(const Throws&) = default;
        Throws& operator=(Throws&&) = default;
    };
    Counted::reset();
    {
        const Throws value;
        const auto make = [&] {
            const Node node{"node", [c = Counted(1)](int, const Throws&) {},
                            "x"_a = counted_node("parent"), "value"_a = value};
        };
        CHECK_THROWS_AS(make(), std::runtime_error);
    }
    CHECK(Counted::live() == 0);
}

// ---- all that a run makes is destroyed --------------------------------------------------------

namespace {

// root -> middle -> (left, right): callables, arguments, outputs, transforms and callbacks count.
struct CountedGraph {
    enum class End { good, fails, hangs };

    explicit CountedGraph(End end) {
        root.connect(middle, "a"_a);
        middle.connect(left, "x"_a);
        middle.connect(right, "xs"_a);
        middle.connect(
            right, "xs"_a = [c = Counted(1)](const Counted& x) -> Task<Counted> {
                co_await sleep_for(1s);
                co_return Counted(x.value + c.value);
            });
        middle.bind("end"_a = end);
        left.on_before_run([c = Counted(1)]() -> Task<> { co_await sleep_for(1s); });
        right.on_after_run([c = Counted(1)](const AnyNode&) {});
    }

    Node<Counted> root{"root", [c = Counted(1)] { return Counted(c.value); }};
    Node<Counted> middle{
        "middle",
        [c = Counted(1)](const Counted& a, Counted b, Counted d, End end) -> Task<Counted> {
            const Counted local(1);
            co_await sleep_for(1s);
            if (end == End::fails) throw std::runtime_error("broken");
            if (end == End::hangs) co_await sleep_for(1000h);
            co_return Counted(a.value + b.value + d.value + c.value + local.value);
        },
        "a"_a,
        "b"_a = Counted(1),
        "d"_a = [c = Counted(1)] { return Counted(c.value); },
        "end"_a = End::good};
    Node<std::vector<Counted>> left{"left",
                                    [c = Counted(1)](Counted x) -> AsyncGenerator<Counted> {
                                        for (int i = 0; i < 3; ++i) {
                                            const Counted item(x.value + c.value);
                                            co_yield item;
                                            co_await sleep_for(1s);
                                        }
                                    },
                                    "x"_a};
    Node<int> right{"right",
                    [c = Counted(1)](const std::vector<Counted>& xs) {
                        return xs.at(0).value + xs.at(1).value + c.value;
                    },
                    "xs"_args};
};

}  // namespace

TEST_CASE("A graph that ran and succeeded leaves nothing, and a second run nothing of the first") {
    Counted::reset();
    {
        const CountedGraph graph(CountedGraph::End::good);
        const int wired = Counted::live();
        run_graph(graph.root);
        CHECK(graph.right.output() == 5 + 6 + 1);
        CHECK(graph.left.output().size() == 3);
        const int after_one = Counted::live();
        CHECK(after_one == wired + 2 + 3);  // the outputs of root, middle and left
        run_graph(graph.root);
        CHECK(Counted::live() == after_one);
        CHECK(graph.right.output() == 12);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A graph in which a node failed leaves nothing") {
    Counted::reset();
    {
        const CountedGraph graph(CountedGraph::End::fails);
        const int wired = Counted::live();
        const RunReport report = try_graph(graph.root);
        CHECK(report.failed() == std::vector<AnyNode>{graph.middle});
        CHECK(graph.right.state() == NodeState::skipped);
        CHECK(Counted::live() == wired + 1);  // the output of root
        graph.middle.bind("end"_a = CountedGraph::End::good);
        run_graph(graph.root);
        CHECK(graph.right.output() == 12);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A graph that was cancelled leaves nothing") {
    Counted::reset();
    {
        const CountedGraph graph(CountedGraph::End::hangs);
        const int wired = Counted::live();
        SECTION("by a timeout") {
            graph.middle.timeout(10s);
            CHECK_FALSE(try_graph(graph.root).ok());
            CHECK(graph.middle.state() == NodeState::failed);
        }
        SECTION("by stop") {
            const TreeExecutor executor{graph.root};
            EventLoop loop{virtual_time};
            const auto stop = [&executor]() -> Task<> {
                co_await sleep_for(5s);
                executor.stop();
            };
            loop.spawn(stop());
            CHECK(loop.run(executor.try_run()).stopped());
            CHECK(graph.middle.state() == NodeState::cancelled);
        }
        SECTION("by dropping its stream") {
            const TreeExecutor executor{graph.root};
            EventLoop loop{virtual_time};
            const auto look = [&executor]() -> Task<> {
                AsyncGenerator<Event> events = executor.yielding();
                while (auto event = co_await events.next()) {
                    if (event->kind() == EventKind::started && event->node().id() == "middle")
                        break;
                }
            };
            loop.run(look());
            CHECK(graph.middle.state() == NodeState::cancelled);
        }
        CHECK(graph.root.output().value == 1);
        CHECK(Counted::live() == wired + 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stream that is dropped at a chunk leaves nothing") {
    Counted::reset();
    {
        const CountedGraph graph(CountedGraph::End::good);
        const TreeExecutor executor{graph.root};
        EventLoop loop{virtual_time};
        const auto look = [&executor]() -> Task<int> {
            AsyncGenerator<Event> events = executor.yielding();
            while (auto event = co_await events.next()) {
                if (const auto chunk = event->chunk<Counted>()) co_return chunk->output.value;
            }
            co_return -1;
        };
        CHECK(loop.run(look()) == 6);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Arguments by value are gone when the node has ended, and not when the run has") {
    Counted::reset();
    {
        int during = -1;
        const Node first{"first", [](Counted a, Counted) { return a.value; }, "a"_a = Counted(1),
                         "b"_a = [] { return Counted(2); }};
        const Node second{"second", [&during] { during = Counted::live(); }};
        first.connect(second);
        run_graph(first);
        CHECK(during == 1);  // the bound value
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What a transform made is gone when the child has ended") {
    Counted::reset();
    {
        int during = -1;
        const Node root{"root", [] { return 1; }};
        const Node child{"child", [](const Counted& c) { return c.value; },
                         "c"_a = root.map([](int x) { return Counted(x); })};
        const Node converted{"converted", [](const std::optional<Counted>& c) { return c->value; },
                             "c"_a = root.map([](int x) { return Counted(x); })};
        const Node last{"last", [&during] { during = Counted::live(); }};
        child.connect(last);
        converted.connect(last);
        run_graph(root);
        CHECK(child.output() + converted.output() == 2);
        CHECK(during == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A move-only output that was taken is gone with the child that took it") {
    struct Owner {
        Owner() : counted(std::make_unique<Counted>(3)) {}
        std::unique_ptr<Counted> counted;
    };
    Counted::reset();
    {
        const Node make{"make", [] { return Owner(); }};
        const Node use{"use", [](Owner owner) { return owner.counted->value; }, "owner"_a = make};
        run_graph(make);
        CHECK(use.output() == 3);
        CHECK(Counted::live() == 0);
    }
}

// ---- size -------------------------------------------------------------------------------------

TEST_CASE("A chain of 100,000 nodes is run and freed without recursion") {
    constexpr int length = 100'000;
    Counted::reset();
    {
        std::optional<Node<int>> last;
        {
            Node<int> at{"first", [c = Counted(0)] { return c.value; }};
            for (int i = 0; i < length; ++i) {
                at = at.connect(
                    Node{"next", [c = Counted(1)](int x) { return x + c.value; }, "x"_a}, "x"_a);
            }
            last = at;
        }
        CHECK(Counted::live() == length + 1);
        CHECK(last->level() == length);
        run_graph(*last);
        CHECK(last->output() == length);
        last.reset();
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("A chain of nodes that hold each other by their callables is freed without recursion") {
    Counted::reset();
    {
        AnyNode at = counted_node("first");
        for (int i = 0; i < 100'000; ++i) {
            at = Node{"next", [before = at, c = Counted(1)] { return c.value; }};
        }
        CHECK(Counted::live() == 100'001);
        at = AnyNode();
        CHECK(Counted::live() == 0);
    }
}
