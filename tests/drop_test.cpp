#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
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

// What a run leaves behind when its task or its stream is dropped half-way: nothing.
// The objects of every kind that a run makes are `Counted`; the address sanitizer sees the rest.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::Counted;
using grafo_test::FarewellError;
using grafo_test::make_farewell;

namespace {

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

    [[nodiscard]] bool waited() const noexcept { return waiting_ != nullptr; }
    void open() {
        if (waiting_) std::exchange(waiting_, {}).resume();
    }
    void lose() {
        if (waiting_) std::exchange(waiting_, {}).destroy();
    }

private:
    std::coroutine_handle<> waiting_;
};

// Opens the gate after `delay`; if the loop wants to end earlier, `delay` after that.
Task<> open_later(Gate& gate, std::chrono::milliseconds delay, std::vector<std::string>& log) {
    bool asked_to_end = false;
    try {
        co_await sleep_for(delay);
    } catch (const Cancelled&) {
        asked_to_end = true;
    }
    if (asked_to_end) co_await sleep_for(delay);
    log.push_back("the gate opens");
    gate.open();
}

// Tells the log of its end.
class Witness {
public:
    Witness(std::vector<std::string>& log, std::string text) : log_(log), text_(std::move(text)) {}
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;
    ~Witness() { log_.push_back(text_); }

private:
    std::vector<std::string>& log_;
    std::string text_;
};

bool is_final(NodeState state) { return state >= NodeState::completed; }

// One of everything that can hold an object while it waits:
//
//   plain ── sleeper ──(slow transform)── joined ── sink
//     │ └── deferred ── called_back ─────────┘      │
//     └── generator ────────────────────────────────┤
//   failing ── never                                │
//   skipping ── skipped        quiet generator ─────┘ (order only)
struct Everything {
    explicit Everything(bool with_failure) {
        Node plain{"plain", [](const Counted& c) { return Counted(c.value + 1); },
                   "c"_a = Counted(1)};
        Node sleeper{"sleeper", sleep_and_add, "c"_a};
        Node generator{"generator", three_counted, "c"_a};
        Node quiet{"quiet", three_and_result};
        const Counted captured(7);
        Node deferred{"deferred", sum_of_two, "a"_a, "b"_a = [captured]() -> Task<Counted> {
                          Counted local(captured.value);
                          co_await sleep_for(1ms);
                          co_return local;
                      }};
        Node called_back{"called_back", sleep_and_add, "c"_a};
        called_back.on_before_run(wait_with_local).on_after_run([captured]() -> Task<> {
            Counted local(captured.value);
            co_await sleep_for(2ms);
        });
        Node joined{"joined", sum_of_two, "a"_a, "b"_a};
        Node sink{"sink", sum_of_all, "all"_args};
        plain.connect(sleeper, "c"_a);
        plain.connect(deferred, "a"_a);
        plain.connect(generator, "c"_a);
        deferred.connect(called_back, "c"_a);
        sleeper.connect(
            joined, "a"_a = [captured](const Counted& c) -> Task<Counted> {
                Counted local(c.value + captured.value);
                co_await sleep_for(2ms);
                co_return local;
            });
        called_back.connect(
            joined,
            "b"_a = [captured](const Counted& c) { return Counted(c.value * captured.value); });
        joined.connect(sink, "all"_args);
        generator.connect(sink, "all"_a = last_of);
        quiet.connect(sink);
        nodes = {plain, sleeper, generator, quiet, deferred, called_back, joined, sink};

        Node skipping{"skipping", skip_later, "c"_a = Counted(2)};
        Node skipped{"skipped", sleep_and_add, "c"_a};
        skipping.connect(skipped, "c"_a);
        nodes.insert(nodes.end(), {skipping, skipped});
        roots = {plain, quiet, skipping};
        if (with_failure) {
            Node failing{"failing", fail_later, "c"_a = Counted(3)};
            Node never{"never", sleep_and_add, "c"_a};
            failing.connect(never, "c"_a);
            nodes.insert(nodes.end(), {failing, never});
            roots.push_back(failing);
        }
        result = sink;
    }

    static Task<Counted> sleep_and_add(Counted c) {
        const Counted local(c.value + 1);
        co_await sleep_for(3ms);
        co_return local;
    }
    static AsyncGenerator<Counted> three_counted(Counted c) {
        Counted local(c.value);
        for (int i = 0; i < 3; ++i) {
            co_await sleep_for(1ms);
            ++local.value;
            co_yield local;
        }
    }
    static AsyncGenerator<Counted, Counted> three_and_result() {
        for (int i = 0; i < 3; ++i) {
            Counted local(i);
            co_yield local;
            co_await sleep_for(2ms);
        }
        co_return Counted(99);
    }
    static Task<> wait_with_local() {
        const Counted local(1);
        co_await sleep_for(1ms);
    }
    static Task<Counted> sum_of_two(Counted a, const Counted& b) {
        co_await sleep_for(1ms);
        co_return Counted(a.value + b.value);
    }
    static Task<Counted> sum_of_all(std::vector<Counted> all) {
        int sum = 0;
        for (const Counted& c : all) sum += c.value;
        co_await sleep_for(1ms);
        co_return Counted(sum);
    }
    static Counted last_of(const std::vector<Counted>& all) { return all.back(); }
    static Task<Counted> skip_later(Counted c) {
        const Counted local(c);
        co_await sleep_for(2ms);
        co_await skip("not today");
        co_return local;
    }
    static Task<Counted> fail_later(Counted c) {
        const Counted local(c);
        co_await sleep_for(5ms);
        throw std::runtime_error("failing fails");
    }

    std::vector<AnyNode> nodes;
    std::vector<AnyNode> roots;
    std::optional<Node<Counted>> result;
};

// Reads up to `most` events, and drops the stream. How many there were.
Task<int> read_events(const TreeExecutor& executor, int most) {
    auto events = executor.yielding();
    int count = 0;
    try {
        while (count < most && co_await events.next()) ++count;
    } catch (const RunError&) {
    }
    co_return count;
}

// Reads exactly so many events; the last is still held afterwards.
Task<> read_exactly(AsyncGenerator<Event>& events, int many) {
    for (int i = 0; i < many; ++i) {
        const Event* event = co_await events.next();
        REQUIRE(event != nullptr);
    }
}

constexpr int all_events = 1'000'000;

