#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Nodes that are tried again when they fail: node.retry(3).

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;
using Times = std::vector<std::chrono::nanoseconds>;
using std::chrono::nanoseconds;

nanoseconds now() { return EventLoop::current().now().time_since_epoch(); }

template <class N>
RunReport try_it(const N& node) {
    return EventLoop(virtual_time).run(TreeExecutor{node}.try_run());
}

std::string text_of(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& exception) {
        return exception.what();
    } catch (...) {
        return "no std::exception";
    }
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

// Fails that often, then gives how often it was called.
struct Flaky {
    explicit Flaky(int how_often) : failures(how_often) {}
    int operator()() {
        if (++calls <= failures) throw std::runtime_error("attempt " + std::to_string(calls));
        return calls;
    }
    int failures;
    int calls = 0;
};

const char* name_of(EventKind kind) {
    switch (kind) {
        case EventKind::started: return "started";
        case EventKind::chunk: return "chunk";
        case EventKind::completed: return "completed";
        case EventKind::failed: return "failed";
        case EventKind::retrying: return "retrying";
        case EventKind::skipped: return "skipped";
        case EventKind::cancelled: return "cancelled";
    }
    return "";
}

// "started, retrying, completed"; what the run throws at its end is left out.
Log events_of(const TreeExecutor& executor) {
    Log log;
    EventLoop loop{virtual_time};
    try {
        for (const Event& event : iterate(loop, executor.yielding())) {
            log.push_back(name_of(event.kind()));
        }
    } catch (const RunError&) {
    }
    return log;
}

}  // namespace

// ---- attempts -----------------------------------------------------------------------------------

TEST_CASE("retry(n) tries a failing body up to n times in total, and keeps the first success") {
    const auto failures = GENERATE(0, 1, 2);
    Node node{"node", Flaky{failures}};
    node.retry(3);
    CHECK(try_it(node).ok());
    CHECK(node.output() == failures + 1);
}

TEST_CASE("The failure of the last attempt stands, with the number of attempts") {
    const unsigned attempts = GENERATE(1U, 2U, 3U);
    Node node{"node", Flaky{100}};
    node.retry(attempts);
    const RunReport report = try_it(node);
    CHECK(node.state() == NodeState::failed);
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == attempts);
    CHECK(text_of(report.errors()[0].cause()) == "attempt " + std::to_string(attempts));
    CHECK_THAT(
        report.errors()[0].what(),
        ContainsSubstring("'node'") && ContainsSubstring("attempt " + std::to_string(attempts)));
    CHECK_THROWS_AS(node.output(), NodeError);
}

TEST_CASE("A plain function, a coroutine and a generator are retried, failing early or late") {
    int calls = 0;
    const auto fail_twice = [&] {
        if (++calls % 3 != 0) throw std::runtime_error("again");
        return calls;
    };
    Node plain{"plain", fail_twice};
    Node task{"task", [&]() -> Task<int> {
                  const int result = fail_twice();
                  co_return result;
              }};
    Node late{"late", [&]() -> Task<int> {
                  co_await sleep_for(1s);
                  co_return fail_twice();
              }};
    Node generator{"generator", [&]() -> AsyncGenerator<int, int> {
                       co_yield 1;
                       co_return fail_twice();
                   }};
    plain.connect(task).connect(late).connect(generator);
    const std::vector<AnyNode> nodes{plain, task, late, generator};
    for (const AnyNode& node : nodes) node.retry(3);
    EventLoop loop{virtual_time};
    CHECK(loop.run(TreeExecutor{plain}.run()).ok());
    CHECK(generator.output() == 12);
    CHECK(loop.now().time_since_epoch() == 3s);
}

TEST_CASE("The next attempt starts after the policy's pause, at that very nanosecond") {
    Times starts;
    Node node{"node", [&]() -> Task<> {
                  starts.push_back(now());
                  co_await sleep_for(7ns);
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{5}.backoff(100ns, 2.0).cap(300ns));
    const RunReport report = try_it(node);
    CHECK(starts == Times{0ns, 107ns, 314ns, 621ns, 928ns});
    CHECK(report.elapsed() == 935ns);
    CHECK(node.runtime() == 935ns);
}

TEST_CASE("The pauses of full jitter are those of the policy, for the node's id") {
    const RetryPolicy policy = RetryPolicy{4}.backoff(1s).full_jitter(7);
    Times starts;
    Node node{"node", [&] {
                  starts.push_back(now());
                  throw std::runtime_error("always");
              }};
    node.retry(policy);
    std::vector<nanoseconds> delays;
    EventLoop loop{virtual_time};
    try {
        for (const Event& event : iterate(loop, TreeExecutor{node}.yielding())) {
            if (event.kind() == EventKind::retrying) delays.push_back(event.delay());
        }
    } catch (const RunError&) {
    }
    REQUIRE(delays.size() == 3);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(delays[i] == policy.delay(i + 1, std::hash<std::string>()("node")));
        CHECK(starts[i + 1] - starts[i] == delays[i]);
    }
}

TEST_CASE("Nodes of one id draw their pauses apart, in each run the same") {
    const RetryPolicy policy = RetryPolicy{2}.backoff(1h).full_jitter(7);
    std::vector<Times> runs;
    for (int run = 0; run < 2; ++run) {
        Times& starts = runs.emplace_back();
        std::vector<AnyNode> nodes;
        for (int i = 0; i < 4; ++i) {
            nodes.push_back(Node{
                "fetch", [&starts](NodeContext& context) {
                    if (context.attempt() == 2) starts.push_back(now());
                    if (context.attempt() == 1) throw std::runtime_error("once");
                }}.retry(policy));
        }
        CHECK(EventLoop(virtual_time).run(TreeExecutor(nodes).run()).ok());
    }
    REQUIRE(runs[0].size() == 4);
    CHECK(std::adjacent_find(runs[0].begin(), runs[0].end()) == runs[0].end());
    CHECK(runs[0] == runs[1]);
}

TEST_CASE("A body may ask which attempt it is") {
    std::vector<unsigned> seen;
    Node node{"node", [&](NodeContext& context) -> Task<> {
                  seen.push_back(context.attempt());
                  CHECK_FALSE(context.cancelled());
                  co_await yield();
                  seen.push_back(context.attempt());
                  if (context.attempt() < 3) throw std::runtime_error("again");
              }};
    node.retry(3);
    CHECK(try_it(node).ok());
    CHECK(seen == std::vector<unsigned>{1, 1, 2, 2, 3, 3});
}

TEST_CASE("A second run counts its attempts anew") {
    Flaky flaky{2};
    Node node{"node", [&](NodeContext& context) {
                  flaky();
                  return context.attempt();
              }};
    node.retry(3);
    CHECK(try_it(node).ok());
    CHECK(node.output() == 3);
    flaky.calls = 1;
    CHECK(try_it(node).ok());
    CHECK(node.output() == 2);
    flaky.calls = -10;
    CHECK_FALSE(try_it(node).ok());
    flaky.calls = 2;
    CHECK(try_it(node).ok());
    CHECK(node.output() == 1);
}

