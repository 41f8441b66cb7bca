// A node's handle: identity, state, output, neighbours, conversions, settings, NodeRef.
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
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
Task<int> after(std::chrono::seconds pause, int x) {
    co_await sleep_for(pause);
    co_return x;
}
Task<> nothing_later() { co_return; }
void nothing() {}
AsyncGenerator<int> count(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
}
AsyncGenerator<int, std::string> count_and_tell(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
    co_return std::to_string(n) + " counted";
}
AsyncGenerator<std::unique_ptr<int>> give_away() {
    auto item = std::make_unique<int>(1);
    co_yield item;
}
std::unique_ptr<int> unique_number() { return std::make_unique<int>(3); }

std::vector<std::string> ids(const std::vector<AnyNode>& nodes) {
    std::vector<std::string> names;
    for (const AnyNode& node : nodes) names.push_back(node.id());
    return names;
}

using Names = std::vector<std::string>;

}  // namespace

// ---- the static type --------------------------------------------------------------------------

TEST_CASE("The type of a node says what output() returns") {
    const Node plain{"plain", twice, "x"_a = 1};
    const Node task{"task", after, "pause"_a = 1s, "x"_a = 2};
    const Node generator{"generator", count, "n"_a = 3};
    const Node result{"result", count_and_tell, "n"_a = 2};
    const Node none{"none", nothing};
    const Node task_none{"task_none", nothing_later};
    const Node move_only{"move_only", unique_number};
    const Node move_only_chunks{"move_only_chunks", give_away};
    static_assert(std::is_same_v<decltype(plain.output()), const int&>);
    static_assert(std::is_same_v<decltype(task.output()), const int&>);
    static_assert(std::is_same_v<decltype(generator.output()), const std::vector<int>&>);
    static_assert(std::is_same_v<decltype(result.output()), const std::string&>);
    static_assert(std::is_same_v<decltype(none.output()), void>);
    static_assert(std::is_same_v<decltype(task_none.output()), void>);
    static_assert(std::is_same_v<decltype(move_only.output()), const std::unique_ptr<int>&>);
    static_assert(std::is_same_v<decltype(move_only_chunks.output()), void>);

    run_graph(plain, task, generator, result, none, task_none, move_only, move_only_chunks);
    CHECK(plain.output() == 2);
    CHECK(task.output() == 2);
    CHECK(generator.output() == std::vector<int>{1, 2, 3});
    CHECK(result.output() == "2 counted");
    CHECK_NOTHROW(none.output());
    CHECK_NOTHROW(task_none.output());
    CHECK(*move_only.output() == 3);
    CHECK_NOTHROW(move_only_chunks.output());
}

TEST_CASE("A const return type and a type without default constructor are outputs like others") {
    struct Rigid {
        explicit Rigid(int n) : number(n) {}
        Rigid(const Rigid&) = delete;
        Rigid& operator=(const Rigid&) = delete;
        int number;
    };
    const Node constant{"constant", []() -> const std::string { return "c"; }};
    const Node rigid{"rigid", [] { return Rigid(4); }};
    const Node reader{"reader", [](const Rigid& r) { return r.number; }, "r"_a = rigid};
    static_assert(std::is_same_v<decltype(constant.output()), const std::string&>);
    run_graph(constant, rigid);
    CHECK(constant.output() == "c");
    CHECK(rigid.output().number == 4);  // it can be neither copied nor moved
    CHECK(reader.output() == 4);
}

TEST_CASE("A deduced node converts to Node<T> and AnyNode, and an AnyNode back after a check") {
    const Node deduced{"node", twice, "x"_a = 4};
    const Node<int> typed = deduced;
    const AnyNode any = typed;
    const AnyNode direct = deduced;
    const Node<int> back{any};
    CHECK(typed == deduced);
    CHECK(any == typed);
    CHECK(direct == any);
    CHECK(back == deduced);
    run_graph(any);
    CHECK(back.output() == 8);
    CHECK(any.output<int>() == 8);
}

