// connect, disconnect, redirect and bind, in all forms, and what each says when it refuses.
#include <atomic>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "farewell.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Equals;

namespace {

using Names = std::vector<std::string>;

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
int subtract(int x, int y) { return x - y; }
double half(double x) { return x / 2; }
std::string text_of(int x) { return std::to_string(x); }
Task<std::string> text_later(int x) {
    co_await sleep_for(2s);
    co_return std::to_string(x);
}
std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += part;
    return text;
}

Names ids(const std::vector<AnyNode>& nodes) {
    Names names;
    for (const AnyNode& node : nodes) names.push_back(node.id());
    return names;
}

auto number(int value, const std::string& id = "number") {
    return Node{id, [value] { return value; }};
}

}  // namespace

// ---- connect ----------------------------------------------------------------------------------

TEST_CASE("connect without a name orders two nodes and forwards nothing") {
    Names log;
    const auto slow = [&log]() -> Task<int> {
        co_await sleep_for(1s);
        log.emplace_back("first");
        co_return 1;
    };
    const Node first{"first", slow};
    const Node second{"second",
                      [&log](int x) {
                          log.emplace_back("second");
                          return x;
                      },
                      "x"_a = 5};
    const Node nothing{"nothing", [&log] { log.emplace_back("nothing"); }};
    first.connect(second);
    AnyNode(second).connect(AnyNode(nothing));
    run_graph(first);
    CHECK(log == Names{"first", "second", "nothing"});
    CHECK(second.output() == 5);
}

TEST_CASE("connect with a name forwards the output into that parameter") {
    const Node seven = number(7);
    const Node three = number(3);
    const Node child{"child", subtract, "x"_a, "y"_a};

    SECTION("between types that the compiler sees") {
        seven.connect(child, "x"_a);
        three.connect(child, "y"_a);
    }
    SECTION("from Node<T>") {
        Node<int>(seven).connect(child, "x"_a);
        Node<int>(three).connect(child, arg<"y">);
    }
    SECTION("into Node<T>") {
        seven.connect(Node<int>(child), "x"_a);
        three.connect(Node<int>(child), "y"_a);
    }
    SECTION("from AnyNode") {
        AnyNode(seven).connect(child, "x"_a);
        AnyNode(three).connect(child, "y"_a);
    }
    SECTION("between erased handles") {
        AnyNode(seven).connect(AnyNode(child), "x"_a);
        AnyNode(three).connect(AnyNode(child), "y"_a);
    }
    SECTION("by a name known at run time") {
        const std::string name = "y";
        seven.connect(child, forward_as("x"));
        AnyNode(three).connect(AnyNode(child), forward_as(name));
    }
    run_graph(child);
    CHECK(child.output() == 4);
    CHECK(ids(child.parents()).size() == 2);
}

TEST_CASE("connect with a function forwards what it makes of the output") {
    const Node seven = number(7);
    const Node child{"child", [](std::string text) { return "<" + text + ">"; }, "text"_a};

    SECTION("a plain function") { seven.connect(child, "text"_a = text_of); }
    SECTION("a coroutine") {
        seven.connect(child, "text"_a = text_later);
        CHECK(run_graph(seven).elapsed() == 2s);
    }
    SECTION("a lambda that owns something") {
        seven.connect(child, "text"_a = [end = std::string("7")](int) { return end; });
    }
    SECTION("whose result converts") {
        seven.connect(child, "text"_a = [](int) { return "7"; });
    }
    SECTION("into an erased child, by a result of exactly the parameter's type") {
        seven.connect(AnyNode(child), "text"_a = text_of);
    }
    SECTION("into an erased child, a coroutine") {
        Node<int>(seven).connect(Node<std::string>(child), "text"_a = text_later);
    }
    SECTION("of a node that gives nothing") {
        const Node nothing{"nothing", [] {}};
        seven.connect(nothing).connect(child, "text"_a = [] { return std::string("7"); });
    }
    run_graph(seven);
    CHECK(child.output() == "<7>");
}