TEST_CASE("The last retry() counts; retry(0) is refused") {
    Node node{"node", Flaky{1}};
    CHECK_THROWS_AS(node.retry(0), Error);
    node.retry(5).retry(1);
    CHECK_FALSE(try_it(node).ok());
}

TEST_CASE("Each lap of a loop has all of the attempts") {
    int calls = 0;
    int laps = 0;
    Node first{"first", [&] {
                   if (++calls % 3 != 0) throw std::runtime_error("again");
               }};
    Node last{"last", [] {}};
    first.retry(3).connect(last);
    last.on_after_run([&, again = first.ref()](const AnyNode& self) {
        if (++laps < 4) self.connect(again.lock());
    });
    CHECK(try_it(first).ok());
    CHECK(laps == 4);
    CHECK(calls == 12);
}

// ---- what is tried again, and what is not -------------------------------------------------------

TEST_CASE("A node that skips itself or throws Cancelled is not tried again") {
    const bool skips = GENERATE(true, false);
    const bool late = GENERATE(true, false);
    int calls = 0;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  if (late) co_await sleep_for(1s);
                  if (skips) co_await skip("enough");
                  throw Cancelled();
              }};
    node.retry(RetryPolicy{3}.when([](const std::exception_ptr&) -> bool {
        FAIL("nobody is asked about it");
        return true;
    }));
    CHECK(try_it(node).ok());
    CHECK(node.state() == (skips ? NodeState::skipped : NodeState::cancelled));
    CHECK(calls == 1);
}

TEST_CASE("The predicate chooses the errors that are worth another attempt") {
    Node by_type{"by_type", [](NodeContext& context) {
                     if (context.attempt() < 3) throw std::out_of_range("again");
                     throw std::invalid_argument("for good");
                 }};
    by_type.retry(RetryPolicy{9}.when([](const std::out_of_range&) { return true; }));
    RunReport report = try_it(by_type);
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == 3);
    CHECK(holds<std::invalid_argument>(report.errors()[0].cause()));

    Log asked;
    Node by_text{"by_text", Flaky{100}};
    by_text.retry(RetryPolicy{9}.when([&](const std::exception_ptr& error) {
        asked.push_back(text_of(error));
        return asked.size() < 2;
    }));
    report = try_it(by_text);
    CHECK(asked == Log{"attempt 1", "attempt 2"});
    CHECK(report.errors().at(0).attempts() == 2);
    CHECK(text_of(report.errors().at(0).cause()) == "attempt 2");
}

TEST_CASE("The predicate is not asked after the last attempt") {
    int asked = 0;
    Node node{"node", Flaky{100}};
    node.retry(RetryPolicy{3}.when([&](const std::exception_ptr&) { return ++asked > 0; }));
    CHECK_FALSE(try_it(node).ok());
    CHECK(asked == 2);
}

TEST_CASE("A predicate that throws fails the node with what it threw") {
    Node node{"node", Flaky{100}};
    node.retry(RetryPolicy{3}.when(
        [](const std::exception_ptr&) -> bool { throw std::logic_error("no idea"); }));
    const RunReport report = try_it(node);
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == 1);
    CHECK(text_of(report.errors()[0].cause()) == "no idea");
}

TEST_CASE("The predicate is asked about a timeout as about any error") {
    const bool wanted = GENERATE(true, false);
    Node node{"node", []() -> Task<> { co_await sleep_for(10s); }};
    int asked = 0;
    node.timeout(1s).retry(RetryPolicy{3}.when([&](const TimeoutError& error) {
        CHECK_THAT(error.what(), ContainsSubstring("'node'") && ContainsSubstring("1 s"));
        ++asked;
        return wanted;
    }));
    const RunReport report = try_it(node);
    CHECK(asked == (wanted ? 2 : 1));
    CHECK(report.elapsed() == (wanted ? 3s : 1s));
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == (wanted ? 3U : 1U));
    CHECK(holds<TimeoutError>(report.errors()[0].cause()));
}

TEST_CASE("on_before_run and on_after_run are called once, whatever the number of attempts") {
    Log log;
    Node node{"node", [&](NodeContext& context) {
                  log.push_back("body");
                  if (context.attempt() < 3) throw std::runtime_error("again");
              }};
    node.retry(3)
        .on_before_run([&]() -> Task<> {
            co_await sleep_for(1s);
            log.push_back("before");
        })
        .on_after_run([&] { log.push_back("after"); });
    CHECK(try_it(node).ok());
    CHECK(log == Log{"before", "body", "body", "body", "after"});
}

TEST_CASE("A callback that throws fails the node: that is no attempt, and is not tried again") {
    const bool before = GENERATE(true, false);
    const bool late = GENERATE(true, false);
    int calls = 0;
    const auto broken = [&]() -> Task<> {
        if (late) co_await sleep_for(1s);
        throw std::runtime_error("broken callback");
    };
    Node node{"node", [&] { ++calls; }};
    node.retry(3);
    if (before) {
        node.on_before_run(broken);
    } else {
        node.on_after_run(broken);
    }
    const RunReport report = try_it(node);
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == (before ? 0U : 1U));
    CHECK(text_of(report.errors()[0].cause()) == "broken callback");
    CHECK(calls == (before ? 0 : 1));
}

// ---- arguments ----------------------------------------------------------------------------------

TEST_CASE("Arguments are kept for the next attempt, whatever an attempt did to its own") {
    Node source{"source", [] { return std::string("forwarded"); }};
    Node child{"child",
               [](NodeContext& context, std::string a, std::string b, std::string c,
                  std::vector<std::string> list, const std::string& seen) {
                   CHECK(a == "bound");
                   CHECK(b == "forwarded");
                   CHECK(c == "forwarded!");
                   CHECK(list == Log{"forwarded", "forwarded?"});
                   CHECK(seen == "forwarded");
                   const std::string spent =
                       std::move(a) + std::move(b) + std::move(c) + std::move(list[0]);
                   if (context.attempt() < 3) throw std::runtime_error("again");
                   return spent;
               },
               "a"_a = "bound",
               "b"_a = source,
               "c"_a = source.map([](const std::string& text) { return text + "!"; }),
               "list"_args =
                   gather(source, source.map([](const std::string& text) { return text + "?"; })),
               "seen"_a = source};
    child.retry(3);
    for (int run = 0; run < 2; ++run) {
        CHECK(try_it(child).ok());
        CHECK(child.output() == "boundforwardedforwarded!forwarded");
    }
}