void drop_at_every_event(bool with_failure, ErrorPolicy policy) {
    Counted::reset();
    int count = 0;
    int expected = 0;
    {
        const Everything graph(with_failure);
        TreeExecutor executor{graph.roots};
        executor.on_error(policy);
        EventLoop loop{virtual_time};
        count = loop.run(read_events(executor, all_events));
        const bool completes = graph.result->state() == NodeState::completed;
        REQUIRE(completes == (!with_failure || policy == ErrorPolicy::keep_going));
        if (completes) expected = graph.result->output().value;
    }
    REQUIRE(Counted::live() == 0);
    REQUIRE(count > 20);
    for (int k = 0; k <= count; ++k) {
        CAPTURE(k, with_failure);
        {
            const Everything graph(with_failure);
            TreeExecutor executor{graph.roots};
            executor.on_error(policy);
            EventLoop loop{virtual_time};
            REQUIRE(loop.run(read_events(executor, k)) == k);
            for (const AnyNode& node : graph.nodes) {
                // A stream that was never asked for an event never began.
                if (k > 0) {
                    CAPTURE(node.id());
                    CHECK(is_final(node.state()));
                }
            }
            // The graph is whole and free: it runs again from the start.
            CHECK(loop.run(read_events(executor, all_events)) == count);
            if (expected != 0) CHECK(graph.result->output().value == expected);
        }
        REQUIRE(Counted::live() == 0);
    }
}

}  // namespace

TEST_CASE("A stream may be dropped after every single event of a run that completes") {
    drop_at_every_event(false, ErrorPolicy::fail_fast);
}

TEST_CASE("A stream may be dropped after every single event of a run that fails fast") {
    drop_at_every_event(true, ErrorPolicy::fail_fast);
}

TEST_CASE("A stream may be dropped after every single event of a run that keeps going") {
    drop_at_every_event(true, ErrorPolicy::keep_going);
}

TEST_CASE("A run may be stopped after every single event: each node ends, and all is released") {
    for (int k = 1; k <= 200; ++k) {
        Counted::reset();
        CAPTURE(k);
        bool stopped = false;
        {
            const Everything graph(k % 2 == 0);
            TreeExecutor executor{graph.roots};
            executor.on_error(ErrorPolicy::keep_going);
            EventLoop loop{virtual_time};
            const auto consume = [&]() -> Task<> {
                auto events = executor.yielding();
                int count = 0;
                try {
                    while (co_await events.next()) {
                        if (++count != k) continue;
                        stopped = true;
                        executor.stop();
                    }
                } catch (const RunError&) {
                }
            };
            loop.run(consume());
            const RunReport report = executor.report();
            CHECK(report.completed().size() + report.failed().size() + report.skipped().size() +
                      report.cancelled().size() ==
                  graph.nodes.size());
            for (const AnyNode& node : graph.nodes) CHECK(is_final(node.state()));
        }
        REQUIRE(Counted::live() == 0);
        if (!stopped) {
            CHECK(k > 20);
            break;
        }
    }
}

TEST_CASE("A stream whose nodes rewire the graph may be dropped after every event") {
    int complete = 0;
    for (int k = 1; complete < 2; ++k) {
        CAPTURE(k);
        REQUIRE(k < 200);
        Counted::reset();
        {
            Everything graph(false);
            const Node<Counted> sink = *graph.result;
            // Before the first event of its own: a new tail of the sink; the generator's edge cut.
            AnyNode generator = graph.nodes[2];
            Node rewirer{"rewirer", [&sink, generator]() -> Task<> {
                             const Counted local(1);
                             Node tail{"tail", Everything::sleep_and_add, "c"_a};
                             sink.connect(
                                 tail, "c"_a = [local](const Counted& c) -> Task<Counted> {
                                     const Counted inner(local.value);
                                     co_await sleep_for(1ms);
                                     co_return Counted(c.value + inner.value);
                                 });
                             generator.disconnect(sink);
                             co_await sleep_for(4ms);
                             Node tail_of_tail{"tail_of_tail", Everything::sleep_and_add, "c"_a};
                             tail.connect(tail_of_tail, "c"_a);
                         }};
            graph.roots.push_back(rewirer);
            const std::vector<AnyNode> parents = AnyNode(sink).parents();
            const TreeExecutor executor{graph.roots};
            EventLoop loop{virtual_time};
            if (loop.run(read_events(executor, k)) < k) ++complete;
            CHECK(AnyNode(sink).parents() == parents);
            CHECK(sink.children().empty());
            for (const AnyNode& node : graph.nodes) CHECK(is_final(node.state()));
        }
        REQUIRE(Counted::live() == 0);
    }
}

TEST_CASE("A range over a stream may be left after every single event") {
    Counted::reset();
    EventLoop counting{virtual_time};
    int count = 0;
    {
        const Everything graph(false);
        count = counting.run(read_events(TreeExecutor{graph.roots}, all_events));
    }
    for (int k = 1; k <= count; ++k) {
        {
            const Everything graph(false);
            EventLoop loop{virtual_time};
            int seen = 0;
            for (const Event& event : iterate(loop, TreeExecutor{graph.roots}.yielding())) {
                CHECK(event.node());
                if (++seen == k) break;
            }
            REQUIRE(seen == k);
            for (const AnyNode& node : graph.nodes) CHECK(is_final(node.state()));
        }
        REQUIRE(Counted::live() == 0);
    }
}

TEST_CASE("A sub-flow that is run or streamed in a body is dropped with its parent at any time") {
    Counted::reset();
    const bool streamed = GENERATE(false, true);
    for (int ticks = 1; ticks <= 16; ++ticks) {
        CAPTURE(streamed, ticks);
        {
            const Everything inner(ticks % 2 == 0);
            const auto run_inner = [streamed, roots = inner.roots]() -> Task<> {
                const Counted local(1);
                TreeExecutor executor{roots};
                executor.on_error(ErrorPolicy::keep_going);
                if (streamed) {
                    co_await read_events(executor, all_events);
                } else {
                    co_await executor.try_run();
                }
            };
            Node flow{"flow", run_inner};
            Node clock{"clock",
                       [](int n) -> AsyncGenerator<int> {
                           for (int i = 0; i < n; ++i) {
                               co_await sleep_for(1ms);
                               co_yield i;
                           }
                       },
                       "n"_a = ticks};
            EventLoop loop{virtual_time};
            const auto consume = [&]() -> Task<> {
                auto events = TreeExecutor{flow, clock}.yielding();
                while (auto event = co_await events.next()) {
                    if (event->completed(clock)) break;
                }
            };
            loop.run(consume());
            CHECK(loop.now().time_since_epoch() == std::chrono::milliseconds(ticks));
            for (const AnyNode& node : inner.nodes) {
                CAPTURE(node.id());
                CHECK(is_final(node.state()));
            }
            CHECK(is_final(flow.state()));
        }
        REQUIRE(Counted::live() == 0);
    }
}

TEST_CASE("A run or stream that was never awaited starts nothing and may be dropped") {
    int calls = 0;
    Node node{"node", [&calls] { ++calls; }};
    EventLoop loop{virtual_time};
    const auto drop_both = [&]() -> Task<> {
        TreeExecutor executor{node};
        {
            const Task<RunReport> never = executor.run();
            const AsyncGenerator<Event> neither = executor.yielding();
        }
        CHECK(calls == 0);
        CHECK(node.state() == NodeState::pending);
        co_await executor.run();
    };
    loop.run(drop_both());
    CHECK(calls == 1);
}

