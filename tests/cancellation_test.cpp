#include <chrono>
#include <coroutine>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"

// What a cancellation does to coroutines, whoever asks for it: the end of a loop, a failure beside
// them, a deadlock, the stop of a run.

using namespace grafo;
using namespace std::chrono_literals;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;

// True if the time passed, false if the sleep was cancelled.
Task<bool> slept(std::chrono::nanoseconds time) {
    bool passed = true;
    try {
        co_await sleep_for(time);
    } catch (const Cancelled&) {
        passed = false;
    }
    co_return passed;
}

Task<> pause(std::chrono::nanoseconds time) { co_await sleep_for(time); }

Task<> fail_after(std::chrono::nanoseconds time) {
    co_await sleep_for(time);
    throw std::runtime_error("failed");
}

// Runs the task for a second beside another, then cancels it and waits for it.
void cancel_after_a_second(EventLoop& loop, Task<> task) {
    loop.spawn(std::move(task));
    loop.run(pause(1s));
}

// Starts the task with a request already made: nothing of it has run by then.
void start_cancelled(EventLoop& loop, Task<> task) {
    const auto start_late = [](Task<> started) -> Task<> {
        if (!co_await slept(1'000h)) EventLoop::current().spawn(std::move(started));
    };
    loop.spawn(start_late(std::move(task)));
    loop.run(pause(1s));
}

// An awaitable of another library: opened by hand, cannot be cancelled.
class Gate {
public:
    class Awaiter {
    public:
        explicit Awaiter(Gate& gate) noexcept : gate_(gate) {}
        bool await_ready() const noexcept { return gate_.is_open_; }
        void await_suspend(std::coroutine_handle<> handle) const noexcept {
            gate_.waiting_ = handle;
        }
        void await_resume() const noexcept {}

    private:
        Gate& gate_;
    };
    Awaiter operator co_await() noexcept { return Awaiter(*this); }
    void open() {
        is_open_ = true;
        if (waiting_) std::exchange(waiting_, {}).resume();
    }
    bool waits() const noexcept { return waiting_ != nullptr; }

private:
    std::coroutine_handle<> waiting_;
    bool is_open_ = false;
};

Task<> open_after(Gate& gate, std::chrono::nanoseconds time) {
    co_await slept(1'000h);  // until the cancellation
    co_await sleep_for(time);
    gate.open();
}

// Stops the executor's run at each of these times after its start.
Task<> run_and_stop(const TreeExecutor& executor, std::vector<std::chrono::nanoseconds> times) {
    const auto stop_at = [](const TreeExecutor* stopped, std::chrono::nanoseconds time) -> Task<> {
        co_await sleep_for(time);
        stopped->stop();
    };
    for (const auto& time : times) EventLoop::current().spawn(stop_at(&executor, time));
    co_await executor.try_run();
}

}  // namespace

// --- once per request ------------------------------------------------------------------------

TEST_CASE("A cancellation ends the current await with Cancelled, at once") {
    bool cancelled = false;
    const auto work = [&]() -> Task<> { cancelled = !co_await slept(1'000h); };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    cancel_after_a_second(loop, work());
    CHECK(cancelled);
    CHECK(loop.now() - start == 1s);
}

TEST_CASE("A request is delivered once: the awaits of the clean-up work as always") {
    Log log;
    const auto value = []() -> Task<int> {
        co_await sleep_for(2s);
        co_return 7;
    };
    const auto items = []() -> AsyncGenerator<int> {
        co_await sleep_for(3s);
        co_return;
    };
    const auto work = [&]() -> Task<> {
        if (!co_await slept(1'000h)) log.push_back("cancelled");
        for (int i = 0; i < 3; ++i) {
            if (co_await slept(1h)) log.push_back("slept");
        }
        co_await yield();
        const int seven = co_await value();
        log.push_back(std::to_string(seven));
        AsyncGenerator<int> generator = items();
        if (!co_await generator.next()) log.push_back("end");
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    cancel_after_a_second(loop, work());
    CHECK(log == Log{"cancelled", "slept", "slept", "slept", "7", "end"});
    CHECK(loop.now() - start == 3h + 6s);
}

TEST_CASE("Cancelled unwinds every task that awaits, from the innermost to the outermost") {
    Counted::reset();
    const auto inner = []() -> Task<> {
        const Counted local;
        co_await sleep_for(1'000h);
    };
    const auto middle = [&]() -> Task<> {
        const Counted local;
        co_await inner();
    };
    bool reached = false;
    const auto outer = [&]() -> Task<> {
        const Counted local;
        co_await middle();
        reached = true;
    };
    EventLoop loop{virtual_time};
    cancel_after_a_second(loop, outer());
    CHECK_FALSE(reached);
    CHECK(Counted::constructed() == 3);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task that swallows Cancelled gives its value, and its caller goes on") {
    std::string ended;
    const auto stubborn = []() -> Task<std::string> {
        const bool passed = co_await slept(1'000h);
        co_return passed ? "slept" : "swallowed";
    };
    const auto work = [&]() -> Task<> {
        ended = co_await stubborn();
        co_await sleep_for(1s);
        ended += " and went on";
    };
    EventLoop loop{virtual_time};
    cancel_after_a_second(loop, work());
    CHECK(ended == "swallowed and went on");
}

TEST_CASE("A second request is delivered again, to the await of the clean-up") {
    // The failure beside it cancels the task; that its clean-up then waits for nothing that can
    // come, and is a deadlock, cancels it a second time.
    Log log;
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(fail_after(1s));
        if (!co_await slept(1'000h)) log.push_back("first");
        co_await sleep_for(1s);
        if (!co_await slept(std::chrono::nanoseconds::max())) log.push_back("second");
        co_await sleep_for(1s);
        log.push_back("end");
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    CHECK_THROWS_WITH(loop.run(body()), "failed");
    CHECK(log == Log{"first", "second", "end"});
    CHECK(loop.now() - start == 3s);
}

TEST_CASE("A second stop() is delivered again, a third as well, each once") {
    Log log;
    Node node{"node", [&]() -> Task<> {
                  for (int i = 0; i < 3; ++i) {
                      const bool passed = co_await slept(10s);
                      log.push_back(passed ? "slept" : "cancelled");
                  }
                  co_await sleep_for(1s);
                  log.push_back("end");
              }};
    const TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.run(run_and_stop(executor, {2s, 5s, 6s}));
    CHECK(log == Log{"cancelled", "cancelled", "cancelled", "end"});
    CHECK(loop.now() - start == 7s);

    log.clear();
    const EventLoop::TimePoint again = loop.now();
    loop.run(run_and_stop(executor, {2s, 13s}));
    CHECK(log == Log{"cancelled", "slept", "cancelled", "end"});
    CHECK(loop.now() - again == 14s);
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("Two requests before the next await are delivered as one") {
    Log log;
    TreeExecutor* running = nullptr;
    Node node{"node", [&]() -> Task<> {
                  running->stop();
                  running->stop();
                  for (int i = 0; i < 2; ++i) {
                      const bool passed = co_await slept(1s);
                      log.push_back(passed ? "slept" : "cancelled");
                  }
              }};
    TreeExecutor executor{node};
    running = &executor;
    EventLoop loop{virtual_time};
    loop.run(run_and_stop(executor, {}));
    CHECK(log == Log{"cancelled", "slept"});
}

// --- when the request comes ------------------------------------------------------------------

TEST_CASE("A task that is cancelled before it starts begins, and its first await throws") {
    Log log;
    const auto work = [&]() -> Task<> {
        log.push_back("begins");
        if (!co_await slept(1'000h)) log.push_back("cancelled");
        co_await sleep_for(1s);
        log.push_back("end");
    };
    EventLoop loop{virtual_time};
    start_cancelled(loop, work());
    CHECK(log == Log{"begins", "cancelled", "end"});
}

TEST_CASE("A request waits for the first await that would suspend") {
    Log log;
    Gate open;
    open.open();
    const auto at_once = [&]() -> Task<int> {
        log.push_back("a task runs");
        co_return 1;
    };
    const auto work = [&]() -> Task<> {
        co_await std::suspend_never();
        log.push_back("nothing to wait for");
        co_await open;
        log.push_back("an open gate");
        co_await at_once();
        if (!co_await slept(0s)) log.push_back("cancelled");
        co_await yield();
        log.push_back("end");
    };
    EventLoop loop{virtual_time};
    start_cancelled(loop, work());
    CHECK(log == Log{"nothing to wait for", "an open gate", "a task runs", "cancelled", "end"});
}

TEST_CASE("A request reaches yield, and a sleep of any length, as any other await") {
    for (const auto time : {std::chrono::nanoseconds(-1), std::chrono::nanoseconds(0),
                            std::chrono::nanoseconds(1), std::chrono::nanoseconds::max()}) {
        int cancelled = 0;
        const auto work = [&]() -> Task<> {
            if (!co_await slept(time)) ++cancelled;
        };
        EventLoop loop{virtual_time};
        start_cancelled(loop, work());
        CHECK(cancelled == 1);
    }
    bool ended = false;
    const auto endless = [&]() -> Task<> {
        try {
            for (;;) co_await yield();
        } catch (const Cancelled&) {
            ended = true;
        }
    };
    EventLoop loop{virtual_time};
    loop.spawn(endless());
    loop.run(pause(0s));
    CHECK(ended);
}

TEST_CASE("A request at an await that is due already reaches the next one, once") {
    // Both sleeps are due in the same moment; the first node to wake stops the run.
    Log log;
    TreeExecutor* running = nullptr;
    Node stopper{"stopper", [&]() -> Task<> {
                     co_await sleep_for(1s);
                     running->stop();
                     running->stop();
                 }};
    Node late{"late", [&]() -> Task<> {
                  const bool first = co_await slept(1s);
                  log.push_back(first ? "slept" : "cancelled");
                  for (int i = 0; i < 2; ++i) {
                      const bool passed = co_await slept(5s);
                      log.push_back(passed ? "slept" : "cancelled");
                  }
              }};
    TreeExecutor executor{stopper, late};
    running = &executor;
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.run(run_and_stop(executor, {}));
    CHECK(log == Log{"slept", "cancelled", "slept"});
    CHECK(loop.now() - start == 6s);
    CHECK(late.state() == NodeState::cancelled);
}

TEST_CASE("A task that ends without another await is not touched by a request") {
    Node node{"node", []() -> Task<int> {
                  co_await sleep_for(1s);
                  co_return 1;
              }};
    const TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    loop.run(run_and_stop(executor, {2s}));
    CHECK(node.state() == NodeState::completed);
    CHECK(node.output() == 1);
}

// --- cancelled() -----------------------------------------------------------------------------

TEST_CASE("cancelled() is false before the request, and stays true after its delivery") {
    std::vector<bool> seen;
    Node node{"node", [&](NodeContext& context) -> Task<> {
                  seen.push_back(context.cancelled());
                  co_await slept(1'000h);
                  seen.push_back(context.cancelled());
                  co_await sleep_for(1h);
                  seen.push_back(context.cancelled());
                  co_await yield();
                  seen.push_back(context.cancelled());
              }};
    const TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    loop.run(run_and_stop(executor, {1s}));
    CHECK(seen == std::vector<bool>{false, true, true, true});

    seen.clear();  // a run later it begins afresh
    loop.run(run_and_stop(executor, {1s}));
    CHECK(seen == std::vector<bool>{false, true, true, true});
}

// --- generators ------------------------------------------------------------------------------

TEST_CASE("A cancellation reaches the await of a generator whose next() is awaited") {
    Counted::reset();
    Log log;
    const auto items = [&]() -> AsyncGenerator<int> {
        const Counted local;
        co_yield 1;
        try {
            co_await sleep_for(1'000h);
        } catch (const Cancelled&) {
            log.push_back("generator");
            throw;
        }
        co_yield 2;
    };
    const auto reader = [&]() -> Task<> {
        AsyncGenerator<int> generator = items();
        try {
            while (const int* item = co_await generator.next()) {
                log.push_back(std::to_string(*item));
            }
            log.push_back("end");
        } catch (const Cancelled&) {
            log.push_back("reader");
        }
        CHECK(Counted::live() == 0);
        // The generator has told its end.
        if (!co_await generator.next()) log.push_back("nothing more");
    };
    EventLoop loop{virtual_time};
    cancel_after_a_second(loop, reader());
    CHECK(log == Log{"1", "generator", "reader", "nothing more"});
    CHECK(Counted::constructed() == 1);
}

TEST_CASE("A co_yield after a cancellation throws Cancelled, each time, and yields nothing") {
    Log log;
    const auto items = [&]() -> AsyncGenerator<int> {
        co_yield 1;
        if (!co_await slept(1'000h)) log.push_back("cancelled");
        for (int i = 2; i < 4; ++i) {
            bool thrown = false;
            try {
                co_yield i;
            } catch (const Cancelled&) {
                thrown = true;
            }
            if (thrown) log.push_back("co_yield threw");
            co_await sleep_for(1s);  // awaits work
        }
        log.push_back("end");
    };
    const auto reader = [&]() -> Task<> {
        AsyncGenerator<int> generator = items();
        while (const int* item = co_await generator.next()) log.push_back(std::to_string(*item));
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    cancel_after_a_second(loop, reader());
    CHECK(log == Log{"1", "cancelled", "co_yield threw", "co_yield threw", "end"});
    CHECK(loop.now() - start == 3s);
}

TEST_CASE("A request that no await received is received by a co_yield, and counts as delivered") {
    Log log;
    const auto items = [&]() -> AsyncGenerator<int> {
        bool thrown = false;
        try {
            co_yield 1;
        } catch (const Cancelled&) {
            thrown = true;
        }
        log.push_back(thrown ? "co_yield threw" : "read");
        if (co_await slept(1s)) log.push_back("slept");
    };
    const auto reader = [&]() -> Task<> {
        AsyncGenerator<int> generator = items();
        while (const int* item = co_await generator.next()) log.push_back(std::to_string(*item));
        log.push_back("end");
    };
    EventLoop loop{virtual_time};
    start_cancelled(loop, reader());
    CHECK(log == Log{"co_yield threw", "slept", "end"});
}

TEST_CASE("While its reader awaits something else a generator is not touched by a request") {
    Log log;
    const auto items = [&]() -> AsyncGenerator<int> {
        bool thrown = false;
        try {
            co_yield 1;
        } catch (const Cancelled&) {
            thrown = true;  // it has to be resumed for that: by a next() of the clean-up
        }
        log.push_back(thrown ? "co_yield threw" : "went on");
    };
    const auto reader = [&]() -> Task<> {
        AsyncGenerator<int> generator = items();
        const int* item = co_await generator.next();
        log.push_back(item != nullptr ? "item" : "end");
        if (!co_await slept(1'000h)) log.push_back("reader cancelled");
        co_await sleep_for(1s);
        log.push_back("reader asks");
        item = co_await generator.next();
        log.push_back(item != nullptr ? "item" : "end");
    };
    EventLoop loop{virtual_time};
    cancel_after_a_second(loop, reader());
    CHECK(log == Log{"item", "reader cancelled", "reader asks", "co_yield threw", "end"});
}

TEST_CASE("A generator node that is stopped cleans up, and its next co_yield throws") {
    Log log;
    Node node{"node", [&]() -> AsyncGenerator<int> {
                  co_yield 1;
                  if (!co_await slept(1'000h)) log.push_back("cancelled");
                  co_await sleep_for(1s);
                  log.push_back("clean");
                  co_yield 2;
                  log.push_back("not reached");
              }};
    const TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    loop.run(run_and_stop(executor, {1s}));
    CHECK(log == Log{"cancelled", "clean"});
    CHECK(node.state() == NodeState::cancelled);
}

// --- spawned tasks ---------------------------------------------------------------------------

TEST_CASE("At the end of run every spawned task is cancelled once, and awaited with its clean-up") {
    Log log;
    const auto work = [&](std::string name, std::chrono::seconds clean_up) -> Task<> {
        if (!co_await slept(1'000h)) log.push_back(name + " cancelled");
        if (co_await slept(clean_up)) log.push_back(name + " clean");
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.spawn(work("a", 3s));
    loop.spawn(work("b", 1s));
    loop.spawn(work("c", 2s));
    loop.run(pause(10s));
    CHECK(log == Log{"a cancelled", "b cancelled", "c cancelled", "b clean", "c clean", "a clean"});
    CHECK(loop.now() - start == 13s);
}

TEST_CASE("A spawned task that ended before the end of run is not cancelled") {
    std::string ended;
    const auto work = [&]() -> Task<> { ended = co_await slept(1s) ? "slept" : "cancelled"; };
    EventLoop loop{virtual_time};
    loop.spawn(work());
    loop.run(pause(2s));
    CHECK(ended == "slept");
}

TEST_CASE("After a run whose spawned tasks were cancelled, the next run begins afresh") {
    std::string ended;
    const auto work = [&]() -> Task<> { ended = co_await slept(2s) ? "slept" : "cancelled"; };
    EventLoop loop{virtual_time};
    loop.spawn(work());
    loop.run(pause(1s));
    CHECK(ended == "cancelled");
    loop.spawn(work());
    loop.run(pause(3s));
    CHECK(ended == "slept");
}

// --- awaits of other libraries ---------------------------------------------------------------

TEST_CASE("A foreign await is waited for, and Cancelled is thrown after it") {
    Counted::reset();
    Log log;
    Gate gate;
    const auto work = [&]() -> Task<> {
        const Counted local;
        try {
            co_await gate;
            log.push_back("went on");
        } catch (const Cancelled&) {
            log.push_back("cancelled");
        }
        if (co_await slept(1s)) log.push_back("slept");  // delivered once
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.spawn(work());
    loop.spawn(open_after(gate, 5s));
    loop.run(pause(1s));
    CHECK(log == Log{"cancelled", "slept"});
    CHECK(loop.now() - start == 7s);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A foreign await of the clean-up is not cut short, and ends as always") {
    Log log;
    Gate gate;
    const auto work = [&]() -> Task<> {
        if (!co_await slept(1'000h)) log.push_back("cancelled");
        co_await gate;
        log.push_back("through");
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.spawn(work());
    loop.spawn(open_after(gate, 5s));
    loop.run(pause(1s));
    CHECK(log == Log{"cancelled", "through"});
    CHECK(loop.now() - start == 6s);
}

TEST_CASE("A request that comes before a foreign await keeps it from being started") {
    Gate gate;
    bool cancelled = false;
    const auto work = [&]() -> Task<> {
        try {
            co_await gate;
        } catch (const Cancelled&) {
            cancelled = true;
        }
    };
    EventLoop loop{virtual_time};
    start_cancelled(loop, work());
    CHECK(cancelled);
    CHECK_FALSE(gate.waits());
}

TEST_CASE("Several requests during one foreign await are delivered as one, after it") {
    Log log;
    Gate gate;
    Node node{"node", [&]() -> Task<> {
                  try {
                      co_await gate;
                      log.push_back("went on");
                  } catch (const Cancelled&) {
                      log.push_back("cancelled");
                  }
                  if (co_await slept(1s)) log.push_back("slept");
              }};
    const TreeExecutor executor{node};
    const auto open_at = [&]() -> Task<> {
        co_await sleep_for(10s);
        gate.open();
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.spawn(open_at());
    loop.run(run_and_stop(executor, {1s, 2s, 3s}));
    CHECK(log == Log{"cancelled", "slept"});
    CHECK(loop.now() - start == 11s);
}

// --- the task that awaits a run --------------------------------------------------------------

TEST_CASE("When the task that awaits a run is cancelled, so is the run, which throws Cancelled") {
    Log log;
    Node node{"node", [&]() -> Task<> {
                  if (!co_await slept(1'000h)) log.push_back("node cancelled");
                  co_await sleep_for(2s);
                  log.push_back("node clean");
              }};
    const TreeExecutor executor{node};
    const auto work = [&]() -> Task<> {
        std::string ended = "returned";
        try {
            co_await executor.run();
        } catch (const Cancelled&) {
            ended = "Cancelled";
        } catch (const RunError&) {
            ended = "RunError";
        }
        log.push_back("run: " + ended);
        if (co_await slept(1s)) log.push_back("slept");  // delivered once
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    cancel_after_a_second(loop, work());
    CHECK(log == Log{"node cancelled", "node clean", "run: Cancelled", "slept"});
    CHECK(loop.now() - start == 4s);
    CHECK(node.state() == NodeState::cancelled);
}
