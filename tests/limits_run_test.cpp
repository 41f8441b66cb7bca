#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Nodes that hold semaphores and are let through by rate limiters: node.limit(semaphore).

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;
using std::chrono::nanoseconds;
using Times = std::vector<nanoseconds>;

nanoseconds now() { return EventLoop::current().now().time_since_epoch(); }

template <class N>
RunReport try_it(const N& node) {
    return EventLoop(virtual_time).run(TreeExecutor{node}.try_run());
}

// How much is in use, and the most that ever was.
struct Gauge {
    std::size_t in_use = 0;
    std::size_t peak = 0;
};
class Use {
public:
    Use(Gauge& gauge, std::size_t weight) : gauge_(gauge), weight_(weight) {
        gauge_.in_use += weight_;
        gauge_.peak = std::max(gauge_.peak, gauge_.in_use);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { gauge_.in_use -= weight_; }

private:
    Gauge& gauge_;
    std::size_t weight_;
};

// Tells when it starts, and works for a while.
auto worker(Times& starts, nanoseconds work) {
    return [&starts, work]() -> Task<> {
        starts.push_back(now());
        co_await sleep_for(work);
    };
}

void check_free(const Semaphore& semaphore) {
    CHECK(semaphore.available() == semaphore.capacity());
    CHECK(semaphore.waiting() == 0);
}

Task<> stop_after(const TreeExecutor& executor, nanoseconds delay) {
    co_await sleep_for(delay);
    executor.stop();
}

}  // namespace

// ---- semaphores ---------------------------------------------------------------------------------

TEST_CASE("Nodes with one semaphore run as many at once as it lets in, first ready first") {
    Semaphore semaphore(2);
    Times starts;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 5; ++i) {
        nodes.push_back(Node{"node", worker(starts, 1s)}.limit(semaphore));
    }
    for (int run = 0; run < 2; ++run) {
        starts.clear();
        CHECK(try_it(nodes).elapsed() == 3s);
        CHECK(starts == Times{0s, 0s, 1s, 1s, 2s});
        for (const AnyNode& node : nodes) CHECK(node.runtime() == 1s);
        check_free(semaphore);
    }
}

TEST_CASE("A weight counts that often, and nobody overtakes one that waits for a greater weight") {
    Semaphore semaphore(3);
    Times starts;
    Node a{"a", worker(starts, 2s)};
    Node b{"b", worker(starts, 1s)};
    Node c{"c", worker(starts, 1s)};
    a.limit(semaphore, 2);
    b.limit(semaphore, 3);
    c.limit(semaphore, 1);
    CHECK(try_it(NodeList{a, b, c}).elapsed() == 4s);
    CHECK(starts == Times{0s, 2s, 3s});
}

TEST_CASE("A weight of 0 or above the capacity is refused, and changes nothing") {
    Semaphore semaphore(3);
    Times starts;
    Node node{"node", worker(starts, 1s)};
    CHECK_THROWS_AS(node.limit(semaphore, 0), Error);
    CHECK_THROWS_AS(node.limit(semaphore, 4), Error);
    CHECK_THROWS_WITH(node.limit(semaphore, 4), ContainsSubstring("4") && ContainsSubstring("3"));
    check_free(semaphore);
    node.limit(semaphore, 3);
    CHECK_THROWS_AS(node.limit(semaphore, 4), Error);
    CHECK(try_it(node).ok());
}

TEST_CASE("A semaphore given twice counts once, with its last weight") {
    Semaphore semaphore(2);
    Gauge gauge;
    const auto body = [&]() -> Task<> {
        const Use use(gauge, 2 - semaphore.available());
        co_await sleep_for(1s);
    };
    Node node{"node", body};
    node.limit(semaphore, 1).limit(semaphore, 2);
    CHECK(try_it(node).ok());
    CHECK(gauge.peak == 2);
    gauge = Gauge();
    node.limit(Semaphore(semaphore), 1);
    CHECK(try_it(node).ok());
    CHECK(gauge.peak == 1);
    check_free(semaphore);
}

