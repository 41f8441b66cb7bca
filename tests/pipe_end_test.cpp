#include <grafo/grafo.hpp>

#include <chrono>
#include <coroutine>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// How pipes end: failures, skips, timeouts, stops and drops at either end, and what that leaves.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;
using Ints = std::vector<int>;

void run_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    loop.run(executor.run());
}

RunReport try_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

AsyncGenerator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
}

AsyncGenerator<int> tick(int n, std::chrono::milliseconds pause) {
    for (int i = 1; i <= n; ++i) {
        co_await sleep_for(pause);
        co_yield i;
    }
}

Task<int> sum(AsyncGenerator<int> in) {
    int total = 0;
    while (const int* item = co_await in.next()) total += *item;
    co_return total;
}

AsyncGenerator<int> pass(AsyncGenerator<int> in) {
    while (const int* item = co_await in.next()) co_yield *item;
}

Task<int> slow_sum(AsyncGenerator<int> in, std::chrono::milliseconds pause) {
    int total = 0;
    while (const int* item = co_await in.next()) {
        co_await sleep_for(pause);
        total += *item;
    }
    co_return total;
}

// Yields `good` items and then throws.
AsyncGenerator<int> fail_after(int good) {
    for (int i = 1; i <= good; ++i) co_yield i;
    throw std::runtime_error("the well is dry");
}

AsyncGenerator<int> skip_after(int good) {
    for (int i = 1; i <= good; ++i) co_yield i;
    co_await skip("nothing new");
}

std::string reason_of(const AnyNode& node) {
    try {
        static_cast<void>(node.output<int>());
    } catch (const OutputUnavailableError& error) {
        return error.what();
    }
    return "it has an output";
}

}  // namespace

// ---- the producer fails -----------------------------------------------------------------------

TEST_CASE("A producer's failure comes out of next(); its reader is skipped, the cause named") {
    const int good = GENERATE(0, 1, 3);
    const auto policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    Ints seen;
    Node producer{"producer", fail_after, "good"_a = good};
    Node reader{"reader",
                [&seen](AsyncGenerator<int> in) -> Task<int> {
                    while (const int* item = co_await in.next()) seen.push_back(*item);
                    co_return 1;
                },
                "in"_a = producer};
    Node after{"after", [](int x) { return x; }, "x"_a = reader};
    TreeExecutor executor{producer};
    const RunReport report = try_all(executor.on_error(policy));
    CHECK(seen.size() == static_cast<std::size_t>(good));
    CHECK(producer.state() == NodeState::failed);
    REQUIRE(report.failed().size() == 1);
    CHECK(after.state() == NodeState::skipped);
    if (policy == ErrorPolicy::keep_going || good > 0) {
        CHECK(reader.state() == NodeState::skipped);
        CHECK_THAT(reason_of(reader), ContainsSubstring("its producer 'producer' failed"));
        CHECK_THAT(reason_of(after), ContainsSubstring("its producer 'producer' failed"));
    }
}

TEST_CASE("A producer that throws instead of beginning has failed all the same") {
    const auto refuse = []() -> AsyncGenerator<int> { throw std::runtime_error("no"); };
    Node producer{"producer", refuse};
    Node reader{"reader", sum, "in"_a = producer};
    TreeExecutor executor{producer};
    try_all(executor.on_error(ErrorPolicy::keep_going));
    CHECK(producer.state() == NodeState::failed);
    CHECK(reader.state() == NodeState::skipped);
}

TEST_CASE("A reader that catches the failure may complete, if the run goes on") {
    std::string what;
    Node producer{"producer", fail_after, "good"_a = 2};
    Node reader{"reader",
                [&what](AsyncGenerator<int> in) -> Task<int> {
                    int total = 0;
                    try {
                        while (const int* item = co_await in.next()) total += *item;
                    } catch (const NodeError& error) {
                        what = error.what();
                    }
                    if (co_await in.next() != nullptr) co_return -1;
                    co_return total;
                },
                "in"_a = producer};
    TreeExecutor executor{producer};
    try_all(executor.on_error(ErrorPolicy::keep_going));
    CHECK(reader.state() == NodeState::completed);
    CHECK(reader.output() == 3);
    CHECK_THAT(what, ContainsSubstring("node 'producer' failed: the well is dry"));
}