TEST_CASE("A deferred argument is evaluated anew in each attempt") {
    int evaluated = 0;
    Node plain{"plain",
               [](NodeContext& context, int x) {
                   CHECK(x == static_cast<int>(context.attempt()));
                   if (context.attempt() < 3) throw std::runtime_error("again");
                   return x;
               },
               "x"_a = [&] { return ++evaluated; }};
    plain.retry(3);
    CHECK(try_it(plain).ok());
    CHECK(plain.output() == 3);

    Node unique{"unique",
                [](NodeContext& context, std::unique_ptr<int> x) {
                    if (context.attempt() < 3) throw std::runtime_error("again");
                    return *x;
                },
                "x"_a = [&]() -> Task<std::unique_ptr<int>> {
                    co_await sleep_for(1s);
                    co_return std::make_unique<int>(++evaluated);
                }};
    unique.retry(3);
    CHECK(try_it(unique).ok());
    CHECK(unique.output() == 6);
}

TEST_CASE("A deferred argument that throws fails the attempt, which is tried again") {
    const bool late = GENERATE(true, false);
    int evaluated = 0;
    int calls = 0;
    Node node{"node", [&](int x) { return ++calls, x; },
              "x"_a = [&]() -> Task<int> {
                  if (late) co_await sleep_for(1s);
                  if (++evaluated < 3) throw std::runtime_error("no argument");
                  co_return evaluated;
              }};
    node.retry(RetryPolicy{3}.backoff(10s, 1.0));
    const RunReport report = try_it(node);
    CHECK(report.ok());
    CHECK(node.output() == 3);
    CHECK(calls == 1);
    CHECK(report.elapsed() == (late ? 23s : 20s));
    evaluated = -10;
    CHECK(try_it(node).errors().at(0).attempts() == 3);
    CHECK(calls == 1);
}

TEST_CASE("The time of deferred arguments counts against the attempt's timeout") {
    int evaluated = 0;
    Node node{"node",
              [](int x) -> Task<int> {
                  co_await sleep_for(2s);
                  co_return x;
              },
              "x"_a = [&]() -> Task<int> {
                  ++evaluated;
                  co_await sleep_for(evaluated == 1 ? 10s : evaluated == 2 ? 3s : 1s);
                  co_return evaluated;
              }};
    node.timeout(4s).retry(3);
    const RunReport report = try_it(node);
    CHECK(report.ok());
    CHECK(node.output() == 3);
    CHECK(report.elapsed() == 4s + 4s + 3s);
}

TEST_CASE("A move-only value taken by value is refused before anything starts") {
    int started = 0;
    Node source{"source", [&] {
                    ++started;
                    return std::make_unique<int>(1);
                }};
    const auto take = [](std::unique_ptr<int> x) { return *x; };
    const auto take_all = [](std::vector<std::unique_ptr<int>> xs) { return xs.size(); };
    const auto take_by_move = [](std::shared_ptr<int> x) { return *x; };
    const auto check = [&](const AnyNode& node) {
        TreeExecutor executor{node};
        EventLoop loop{virtual_time};
        CHECK_THROWS_AS(loop.run(executor.run()), ForwardingTypeError);
        CHECK_THROWS_WITH(loop.run(executor.run()),
                          ContainsSubstring("'taker'") && ContainsSubstring("'x") &&
                              ContainsSubstring("retry") && ContainsSubstring("const reference"));
        CHECK(started == 0);
        CHECK(node.state() == NodeState::pending);
    };
    check(AnyNode(Node{"taker", take, "x"_a = source}.retry(2)));
    source.disconnect(source.children().at(0));
    check(AnyNode(Node{"taker", take, "x"_a = std::make_unique<int>(2)}.retry(2)));
    check(AnyNode(Node{
        "taker", take, "x"_a = source.map([](const std::unique_ptr<int>& p) {
            return std::make_unique<int>(*p);
        })}.retry(2)));
    check(AnyNode(Node{"taker", take_by_move, "x"_a = source}.retry(2)));
    source.disconnect(source.children().at(1));
    check(AnyNode(Node{"taker", take_all, "xs"_args = gather(source)}.retry(2)));
}

TEST_CASE("A move-only value seen as a const reference may be seen by every attempt") {
    Node source{"source", [] { return std::make_unique<int>(1); }};
    Node node{"node",
              [](NodeContext& context, const std::unique_ptr<int>& a, const std::unique_ptr<int>& b,
                 const std::unique_ptr<int>& c) {
                  if (context.attempt() < 3) throw std::runtime_error("again");
                  return *a + *b + *c;
              },
              "a"_a = source, "b"_a = std::make_unique<int>(10),
              "c"_a = source.map(
                  [](const std::unique_ptr<int>& p) { return std::make_unique<int>(*p + 99); })};
    node.retry(3);
    for (int run = 0; run < 2; ++run) {
        CHECK(try_it(node).ok());
        CHECK(node.output() == 111);
    }
}

TEST_CASE("The setting that comes last is checked as well: bind after retry, retry after a run") {
    Node node{"node", [](std::unique_ptr<int> x) { return *x; },
              "x"_a = [] { return std::make_unique<int>(1); }};
    node.retry(2);
    CHECK(try_it(node).ok());
    node.bind("x"_a = std::make_unique<int>(2));
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(TreeExecutor{node}.run()), ForwardingTypeError);

    Node other{"other", [](std::unique_ptr<int> x) { return *x; }, "x"_a};
    Node source{"source", [] { return std::make_unique<int>(1); }};
    source.connect(other, "x"_a);
    TreeExecutor executor{source};
    CHECK(loop.run(executor.run()).ok());
    other.retry(2);
    CHECK_THROWS_AS(loop.run(executor.run()), ForwardingTypeError);
}

TEST_CASE("A node at an end of a pipe cannot retry") {
    const bool at_reader = GENERATE(true, false);
    int started = 0;
    Node producer{"producer", [&]() -> AsyncGenerator<int> {
                      ++started;
                      co_yield 1;
                  }};
    Node reader{"reader",
                [](AsyncGenerator<int> items) -> Task<> {
                    while (co_await items.next()) {
                    }
                },
                "items"_a};
    producer.connect(reader, "items"_a);
    if (at_reader) {
        reader.retry(2);
    } else {
        producer.retry(2);
    }
    EventLoop loop{virtual_time};
    TreeExecutor executor{producer};
    CHECK_THROWS_AS(loop.run(executor.run()), ForwardingTypeError);
    CHECK_THROWS_WITH(
        loop.run(executor.run()),
        ContainsSubstring(at_reader ? "'reader' cannot retry" : "'producer' cannot retry"));
    CHECK(started == 0);
}

// ---- time ---------------------------------------------------------------------------------------