TEST_CASE("Nodes that name the same semaphores in different orders never wait for each other") {
    Semaphore first(1);
    Semaphore second(1);
    Semaphore third(2);
    Times starts;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 6; ++i) {
        Node node{"node", worker(starts, 1s)};
        switch (i % 3) {
            case 0: node.limit(first).limit(second).limit(third); break;
            case 1: node.limit(third, 2).limit(second).limit(first); break;
            default: node.limit(second).limit(first); break;
        }
        nodes.push_back(node);
    }
    CHECK(try_it(nodes).elapsed() == 6s);
    check_free(first);
    check_free(second);
    check_free(third);
}

TEST_CASE("A node waits for its limits as ready, is told as started once it has them") {
    Semaphore semaphore(1);
    Node holder{"holder", []() -> Task<> { co_await sleep_for(2s); }};
    Node waiter{"waiter", []() -> Task<> { co_await sleep_for(3s); }};
    Node watcher{"watcher", [&]() -> Task<> {
                     co_await sleep_for(1s);
                     CHECK(holder.state() == NodeState::running);
                     CHECK(waiter.state() == NodeState::ready);
                     CHECK(semaphore.waiting() == 1);
                     CHECK_THROWS_AS(waiter.priority(1), SafeExecutionError);
                     co_await sleep_for(2s);
                     CHECK(waiter.state() == NodeState::running);
                 }};
    holder.limit(semaphore);
    waiter.limit(semaphore);
    EventLoop loop{virtual_time};
    std::vector<std::string> started;
    for (const Event& event : iterate(loop, TreeExecutor{holder, waiter, watcher}.yielding())) {
        if (event.kind() != EventKind::started || event.node() == watcher) continue;
        const nanoseconds time = loop.now().time_since_epoch();
        started.push_back(event.node().id() + " " + std::to_string(time / 1s));
    }
    CHECK(started == Log{"holder 0", "waiter 2"});
    CHECK(waiter.runtime() == 3s);
}

TEST_CASE("Callbacks before the body run inside the limits, those after it outside") {
    Semaphore semaphore(1);
    Node node{"node", [&] { CHECK(semaphore.available() == 0); }};
    node.limit(semaphore)
        .on_before_run([&] { CHECK(semaphore.available() == 0); })
        .on_after_run([&] { CHECK(semaphore.available() == 1); });
    CHECK(try_it(node).ok());
}

TEST_CASE("timeout and total_timeout begin when the first limits are there") {
    const bool total = GENERATE(true, false);
    Semaphore semaphore(1);
    Node holder{"holder", []() -> Task<> { co_await sleep_for(100s); }};
    Node node{"node", []() -> Task<> { co_await sleep_for(5s); }};
    holder.limit(semaphore);
    node.limit(semaphore);
    if (total) {
        node.total_timeout(6s);
    } else {
        node.timeout(6s);
    }
    CHECK(try_it(NodeList{holder, node}).ok());
    if (total) {
        node.total_timeout(4s);
    } else {
        node.timeout(4s);
    }
    const RunReport report = try_it(NodeList{holder, node});
    CHECK_FALSE(report.ok());
    CHECK(report.elapsed() == 104s);
    CHECK(node.runtime() == 4s);
}