TEST_CASE("Dropping a stream runs destructors only: no handler and no clean-up await of a body") {
    std::vector<std::string> log;
    Node waits{"waits", [&log]() -> Task<> {
                   const Witness witness(log, "destroyed");
                   bool cancelled = false;
                   try {
                       co_await sleep_for(1h);
                       log.push_back("woken");
                   } catch (const Cancelled&) {
                       cancelled = true;
                   }
                   if (cancelled) log.push_back("cancelled");
               }};
    EventLoop loop{virtual_time};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{waits}.yielding();
        auto event = co_await events.next();
        REQUIRE(event->kind() == EventKind::started);
        co_await sleep_for(1ms);
        events = AsyncGenerator<Event>();
        log.push_back("dropped");
    };
    loop.run(consume());
    CHECK(log == std::vector<std::string>{"destroyed", "dropped"});
    CHECK(waits.state() == NodeState::cancelled);
    CHECK(loop.now().time_since_epoch() == 1ms);
}

TEST_CASE("A stream that outlives the loop's run is dropped or read on after it") {
    Counted::reset();
    const bool read_on = GENERATE(false, true);
    {
        const Everything graph(false);
        EventLoop loop{virtual_time};
        AsyncGenerator<Event> events = TreeExecutor{graph.roots}.yielding();
        const auto read_ten = [&]() -> Task<> { co_await read_exactly(events, 10); };
        loop.run(read_ten());
        CHECK_FALSE(is_final(graph.result->state()));
        if (read_on) {
            const auto read_rest = [&]() -> Task<> {
                while (co_await events.next()) {
                }
            };
            loop.run(read_rest());
            CHECK(graph.result->state() == NodeState::completed);
        } else {
            events = AsyncGenerator<Event>();
            CHECK(graph.result->state() == NodeState::cancelled);
            loop.run(read_events(TreeExecutor{graph.roots}, all_events));
            CHECK(graph.result->state() == NodeState::completed);
        }
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("The executor may be dropped in a callback of its own run") {
    std::optional<TreeExecutor> executor;
    Node first{"first", [] { return 1; }};
    Node second{"second", [](int x) { return x + 1; }, "x"_a};
    first.connect(second, "x"_a);
    const bool before = GENERATE(false, true);
    if (before) {
        first.on_before_run([&] { executor.reset(); });
    } else {
        first.on_after_run([&] { executor.reset(); });
    }
    executor.emplace(first);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor->run());
    CHECK_FALSE(executor.has_value());
    CHECK(report.ok());
    CHECK(second.output() == 2);
}

TEST_CASE("A graph whose last handle goes during its run lives as long as the run, no longer") {
    Counted::reset();
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        std::optional<Everything> graph(std::in_place, false);
        auto events = TreeExecutor{graph->roots}.yielding();
        co_await read_exactly(events, 1);
        graph.reset();
        CHECK(Counted::live() > 0);
        int count = 1;
        while (count < 12 && co_await events.next()) ++count;
        CHECK(count == 12);
        events = AsyncGenerator<Event>();
        CHECK(Counted::live() == 0);
    };
    loop.run(main());
    CHECK(Counted::live() == 0);
}

// ---- dropped from within ------------------------------------------------------------------------

namespace {

// Where in a run the stream is dropped, by the run's own code.
enum class From {
    body,
    body_after_sleep,
    plain_body,
    body_then_throw,
    body_then_return,
    generator,
    generator_then_yield,
    before_run,
    slow_before_run,
    after_run,
    deferred,
    slow_deferred,
    transform,
    transform_then_throw,
    slow_transform,
    slow_transform_later,
    foreign,
};

struct Trial {
    std::optional<AsyncGenerator<Event>> events;
    std::vector<std::string> log;
    void drop() {
        log.push_back("drop");
        events.reset();
    }
};

// A node, a child and a sibling that sleeps; the node, or the edge, drops the stream.
NodeList make_self_dropping(From from, Trial& trial) {
    Node child{"child",
               [&trial](const Counted& c) -> Task<Counted> {
                   trial.log.push_back("child started");
                   co_await sleep_for(1ms);
                   co_return Counted(c.value);
               },
               "c"_a};
    Node second_child{"second_child", [](const Counted& c) { return c.value; }, "c"_a};
    Node node{"node",
              [from, &trial](Counted c) -> Task<Counted> {
                  const Counted local(1);
                  switch (from) {
                      case From::body: trial.drop(); break;
                      case From::body_after_sleep:
                          co_await sleep_for(1ms);
                          trial.drop();
                          break;
                      case From::body_then_throw:
                          trial.drop();
                          throw std::runtime_error("after the drop");
                      case From::body_then_return: trial.drop(); co_return Counted(2);
                      case From::foreign: {
                          Gate gate;
                          trial.drop();
                          co_await gate;
                          break;
                      }
                      default: co_return Counted(c.value);
                  }
                  co_await sleep_for(1ms);
                  trial.log.push_back("gone on");
                  co_return Counted(2);
              },
              "c"_a = [from, &trial]() -> Task<Counted> {
                  const Counted local(1);
                  if (from == From::slow_deferred) co_await sleep_for(1ms);
                  if (from == From::deferred || from == From::slow_deferred) {
                      trial.drop();
                      co_await sleep_for(1ms);
                      trial.log.push_back("gone on");
                  }
                  co_return local;
              }};
    node.on_before_run([from, &trial]() -> Task<> {
        const Counted local(1);
        if (from == From::slow_before_run) co_await sleep_for(1ms);
        if (from == From::before_run || from == From::slow_before_run) {
            trial.drop();
            co_await sleep_for(1ms);
            trial.log.push_back("gone on");
        }
    });
    node.on_after_run([from, &trial]() -> Task<> {
        const Counted local(1);
        if (from != From::after_run) co_return;
        trial.drop();
        co_await sleep_for(1ms);
        trial.log.push_back("gone on");
    });
    node.connect(
        child, "c"_a = [from, &trial](const Counted& c) -> Task<Counted> {
            const Counted local(c.value);
            if (from == From::slow_transform_later) co_await sleep_for(1ms);
            if (from == From::slow_transform || from == From::slow_transform_later) {
                trial.drop();
                co_await sleep_for(1ms);
                trial.log.push_back("gone on");
            }
            co_return local;
        });
    node.connect(
        second_child, "c"_a = [from, &trial](const Counted& c) {
            if (from == From::transform || from == From::transform_then_throw) trial.drop();
            if (from == From::transform_then_throw) throw std::runtime_error("after the drop");
            return c;
        });
    Node third_child{"third_child", [](const Counted& c) { return c.value; }, "c"_a};
    node.connect(
        third_child, "c"_a = [](const Counted& c) -> Task<Counted> {
            const Counted local(c.value);
            co_await sleep_for(2ms);
            co_return local;
        });
    Node plain{"plain", [from, &trial] {
                   if (from == From::plain_body) trial.drop();
                   return Counted(3);
               }};
    Node generator{"generator", [from, &trial]() -> AsyncGenerator<Counted> {
                       const Counted local(1);
                       if (from == From::generator) {
                           trial.drop();
                           co_await sleep_for(1ms);
                           trial.log.push_back("gone on");
                       }
                       if (from == From::generator_then_yield) {
                           trial.drop();
                           Counted chunk(1);
                           co_yield chunk;
                           trial.log.push_back("gone on");
                       }
                       co_await sleep_for(1ms);
                   }};
    Node sibling{"sibling",
                 [](const Counted& c) -> Task<Counted> {
                     const Counted local(c);
                     co_await sleep_for(1h);
                     co_return local;
                 },
                 "c"_a = Counted(4)};
    return NodeList(sibling, node, plain, generator);
}

}  // namespace