TEST_CASE("connect into a list adds an element, in any form") {
    const Node a{"a", [] { return std::string("a"); }};
    const Node seven = number(7);
    const Node list{"list", join, "parts"_args};
    a.connect(list, "parts"_a);
    a.connect(list, "parts"_args);
    AnyNode(a).connect(AnyNode(list), "parts"_a);
    AnyNode(a).connect(AnyNode(list), "parts"_args);
    seven.connect(list, "parts"_a = text_of);
    seven.connect(Node<std::string>(list), "parts"_a = text_later);
    a.connect(list, forward_as("parts"));
    a.connect(list, forward_auto);
    run_graph(a);
    CHECK(list.output() == "aaaa77aa");
    CHECK(list.parents().size() == 2);
}

TEST_CASE("The transforms of several edges run at the same time") {
    const Node seven = number(7);
    const Node list{"list", join, "parts"_args};
    for (int i = 0; i < 3; ++i) seven.connect(list, "parts"_a = text_later);
    CHECK(run_graph(seven).elapsed() == 2s);
    CHECK(list.output() == "777");
}

TEST_CASE("A transform is called once in each run") {
    int calls = 0;
    const Node seven = number(7);
    const Node child{"child", twice, "x"_a};
    seven.connect(
        child, "x"_a = [&calls](int x) {
            ++calls;
            return x;
        });
    run_graph(seven);
    run_graph(seven);
    CHECK(calls == 2);
    CHECK(child.output() == 14);
}

TEST_CASE("A transform that throws fails the child, and the message names the edge") {
    const Node seven = number(7);
    const auto refuse = [](int) -> int { throw std::runtime_error("no sevens"); };
    const auto refuse_later = [](int) -> Task<int> {
        co_await sleep_for(1s);
        throw std::runtime_error("no sevens");
    };
    const Node child{"child", twice, "x"_a};

    SECTION("plain") { seven.connect(child, "x"_a = refuse); }
    SECTION("coroutine") { seven.connect(child, "x"_a = refuse_later); }

    const RunReport report = try_graph(seven);
    CHECK(seven.state() == NodeState::completed);
    CHECK(child.state() == NodeState::failed);
    REQUIRE(report.errors().size() == 1);
    const NodeError& error = report.errors()[0];
    CHECK_THAT(
        error.what(),
        Equals("node 'child' failed: the transform of the edge 'number' -> 'child' threw: no "
               "sevens (path: number -> child)"));
    CHECK(error.attempts() == 0);
    try {
        std::rethrow_exception(error.cause());
    } catch (const Error& transform_error) {
        CHECK_THROWS_AS(std::rethrow_if_nested(transform_error), std::runtime_error);
    }
}

TEST_CASE("An edge between types that the compiler sees converts as an argument would") {
    const Node seven = number(7);
    const Node a{"a", half, "x"_a};
    const Node b{"b", [](const std::optional<long>& x) { return x.value(); }, "x"_a};
    seven.connect(a, "x"_a);
    Node<int>(seven).connect(b, "x"_a);
    run_graph(seven);
    CHECK(a.output() == 3.5);
    CHECK(b.output() == 7);
}

TEST_CASE("Two connects make two edges, and disconnect removes all of a pair") {
    const Node parent = number(7, "parent");
    const Node child{"child", subtract, "x"_a, "y"_a = 2};
    parent.connect(child);
    parent.connect(child, "x"_a);
    parent.connect(child);
    CHECK(parent.children().size() == 1);
    run_graph(parent);
    CHECK(child.output() == 5);

    int gone = 0;
    parent.on_disconnect([&gone] { ++gone; });
    parent.disconnect(child);
    CHECK(gone == 1);
    CHECK(parent.children().empty());
    CHECK(child.parents().empty());
    CHECK_THROWS_AS(run_graph(child), MissingArgumentError);
    parent.disconnect(child);  // nothing to remove
    CHECK(gone == 1);
}