TEST_CASE("Limits are given back however the node ends: the next one starts at that moment") {
    enum class Ends { value, error, late_error, skip, timeout, total, cancelled, callback };
    const Ends ends = GENERATE(Ends::value, Ends::error, Ends::late_error, Ends::skip,
                               Ends::timeout, Ends::total, Ends::cancelled, Ends::callback);
    CAPTURE(static_cast<int>(ends));
    Semaphore semaphore(2);
    Times starts;
    Node node{"node", [&]() -> Task<> {
                  if (ends == Ends::error) throw std::runtime_error("broken");
                  co_await sleep_for(1s);
                  if (ends == Ends::late_error) throw std::runtime_error("broken");
                  if (ends == Ends::skip) co_await skip("enough");
                  if (ends == Ends::cancelled) throw Cancelled();
                  if (ends >= Ends::timeout) co_await sleep_for(1s);
              }};
    node.limit(semaphore, 2);
    if (ends == Ends::timeout) node.timeout(1s + 1ns);
    if (ends == Ends::total) node.total_timeout(1s + 1ns);
    if (ends == Ends::callback) {
        node.on_before_run([]() -> Task<> {
            co_await sleep_for(1s);
            throw std::runtime_error("broken");
        });
    }
    Node next{"next", worker(starts, 1s)};
    next.limit(semaphore);
    TreeExecutor executor{node, next};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    loop.run(executor.try_run());
    const bool timed = ends == Ends::timeout || ends == Ends::total;
    CHECK(starts == Times{ends == Ends::error ? 0ns : timed ? 1s + 1ns : nanoseconds(1s)});
    check_free(semaphore);
}

TEST_CASE("A node that is stopped while it waits for a limit is cancelled, and was never started") {
    const bool rate_limited = GENERATE(true, false);
    Semaphore semaphore(1);
    RateLimiter rate(1, 10s);
    Times starts;
    Node a{"a", worker(starts, 5s)};
    Node b{"b", worker(starts, 5s)};
    Node after_b{"after_b", worker(starts, 5s)};
    for (const AnyNode& node : {AnyNode(a), AnyNode(b)}) {
        if (rate_limited) {
            node.limit(rate);
        } else {
            node.limit(semaphore);
        }
    }
    b.connect(after_b);
    TreeExecutor executor{a, b};
    EventLoop loop{virtual_time};
    Log log;
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_after(executor, 1s));
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::started) log.push_back(event->node().id());
        }
    };
    CHECK_THROWS_AS(loop.run(main()), RunError);
    CHECK(log == Log{"a"});
    CHECK(starts == Times{0s});
    CHECK(b.state() == NodeState::cancelled);
    CHECK(b.runtime() == 0s);
    CHECK(loop.now().time_since_epoch() == 1s);
    check_free(semaphore);
    CHECK(rate.waiting() == 0);
}

TEST_CASE("A failure elsewhere cancels who waits for a limit under fail_fast only") {
    const bool keeps_going = GENERATE(true, false);
    Semaphore semaphore(1);
    Node holder{"holder", []() -> Task<> { co_await sleep_for(5s); }};
    Node waiter{"waiter", [] {}};
    Node broken{"broken", []() -> Task<> {
                    co_await sleep_for(1s);
                    throw std::runtime_error("broken");
                }};
    holder.limit(semaphore);
    waiter.limit(semaphore);
    TreeExecutor executor{holder, waiter, broken};
    executor.on_error(keeps_going ? ErrorPolicy::keep_going : ErrorPolicy::fail_fast);
    const RunReport report = EventLoop(virtual_time).run(executor.try_run());
    CHECK(report.elapsed() == (keeps_going ? 5s : 1s));
    CHECK(waiter.state() == (keeps_going ? NodeState::completed : NodeState::cancelled));
    check_free(semaphore);
}

TEST_CASE("Two runs at once and plain tasks share a semaphore, and its one queue") {
    Semaphore semaphore(1);
    Times starts;
    Node a{"a", worker(starts, 1s)};
    Node b{"b", worker(starts, 1s)};
    a.limit(semaphore);
    b.limit(semaphore);
    const auto run_it = [](TreeExecutor executor) -> Task<> { co_await executor.run(); };
    const auto task = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire();
        starts.push_back(now());
        co_await sleep_for(10s);
    };
    const auto main = [&]() -> Task<> {
        EventLoop& loop = EventLoop::current();
        loop.spawn(run_it(TreeExecutor{a}));
        co_await sleep_for(1ms);
        loop.spawn(task());
        co_await sleep_for(1ms);
        loop.spawn(run_it(TreeExecutor{b}));
        co_await sleep_for(100s);
    };
    EventLoop(virtual_time).run(main());
    CHECK(starts == Times{0s, 1s, 11s});
    check_free(semaphore);
}