TEST_CASE("What a reader throws itself fails the reader, also while its producer fails") {
    Node producer{"producer", fail_after, "good"_a = 1};
    Node reader{"reader",
                [](AsyncGenerator<int> in) -> Task<int> {
                    try {
                        while (co_await in.next() != nullptr) {
                        }
                    } catch (const NodeError&) {
                    }
                    throw std::runtime_error("my own");
                },
                "in"_a = producer};
    TreeExecutor executor{producer};
    const RunReport report = try_all(executor.on_error(ErrorPolicy::keep_going));
    CHECK(reader.state() == NodeState::failed);
    CHECK(report.failed().size() == 2);
}

TEST_CASE("A failure goes down a chain of readers, and the first cause stays the reason") {
    Node producer{"producer", fail_after, "good"_a = 2};
    Node a{"a", pass, "in"_a = producer};
    Node b{"b", pass, "in"_a = a};
    Node c{"c", sum, "in"_a = b};
    TreeExecutor executor{producer};
    try_all(executor.on_error(ErrorPolicy::keep_going));
    CHECK(a.state() == NodeState::skipped);
    CHECK(b.state() == NodeState::skipped);
    CHECK(c.state() == NodeState::skipped);
    CHECK_THAT(reason_of(c), ContainsSubstring("(its producer 'b' was skipped: its producer "
                                               "'producer' failed)"));
}

TEST_CASE("A transform that throws fails the reader, and the producer goes on") {
    Node producer{"producer", count_to, "n"_a = 5};
    const auto picky = [](int x) {
        if (x == 2) throw std::runtime_error("not two");
        return x;
    };
    Node reader{"reader", sum, "in"_a = producer.map(picky)};
    Node other{"other", sum, "in"_a = producer};
    Node patient{"patient",
                 [](AsyncGenerator<int> in) -> Task<int> {
                     int total = 0;
                     try {
                         while (const int* item = co_await in.next()) total += *item;
                     } catch (const std::runtime_error&) {
                         total += 100;
                     }
                     co_await sleep_for(1h);  // nobody waits for it meanwhile
                     co_return total;
                 },
                 "in"_a = producer.map(picky)};
    TreeExecutor executor{producer};
    EventLoop loop{virtual_time};
    const auto start = loop.now();
    std::optional<std::chrono::nanoseconds> other_done;
    for (const Event& event :
         iterate(loop, executor.on_error(ErrorPolicy::keep_going).yielding())) {
        if (event.kind() == EventKind::completed && event.node() == AnyNode(other)) {
            other_done = loop.now() - start;
        }
        if (patient.state() == NodeState::completed) break;
    }
    CHECK(reader.state() == NodeState::failed);
    CHECK(other.state() == NodeState::completed);
    CHECK(other_done == 0ns);
}

// ---- skips ------------------------------------------------------------------------------------

TEST_CASE("A producer's skip comes out of next() as Skip, with its reason") {
    std::string why;
    Node producer{"producer", skip_after, "good"_a = GENERATE(0, 2)};
    Node reader{"reader", sum, "in"_a = producer};
    Node catching{"catching",
                  [&why](AsyncGenerator<int> in) -> Task<int> {
                      int total = 0;
                      try {
                          while (const int* item = co_await in.next()) total += *item;
                      } catch (const Skip& skip) {
                          why = skip.why();
                      }
                      co_return total;
                  },
                  "in"_a = producer};
    const RunReport report = try_all(TreeExecutor{producer});
    CHECK(report.ok());
    CHECK(producer.state() == NodeState::skipped);
    CHECK(reader.state() == NodeState::skipped);
    CHECK(catching.state() == NodeState::completed);
    CHECK(why == "its producer 'producer' was skipped: nothing new");
    CHECK_THAT(reason_of(reader), ContainsSubstring(why));
}

TEST_CASE("A producer that never starts blocks its readers as any parent does") {
    bool ran = false;
    Node skipping{"skipping", []() -> Task<int> {
                      co_await skip("no need");
                      co_return 1;
                  }};
    Node producer{"producer", count_to, "n"_a = skipping};
    Node reader{"reader",
                [&ran](AsyncGenerator<int> in) {
                    ran = true;
                    return sum(std::move(in));
                },
                "in"_a = producer};
    CHECK(try_all(TreeExecutor{reader}).ok());
    CHECK_FALSE(ran);
    CHECK(reader.state() == NodeState::skipped);
    CHECK_THAT(reason_of(reader), ContainsSubstring("parent 'producer' was skipped: no need"));
}