TEST_CASE("A stream dropped by the run's own code: what executes ends at its next suspension") {
    const From from =
        GENERATE(From::body, From::body_after_sleep, From::plain_body, From::body_then_throw,
                 From::body_then_return, From::generator, From::generator_then_yield,
                 From::before_run, From::slow_before_run, From::after_run, From::deferred,
                 From::slow_deferred, From::slow_transform, From::slow_transform_later);
    CAPTURE(static_cast<int>(from));
    Counted::reset();
    {
        Trial trial;
        EventLoop loop{virtual_time};
        const NodeList nodes = make_self_dropping(from, trial);
        const auto consume = [&]() -> Task<> {
            trial.events.emplace(TreeExecutor{nodes}.yielding());
            co_await read_exactly(*trial.events, 1);
            co_await sleep_for(100ms);  // holds the first event, asks for no other
        };
        loop.run(consume());
        CHECK(loop.now().time_since_epoch() == 100ms);
        CHECK(trial.log == std::vector<std::string>{"drop"});
        for (const auto& node : nodes) {
            CAPTURE(AnyNode(*node.core()).id());
            CHECK(is_final(AnyNode(*node.core()).state()));
        }
        // Nothing of that run is left: the graph runs again, to its end.
        TreeExecutor again{nodes};
        again.on_error(ErrorPolicy::keep_going);
        const RunReport report = loop.run(again.try_run());
        CHECK(report.cancelled().empty());
        CHECK(report.skipped().size() + report.completed().size() + report.failed().size() == 7);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stream dropped by a plain transform, which goes on or throws: no further edge waits") {
    const From from = GENERATE(From::transform, From::transform_then_throw);
    CAPTURE(static_cast<int>(from));
    Counted::reset();
    {
        Trial trial;
        EventLoop loop{virtual_time};
        const NodeList nodes = make_self_dropping(from, trial);
        const auto consume = [&]() -> Task<> {
            trial.events.emplace(TreeExecutor{nodes}.yielding());
            co_await read_exactly(*trial.events, 1);
            co_await sleep_for(100ms);
        };
        loop.run(consume());
        CHECK(loop.now().time_since_epoch() == 100ms);
        CHECK(trial.log == std::vector<std::string>{"drop"});
        for (const auto& node : nodes) CHECK(is_final(AnyNode(*node.core()).state()));
        loop.run(TreeExecutor{nodes}.try_run());
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stream dropped by the condition of an edge that its reader makes meanwhile") {
    const bool joins = GENERATE(false, true);
    Node parent{"parent", [] { return 1; }};
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1s); }};
    bool ran = false;
    const Node child{"child", [&] { ran = true; }};
    const TreeExecutor executor{parent, slow};
    if (!joins) slow.connect(child);
    const auto read = [&]() -> Task<> {
        std::optional<AsyncGenerator<Event>> events(executor.yielding());
        while (const Event* event = co_await events->next()) {
            if (!event->completed(parent)) continue;
            parent.connect(child, when([&](int) {
                               events.reset();
                               return true;
                           }));
            break;
        }
        CHECK_FALSE(events.has_value());
        CHECK_FALSE(ran);
        co_await executor.run();
        CHECK(ran == !joins);
    };
    EventLoop loop{virtual_time};
    loop.run(read());
}

TEST_CASE("A body that drops its own stream and then closes a loop: nothing runs again") {
    const unsigned max_runs = GENERATE(1U, 5U);  // one lap more would be a failure, or is one
    const bool waits = GENERATE(false, true);    // the run is not at work when it is dropped
    CAPTURE(max_runs, waits);
    Counted::reset();
    {
        int works = 0;
        bool drops = true;
        std::optional<AsyncGenerator<Event>> events;
        const Node<Counted> work = Node{"work",
                                        [&works](const Counted& c) {
                                            ++works;
                                            return c;
                                        },
                                        "c"_a = Counted(1)}
                                       .max_runs(max_runs);
        const Node<Counted> check{
            "check",
            [&](NodeContext& context, Counted c, NodeRef<Counted> again) -> Task<Counted> {
                if (waits) co_await sleep_for(1ms);
                if (drops) {
                    events.reset();
                    Node<Counted>(context.node()).connect(again.lock());
                    const Node fresh{"fresh", [] {}};
                    context.node().connect(fresh);
                    fresh.connect(again.lock());
                }
                co_return c;
            },
            "c"_a = work, "again"_a = work.ref()};
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            events.emplace(TreeExecutor{check}.yielding());
            co_await read_exactly(*events, 1);
            co_await sleep_for(100ms);
        };
        loop.run(consume());
        CHECK_FALSE(events.has_value());
        CHECK(works == 1);
        CHECK(is_final(work.state()));
        CHECK(is_final(check.state()));
        CHECK(work.parents().empty());
        drops = false;
        CHECK(loop.run(TreeExecutor{check}.run()).ok());
        CHECK(works == 2);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What a transform made for a node that never ran goes with the run, not with the graph") {
    enum class Drop : unsigned char { later, in_the_transform, in_a_slow_transform };
    const Drop drop = GENERATE(Drop::later, Drop::in_the_transform, Drop::in_a_slow_transform);
    CAPTURE(static_cast<int>(drop));
    Counted::reset();
    std::optional<AsyncGenerator<Event>> events;
    const Node source{"source", [] { return Counted(1); }};
    const Node slow{"slow", [] { return sleep_for(1h); }};
    const Node never{"never", [](const Counted&) {}, "c"_a};
    slow.connect(never);
    source.connect(
        never, "c"_a = [&events, drop](const Counted& c) -> Task<Counted> {
            if (drop != Drop::later) {
                if (drop == Drop::in_a_slow_transform) co_await sleep_for(1ms);
                events.reset();
            }
            co_return Counted(c.value);
        });
    EventLoop loop{virtual_time};
    const auto consume = [&]() -> Task<> {
        events.emplace(TreeExecutor{never}.yielding());
        co_await read_exactly(*events, 1);
        co_await sleep_for(100ms);
        events.reset();
    };
    loop.run(consume());
    CHECK(never.state() == NodeState::cancelled);
    CHECK(source.state() == NodeState::completed);
    CHECK(Counted::live() == 1);  // the output
}

