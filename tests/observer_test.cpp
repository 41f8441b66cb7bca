#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Who looks on: executor.observe(observer) tells of every step of every node.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;
using std::chrono::nanoseconds;

const char* name_of(NodeState state) {
    switch (state) {
        case NodeState::pending: return "pending";
        case NodeState::ready: return "ready";
        case NodeState::running: return "running";
        case NodeState::completed: return "completed";
        case NodeState::failed: return "failed";
        case NodeState::skipped: return "skipped";
        case NodeState::cancelled: return "cancelled";
    }
    return "";
}

// Notes "3 s node: ready -> running, attempt 1", and checks that the steps of a node fit together.
class Notes : public Observer {
public:
    void run_started(std::string_view executor, EventLoop::TimePoint time) override {
        CHECK(started == ended);
        ++started;
        last_ = time;
        states_.clear();
        log.push_back(seconds(time) + "run of " + std::string(executor) + " starts");
    }
    void transition(const Transition& step) override {
        CHECK(started == ended + 1);
        CHECK(step.time() >= last_);
        last_ = step.time();
        const AnyNode node = step.node();
        CHECK(step.to() == node.state());
        const auto found = states_.try_emplace(node, NodeState::pending).first;
        CHECK(found->second == step.from());
        found->second = step.to();
        CHECK(allowed(step));
        std::string line = seconds(step.time()) + node.id() + ": " + name_of(step.from()) + " -> " +
                           name_of(step.to()) + ", " + std::to_string(step.attempt());
        if (step.error() != nullptr) line += ": " + std::string(step.error()->what());
        log.push_back(line);
        ++steps;
    }
    void run_ended(const RunReport& report, EventLoop::TimePoint time) override {
        ++ended;
        CHECK(started == ended);
        CHECK(time >= last_);
        log.push_back(seconds(time) + "run ends, " + (report.ok() ? "ok" : "not ok"));
        for (const AnyNode& node : report.completed()) check_end(node, NodeState::completed);
        for (const AnyNode& node : report.failed()) check_end(node, NodeState::failed);
        for (const AnyNode& node : report.skipped()) check_end(node, NodeState::skipped);
        for (const AnyNode& node : report.cancelled()) check_end(node, NodeState::cancelled);
        elapsed = report.elapsed();
    }

    Log log;
    int started = 0;
    int ended = 0;
    int steps = 0;
    nanoseconds elapsed{};

private:
    static std::string seconds(EventLoop::TimePoint time) {
        return std::to_string(time.time_since_epoch() / 1s) + " s ";
    }
    static bool allowed(const Transition& step) {
        const NodeState from = step.from();
        const NodeState to = step.to();
        const bool failed = to == NodeState::failed;
        const bool retries = from == NodeState::running && to == NodeState::ready;
        if ((step.error() != nullptr) != (failed || retries)) return false;
        if (from >= NodeState::completed) return to == NodeState::pending;
        if (to == NodeState::completed) return from == NodeState::running;
        if (to == NodeState::running) return from == NodeState::ready;
        if (to == NodeState::pending) return from == NodeState::ready;
        return true;
    }
    void check_end(const AnyNode& node, NodeState state) {
        CAPTURE(node.id());
        CHECK(states_[node] == state);
    }
    std::map<AnyNode, NodeState, bool (*)(const AnyNode&, const AnyNode&)> states_{
        [](const AnyNode& a, const AnyNode& b) {
            return std::hash<AnyNode>()(a) < std::hash<AnyNode>()(b);
        }};
    EventLoop::TimePoint last_{};
};

Task<> stop_after(const TreeExecutor& executor, nanoseconds delay) {
    co_await sleep_for(delay);
    executor.stop();
}

Task<> work(nanoseconds duration) { co_await sleep_for(duration); }

}  // namespace