TEST_CASE("A chain of connects reads in order") {
    const Node a = number(1, "a");
    const Node b{"b", twice, "x"_a};
    const Node c{"c", twice, "x"_a};
    const Node d{"d", text_of, "x"_a};
    a.connect(b, "x"_a).connect(c, "x"_a).connect(d, "x"_a);
    run_graph(a);
    CHECK(d.output() == "4");
}

// ---- what connect refuses at run time ---------------------------------------------------------

TEST_CASE("A name that the child does not have is refused, with those it has") {
    const Node parent = number(7, "parent");
    const Node two{"two", subtract, "x"_a, "y"_a};
    const Node one{"one", twice, "x"_a};
    const Node none{"none", [] {}};
    CHECK_THAT(message_of<ForwardingParameterError>([&] { parent.connect(AnyNode(two), "z"_a); }),
               Equals("node 'two' has no parameter 'z'; it has 'x', 'y'"));
    CHECK_THAT(message_of<ForwardingParameterError>([&] { parent.connect(two, forward_as("z")); }),
               Equals("node 'two' has no parameter 'z'; it has 'x', 'y'"));
    CHECK_THAT(message_of<ForwardingParameterError>(
                   [&] { parent.connect(Node<int>(one), "X"_a = twice); }),
               Equals("node 'one' has no parameter 'X'; its only one is 'x'"));
    CHECK_THAT(message_of<ForwardingParameterError>([&] { parent.connect(none, forward_as("x")); }),
               Equals("node 'none' has no parameter 'x'; it has none"));
    CHECK_THAT(message_of<ForwardingParameterError>([&] { AnyNode(one).bind("y"_a = 1); }),
               Equals("node 'one' has no parameter 'y'; its only one is 'x'"));
    CHECK(parent.children().empty());
}

TEST_CASE("Between types known only at run time another type is refused, not converted") {
    const Node parent = number(7, "parent");
    const Node child{"child", half, "x"_a};
    const std::string expected =
        "node 'parent' gives int, but parameter 'x' of node 'child' takes double; between nodes "
        "whose types are known only at run time they must be the same: forward what a transform "
        "makes of it, connect(child, \"x\"_a = transform)";
    CHECK_THAT(message_of<ForwardingTypeError>([&] { parent.connect(AnyNode(child), "x"_a); }),
               Equals(expected));
    CHECK_THAT(message_of<ForwardingTypeError>([&] { AnyNode(parent).connect(child, "x"_a); }),
               Equals(expected));
    CHECK_THAT(message_of<ForwardingTypeError>([&] { parent.connect(child, forward_as("x")); }),
               Equals(expected));
    CHECK_THAT(message_of<ForwardingTypeError>([&] {
                   static_cast<void>(Node<double>{"child", half, "x"_a = AnyNode(parent)});
               }),
               Equals(expected));
    CHECK_THAT(
        message_of<ForwardingTypeError>([&] { parent.connect(AnyNode(child), "x"_a = twice); }),
        Equals(expected));
    CHECK(parent.children().empty());

    parent.connect(AnyNode(child), "x"_a = [](int x) { return static_cast<double>(x); });
    run_graph(parent);
    CHECK(child.output() == 3.5);
}

TEST_CASE("An element of a list has its own words, and types are named as one writes them") {
    const Node text{"text", [] { return std::vector<std::string>{"a"}; }};
    const Node nothing{"nothing", [] {}};
    const Node list{"list", join, "parts"_args};
    CHECK_THAT(
        message_of<ForwardingTypeError>([&] { AnyNode(text).connect(AnyNode(list), "parts"_a); }),
        Equals("node 'text' gives std::vector<std::string>, but an element of list parameter "
               "'parts' of node 'list' takes std::string; between nodes whose types are known only "
               "at run time they must be the same: forward what a transform makes of it, "
               "connect(child, \"parts\"_a = transform)"));
    CHECK_THAT(message_of<ForwardingTypeError>([&] { AnyNode(nothing).connect(list, "parts"_a); }),
               ContainsSubstring("node 'nothing' gives void, but an element of list parameter"));
    CHECK_THAT(message_of<ForwardingTypeError>([&] {
                   static_cast<void>(Node<std::string>{"list", join, "parts"_args = {text}});
               }),
               ContainsSubstring("node 'text' gives std::vector<std::string>, but an element"));
    CHECK_THAT(message_of<AutoForwardError>([&] { nothing.connect(list, forward_auto); }),
               Equals("node 'nothing' gives void, and node 'list' has no open parameter that takes "
                      "it (its only one is 'parts')"));
}