TEST_CASE("A reader that never starts is waited for no more, and its reason is the right one") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node beside{"beside", sum, "in"_a = producer};
    Node skipping{"skipping", []() -> Task<int> {
                      co_await sleep_for(1s);
                      co_await skip("no need");
                      co_return 1;
                  }};
    Node failing{"failing", []() -> Task<int> {
                     co_await sleep_for(1s);
                     throw std::runtime_error("broken");
                 }};
    const auto both = [](AsyncGenerator<int> in, int) { return sum(std::move(in)); };
    TreeExecutor executor{producer, skipping, failing};
    executor.on_error(ErrorPolicy::keep_going);
    SECTION("skipped") {
        Node reader{"reader", both, "in"_a = producer, "x"_a = skipping};
        try_all(executor);
        CHECK(reader.state() == NodeState::skipped);
        CHECK_THAT(reason_of(reader), ContainsSubstring("parent 'skipping' was skipped: no need"));
    }
    SECTION("a parent failed") {
        Node reader{"reader", both, "in"_a = producer, "x"_a = failing};
        try_all(executor);
        CHECK(reader.state() == NodeState::skipped);
        CHECK_THAT(reason_of(reader), ContainsSubstring("parent 'failing' failed"));
    }
    SECTION("a transform failed") {
        Node slow{"slow", []() -> Task<int> {
                      co_await sleep_for(1s);
                      co_return 1;
                  }};
        const auto refuse = [](int) -> int { throw std::runtime_error("no"); };
        Node reader{"reader", both, "in"_a = producer, "x"_a = slow.map(refuse)};
        try_all(executor);
        CHECK(reader.state() == NodeState::failed);
    }
    SECTION("its callback failed") {
        Node reader{"reader", sum, "in"_a = producer};
        reader.on_before_run([]() -> Task<> {
            co_await sleep_for(1s);
            throw std::runtime_error("no");
        });
        try_all(executor);
        CHECK(reader.state() == NodeState::failed);
    }
    SECTION("its deferred argument failed") {
        Node reader{"reader", both, "in"_a = producer, "x"_a = []() -> Task<int> {
                        co_await sleep_for(1s);
                        throw std::runtime_error("no");
                    }};
        try_all(executor);
        CHECK(reader.state() == NodeState::failed);
    }
    CHECK(producer.state() == NodeState::completed);
    CHECK(beside.output() == 6);
}

// ---- time -------------------------------------------------------------------------------------

TEST_CASE("A producer's timeout does not count the time that it waits for its readers") {
    Node producer{"producer", tick, "n"_a = 4, "pause"_a = 10ms};
    Node reader{"reader", slow_sum, "in"_a = producer, "pause"_a = 1000ms};
    SECTION("within it") {
        producer.timeout(50ms);
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == 10);
    }
    SECTION("beyond it") {
        producer.timeout(35ms);
        TreeExecutor executor{producer};
        try_all(executor.on_error(ErrorPolicy::keep_going));
        CHECK(producer.state() == NodeState::failed);
        CHECK(reader.state() == NodeState::skipped);
    }
    SECTION("total_timeout is wall time, and reaches the producer when its reader moves on") {
        producer.total_timeout(1500ms);
        TreeExecutor executor{producer};
        try_all(executor.on_error(ErrorPolicy::keep_going));
        CHECK(producer.state() == NodeState::failed);
        CHECK(reader.state() == NodeState::skipped);
    }
}

TEST_CASE(
    "A reader's timeout counts the time that it waits for chunks, and lets the producer go on") {
    Node producer{"producer", tick, "n"_a = 5, "pause"_a = 100ms};
    Node reader{"reader", sum, "in"_a = producer};
    Node other{"other", sum, "in"_a = producer};
    reader.timeout(250ms);
    TreeExecutor executor{producer};
    const RunReport report = try_all(executor.on_error(ErrorPolicy::keep_going));
    CHECK(reader.state() == NodeState::failed);
    CHECK(producer.state() == NodeState::completed);
    CHECK(other.output() == 15);
    CHECK(report.elapsed() == 500ms);
}

// ---- stops ------------------------------------------------------------------------------------