TEST_CASE("An observer sees every step of every node, in order and with its time") {
    Notes notes;
    Node first{"first", work, "duration"_a = 1s};
    Node second{"second", [] {}};
    Node late{"late", work, "duration"_a = 2s};
    first.connect(second);
    const bool timing = GENERATE(true, false);
    TreeExecutor executor{"flow", NodeList{first, late}};
    executor.observe(notes).timing(timing);
    EventLoop(virtual_time).run(executor.run());
    const Log log{"0 s run of flow starts",
                  "0 s first: pending -> ready, 0",
                  "0 s late: pending -> ready, 0",
                  "0 s first: ready -> running, 1",
                  "0 s late: ready -> running, 1",
                  "1 s first: running -> completed, 1",
                  "1 s second: pending -> ready, 0",
                  "1 s second: ready -> running, 1",
                  "1 s second: running -> completed, 1",
                  "2 s late: running -> completed, 1",
                  "2 s run ends, ok"};
    CHECK(notes.log == log);
    CHECK(first.runtime() == (timing ? 1s : 0s));
    CHECK(notes.elapsed == 2s);

    notes.log.clear();
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, executor.yielding())) static_cast<void>(event);
    CHECK(notes.log == log);
    CHECK(notes.ended == 2);
}

TEST_CASE("A node with callbacks steps from running to its end, whatever they do") {
    Notes notes;
    Node good{"good", [] {}};
    good.on_before_run([] { return work(1s); }).on_after_run([] { return work(1s); });
    Node bad{"bad", [] {}};
    bad.on_after_run([]() -> Task<> {
        co_await sleep_for(3s);
        throw std::runtime_error("broken callback");
    });
    TreeExecutor executor{good, bad};
    executor.observe(notes).on_error(ErrorPolicy::keep_going);
    EventLoop(virtual_time).run(executor.try_run());
    CHECK(notes.log == Log{"0 s run of TreeExecutor starts", "0 s good: pending -> ready, 0",
                           "0 s bad: pending -> ready, 0", "0 s good: ready -> running, 1",
                           "0 s bad: ready -> running, 1", "2 s good: running -> completed, 1",
                           "3 s bad: running -> failed, 1: node 'bad' failed: broken callback",
                           "3 s run ends, not ok"});
}

TEST_CASE("Around a retry an observer sees ready, with the error, and running again") {
    Notes notes;
    Semaphore semaphore(1);
    Node node{"node", [](NodeContext& context) -> Task<> {
                  co_await sleep_for(1s);
                  if (context.attempt() < 3) throw std::runtime_error("again");
              }};
    node.retry(RetryPolicy{3}.backoff(2s)).limit(semaphore);
    TreeExecutor executor{node};
    executor.observe(notes);
    const auto main = [&]() -> Task<> {
        std::optional<Semaphore::Guard> guard(co_await semaphore.acquire());
        const auto release = [](std::optional<Semaphore::Guard>* held) -> Task<> {
            co_await sleep_for(5s);
            held->reset();
        };
        EventLoop::current().spawn(release(&guard));
        co_await executor.run();
    };
    EventLoop(virtual_time).run(main());
    CHECK(notes.log == Log{"0 s run of TreeExecutor starts", "0 s node: pending -> ready, 0",
                           "5 s node: ready -> running, 1",
                           "6 s node: running -> ready, 1: node 'node' failed: again",
                           "8 s node: ready -> running, 2",
                           "9 s node: running -> ready, 2: node 'node' failed: again",
                           "13 s node: ready -> running, 3", "14 s node: running -> completed, 3",
                           "14 s run ends, ok"});
}

TEST_CASE("Failures, skips, cancellations and conditions are steps with their reasons") {
    Notes notes;
    Node broken{"broken", [] { throw std::runtime_error("no luck"); }};
    Node child{"child", [] {}};
    Node skips{"skips", [] { throw Skip("enough"); }};
    Node source{"source", [] { return 1; }};
    Node not_taken{"not_taken", [] {}};
    Node bad_edge{"bad_edge", [](int) {}, "x"_a};
    broken.connect(child);
    source.connect(not_taken, when([](int) { return false; }));
    source.connect(bad_edge, "x"_a = [](int) -> int { throw std::runtime_error("no value"); });
    TreeExecutor executor{broken, skips, source};
    executor.observe(notes).on_error(ErrorPolicy::keep_going);
    EventLoop(virtual_time).run(executor.try_run());
    const auto seen = [&](const std::string& text) {
        return std::any_of(notes.log.begin(), notes.log.end(), [&](const std::string& line) {
            return line.find(text) != std::string::npos;
        });
    };
    CHECK(seen("broken: running -> failed, 1: node 'broken' failed: no luck"));
    CHECK(seen("child: ready -> skipped, 0"));
    CHECK(seen("skips: running -> skipped, 1"));
    CHECK(seen("not_taken: ready -> skipped, 0"));
    CHECK(seen("bad_edge: pending -> failed, 0"));
    CHECK(seen("no value"));
}