TEST_CASE("What a slow transform made for a node that has failed meanwhile is not kept") {
    Counted::reset();
    const Node source{"source", [] { return Counted(1); }};
    const Node child{"child", [](Counted, Counted) {}, "a"_a, "b"_a};
    source.connect(
        child, "a"_a = [](const Counted& c) -> Task<Counted> {
            co_await sleep_for(2ms);
            co_return c;
        });
    source.connect(
        child, "b"_a = [](const Counted& c) -> Task<Counted> {
            co_await sleep_for(1ms);
            if (c.value == 1) throw std::runtime_error("failing fails");
            co_return c;
        });
    TreeExecutor executor{child};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    static_cast<void>(loop.run(executor.try_run()));
    CHECK(child.state() == NodeState::failed);
    CHECK(Counted::live() == 1);  // the output
}

TEST_CASE("What a transform made while it cut its own edge is not kept") {
    Counted::reset();
    const Node<Counted> source{"source", [] { return Counted(1); }};
    const Node child{"child", [](Counted) {}, "c"_a};
    source.connect(
        child, "c"_a = [from = source.ref()](const Counted& c) {
            const Node<Counted> parent = from.lock();
            for (const AnyNode& node : parent.children()) parent.disconnect(node);
            return Counted(c.value);
        });
    EventLoop loop{virtual_time};
    static_cast<void>(loop.run(TreeExecutor{child}.try_run()));
    CHECK(child.state() == NodeState::skipped);
    CHECK(source.children().size() == 1);
    CHECK(Counted::live() == 1);  // the output
}