TEST_CASE("A flow inside a body that needs what the body holds is a deadlock, and named") {
    Semaphore semaphore(1);
    Node inner{"inner", [] {}};
    inner.limit(semaphore);
    Node outer{"outer", [&]() -> Task<> {
                   TreeExecutor executor{"inner flow", inner};
                   co_await executor.run();
               }};
    outer.limit(semaphore);
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(TreeExecutor{outer}.run()), DeadlockError);
    CHECK_THROWS_WITH(loop.run(TreeExecutor{outer}.run()),
                      ContainsSubstring("'inner'") && ContainsSubstring("'outer'"));
    check_free(semaphore);
}

TEST_CASE("A flow inside a body may use the semaphore that is left") {
    Semaphore semaphore(2);
    Node inner{"inner", [] {}};
    inner.limit(semaphore);
    Node outer{"outer", [&]() -> Task<> {
                   TreeExecutor executor{"inner flow", inner};
                   co_await executor.run();
               }};
    outer.limit(semaphore);
    CHECK(try_it(outer).ok());
    check_free(semaphore);
}

// ---- rates --------------------------------------------------------------------------------------

TEST_CASE("A rate lets nodes through to the nanosecond, first ready first") {
    RateLimiter rate(2, 10ns);
    Times starts;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 6; ++i) {
        nodes.push_back(Node{"node", worker(starts, i == 0 ? 1s : 3ns)}.limit(rate));
    }
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{nodes}.run());
    CHECK(starts == Times{0ns, 0ns, 10ns, 10ns, 20ns, 20ns});
    CHECK(nodes[5].runtime() == 3ns);
}

TEST_CASE("Several rates hold together, and a rate given twice counts once") {
    RateLimiter fast(1, 10ns);
    RateLimiter slow(3, 100ns);
    Times starts;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 7; ++i) {
        nodes.push_back(Node{"node", worker(starts, 1ns)}.limit(slow).limit(fast).limit(slow));
    }
    try_it(nodes);
    CHECK(starts == Times{0ns, 10ns, 20ns, 100ns, 110ns, 120ns, 200ns});
}

TEST_CASE("Each attempt is let through anew; pauses and limits count against total_timeout") {
    RateLimiter rate(1, 10s);
    Times starts;
    Node node{"node", [&]() -> Task<> {
                  starts.push_back(now());
                  co_await sleep_for(1s);
                  throw std::runtime_error("always");
              }};
    node.limit(rate).retry(RetryPolicy{5}.backoff(2s, 6.0)).total_timeout(40s);
    const RunReport report = try_it(node);
    CHECK(starts == Times{0s, 10s, 23s});
    CHECK(report.elapsed() == 40s);
    CHECK_THAT(report.errors().at(0).what(), ContainsSubstring("total_timeout"));
    CHECK(rate.waiting() == 0);
    node.total_timeout(nanoseconds::max()).timeout(2s);
    starts.clear();
    CHECK(try_it(node).elapsed() == 23s + 1s + 72s + 1s + 432s + 1s);
    CHECK(starts == Times{0s, 10s, 23s, 96s, 529s});
}

TEST_CASE("Starts keep to the rate though places under max_concurrency come late") {
    RateLimiter rate(1, 1s);
    Times starts;
    Node holder{"holder", []() -> Task<> { co_await sleep_for(10s); }};
    std::vector<AnyNode> nodes{holder};
    for (int i = 0; i < 4; ++i) {
        nodes.push_back(Node{"node", worker(starts, 100ms)}.limit(rate));
    }
    TreeExecutor executor{nodes};
    executor.max_concurrency(1);
    EventLoop(virtual_time).run(executor.run());
    CHECK(starts == Times{10s, 11s, 12s, 13s});
    CHECK(rate.waiting() == 0);
}