TEST_CASE("A parameter that is bound or forwarded into is not forwarded into again") {
    const Node parent = number(7, "parent");
    const Node other = number(8, "other");
    const Node bound{"bound", twice, "x"_a};
    const Node taken{"taken", twice, "x"_a};
    const Node deferred{"deferred", twice, "x"_a = [] { return 1; }};
    bound.bind("x"_a = 1);
    other.connect(taken, "x"_a);

    const std::string is_bound = "parameter 'x' of node 'bound' is already bound";
    const std::string is_taken =
        "parameter 'x' of node 'taken' is already forwarded into by node 'other'";
    const auto refused = [](auto connect) { return message_of<ForwardingOverrideError>(connect); };
    CHECK_THAT(refused([&] { parent.connect(bound, "x"_a); }), Equals(is_bound));
    CHECK_THAT(refused([&] { parent.connect(bound, "x"_a = twice); }), Equals(is_bound));
    CHECK_THAT(refused([&] { parent.connect(bound, forward_as("x")); }), Equals(is_bound));
    CHECK_THAT(refused([&] { AnyNode(parent).connect(AnyNode(bound), "x"_a); }), Equals(is_bound));
    CHECK_THAT(refused([&] { parent.connect(taken, "x"_a); }), Equals(is_taken));
    CHECK_THAT(refused([&] { parent.connect(Node<int>(taken), "x"_a = twice); }), Equals(is_taken));
    CHECK_THAT(refused([&] { parent.connect(Node<int>(deferred), "x"_a); }),
               Equals("parameter 'x' of node 'deferred' is already bound"));
    CHECK_THAT(refused([&] { other.connect(taken, "x"_a); }), Equals(is_taken));
    CHECK_THROWS_AS(parent.connect(bound, forward_auto), AutoForwardError);

    CHECK(parent.children().empty());
    run_graph(bound, taken);
    CHECK(bound.output() == 2);
    CHECK(taken.output() == 16);
}

TEST_CASE("A refused constructor names its id-less node and its parameters as well") {
    const AnyNode text = Node{"text", [] { return std::string(); }};
    const auto make = [&] { static_cast<void>(Node<int>{twice, "x"_a = text}); };
    const std::string what = message_of<ForwardingTypeError>(make);
    CHECK_THAT(what, ContainsSubstring("node 'text' gives std::string, but parameter 'x' of node"));
    CHECK_THAT(what, ContainsSubstring("takes int"));
}

TEST_CASE("The edges of a cycle are refused by the run, which prints it") {
    bool ran = false;
    const Node before{"before", [&ran] { ran = true; }};
    const Node a{"a", twice, "x"_a};
    const Node b{"b", twice, "x"_a};
    before.connect(a).connect(b, "x"_a).connect(a, "x"_a);
    const std::string what = message_of<CycleError>([&] { try_graph(before); });
    CHECK_THAT(what, ContainsSubstring("the edges form a cycle: "));
    CHECK((what.find("'a' -> 'b' -> 'a'") != std::string::npos ||
           what.find("'b' -> 'a' -> 'b'") != std::string::npos));
    CHECK_FALSE(ran);

    b.disconnect(a);
    a.bind("x"_a = 1);
    run_graph(before);
    CHECK(b.output() == 4);
}

TEST_CASE("A node that leads to itself is the smallest cycle") {
    const Node a{"a", twice, "x"_a};
    a.connect(a, "x"_a);
    CHECK_THAT(message_of<CycleError>([&] { try_graph(a); }),
               Equals("the edges form a cycle: 'a' -> 'a'"));
    a.disconnect(a);
    a.bind("x"_a = 1);
    run_graph(a);
    CHECK(a.output() == 2);
}