TEST_CASE("A node that runs again, in a loop, steps from its end to pending") {
    Notes notes;
    int laps = 0;
    Node first{"first", work, "duration"_a = 1s};
    Node last{"last", work, "duration"_a = 1s};
    first.connect(last);
    last.on_after_run([&, again = first.ref()](const AnyNode& self) {
        if (++laps < 2) self.connect(again.lock());
    });
    TreeExecutor executor{"loop", first};
    executor.observe(notes);
    EventLoop(virtual_time).run(executor.run());
    CHECK(std::count(notes.log.begin(), notes.log.end(), "2 s first: completed -> pending, 0") ==
          1);
    CHECK(std::count(notes.log.begin(), notes.log.end(), "3 s last: completed -> pending, 0") == 1);
    CHECK(notes.steps == 14);
}

TEST_CASE("Nodes made, cut off and wired in a run are seen with the time at which that happens") {
    Notes notes;
    Node waits{"waits", work, "duration"_a = 9s};
    Node child{"child", [] {}};
    waits.connect(child);
    Node maker{"maker", [&]() -> Task<> {
                   co_await sleep_for(1s);
                   Node made{"made", [] {}};
                   child.connect(made);
                   co_await sleep_for(1s);
                   waits.disconnect(child);
                   co_await sleep_for(1s);
               }};
    TreeExecutor executor{maker, waits};
    executor.observe(notes).on_error(ErrorPolicy::keep_going);
    EventLoop(virtual_time).run(executor.try_run());
    CHECK(std::count(notes.log.begin(), notes.log.end(), "2 s child: pending -> ready, 0") == 1);
    CHECK(std::count(notes.log.begin(), notes.log.end(), "2 s made: ready -> skipped, 0") == 1);
}

TEST_CASE("A stop and a cancelled awaiter are seen to the end of each node") {
    Notes notes;
    Node slow{"slow", work, "duration"_a = 10s};
    Node child{"child", [] {}};
    slow.connect(child);
    TreeExecutor executor{slow};
    executor.observe(notes);
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_after(executor, 2s));
        co_await executor.try_run();
    };
    EventLoop(virtual_time).run(main());
    CHECK(notes.log.at(3) == "2 s slow: running -> cancelled, 1");
    CHECK(notes.log.at(4) == "2 s child: pending -> ready, 0");
    CHECK_THAT(notes.log.at(5), ContainsSubstring("2 s child: ready -> "));
    CHECK(notes.log.at(6) == "2 s run ends, not ok");

    notes.log.clear();
    Node outer{"outer", [&]() -> Task<> { co_await executor.run(); }};
    outer.timeout(3s);
    EventLoop(virtual_time).run(TreeExecutor{outer}.try_run());
    CHECK(notes.log.back() == "3 s run ends, not ok");
    CHECK(notes.ended == 2);
}

TEST_CASE("Several observers see the same; an executor's observers stay for its later runs") {
    Notes a;
    Notes b;
    Notes c;
    Node node{"node", [] {}};
    TreeExecutor executor{node};
    executor.observe(a).observe(b);
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    CHECK(a.log == b.log);
    CHECK(a.steps == 3);
    executor.observe(c);
    loop.run(executor.run());
    CHECK(a.steps == 6);
    CHECK(b.steps == 6);
    CHECK(c.steps == 3);
}

// ---- what an observer may do --------------------------------------------------------------------