// ---- with retry and places ----------------------------------------------------------------------

TEST_CASE("In a pause a node holds neither its limits nor a place") {
    Semaphore semaphore(1);
    Log log;
    const auto say = [&](const char* what) {
        log.push_back(std::to_string(now() / 1s) + " " + what);
    };
    Node flaky{"flaky", [&](NodeContext& context) -> Task<> {
                   say("flaky");
                   co_await sleep_for(1s);
                   if (context.attempt() < 2) throw std::runtime_error("again");
               }};
    flaky.limit(semaphore).retry(RetryPolicy{2}.backoff(2s));
    Node other{"other", [&]() -> Task<> {
                   say("other");
                   co_await sleep_for(4s);
               }};
    other.limit(semaphore);
    Node free{"free", [&]() -> Task<> {
                  say("free");
                  co_await sleep_for(1s);
              }};
    TreeExecutor executor{flaky, other, free};
    executor.max_concurrency(1);
    EventLoop(virtual_time).run(executor.run());
    CHECK(log == Log{"0 flaky", "1 other", "5 flaky", "6 free"});  // who has begun goes first
}

TEST_CASE("A node that waits for a limit leaves its place to others") {
    Semaphore semaphore(1);
    Times starts;
    Times free_starts;
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 3; ++i) {
        nodes.push_back(Node{"node", worker(starts, 10s)}.limit(semaphore));
    }
    for (int i = 0; i < 3; ++i) nodes.push_back(Node{"free", worker(free_starts, 1s)});
    TreeExecutor executor{nodes};
    executor.max_concurrency(2);
    CHECK(EventLoop(virtual_time).run(executor.run()).elapsed() == 30s);
    CHECK(starts == Times{0s, 10s, 20s});
    CHECK(free_starts == Times{0s, 1s, 2s});
}

TEST_CASE("A node without a place holds no limit that bodies with a place wait for") {
    const bool rated = GENERATE(false, true);
    CAPTURE(rated);
    const Semaphore semaphore{1};
    const auto import = [](const Semaphore& shared) -> Task<> {
        for (int i = 0; i < 3; ++i) {
            const Semaphore::Guard guard = co_await shared.acquire();
            co_await sleep_for(1ms);
        }
    };
    Times starts;
    const Node x{"x", import, "shared"_a = semaphore};
    const Node y{"y", import, "shared"_a = semaphore};
    std::vector<AnyNode> nodes{x};
    for (int i = 0; i < 3; ++i) {
        nodes.push_back(Node{"save", worker(starts, 1ms)}.limit(semaphore));
        if (rated) nodes.back().limit(RateLimiter(1, 1ms));
    }
    nodes.push_back(y);
    TreeExecutor executor{nodes};
    executor.max_concurrency(2);
    CHECK(EventLoop(virtual_time).run(executor.run()).ok());
    CHECK(starts.size() == 3);
    CHECK(semaphore.available() == 1);
}

TEST_CASE("A limited generator holds its limits while its chunks are read") {
    Semaphore semaphore(1);
    const auto generate = []() -> AsyncGenerator<int> {
        for (int i = 0; i < 3; ++i) {
            co_await sleep_for(1s);
            co_yield i;
        }
    };
    Node a{"a", generate};
    Node b{"b", generate};
    a.limit(semaphore);
    b.limit(semaphore);
    Log log;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{a, b}.yielding())) {
        if (event.kind() == EventKind::chunk) log.push_back(event.node().id());
        if (event.completed(a)) CHECK(semaphore.waiting() == 0);
    }
    CHECK(log == Log{"a", "a", "a", "b", "b", "b"});
    CHECK(loop.now().time_since_epoch() == 6s);
}