TEST_CASE("An edge that forwards chunks which are not collected is refused by the run") {
    const auto generate = []() -> AsyncGenerator<int> { co_yield 1; };
    const Node chunks{"chunks", generate};
    const Node child{"child", [](std::vector<int> xs) { return xs.size(); }, "xs"_a = chunks};
    chunks.collect(false);
    CHECK_THAT(message_of<ForwardingTypeError>([&] { try_graph(chunks); }),
               Equals("node 'chunks' forwards its chunks to node 'child', but collect(false) keeps "
                      "none"));
    CHECK(chunks.state() == NodeState::pending);
    chunks.collect(true);
    run_graph(chunks);
    CHECK(child.output() == 1);
}

TEST_CASE("A child that is running takes no new parent and loses none") {
    Names refused;
    const Node other = number(7, "other");
    const Node slow{"slow", []() -> Task<> { co_await sleep_for(5s); }};
    const Node parent{"parent", [] {}};
    parent.connect(slow);
    const auto meddle = [&refused, parent_ref = parent.ref(), slow_ref = slow.ref(),
                         other_ref = other.ref()]() -> Task<> {
        const auto attempt = [&refused](auto change) {
            try {
                change();
            } catch (const SafeExecutionError& error) {
                refused.emplace_back(error.what());
            }
        };
        co_await sleep_for(1s);
        attempt([&] { AnyNode(other_ref).connect(AnyNode(slow_ref)); });
        attempt([&] { AnyNode(parent_ref).disconnect(AnyNode(slow_ref)); });
        attempt([&] { AnyNode(parent_ref).redirect({}); });
        attempt([&] { AnyNode(other_ref).redirect({AnyNode(slow_ref)}); });
    };
    const Node meddler{"meddler", meddle};
    run_graph(parent, meddler);
    CHECK(refused == Names{"node 'slow' is running: to connect a parent to it has to wait until it "
                           "has ended",
                           "node 'slow' is running: to disconnect a parent from it has to wait "
                           "until it has ended",
                           "node 'slow' is running: to redirect its parent away from it has to "
                           "wait until it has ended",
                           "node 'slow' is running: to redirect a parent to it has to wait until "
                           "it has ended"});
    CHECK(slow.state() == NodeState::completed);
    CHECK(ids(slow.parents()) == Names{"parent"});
    CHECK(other.children().empty());
}

// ---- callbacks of the wiring ------------------------------------------------------------------

TEST_CASE("on_connect and on_disconnect are called on the parent, with the new wiring in place") {
    Names log;
    const Node child{"child", twice, "x"_a};
    const Node other{"other", [] {}};
    const Node parent = number(7, "parent");
    parent.on_connect([&log] { log.emplace_back("connect"); })
        .on_connect([&log](const AnyNode& node) {
            log.push_back(node.id() + " has " + std::to_string(node.children().size()));
        })
        .on_disconnect([&log](const AnyNode& node) {
            log.push_back(node.id() + " has only " + std::to_string(node.children().size()));
        });
    child.on_connect([&log] { log.emplace_back("never"); });
    parent.connect(child, "x"_a);
    parent.connect(other);
    CHECK(log == Names{"connect", "parent has 1", "connect", "parent has 2"});
    log.clear();
    parent.disconnect(child);
    CHECK(log == Names{"parent has only 1"});
    log.clear();
    parent.redirect({child});
    CHECK(log == Names{"connect", "parent has 2", "parent has only 1"});
}

TEST_CASE("If on_connect throws, there is no edge") {
    const Node child{"child", twice, "x"_a};
    const Node parent = number(7, "parent");
    bool refuse = true;
    parent.on_connect([&refuse] {
        if (refuse) throw std::runtime_error("not now");
    });
    CHECK_THROWS_WITH(parent.connect(child, "x"_a), Equals("not now"));
    CHECK_THROWS_WITH(parent.connect(child, "x"_a = twice), Equals("not now"));
    CHECK_THROWS_WITH((Node<int>{"made", twice, "x"_a = parent}), Equals("not now"));
    CHECK(parent.children().empty());
    CHECK(child.parents().empty());
    refuse = false;
    parent.connect(child, "x"_a);
    run_graph(parent);
    CHECK(child.output() == 14);
}

