// What the library is not made for, and refuses with an error: see docs/misuse.md. What debug
// builds refuse by ending the program is in misuse_death_test.cpp.
#include <grafo/detail/poll_reactor.hpp>
#include <grafo/fmt.hpp>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <grafo/watchdog.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

Task<int> one_later() {
    co_await sleep_for(1ms);
    co_return 1;
}
AsyncGenerator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
}
int add_one(int x) { return x + 1; }

template <class F>
std::string error_of(F&& fn) {
    try {
        std::forward<F>(fn)();
    } catch (const Error& error) {
        return error.what();
    }
    return "no Error";
}

// A coroutine of another library, which starts at once wherever it is called.
struct Fire {
    struct promise_type {
        Fire get_return_object() noexcept { return Fire(); }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
    Fire() noexcept {}
};
template <class Awaitable>
Fire await_here(Awaitable awaitable, std::string& said) {
    try {
        static_cast<void>(co_await std::move(awaitable));
        said = "no error";
    } catch (const Error& error) {
        said = error.what();
    }
}

RunReport try_run(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

}  // namespace

// ---- where no loop runs -----------------------------------------------------------------------

TEST_CASE("Whatever is awaited where no loop runs says so") {
    const Node node{"node", one_later};
    const TreeExecutor executor{node};
    ThreadPool pool{1};
    const Semaphore semaphore{1};
    const Semaphore::Guard taken = semaphore.try_acquire();
    const auto nothing = [] {};
    std::vector<std::string> said(10);
    await_here(one_later(), said[0]);
    AsyncGenerator<int> numbers = count_to(3);
    await_here(numbers.next(), said[1]);
    await_here(when_all(one_later(), one_later()), said[2]);
    await_here(with_timeout(1ms, one_later()), said[3]);
    await_here(executor.run(), said[4]);
    await_here(sleep_for(1ms), said[5]);
    await_here(semaphore.acquire(), said[6]);
    await_here(RateLimiter(1, 1s).acquire(), said[7]);
    await_here(offload(pool, nothing), said[8]);
    await_here(offload_detached(pool, nothing), said[9]);
    for (const std::string& words : said) {
        CHECK_THAT(words, ContainsSubstring("no EventLoop is running on this thread"));
    }
    // Nothing was used up by that but the task.
    const auto first = [&]() -> Task<int> { co_return *co_await numbers.next(); };
    CHECK(grafo::run(first()) == 1);
    CHECK(grafo::run(executor.run()).ok());
}

// ---- moved from -------------------------------------------------------------------------------

TEST_CASE("A TreeExecutor that was moved from throws Error, whatever is asked of it") {
    const Node node{"node", one_later};
    Observer observer;
    TreeExecutor executor{"first", node};
    const TreeExecutor other = std::move(executor);
    const auto refused = [](auto&& fn) {
        CHECK_THAT(error_of(fn), ContainsSubstring("TreeExecutor was used that was moved from"));
    };
    refused([&] { static_cast<void>(executor.run()); });
    refused([&] { static_cast<void>(executor.try_run()); });
    refused([&] { static_cast<void>(executor.yielding()); });
    refused([&] { executor.stop(); });
    refused([&] { executor.on_error(ErrorPolicy::keep_going); });
    refused([&] { executor.max_concurrency(1); });
    refused([&] { executor.timing(false); });
    refused([&] { executor.observe(observer); });
    refused([&] { executor.shuffle(1); });
    refused([&] { executor.description("text"); });
    refused([&] { static_cast<void>(executor.name()); });
    refused([&] { static_cast<void>(executor.description()); });
    refused([&] { static_cast<void>(executor.roots()); });
    refused([&] { static_cast<void>(executor.leaves()); });
    refused([&] { static_cast<void>(executor.errors()); });
    refused([&] { static_cast<void>(executor.report()); });
    refused([&] { executor.for_each_edge([](const AnyNode&, const AnyNode&) {}); });
    refused([&] { static_cast<void>(fmt::format("{}", executor)); });
    CHECK(try_run(other).ok());
    executor = TreeExecutor{"second", node};
    CHECK(try_run(executor).ok());
}

TEST_CASE("Reports and errors that were moved from still have their content") {
    const Node node{"node", [] { throw 1; }};
    const TreeExecutor executor{"run", node};
    RunReport report = try_run(executor);
    const RunReport other_report = std::move(report);
    CHECK_FALSE(report.ok());
    CHECK(report.failed().size() == 1);
    NodeError node_error = other_report.errors().at(0);
    const NodeError other_node_error = std::move(node_error);
    CHECK(node_error.path() == other_node_error.path());
    CHECK(node_error.node() == node);
    CHECK(node_error.attempts() == 1);
    try {
        report.throw_if_failed();
    } catch (RunError& error) {
        const RunError other_error = std::move(error);
        CHECK(error.errors().size() == 1);
        CHECK_FALSE(error.stopped());
    }
}

TEST_CASE("What map_each gave may be used after it was moved from") {
    auto mapped = map_each(add_one, 2);
    const auto other = std::move(mapped);
    const auto first = [](AsyncGenerator<int, std::vector<int>> made) -> Task<int> {
        co_return *co_await made.next();
    };
    CHECK(grafo::run(first(mapped({1}))) == 2);
    CHECK(grafo::run(first(other({2}))) == 3);
}

TEST_CASE("An offload_detached that is awaited twice throws Error") {
    ThreadPool pool{1};
    const auto twice = [&pool]() -> Task<int> {
        const auto three = [] { return 3; };
        auto offloaded = offload_detached(pool, three);
        const int value = co_await std::move(offloaded);
        std::string said;
        try {
            co_await std::move(offloaded);
        } catch (const Error& error) {
            said = error.what();
        }
        CHECK_THAT(said, ContainsSubstring("awaited that was moved from"));
        co_return value;
    };
    CHECK(grafo::run(twice()) == 3);
}

TEST_CASE("A handle that was moved from is an empty one, and refused wherever a node is wanted") {
    Node<int> node{"node", one_later};
    const Node<int> kept = std::move(node);
    const Node parent{"parent", one_later};
    const Node child{"child", add_one, "x"_a};
    const Node list{"list", [](const std::vector<int>& xs) { return xs.size(); }, "xs"_args};
    const auto refused = [](auto&& fn) {
        CHECK_THAT(error_of(fn), ContainsSubstring("an empty AnyNode was used"));
    };
    refused([&] { static_cast<void>(node.id()); });
    refused([&] { static_cast<void>(node.output()); });
    refused([&] { static_cast<void>(node.ref()); });
    refused([&] { node.connect(child, "x"_a); });
    refused([&] { parent.connect(node); });
    refused([&] { parent.disconnect(node); });
    refused([&] { parent.redirect({child, node}); });
    refused([&] { Node("n", add_one, "x"_a = node); });
    refused([&] { Node("n", add_one, "x"_a = node.map(add_one)); });
    refused([&] {
        Node("n", [](const std::vector<int>& xs) { return xs.size(); }, "xs"_args = {node});
    });
    refused([&] {
        Node("n", [](const std::vector<int>& xs) { return xs.size(); }, "xs"_args = gather(node));
    });
    refused([&] { static_cast<void>(Node<int>(AnyNode()).level()); });
    CHECK_THROWS_AS(TreeExecutor(NodeList(parent, node)), Error);
    CHECK(fmt::format("{}", node) == "(no node)");
    CHECK(parent.children().empty());
    CHECK(kept.parents().empty());
}

// ---- null pointers ----------------------------------------------------------------------------

TEST_CASE("A null pointer to a function is refused where it is given") {
    int (*const function)(int) = nullptr;
    void (*const nothing)() = nullptr;
    int (*const make)() = nullptr;
    bool (*const ask)(int) = nullptr;
    std::size_t (std::string::* const member)() const = nullptr;
    const Node parent{"parent", one_later};
    const Node text{"text", [] { return std::string("text"); }};
    const Node child{"child", add_one, "x"_a};
    const Node counted{"counted", [](std::size_t n) { return n; }, "n"_a};
    const Node numbers{"numbers", count_to, "n"_a = 2};
    const Node reads{"reads", [](AsyncGenerator<int> xs) -> Task<> { co_await xs.next(); }, "xs"_a};
    ThreadPool pool{1};
    EventLoop loop;
    const auto refused = [](auto&& fn) {
        CHECK_THAT(error_of(fn), ContainsSubstring("was given a null pointer"));
    };
    refused([&] { Node("n", function, "x"_a = 1); });
    refused([&] { Node("n", add_one, "x"_a = make); });
    refused([&] { child.bind("x"_a = make); });
    refused([&] { parent.connect(child, "x"_a = function); });
    refused([&] { text.connect(counted, "n"_a = member); });
    refused([&] { numbers.connect(reads, "xs"_a = function); });
    refused([&] { Node("n", add_one, "x"_a = parent.map(function)); });
    refused([&] { parent.connect(child, "x"_a, when(ask)); });
    refused([&] { parent.on_connect(nothing); });
    refused([&] { parent.on_disconnect(nothing); });
    refused([&] { parent.on_before_run(nothing); });
    refused([&] { parent.on_after_run(nothing); });
    refused([&] {
        static_cast<void>(
            RetryPolicy(2).when(static_cast<bool (*)(const std::exception_ptr&)>(nullptr)));
    });
    refused([&] { static_cast<void>(map_each(function, 1)); });
    refused([&] { static_cast<void>(offload(pool, make)); });
    refused([&] { static_cast<void>(offload_detached(pool, make)); });
    refused([&] { pool.enqueue(nothing); });
    refused([&] { loop.post(nothing); });
    refused([&] {
        const Watchdog watchdog(loop, 1s, static_cast<void (*)(const WatchdogReport&)>(nullptr));
    });
    CHECK(parent.children().empty());
    CHECK(try_run(TreeExecutor{parent}).ok());
}

// ---- counts and times at their ends ------------------------------------------------------------

TEST_CASE("Counts of 0 are refused with what would be one, and the largest ones are taken") {
    constexpr auto most = std::numeric_limits<std::size_t>::max();
    const Node node{"node", add_one, "x"_a = 1};
    const Node numbers{"numbers", count_to, "n"_a = 3};
    TreeExecutor executor{NodeList(node, numbers)};
    CHECK_THAT(error_of([] { Semaphore{0}; }), ContainsSubstring("1 or more, not 0"));
    CHECK_THAT(error_of([] { RateLimiter(0, 1s); }), ContainsSubstring("1 or more, not 0"));
    CHECK_THAT(error_of([] { RateLimiter(1, 0s); }), ContainsSubstring("above zero, not 0 ns"));
    CHECK_THAT(error_of([] { RateLimiter(1, -1s); }), ContainsSubstring("above zero, not -1"));
    CHECK_THAT(error_of([] { static_cast<void>(RetryPolicy(0)); }), ContainsSubstring("not 0"));
    CHECK_THAT(error_of([&] { node.retry(0); }), ContainsSubstring("1 or more, not 0"));
    CHECK_THAT(error_of([&] { node.max_runs(0); }), ContainsSubstring("'node'"));
    CHECK_THAT(error_of([&] { executor.max_concurrency(0); }), ContainsSubstring("(0)"));
    CHECK_THAT(error_of([] { static_cast<void>(map_each(add_one, 0)); }),
               ContainsSubstring("0 items"));
    CHECK_THAT(error_of([&] { node.limit(Semaphore{2}, 3); }), ContainsSubstring("weight of 3"));
    CHECK_THAT(error_of([&] { node.limit(Semaphore{2}, 0); }), ContainsSubstring("weight of 0"));
    CHECK_THAT(error_of([&] { node.buffer(1); }), ContainsSubstring("it yields none"));
    CHECK(ThreadPool{0}.size() == 1);

    node.retry(std::numeric_limits<unsigned>::max()).max_runs(std::numeric_limits<unsigned>::max());
    node.limit(Semaphore{most}, most).limit(RateLimiter(most, std::chrono::hours::max()));
    node.priority(std::numeric_limits<int>::min());
    numbers.buffer(most).priority(std::numeric_limits<int>::max());
    executor.max_concurrency(most);
    for (int i = 0; i < 2; ++i) CHECK(try_run(executor).ok());
    int events = 0;
    for (const Event& event : iterate(executor.yielding())) {
        if (event.chunk(numbers)) ++events;
    }
    CHECK(events == 3);
}

TEST_CASE("Times of 0, below it, at their ends and no number at all mean what they say") {
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    constexpr double endless = std::numeric_limits<double>::infinity();
    using Seconds = std::chrono::duration<double>;
    EventLoop loop{virtual_time};
    const auto state_after = [&loop](auto limit) {
        const Node node = Node{"node", one_later}.timeout(limit);
        static_cast<void>(loop.run(TreeExecutor{node}.try_run()));
        return node.state();
    };
    CHECK(state_after(0s) == NodeState::failed);
    CHECK(state_after(-1h) == NodeState::failed);
    CHECK(state_after(std::chrono::nanoseconds::min()) == NodeState::failed);
    CHECK(state_after(std::chrono::hours::min()) == NodeState::failed);
    CHECK(state_after(Seconds(-endless)) == NodeState::failed);
    CHECK(state_after(std::chrono::nanoseconds::max()) == NodeState::completed);
    CHECK(state_after(std::chrono::hours::max()) == NodeState::completed);
    CHECK(state_after(Seconds(endless)) == NodeState::completed);
    CHECK(state_after(Seconds(none)) == NodeState::completed);
    CHECK_THROWS_AS(RateLimiter(1, Seconds(none)), Error);
    CHECK_THROWS_AS(RetryPolicy(2).backoff(Seconds(none)), Error);
    CHECK_THROWS_AS(RetryPolicy(2).backoff(1ms, none), Error);
    CHECK_THROWS_AS(RetryPolicy(2).cap(-1ns), Error);
    const auto sleeps = [](auto time) -> Task<> { co_await sleep_for(time); };
    const EventLoop::TimePoint before = loop.now();
    loop.run(sleeps(-1h));
    loop.run(sleeps(std::chrono::hours::min()));
    CHECK(loop.now() == before);
    CHECK_THROWS_AS(loop.run(sleeps(std::chrono::hours::max())), DeadlockError);
    for (const auto limit :
         {std::chrono::nanoseconds::min(), 0ns, 1ns, std::chrono::nanoseconds::max()}) {
        const auto ignore = [](const WatchdogReport&) {};
        const Watchdog watchdog(loop, limit, ignore);
        CHECK(state_after(1s) == NodeState::completed);
    }
}

// ---- from inside a run ------------------------------------------------------------------------

TEST_CASE("A callback that adds callbacks to the node that it is called for is called once") {
    Node node{"node", one_later};
    const Node child{"child", [] {}};
    int first = 0;
    int added = 0;
    node.on_connect([&](const Node<int>& self) {
        ++first;
        for (int i = 0; i < 100 && first == 1; ++i) self.on_connect([&added] { ++added; });
    });
    node.connect(child);
    CHECK(first == 1);
    CHECK(added == 100);  // those set later are called after those set before
    std::string said;
    node.on_before_run([&](const Node<int>& self) {
        try {
            self.on_before_run([] {});
        } catch (const SafeExecutionError& error) {
            said = error.what();
        }
    });
    CHECK(try_run(TreeExecutor{node}).ok());
    CHECK_THAT(said, ContainsSubstring("node 'node' is running"));
}

TEST_CASE("An observer that would wire the graph of its run anew is refused") {
    struct Meddler : Observer {
        explicit Meddler(int w) : what(w) {}
        void run_started(std::string_view, EventLoop::TimePoint) override { meddle(); }
        void transition(const Transition&) override { meddle(); }
        void meddle() {
            try {
                if (what == 0) root.connect(extra);
                if (what == 1) root.disconnect(child);
                if (what == 2) root.redirect({extra});
                if (what == 3) extra.connect(child);
                ++changes;
            } catch (const SafeExecutionError& error) {
                said = error.what();
            }
        }
        int what;
        Node<int> root{"root", one_later};
        Node<int> child{"child", add_one, "x"_a = 1};
        Node<void> extra{"extra", [] {}};
        int changes = 0;
        std::string said;
    };
    for (int what = 0; what < 4; ++what) {
        Meddler meddler(what);
        meddler.root.connect(meddler.child);
        TreeExecutor executor{meddler.root};
        executor.observe(meddler);
        const RunReport report = try_run(executor);
        CHECK(report.ok());
        CHECK(report.completed().size() == 2);
        CHECK(meddler.changes == 0);
        CHECK_FALSE(meddler.said.empty());
        CHECK(meddler.root.children() == std::vector{AnyNode(meddler.child)});
        CHECK(try_run(TreeExecutor{meddler.root}).ok());
    }
}

TEST_CASE("A range may be begun twice, and two ranges of one loop be read by turns") {
    EventLoop loop;
    auto one = iterate(loop, count_to(4));
    auto other = iterate(loop, count_to(4));
    auto at = one.begin();
    auto at_other = other.begin();
    CHECK(*at == 1);
    CHECK(*at_other == 1);
    ++at;
    ++at_other;
    CHECK(*at == 2);
    CHECK(*at_other == 2);
    auto again = one.begin();  // goes on where the first one was
    CHECK(*again == 3);
    ++again;
    ++again;
    CHECK(again == one.end());
    ++again;  // stays there
    CHECK(again == one.end());
}

TEST_CASE("A descriptor below 0 is refused by the loop that is to watch it") {
    struct Ignores final : Watcher {
        void readable() noexcept override {}
    };
    EventLoop loop;
    Ignores watcher;
    CHECK_THAT(error_of([&] { static_cast<void>(detail::watch(loop, -1, watcher)); }),
               ContainsSubstring("cannot watch the descriptor -1"));
}
