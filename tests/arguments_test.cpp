// Arguments: bound, open, deferred, forwarded, lists, and what a callable may look like.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Equals;
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

// What the call throws as an E; fails the test if it throws nothing.
template <class E, class F>
std::string message_of(F&& call) {
    try {
        call();
    } catch (const E& error) {
        return error.what();
    }
    FAIL("it threw nothing");
    return {};
}

int twice(int x) { return 2 * x; }
int thrice(int x) noexcept { return 3 * x; }
Task<int> twice_later(int x) {
    co_await sleep_for(1s);
    co_return 2 * x;
}
std::string join(std::vector<std::string> parts) {
    std::string text;
    for (const std::string& part : parts) text += part;
    return text;
}
std::string join_ref(const std::vector<std::string>& parts) { return join(parts); }
int sum(std::vector<int> xs) {
    int total = 0;
    for (const int x : xs) total = 10 * total + x;
    return total;
}

Node<std::string> text_node(std::string text) {
    return Node{text, [text] { return text; }};
}

struct Counter {
    explicit Counter(int first) : value(first) {}
    int add(int n) { return value += n; }
    [[nodiscard]] int get() const { return value; }
    [[nodiscard]] Task<int> get_later(int n) const {
        co_await sleep_for(1s);
        co_return value + n;
    }
    int value;
};

struct Base {
    explicit Base(int n) : number(n) {}
    int number;
};
struct Derived : Base {
    using Base::Base;
};

}  // namespace

// ---- bound values -----------------------------------------------------------------------------

TEST_CASE("A bound value is copied into each run, so that the callable may change its copy") {
    const Node grow{"grow",
                    [](std::vector<int> v) {
                        v.push_back(9);
                        return v;
                    },
                    "v"_a = std::vector<int>{1, 2}};
    run_graph(grow);
    CHECK(grow.output() == std::vector<int>{1, 2, 9});
    run_graph(grow);
    CHECK(grow.output() == std::vector<int>{1, 2, 9});
}

TEST_CASE("A value is bound as it is at that moment") {
    std::string source = "before";
    char buffer[] = "before";
    const Node a{"a", [](std::string text) { return text; }, "text"_a = source};
    const Node b{"b", [](std::string text) { return text; }, "text"_a = buffer};
    source = "after";
    buffer[0] = 'B';
    run_graph(a, b);
    CHECK(a.output() == "before");
    CHECK(b.output() == "before");
}

TEST_CASE("A literal converts to the std::string that the parameter takes") {
    const Node by_value{"by value", [](std::string text) { return text + "!"; }, "text"_a = "hey"};
    const Node by_reference{"by reference", [](const std::string& text) { return text.size(); },
                            "text"_a = "hey"};
    run_graph(by_value, by_reference);
    CHECK(by_value.output() == "hey!");
    CHECK(by_reference.output() == 3);
}

TEST_CASE("A bound value converts as an argument would") {
    const Node half{"half", [](double x) { return x / 2; }, "x"_a = 5};
    const Node maybe{"maybe", [](std::optional<int> x) { return x.value_or(-1); }, "x"_a = 7};
    const Node none{"none", [](std::optional<int> x) { return x.value_or(-1); },
                    "x"_a = std::nullopt};
    run_graph(half, maybe, none);
    CHECK(half.output() == 2.5);
    CHECK(maybe.output() == 7);
    CHECK(none.output() == -1);
}