namespace {

// Does something at the n-th call.
template <class F>
class At : public Observer {
public:
    At(int call, F act) : call_(call), act_(std::move(act)) {}
    void run_started(std::string_view, EventLoop::TimePoint) override { call(); }
    void transition(const Transition&) override { call(); }
    void run_ended(const RunReport&, EventLoop::TimePoint) override { call(); }
    int calls = 0;

private:
    void call() {
        if (calls++ == call_) act_();
    }
    int call_;
    F act_;
};

struct Trouble : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Some of everything, ended after 7 s.
NodeList make_flow(const Semaphore& semaphore) {
    Node source{"source", [](Counted c) { return c; }, "c"_a = Counted(1)};
    Node flaky{"flaky",
               [](NodeContext& context, const Counted& c) -> Task<Counted> {
                   co_await sleep_for(1s);
                   if (context.attempt() < 3) throw std::runtime_error("again");
                   co_return c;
               },
               "c"_a = source};
    flaky.retry(RetryPolicy{3}.backoff(1s, 1.0)).limit(semaphore).timeout(100s);
    Node generator{"generator",
                   [](Counted c) -> AsyncGenerator<Counted> {
                       for (int i = 0; i < 2; ++i) {
                           co_await sleep_for(1s);
                           co_yield c;
                       }
                   },
                   "c"_a = source};
    generator.limit(semaphore).on_after_run([] { return work(1s); });
    Node last{"last", [](Counted, const std::vector<Counted>&) {}, "a"_a = flaky,
              "b"_a = generator};
    return NodeList{source};
}

}  // namespace