namespace {

// producer ═ middle ═ reader        ═ is a pipe
//    ║ ╚═ waiting (starts late, after 'late')
//    ╚═ slow
struct Pipes {
    explicit Pipes(std::size_t buffer, std::shared_ptr<Log> log = std::make_shared<Log>()) {
        const auto produce = []() -> AsyncGenerator<Counted> {
            Counted local(100);
            for (int i = 1; i <= 4; ++i) {
                co_await sleep_for(1ms);
                Counted item(i);
                co_yield item;
            }
        };
        const auto through = [](AsyncGenerator<Counted> in) -> AsyncGenerator<Counted> {
            Counted local(200);
            while (Counted* item = co_await in.next()) {
                Counted mine = std::move(*item);
                co_yield mine;
            }
        };
        const auto last = [log](AsyncGenerator<Counted> in) -> Task<int> {
            Counted local(300);
            int total = 0;
            try {
                while (Counted* item = co_await in.next()) total += item->value;
            } catch (const Cancelled&) {
                log->push_back("cancelled");
                throw;
            }
            co_return total;
        };
        const auto later = [](AsyncGenerator<Counted> in) -> Task<int> {
            int total = 0;
            while (Counted* item = co_await in.next()) {
                Counted mine(item->value);
                co_await sleep_for(3ms);
                total += mine.value;
            }
            co_return total;
        };
        Node producer{"producer", produce};
        producer.buffer(buffer);
        Node middle{"middle", through, "in"_a = producer};
        middle.buffer(buffer);
        Node reader{"reader", last, "in"_a = middle};
        Node late{"late", []() -> Task<> { co_await sleep_for(2ms); }};
        Node waiting{"waiting", last, "in"_a = producer.map([](const Counted& c) -> Task<Counted> {
                         Counted copy(c);
                         co_await sleep_for(1ms);
                         co_return copy;
                     })};
        late.connect(waiting);
        Node slow{"slow", later, "in"_a = producer};
        nodes = {producer, middle, reader, late, waiting, slow};
    }
    std::vector<AnyNode> nodes;
};

}  // namespace

TEST_CASE(
    "A run is stopped, once or twice, at each of its moments: all nodes end, nothing is left") {
    Counted::reset();
    const auto buffer = static_cast<std::size_t>(GENERATE(0, 1, 10));
    const std::size_t places = GENERATE(as<std::size_t>(), 1, 2, 100);
    for (int moment = 0; moment < 60; ++moment) {
        for (int stops = 1; stops <= 2; ++stops) {
            {
                const Pipes pipes(buffer);
                TreeExecutor executor{pipes.nodes};
                executor.max_concurrency(places);
                EventLoop loop{virtual_time};
                int seen = 0;
                bool stopped = false;
                try {
                    for (const Event& event : iterate(loop, executor.yielding())) {
                        static_cast<void>(event);
                        if (seen++ != moment) continue;
                        for (int i = 0; i < stops; ++i) executor.stop();
                        stopped = true;
                    }
                } catch (const RunError&) {
                }
                for (const AnyNode& node : pipes.nodes) {
                    CHECK(node.state() >= NodeState::completed);
                }
                if (!stopped) CHECK(executor.report().ok());
            }
            REQUIRE(Counted::live() == 0);
        }
    }
}

TEST_CASE("A run is stopped at each of its milliseconds under try_run") {
    Counted::reset();
    const auto buffer = static_cast<std::size_t>(GENERATE(0, 1, 10));
    for (int moment = 0; moment < 25; ++moment) {
        {
            const Pipes pipes(buffer);
            TreeExecutor executor{pipes.nodes};
            EventLoop loop{virtual_time};
            const auto stop = [](const TreeExecutor& stopped, int after) -> Task<> {
                co_await sleep_for(std::chrono::milliseconds(after));
                stopped.stop();
            };
            loop.spawn(stop(executor, moment));
            loop.run(executor.try_run());
            for (const AnyNode& node : pipes.nodes) CHECK(node.state() >= NodeState::completed);
        }
        REQUIRE(Counted::live() == 0);
    }
}

TEST_CASE("A reader may clean up after a stop, and finds its pipe at an end") {
    bool ended = false;
    Node producer{"producer", tick, "n"_a = 100, "pause"_a = 1ms};
    Node reader{"reader",
                [&ended](AsyncGenerator<int> in) -> Task<> {
                    bool cancelled = false;
                    try {
                        while (co_await in.next() != nullptr) {
                        }
                    } catch (const Cancelled&) {
                        cancelled = true;
                    }
                    co_await sleep_for(5ms);
                    ended = cancelled && co_await in.next() == nullptr;
                },
                "in"_a = producer};
    TreeExecutor executor{producer};
    EventLoop loop{virtual_time};
    const auto stop = [](const TreeExecutor& stopped) -> Task<> {
        co_await sleep_for(10ms);
        stopped.stop();
    };
    loop.spawn(stop(executor));
    loop.run(executor.try_run());
    CHECK(ended);
    CHECK(reader.state() == NodeState::cancelled);
    CHECK(producer.state() == NodeState::cancelled);
}