TEST_CASE("timeout() counts for each attempt alone, and not for pauses and callbacks") {
    int calls = 0;
    Node node{"node", [&]() -> Task<int> {
                  co_await sleep_for(++calls < 3 ? 5s : 1s);
                  co_return calls;
              }};
    node.timeout(2s)
        .retry(RetryPolicy{3}.backoff(10s, 1.0))
        .on_before_run([] { return sleep_for(100s); })
        .on_after_run([] { return sleep_for(100s); });
    const RunReport report = try_it(node);
    CHECK(report.ok());
    CHECK(node.output() == 3);
    CHECK(report.elapsed() == 100s + 2s + 10s + 2s + 10s + 1s + 100s);
    CHECK(node.runtime() == report.elapsed());
}

TEST_CASE("An attempt that swallows Cancelled has timed out all the same, and is tried again") {
    const int how = GENERATE(0, 1, 2, 3, 4);
    int calls = 0;
    Node node{"node", [&](NodeContext& context) -> Task<int> {
                  ++calls;
                  if (context.attempt() == 3) co_return 3;
                  try {
                      co_await sleep_for(10s);
                  } catch (const Cancelled&) {
                      if (how == 3) throw;
                  }
                  CHECK(context.cancelled());
                  if (how >= 1) co_await sleep_for(1s);  // cleans up
                  if (how == 2) throw std::runtime_error("its own error");
                  if (how == 4) throw Skip("out of time");
                  co_return 0;
              }};
    std::vector<bool> timeouts;
    node.timeout(2s).retry(RetryPolicy{3}.when([&](const std::exception_ptr& error) {
        timeouts.push_back(holds<TimeoutError>(error));
        return true;
    }));
    const RunReport report = try_it(node);
    CHECK(report.ok());
    CHECK(node.output() == 3);
    CHECK(report.elapsed() == (how == 0 || how == 3 ? 4s : 6s));
    CHECK(timeouts == std::vector<bool>(2, how != 2));

    // What the last attempt ends with is judged alike.
    node.retry(2);
    const RunReport failed = try_it(node);
    REQUIRE(failed.errors().size() == 1);
    CHECK(holds<TimeoutError>(failed.errors()[0].cause()) == (how != 2));
}

TEST_CASE("After a timeout the next attempt is not cancelled any more") {
    Node node{"node", [](NodeContext& context) -> Task<int> {
                  CHECK_FALSE(context.cancelled());
                  co_await sleep_for(context.attempt() == 1 ? 9s : 1s);
                  co_await sleep_for(1s);
                  CHECK_FALSE(context.cancelled());
                  co_return 1;
              }};
    node.timeout(3s).retry(2);
    CHECK(try_it(node).elapsed() == 5s);
    CHECK(node.output() == 1);
}

TEST_CASE("A timeout of nothing or less ends each attempt at its first suspension; max() is none") {
    const nanoseconds limit = GENERATE(0ns, -1ns, nanoseconds::min(), nanoseconds::max());
    const bool total = GENERATE(true, false);
    CAPTURE(limit.count(), total);
    int calls = 0;
    int past = 0;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  co_await sleep_for(1h);
                  ++past;
              }};
    node.retry(3);
    if (total) {
        node.total_timeout(limit);
    } else {
        node.timeout(limit);
    }
    const RunReport report = try_it(node);
    if (limit == nanoseconds::max()) {
        CHECK(report.ok());
        CHECK(report.elapsed() == 1h);
        return;
    }
    CHECK(report.elapsed() == 0s);
    CHECK(past == 0);
    CHECK(calls == (total ? 1 : 3));
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == (total ? 1U : 3U));
    CHECK(holds<TimeoutError>(report.errors()[0].cause()));
}

TEST_CASE("total_timeout() is wall time from the first start: attempts, pauses and callbacks") {
    Times starts;
    Node node{"node", [&]() -> Task<> {
                  starts.push_back(now());
                  co_await sleep_for(2s);
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{100}.backoff(3s, 1.0)).on_before_run([] { return sleep_for(1s); });
    const nanoseconds limit = GENERATE(12s, 14s);  // within an attempt, within a pause
    node.total_timeout(limit);
    const RunReport report = try_it(node);
    CHECK(starts == Times{1s, 6s, 11s});
    CHECK(report.elapsed() == limit);
    REQUIRE(report.errors().size() == 1);
    CHECK(report.errors()[0].attempts() == 3);
    CHECK(holds<TimeoutError>(report.errors()[0].cause()));
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("total_timeout"));
}

TEST_CASE("total_timeout() holds for an attempt that cleans up after its own timeout") {
    int calls = 0;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  try {
                      co_await sleep_for(100s);
                  } catch (const Cancelled&) {
                  }
                  co_await sleep_for(10s);
              }};
    node.timeout(2s).total_timeout(5s).retry(100);
    const RunReport report = try_it(node);
    CHECK(calls == 1);
    CHECK(report.elapsed() == 5s);
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("total_timeout"));
}

TEST_CASE(
    "total_timeout() reaches attempts that follow each other without a pause or a suspension") {
    // On the real clock: nothing here lets time pass but the attempts.
    int calls = 0;
    Node node{"node", [&] {
                  ++calls;
                  throw std::runtime_error("always");
              }};
    node.retry(4'000'000'000U).total_timeout(20ms);
    EventLoop loop;
    const RunReport report = loop.run(TreeExecutor{node}.try_run());
    CHECK(report.elapsed() >= 20ms);
    CHECK(calls > 1);
    CHECK(holds<TimeoutError>(report.errors().at(0).cause()));
}

TEST_CASE("Time parked on a chunk counts against total_timeout, and not against timeout") {
    const bool total = GENERATE(true, false);
    Node node{"node", []() -> AsyncGenerator<int> {
                  for (int i = 0; i < 3; ++i) {
                      co_await sleep_for(1s);
                      co_yield i;
                  }
              }};
    node.retry(3);
    if (total) {
        node.total_timeout(30s);
    } else {
        node.timeout(4s);
    }
    EventLoop loop{virtual_time};
    TreeExecutor executor{node};
    int chunks = 0;
    const auto read = [&]() -> Task<> {
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() != EventKind::chunk) continue;
            CHECK(event->attempt() == 1);
            ++chunks;
            co_await sleep_for(20s);
        }
    };
    if (total) {
        CHECK_THROWS_AS(loop.run(read()), RunError);
        CHECK(chunks == 2);
        CHECK(loop.now().time_since_epoch() == 42s);
    } else {
        loop.run(read());
        CHECK(chunks == 3);
        CHECK(loop.now().time_since_epoch() == 63s);
    }
}

// ---- events and chunks --------------------------------------------------------------------------

TEST_CASE("A timeout goes on after a chunk with what was left of it") {
    Node node{"node", []() -> AsyncGenerator<int> {
                  co_await sleep_for(3s);
                  co_yield 1;
                  co_await sleep_for(3s);
              }};
    node.timeout(4s);
    EventLoop loop{virtual_time};
    const TreeExecutor executor{node};
    const auto read = [&]() -> Task<> {
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::chunk) co_await sleep_for(20s);
        }
    };
    CHECK_THROWS_AS(loop.run(read()), RunError);
    CHECK(executor.report().elapsed() == 24s);
}