TEST_CASE("A body that drops its own stream and then runs a sub-flow never starts that") {
    Counted::reset();
    {
        Trial trial;
        Gate gate;
        int inner_calls = 0;
        Node inner{"inner", [&]() -> Task<> {
                       ++inner_calls;
                       co_await gate;
                   }};
        const bool streamed = GENERATE(false, true);
        Node node{"node", [&trial, inner, streamed]() -> Task<> {
                      const Counted local(1);
                      trial.drop();
                      TreeExecutor executor{inner};
                      if (streamed) {
                          auto events = executor.yielding();
                          co_await events.next();
                      } else {
                          co_await executor.run();
                      }
                      trial.log.push_back("gone on");
                  }};
        Node other{"other", []() -> Task<> { co_await sleep_for(1h); }};
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            EventLoop::current().spawn(open_later(gate, 1ms, trial.log));
            trial.events.emplace(TreeExecutor{other, node}.yielding());
            co_await read_exactly(*trial.events, 1);
            co_await sleep_for(100ms);
        };
        loop.run(consume());
        CHECK(inner_calls == 0);
        CHECK(trial.log == std::vector<std::string>{"drop", "the gate opens"});
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE(
    "A sub-flow's body that drops the outer stream ends at its next suspension, and all of it") {
    Counted::reset();
    {
        Trial trial;
        const bool after_sleep = GENERATE(false, true);
        const bool yields = GENERATE(false, true);
        CAPTURE(after_sleep, yields);
        Node inner{"inner", [&trial, after_sleep, yields]() -> AsyncGenerator<Counted> {
                       const Counted local(1);
                       if (after_sleep) co_await sleep_for(1ms);
                       trial.drop();
                       Counted chunk(2);
                       if (yields) co_yield chunk;
                       co_await sleep_for(1ms);
                       trial.log.push_back("gone on");
                   }};
        Node beside{"beside", []() -> Task<Counted> {
                        Counted local(1);
                        co_await sleep_for(1h);
                        co_return local;
                    }};
        Node outer{"outer", [inner, beside]() -> Task<> {
                       const Counted local(1);
                       co_await TreeExecutor{beside, inner}.run();
                   }};
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            Node early{"early", [] {}};
            trial.events.emplace(TreeExecutor{early, outer}.yielding());
            co_await read_exactly(*trial.events, 1);
            co_await sleep_for(100ms);
        };
        loop.run(consume());
        CHECK(loop.now().time_since_epoch() == 100ms);
        CHECK(trial.log == std::vector<std::string>{"drop"});
        CHECK(is_final(inner.state()));
        CHECK(is_final(beside.state()));
        CHECK(is_final(outer.state()));
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE(
    "A sub-flow's body that drops the outer stream at once and ends or throws leaves nothing") {
    enum class End { throws, throws_early, returns, in_transform };
    for (const End end : {End::throws, End::throws_early, End::returns, End::in_transform}) {
        CAPTURE(end);
        Counted::reset();
        Trial trial;
        Gate gate;  // who waits there keeps the rest until it opens
        const Node busy{"busy", [&gate]() -> Task<> { co_await gate; }};
        Node inner{"inner",
                   [&trial, end](Counted) -> Task<int> {
                       if (end == End::in_transform) co_return 1;
                       trial.drop();
                       if (end != End::returns) throw std::runtime_error("no");
                       co_return 1;
                   },
                   "counted"_a = Counted(1)};
        Node next{"next", [](int x) { return x; }, "x"_a};
        inner.connect(
            next, "x"_a = [&trial, end](int x) -> Task<int> {
                const Counted local(x);
                if (end == End::in_transform) trial.drop();
                co_return x;
            });
        const int kept = Counted::live();
        {
            Node outer{"outer", [inner, busy, end]() -> Task<> {
                           NodeList nodes{inner};
                           if (end == End::throws_early) nodes = NodeList{busy, inner};
                           co_await TreeExecutor{nodes}.run();
                       }};
            EventLoop loop{virtual_time};
            const auto consume = [&]() -> Task<> {
                EventLoop::current().spawn(open_later(gate, 1ms, trial.log));
                Node early{"early", [] {}};
                trial.events.emplace(TreeExecutor{early, outer}.yielding());
                co_await read_exactly(*trial.events, 1);
                co_await sleep_for(100ms);
            };
            loop.run(consume());
        }
        CHECK(trial.log == std::vector<std::string>{"drop", "the gate opens"});
        CHECK(Counted::live() == kept);
        EventLoop loop{virtual_time};
        loop.run(TreeExecutor{inner}.try_run());
        CHECK(Counted::live() == kept);
    }
}

TEST_CASE("The destructors of a dropped run may stop it, and drop and start other streams") {
    Counted::reset();
    {
        std::optional<AsyncGenerator<Event>> events;
        std::optional<AsyncGenerator<Event>> other_events;
        std::optional<TreeExecutor> executor;
        Node other{"other", []() -> Task<Counted> {
                       Counted local(1);
                       co_await sleep_for(1h);
                       co_return local;
                   }};
        struct Meddler {
            explicit Meddler(std::optional<TreeExecutor>& e,
                             std::optional<AsyncGenerator<Event>>& s)
                : executor(e), stream(s) {}
            Meddler(const Meddler&) = delete;
            Meddler& operator=(const Meddler&) = delete;
            ~Meddler() {
                executor->stop();
                stream.reset();
            }
            std::optional<TreeExecutor>& executor;
            std::optional<AsyncGenerator<Event>>& stream;
        };
        Node first{"first", [&]() -> Task<> {
                       const Meddler meddler(executor, other_events);
                       co_await sleep_for(1h);
                   }};
        Node second{"second", [&]() -> Task<> {
                        const Meddler meddler(executor, other_events);
                        co_await sleep_for(1h);
                    }};
        executor.emplace(first, second);
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            events.emplace(executor->yielding());
            other_events.emplace(TreeExecutor{other}.yielding());
            co_await read_exactly(*events, 2);
            co_await read_exactly(*other_events, 1);
            co_await sleep_for(1ms);
            CHECK(Counted::live() == 1);
            events.reset();
            CHECK(Counted::live() == 0);
            CHECK_FALSE(other_events.has_value());
        };
        loop.run(consume());
        CHECK(loop.now().time_since_epoch() == 1ms);
        CHECK(other.state() == NodeState::cancelled);
    }
    CHECK(Counted::live() == 0);
}

// ---- dropped while something outside still uses a frame -----------------------------------------

namespace {

// Who is inside the foreign await.
enum class Inside { body, generator, before_run, after_run, deferred, transform, sub_flow };

NodeList make_foreign(Inside inside, Gate& gate, std::vector<std::string>& log) {
    const auto pass = [&gate, &log]() -> Task<> {
        const Witness witness(log, "frame destroyed");
        const Counted local(1);
        co_await gate;
        log.push_back("gone on");
    };
    if (inside == Inside::body) return Node{"foreign", pass};
    if (inside == Inside::generator) {
        return Node{"foreign", [&gate, &log]() -> AsyncGenerator<Counted> {
                        const Witness witness(log, "frame destroyed");
                        const Counted local(1);
                        co_await gate;
                        log.push_back("gone on");
                    }};
    }
    if (inside == Inside::before_run) return Node{"foreign", [] {}}.on_before_run(pass);
    if (inside == Inside::after_run) return Node{"foreign", [] {}}.on_after_run(pass);
    if (inside == Inside::deferred) {
        return Node{"foreign", [](int) {},
                    "x"_a = [&gate, &log]() -> Task<int> {
                        const Witness witness(log, "frame destroyed");
                        const Counted local(1);
                        co_await gate;
                        log.push_back("gone on");
                        co_return 1;
                    }};
    }
    if (inside == Inside::transform) {
        Node parent{"foreign", [] { return Counted(1); }};
        Node child{"child", [](int) {}, "x"_a};
        parent.connect(
            child, "x"_a = [&gate, &log](const Counted& c) -> Task<int> {
                const Witness witness(log, "frame destroyed");
                const Counted local(c);
                co_await gate;
                log.push_back("gone on");
                co_return local.value + c.value;
            });
        return parent;
    }
    Node inner{"inner", pass};
    return Node{"foreign", [inner, &log]() -> Task<> {
                    const Counted local(1);
                    co_await TreeExecutor{inner}.run();
                    log.push_back("gone on");
                }};
}

Inside any_inside() {
    return GENERATE(Inside::body, Inside::generator, Inside::before_run, Inside::after_run,
                    Inside::deferred, Inside::transform, Inside::sub_flow);
}

}  // namespace

TEST_CASE("A frame inside a foreign await is destroyed when that resumes, and the loop waits") {
    const Inside inside = any_inside();
    const bool lost = GENERATE(false, true);
    CAPTURE(static_cast<int>(inside), lost);
    Counted::reset();
    {
        std::vector<std::string> log;
        Gate gate;
        EventLoop loop{virtual_time};
        const auto let_go = [&]() -> Task<> {
            try {
                co_await sleep_for(1h);
            } catch (const Cancelled&) {
            }
            co_await sleep_for(5ms);
            log.push_back("the gate opens");
            lost ? gate.lose() : gate.open();
        };
        const auto consume = [&]() -> Task<> {
            EventLoop::current().spawn(let_go());
            Node sleeper{"sleeper", [&log]() -> Task<> {
                             const Witness witness(log, "sleeper destroyed");
                             co_await sleep_for(1h);
                         }};
            NodeList nodes = make_foreign(inside, gate, log);
            {
                const TreeExecutor executor{NodeList(sleeper, AnyNode(*nodes[0].core()))};
                auto events = executor.yielding();
                co_await read_exactly(events, 1);
                co_await sleep_for(1ms);
                REQUIRE(gate.waited());
            }
            log.push_back("dropped");
            // Its graph is not free before the frame is gone.
            bool refused = false;
            try {
                co_await TreeExecutor{nodes}.run();
            } catch (const SafeExecutionError&) {
                refused = true;
            }
            CHECK(refused);
        };
        loop.run(consume());
        CHECK(log == std::vector<std::string>{"sleeper destroyed", "dropped", "the gate opens",
                                              "frame destroyed"});
        CHECK(loop.now().time_since_epoch() == 6ms);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stream held by a parameter of the loop's own task is dropped and waited for as well") {
    // Comes back two turns later, and not by a task that the loop could cancel.
    struct Late {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const {
            EventLoop::current().post(
                [handle] { EventLoop::current().post([handle]() noexcept { handle.resume(); }); });
        }
        void await_resume() const noexcept {}
    };
    const bool fails = GENERATE(false, true);
    CAPTURE(fails);
    Counted::reset();
    EventLoop loop{virtual_time};
    {
        const Node late{"late", []() -> Task<> {
                            const Counted local(1);
                            co_await Late();
                        }};
        const auto consume = [](AsyncGenerator<Event> events, bool failing) -> Task<int> {
            co_await read_exactly(events, 1);
            if (failing) throw std::runtime_error("the reader fails");
            co_return 7;
        };
        if (fails) {
            CHECK_THROWS_AS(loop.run(consume(TreeExecutor{late}.yielding(), true)),
                            std::runtime_error);
        } else {
            CHECK(loop.run(consume(TreeExecutor{late}.yielding(), false)) == 7);
        }
        CHECK(Counted::live() == 0);
        CHECK(loop.run(TreeExecutor{late}.run()).ok());
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A dropped run that waited for a foreign await leaves its graph free for the next run") {
    const Inside inside = any_inside();
    CAPTURE(static_cast<int>(inside));
    Counted::reset();
    {
        std::vector<std::string> log;
        Gate gate;
        EventLoop loop{virtual_time};
        const NodeList nodes = make_foreign(inside, gate, log);
        const auto consume = [&]() -> Task<> {
            {
                auto events = TreeExecutor{nodes}.yielding();
                co_await read_exactly(events, 1);
                co_await sleep_for(1ms);
            }
            REQUIRE(gate.waited());
            gate.open();
            co_await yield();
            co_await yield();
            CHECK(log == std::vector<std::string>{"frame destroyed"});
            EventLoop::current().spawn(open_later(gate, 1ms, log));
            co_await TreeExecutor{nodes}.run();
        };
        loop.run(consume());
        CHECK(log.back() != "frame destroyed again");
        CHECK(AnyNode(*nodes[0].core()).state() == NodeState::completed);
        CHECK(std::count(log.begin(), log.end(), "gone on") ==
              (inside == Inside::sub_flow ? 2 : 1));
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Of several frames inside foreign awaits each goes when its own await resumes") {
    Counted::reset();
    {
        std::vector<std::string> log;
        Gate gates[3];
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            std::vector<AnyNode> nodes;
            for (int i = 0; i < 3; ++i) {
                nodes.push_back(Node{"foreign", [&log, i, &gate = gates[i]]() -> Task<> {
                                         const Witness witness(log, std::to_string(i));
                                         const Counted local(1);
                                         co_await gate;
                                     }});
            }
            {
                auto events = TreeExecutor{nodes}.yielding();
                co_await read_exactly(events, 3);
                co_await sleep_for(1ms);
            }
            CHECK(log.empty());
            CHECK(Counted::live() == 3);
            for (const int i : {1, 2, 0}) {
                gates[i].open();
                co_await sleep_for(1ms);
                CHECK(log.back() == std::to_string(i));
            }
            CHECK(log == std::vector<std::string>{"1", "2", "0"});
            CHECK(Counted::live() == 0);
        };
        loop.run(consume());
    }
}

TEST_CASE("A body that drops its own stream and enters a foreign await never enters it") {
    Counted::reset();
    {
        Trial trial;
        EventLoop loop{virtual_time};
        const NodeList nodes = make_self_dropping(From::foreign, trial);
        const auto consume = [&]() -> Task<> {
            trial.events.emplace(TreeExecutor{nodes}.yielding());
            co_await read_exactly(*trial.events, 1);
            co_await sleep_for(100ms);
        };
        loop.run(consume());
        CHECK(trial.log == std::vector<std::string>{"drop"});
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A former output that drops the stream above, which has to wait: its node never begins") {
    std::vector<std::string> log;
    Gate gate;
    std::optional<AsyncGenerator<Event>> events;
    std::function<void()> on_gone;
    const Node foreign{"foreign", [&]() -> Task<> { co_await gate; }};
    Node first{"first", []() -> Task<> { co_await sleep_for(1ms); }};
    const Node holder{"holder", [&] {
                          log.emplace_back("holder");
                          return make_farewell(on_gone);
                      }};
    first.connect(holder);
    const TreeExecutor inner{foreign, first};
    const Node outer{"outer", [&]() -> Task<> { co_await inner.run(); }};
    const auto consume = [&]() -> Task<> {
        co_await TreeExecutor{first}.run();
        events.emplace(TreeExecutor{outer}.yielding());
        co_await read_exactly(*events, 1);
        on_gone = [&] {
            events.reset();
            log.emplace_back("dropped");
        };
        co_await sleep_for(10ms);
        CHECK(log == std::vector<std::string>{"holder", "dropped"});
        REQUIRE(gate.waited());
        gate.open();
        co_await sleep_for(10ms);
        CHECK(log.size() == 2);
        co_await TreeExecutor{first}.run();
        CHECK(log.size() == 3);
    };
    EventLoop loop{virtual_time};
    loop.run(consume());
}

TEST_CASE("A stream dropped by the destructor of an unread chunk whose pipe its reader cuts") {
    std::function<void()> on_gone;
    std::optional<AsyncGenerator<Event>> events;
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1s); }};
    Node producer{"producer", [&]() -> AsyncGenerator<std::shared_ptr<int>> {
                      auto chunk = make_farewell(on_gone);
                      co_yield chunk;
                      chunk = nullptr;
                      co_yield chunk;
                      co_await sleep_for(2s);
                  }};
    producer.buffer(4).collect(false);
    const Node reader{"reader",
                      [](AsyncGenerator<std::shared_ptr<int>> chunks) -> Task<> {
                          while (co_await chunks.next() != nullptr) {
                          }
                      },
                      "chunks"_a};
    producer.connect(reader, "chunks"_a);
    slow.connect(reader);
    const TreeExecutor executor{slow, producer};
    const auto read = [&]() -> Task<> {
        events.emplace(executor.yielding());
        co_await read_exactly(*events, 4);
        co_await sleep_for(10ms);
        on_gone = [&] { events.reset(); };
        producer.disconnect(reader);
        CHECK_FALSE(events.has_value());
        co_await executor.run();
    };
    EventLoop loop{virtual_time};
    loop.run(read());
}

TEST_CASE("What a transform made for a node of a dropped run may wire that node as it goes") {
    std::function<void()> on_gone;
    Node source{"source", [] { return 1; }};
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1s); }};
    const Node child{"child", [](const std::shared_ptr<int>&) {}, "x"_a};
    std::vector<AnyNode> more;
    for (int i = 0; i < 10; ++i) more.push_back(Node{"more " + std::to_string(i), [] {}});
    source.connect(child, "x"_a = [&](int x) { return make_farewell(on_gone, x); });
    slow.connect(child);
    const TreeExecutor executor{source, slow};
    const auto read = [&]() -> Task<> {
        {
            auto events = executor.yielding();
            co_await read_exactly(events, 1);
            co_await sleep_for(10ms);
            on_gone = [&] {
                for (AnyNode& node : more) node.connect(child);
            };
        }
        CHECK(on_gone == nullptr);
        co_await executor.run();
    };
    EventLoop loop{virtual_time};
    loop.run(read());
    CHECK(child.state() == NodeState::completed);
}