TEST_CASE("A run task that is cancelled ends its pipes") {
    Counted::reset();
    for (int moment = 0; moment < 20; ++moment) {
        {
            const Pipes pipes(GENERATE_COPY(as<std::size_t>(), 0, 1));
            TreeExecutor executor{pipes.nodes};
            EventLoop loop{virtual_time};
            const auto await_run = [](const TreeExecutor& awaited) -> Task<> {
                co_await awaited.run();
            };
            const auto wait = [](int after) -> Task<> {
                co_await sleep_for(std::chrono::milliseconds(after));
            };
            loop.spawn(await_run(executor));  // the end of run() cancels it
            loop.run(wait(moment));
            for (const AnyNode& node : pipes.nodes) CHECK(node.state() >= NodeState::completed);
        }
        REQUIRE(Counted::live() == 0);
    }
}

// ---- drops ------------------------------------------------------------------------------------

TEST_CASE("A stream that is dropped at any event leaves nothing, and a second run is a fresh one") {
    Counted::reset();
    const auto buffer = static_cast<std::size_t>(GENERATE(0, 1, 10));
    for (int moment = 0; moment < 60; ++moment) {
        {
            const Pipes pipes(buffer);
            TreeExecutor executor{pipes.nodes};
            EventLoop loop{virtual_time};
            int seen = 0;
            for (const Event& event : iterate(loop, executor.yielding())) {
                static_cast<void>(event);
                if (seen++ == moment) break;
            }
            loop.run(executor.run());
            CHECK(Node<int>(pipes.nodes[2]).output() == 10);
        }
        REQUIRE(Counted::live() == 0);
    }
}

TEST_CASE("A run that is dropped with its loop leaves nothing") {
    Counted::reset();
    const auto buffer = static_cast<std::size_t>(GENERATE(0, 1, 10));
    for (int moment = 0; moment < 25; ++moment) {
        {
            const Pipes pipes(buffer);
            std::optional<TreeExecutor> executor{TreeExecutor{pipes.nodes}};
            std::optional<Task<RunReport>> task{executor->run()};
            executor.reset();
            EventLoop loop{virtual_time};
            const auto drop_later = [](Task<RunReport> dropped, int after) -> Task<> {
                const auto hold = [](Task<RunReport> held) -> AsyncGenerator<int> {
                    co_await std::move(held);
                };
                AsyncGenerator<int> holder = hold(std::move(dropped));
                const auto step = [](AsyncGenerator<int>& stepped) -> Task<> {
                    co_await stepped.next();
                };
                EventLoop::current().spawn(step(holder));
                co_await sleep_for(std::chrono::milliseconds(after));
            };
            loop.run(drop_later(std::move(*task), moment));
        }
        REQUIRE(Counted::live() == 0);
    }
}

namespace {

// A chunk that can tell whether it is there still.
struct Alive {
    explicit Alive(int number) : value(std::make_unique<int>(number)) {}
    Alive(const Alive& other) : value(std::make_unique<int>(*other.value)) {}
    std::unique_ptr<int> value;
};

// Looks at a chunk when it dies.
class LastLook {
public:
    LastLook(const Alive& chunk, Ints& seen) : chunk_(chunk), seen_(seen) {}
    LastLook(const LastLook&) = delete;
    LastLook& operator=(const LastLook&) = delete;
    ~LastLook() { seen_.push_back(*chunk_.value); }

private:
    const Alive& chunk_;
    Ints& seen_;
};

AsyncGenerator<Alive> produce_alive(int n) {
    for (int i = 1; i <= n; ++i) {
        Alive item(i);
        co_yield item;
    }
}

// An awaitable of another library: opened by hand, cannot be cancelled.
class Gate {
public:
    Gate() = default;
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
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

}  // namespace

TEST_CASE("A reader that is destroyed with its run may look at its chunk to the last") {
    Ints seen;
    Node producer{"producer", produce_alive, "n"_a = 3};
    producer.buffer(GENERATE(as<std::size_t>(), 0, 1));
    const auto hold_and_yield = [&seen](AsyncGenerator<Alive> in) -> AsyncGenerator<Alive> {
        while (Alive* item = co_await in.next()) {
            const LastLook look(*item, seen);
            co_yield *item;
        }
    };
    const auto hold = [&seen](AsyncGenerator<Alive> in) -> Task<> {
        while (Alive* item = co_await in.next()) {
            const LastLook look(*item, seen);
            co_await sleep_for(1s);
        }
    };
    Node middle{"middle", hold_and_yield, "in"_a = producer};
    Node reader{"reader", hold, "in"_a = middle};
    Node other{"other", hold, "in"_a = producer};
    EventLoop loop{virtual_time};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{producer}.yielding();
        while (Event* event = co_await events.next()) {
            if (event->kind() == EventKind::chunk && event->node() == AnyNode(middle)) break;
        }
        co_await sleep_for(1ms);  // until the others look at their chunks
    };
    loop.run(consume());
    CHECK(seen == Ints{1, 1, 1});
}