// ---- redirect ---------------------------------------------------------------------------------

TEST_CASE("redirect keeps listed edges with their forwards, removes others and adds plain ones") {
    const Node parent = number(7, "parent");
    const Node kept{"kept", twice, "x"_a};
    const Node removed{"removed", twice, "x"_a};
    const Node added{"added", twice, "x"_a = 1};
    parent.connect(removed, "x"_a);
    parent.connect(kept, "x"_a = [](int x) { return x + 1; });
    parent.redirect({added, kept});
    CHECK(ids(parent.children()) == Names{"kept", "added"});
    CHECK(removed.parents().empty());
    run_graph(parent);
    CHECK(kept.output() == 16);
    CHECK(added.output() == 2);
    CHECK(added.parents().at(0) == parent);
}

TEST_CASE("redirect takes braces, a range, one node or none, each child once") {
    const Node parent = number(7, "parent");
    const Node a{"a", [] {}};
    const Node b{"b", [] {}};
    parent.redirect({a, b, a});
    CHECK(ids(parent.children()) == Names{"a", "b"});
    CHECK(a.parents().size() == 1);
    parent.disconnect(a);
    CHECK(ids(parent.children()) == Names{"b"});
    parent.redirect(std::vector<Node<void>>{a});
    CHECK(ids(parent.children()) == Names{"a"});
    AnyNode(parent).redirect(b);
    CHECK(ids(parent.children()) == Names{"b"});
    parent.redirect(parent.children());
    CHECK(ids(parent.children()) == Names{"b"});
    parent.redirect({});
    CHECK(parent.children().empty());
    CHECK(b.parents().empty());
}

TEST_CASE("A node is redirected away from 20,000 children, at once or one by one") {
    constexpr std::size_t many = 20'000;
    const Node parent = number(7, "parent");
    std::vector<AnyNode> children;
    for (std::size_t i = 0; i < many; ++i) {
        const Node child{"child", [] {}};
        parent.connect(child);
        children.push_back(child);
    }
    const bool at_once = GENERATE(true, false);
    if (at_once) {
        parent.redirect({children.back()});
    } else {
        for (std::size_t i = 0; i + 1 < many; ++i) parent.disconnect(children[i]);
    }
    CHECK(parent.children() == std::vector<AnyNode>{children.back()});
    CHECK(children.front().parents().empty());
}

TEST_CASE("A redirect that is refused changes nothing") {
    const Node parent = number(7, "parent");
    const Node a{"a", [] {}};
    parent.connect(a);
    const Node b{"b", [] {}};
    CHECK_THROWS_AS(parent.redirect({b, AnyNode()}), Error);
    CHECK(ids(parent.children()) == Names{"a"});
    CHECK(b.parents().empty());

    int calls = 0;
    const Node c{"c", [] {}};
    parent.on_connect([&calls] {
        if (++calls == 2) throw std::runtime_error("one is enough");
    });
    CHECK_THROWS_WITH(parent.redirect({b, c}), Equals("one is enough"));
    CHECK(ids(parent.children()) == Names{"a"});
    CHECK(b.parents().empty());
    CHECK(c.parents().empty());
}

// ---- bind -------------------------------------------------------------------------------------

TEST_CASE("bind sets an open argument, replaces a bound one, and is chainable") {
    const Node node{"node", subtract, "x"_a, "y"_a = 1};
    node.bind("x"_a = 10);
    run_graph(node);
    CHECK(node.output() == 9);
    node.bind("x"_a = 20).bind("y"_a = 5);
    run_graph(node);
    CHECK(node.output() == 15);
}