TEST_CASE("A timeout reaches a node that stands in line for its place after a pause") {
    Node node{"node", [] { throw std::runtime_error("always"); }};
    node.retry(RetryPolicy{2}.backoff(1s)).total_timeout(5s);
    Node other{"other", [] { return sleep_for(60s); }};
    TreeExecutor executor{node, other};
    executor.max_concurrency(1).on_error(ErrorPolicy::fail_fast);
    const RunReport report = EventLoop(virtual_time).run(executor.try_run());
    CHECK(report.elapsed() == 5s);  // its failure ends the other
    REQUIRE(report.errors().size() == 1);
    CHECK(holds<TimeoutError>(report.errors()[0].cause()));
}

TEST_CASE("Each failed attempt that is followed by another is told as retrying") {
    Node node{"node", [](NodeContext& context) -> Task<> {
                  co_await sleep_for(1s);
                  if (context.attempt() < 3) {
                      throw std::runtime_error("no " + std::to_string(context.attempt()));
                  }
              }};
    node.retry(RetryPolicy{3}.backoff(10s, 3.0));
    EventLoop loop{virtual_time};
    Log log;
    for (const Event& event : iterate(loop, TreeExecutor{node}.yielding())) {
        std::string line = std::to_string(loop.now().time_since_epoch() / 1s) + " s: ";
        line += name_of(event.kind());
        line += " " + std::to_string(event.attempt());
        line += " " + std::to_string(event.delay() / 1s) + " s";
        if (event.error() != nullptr) {
            CHECK(event.kind() == EventKind::retrying);
            CHECK(event.error()->node() == node);
            CHECK(event.error()->attempts() == event.attempt());
            CHECK_THAT(event.error()->what(), ContainsSubstring("'node'"));
            line += " " + text_of(event.error()->cause());
            CHECK(node.state() == NodeState::ready);
        }
        log.push_back(line);
    }
    CHECK(log == Log{"0 s: started 1 0 s", "1 s: retrying 1 10 s no 1",
                     "12 s: retrying 2 30 s no 2", "43 s: completed 3 0 s"});
}

TEST_CASE("The last failure is told as failed, with its attempt") {
    Node node{"node", Flaky{9}};
    node.retry(2);
    CHECK(events_of(TreeExecutor{node}) == Log{"started", "retrying", "failed"});
}

TEST_CASE("A retrying event keeps its error though the node has gone on, or has ended") {
    Node node{"node", Flaky{3}};
    node.retry(4);
    EventLoop loop{virtual_time};
    const auto read = [&]() -> Task<Log> {
        Log log;
        auto events = TreeExecutor{node}.yielding();
        while (auto event = co_await events.next()) {
            co_await sleep_for(1s);
            if (event->error() != nullptr) log.push_back(text_of(event->error()->cause()));
        }
        co_return log;
    };
    CHECK(loop.run(read()) == Log{"attempt 1", "attempt 2", "attempt 3"});
}

TEST_CASE("Chunks carry their attempt, and those of a failed one do not enter the output") {
    const std::size_t ahead = GENERATE(0U, 1U, 100U);
    CAPTURE(ahead);
    Node node{"node", [](NodeContext& context) -> AsyncGenerator<int> {
                  for (int i = 0; i < 4; ++i) {
                      if (context.attempt() < 3 && i == 2) throw std::runtime_error("again");
                      co_yield static_cast<int>(context.attempt()) * 10 + i;
                  }
              }};
    node.retry(3).buffer(ahead);
    Log log;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{node}.yielding())) {
        if (const auto chunk = event.chunk(node)) {
            CHECK(chunk->attempt == event.attempt());
            CHECK(chunk->output / 10 == static_cast<int>(chunk->attempt));
            log.push_back(std::to_string(chunk->output));
        } else {
            log.push_back(name_of(event.kind()));
        }
    }
    CHECK(log == Log{"started", "10", "11", "retrying", "20", "21", "retrying", "30", "31", "32",
                     "33", "completed"});
    CHECK(node.output() == std::vector<int>{30, 31, 32, 33});
    CHECK(try_it(node).ok());
    CHECK(node.output() == std::vector<int>{30, 31, 32, 33});
}

TEST_CASE("A reader that is slow sees the attempt that yielded what it reads") {
    Node node{"node", [](NodeContext& context) -> AsyncGenerator<unsigned> {
                  co_yield context.attempt();
                  co_yield context.attempt();
                  if (context.attempt() < 3) throw std::runtime_error("again");
              }};
    node.retry(3).buffer(100);
    EventLoop loop{virtual_time};
    int chunks = 0;
    const auto read = [&]() -> Task<> {
        auto events = TreeExecutor{node}.yielding();
        while (auto event = co_await events.next()) {
            co_await sleep_for(1s);
            if (const auto chunk = event->chunk(node)) {
                CHECK(chunk->output == chunk->attempt);
                ++chunks;
            }
        }
    };
    loop.run(read());
    CHECK(chunks == 6);
}

// ---- ends from outside --------------------------------------------------------------------------

namespace {

Task<> stop_after(const TreeExecutor& executor, nanoseconds delay) {
    co_await sleep_for(delay);
    executor.stop();
}

}  // namespace

TEST_CASE("Nothing is tried again after stop(): not out of an attempt, nor out of a pause") {
    const nanoseconds when = GENERATE(1s, 5s);
    const bool swallows = GENERATE(true, false);
    int calls = 0;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  try {
                      co_await sleep_for(3s);
                  } catch (const Cancelled&) {
                      if (!swallows) throw;
                  }
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{3}.backoff(3s));
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_after(executor, when));
        co_await executor.try_run();
    };
    loop.run(main());
    CHECK(calls == 1);
    CHECK(loop.now().time_since_epoch() == when);
    // Its own error after the stop stands; in the pause there is none.
    const bool failed = when == 1s && swallows;
    CHECK(node.state() == (failed ? NodeState::failed : NodeState::cancelled));
    CHECK(executor.report().stopped());
}