TEST_CASE(
    "A former error of a node that an edge has failed goes with the run that is dropped then") {
    std::weak_ptr<int> former;
    bool first_run = true;
    bool drops = false;
    std::optional<AsyncGenerator<Event>> events;
    Node source{"source", []() -> Task<int> {
                    co_await sleep_for(1ms);
                    co_return 1;
                }};
    const Node child{"child",
                     [&](int) {
                         if (!first_run) return;
                         auto held = std::make_shared<int>(1);
                         former = held;
                         throw FarewellError(std::move(held));
                     },
                     "x"_a};
    const Node other{"other", [](int) {}, "x"_a};
    source.connect(
        child, "x"_a = [&](int x) {
            if (drops) throw std::runtime_error("the edge");
            return x;
        });
    source.connect(
        other, "x"_a = [&](int x) {
            if (drops) events.reset();
            return x;
        });
    TreeExecutor executor{source};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    CHECK(loop.run(executor.try_run()).failed().size() == 1);
    CHECK_FALSE(former.expired());
    first_run = false;
    drops = true;
    const auto read = [&]() -> Task<> {
        events.emplace(executor.yielding());
        co_await read_exactly(*events, 1);
        co_await sleep_for(10ms);
        CHECK_FALSE(events.has_value());
    };
    loop.run(read());
    CHECK(former.expired());
    drops = false;
    CHECK(loop.run(executor.run()).completed().size() == 3);
}