TEST_CASE("bind takes what an argument takes: values that convert, callables, coroutines") {
    const Node node{"node", half, "x"_a = 0.5};
    node.bind("x"_a = 3);
    run_graph(node);
    CHECK(node.output() == 1.5);
    node.bind("x"_a = [] { return 5; });
    run_graph(node);
    CHECK(node.output() == 2.5);
    const auto later = []() -> Task<double> {
        co_await sleep_for(1s);
        co_return 7;
    };
    node.bind("x"_a = later);
    CHECK(run_graph(node).elapsed() == 1s);
    CHECK(node.output() == 3.5);
    node.bind("x"_a = 1.0);
    CHECK(run_graph(node).elapsed() == 0s);
    CHECK(node.output() == 0.5);
}

TEST_CASE("bind takes a literal for a std::string, on typed and erased handles") {
    const Node node{"node", [](const std::string& text) { return text; }, "text"_a};
    node.bind("text"_a = "typed");
    run_graph(node);
    CHECK(node.output() == "typed");
    AnyNode(node).bind("text"_a = "erased");
    run_graph(node);
    CHECK(node.output() == "erased");
    Node<std::string>(node).bind("text"_a = std::string("string"));
    run_graph(node);
    CHECK(node.output() == "string");
}

TEST_CASE("bind on an erased handle takes exactly the parameter's type") {
    const Node node{"node", half, "x"_a = 8.0};
    CHECK_THAT(
        message_of<ForwardingTypeError>([&] { AnyNode(node).bind("x"_a = 3); }),
        Equals("parameter 'x' of node 'node' takes double, not int; between types known only "
               "at run time they must be the same"));
    run_graph(node);
    CHECK(node.output() == 4.0);  // as it was
    AnyNode(node).bind("x"_a = 3.0);
    run_graph(node);
    CHECK(node.output() == 1.5);
}

TEST_CASE("bind of a parameter that an edge fills is refused") {
    const Node parent = number(7, "parent");
    const Node child{"child", twice, "x"_a};
    parent.connect(child, "x"_a);
    const std::string expected =
        "parameter 'x' of node 'child' is already forwarded into by node 'parent'";
    CHECK_THAT(message_of<ForwardingOverrideError>([&] { child.bind("x"_a = 1); }),
               Equals(expected));
    CHECK_THAT(message_of<ForwardingOverrideError>([&] { AnyNode(child).bind("x"_a = 1); }),
               Equals(expected));
    run_graph(parent);
    CHECK(child.output() == 14);
    parent.disconnect(child);
    child.bind("x"_a = 1);
    run_graph(child);
    CHECK(child.output() == 2);
}

TEST_CASE("bind on a running node is refused") {
    Names refused;
    const Node node{"node",
                    [&refused](NodeContext& context, int x) {
                        try {
                            context.node().bind("x"_a = 2);
                        } catch (const SafeExecutionError& error) {
                            refused.emplace_back(error.what());
                        }
                        return x;
                    },
                    "x"_a = 1};
    run_graph(node);
    CHECK(
        refused ==
        Names{"node 'node' is running: to bind an argument of it has to wait until it has ended"});
    CHECK(node.output() == 1);
}

TEST_CASE("A node that an edge feeds keeps what was bound beside it, in every run") {
    const Node parent = number(7, "parent");
    const Node child{"child", subtract, "x"_a, "y"_a = [] { return 2; }};
    parent.connect(child, "x"_a);
    run_graph(parent);
    child.bind("y"_a = 4);
    run_graph(parent);
    CHECK(child.output() == 3);
    run_graph(parent);
    CHECK(child.output() == 3);
}

// ---- wiring between runs and in runs ----------------------------------------------------------

TEST_CASE("Wiring done between two runs counts for the next one") {
    const Node parent = number(7, "parent");
    const Node a{"a", twice, "x"_a};
    parent.connect(a, "x"_a);
    CHECK(run_graph(parent).completed().size() == 2);
    const Node b{"b", twice, "x"_a};
    a.connect(b, "x"_a);
    CHECK(run_graph(parent).completed().size() == 3);
    CHECK(b.output() == 28);
    a.disconnect(b);
    CHECK(run_graph(parent).completed().size() == 2);
    CHECK(b.output() == 28);  // of its own last run
}