TEST_CASE("An observer may stop the run at any call, and each node still ends") {
    int calls = 0;
    for (int call = 0; call <= calls; ++call) {
        CAPTURE(call);
        Counted::reset();
        {
            Semaphore semaphore(1);
            TreeExecutor executor{"flow", make_flow(semaphore)};
            At at(call, [&] { executor.stop(); });
            Notes notes;
            executor.observe(at).observe(notes);
            const bool streamed = call % 2 == 0;
            EventLoop loop{virtual_time};
            if (streamed) {
                try {
                    for (const Event& event : iterate(loop, executor.yielding())) {
                        static_cast<void>(event);
                    }
                } catch (const RunError&) {
                }
            } else {
                loop.run(executor.try_run());
            }
            const RunReport report = executor.report();
            calls = std::max(calls, at.calls);
            CHECK(report.completed().size() + report.failed().size() + report.skipped().size() +
                      report.cancelled().size() ==
                  4);
            CHECK(report.stopped() == (call + 1 < at.calls));
            CHECK(notes.ended == 1);
            CHECK(semaphore.available() == 1);
            CHECK(semaphore.waiting() == 0);
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(calls > 15);
}

TEST_CASE("What an observer throws, at any call, cancels the run, which ends with it") {
    int calls = 0;
    for (int call = 0; call < std::max(calls, 1); ++call) {
        CAPTURE(call);
        Counted::reset();
        {
            Semaphore semaphore(1);
            const NodeList nodes = make_flow(semaphore);
            TreeExecutor executor{"flow", nodes};
            At at(call, [] { throw Trouble("an observer's trouble"); });
            At counts(-1, [] {});
            executor.observe(at).observe(counts);
            EventLoop loop{virtual_time};
            if (call % 3 == 0) {
                CHECK_THROWS_AS(loop.run(executor.run()), Trouble);
            } else if (call % 3 == 1) {
                CHECK_THROWS_AS(loop.run(executor.try_run()), Trouble);
            } else {
                const auto read = [&] {
                    for (const Event& event : iterate(loop, executor.yielding())) {
                        static_cast<void>(event);
                    }
                };
                CHECK_THROWS_AS(read(), Trouble);
            }
            CHECK(at.calls == counts.calls);
            CHECK(semaphore.available() == 1);
            CHECK(semaphore.waiting() == 0);
            // The graph is free, and runs to its end without that observer.
            TreeExecutor again{nodes};
            At all(-1, [] {});
            CHECK(loop.run(again.observe(all).run()).ok());
            calls = all.calls;
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(calls > 15);
}

TEST_CASE("An observer that throws between two waits ends the run then, and not later") {
    class Throws : public Observer {
        void transition(const Transition& step) override {
            if (step.node().id() == "flaky" && step.to() == NodeState::running) {
                throw Trouble("now");
            }
        }
    };
    Semaphore semaphore(1);
    Node flaky{"flaky", work, "duration"_a = 1h};
    Node holder{"holder", work, "duration"_a = 2s};
    holder.limit(semaphore).priority(1);
    flaky.limit(semaphore);
    Throws observer;
    TreeExecutor executor{flaky, holder};
    executor.observe(observer);
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(executor.run()), Trouble);
    CHECK(loop.now().time_since_epoch() == 2s);
}

TEST_CASE("An observer changes no results: events, report, outputs and times are the same") {
    const auto events_of = [](bool observed) {
        Counted::reset();
        Notes notes;
        Log log;
        Semaphore semaphore(1);
        TreeExecutor executor{"flow", make_flow(semaphore)};
        if (observed) executor.observe(notes);
        EventLoop loop{virtual_time};
        for (const Event& event : iterate(loop, executor.yielding())) {
            log.push_back(std::to_string(loop.now().time_since_epoch().count()) + " " +
                          event.node().id() + " " + std::to_string(static_cast<int>(event.kind())) +
                          " " + std::to_string(event.attempt()) + " " +
                          name_of(event.node().state()));
        }
        for (const AnyNode& node : executor.report().completed()) {
            log.push_back(node.id() + " " + std::to_string(node.runtime().count()));
        }
        return log;
    };
    CHECK(events_of(true) == events_of(false));
}

TEST_CASE("A dropped run calls its observers no more, though its nodes still have to end") {
    Counted::reset();
    int events = 0;
    for (int keep = 0; keep <= events; ++keep) {
        CAPTURE(keep);
        {
            Semaphore semaphore(1);
            TreeExecutor executor{"flow", make_flow(semaphore)};
            std::optional<At<void (*)()>> at;
            at.emplace(-1, +[] {});
            executor.observe(*at);
            EventLoop loop{virtual_time};
            int calls = 0;
            int seen = 0;
            {
                auto stream = iterate(loop, executor.yielding());
                for (const Event& event : stream) {
                    static_cast<void>(event);
                    calls = at->calls;
                    if (seen++ == keep) break;
                }
            }
            events = std::max(events, seen);
            if (seen == keep + 1) CHECK(at->calls == calls);
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(events > 10);
}

TEST_CASE("A body that drops its own run and goes on is not observed any more") {
    const bool fails = GENERATE(true, false);
    std::optional<Notes> notes;
    notes.emplace();
    std::optional<AsyncGenerator<Event>> events;
    bool went_on = false;
    Node child{"child", [] {}};
    Node node{"node", [&]() -> Task<> {
                  co_await sleep_for(1s);
                  events.reset();
                  notes.reset();
                  const Node made{"made", [] {}};
                  made.connect(Node{"other", [] {}});
                  went_on = true;
                  if (fails) throw std::runtime_error("again");
              }};
    node.retry(3).connect(child);
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        TreeExecutor executor{node};
        executor.observe(*notes);
        events.emplace(executor.yielding());
        co_await events->next();
        co_await sleep_for(10s);
    };
    loop.run(main());
    CHECK(went_on);
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("Random graphs: the steps of each node fit together, in runs that stop or fail as well") {
    std::minstd_rand random(5);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() / 64) % n; };
    for (int run = 0; run < 200; ++run) {
        CAPTURE(run);
        Notes notes;
        Semaphore semaphore(2);
        std::vector<AnyNode> nodes;
        for (std::size_t i = 0; i < 12; ++i) {
            const std::size_t ends = below(8);
            const nanoseconds duration(below(9));
            Node node{std::to_string(i), [ends, duration](NodeContext& context) -> Task<> {
                          co_await sleep_for(duration);
                          if (ends < 2) throw std::runtime_error("error");
                          if (ends < 4 && context.attempt() < 2) throw std::runtime_error("again");
                          if (ends == 4) throw Skip("enough");
                      }};
            if (below(2) == 0) node.retry(RetryPolicy{2}.backoff(nanoseconds(below(3))));
            if (below(3) == 0) node.limit(semaphore);
            if (below(3) == 0) node.timeout(nanoseconds(below(9)));
            if (below(4) == 0) node.on_after_run([] { return work(1ns); });
            if (below(5) == 0) node.trigger(Trigger::all_settled);
            for (const AnyNode& parent : nodes) {
                if (below(6) == 0) parent.connect(node);
            }
            nodes.push_back(node);
        }
        TreeExecutor executor{nodes};
        executor.observe(notes).max_concurrency(1 + below(5));
        if (below(2) == 0) executor.on_error(ErrorPolicy::keep_going);
        const bool stops = below(3) == 0;
        const nanoseconds when(below(30));
        const auto main = [&]() -> Task<> {
            if (stops) EventLoop::current().spawn(stop_after(executor, when));
            co_await executor.try_run();
        };
        EventLoop(virtual_time).run(main());
        CHECK(notes.ended == 1);
    }
}