TEST_CASE("The reader of a pipe starts when its producer has its limits") {
    Semaphore semaphore(1);
    Node holder{"holder", []() -> Task<> { co_await sleep_for(5s); }};
    Times starts;
    Node producer{"producer", []() -> AsyncGenerator<int> {
                      co_await sleep_for(1s);
                      co_yield 1;
                  }};
    Node reader{"reader",
                [&](AsyncGenerator<int> items) -> Task<> {
                    starts.push_back(now());
                    while (co_await items.next()) starts.push_back(now());
                },
                "items"_a};
    producer.connect(reader, "items"_a);
    holder.limit(semaphore);
    producer.limit(semaphore);
    CHECK(try_it(NodeList{holder, producer}).ok());
    CHECK(starts == Times{5s, 6s});
}

TEST_CASE("Two ends of a pipe may not be limited by one semaphore") {
    Semaphore semaphore(2);
    Node producer{"producer", []() -> AsyncGenerator<int> { co_yield 1; }};
    Node reader{"reader",
                [](AsyncGenerator<int> items) -> Task<> {
                    while (co_await items.next()) {
                    }
                },
                "items"_a};
    producer.connect(reader, "items"_a);
    producer.limit(semaphore);
    reader.limit(semaphore);
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(TreeExecutor{producer}.run()),
                      ContainsSubstring("'producer'") && ContainsSubstring("'reader'"));
}

TEST_CASE("Readers of one producer may share a semaphore that has room for just them") {
    const Semaphore semaphore(3);
    Node producer{"producer", []() -> AsyncGenerator<int> { co_yield 1; }};
    int got = 0;
    const auto read = [&got](AsyncGenerator<int> items) -> Task<> {
        while (const int* item = co_await items.next()) got += *item;
    };
    Node one{"one", read, "items"_a};
    Node two{"two", read, "items"_a};
    producer.connect(one, "items"_a);
    producer.connect(two, "items"_a);
    one.limit(semaphore);
    two.limit(semaphore, 2);
    CHECK(try_it(producer).ok());
    CHECK(got == 2);
}

TEST_CASE("What a node has spawned to read its chunks takes no place once the node has ended") {
    Node producer{"producer", []() -> AsyncGenerator<int> {
                      co_await sleep_for(1s);
                      co_yield 1;
                  }};
    Node reader{"reader",
                [](AsyncGenerator<int> items) {
                    const auto read = [](AsyncGenerator<int> given) -> Task<> {
                        while (co_await given.next()) {
                        }
                    };
                    EventLoop::current().spawn(read(std::move(items)));
                    return yield();
                },
                "items"_a};
    producer.connect(reader, "items"_a);
    Gauge gauge;
    const auto work = [&gauge]() -> Task<> {
        const Use use(gauge, 1);
        co_await sleep_for(5s);
    };
    std::vector<AnyNode> nodes{producer};
    for (int i = 0; i < 6; ++i) {
        Node worker{"worker", work};
        reader.connect(worker);
        nodes.push_back(worker);
    }
    TreeExecutor executor{nodes};
    executor.max_concurrency(2);
    CHECK(EventLoop(virtual_time).run(executor.run()).ok());
    CHECK(gauge.peak == 2);
}