TEST_CASE("What a dropped reader still looks at, in an await of another library, stays for it") {
    Ints seen;
    Gate gate;
    Node producer{"producer", produce_alive, "n"_a = 3};
    producer.buffer(GENERATE(as<std::size_t>(), 0, 1));
    const auto pass_alive = [](AsyncGenerator<Alive> in) -> AsyncGenerator<Alive> {
        while (Alive* item = co_await in.next()) co_yield *item;
    };
    const auto hold = [&seen, &gate](AsyncGenerator<Alive> in) -> Task<> {
        while (Alive* item = co_await in.next()) {
            const LastLook look(*item, seen);
            co_await gate;
            seen.push_back(100);  // not reached
        }
    };
    Node middle{"middle", pass_alive, "in"_a = producer};
    Node reader{"reader", hold, "in"_a};
    const bool chained = GENERATE(true, false);
    if (chained) {
        middle.connect(reader, "in"_a);
    } else {
        producer.connect(reader, "in"_a);
    }
    const auto drop = [](AsyncGenerator<Event> events, const AnyNode& at, Gate& gate_of,
                         const Ints& looked) -> Task<> {
        while (Event* event = co_await events.next()) {
            if (event->kind() != EventKind::chunk || event->node() != at) continue;
            co_await sleep_for(1ms);
            break;
        }
        events = AsyncGenerator<Event>();
        CHECK(looked.empty());
        co_await sleep_for(1ms);
        CHECK(looked.empty());
        gate_of.open();
        co_await sleep_for(1ms);
        CHECK(looked == Ints{1});
    };
    EventLoop loop{virtual_time};
    AsyncGenerator<Event> events = TreeExecutor{producer}.yielding();
    loop.run(drop(std::move(events), chained ? AnyNode(middle) : AnyNode(producer), gate, seen));
    CHECK(seen == Ints{1});
}

TEST_CASE("A reader that drops its own run ends at its next chunk") {
    Ints seen;
    std::optional<AsyncGenerator<Event>> events;
    Node producer{"producer", count_to, "n"_a = 5};
    producer.buffer(GENERATE(as<std::size_t>(), 0, 3));
    Node reader{"reader",
                [&seen, &events](AsyncGenerator<int> in) -> Task<> {
                    while (const int* item = co_await in.next()) {
                        seen.push_back(*item);
                        co_await sleep_for(1ms);
                        if (*item == 2) {
                            events.reset();
                            seen.push_back(*item);
                        }
                    }
                    seen.push_back(-1);  // not reached
                },
                "in"_a = producer};
    const auto read = [](std::optional<AsyncGenerator<Event>>& from) -> Task<> {
        // Until the second chunk, so that nobody awaits the stream when it is dropped.
        int chunks = 0;
        while (chunks < 2) {
            Event* event = co_await from->next();
            if (event->kind() == EventKind::chunk) ++chunks;
        }
        co_await sleep_for(1h);
    };
    EventLoop loop{virtual_time};
    events.emplace(TreeExecutor{producer}.yielding());
    loop.run(read(events));
    CHECK(seen == Ints{1, 2, 2});
}

// ---- places, limits, priorities ---------------------------------------------------------------