TEST_CASE("An AnyNode of another type does not convert to Node<T>") {
    const AnyNode any = Node{"node", [] { return std::string("text"); }};
    CHECK_THAT(message_of<ForwardingTypeError>([&] { static_cast<void>(Node<int>(any)); }),
               Equals("node 'node' gives std::string, not int"));
    CHECK_THAT(message_of<ForwardingTypeError>([&] { static_cast<void>(Node<void>(any)); }),
               Equals("node 'node' gives std::string, not void"));
    CHECK_NOTHROW(Node<std::string>(any));
}

TEST_CASE("An output asked for as another type says what the node gives") {
    const AnyNode any = Node{"node", [] { return std::string("text"); }};
    run_graph(any);
    CHECK(any.output<std::string>() == "text");
    CHECK_THAT(message_of<OutputUnavailableError>([&] { static_cast<void>(any.output<int>()); }),
               Equals("node 'node' has no output: it gives std::string, not int"));
}

TEST_CASE("A node is a class member as Node<T> n{...}, and a const one is used as any other") {
    class Pipeline {
    public:
        explicit Pipeline(int x) : first_{"first", twice, "x"_a = x} {
            first_.connect(second_, "x"_a);
        }
        [[nodiscard]] int run_it() const {
            run_graph(first_);
            return second_.output();
        }

    private:
        const Node<int> first_;
        Node<int> second_{"second", twice, "x"_a};
        Node<void> last_{"last", [] {}};
        AnyNode none_;
    };
    const Pipeline pipeline(3);
    CHECK(pipeline.run_it() == 12);
}

TEST_CASE("Node<T> from a callable checks nothing less than the deduced type") {
    const Node<int> parent{"parent", [] { return 5; }};
    const Node<int> child{"child", twice, "x"_a = parent};
    const Node<std::vector<int>> generator{count, "n"_a = child};
    run_graph(generator);
    CHECK(generator.output().size() == 10);
}

// ---- identity ---------------------------------------------------------------------------------

TEST_CASE("Copies of a handle mean the same node, whatever their types") {
    const Node a{"a", [] { return 1; }};
    const Node b{"a", [] { return 1; }};
    const auto copy = a;
    Node<int> typed = b;
    CHECK(copy == a);
    CHECK_FALSE(AnyNode(b) == a);
    CHECK(typed != a);
    typed = a;
    CHECK(typed == a);
    CHECK(typed.id() == "a");
}

TEST_CASE("Handles may be assigned, moved and swapped") {
    Node<int> a{"a", [] { return 1; }};
    Node<int> b{"b", [] { return 2; }};
    std::swap(a, b);
    CHECK(a.id() == "b");
    CHECK(b.id() == "a");
    const Node<int>& same = a;
    a = same;
    CHECK(a.id() == "b");
    AnyNode any = a;
    any = b;
    CHECK(any == b);
    AnyNode taken = std::move(any);
    CHECK(taken.id() == "a");
    static_assert(std::is_nothrow_move_constructible_v<Node<int>>);
    static_assert(std::is_nothrow_copy_constructible_v<AnyNode>);
}

TEST_CASE("Handles are keys of hashed containers by identity") {
    const Node a{"same", [] { return 1; }};
    const Node b{"same", [] { return 1; }};
    const std::unordered_set<AnyNode> set{a, b, a, Node<int>(a)};
    CHECK(set.size() == 2);
    CHECK(set.count(b) == 1);
    std::unordered_map<AnyNode, std::string> map;
    map[a] = "first";
    map[b] = "second";
    CHECK(map.at(AnyNode(Node<int>(a))) == "first");
    CHECK(std::hash<AnyNode>()(a) == std::hash<AnyNode>()(Node<int>(a)));
    CHECK(std::hash<AnyNode>()(AnyNode()) == std::hash<AnyNode>()(AnyNode()));
}