TEST_CASE("A limited flow may be dropped at every event, and gives everything back") {
    Counted::reset();
    int events = 0;
    for (int keep = 0; keep <= events; ++keep) {
        CAPTURE(keep);
        Semaphore first(2);
        Semaphore second(1);
        RateLimiter rate(2, 1s);
        {
            std::vector<AnyNode> nodes;
            for (int i = 0; i < 6; ++i) {
                Node node{"node",
                          [](NodeContext& context, Counted x) -> AsyncGenerator<Counted> {
                              Counted chunk(x.value);
                              co_yield chunk;
                              co_await sleep_for(1s);
                              if (context.attempt() < 2) throw std::runtime_error("again");
                          },
                          "x"_a = Counted(i)};
                node.retry(RetryPolicy{2}.backoff(i % 2 * 1s)).buffer(i % 2 == 0 ? 1 : 0);
                if (i % 3 != 0) node.limit(second);
                if (i % 3 != 1) node.limit(first, 1 + static_cast<std::size_t>(i) % 2);
                if (i > 3) node.limit(rate);
                nodes.push_back(node);
            }
            TreeExecutor executor{nodes};
            executor.max_concurrency(2);
            EventLoop loop{virtual_time};
            int seen = 0;
            for (const Event& event : iterate(loop, executor.yielding())) {
                static_cast<void>(event);
                if (seen++ == keep) break;
            }
            events = std::max(events, seen);
            check_free(first);
            check_free(second);
            CHECK(rate.waiting() == 0);
            CHECK(loop.run(executor.run()).ok());
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(events > 20);
}

// ---- at random ----------------------------------------------------------------------------------

namespace {

// Nodes take from one semaphore in turn: each as soon as those before it have, and it fits.
std::vector<nanoseconds> modelled_starts(std::size_t capacity,
                                         const std::vector<std::size_t>& weights,
                                         const std::vector<nanoseconds>& works) {
    std::vector<nanoseconds> starts;
    nanoseconds time{};
    for (std::size_t i = 0; i < weights.size(); ++i) {
        for (;;) {
            std::size_t held = 0;
            nanoseconds next = nanoseconds::max();
            for (std::size_t k = 0; k < i; ++k) {
                if (starts[k] + works[k] <= time) continue;
                held += weights[k];
                next = std::min(next, starts[k] + works[k]);
            }
            if (held + weights[i] <= capacity) break;
            time = next;
        }
        starts.push_back(time);
    }
    return starts;
}

}  // namespace

TEST_CASE("Random nodes with one semaphore start exactly when a model lets them") {
    std::minstd_rand random(1);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() / 64) % n; };
    for (int run = 0; run < 200; ++run) {
        CAPTURE(run);
        const std::size_t capacity = 1 + below(5);
        Semaphore semaphore(capacity);
        Gauge gauge;
        std::vector<std::size_t> weights;
        std::vector<nanoseconds> works;
        std::vector<nanoseconds> starts(12);
        std::vector<AnyNode> nodes;
        for (std::size_t i = 0; i < starts.size(); ++i) {
            weights.push_back(1 + below(capacity));
            works.push_back(nanoseconds(1 + below(9)));
            Node node{"node", [&, i]() -> Task<> {
                          const Use use(gauge, weights[i]);
                          starts[i] = now();
                          co_await sleep_for(works[i]);
                      }};
            nodes.push_back(node.limit(semaphore, weights[i]));
        }
        CHECK(try_it(nodes).ok());
        CHECK(starts == modelled_starts(capacity, weights, works));
        CHECK(gauge.peak <= capacity);
        check_free(semaphore);
    }
}

TEST_CASE("Random rates hold in every window, under places and retries as well") {
    std::minstd_rand random(2);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() / 64) % n; };
    for (int run = 0; run < 200; ++run) {
        CAPTURE(run);
        const std::size_t count = 1 + below(4);
        const nanoseconds per(1 + below(20));
        const bool places = below(2) == 0;
        const bool retries = below(2) == 0;
        RateLimiter rate(count, per);
        Times starts;
        std::vector<AnyNode> nodes;
        for (int i = 0; i < 12; ++i) {
            Node node{"node",
                      [&, work = nanoseconds(1 + below(9)),
                       fails = retries && below(3) == 0](NodeContext& context) -> Task<> {
                          starts.push_back(now());
                          co_await sleep_for(work);
                          if (fails && context.attempt() < 3) throw std::runtime_error("again");
                      }};
            node.retry(RetryPolicy{3}.backoff(nanoseconds(below(5))));
            nodes.push_back(node.limit(rate));
        }
        TreeExecutor executor{nodes};
        if (places) executor.max_concurrency(1 + below(4));
        CHECK(EventLoop(virtual_time).run(executor.run()).ok());
        for (std::size_t i = count; i < starts.size(); ++i) {
            CHECK(starts[i] - starts[i - count] >= per);
            if (!places && !retries) CHECK(starts[i] == starts[i - count] + per);
        }
        CHECK(rate.waiting() == 0);
    }
}