TEST_CASE("Who waits in a pipe, on a chunk or for a limit holds no place") {
    const std::size_t places = GENERATE(as<std::size_t>(), 1, 2);
    int at_work = 0;
    int most = 0;
    const auto work = [&at_work, &most]() -> Task<> {
        most = std::max(most, ++at_work);
        co_await sleep_for(1ms);
        --at_work;
    };
    const auto produce = [work](int n) -> AsyncGenerator<int> {
        for (int i = 1; i <= n; ++i) {
            co_await work();
            co_yield i;
        }
    };
    const auto through = [work](AsyncGenerator<int> in) -> AsyncGenerator<int> {
        while (const int* item = co_await in.next()) {
            co_await work();
            co_yield *item;
        }
    };
    const auto add = [work](AsyncGenerator<int> in) -> Task<int> {
        int total = 0;
        while (const int* item = co_await in.next()) {
            co_await work();
            total += *item;
        }
        co_return total;
    };
    Node producer{"producer", produce, "n"_a = 10};
    Node a{"a", through, "in"_a = producer};
    Node b{"b", through, "in"_a = a};
    Node c{"c", add, "in"_a = b};
    Node d{"d", add, "in"_a = producer};
    Node e{"e", add, "in"_a = a};
    c.limit(Semaphore(1));
    e.priority(GENERATE(-1, 0, 5));
    producer.buffer(GENERATE(as<std::size_t>(), 0, 2, 100));
    TreeExecutor executor{producer};
    run_all(executor.max_concurrency(places));
    CHECK(c.output() == 55);
    CHECK(d.output() == 55);
    CHECK(e.output() == 55);
    CHECK(static_cast<std::size_t>(most) == places);
}

TEST_CASE("A task that outlives the reader whose pipe it reads finds an end") {
    const std::size_t places = GENERATE(as<std::size_t>(), 1, 2, 100);
    bool ended = false;
    Node producer{"producer", tick, "n"_a = 5, "pause"_a = 10ms};
    Node reader{"reader",
                [&ended](AsyncGenerator<int> in) -> Task<> {
                    const auto read = [](AsyncGenerator<int> from, bool& at_end) -> Task<> {
                        while (co_await from.next() != nullptr) {
                        }
                        at_end = true;
                    };
                    EventLoop::current().spawn(read(std::move(in), ended));
                    co_await sleep_for(15ms);
                },
                "in"_a = producer};
    const auto go = [](const TreeExecutor& executor, const bool& at_end) -> Task<> {
        co_await executor.run();
        co_await sleep_for(1ms);
        CHECK(at_end);
    };
    TreeExecutor executor{producer};
    executor.max_concurrency(places);
    EventLoop loop{virtual_time};
    loop.run(go(executor, ended));
    CHECK(producer.output().size() == 5);
}

TEST_CASE("Readers of one producer that do not fit into one semaphore are refused") {
    const Semaphore semaphore(3);
    Node producer{"producer", count_to, "n"_a = 3};
    Node one{"one", sum, "in"_a = producer};
    Node two{"two", sum, "in"_a = producer};
    one.limit(semaphore, 2);
    SECTION("they fit") {
        two.limit(semaphore, 1);
        run_all(TreeExecutor{producer});
        CHECK(one.output() + two.output() == 12);
    }
    SECTION("they do not") {
        two.limit(semaphore, 2);
        try {
            run_all(TreeExecutor{producer});
            FAIL("not refused");
        } catch (const Error& error) {
            CHECK_THAT(error.what(), ContainsSubstring("nodes 'one' and 'two' read the chunks of "
                                                       "node 'producer' side by side"));
        }
    }
}

// ---- the run's own trouble --------------------------------------------------------------------

TEST_CASE("An observer that throws ends a run whose reader has not started") {
    struct Throwing final : Observer {
        void transition(const Transition& transition) override {
            if (transition.node().id() == "trouble") throw std::runtime_error("observer");
        }
    };
    Throwing observer;
    Node producer{"producer", count_to, "n"_a = 3};
    Node late{"late", []() -> Task<> { co_await sleep_for(1h); }};
    Node reader{"reader", sum, "in"_a = producer};
    late.connect(reader);
    Node trouble{"trouble", [] {}};
    Node soon{"soon", []() -> Task<> { co_await sleep_for(1s); }};
    soon.connect(trouble);
    TreeExecutor executor{producer, late, soon};
    executor.observe(observer);
    CHECK_THROWS_WITH(run_all(executor), ContainsSubstring("observer"));
    CHECK(producer.state() == NodeState::cancelled);
    CHECK(reader.state() == NodeState::cancelled);
}