TEST_CASE("A parameter that is a const reference sees the bound value itself, without a copy") {
    Counted::reset();
    {
        const Node node{"node", [](const Counted& c) { return c.value; }, "c"_a = Counted{4}};
        const int copies = Counted::copies();
        run_graph(node);
        run_graph(node);
        CHECK(node.output() == 4);
        CHECK(Counted::copies() == copies);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A move-only value taken by const reference is there for every run") {
    const Node node{"node", [](const std::unique_ptr<int>& p) { return *p; },
                    "p"_a = std::make_unique<int>(5)};
    run_graph(node);
    run_graph(node);
    CHECK(node.output() == 5);
}

TEST_CASE("A move-only value taken by value is spent by a run, and may be bound anew") {
    const Node node{"node", [](std::unique_ptr<int> p) { return *p; },
                    "p"_a = std::make_unique<int>(5)};
    run_graph(node);
    CHECK(node.output() == 5);

    const std::string what = message_of<MissingArgumentError>([&] { run_graph(node); });
    CHECK_THAT(what, ContainsSubstring("parameter 'p' of node 'node' is filled by nobody"));
    CHECK_THAT(what, ContainsSubstring("a move-only value is spent by the run that moved it"));

    node.bind("p"_a = std::make_unique<int>(6));
    run_graph(node);
    CHECK(node.output() == 6);
}

TEST_CASE("Several parameters are filled in the order of the callable") {
    const Node node{"node", [](int a, std::string b, char c) { return std::to_string(a) + b + c; },
                    "a"_a = 1, "b"_a = "two", "c"_a = '3'};
    run_graph(node);
    CHECK(node.output() == "1two3");
}

TEST_CASE("A parameter that is a node handle takes a node as its value") {
    const Node other{"other", [] { return 1; }};
    const Node any{"any", [](AnyNode node) { return node.id(); }, "node"_a = other};
    const Node typed{"typed", [](const Node<int>& node) { return node.id(); }, "node"_a = other};
    run_graph(any, typed);
    CHECK(any.output() == "other");
    CHECK(typed.output() == "other");
    CHECK(any.parents().empty());
    CHECK(other.children().empty());
    CHECK(other.state() == NodeState::pending);
}

// ---- open parameters --------------------------------------------------------------------------

TEST_CASE("An open parameter is filled by the output of the parent that forwards into it") {
    const Node parent{"parent", [] { return 20; }};
    const Node child{"child", twice, "x"_a};
    parent.connect(child, "x"_a);
    run_graph(parent);
    CHECK(child.output() == 40);
}

TEST_CASE("An open parameter that nobody fills stops the run before any node has started") {
    bool ran = false;
    const Node parent{"parent", [&ran] { ran = true; }};
    const Node child{"child", twice, "x"_a};
    const Node list{"list", sum, "xs"_args};
    parent.connect(child);
    CHECK_THAT(message_of<MissingArgumentError>([&] { try_graph(parent); }),
               Equals("parameter 'x' of node 'child' is filled by nobody: bind it or forward a "
                      "parent's output into it (a move-only value is spent by the run that moved "
                      "it)"));
    CHECK_THAT(message_of<MissingArgumentError>([&] { try_graph(list); }),
               ContainsSubstring("list parameter 'xs' of node 'list' is filled by nobody"));
    CHECK_FALSE(ran);
    CHECK(parent.state() == NodeState::pending);

    child.bind("x"_a = 4);
    run_graph(parent);
    CHECK(ran);
    CHECK(child.output() == 8);
}

TEST_CASE("arg<\"x\"> and args<\"xs\"> are the literals without their operator") {
    static_assert(std::is_same_v<std::remove_const_t<decltype(arg<"x">)>, decltype("x"_a)>);
    static_assert(std::is_same_v<std::remove_const_t<decltype(args<"xs">)>, decltype("xs"_args)>);
    static_assert(arg<"some name">.name() == "some name");

    const Node bound{"bound", twice, arg<"x"> = 3};
    const Node open{"open", twice, arg<"x">};
    const Node list{"list", sum, args<"xs">};
    bound.connect(open, arg<"x">).connect(list, args<"xs">);
    bound.connect(list, "xs"_a);  // a list takes either name
    run_graph(bound);
    CHECK(open.output() == 12);
    CHECK(list.output() == 126);
}

// ---- deferred arguments -----------------------------------------------------------------------

TEST_CASE("A callable without parameters is evaluated when the node starts, once in each run") {
    int calls = 0;
    const Node node{"node", twice, "x"_a = [&calls] { return ++calls; }};
    CHECK(calls == 0);
    run_graph(node);
    CHECK(calls == 1);
    CHECK(node.output() == 2);
    run_graph(node);
    CHECK(calls == 2);
    CHECK(node.output() == 4);
}

TEST_CASE("A coroutine without parameters is awaited when the node starts, once in each run") {
    int calls = 0;
    const auto later = [&calls]() -> Task<int> {
        ++calls;
        co_await sleep_for(2s);
        co_return calls;
    };
    const Node node{"node", twice, "x"_a = later};
    CHECK(calls == 0);
    const RunReport report = run_graph(node);
    CHECK(report.elapsed() == 2s);
    CHECK(node.output() == 2);
    CHECK(node.runtime() == 2s);
    run_graph(node);
    CHECK(calls == 2);
    CHECK(node.output() == 4);
}

TEST_CASE("Deferred arguments are evaluated after the parents have ended, in the given order") {
    std::vector<std::string> log;
    const Node parent{"parent", [&log] { log.emplace_back("parent"); }};
    const auto first = [&log]() -> Task<int> {
        log.emplace_back("first");
        co_await sleep_for(1s);
        co_return 1;
    };
    const auto second = [&log] {
        log.emplace_back("second");
        return 2;
    };
    const Node child{"child",
                     [&log](int a, int b) {
                         log.emplace_back("child");
                         return 10 * a + b;
                     },
                     "a"_a = first, "b"_a = second};
    parent.connect(child);
    run_graph(parent);
    CHECK(child.output() == 12);
    CHECK(log == std::vector<std::string>{"parent", "first", "second", "child"});
}

TEST_CASE("What a deferred argument gives converts to the parameter") {
    const Node plain{"plain", [](double x) { return x / 2; }, "x"_a = [] { return 3; }};
    const Node text{"text", [](const std::string& s) { return s.size(); },
                    "s"_a = [] { return "abc"; }};
    const auto three = []() -> Task<int> { co_return 3; };
    const Node later{"later", [](double x) { return x / 2; }, "x"_a = three};
    run_graph(plain, text, later);
    CHECK(plain.output() == 1.5);
    CHECK(text.output() == 3);
    CHECK(later.output() == 1.5);
}

TEST_CASE("A deferred argument may be move-only, in every run") {
    const Node node{"node", [](std::unique_ptr<int> p) { return *p; },
                    "p"_a = [] { return std::make_unique<int>(8); }};
    run_graph(node);
    run_graph(node);
    CHECK(node.output() == 8);
}

TEST_CASE("What a deferred argument throws fails the node before its body is called") {
    bool called = false;
    const auto plain = []() -> int { throw std::runtime_error("no clock"); };
    const auto later = []() -> Task<int> {
        co_await sleep_for(1s);
        throw std::runtime_error("no time");
    };
    const Node a{"a", [&called](int) { called = true; }, "x"_a = plain};
    const Node b{"b", [&called](int) { called = true; }, "x"_a = later};
    const RunReport first = try_graph(a);
    const RunReport second = try_graph(b);
    REQUIRE(first.errors().size() == 1);
    CHECK_THAT(first.errors()[0].what(), Equals("node 'a' failed: no clock"));
    REQUIRE(second.errors().size() == 1);
    CHECK_THAT(second.errors()[0].what(), Equals("node 'b' failed: no time"));
    CHECK_FALSE(called);
}

TEST_CASE("The time of a deferred argument counts against the node's timeout") {
    const auto later = []() -> Task<int> {
        co_await sleep_for(2s);
        co_return 1;
    };
    const Node node{"node", twice, "x"_a = later};
    node.timeout(1s);
    const RunReport report = try_graph(node);
    CHECK(report.elapsed() == 1s);
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(),
               Equals("node 'node' failed: it did not end within 1 s (timeout)"));
}