TEST_CASE("Ids that were left out are unique") {
    std::set<std::string> seen;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 100; ++i) {
        nodes.push_back(Node{[] {}});
        seen.insert(nodes.back().id());
    }
    CHECK(seen.size() == 100);
}

TEST_CASE("The id lives as long as the node") {
    const Node node{std::string("a long id that does not fit into a short string"), [] {}};
    const std::string& id = node.id();
    const AnyNode keep = node;
    CHECK(&keep.id() == &id);
}

TEST_CASE("An empty AnyNode is false, and each of its members throws Error") {
    const AnyNode none;
    const Node node{"node", twice, "x"_a};
    CHECK_FALSE(static_cast<bool>(none));
    CHECK(static_cast<bool>(AnyNode(node)));
    CHECK(none == AnyNode());
    CHECK_FALSE(none == node);

    const std::string expected = "an empty AnyNode was used as a node";
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.id()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.state()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.runtime()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.level()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.children()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.parents()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(none.output<int>()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { none.connect(node); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { node.connect(none); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { node.disconnect(none); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { node.redirect({none}); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { none.redirect({node}); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { none.bind("x"_a = 1); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { none.timeout(1s); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { none.on_after_run([] {}); }), Equals(expected));
    const auto fill = [&] { static_cast<void>(Node<int>{"child", twice, "x"_a = none}); };
    CHECK_THAT(message_of<Error>(fill), Equals(expected));
    const auto fill_list = [&] {
        static_cast<void>(Node<std::size_t>{"child", [](std::vector<int> v) { return v.size(); },
                                            "v"_args = {none}});
    };
    CHECK_THAT(message_of<Error>(fill_list), Equals(expected));
    CHECK_THROWS_AS(Node<int>(none).id(), Error);
    CHECK(node.children().empty());
    CHECK(node.parents().empty());
}

// ---- state, output, runtime -------------------------------------------------------------------

TEST_CASE("A node is pending before its run and says so when asked for its output") {
    const Node node{"node", twice, "x"_a = 1};
    CHECK(node.state() == NodeState::pending);
    CHECK(node.runtime() == 0ns);
    CHECK_THAT(message_of<OutputUnavailableError>([&] { node.output(); }),
               Equals("node 'node' has no output: it is pending"));
    CHECK_THAT(message_of<OutputUnavailableError>([&] { Node{"v", [] {}}.output(); }),
               Equals("node 'v' has no output: it is pending"));
}

TEST_CASE("While a run is on, state() tells where each node is") {
    std::vector<NodeState> seen;
    const Node first{"first", after, "pause"_a = 1s, "x"_a = 1};
    const Node second{"second", after, "pause"_a = 1s, "x"_a = 2};
    const Node third{"third", twice, "x"_a = second};
    first.connect(second);
    const auto look = [&]() -> Task<> {
        for (int i = 0; i < 2; ++i) {
            co_await sleep_for(i == 0 ? 500ms : 1s);
            for (const AnyNode& node : {AnyNode(first), AnyNode(second), AnyNode(third)}) {
                seen.push_back(node.state());
            }
        }
    };
    const Node watcher{"watcher", look};
    run_graph(first, watcher);
    CHECK(seen == std::vector<NodeState>{NodeState::running, NodeState::pending, NodeState::pending,
                                         NodeState::completed, NodeState::running,
                                         NodeState::pending});
    CHECK(third.state() == NodeState::completed);
}

TEST_CASE("A node that has no place under max_concurrency is ready") {
    NodeState seen = NodeState::pending;
    const Node second{"second", twice, "x"_a = 2};
    const Node first{"first", [&seen, ref = second.ref()] { seen = AnyNode(ref).state(); }};
    const Node root{"root", [] {}};
    root.connect(first);
    root.connect(second);
    const TreeExecutor executor = TreeExecutor{root}.max_concurrency(1);
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    CHECK(seen == NodeState::ready);
    CHECK(second.state() == NodeState::completed);
}

TEST_CASE("A failed node gives its NodeError for its output, the cause nested") {
    const Node root{"root", [] { return 1; }};
    const Node node{"node",
                    [](int x) -> Task<int> {
                        co_await sleep_for(1s);
                        if (x == 1) throw std::invalid_argument("one is refused");
                        co_return x;
                    },
                    "x"_a = root};
    const Node child{"child", twice, "x"_a = node};
    const RunReport report = try_graph(root);
    CHECK_FALSE(report.ok());
    CHECK(node.state() == NodeState::failed);
    try {
        node.output();
        FAIL("it threw nothing");
    } catch (const NodeError& error) {
        CHECK_THAT(error.what(), Equals("node 'node' failed: one is refused (path: root -> node)"));
        CHECK(error.node() == node);
        CHECK(error.path() == Names{"root", "node"});
        CHECK(error.attempts() == 1);
        CHECK_THROWS_AS(std::rethrow_if_nested(error), std::invalid_argument);
        CHECK_THROWS_AS(std::rethrow_exception(error.cause()), std::invalid_argument);
    }
    CHECK(child.state() == NodeState::skipped);
    CHECK_THAT(message_of<OutputUnavailableError>([&] { child.output(); }),
               Equals("node 'child' has no output: it is skipped (parent 'node' failed)"));
}

TEST_CASE("A node that skipped itself says why there is no output") {
    const Node awaits{"awaits", []() -> Task<int> {
                          co_await skip("nothing new");
                          co_return 1;
                      }};
    const Node throws{"throws", []() -> int { throw Skip("old"); }};
    const Node silent{"silent", []() -> int { throw Skip(); }};
    const Node child{"child", twice, "x"_a = awaits};
    const RunReport report = run_graph(awaits, throws, silent);
    CHECK(report.ok());
    CHECK(ids(report.skipped()).size() == 4);
    CHECK_THAT(message_of<OutputUnavailableError>([&] { awaits.output(); }),
               Equals("node 'awaits' has no output: it is skipped (nothing new)"));
    CHECK_THAT(message_of<OutputUnavailableError>([&] { throws.output(); }),
               Equals("node 'throws' has no output: it is skipped (old)"));
    CHECK_THAT(message_of<OutputUnavailableError>([&] { silent.output(); }),
               Equals("node 'silent' has no output: it is skipped"));
    CHECK_THAT(message_of<OutputUnavailableError>([&] { child.output(); }),
               Equals("node 'child' has no output: it is skipped (parent 'awaits' was skipped: "
                      "nothing new)"));
}

TEST_CASE("A node that was stopped is cancelled and has no output") {
    const Node slow{"slow", after, "pause"_a = 10s, "x"_a = 1};
    const Node fails{"fails", []() -> Task<> {
                         co_await sleep_for(1s);
                         throw std::runtime_error("broken");
                     }};
    const RunReport report = try_graph(slow, fails);
    CHECK(report.elapsed() == 1s);
    CHECK(slow.state() == NodeState::cancelled);
    CHECK_THAT(message_of<OutputUnavailableError>([&] { slow.output(); }),
               Equals("node 'slow' has no output: it is cancelled"));
}

TEST_CASE("A second run forgets the state and the output of the first") {
    bool fail = false;
    const Node node{"node", [&fail] {
                        if (fail) throw std::runtime_error("now it fails");
                        return 1;
                    }};
    run_graph(node);
    CHECK(node.output() == 1);
    fail = true;
    try_graph(node);
    CHECK(node.state() == NodeState::failed);
    CHECK_THROWS_AS(node.output(), NodeError);
    fail = false;
    run_graph(node);
    CHECK(node.state() == NodeState::completed);
    CHECK(node.output() == 1);
}

TEST_CASE("collect(false) keeps no chunks, so there is no output") {
    const Node node{"node", count, "n"_a = 3};
    node.collect(false);
    run_graph(node);
    CHECK(node.state() == NodeState::completed);
    CHECK_THAT(message_of<OutputUnavailableError>([&] { node.output(); }),
               Equals("node 'node' has no output: its chunks were not collected (collect(false))"));
    node.collect(true);
    run_graph(node);
    CHECK(node.output().size() == 3);
}

TEST_CASE("runtime() is how long the node took in its last run") {
    std::chrono::seconds pause = 2s;
    const Node node{"node", [&pause] { return after(pause, 1); }};
    CHECK(node.runtime() == 0ns);
    run_graph(node);
    CHECK(node.runtime() == 2s);
    pause = 5s;
    run_graph(node);
    CHECK(node.runtime() == 5s);
}

TEST_CASE("runtime() counts callbacks, and not the time a node waits for its turn") {
    const Node first{"first", after, "pause"_a = 3s, "x"_a = 1};
    const Node second{"second", after, "pause"_a = 1s, "x"_a = 1};
    second.on_after_run([]() -> Task<> { co_await sleep_for(2s); });
    first.connect(second);
    run_graph(first);
    CHECK(second.runtime() == 3s);
}

TEST_CASE("runtime() is zero where times are not taken") {
    const Node node{"node", after, "pause"_a = 2s, "x"_a = 1};
    run_graph(node);
    CHECK(node.runtime() == 2s);
    const TreeExecutor executor = TreeExecutor{node}.timing(false);
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    CHECK(node.runtime() == 0ns);
}

// ---- neighbours -------------------------------------------------------------------------------

TEST_CASE("children() and parents() name each neighbour once, in the order of connection") {
    //   a   b
    //   |\ /|
    //   | X |
    //   |/ \|
    //   c   d
    const Node a{"a", [] { return 1; }};
    const Node b{"b", [] { return 2; }};
    const Node c{"c", [](int x, int y) { return x + y; }, "x"_a, "y"_a};
    const Node d{"d", twice, "x"_a};
    b.connect(c, "y"_a);
    a.connect(d, "x"_a);
    a.connect(c, "x"_a);
    a.connect(d);
    b.connect(d);
    CHECK(ids(a.children()) == Names{"d", "c"});
    CHECK(ids(b.children()) == Names{"c", "d"});
    CHECK(ids(c.parents()) == Names{"b", "a"});
    CHECK(ids(d.parents()) == Names{"a", "b"});
    CHECK(a.parents().empty());
    CHECK(d.children().empty());
}

TEST_CASE("The level of a node is the longest path down to it") {
    //   a -> b -> c -> d
    //    \_____________/     and e -> d
    const Node a{"a", [] {}};
    const Node b{"b", [] {}};
    const Node c{"c", [] {}};
    const Node d{"d", [] {}};
    const Node e{"e", [] {}};
    CHECK(a.level() == 0);
    a.connect(d);
    CHECK(d.level() == 1);
    a.connect(b).connect(c).connect(d);
    e.connect(d);
    CHECK(a.level() == 0);
    CHECK(b.level() == 1);
    CHECK(c.level() == 2);
    CHECK(d.level() == 3);
    CHECK(e.level() == 0);
    b.disconnect(c);
    CHECK(c.level() == 0);
    CHECK(d.level() == 1);
}

TEST_CASE("A node in a cycle has no level, and the error prints the cycle") {
    const Node a{"a", [] {}};
    const Node b{"b", [] {}};
    const Node c{"c", [] {}};
    const Node below{"below", [] {}};
    a.connect(b).connect(c).connect(a);
    c.connect(below);
    const std::string what = message_of<CycleError>([&] { static_cast<void>(below.level()); });
    CHECK_THAT(what, ContainsSubstring("node 'below' has no level, for the edges form a cycle: "));
    CHECK((what.find("'a' -> 'b' -> 'c' -> 'a'") != std::string::npos ||
           what.find("'b' -> 'c' -> 'a' -> 'b'") != std::string::npos ||
           what.find("'c' -> 'a' -> 'b' -> 'c'") != std::string::npos));
    a.connect(a);
    CHECK_THAT(message_of<CycleError>([&] { static_cast<void>(a.level()); }),
               ContainsSubstring("node 'a' has no level"));
}

TEST_CASE("Edges made during a run do not count for the level") {
    std::size_t during = 99;
    std::size_t children = 99;
    const Node last{"last", [] {}};
    const Node first{"first", [&, late = last.ref()]() -> Task<> { co_await sleep_for(1s); }};
    const Node middle{"middle", [&, late = last.ref()](NodeContext& context) {
                          context.node().connect(AnyNode(late));
                          during = AnyNode(late).level();
                          children = context.node().children().size();
                      }};
    first.connect(last);
    first.connect(middle);
    const auto wait = []() -> Task<> { co_await sleep_for(5s); };
    const Node slow{"slow", wait};
    slow.connect(last);
    run_graph(first);
    CHECK(during == 1);
    CHECK(children == 1);
    CHECK(middle.children().empty());
    CHECK(last.level() == 1);
}

// ---- settings ---------------------------------------------------------------------------------

TEST_CASE("Settings are chainable, on lvalues and on temporaries, and keep the node's type") {
    std::vector<std::string> log;
    const Node node{"node", twice, "x"_a};
    node.timeout(5s).total_timeout(1min).collect(true).on_before_run(
        [&] { log.emplace_back("before"); });
    const Node same = Node{"same", twice, "x"_a}.bind("x"_a = 2).timeout(5s).on_after_run(
        [&] { log.emplace_back("after"); });
    static_assert(std::is_same_v<decltype(same), decltype(node)>);
    same.connect(node, "x"_a);
    run_graph(same);
    CHECK(node.output() == 8);
    CHECK(log == Names{"after", "before"});
}

TEST_CASE("All members of a handle are const: they change the node, not the handle") {
    const Node<int> typed = Node{"typed", twice, "x"_a};
    const AnyNode any = typed;
    any.bind("x"_a = 4).timeout(1s);
    typed.on_before_run([] {});
    run_graph(any);
    CHECK(typed.output() == 8);
}

TEST_CASE(
    "Callbacks are plain or coroutines, with or without the node, in the order they were set") {
    Names log;
    const Node node{"node", [&log] {
                        log.emplace_back("body");
                        return 5;
                    }};
    using Handle = std::remove_const_t<decltype(node)>;
    node.on_before_run([&log] { log.emplace_back("before"); })
        .on_before_run([&log](const AnyNode& n) -> Task<> {
            co_await sleep_for(1s);
            log.push_back("before " + n.id());
        })
        .on_after_run(
            [&log](const Handle& n) { log.push_back("after " + std::to_string(n.output())); })
        .on_after_run([&log](Node<int> n) -> Task<> {
            co_await sleep_for(1s);
            log.push_back(n.state() == NodeState::completed ? "completed" : "not yet");
        });
    const RunReport report = run_graph(node);
    CHECK(log == Names{"before", "before node", "body", "after 5", "completed"});
    CHECK(report.elapsed() == 2s);
    log.clear();
    run_graph(node);
    CHECK(log.size() == 5);
}

TEST_CASE("A callback that throws fails the node") {
    bool ran = false;
    const Node before{"before", [&ran] { ran = true; }};
    before.on_before_run([] { throw std::runtime_error("not today"); });
    const Node afterwards{"afterwards", [] { return 1; }};
    afterwards.on_after_run([]() -> Task<> {
        co_await sleep_for(1s);
        throw std::runtime_error("not like this");
    });
    const RunReport first = try_graph(before);
    const RunReport second = try_graph(afterwards);
    CHECK_FALSE(ran);
    REQUIRE(first.errors().size() == 1);
    CHECK_THAT(first.errors()[0].what(), Equals("node 'before' failed: not today"));
    CHECK(first.errors()[0].attempts() == 0);
    REQUIRE(second.errors().size() == 1);
    CHECK_THAT(second.errors()[0].what(), Equals("node 'afterwards' failed: not like this"));
    CHECK(afterwards.state() == NodeState::failed);
    CHECK_THROWS_AS(afterwards.output(), NodeError);
}

TEST_CASE("A callback may be move-only") {
    int seen = 0;
    const Node node{"node", [] {}};
    node.on_before_run([&seen, owned = std::make_unique<int>(4)] { seen = *owned; });
    run_graph(node);
    CHECK(seen == 4);
}

TEST_CASE("timeout fails an attempt that takes longer, total_timeout the node as a whole") {
    const Node attempt{"attempt", after, "pause"_a = 3s, "x"_a = 1};
    attempt.timeout(1500ms);
    const Node total{"total", after, "pause"_a = 1s, "x"_a = 1};
    total.total_timeout(2s).timeout(10s).on_before_run([]() -> Task<> { co_await sleep_for(90s); });
    const Node fine{"fine", after, "pause"_a = 1s, "x"_a = 1};
    fine.timeout(1001ms);
    const TreeExecutor executor =
        TreeExecutor{attempt, total, fine}.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.elapsed() == 2s);
    REQUIRE(report.errors().size() == 2);
    CHECK_THAT(report.errors()[0].what(),
               Equals("node 'attempt' failed: it did not end within 1500 ms (timeout)"));
    CHECK_THROWS_AS(std::rethrow_exception(report.errors()[0].cause()), TimeoutError);
    CHECK_THAT(report.errors()[1].what(),
               Equals("node 'total' failed: it did not end within 2 s (total_timeout)"));
    CHECK(fine.output() == 1);
}

TEST_CASE("A timeout of nothing cancels at the first suspension, the longest one is none") {
    bool reached = false;
    const Node now{"now", [&reached]() -> Task<> {
                       reached = true;
                       co_await sleep_for(1s);
                   }};
    now.timeout(0s);
    const Node never{"never", after, "pause"_a = std::chrono::seconds(1h), "x"_a = 1};
    never.timeout(std::chrono::hours::max()).total_timeout(std::chrono::nanoseconds::max());
    const TreeExecutor executor = TreeExecutor{now, never}.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(reached);
    CHECK(now.state() == NodeState::failed);
    CHECK(now.runtime() == 0s);
    CHECK(never.output() == 1);
    CHECK(report.elapsed() == 1h);
}

TEST_CASE("Who never waits is in time, though it has none") {
    const bool total = GENERATE(false, true);
    const bool retries = GENERATE(false, true);
    CAPTURE(total, retries);
    int calls = 0;
    const Node plain{"plain", [&calls] { return ++calls; }};
    const Node task{"task", [&calls]() -> Task<int> { co_return ++calls; }};
    const Node waits{"waits", [&calls]() -> Task<int> {
                         ++calls;
                         co_await yield();
                         co_return 0;
                     }};
    const Node stubborn{"stubborn", []() -> Task<> {
                            try {
                                co_await yield();
                            } catch (const Cancelled&) {
                            }
                        }};
    const std::vector<AnyNode> nodes{plain, task, waits, stubborn};
    for (const AnyNode& node : nodes) {
        total ? node.total_timeout(0s) : node.timeout(-1s);
        if (retries) node.retry(2);
    }
    const TreeExecutor executor = TreeExecutor{nodes}.on_error(ErrorPolicy::keep_going);
    const RunReport report = EventLoop(virtual_time).run(executor.try_run());
    CHECK(plain.state() == NodeState::completed);
    CHECK(task.state() == NodeState::completed);
    CHECK(waits.state() == NodeState::failed);
    CHECK(stubborn.state() == NodeState::failed);
    CHECK(calls == (retries && !total ? 4 : 3));
}

TEST_CASE("A running node refuses to be changed") {
    Names refused;
    const auto body = [&refused](NodeContext& context) -> Task<> {
        const AnyNode self = context.node();
        const auto attempt = [&refused](auto change) {
            try {
                change();
            } catch (const SafeExecutionError& error) {
                refused.emplace_back(error.what());
            }
        };
        attempt([&] { self.timeout(1s); });
        attempt([&] { self.on_after_run([] {}); });
        attempt([&] { self.collect(false); });
        co_return;
    };
    const Node node{"node", body};
    run_graph(node);
    CHECK(refused ==
          Names(3, "node 'node' is running: to change it has to wait until it has ended"));
    CHECK_NOTHROW(node.timeout(1s));
}

// ---- connect gives back the child -------------------------------------------------------------

TEST_CASE("connect gives back a reference to an lvalue and a value of a temporary") {
    const Node a{"a", [] { return 1; }};
    Node b{"b", twice, "x"_a};
    const Node c{"c", twice, "x"_a};
    static_assert(std::is_same_v<decltype(a.connect(b, "x"_a)), decltype(b)&>);
    static_assert(std::is_same_v<decltype(b.connect(c, "x"_a)), decltype(c)&>);
    auto& given = a.connect(b, "x"_a).connect(c, "x"_a);
    CHECK(&given == &c);

    const auto kept = c.connect(Node{"d", twice, "x"_a}, "x"_a);
    static_assert(std::is_same_v<decltype(kept), decltype(c)>);
    const auto last =
        kept.connect(Node{"e", twice, "x"_a}, "x"_a).connect(AnyNode(Node{"f", [] {}}));
    static_assert(std::is_same_v<decltype(last), const AnyNode>);
    run_graph(a);
    CHECK(kept.output() == 8);
    CHECK(last.state() == NodeState::completed);
    CHECK(last.level() == 5);
}

// ---- NodeRef ----------------------------------------------------------------------------------

TEST_CASE("A NodeRef does not keep its node, and says when it is gone") {
    Node<int> node{"node", twice, "x"_a = 3};
    const NodeRef<int> ref = node.ref();
    const NodeRef<int> copy = ref;
    CHECK_FALSE(ref.expired());
    CHECK(ref.lock() == node);
    CHECK(AnyNode(ref) == node);
    {
        const Node<int> same = ref;
        CHECK(same == node);
    }
    CHECK(ref.id() == "node");
    run_graph(node);
    CHECK(ref.output() == 6);

    node = Node{"other", twice, "x"_a = 4};
    CHECK(ref.expired());
    CHECK(copy.expired());
    const std::string expected = "a NodeRef was used after its node was gone";
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(ref.lock()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(ref.id()); }), Equals(expected));
    CHECK_THAT(message_of<Error>([&] { static_cast<void>(copy.output()); }), Equals(expected));
}

TEST_CASE("What a NodeRef locks keeps the node, and a NodeRef may be assigned") {
    Node<int> first{"first", twice, "x"_a = 3};
    const Node<int> second{"second", twice, "x"_a = 3};
    NodeRef<int> ref = first.ref();
    {
        const Node<int> locked = ref.lock();
        first = second;
        CHECK_FALSE(ref.expired());
        CHECK(locked.id() == "first");
    }
    CHECK(ref.expired());
    ref = second.ref();
    CHECK(ref.id() == "second");
}

TEST_CASE("A NodeRef captured in a callable of its own graph leaks nothing") {
    Counted::reset();
    {
        const Node last{"last", [c = Counted(1)] { return c.value; }};
        const Node first{"first", [c = Counted(2), ref = last.ref()] {
                             return ref.lock().id() + std::to_string(c.value);
                         }};
        first.connect(last);
        const Node self{"self", [] { return 7; }};
        self.on_after_run([ref = self.ref(), c = Counted(3)] { CHECK(ref.output() == 7); });
        last.connect(self);
        run_graph(first);
        CHECK(first.output() == "last2");
        CHECK(Counted::live() == 3);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A NodeRef to a node that gives nothing can be awaited for its state") {
    const Node node{"node", [] {}};
    const NodeRef<void> ref = node.ref();
    CHECK_THROWS_AS(ref.output(), OutputUnavailableError);
    run_graph(node);
    CHECK_NOTHROW(ref.output());
}