TEST_CASE("Wiring done in a run lasts for that run") {
    int runs = 0;
    const Node late{"late", twice, "x"_a};
    const Node parent{"parent", [&runs, ref = late.ref()](NodeContext& context) {
                          ++runs;
                          context.node().connect(AnyNode(ref), "x"_a);
                          return runs;
                      }};
    run_graph(parent);
    CHECK(late.output() == 2);
    CHECK(parent.children().empty());
    CHECK(late.parents().empty());
    run_graph(parent);
    CHECK(late.output() == 4);
    CHECK(runs == 2);
}

TEST_CASE("A new node made in a body joins the run") {
    const Node parent{"parent", [](NodeContext& context) {
                          const Node<int> self(context.node());
                          for (int i = 0; i < 3; ++i) {
                              const Node made{"made_" + std::to_string(i), subtract, "x"_a,
                                              "y"_a = i};
                              self.connect(made, "x"_a);
                          }
                          return 10;
                      }};
    const RunReport report = run_graph(parent);
    CHECK(ids(report.completed()) == Names{"parent", "made_0", "made_1", "made_2"});
    CHECK(report.completed().at(3).output<int>() == 8);
}

TEST_CASE("Nodes of two runs that have not ended cannot be connected") {
    std::string what;
    const Node a{"a", []() -> Task<> { co_await sleep_for(5s); }};
    const Node b{"b", [&what, ref = a.ref()](NodeContext& context) -> Task<> {
                     co_await sleep_for(1s);
                     const Node made{"made", [] {}};
                     AnyNode(ref).connect(made);
                     try {
                         context.node().connect(made);
                     } catch (const SafeExecutionError& error) {
                         what = error.what();
                     }
                 }};
    const TreeExecutor first{a};
    const TreeExecutor second{b};
    EventLoop loop{virtual_time};
    const auto run_first = [&first]() -> Task<> { co_await first.run(); };
    loop.spawn(run_first());
    loop.run(second.run());
    CHECK_THAT(what, Equals("nodes 'b' and 'made' are in two runs that have not ended: they cannot "
                            "be connected yet"));
}

TEST_CASE("A condition that goes with its edge may connect that pair anew, and cut others") {
    std::function<void()> on_gone;
    Node first{"first", [] { return 1; }};
    Node other{"other", [] {}};
    const Node child{"child", [] {}};
    const bool conditional = GENERATE(false, true);
    CAPTURE(conditional);
    other.connect(child);
    first.connect(child);
    first.connect(child, when([held = grafo_test::make_farewell(on_gone)](int) { return true; }));
    on_gone = [&] {
        other.disconnect(child);
        if (conditional) {
            first.connect(child, when([](int) { return true; }));
        } else {
            first.connect(child);
        }
    };
    first.disconnect(child);
    CHECK(on_gone == nullptr);
    CHECK(first.children() == std::vector<AnyNode>{child});
    CHECK(child.parents() == std::vector<AnyNode>{first});
    CHECK(grafo::run(TreeExecutor{first}.run()).completed().size() == 2);
}

TEST_CASE("If on_disconnect throws, the edge is gone, and so is what only that held") {
    std::weak_ptr<int> held;
    Node parent{"parent", [] {}};
    parent.on_disconnect([] { throw std::runtime_error("as the test wants it"); });
    {
        auto value = std::make_shared<int>(1);
        held = value;
        const Node child{"child", [value = std::move(value)] { return *value; }};
        parent.connect(child);
        CHECK_THROWS_WITH(parent.disconnect(child), ContainsSubstring("as the test wants it"));
        CHECK(parent.children().empty());
    }
    CHECK(held.expired());
}

TEST_CASE("Numbers that nodes remember begin anew with 1, when all were given") {
    std::atomic<std::uint32_t> last{0xfffffffeU};
    CHECK(grafo::detail::number_after(last) == 0xffffffffU);
    CHECK(grafo::detail::number_after(last) == 1);
    CHECK(grafo::detail::number_after(last) == 2);
}