TEST_CASE("A lambda for a bool parameter means what it gives") {
    const Node yes{"yes", [](bool verbose) { return verbose; }, "verbose"_a = [] { return true; }};
    const Node no{"no", [](bool verbose) { return verbose; }, "verbose"_a = [] { return false; }};
    run_graph(yes, no);
    CHECK(yes.output());
    CHECK_FALSE(no.output());
}

TEST_CASE("A callback is passed as it is to a parameter that wants one") {
    int calls = 0;
    const Node node{
        "node",
        [](std::function<int()> f, const std::function<int(int)>& g) { return f() + f() + g(1); },
        "f"_a = [&calls] { return ++calls; }, "g"_a = twice};
    run_graph(node);
    CHECK(calls == 2);
    CHECK(node.output() == 1 + 2 + 2);
}

TEST_CASE("A callable that gives a callback is evaluated for it") {
    int made = 0;
    const auto make = [&made]() -> std::function<int()> {
        ++made;
        return [] { return 5; };
    };
    const Node node{"node", [](std::function<int()> f) { return f() + f(); }, "f"_a = make};
    run_graph(node);
    CHECK(made == 1);
    CHECK(node.output() == 10);
}

// ---- lists ------------------------------------------------------------------------------------

TEST_CASE("A list parameter holds the parents' outputs in the order they were connected") {
    const auto slow = []() -> Task<int> {
        co_await sleep_for(5s);
        co_return 1;
    };
    const Node first{"first", slow};
    const Node second{"second", [] { return 2; }};
    const Node total{"total", sum, "xs"_args};
    first.connect(total, "xs"_args);
    second.connect(total, "xs"_args);
    first.connect(total, "xs"_a = [](int x) { return x + 6; });
    run_graph(total);
    CHECK(total.output() == 127);
}

TEST_CASE("gather, braces, a range and an erased handle fill a list") {
    const Node a{"a", [] { return std::string("a"); }};
    const Node<std::string> b = text_node("b");
    const AnyNode c = text_node("c");

    SECTION("gather") {
        const Node all{"all", join, "parts"_args = gather(a, b, c)};
        run_graph(all);
        CHECK(all.output() == "abc");
    }
    SECTION("gather with a transform, plain and coroutine") {
        const auto shout = [](std::string text) -> Task<std::string> {
            co_await sleep_for(1s);
            co_return text + "!";
        };
        const Node all{
            "all", join,
            "parts"_args = gather(b.map(shout), a.map([](const std::string&) { return "x"; }), a)};
        run_graph(all);
        CHECK(all.output() == "b!xa");
    }
    SECTION("braces") {
        const Node all{"all", join, "parts"_args = {c, a, b}};
        run_graph(all);
        CHECK(all.output() == "cab");
    }
    SECTION("one node in braces") {
        const Node all{"all", join, "parts"_args = {a}};
        run_graph(all);
        CHECK(all.output() == "a");
    }
    SECTION("a range of typed handles") {
        const std::vector<Node<std::string>> nodes{b, a, b};
        const Node all{"all", join, "parts"_args = nodes};
        run_graph(all);
        CHECK(all.output() == "bab");
        CHECK(all.parents().size() == 2);
    }
    SECTION("a range of erased handles") {
        const std::vector<AnyNode> nodes{c, b};
        const Node all{"all", join, "parts"_args = nodes};
        run_graph(all);
        CHECK(all.output() == "cb");
    }
    SECTION("by const reference, in every run") {
        const Node all{"all", join_ref, "parts"_args = gather(a, b)};
        run_graph(all);
        CHECK(all.output() == "ab");
        run_graph(all);
        CHECK(all.output() == "ab");
    }
}