TEST_CASE("stop() from the body, the predicate or the reader of retrying ends the attempts") {
    enum class From { body, predicate, reader };
    const From from = GENERATE(From::body, From::predicate, From::reader);
    const nanoseconds pause = GENERATE(0s, 1s);
    CAPTURE(static_cast<int>(from), pause.count());
    std::optional<TreeExecutor> executor;
    int calls = 0;
    Node node{"node", [&] {
                  ++calls;
                  if (from == From::body) executor->stop();
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{5}.backoff(pause).when([&](const std::exception_ptr&) {
        if (from == From::predicate) executor->stop();
        return true;
    }));
    executor.emplace(node);
    Log log;
    EventLoop loop{virtual_time};
    try {
        for (const Event& event : iterate(loop, executor->yielding())) {
            log.push_back(name_of(event.kind()));
            if (from == From::reader && event.kind() == EventKind::retrying) executor->stop();
        }
        FAIL("the run was stopped");
    } catch (const RunError& error) {
        CHECK(error.stopped());
    }
    if (from == From::reader) {
        // Without a pause the next attempt may have begun before the event is read.
        CHECK(calls <= (pause == 0s ? 2 : 1));
        if (pause > 0s) CHECK(log == Log{"started", "retrying", "cancelled"});
        CHECK(log.back() == "cancelled");
    } else {
        CHECK(calls == 1);
        CHECK(log == Log{"started", "failed"});
    }
    executor.reset();
}

TEST_CASE("stop() reaches attempts that follow each other without a pause or a suspension") {
    int calls = 0;
    Node node{"node", [&] {
                  ++calls;
                  throw std::runtime_error("always");
              }};
    node.retry(4'000'000'000U);
    TreeExecutor executor{node};
    EventLoop loop;
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_after(executor, 20ms));
        co_await executor.try_run();
    };
    loop.run(main());
    CHECK(calls > 1);
    CHECK(node.state() == NodeState::cancelled);
}

namespace {

// An awaitable of another library: opened by hand, cannot be cancelled.
class Gate {
public:
    class Awaiter {
    public:
        explicit Awaiter(Gate& gate) noexcept : gate_(gate) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const noexcept {
            gate_.waiting_ = handle;
        }
        void await_resume() const noexcept {}

    private:
        Gate& gate_;
    };
    Awaiter operator co_await() noexcept { return Awaiter(*this); }
    void open() {
        if (waiting_) std::exchange(waiting_, {}).resume();
    }

private:
    std::coroutine_handle<> waiting_;
};

Task<> open_after(Gate& gate, nanoseconds delay) {
    co_await sleep_for(delay);
    gate.open();
}

}  // namespace

TEST_CASE("An attempt in a foreign await times out when that resumes, and is then tried again") {
    Gate gate;
    Node node{"node", [&](NodeContext& context) -> Task<unsigned> {
                  if (context.attempt() == 1) co_await gate;
                  co_return context.attempt();
              }};
    node.timeout(1s).retry(2);
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(open_after(gate, 5s));
        co_await TreeExecutor{node}.run();
    };
    loop.run(main());
    CHECK(node.output() == 2);
    CHECK(node.runtime() == 5s);
}

TEST_CASE("A run dropped while an attempt is in a foreign await is not tried again after it") {
    Counted::reset();
    int calls = 0;
    {
        Gate gate;
        Node node{"node",
                  [&](Counted x) -> Task<> {
                      ++calls;
                      co_await gate;
                      throw std::runtime_error("again " + std::to_string(x.value));
                  },
                  "x"_a = Counted(1)};
        node.timeout(1s).retry(3);
        std::optional<AsyncGenerator<Event>> events;
        const auto main = [&]() -> Task<> {
            EventLoop::current().spawn(open_after(gate, 5s));
            events.emplace(TreeExecutor{node}.yielding());
            co_await events->next();
            co_await sleep_for(2s);
            events.reset();
            co_await sleep_for(9s);
        };
        EventLoop(virtual_time).run(main());
        CHECK(calls == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE(
    "A failure elsewhere ends attempts and pauses under fail_fast, and not under keep_going") {
    const bool keeps_going = GENERATE(true, false);
    const nanoseconds when = GENERATE(1s, 5s);
    int calls = 0;
    Node node{"node", [&]() -> Task<> {
                  co_await sleep_for(3s);
                  if (++calls < 3) throw std::runtime_error("again");
              }};
    node.retry(RetryPolicy{3}.backoff(3s, 1.0));
    Node broken{"broken", [&]() -> Task<> {
                    co_await sleep_for(when);
                    throw std::runtime_error("broken");
                }};
    TreeExecutor executor{node, broken};
    executor.on_error(keeps_going ? ErrorPolicy::keep_going : ErrorPolicy::fail_fast);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.errors().size() == 1);
    CHECK(node.state() == (keeps_going ? NodeState::completed : NodeState::cancelled));
    CHECK(report.elapsed() == (keeps_going ? 15s : when));
}

TEST_CASE("A node of trigger all_settled is tried again after a failure and the first stop()") {
    int calls = 0;
    Node broken{"broken", [] { throw std::runtime_error("broken"); }};
    Node last{"last", [&]() -> Task<> {
                  co_await sleep_for(1s);
                  if (++calls < 3) throw std::runtime_error("again");
              }};
    last.trigger(Trigger::all_settled).retry(RetryPolicy{5}.backoff(1s, 1.0));
    broken.connect(last);
    TreeExecutor executor{broken};
    EventLoop loop{virtual_time};
    const int stops = GENERATE(0, 1, 2);
    const auto main = [&]() -> Task<> {
        if (stops >= 1) EventLoop::current().spawn(stop_after(executor, 1500ms));
        if (stops >= 2) EventLoop::current().spawn(stop_after(executor, 1600ms));
        co_await executor.try_run();
    };
    loop.run(main());
    CHECK(last.state() == (stops < 2 ? NodeState::completed : NodeState::cancelled));
    CHECK(loop.now().time_since_epoch() == (stops < 2 ? 5s : nanoseconds(1600ms)));
}

TEST_CASE("Cancelling who awaits the run ends attempts and pauses") {
    const nanoseconds when = GENERATE(1s, 5s);
    int calls = 0;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  co_await sleep_for(3s);
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{3}.backoff(3s));
    TreeExecutor executor{node};
    Node outer{"outer", [&]() -> Task<> { co_await executor.run(); }};
    outer.timeout(when);
    CHECK(try_it(outer).elapsed() == when);
    CHECK(outer.state() == NodeState::failed);
    CHECK(node.state() == NodeState::cancelled);
    CHECK(calls == 1);
}

TEST_CASE("A pause needs no place under max_concurrency, the next attempt does") {
    Log log;
    const auto say = [&](const std::string& what) {
        log.push_back(std::to_string(now() / 1s) + " " + what);
    };
    Node flaky{"flaky", [&](NodeContext& context) -> Task<> {
                   say("flaky");
                   co_await sleep_for(1s);
                   if (context.attempt() < 3) throw std::runtime_error("again");
               }};
    flaky.retry(RetryPolicy{3}.backoff(2s, 1.0));
    Node a{"a", [&]() -> Task<> {
               say("a");
               co_await sleep_for(1s);
           }};
    Node b{"b", [&]() -> Task<> {
               say("b");
               co_await sleep_for(5s);
           }};
    TreeExecutor executor{flaky, a, b};
    executor.max_concurrency(1);
    EventLoop(virtual_time).run(executor.run());
    CHECK(log == Log{"0 flaky", "1 a", "2 b", "7 flaky", "10 flaky"});
}

TEST_CASE("The state in a pause is ready, and the runtime counts from the first start") {
    Node other{"other", []() -> Task<> { co_await sleep_for(5s); }};
    Node node{"node", []() -> Task<> {
                  co_await sleep_for(3s);
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{3}.backoff(4s));
    other.connect(node);
    TreeExecutor executor{other};
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_after(executor, 10s));
        const auto look = [&]() -> Task<> {
            co_await sleep_for(9s);
            CHECK(node.state() == NodeState::ready);
            CHECK_THROWS_AS(node.retry(1), SafeExecutionError);
        };
        EventLoop::current().spawn(look());
        co_await executor.try_run();
    };
    loop.run(main());
    CHECK(node.state() == NodeState::cancelled);
    CHECK(node.runtime() == 5s);
}