TEST_CASE("Random limits, places and retries never block each other, stopped or not") {
    std::minstd_rand random(3);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() / 64) % n; };
    std::size_t stopped = 0;
    for (int run = 0; run < 300; ++run) {
        CAPTURE(run);
        std::vector<Semaphore> semaphores;
        std::vector<Gauge> gauges(4);
        for (int i = 0; i < 3; ++i) semaphores.emplace_back(1 + below(4));
        RateLimiter rate(1 + below(3), nanoseconds(1 + below(9)));
        const std::size_t places = 1 + below(4);
        std::vector<AnyNode> nodes;
        for (std::size_t i = 0; i < 12; ++i) {
            std::vector<std::size_t> weights(3);
            for (std::size_t s = 0; s < 3; ++s) {
                if (below(2) == 0) weights[s] = 1 + below(semaphores[s].capacity());
            }
            const bool fails = below(3) == 0;
            const bool yields = below(3) == 0;
            const nanoseconds work(below(9));
            const auto use = [&gauges, weights](auto& uses) {
                for (std::size_t s = 0; s < 3; ++s) uses[s].emplace(gauges[s], weights[s]);
                uses[3].emplace(gauges[3], std::size_t(1));
            };
            AnyNode node;
            if (yields) {
                node =
                    Node{"node", [use, fails, work](NodeContext& context) -> AsyncGenerator<int> {
                             std::optional<Use> uses[4];
                             use(uses);
                             co_await sleep_for(work);
                             uses[3].reset();  // it gives its place to others at a chunk
                             co_yield 1;
                             if (fails && context.attempt() < 3) throw std::runtime_error("");
                         }};
            } else {
                node = Node{"node", [use, fails, work](NodeContext& context) -> Task<> {
                                std::optional<Use> uses[4];
                                use(uses);
                                co_await sleep_for(work);
                                if (fails && context.attempt() < 3) throw std::runtime_error("");
                            }};
            }
            for (std::size_t s = 3; s-- > 0;) {
                if (weights[s] > 0) node.limit(semaphores[s], weights[s]);
            }
            if (below(3) == 0) node.limit(rate);
            if (below(2) == 0) node.priority(static_cast<int>(below(5)) - 2);
            node.retry(
                RetryPolicy{2 + static_cast<unsigned>(below(2))}.backoff(nanoseconds(below(4))));
            if (below(4) == 0) node.timeout(nanoseconds(1 + below(9)));
            for (const AnyNode& parent : nodes) {
                if (below(8) == 0) parent.connect(node);
            }
            nodes.push_back(node);
        }
        TreeExecutor executor{nodes};
        executor.max_concurrency(places);
        if (below(2) == 0) executor.on_error(ErrorPolicy::keep_going);
        if (below(2) == 0) executor.shuffle(below(100));
        const bool stops = below(3) == 0;
        const bool streamed = below(2) == 0;
        const nanoseconds when(below(40));
        const auto main = [&]() -> Task<> {
            if (stops) EventLoop::current().spawn(stop_after(executor, when));
            if (!streamed) {
                co_await executor.try_run();
                co_return;
            }
            auto events = executor.yielding();
            try {
                while (co_await events.next()) {
                }
            } catch (const RunError&) {
            }
        };
        EventLoop(virtual_time).run(main());  // throws DeadlockError if they do
        const RunReport report = executor.report();
        CHECK(report.completed().size() + report.failed().size() + report.skipped().size() +
                  report.cancelled().size() ==
              nodes.size());
        stopped += report.stopped() ? 1 : 0;
        for (std::size_t s = 0; s < 3; ++s) {
            CHECK(gauges[s].peak <= semaphores[s].capacity());
            check_free(semaphores[s]);
        }
        CHECK(gauges[3].peak <= places);
        CHECK(rate.waiting() == 0);
    }
    CHECK(stopped > 30);
}