TEST_CASE("A list that is filled with no node is empty, not missing") {
    const Node braces{"braces", sum, "xs"_args = {}};
    const Node gathered{"gathered", sum, "xs"_args = gather()};
    const Node range{"range", sum, "xs"_args = std::vector<Node<int>>()};
    const Node by_reference{"by reference", [](const std::vector<int>& xs) { return xs.size(); },
                            "xs"_args = std::vector<AnyNode>()};
    run_graph(braces, gathered, range, by_reference);
    CHECK(braces.output() == 0);
    CHECK(gathered.output() == 0);
    CHECK(range.output() == 0);
    CHECK(by_reference.output() == 0);
}

TEST_CASE("An element of a list converts as an argument would") {
    const Node one{"one", [] { return 1; }};
    const Node half{"half", [] { return 0.5f; }};
    const Node total{"total", [](const std::vector<double>& xs) { return xs.at(0) + xs.at(1); },
                     "xs"_args = gather(one, half)};
    run_graph(total);
    CHECK(total.output() == 1.5);
}

TEST_CASE("A list of pointers sees the parents' own outputs, without a copy") {
    Counted::reset();
    {
        const Node a{"a", [] { return Counted(1); }};
        const Node b{"b", [] { return Counted(2); }};
        std::vector<const Counted*> seen;
        const Node all{"all", [&seen](std::vector<const Counted*> xs) { seen = std::move(xs); },
                       "xs"_args = gather(a, b)};
        run_graph(all);
        CHECK(seen == std::vector<const Counted*>{&a.output(), &b.output()});
        CHECK(Counted::copies() == 0);

        const Node erased{"erased", [&seen](const std::vector<const Counted*>& xs) { seen = xs; },
                          "xs"_args = {b, a}};
        run_graph(erased);
        CHECK(seen == std::vector<const Counted*>{&b.output(), &a.output()});
        CHECK(Counted::copies() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A list takes move-only outputs, each moved once") {
    const Node a{"a", [] { return std::make_unique<int>(1); }};
    const Node b{"b", [] { return std::make_unique<int>(2); }};
    const Node all{"all",
                   [](std::vector<std::unique_ptr<int>> xs) { return 10 * *xs.at(0) + *xs.at(1); },
                   "xs"_args = gather(a, b)};
    run_graph(all);
    CHECK(all.output() == 12);
    CHECK_THROWS_AS(a.output(), OutputUnavailableError);
}

TEST_CASE("A vector parameter under a plain name takes one whole vector") {
    const Node numbers{"numbers", [] { return std::vector<int>{1, 2, 3}; }};
    const Node total{"total", sum, "xs"_a = numbers};
    const Node bound{"bound", sum, "xs"_a = std::vector<int>{4, 5}};
    run_graph(total, bound);
    CHECK(total.output() == 123);
    CHECK(bound.output() == 45);
}

// ---- edges written at the child ---------------------------------------------------------------

TEST_CASE("\"x\"_a = node makes an edge, as connect would") {
    const Node parent{"parent", [] { return 4; }};
    const Node child{"child", twice, "x"_a = parent};
    REQUIRE(child.parents().size() == 1);
    CHECK(child.parents()[0] == parent);
    REQUIRE(parent.children().size() == 1);
    CHECK(parent.children()[0] == child);
    run_graph(child);
    CHECK(child.output() == 8);
}

TEST_CASE("\"x\"_a = node takes typed and erased handles") {
    const Node deduced{"deduced", [] { return 4; }};
    const Node<int> typed = deduced;
    const AnyNode any = deduced;
    const Node a{"a", twice, "x"_a = typed};
    const Node b{"b", twice, "x"_a = any};
    const Node c{"c", [](double x) { return x / 8; }, "x"_a = typed};
    run_graph(deduced);
    CHECK(a.output() == 8);
    CHECK(b.output() == 8);
    CHECK(c.output() == 0.5);
}

TEST_CASE("\"x\"_a = node.map(f) forwards what the function makes of the output") {
    int calls = 0;
    const Node parent{"parent", [] { return std::string("four"); }};
    const auto size = [&calls](const std::string& text) {
        ++calls;
        return text.size();
    };
    const Node child{"child", [](std::size_t n) { return n + 1; }, "n"_a = parent.map(size)};
    CHECK(calls == 0);
    run_graph(child);
    CHECK(calls == 1);
    CHECK(child.output() == 5);
}

TEST_CASE("\"x\"_a = node.map(coroutine) awaits it before the child starts") {
    const auto later = [](int x) -> Task<int> {
        co_await sleep_for(3s);
        co_return x + 1;
    };
    const Node parent{"parent", [] { return 4; }};
    const Node child{"child", twice, "x"_a = parent.map(later)};
    const RunReport report = run_graph(child);
    CHECK(child.output() == 10);
    CHECK(report.elapsed() == 3s);
    CHECK(child.runtime() == 0s);
}

TEST_CASE(
    "A transform and a predicate may be pointers to members, of the output or what it points to") {
    struct Order {
        int price = 7;
        [[nodiscard]] int twice() const { return 2 * price; }
        [[nodiscard]] bool cheap() const { return price < 10; }
    };
    const Node order{"order", [] { return Order(); }};
    const Node held{"held", [] { return std::make_shared<Order>(); }};
    const Node orders{"orders", []() -> AsyncGenerator<Order> {
                          co_yield Order{1};
                          co_yield Order{2};
                      }};
    const Node sum{"sum", [](int a, int b, int c) { return a + b + c; }, "a"_a, "b"_a, "c"_a};
    const Node chunks{"chunks",
                      [](AsyncGenerator<int> prices) -> Task<int> {
                          int total = 0;
                          while (const int* price = co_await prices.next()) total += *price;
                          co_return total;
                      },
                      "prices"_a};
    order.connect(sum, "a"_a = &Order::twice, when(&Order::cheap));
    held.connect(sum, "b"_a = &Order::price);
    held.connect(sum, "c"_a = &Order::twice);
    orders.connect(chunks, "prices"_a = &Order::twice);
    run_graph(order, held, orders);
    CHECK(sum.output() == 35);
    CHECK(chunks.output() == 6);
}

TEST_CASE("map of a node that gives nothing calls the transform without an argument") {
    const Node parent{"parent", [] {}};
    const Node child{"child", twice, "x"_a = parent.map([] { return 21; })};
    run_graph(parent);
    CHECK(child.output() == 42);
}

TEST_CASE("One node may fill several parameters of one child") {
    const Node parent{"parent", [] { return 3; }};
    const Node child{"child", [](int a, double b, const int& c) { return a + b + c; },
                     "a"_a = parent, "b"_a = parent, "c"_a = parent.map(twice)};
    run_graph(child);
    CHECK(child.output() == 3 + 3 + 6);
    CHECK(child.parents().size() == 1);
}

// ---- how an output becomes an argument --------------------------------------------------------

TEST_CASE("A const reference parameter sees the parent's own output, without a copy") {
    Counted::reset();
    {
        const Counted* seen = nullptr;
        const Node parent{"parent", []() -> Task<Counted> { co_return Counted(6); }};
        const Node plain{"plain",
                         [&seen](const Counted& c) {
                             seen = &c;
                             return c.value;
                         },
                         "c"_a = parent};
        const Node later{"later",
                         [](const Counted& c) -> Task<const Counted*> {
                             co_await sleep_for(1s);
                             co_return &c;
                         },
                         "c"_a = parent};
        run_graph(parent);
        CHECK(plain.output() == 6);
        CHECK(seen == &parent.output());
        CHECK(later.output() == &parent.output());
        CHECK(Counted::copies() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A parameter by value gets one copy of the output, and the output stays") {
    Counted::reset();
    {
        const Node parent{"parent", [] { return Counted(6); }};
        const Node plain{"plain", [](Counted c) { return c.value; }, "c"_a = parent};
        run_graph(parent);
        CHECK(plain.output() == 6);
        CHECK(Counted::copies() == 1);
        const Node coroutine{"coroutine", [](Counted c) -> Task<int> { co_return c.value; },
                             "c"_a = parent};
        run_graph(coroutine);
        CHECK(coroutine.output() == 6);
        CHECK(parent.output().value == 6);
        CHECK(Counted::copies() == 2);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("An output converts to the parameter as an argument would") {
    const Node number{"number", [] { return 3; }};
    const Node text{"text", [] { return "literal"; }};
    const Node half{"half", [](double x) { return x / 2; }, "x"_a = number};
    const Node half_ref{"half_ref", [](const double& x) { return x / 2; }, "x"_a = number};
    const Node size{"size", [](const std::string& s) { return s.size(); }, "s"_a = text};
    const Node maybe{"maybe", [](std::optional<double> x) { return x.value(); }, "x"_a = number};
    run_graph(number, text);
    CHECK(half.output() == 1.5);
    CHECK(half_ref.output() == 1.5);
    CHECK(size.output() == 7);
    CHECK(maybe.output() == 3.0);
    run_graph(number, text);
    CHECK(half_ref.output() == 1.5);
    CHECK(size.output() == 7);
}

TEST_CASE("A pointer and a shared_ptr to a derived class convert to the base") {
    Derived object(4);
    const Node raw{"raw", [&object] { return &object; }};
    const Node shared{"shared", [] { return std::make_shared<Derived>(5); }};
    const Node a{"a", [](Base* base) { return base->number; }, "base"_a = raw};
    const Node b{"b", [](const std::shared_ptr<Base>& base) { return base->number; },
                 "base"_a = shared};
    const Node c{"c", [](const Base* base) { return base->number; }, "base"_a = raw};
    run_graph(raw, shared);
    CHECK(a.output() == 4);
    CHECK(b.output() == 5);
    CHECK(c.output() == 4);
}

TEST_CASE("std::optional<U> and const U* take the output of a node that gives a U") {
    const Node parent{"parent", [] { return std::string("there"); }};
    const AnyNode erased = parent;
    const auto seen = [](const std::string* text) { return text; };
    const Node copy{"copy", [](std::optional<std::string> text) { return text.value(); },
                    "text"_a = parent};
    const Node address{"address", seen, "text"_a = parent};
    const Node copy_erased{"copy_erased",
                           [](const std::optional<std::string>& text) { return text.value(); },
                           "text"_a = erased};
    const Node address_erased{"address_erased", seen, "text"_a = erased};
    const Node by_reference{"by_reference", [](const std::string* const& text) { return text; },
                            "text"_a = parent};
    run_graph(parent);
    CHECK(copy.output() == "there");
    CHECK(copy_erased.output() == "there");
    CHECK(address.output() == &parent.output());
    CHECK(address_erased.output() == &parent.output());
    CHECK(by_reference.output() == &parent.output());
}

TEST_CASE("A move-only output is moved to the child that takes it by value") {
    const Node parent{"parent", [] { return std::make_unique<int>(7); }};
    const Node child{"child", [](std::unique_ptr<int> p) { return *p; }, "p"_a = parent};
    run_graph(parent);
    CHECK(child.output() == 7);
    CHECK_THAT(message_of<OutputUnavailableError>([&] { parent.output(); }),
               Equals("node 'parent' has no output: it was moved to node 'child'"));
    run_graph(parent);
    CHECK(child.output() == 7);
}

TEST_CASE("A second child that would take a move-only output by value is refused") {
    const Node parent{"parent", [] { return std::make_unique<int>(7); }};
    const Node first{"first", [](std::unique_ptr<int> p) { return *p; }, "p"_a = parent};
    const Node second{"second", [](std::unique_ptr<int> p) { return *p; }, "p"_a};
    const std::string expected =
        "the output of node 'parent' is move-only and already moved to node 'first': node 'second' "
        "could take it as a const reference, or a transform could make a value of it";
    CHECK_THAT(message_of<ForwardingOverrideError>([&] { parent.connect(second, "p"_a); }),
               Equals(expected));
    CHECK_THAT(message_of<ForwardingOverrideError>(
                   [&] { AnyNode(parent).connect(AnyNode(second), "p"_a); }),
               Equals(expected));
    CHECK(second.parents().empty());
    CHECK(parent.children().size() == 1);

    parent.disconnect(first);
    first.bind("p"_a = std::make_unique<int>(1));
    parent.connect(second, "p"_a);
    run_graph(parent);
    CHECK(second.output() == 7);
}

TEST_CASE("Any number of children may read a move-only output by const reference") {
    const Node parent{"parent", [] { return std::make_unique<int>(7); }};
    const Node a{"a", [](const std::unique_ptr<int>& p) { return *p; }, "p"_a = parent};
    const Node b{"b", [](const std::unique_ptr<int>* p) { return **p; }, "p"_a = parent};
    const Node c{"c", twice, "x"_a = parent.map([](const std::unique_ptr<int>& p) { return *p; })};
    run_graph(parent);
    CHECK(a.output() == 7);
    CHECK(b.output() == 7);
    CHECK(c.output() == 14);
    CHECK(*parent.output() == 7);
}

TEST_CASE("A move-only output may be what a transform gives") {
    const auto wrap = [](int x) { return std::make_unique<int>(x); };
    const Node parent{"parent", [] { return 7; }};
    const Node a{"a", [](std::unique_ptr<int> p) { return *p; }, "p"_a = parent.map(wrap)};
    const Node b{"b", [](std::unique_ptr<int> p) { return *p + 1; }, "p"_a = parent.map(wrap)};
    run_graph(parent);
    CHECK(a.output() == 7);
    CHECK(b.output() == 8);
    run_graph(parent);
    CHECK(a.output() == 7);
}

// ---- callables --------------------------------------------------------------------------------

TEST_CASE("A function, a function pointer and a reference to one are callables") {
    int (*pointer)(int) = twice;
    int (&reference)(int) = twice;
    const Node a{"a", twice, "x"_a = 1};
    const Node b{"b", &twice, "x"_a = 2};
    const Node c{"c", pointer, "x"_a = 3};
    const Node d{"d", reference, "x"_a = 4};
    const Node e{"e", thrice, "x"_a = 5};
    const Node f{"f", twice_later, "x"_a = 6};
    run_graph(a, b, c, d, e, f);
    CHECK(a.output() == 2);
    CHECK(b.output() == 4);
    CHECK(c.output() == 6);
    CHECK(d.output() == 8);
    CHECK(e.output() == 15);
    CHECK(f.output() == 12);
}

TEST_CASE("A callable may be move-only, mutable, noexcept, or a function object") {
    struct Adder {
        int operator()(int x) const { return x + n; }
        int n;
    };
    auto owned = std::make_unique<int>(5);
    const Node move_only{"move_only", [owned = std::move(owned)](int x) { return x + *owned; },
                         "x"_a = 1};
    const Node counts{"counts", [n = 0]() mutable { return ++n; }};
    const Node quiet{"quiet", [](int x) noexcept { return x; }, "x"_a = 3};
    const Node object{"object", Adder{10}, "x"_a = 4};
    const Node function{"function", std::function<int(int)>(twice), "x"_a = 5};
    run_graph(move_only, counts, quiet, object, function);
    CHECK(move_only.output() == 6);
    CHECK(counts.output() == 1);
    CHECK(quiet.output() == 3);
    CHECK(object.output() == 14);
    CHECK(function.output() == 10);
    run_graph(counts);
    CHECK(counts.output() == 2);  // the node owns one callable
}

TEST_CASE("A coroutine lambda may use its captures until its end, for the node owns it") {
    const auto make = [](std::string text) {
        return Node{"node", [text]() -> Task<std::string> {
                        co_await sleep_for(1s);
                        co_return text + text;
                    }};
    };
    const Node node = make("a text that is too long to be stored in the string itself");
    run_graph(node);
    CHECK(node.output().size() == 2 * 57);
}

TEST_CASE("The callable is neither copied nor moved by a run") {
    Counted::reset();
    {
        const Node node{"node", [c = Counted(3)] { return c.value; }};
        const int copies = Counted::copies();
        const int moves = Counted::moves();
        CHECK(copies == 0);
        run_graph(node);
        run_graph(node);
        CHECK(node.output() == 3);
        CHECK(Counted::copies() == copies);
        CHECK(Counted::moves() == moves);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A member function takes its object as the first argument") {
    Counter counter(100);

    SECTION("by value, a copy that the node owns") {
        const Node node{"node", &Counter::add, "self"_a = counter, "n"_a = 1};
        run_graph(node);
        CHECK(node.output() == 101);
        CHECK(counter.value == 100);
    }
    SECTION("by pointer") {
        const Node node{"node", &Counter::add, "self"_a = &counter, "n"_a = 2};
        run_graph(node);
        CHECK(node.output() == 102);
        CHECK(counter.value == 102);
    }
    SECTION("by shared_ptr and unique_ptr") {
        const auto shared = std::make_shared<Counter>(10);
        const Node node{"node", &Counter::add, "self"_a = shared, "n"_a = 3};
        const Node unique{"unique", &Counter::get, "self"_a = std::make_unique<Counter>(20)};
        run_graph(node, unique);
        CHECK(node.output() == 13);
        CHECK(shared->value == 13);
        CHECK(unique.output() == 20);
        run_graph(unique);
        CHECK(unique.output() == 20);
    }
    SECTION("by reference_wrapper") {
        const Node node{"node", &Counter::add, "self"_a = std::ref(counter), "n"_a = 4};
        run_graph(node);
        CHECK(node.output() == 104);
        CHECK(counter.value == 104);
    }
    SECTION("open, filled by an edge, for a const member function") {
        const Node make{"make", [] { return Counter(7); }};
        const Node get{"get", &Counter::get, "self"_a};
        make.connect(get, "self"_a);
        const Node inlined{"inlined", &Counter::get, "self"_a = make};
        run_graph(make);
        CHECK(get.output() == 7);
        CHECK(inlined.output() == 7);
    }
    SECTION("a coroutine member function") {
        const Node node{"node", &Counter::get_later, "self"_a = &counter, "n"_a};
        const Node one{"one", [] { return 1; }};
        one.connect(node, "n"_a);
        run_graph(node);
        CHECK(node.output() == 101);
    }
}

TEST_CASE("A leading NodeContext& takes no name") {
    const Node plain{
        "plain",
        [](NodeContext& context, int x) { return context.node().id() + std::to_string(x); },
        "x"_a = 1};
    const Node alone{"alone", [](NodeContext& context) { return context.node().id(); }};
    const Node later{"later",
                     [](NodeContext& context, std::string text) -> Task<std::string> {
                         co_await sleep_for(1s);
                         co_return context.node().id() + text;
                     },
                     "text"_a = plain};
    run_graph(plain, alone);
    CHECK(plain.output() == "plain1");
    CHECK(alone.output() == "alone");
    CHECK(later.output() == "laterplain1");
}

TEST_CASE("A callable may give an awaitable that is not of this library") {
    struct Ready {
        int value;
        bool await_ready() const noexcept { return true; }
        void await_suspend(std::coroutine_handle<>) const noexcept {}
        [[nodiscard]] int await_resume() const { return value; }
    };
    struct OtherThread {  // resumes the coroutine somewhere else
        explicit OtherThread(std::thread& t) : thread(&t) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) {
            *thread = std::thread([handle] { handle.resume(); });
        }
        [[nodiscard]] std::thread::id await_resume() const { return std::this_thread::get_id(); }
        std::thread* thread;
    };
    std::thread thread;
    const Node ready{"ready", [](int x) { return Ready{x}; }, "x"_a = 5};
    const Node other{"other", [&thread] { return OtherThread(thread); }};
    const Node child{"child", twice, "x"_a = ready};
    static_assert(std::is_convertible_v<decltype(ready), Node<int>>);
    const auto join_thread = [&thread](std::thread::id) {
        if (thread.joinable()) thread.join();
    };
    const Node joins{"joins", join_thread, "id"_a = other};
    run_graph(ready, other);
    CHECK(ready.output() == 5);
    CHECK(child.output() == 10);
    CHECK(other.output() == std::this_thread::get_id());
}

// ---- ids --------------------------------------------------------------------------------------

TEST_CASE("The id is anything that converts to a string or a string view") {
    struct Named {
        operator std::string_view() const { return "named"; }
    };
    struct Printed {
        operator std::string() const { return "printed"; }
    };
    const std::string text = "text";
    const char* pointer = "pointer";
    char array[] = "array";
    const std::string_view view = std::string_view("viewed").substr(0, 4);
    const auto f = [] { return 1; };
    CHECK(Node{"literal", f}.id() == "literal");
    CHECK(Node{text, f}.id() == "text");
    CHECK(Node{text + "!", f}.id() == "text!");
    CHECK(Node{pointer, f}.id() == "pointer");
    CHECK(Node{array, f}.id() == "array");
    CHECK(Node{view, f}.id() == "view");
    CHECK(Node{Named{}, f}.id() == "named");
    CHECK(Node{Printed{}, f}.id() == "printed");
    CHECK(Node{"", f}.id().empty());
}

TEST_CASE("Equal ids are allowed") {
    const Node a{"same", [] { return 1; }};
    const Node b{"same", twice, "x"_a = a};
    run_graph(b);
    CHECK(a.id() == b.id());
    CHECK_FALSE(a == b);
    CHECK(b.output() == 2);
}

TEST_CASE("A node without an id gets a unique readable one") {
    const Node a{[] { return 1; }};
    const Node b{[] { return 2; }};
    const Node c{twice, "x"_a = a};
    CHECK_FALSE(a.id().empty());
    CHECK(a.id() != b.id());
    CHECK(b.id() != c.id());
    CHECK_THAT(a.id(), ContainsSubstring("node"));
    run_graph(c);
    CHECK(c.output() == 2);
}

// ---- run-time names ---------------------------------------------------------------------------

TEST_CASE("forward_as names the parameter at run time") {
    const std::string chosen = "b";
    const Node parent{"parent", [] { return 7; }};
    const Node child{"child", [](int a, int b) { return 10 * a + b; }, "a"_a = 1, "b"_a};
    parent.connect(child, forward_as(chosen));
    const Node list{"list", sum, "xs"_args};
    parent.connect(list, forward_as("xs"));
    parent.connect(AnyNode(list), forward_as(std::string_view("xs")));
    run_graph(parent);
    CHECK(child.output() == 17);
    CHECK(list.output() == 77);
}

TEST_CASE("forward_auto finds the only open parameter that takes the output") {
    const Node number{"number", [] { return 7; }};
    const Node text{"text", [] { return std::string("t"); }};
    const Node child{"child",
                     [](int a, std::string b, int c) { return std::to_string(10 * a + c) + b; },
                     "a"_a = 1, "b"_a, "c"_a};
    number.connect(child, forward_auto);
    text.connect(AnyNode(child), forward_auto);
    run_graph(number);
    CHECK(child.output() == "17t");
}

TEST_CASE("forward_auto sees a list as open, however many parents fill it") {
    const Node number{"number", [] { return 7; }};
    const Node list{"list", sum, "xs"_args};
    number.connect(list, forward_auto);
    number.connect(list, forward_auto);
    run_graph(number);
    CHECK(list.output() == 77);
}

TEST_CASE("forward_auto into a child where nothing fits says which parameters it has") {
    const Node number{"number", [] { return 7; }};
    const Node bound{"bound", twice, "x"_a = 1};
    const Node other{"other", [](std::string a, char b) { return a + b; }, "a"_a, "b"_a};
    const Node bare{"bare", [] { return 1; }};
    CHECK_THAT(message_of<AutoForwardError>([&] { number.connect(bound, forward_auto); }),
               Equals("node 'number' gives int, and node 'bound' has no open parameter that takes "
                      "it (its only one is 'x')"));
    CHECK_THAT(message_of<AutoForwardError>([&] { number.connect(other, forward_auto); }),
               Equals("node 'number' gives int, and node 'other' has no open parameter that takes "
                      "it (it has 'a', 'b')"));
    CHECK_THAT(message_of<AutoForwardError>([&] { number.connect(bare, forward_auto); }),
               Equals("node 'number' gives int, and node 'bare' has no open parameter that takes "
                      "it (it has none)"));
    CHECK(number.children().empty());
}

TEST_CASE("forward_auto into a child where several fit names them") {
    const Node number{"number", [] { return 7; }};
    const Node child{"child", [](int a, std::string, int c, std::optional<int>) { return a + c; },
                     "a"_a,   "b"_a,
                     "c"_a,   "d"_a};
    CHECK_THAT(message_of<AutoForwardError>([&] { number.connect(child, forward_auto); }),
               Equals("node 'number' gives int, and node 'child' has several open parameters that "
                      "take it: 'a', 'c', 'd'; name one of them"));
    CHECK(number.children().empty());
}