// ---- nothing is left behind ---------------------------------------------------------------------

namespace {

Task<int> counted_body(NodeContext& context, Counted argument, const Counted& seen) {
    const Counted local(argument.value + seen.value);
    co_await sleep_for(1s);
    if (context.attempt() < 3) throw std::runtime_error("again");
    co_return local.value;
}

AsyncGenerator<Counted> counted_generator(NodeContext& context, Counted argument) {
    const Counted local(argument.value);
    for (int i = 0; i < 2; ++i) {
        Counted chunk(local.value + i);
        co_yield chunk;
        co_await sleep_for(1s);
    }
    if (context.attempt() < 3) throw std::runtime_error("again");
}

}  // namespace

TEST_CASE("A stream that retries may be dropped at every event, and leaves nothing behind") {
    Counted::reset();
    int events = 0;
    for (int keep = 0; keep <= events; ++keep) {
        CAPTURE(keep);
        {
            Node source{"source", [] { return Counted(1); }};
            Node body{"body", counted_body, "argument"_a = source,
                      "seen"_a = [] { return Counted(2); }};
            Node generator{"generator", counted_generator, "argument"_a = []() -> Task<Counted> {
                               co_await sleep_for(1s);
                               co_return Counted(3);
                           }};
            body.connect(generator);
            body.timeout(10s).retry(RetryPolicy{3}.backoff(1s));
            generator.total_timeout(100s).retry(3).buffer(static_cast<std::size_t>(keep % 2));
            TreeExecutor executor{source};
            int seen = 0;
            EventLoop loop{virtual_time};
            for (const Event& event : iterate(loop, executor.yielding())) {
                static_cast<void>(event);
                if (seen++ == keep) break;
            }
            events = std::max(events, seen);
            // It runs again, whole.
            CHECK(loop.run(executor.run()).ok());
            CHECK(body.output() == 3);
            CHECK(generator.output().size() == 2);
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(events > 12);
}

TEST_CASE("A run dropped at any time of attempts and pauses leaves nothing behind") {
    Counted::reset();
    for (int ticks = 0; ticks < 20; ++ticks) {
        CAPTURE(ticks);
        {
            Node body{"body", counted_body, "argument"_a = Counted(1), "seen"_a = Counted(2)};
            body.timeout(10s).total_timeout(90s).retry(RetryPolicy{3}.backoff(1s));
            Node clock{"clock", []() -> AsyncGenerator<int> {
                           for (int i = 0; i < 20; ++i) {
                               co_yield i;
                               co_await sleep_for(500ms);
                           }
                       }};
            EventLoop loop{virtual_time};
            TreeExecutor executor{body, clock};
            executor.max_concurrency(1 + static_cast<std::size_t>(ticks) % 2);
            for (const Event& event : iterate(loop, executor.yielding())) {
                if (const auto chunk = event.chunk(clock); chunk && chunk->output == ticks) break;
            }
            CHECK(body.state() >= NodeState::completed);
            CHECK(loop.run(executor.run()).ok());
        }
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("A body that drops its own run is not tried again") {
    const bool timed = GENERATE(true, false);
    const bool plain_end = GENERATE(true, false);
    int calls = 0;
    bool asked = false;
    std::optional<AsyncGenerator<Event>> events;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  try {
                      co_await sleep_for(timed ? 9s : 500ms);
                  } catch (const Cancelled&) {
                  }
                  events.reset();
                  if (!plain_end) throw std::runtime_error("always");
              }};
    node.timeout(1s).retry(RetryPolicy{3}.when([&](const std::exception_ptr&) {
        asked = true;
        return true;
    }));
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        events.emplace(TreeExecutor{node}.yielding());
        co_await events->next();
        co_await sleep_for(20s);  // holds the first event, asks for no other
    };
    loop.run(main());
    CHECK(calls == 1);
    CHECK_FALSE(asked);
    CHECK_FALSE(events.has_value());
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("A predicate that drops the run ends it there") {
    int calls = 0;
    std::optional<AsyncGenerator<Event>> events;
    Node node{"node", [&]() -> Task<> {
                  ++calls;
                  co_await sleep_for(1s);
                  throw std::runtime_error("always");
              }};
    node.retry(RetryPolicy{3}.when([&](const std::exception_ptr&) {
        events.reset();
        return true;
    }));
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        events.emplace(TreeExecutor{node}.yielding());
        co_await events->next();
        co_await sleep_for(20s);
    };
    loop.run(main());
    CHECK(calls == 1);
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("Run inside a body, a flow retries as a whole") {
    int calls = 0;
    Node inner{"inner", [&] {
                   if (++calls < 5) throw std::runtime_error("again");
               }};
    inner.retry(2);
    Node outer{"outer", [&]() -> Task<> {
                   TreeExecutor executor{"inner run", inner};
                   co_await executor.run();
               }};
    outer.retry(RetryPolicy{3}.when([](const RunError&) { return true; }));
    CHECK(try_it(outer).ok());
    CHECK(calls == 5);
}

// ---- against a model ----------------------------------------------------------------------------

namespace {

// A schedule: what each attempt does, and what the node allows. No two of its times fall together:
// works and clean-ups are multiples of 4 ns, pauses of 2, timeouts lie between two works, and total
// timeouts are odd.
struct Attempt {
    enum class Ends { value, error, other_error, skip };
    nanoseconds work{};
    std::optional<nanoseconds> clean_up;  // after a cancellation; without, it lets that pass
    Ends ends = Ends::value;
};

struct Schedule {
    std::vector<Attempt> attempts;
    nanoseconds timeout = nanoseconds::max();
    nanoseconds total = nanoseconds::max();
    std::optional<RetryPolicy> policy;
    bool only_errors = false;  // other errors and timeouts are not retried
};

struct Ending {
    NodeState state = NodeState::completed;
    nanoseconds end{};
    unsigned attempts = 0;
    bool timed_out = false;
};

// Under the sanitizers, which take ten times as long, a tenth of the schedules will do.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer);
#else
constexpr bool sanitized = false;
#endif

struct OtherError : std::logic_error {
    using std::logic_error::logic_error;
};

Ending outcome_of(const Schedule& schedule, std::uint64_t stream) {
    Ending outcome;
    nanoseconds start{};
    for (;;) {
        const Attempt& attempt = schedule.attempts[outcome.attempts++];
        const nanoseconds limit =
            schedule.timeout == nanoseconds::max() ? schedule.timeout : start + schedule.timeout;
        nanoseconds end = start + attempt.work;
        bool passes = false;  // the last word is Cancelled
        if (const nanoseconds first = std::min(limit, schedule.total); first < end) {
            end = first + attempt.clean_up.value_or(0ns);
            passes = !attempt.clean_up;
            if (const nanoseconds second = std::max(limit, schedule.total); second < end) {
                end = second;
                passes = true;
            }
        }
        const bool over = schedule.total <= end;
        const bool late = limit <= end || over;
        Attempt::Ends ends = passes ? Attempt::Ends::value : attempt.ends;
        if (late && ends == Attempt::Ends::skip) ends = Attempt::Ends::value;
        outcome.end = end;
        outcome.timed_out = ends == Attempt::Ends::value && late;
        if (ends == Attempt::Ends::skip) outcome.state = NodeState::skipped;
        if (ends == Attempt::Ends::error || ends == Attempt::Ends::other_error || late) {
            outcome.state = NodeState::failed;
        }
        if (outcome.state != NodeState::failed || over || !schedule.policy) return outcome;
        if (outcome.attempts >= schedule.policy->attempts()) return outcome;
        if (schedule.only_errors && ends != Attempt::Ends::error) return outcome;
        start = end + schedule.policy->delay(outcome.attempts, stream);
        if (schedule.total <= start) {
            outcome.end = schedule.total;
            outcome.timed_out = true;
            return outcome;
        }
        outcome.state = NodeState::completed;
    }
}

Schedule random_schedule(std::minstd_rand& random, bool retries) {
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() / 64 % n); };
    Schedule schedule;
    const unsigned attempts = retries ? 1 + below(4) : 1;
    for (unsigned i = 0; i < attempts; ++i) {
        Attempt attempt;
        attempt.work = below(5) * 4ns;
        if (below(2) == 0) attempt.clean_up = below(4) * 4ns;
        attempt.ends = below(8) < 4   ? Attempt::Ends::error
                       : below(8) < 1 ? Attempt::Ends::skip
                       : below(8) < 2 ? Attempt::Ends::other_error
                                      : Attempt::Ends::value;
        schedule.attempts.push_back(attempt);
    }
    if (below(2) == 0) schedule.timeout = below(5) * 4ns + 2ns;
    if (below(3) == 0) schedule.total = below(50) * 2ns + 1ns;
    if (retries) {
        RetryPolicy policy(attempts);
        if (below(2) == 0) policy.backoff(below(3) * 2ns, 1.0 + below(2));
        if (below(3) == 0) policy.cap(6ns);
        schedule.only_errors = below(8) == 0;
        if (schedule.only_errors) {
            policy.when([](const std::runtime_error& error) {
                return dynamic_cast<const TimeoutError*>(&error) == nullptr;
            });
        }
        schedule.policy = policy;
    }
    return schedule;
}

Task<> act(NodeContext& context, const Schedule* schedule) {
    const Attempt& attempt = schedule->attempts.at(context.attempt() - 1);
    bool cancelled = false;
    try {
        if (attempt.work > 0ns) co_await sleep_for(attempt.work);
    } catch (const Cancelled&) {
        if (!attempt.clean_up) throw;
        cancelled = true;
    }
    if (cancelled && *attempt.clean_up > 0ns) co_await sleep_for(*attempt.clean_up);
    switch (attempt.ends) {
        case Attempt::Ends::value: break;
        case Attempt::Ends::error: throw std::runtime_error("error");
        case Attempt::Ends::other_error: throw OtherError("other error");
        case Attempt::Ends::skip: throw Skip("enough");
    }
}

}  // namespace