TEST_CASE("What a dropped run had still to begin keeps no former output") {
    std::weak_ptr<int> former;
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1s); }};
    Node child{"child", [&] {
                   const auto output = std::make_shared<int>(1);
                   former = output;
                   return output;
               }};
    const Node grandchild{"grandchild", [](std::shared_ptr<int> x) { return x; }, "x"_a};
    slow.connect(child).connect(grandchild, "x"_a);
    const TreeExecutor executor{slow};
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    CHECK(former.use_count() == 2);
    const auto consume = [&]() -> Task<> {
        AsyncGenerator<Event> events = executor.yielding();
        co_await read_exactly(events, 1);
        CHECK(former.use_count() == 2);
    };
    loop.run(consume());
    CHECK(former.expired());
    CHECK(child.state() == NodeState::cancelled);
}

TEST_CASE("Parked chunks and nodes that wait for a slot are dropped with the stream") {
    Counted::reset();
    {
        EventLoop loop{virtual_time};
        std::vector<AnyNode> nodes;
        for (int i = 0; i < 6; ++i) {
            nodes.push_back(Node{"generator",
                                 [](const Counted& c) -> AsyncGenerator<Counted> {
                                     Counted chunk(c.value);
                                     for (;;) co_yield chunk;
                                 },
                                 "c"_a = Counted(i)});
        }
        const auto consume = [&]() -> Task<> {
            for (int k = 1; k < 20; ++k) {
                TreeExecutor executor{nodes};
                executor.max_concurrency(2);
                auto events = executor.yielding();
                co_await read_exactly(events, k);
            }
        };
        loop.run(consume());
        for (const AnyNode& node : nodes) CHECK(node.state() == NodeState::cancelled);
        CHECK(Counted::live() == 6);  // the bound values; not a chunk, not a copy
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stream of a graph with a pipe, which nothing else holds, may be broken off anywhere") {
    const auto make_stream = [] {
        Node producer{"producer",
                      [](int n) -> AsyncGenerator<int> {
                          for (int i = 0; i < n; ++i) co_yield i;
                      },
                      "n"_a = 3};
        const Node reader{"reader",
                          [](AsyncGenerator<int> chunks) -> Task<> {
                              while (co_await chunks.next() != nullptr) {
                              }
                          },
                          "chunks"_a = producer};
        return TreeExecutor{producer}.yielding();
    };
    for (int many = 0; many <= 7; ++many) {
        CAPTURE(many);
        const auto read = [&]() -> Task<> {
            auto events = make_stream();
            co_await read_exactly(events, many);
        };
        EventLoop loop{virtual_time};
        loop.run(read());
    }
}

TEST_CASE(
    "A transform made in a run goes with the run that is dropped, and cuts an edge as it goes") {
    std::function<void()> on_gone;
    const auto list = [](const std::vector<int>& all) { return all.size(); };
    Node first{"first", [] { return 1; }};
    Node second{"second", [] {}};
    const Node third{"third", [] {}};
    const Node all{"all", list, "all"_args};
    first.connect(second).connect(third);
    first.connect(all, "all"_a);
    first.on_after_run([&] {
        first.connect(all, "all"_a = [held = make_farewell(on_gone)](int x) { return x + *held; });
    });
    const TreeExecutor executor{first};
    const auto read = [&]() -> Task<> {
        {
            auto events = executor.yielding();
            while (const Event* event = co_await events.next()) {
                if (event->completed(first)) break;
            }
            co_await grafo::yield();
            on_gone = [&] { second.disconnect(third); };
        }
        CHECK(on_gone == nullptr);
        CHECK(second.children().empty());
        co_await executor.run();
    };
    EventLoop loop{virtual_time};
    loop.run(read());
}

TEST_CASE("What a transform made drops the run as its node ends: the node is cancelled") {
    std::function<void()> on_gone;
    std::optional<AsyncGenerator<Event>> events;
    Node source{"source", [] { return 1; }};
    Node child{"child", [](const std::shared_ptr<int>& x) { return std::to_string(*x); }, "x"_a};
    source.connect(child, "x"_a = [&](int x) { return make_farewell(on_gone, x); });
    const Node next{"next", [](const std::string&) {}, "text"_a = child};
    const TreeExecutor executor{source};
    const auto read = [&]() -> Task<> { co_await read_exactly(*events, all_events); };
    const auto drop = [&]() -> Task<> {
        events.emplace(executor.yielding());
        on_gone = [&] { events.reset(); };
        EventLoop::current().spawn(read());
        co_await sleep_for(1s);
        CHECK_FALSE(events.has_value());
        CHECK(child.state() == NodeState::cancelled);
        CHECK_THROWS_AS(child.output(), OutputUnavailableError);
        CHECK(executor.report().completed() == std::vector<AnyNode>{source});
    };
    EventLoop loop{virtual_time};
    loop.run(drop());
}

TEST_CASE("Where the copy of a chunk drops the run, its producer ends") {
    struct Chunk {
        explicit Chunk(std::function<void()>& act) : on_copy(&act) {}
        Chunk(const Chunk& other) : on_copy(other.on_copy), counted(other.counted) {
            if (*on_copy) std::exchange(*on_copy, nullptr)();
        }
        std::function<void()>* on_copy;
        Counted counted;
    };
    const bool buffered = GENERATE(false, true);
    const bool piped = GENERATE(false, true);
    const bool by_co_yield = GENERATE(false, true);  // which copies what it must not change
    CAPTURE(buffered, piped, by_co_yield);
    Counted::reset();
    std::function<void()> on_copy;
    int gone_on = 0;
    std::optional<AsyncGenerator<Event>> events;
    {
        Node producer{"producer", [&]() -> AsyncGenerator<Chunk> {
                          Chunk chunk(on_copy);
                          for (int i = 0; i < 3; ++i) {
                              if (by_co_yield) {
                                  co_yield std::as_const(chunk);
                              } else {
                                  co_yield chunk;
                              }
                              ++gone_on;
                          }
                      }};
        if (buffered) producer.collect(false).buffer(2);
        const Node reader{"reader",
                          [](AsyncGenerator<Chunk> chunks) -> Task<> {
                              while (co_await chunks.next() != nullptr) {
                              }
                          },
                          "chunks"_a};
        if (piped) producer.connect(reader, "chunks"_a);
        const TreeExecutor executor{producer};
        const auto read = [&]() -> Task<> { co_await read_exactly(*events, all_events); };
        const auto drop = [&]() -> Task<> {
            events.emplace(executor.yielding());
            on_copy = [&] { events.reset(); };
            EventLoop::current().spawn(read());
            co_await sleep_for(1s);
            CHECK_FALSE(events.has_value());
            CHECK(gone_on == 0);
            CHECK(Counted::copies() == 1);
            CHECK(Counted::live() == 0);  // with the run, and not with the node, its frame is gone
        };
        EventLoop loop{virtual_time};
        loop.run(drop());
        CHECK(producer.state() == NodeState::cancelled);
    }
    CHECK(Counted::live() == 0);
}