TEST_CASE("100,000 random schedules of attempts and timeouts end exactly when a model says") {
    constexpr std::size_t runs = sanitized ? 50 : 500;
    constexpr std::size_t nodes_a_run = 200;
    std::minstd_rand random(1);
    std::size_t wrong = 0;
    std::size_t states[7] = {};
    std::size_t attempts[5] = {};
    std::size_t timed_out = 0;
    std::vector<Schedule> schedules(nodes_a_run);
    std::vector<AnyNode> nodes;
    for (const Schedule& schedule : schedules) {
        nodes.push_back(Node{"node", act, "schedule"_a = &schedule});
    }
    TreeExecutor executor{nodes};
    executor.on_error(ErrorPolicy::keep_going);
    for (std::size_t run = 0; run < runs; ++run) {
        for (std::size_t i = 0; i < nodes_a_run; ++i) {
            schedules[i] = random_schedule(random, i % 4 != 0);
            if (schedules[i].policy) nodes[i].retry(*schedules[i].policy);
            nodes[i].timeout(schedules[i].timeout).total_timeout(schedules[i].total);
        }
        const RunReport report = EventLoop(virtual_time).run(executor.try_run());
        std::vector<const NodeError*> errors(nodes_a_run);
        for (const NodeError& error : report.errors()) {
            const auto at = std::find(nodes.begin(), nodes.end(), error.node());
            errors[static_cast<std::size_t>(at - nodes.begin())] = &error;
        }
        std::uint64_t retriers = 0;
        for (std::size_t i = 0; i < nodes_a_run; ++i) {
            const std::uint64_t number = schedules[i].policy ? retriers++ : 0;
            const Ending expected =
                outcome_of(schedules[i], grafo::detail::pauses_of("node", number));
            const NodeError* error = errors[i];
            const bool right =
                nodes[i].state() == expected.state && nodes[i].runtime() == expected.end &&
                (error != nullptr) == (expected.state == NodeState::failed) &&
                (error == nullptr || (error->attempts() == expected.attempts &&
                                      holds<TimeoutError>(error->cause()) == expected.timed_out));
            if (!right && ++wrong == 1) {
                CAPTURE(run, i, nodes[i].runtime().count(), expected.end.count());
                CAPTURE(expected.attempts, static_cast<int>(expected.state), expected.timed_out);
                CAPTURE(static_cast<int>(nodes[i].state()));
                CHECK(right);
            }
            ++states[static_cast<std::size_t>(expected.state)];
            ++attempts[expected.attempts];
            timed_out += expected.timed_out ? 1 : 0;
        }
    }
    CHECK(wrong == 0);
    // The schedules are of use only if all of it happens often.
    const std::size_t all = runs * nodes_a_run;
    CHECK(states[static_cast<std::size_t>(NodeState::completed)] > all / 10);
    CHECK(states[static_cast<std::size_t>(NodeState::failed)] > all / 10);
    CHECK(states[static_cast<std::size_t>(NodeState::skipped)] > all / 100);
    CHECK(timed_out > all / 10);
    for (std::size_t count = 1; count <= 4; ++count) CHECK(attempts[count] > all / 20);
}
