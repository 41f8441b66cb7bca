#include <grafo/grafo.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// How a run ends before its time: stop(), a failure, a timeout, the end of who awaits it.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;

std::vector<std::string> ids(const std::vector<AnyNode>& nodes) {
    std::vector<std::string> result;
    for (const AnyNode& node : nodes) result.push_back(node.id());
    return result;
}

std::chrono::nanoseconds time_of(const EventLoop& loop) { return loop.now().time_since_epoch(); }

// Sleeps for `work`; asked to end, cleans up for `clean_up`, and goes.
Task<> work_and_clean_up(Log& log, std::string name, std::chrono::nanoseconds work,
                         std::chrono::nanoseconds clean_up) {
    bool cancelled = false;
    log.push_back(name + " starts");
    try {
        co_await sleep_for(work);
    } catch (const Cancelled&) {
        cancelled = true;
    }
    if (!cancelled) {
        log.push_back(name + " is done");
        co_return;
    }
    log.push_back(name + " is cancelled");
    co_await sleep_for(clean_up);
    log.push_back(name + " is clean");
    throw Cancelled();
}

// Runs it, and stops it after `delay`.
Task<RunReport> run_and_stop(const TreeExecutor& executor, std::chrono::nanoseconds delay) {
    const auto stop_later = [](TreeExecutor const* stopped, std::chrono::nanoseconds d) -> Task<> {
        co_await sleep_for(d);
        stopped->stop();
    };
    EventLoop::current().spawn(stop_later(&executor, delay));
    co_return co_await executor.run();
}

Task<RunReport> try_and_stop(const TreeExecutor& executor, std::chrono::nanoseconds delay) {
    try {
        co_await run_and_stop(executor, delay);
    } catch (const RunError&) {
    }
    co_return executor.report();
}

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

template <class E, class F>
std::optional<E> caught(F&& f) {
    try {
        f();
    } catch (const E& error) {
        return error;
    }
    return {};
}

template <class E>
bool holds(const std::exception_ptr& error) {
    if (error == nullptr) return false;
    try {
        std::rethrow_exception(error);
    } catch (const E&) {
        return true;
    } catch (...) {
        return false;
    }
}

}  // namespace

// ---- stop ---------------------------------------------------------------------------------------

TEST_CASE("What follows co_await executor.run() is not reached when the run was stopped") {
    TreeExecutor* running = nullptr;
    bool committed = false;
    Node node{"node", [&]() -> Task<int> {
                  running->stop();
                  co_return 1;
              }};
    TreeExecutor executor{"flow", node};
    running = &executor;
    EventLoop loop{virtual_time};
    const auto main = [&]() -> Task<> {
        co_await executor.run();
        committed = true;
    };
    const auto error = caught<RunError>([&] { loop.run(main()); });
    CHECK_FALSE(committed);
    REQUIRE(error.has_value());
    CHECK(error->stopped());
    CHECK(error->errors().empty());
    CHECK_THAT(error->what(), ContainsSubstring("'flow'") && ContainsSubstring("stopped"));
    CHECK(node.state() == NodeState::cancelled);  // though its body returned
    CHECK_FALSE(executor.report().ok());
    CHECK(executor.report().stopped());
    CHECK_THROWS_AS(node.output(), OutputUnavailableError);
}

TEST_CASE("stop() cancels what runs, waits for its clean-up, and starts nothing more") {
    Log log;
    Node quick{"quick", [&] { log.push_back("quick"); }};
    Node slow{"slow", [&]() { return work_and_clean_up(log, "slow", 10s, 3s); }};
    Node after_slow{"after_slow", [&] { log.push_back("after_slow"); }};
    Node stopper{"stopper", []() -> Task<> { co_await sleep_for(2s); }};
    Node after_stopper{"after_stopper", [&] { log.push_back("after_stopper"); }};
    slow.connect(after_slow);
    stopper.connect(after_stopper);
    TreeExecutor executor{quick, slow, stopper};
    stopper.on_after_run([&] { executor.stop(); });
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(log == Log{"quick", "slow starts", "slow is cancelled", "slow is clean"});
    CHECK(time_of(loop) == 5s);
    CHECK(report.elapsed() == 5s);
    CHECK_FALSE(report.ok());
    CHECK(report.stopped());
    CHECK(report.failed().empty());
    CHECK(ids(report.completed()) == Log{"quick"});
    CHECK(slow.state() == NodeState::cancelled);
    for (const AnyNode& child : {AnyNode(after_slow), AnyNode(after_stopper)}) {
        const bool not_run =
            child.state() == NodeState::cancelled || child.state() == NodeState::skipped;
        CHECK(not_run);
    }
}

TEST_CASE("stop() may come from every piece of code that a run calls") {
    enum class Where {
        body,
        slow_body,
        deferred,
        before_run,
        after_run,
        transform,
        slow_transform
    };
    const Where where = GENERATE(Where::body, Where::slow_body, Where::deferred, Where::before_run,
                                 Where::after_run, Where::transform, Where::slow_transform);
    CAPTURE(static_cast<int>(where));
    std::optional<TreeExecutor> executor;
    bool child_ran = false;
    const auto stop_if = [&](Where here) {
        if (where == here) executor->stop();
    };
    Node node{"node",
              [&](int x) -> Task<int> {
                  stop_if(Where::body);
                  if (where == Where::slow_body) {
                      co_await sleep_for(1s);
                      executor->stop();
                  }
                  co_return x;
              },
              "x"_a =
                  [&] {
                      stop_if(Where::deferred);
                      return 1;
                  }};
    node.on_before_run([&] { stop_if(Where::before_run); });
    node.on_after_run([&] { stop_if(Where::after_run); });
    Node child{"child", [&](int, int) { child_ran = true; }, "a"_a, "b"_a};
    node.connect(
        child, "a"_a = [&](int x) {
            stop_if(Where::transform);
            return x;
        });
    node.connect(
        child, "b"_a = [&](int x) -> Task<int> {
            co_await sleep_for(1s);
            stop_if(Where::slow_transform);
            co_return x;
        });
    Log log;
    Node beside{"beside", [&]() { return work_and_clean_up(log, "beside", 1h, 1s); }};
    executor.emplace(beside, node);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor->try_run());
    CHECK(report.stopped());
    CHECK(report.failed().empty());
    CHECK_FALSE(child_ran);
    CHECK(beside.state() == NodeState::cancelled);
    CHECK(log == Log{"beside starts", "beside is cancelled", "beside is clean"});
    CHECK(time_of(loop) < 1min);
    const bool settled_before = where == Where::transform || where == Where::slow_transform;
    CHECK(node.state() == (settled_before ? NodeState::completed : NodeState::cancelled));
    CHECK(report.completed().size() + report.skipped().size() + report.cancelled().size() == 3);
}

TEST_CASE("A run stopped before it was awaited starts nothing; a later one is not concerned") {
    int calls = 0;
    Node node{"node", [&] { ++calls; }};
    Node child{"child", [&] { ++calls; }};
    node.connect(child);
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    executor.stop();  // no run there: no effect
    Task<RunReport> asked_for = executor.run();
    Task<RunReport> tried = executor.try_run();
    executor.stop();
    CHECK_THROWS_AS(loop.run(std::move(asked_for)), RunError);
    const RunReport report = loop.run(std::move(tried));
    CHECK(calls == 0);
    CHECK(report.stopped());
    CHECK(report.completed().empty());
    CHECK(report.cancelled().size() + report.skipped().size() == 2);
    CHECK(loop.run(executor.run()).ok());
    CHECK(calls == 2);
    executor.stop();  // it has ended: no effect
    CHECK(loop.run(executor.run()).ok());
    CHECK(calls == 4);
}

TEST_CASE("A run that is not valid throws so, even if it was stopped before it began") {
    Node node{"node", [](int) {}, "x"_a};
    TreeExecutor executor{node};
    Task<RunReport> task = executor.run();
    executor.stop();
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(std::move(task)), MissingArgumentError);
}

TEST_CASE(
    "A cancellation is delivered once: clean-up may await, and a second stop() ends that too") {
    const bool twice = GENERATE(false, true);
    Log log;
    Node node{"node", [&]() { return work_and_clean_up(log, "node", 1h, 10s); }};
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const auto stop_it = [&]() -> Task<> {
        co_await sleep_for(1s);
        executor.stop();
        co_await sleep_for(1s);
        if (twice) executor.stop();
    };
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_it());
        co_await executor.try_run();
    };
    loop.run(main());
    Log expected{"node starts", "node is cancelled"};
    if (!twice) expected.push_back("node is clean");
    CHECK(log == expected);
    CHECK(time_of(loop) == (twice ? 2s : 11s));
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("cancelled() stays true after the cancellation was delivered") {
    std::vector<bool> seen;
    Node node{"node", [&](NodeContext& context) -> Task<> {
                  seen.push_back(context.cancelled());
                  bool cancelled = false;
                  try {
                      co_await sleep_for(1h);
                  } catch (const Cancelled&) {
                      cancelled = true;
                  }
                  seen.push_back(context.cancelled());
                  if (cancelled) co_await sleep_for(1s);
                  seen.push_back(context.cancelled());
              }};
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    loop.run(try_and_stop(executor, 1s));
    CHECK(seen == std::vector<bool>{false, true, true});
    // Of the next run it says nothing.
    seen.clear();
    loop.run(executor.run());
    CHECK(seen == std::vector<bool>{false, false, false});
}

TEST_CASE("A node that is cancelled at a co_yield may await its clean-up") {
    bool clean = false;
    Node generator{"generator", [&]() -> AsyncGenerator<int> {
                       bool cancelled = false;
                       try {
                           co_yield 1;
                       } catch (const Cancelled&) {
                           cancelled = true;
                       }
                       if (cancelled) {
                           co_await sleep_for(2s);
                           clean = true;
                       }
                   }};
    TreeExecutor executor{generator};
    EventLoop loop{virtual_time};
    const auto read = [&]() -> Task<> {
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::chunk) executor.stop();
        }
    };
    CHECK_THROWS_AS(loop.run(read()), RunError);
    CHECK(clean);
    CHECK(time_of(loop) == 2s);
}

TEST_CASE("Each stop() from outside the loop is heard, the second as well") {
    bool cancelled = false;
    Node parent{"parent", [] { return sleep_for(1h); }};
    Node last{"last", [&]() -> AsyncGenerator<int> {
                  try {
                      for (;;) {
                          co_await sleep_for(1h);
                          co_yield 1;
                      }
                  } catch (const Cancelled&) {
                      cancelled = true;
                      throw;
                  }
              }};
    parent.connect(last);
    last.trigger(Trigger::all_settled);
    TreeExecutor executor{parent};
    EventLoop loop{virtual_time};
    int chunks = 0;
    const auto read_all = [&] {
        for (const Event& event : iterate(loop, executor.yielding())) {
            if (event.kind() == EventKind::started && event.node() == parent) executor.stop();
            if (event.kind() == EventKind::chunk && ++chunks == 2) executor.stop();
            if (chunks == 5) break;
        }
    };
    CHECK_THROWS_AS(read_all(), RunError);
    CHECK(cancelled);
    CHECK(chunks == 2);
}

TEST_CASE("A co_yield after a cancellation throws Cancelled, each time") {
    int thrown = 0;
    std::vector<int> taken;
    Node generator{"generator", [&]() -> AsyncGenerator<int> {
                       co_yield 1;
                       bool cancelled = false;
                       try {
                           co_await sleep_for(1h);
                       } catch (const Cancelled&) {
                           cancelled = true;
                       }
                       for (int i = 0; cancelled && i < 2; ++i) {
                           try {
                               co_yield 2;
                           } catch (const Cancelled&) {
                               ++thrown;
                           }
                       }
                   }};
    TreeExecutor executor{generator};
    EventLoop loop{virtual_time};
    const auto stop_it = [&]() -> Task<> {
        co_await sleep_for(1s);
        executor.stop();
    };
    bool stopped = false;
    const auto consume = [&]() -> Task<> {
        EventLoop::current().spawn(stop_it());
        auto events = executor.yielding();
        try {
            while (auto event = co_await events.next()) {
                if (auto chunk = event->chunk(generator)) taken.push_back(chunk->output);
            }
        } catch (const RunError& error) {
            stopped = error.stopped();
        }
    };
    loop.run(consume());
    CHECK(stopped);
    CHECK(thrown == 2);
    CHECK(taken == std::vector<int>{1});
    CHECK(generator.state() == NodeState::cancelled);
}

TEST_CASE(
    "An endless generator that never waits is stopped by a posted function, run or streamed") {
    std::uint64_t made = 0;
    std::optional<TreeExecutor> executor;
    bool post_at_start = false;
    Node generator{"endless", [&]() -> AsyncGenerator<std::uint64_t> {
                       if (post_at_start) EventLoop::current().post([&] { executor->stop(); });
                       for (;;) co_yield made++;
                   }};
    generator.collect(false);
    executor.emplace(generator);
    EventLoop loop{virtual_time};
    SECTION("run") {
        post_at_start = true;
        CHECK_THROWS_AS(loop.run(executor->run()), RunError);
        CHECK(made > 0);
    }
    SECTION("streamed") {
        std::uint64_t taken = 0;
        const auto consume = [&]() -> Task<> {
            auto events = executor->yielding();
            while (auto event = co_await events.next()) {
                if (auto chunk = event->chunk(generator)) {
                    CHECK(chunk->output == taken);
                    if (++taken == 1000) EventLoop::current().post([&] { executor->stop(); });
                }
            }
        };
        CHECK_THROWS_AS(loop.run(consume()), RunError);
        CHECK(taken >= 1000);
        CHECK(made - taken <= 1);
    }
    CHECK(generator.state() == NodeState::cancelled);
}

TEST_CASE("stop() starts nothing that waits for a place under max_concurrency") {
    int calls = 0;
    std::vector<AnyNode> nodes;
    std::optional<TreeExecutor> executor;
    for (int i = 0; i < 5; ++i) {
        nodes.push_back(Node{"node", [&]() -> Task<> {
                                 ++calls;
                                 co_await sleep_for(1s);
                                 executor->stop();
                             }});
    }
    executor.emplace(nodes);
    executor->max_concurrency(2);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor->try_run());
    CHECK(calls == 2);
    CHECK(report.cancelled().size() == 5);
    CHECK(time_of(loop) == 1s);
}

TEST_CASE("A transform that waits is cancelled by stop(), and its child never starts") {
    bool child_ran = false;
    bool transform_cancelled = false;
    Node parent{"parent", [] { return 1; }};
    Node child{"child", [&](int) { child_ran = true; }, "x"_a};
    parent.connect(
        child, "x"_a = [&](int x) -> Task<int> {
            try {
                co_await sleep_for(1h);
            } catch (const Cancelled&) {
                transform_cancelled = true;
            }
            co_return x;
        });
    TreeExecutor executor{parent};
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(try_and_stop(executor, 0s));
    CHECK(report.stopped());
    CHECK(transform_cancelled);
    CHECK_FALSE(child_ran);
    CHECK(child.state() == NodeState::cancelled);
    CHECK(parent.state() == NodeState::completed);
    CHECK(time_of(loop) == 0s);
}

TEST_CASE("A body that answers a stop with an error of its own has failed") {
    Node node{"node", []() -> Task<> {
                  bool cancelled = false;
                  try {
                      co_await sleep_for(1h);
                  } catch (const Cancelled&) {
                      cancelled = true;
                  }
                  if (cancelled) throw std::runtime_error("cannot clean up");
              }};
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const auto error = caught<RunError>([&] { loop.run(run_and_stop(executor, 1s)); });
    REQUIRE(error.has_value());
    CHECK(error->stopped());
    REQUIRE(error->errors().size() == 1);
    CHECK_THAT(error->what(), ContainsSubstring("cannot clean up"));
    CHECK(node.state() == NodeState::failed);
}

TEST_CASE("A stopped stream tells of every node, and then ends in RunError") {
    Node a{"a", []() -> Task<> { co_await sleep_for(1h); }};
    Node b{"b", [] {}};
    a.connect(b);
    TreeExecutor executor{a};
    EventLoop loop{virtual_time};
    std::vector<std::pair<std::string, EventKind>> seen;
    int errors = 0;
    bool ended = false;
    const auto consume = [&]() -> Task<> {
        auto events = executor.yielding();
        try {
            while (auto event = co_await events.next()) {
                seen.emplace_back(event->node().id(), event->kind());
                executor.stop();
            }
        } catch (const RunError& error) {
            ++errors;
            CHECK(error.stopped());
        }
        const Event* after = co_await events.next();
        ended = after == nullptr;
    };
    loop.run(consume());
    REQUIRE(seen.size() == 3);
    CHECK(seen[0] == std::pair(std::string("a"), EventKind::started));
    CHECK(seen[1] == std::pair(std::string("a"), EventKind::cancelled));
    CHECK(seen[2].first == "b");
    CHECK(errors == 1);
    CHECK(ended);
}

TEST_CASE("stop() from the body of a range-for over the events ends it in RunError") {
    Node a{"a", []() -> Task<> { co_await sleep_for(1h); }};
    const TreeExecutor executor{a};
    EventLoop loop{virtual_time};
    std::vector<EventKind> seen;
    const auto error = caught<RunError>([&] {
        for (const Event& event : iterate(loop, executor.yielding())) {
            seen.push_back(event.kind());
            if (event.kind() == EventKind::started) executor.stop();
        }
    });
    CHECK(error.has_value());
    CHECK(seen == std::vector<EventKind>{EventKind::started, EventKind::cancelled});
    CHECK(time_of(loop) == 0s);
}

// ---- a chunk that is held -----------------------------------------------------------------------

namespace {

enum class Reason { failure, timeout, total_timeout, stop };

}  // namespace

TEST_CASE(
    "A chunk held across an await stays whole while a sibling fails, time runs out, or stop()") {
    const Reason reason =
        GENERATE(Reason::failure, Reason::timeout, Reason::total_timeout, Reason::stop);
    CAPTURE(static_cast<int>(reason));
    Log log;
    Node producer{"producer", [&]() -> AsyncGenerator<std::string> {
                      std::string chunk(100, 'a');  // in the frame, its text on the heap
                      int made = 0;
                      try {
                          for (;; ++made) {
                              chunk[0] = static_cast<char>('a' + made);
                              co_yield chunk;
                          }
                      } catch (const Cancelled&) {
                          log.push_back("cancelled after " + std::to_string(made));
                          throw;
                      }
                  }};
    if (reason == Reason::timeout) producer.timeout(2s);
    if (reason == Reason::total_timeout) producer.total_timeout(2s);
    Node sibling{"sibling", [reason]() -> Task<> {
                     co_await sleep_for(2s);
                     if (reason == Reason::failure) throw std::runtime_error("sibling fails");
                 }};
    TreeExecutor executor{producer, sibling};
    EventLoop loop{virtual_time};
    bool failed = false;
    const auto consume = [&]() -> Task<> {
        auto events = executor.yielding();
        try {
            while (auto event = co_await events.next()) {
                const auto chunk = event->chunk(producer);
                if (!chunk) continue;
                const std::string before = chunk->output;
                co_await sleep_for(5s);
                if (reason == Reason::stop) executor.stop();
                co_await sleep_for(5s);
                CHECK(log.empty());  // pinned while the chunk is held
                CHECK(chunk->output == before);
                CHECK(chunk->output == std::string(100, 'a'));
                CHECK(chunk->node == "producer");
                if (reason == Reason::timeout) executor.stop();  // its clock stood still
            }
        } catch (const RunError&) {
            failed = true;
        }
    };
    loop.run(consume());
    CHECK(failed);
    CHECK(log == Log{"cancelled after 0"});
    if (reason == Reason::total_timeout) {
        CHECK(producer.state() == NodeState::failed);
    } else {
        CHECK(producer.state() == NodeState::cancelled);
    }
}

// ---- failures -----------------------------------------------------------------------------------

TEST_CASE(
    "Under fail_fast a failure cancels the running, waits for them, and starts nothing more") {
    Log log;
    Node failing{"failing", []() -> Task<> {
                     co_await sleep_for(2s);
                     throw std::runtime_error("broken");
                 }};
    Node dependent{"dependent", [&] { log.push_back("dependent"); }};
    failing.connect(dependent);
    Node slow{"slow", [&]() { return work_and_clean_up(log, "slow", 10s, 4s); }};
    Node after_slow{"after_slow", [&] { log.push_back("after_slow"); }};
    slow.connect(after_slow);
    TreeExecutor executor{failing, slow};
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(log == Log{"slow starts", "slow is cancelled", "slow is clean"});
    CHECK(report.elapsed() == 6s);
    CHECK_FALSE(report.ok());
    CHECK_FALSE(report.stopped());
    CHECK(ids(report.failed()) == Log{"failing"});
    CHECK(dependent.state() == NodeState::skipped);
    CHECK(slow.state() == NodeState::cancelled);
    CHECK(report.completed().empty());
}

TEST_CASE("The destructor of a node's former output stops the run: the node does not begin anew") {
    std::optional<TreeExecutor> executor;
    bool armed = false;
    int begun = 0;
    Node first{"first", []() -> Task<> { co_return; }};
    Node second{"second", [&]() -> Task<std::shared_ptr<int>> {
                    ++begun;
                    co_return std::shared_ptr<int>(new int, [&](int* number) {
                        delete number;
                        if (armed) executor->stop();
                    });
                }};
    first.connect(second);
    executor.emplace({first});
    EventLoop loop{virtual_time};
    loop.run(executor->run());
    armed = true;
    const RunReport report = loop.run(executor->try_run());
    armed = false;
    CHECK(begun == 1);
    CHECK(report.stopped());
    CHECK(ids(report.completed()) == Log{"first"});
    CHECK(ids(report.cancelled()) == Log{"second"});
}

TEST_CASE("Under keep_going only what depends on the failure is skipped") {
    Log log;
    Node failing{"failing", []() -> Task<int> {
                     co_await sleep_for(2s);
                     throw std::runtime_error("broken");
                 }};
    Node dependent{"dependent", [](int x) { return x; }, "x"_a};
    Node grandchild{"grandchild", [](int x) { return x; }, "x"_a};
    failing.connect(dependent, "x"_a).connect(grandchild, "x"_a);
    Node slow{"slow", [&]() { return work_and_clean_up(log, "slow", 10s, 4s); }};
    Node after_slow{"after_slow", [&] { log.push_back("after_slow"); }};
    slow.connect(after_slow);
    Node both{"both", [] {}};
    slow.connect(both);
    failing.connect(both);
    TreeExecutor executor{failing, slow};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const auto error = caught<RunError>([&] { loop.run(executor.run()); });
    REQUIRE(error.has_value());
    CHECK(error->errors().size() == 1);
    CHECK_FALSE(error->stopped());
    CHECK(log == Log{"slow starts", "slow is done", "after_slow"});
    const RunReport report = executor.report();
    CHECK(ids(report.completed()) == Log{"slow", "after_slow"});
    CHECK(ids(report.failed()) == Log{"failing"});
    CHECK(ids(report.skipped()) == Log{"dependent", "grandchild", "both"});
    CHECK(report.cancelled().empty());
}

TEST_CASE("Failures of siblings in the same moment are all reported") {
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 3; ++i) {
        nodes.push_back(Node{"node" + std::to_string(i), [i]() -> Task<> {
                                 try {
                                     co_await sleep_for(1s);
                                 } catch (const Cancelled&) {
                                 }
                                 throw std::runtime_error("broken " + std::to_string(i));
                             }});
    }
    EventLoop loop{virtual_time};
    const auto error = caught<RunError>([&] { loop.run(TreeExecutor{nodes}.run()); });
    REQUIRE(error.has_value());
    REQUIRE(error->errors().size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK_THAT(error->errors()[i].what(), ContainsSubstring("broken " + std::to_string(i)));
        CHECK(error->errors()[i].node() == nodes[i]);
    }
}

TEST_CASE("A failure that holds another failure of the same graph does not keep the graph alive") {
    Counted::reset();
    {
        Node failing{"failing", [](const Counted&) -> int { throw std::runtime_error("broken"); },
                     "c"_a = Counted(1)};
        Node curious{"curious", [failing = failing.ref()]() -> Task<> {
                         co_await sleep_for(1s);
                         static_cast<void>(failing.output());
                     }};
        Node sink{"sink", [] {}};
        failing.connect(sink);
        curious.connect(sink);
        TreeExecutor executor{failing, curious};
        executor.on_error(ErrorPolicy::keep_going);
        EventLoop loop{virtual_time};
        const RunReport report = loop.run(executor.try_run());
        REQUIRE(report.errors().size() == 2);
        CHECK(holds<NodeError>(report.errors()[1].cause()));
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}

// ---- timeouts -----------------------------------------------------------------------------------

TEST_CASE("A node that does not end in time is cancelled and fails with TimeoutError") {
    const bool total = GENERATE(false, true);
    Log log;
    Node node{"node", [&]() { return work_and_clean_up(log, "node", 10s, 1s); }};
    total ? node.total_timeout(3s) : node.timeout(3s);
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const auto error = caught<RunError>([&] { loop.run(executor.run()); });
    REQUIRE(error.has_value());
    REQUIRE(error->errors().size() == 1);
    CHECK_FALSE(error->stopped());
    CHECK(holds<TimeoutError>(error->errors()[0].cause()));
    CHECK_THAT(error->what(), ContainsSubstring("'node'") && ContainsSubstring("3 s") &&
                                  ContainsSubstring(total ? "total_timeout" : "timeout"));
    CHECK(log == Log{"node starts", "node is cancelled", "node is clean"});
    CHECK(node.state() == NodeState::failed);
    CHECK(time_of(loop) == 4s);
}

TEST_CASE("A body that swallows Cancelled and returns ends as cancelled, timed out as failed") {
    const bool timed = GENERATE(false, true);
    bool child_ran = false;
    Node node{"node", []() -> Task<int> {
                  try {
                      co_await sleep_for(1h);
                  } catch (const Cancelled&) {
                  }
                  co_return 42;
              }};
    Node child{"child", [&](int) { child_ran = true; }, "x"_a};
    node.connect(child, "x"_a);
    if (timed) node.timeout(1s);
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const RunReport report =
        timed ? loop.run(executor.try_run()) : loop.run(try_and_stop(executor, 1s));
    CHECK_FALSE(child_ran);
    CHECK_FALSE(report.ok());
    if (timed) {
        CHECK(node.state() == NodeState::failed);
        REQUIRE(report.errors().size() == 1);
        CHECK(holds<TimeoutError>(report.errors()[0].cause()));
        CHECK_THROWS_AS(node.output(), NodeError);
    } else {
        CHECK(node.state() == NodeState::cancelled);
        CHECK(report.errors().empty());
        CHECK_THROWS_AS(node.output(), OutputUnavailableError);
    }
}

TEST_CASE("A timeout counts deferred arguments and the body, a total one the callbacks as well") {
    // One second each: before_run, the deferred argument, the body, after_run.
    const auto make = [] {
        const auto one_second = []() -> Task<> { co_await sleep_for(1s); };
        Node node{"node",
                  [](int x) -> Task<int> {
                      co_await sleep_for(1s);
                      co_return x;
                  },
                  "x"_a = []() -> Task<int> {
                      co_await sleep_for(1s);
                      co_return 1;
                  }};
        return node.on_before_run(one_second).on_after_run(one_second);
    };
    EventLoop loop{virtual_time};
    const auto fails = [&](const auto& node) {
        return !loop.run(TreeExecutor{node}.try_run()).ok();
    };
    CHECK_FALSE(fails(make().timeout(2001ms)));
    CHECK(fails(make().timeout(1999ms)));
    CHECK(fails(make().timeout(500ms)));
    CHECK_FALSE(fails(make().total_timeout(3001ms)));
    CHECK(fails(make().total_timeout(2999ms)));
    CHECK_FALSE(fails(make().timeout(2001ms).total_timeout(3001ms)));
    CHECK_FALSE(fails(make().timeout(std::chrono::nanoseconds::max())));
}

TEST_CASE("A timeout of zero or less cancels at the first suspension") {
    const auto limit = GENERATE(0ms, -5ms);
    Log log;
    Node node{"node", [&]() -> Task<> {
                  log.push_back("began");
                  co_await yield();
                  log.push_back("gone on");
              }};
    node.timeout(limit);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{node}.try_run());
    CHECK(log == Log{"began"});
    REQUIRE(report.errors().size() == 1);
    CHECK(holds<TimeoutError>(report.errors()[0].cause()));
    CHECK(time_of(loop) == 0s);
}

TEST_CASE("A node that ends before its timeout is not touched by it") {
    Node node{"node", []() -> Task<int> {
                  co_await sleep_for(1s);
                  co_return 1;
              }};
    node.timeout(2s).total_timeout(3s);
    Node after{"after",
               [](int x) -> Task<int> {
                   co_await sleep_for(10s);
                   co_return x;
               },
               "x"_a};
    node.connect(after, "x"_a);
    EventLoop loop{virtual_time};
    for (int i = 1; i <= 3; ++i) {
        loop.run(TreeExecutor{node}.run());
        CHECK(after.output() == 1);
        CHECK(time_of(loop) == i * 11s);
    }
}

TEST_CASE("A timeout under keep_going skips the children only") {
    Node slow{"slow", []() -> Task<int> {
                  co_await sleep_for(1h);
                  co_return 1;
              }};
    slow.timeout(1s);
    Node child{"child", [](int) {}, "x"_a};
    slow.connect(child, "x"_a);
    Node other{"other", []() -> Task<> { co_await sleep_for(5s); }};
    TreeExecutor executor{slow, other};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(ids(report.failed()) == Log{"slow"});
    CHECK(ids(report.skipped()) == Log{"child"});
    CHECK(ids(report.completed()) == Log{"other"});
    CHECK(report.elapsed() == 5s);
}

// ---- the end of who awaits the run --------------------------------------------------------------

TEST_CASE(
    "A cancelled task that awaits run() waits for the clean-up of its nodes, then Cancelled") {
    const bool streamed = GENERATE(false, true);
    const bool tried = GENERATE(false, true);
    CAPTURE(streamed, tried);
    Log log;
    Node inner{"inner", [&]() { return work_and_clean_up(log, "inner", 1h, 2s); }};
    Node never{"never", [&] { log.push_back("never"); }};
    inner.connect(never);
    Node flow{"flow", [&]() -> Task<> {
                  TreeExecutor executor{inner};
                  try {
                      if (streamed) {
                          auto events = executor.yielding();
                          while (co_await events.next()) {
                          }
                      } else if (tried) {
                          co_await executor.try_run();
                      } else {
                          co_await executor.run();
                      }
                      log.push_back("committed");
                  } catch (const Cancelled&) {
                      log.push_back("flow is cancelled");
                      throw;
                  } catch (const Error&) {
                      log.push_back("flow failed");
                  }
              }};
    flow.timeout(1s);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{flow}.try_run());
    CHECK(log == Log{"inner starts", "inner is cancelled", "inner is clean", "flow is cancelled"});
    CHECK(time_of(loop) == 3s);
    CHECK(inner.state() == NodeState::cancelled);
    REQUIRE(report.errors().size() == 1);
    CHECK(holds<TimeoutError>(report.errors()[0].cause()));
}

TEST_CASE("A cancellation reaches the innermost of nested runs, and each waits for its own") {
    Log log;
    Node leaf{"leaf", [&]() { return work_and_clean_up(log, "leaf", 1h, 1s); }};
    const auto run_inside = [&log](AnyNode inner, std::string name) -> Task<> {
        bool cancelled = false;
        try {
            co_await TreeExecutor{inner}.run();
        } catch (const Cancelled&) {
            cancelled = true;
        }
        log.push_back(name + (cancelled ? " is cancelled" : " is done"));
        co_await sleep_for(1s);
        log.push_back(name + " is clean");
    };
    Node middle{"middle", run_inside, "inner"_a = AnyNode(leaf), "name"_a = std::string("middle")};
    Node outer{"outer", run_inside, "inner"_a = AnyNode(middle), "name"_a = std::string("outer")};
    TreeExecutor executor{outer};
    EventLoop loop{virtual_time};
    loop.run(try_and_stop(executor, 1s));
    CHECK(log == Log{"leaf starts", "leaf is cancelled", "leaf is clean", "middle is cancelled",
                     "middle is clean", "outer is cancelled", "outer is clean"});
    CHECK(time_of(loop) == 4s);
    CHECK(leaf.state() == NodeState::cancelled);
    CHECK(middle.state() == NodeState::cancelled);
    CHECK(outer.state() == NodeState::cancelled);
}

TEST_CASE("The run of a spawned task is cancelled, and waited for, when the loop's task is done") {
    Log log;
    Node node{"node", [&]() { return work_and_clean_up(log, "node", 1h, 2s); }};
    const TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const auto background = [&]() -> Task<> {
        co_await executor.run();
        log.push_back("committed");
    };
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(background());
        co_await sleep_for(1s);
        log.push_back("main is done");
    };
    loop.run(main());
    CHECK(log == Log{"node starts", "main is done", "node is cancelled", "node is clean"});
    CHECK(time_of(loop) == 3s);
    CHECK(executor.report().stopped());
}

TEST_CASE("A consumer cancelled between two events lets the nodes clean up, as one that waits") {
    Log log;
    Node inner{"inner", [&]() { return work_and_clean_up(log, "inner", 1h, 2s); }};
    std::optional<TreeExecutor> outer;
    Node flow{"flow", [&]() -> Task<> {
                  auto events = TreeExecutor{inner}.yielding();
                  try {
                      while (auto event = co_await events.next()) {
                          // Between two events, in code that does not wait.
                          if (event->kind() == EventKind::started) outer->stop();
                      }
                  } catch (const Cancelled&) {
                      log.push_back("flow is cancelled");
                  }
              }};
    outer.emplace(flow);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(outer->try_run());
    CHECK(log == Log{"inner starts", "inner is cancelled", "inner is clean", "flow is cancelled"});
    CHECK(time_of(loop) == 2s);
    CHECK(report.stopped());
}

TEST_CASE("A foreign await cannot be cancelled: it is waited for, and Cancelled comes after it") {
    Log log;
    Gate gate;
    Node node{"node", [&]() -> Task<> {
                  try {
                      co_await gate;
                      log.push_back("gone on");
                  } catch (const Cancelled&) {
                      log.push_back("cancelled");
                      throw;
                  }
              }};
    TreeExecutor executor{node};
    EventLoop loop{virtual_time};
    const auto stop_it = [&]() -> Task<> {
        co_await sleep_for(1s);
        executor.stop();
        log.push_back("stopped");
        co_await sleep_for(1s);
        log.push_back("the gate opens");
        gate.open();
    };
    const auto main = [&]() -> Task<> {
        EventLoop::current().spawn(stop_it());
        co_await executor.try_run();
    };
    loop.run(main());
    CHECK(log == Log{"stopped", "the gate opens", "cancelled"});
    CHECK(node.state() == NodeState::cancelled);
    CHECK(time_of(loop) == 2s);
}

TEST_CASE("A run in which nothing can ever happen ends in DeadlockError, which names who waits") {
    Log log;
    Node stuck{"stuck", [&]() -> Task<> {
                   try {
                       co_await std::suspend_always();
                   } catch (const Cancelled&) {
                       log.push_back("stuck is cancelled");
                       throw;
                   }
               }};
    Node also_stuck{"also_stuck", []() -> Task<> { co_await std::suspend_always(); }};
    Node fine{"fine", []() -> Task<> { co_await sleep_for(1s); }};
    Node after{"after", [] {}};
    stuck.connect(after);
    TreeExecutor executor{stuck, also_stuck, fine};
    EventLoop loop{virtual_time};
    const auto error = caught<DeadlockError>([&] { loop.run(executor.run()); });
    REQUIRE(error.has_value());
    CHECK_THAT(error->what(), ContainsSubstring("'stuck'") && ContainsSubstring("'also_stuck'") &&
                                  !ContainsSubstring("'fine'") && !ContainsSubstring("'after'"));
    CHECK(log == Log{"stuck is cancelled"});
    CHECK(fine.state() == NodeState::completed);
    CHECK(stuck.state() == NodeState::cancelled);
    CHECK(time_of(loop) == 1s);
}

TEST_CASE("DeadlockError names the edge whose transform never ends") {
    const Node a{"a", [] { return 1; }};
    const Node b{"b", [](int) {}, "x"_a};
    a.connect(
        b, "x"_a = [](int x) -> Task<int> {
            co_await std::suspend_always();
            co_return x;
        });
    const TreeExecutor executor{a};
    const auto error = caught<DeadlockError>([&] { EventLoop(virtual_time).run(executor.run()); });
    REQUIRE(error.has_value());
    CHECK_THAT(error->what(), ContainsSubstring("the edge 'a' -> 'b'"));
}

// ---- other threads ------------------------------------------------------------------------------

TEST_CASE("Two stop() from another thread, heard at once, are two") {
    const int stops = GENERATE(1, 2, 3);
    CAPTURE(stops);
    std::optional<TreeExecutor> executor;
    const Node busy{"busy", [&] {
                        std::thread([&] {
                            for (int i = 0; i < stops; ++i) executor->stop();
                        }).join();
                    }};
    const Node tidy{"tidy", [] {}};
    tidy.trigger(Trigger::all_settled);
    const Node after{"after", [] {}};
    busy.connect(after);
    after.connect(tidy);
    executor.emplace(busy);
    const RunReport report = EventLoop().run(executor->try_run());
    CHECK(after.state() == NodeState::cancelled);
    CHECK(tidy.state() == (stops == 1 ? NodeState::completed : NodeState::cancelled));
}

TEST_CASE("stop() from another thread ends a run whose loop sleeps, in real time") {
    std::atomic<bool> started{false};
    Node node{"node", [&]() -> Task<> {
                  started = true;
                  started.notify_one();
                  co_await sleep_for(24h);
              }};
    const TreeExecutor executor{node};
    std::thread other([&] {
        started.wait(false);
        executor.stop();
    });
    EventLoop loop;
    const RunReport report = loop.run(executor.try_run());
    other.join();
    CHECK(report.stopped());
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("stop() from another thread ends a streamed run of an endless generator") {
    std::atomic<int> taken{0};
    Node generator{"generator", []() -> AsyncGenerator<int> {
                       for (int i = 0;; ++i) co_yield i;
                   }};
    generator.collect(false);
    const TreeExecutor executor{generator};
    std::thread other([&] {
        taken.wait(0);
        executor.stop();
    });
    EventLoop loop;
    const auto error = caught<RunError>([&] {
        for (const Event& event : iterate(loop, executor.yielding())) {
            if (event.kind() != EventKind::chunk) continue;
            ++taken;
            taken.notify_one();
        }
    });
    other.join();
    REQUIRE(error.has_value());
    CHECK(error->stopped());
    CHECK(taken > 0);
    CHECK(generator.state() == NodeState::cancelled);
}

TEST_CASE("Many stop() calls from many threads, before, in and after the run, end it once") {
    std::atomic<bool> started{false};
    std::atomic<bool> ended{false};
    Log log;
    Node node{"node", [&]() -> Task<> {
                  started = true;
                  started.notify_all();
                  co_await sleep_for(24h);
              }};
    const TreeExecutor executor{node};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            started.wait(false);
            while (!ended) executor.stop();
            executor.stop();
        });
    }
    EventLoop loop;
    const RunReport report = loop.run(executor.try_run());
    ended = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(report.stopped());
    CHECK(report.cancelled().size() == 1);
}

// ---- transforms whose edge is cut ---------------------------------------------------------------

TEST_CASE("A transform may cut its own edge, also one that was made in the run") {
    const bool in_run = GENERATE(false, true);
    const bool waits = GENERATE(false, true);
    CAPTURE(in_run, waits);
    std::string got;
    int calls = 0;
    Node count_all{"count_all",
                   [&](const std::vector<std::string>& all) {
                       ++calls;
                       return all.size();
                   },
                   "all"_args};
    Node other{"other", [] { return std::string("other"); }};
    other.connect(count_all, "all"_a);
    const auto connect_self_cutting = [&](const Node<int>& parent) {
        const std::string text(50, 'x');  // owned by the closure, which is owned by the edge
        if (waits) {
            parent.connect(
                count_all, "all"_a = [&, text](int) -> Task<std::string> {
                    co_await sleep_for(1s);
                    AnyNode(parent).disconnect(count_all);
                    got += text;
                    co_return text;
                });
        } else {
            parent.connect(
                count_all, "all"_a = [&, text](int) {
                    AnyNode(parent).disconnect(count_all);
                    got += text;
                    return text;
                });
        }
    };
    std::optional<Node<int>> self;
    Node parent{"parent", [&]() -> int {
                    if (in_run) connect_self_cutting(*self);
                    return 1;
                }};
    self = parent;
    if (!in_run) connect_self_cutting(*self);
    const TreeExecutor executor{parent, other};
    EventLoop loop{virtual_time};
    for (int run = 1; run <= 2; ++run) {
        loop.run(executor.run());
        CHECK(got == std::string(static_cast<std::size_t>(50 * run), 'x'));
        CHECK(calls == run);
        CHECK(count_all.output() == 1);
        CHECK(parent.children().size() == (in_run ? 0 : 1));
    }
}

TEST_CASE("A transform that is cut off while it waits cleans up with what it captured") {
    const bool in_run = GENERATE(false, true);
    CAPTURE(in_run);
    std::string got;
    Node child{"child", [](const std::vector<std::string>& all) { return all.size(); }, "all"_args};
    const auto connect_slow = [&](const Node<int>& parent) {
        const std::string text(50, 'x');
        parent.connect(
            child, "all"_a = [&got, text](int) -> Task<std::string> {
                bool cancelled = false;
                try {
                    co_await sleep_for(1h);
                } catch (const Cancelled&) {
                    cancelled = true;
                }
                if (cancelled) co_await sleep_for(1s);
                got += text;
                co_return text;
            });
    };
    std::optional<Node<int>> self;
    Node parent{"parent", [&]() -> int {
                    if (in_run) connect_slow(*self);
                    return 1;
                }};
    self = parent;
    if (!in_run) connect_slow(*self);
    Node other{"other", [] { return std::string("other"); }};
    other.connect(child, "all"_a);
    Node cutter{"cutter", [&]() -> Task<> {
                    co_await sleep_for(1s);
                    parent.disconnect(child);
                }};
    const TreeExecutor executor{parent, other, cutter};
    EventLoop loop{virtual_time};
    loop.run(executor.run());
    CHECK(got == std::string(50, 'x'));
    CHECK(child.output() == 1);
    CHECK(time_of(loop) == 2s);  // what was started is waited for
}

TEST_CASE("A stopped or failed run puts back the wiring that it had changed") {
    const bool fails = GENERATE(false, true);
    std::optional<TreeExecutor> executor;
    Node first{"first", [] { return 1; }};
    Node second{"second", []() -> Task<int> {
                    co_await sleep_for(1s);
                    co_return 2;
                }};
    Node child{"child", [](int x) { return x; }, "x"_a};
    second.connect(child, "x"_a);
    bool rewires = true;
    Node rewirer{"rewirer", [&]() -> Task<> {
                     if (!rewires) co_return;
                     second.disconnect(child);
                     first.connect(child, "x"_a);
                     co_await yield();
                     co_await yield();
                     if (fails) throw std::runtime_error("broken");
                     executor->stop();
                 }};
    executor.emplace(first, second, rewirer);
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(executor->run()), RunError);
    CHECK(child.output() == 1);
    CHECK(second.state() == NodeState::cancelled);
    CHECK(first.children().empty());
    CHECK(second.children() == std::vector<AnyNode>{child});
    CHECK(child.parents() == std::vector<AnyNode>{second});
    rewires = false;
    loop.run(executor->run());
    CHECK(child.output() == 2);
}

TEST_CASE("stop() from another thread is heard before the next node, however many are ready") {
    int ran = 0;
    std::optional<TreeExecutor> executor;
    Node first{"first", [] {}};
    for (int i = 0; i < 100; ++i) {
        first.connect(Node{"node " + std::to_string(i), [&] {
                               if (++ran == 10) std::thread([&] { executor->stop(); }).join();
                           }});
    }
    const bool streamed = GENERATE(false, true);
    const int places = GENERATE(1, 1'000);
    CAPTURE(streamed, places);
    executor.emplace(TreeExecutor{first});
    executor->max_concurrency(static_cast<std::size_t>(places));
    EventLoop loop{virtual_time};
    if (streamed) {
        const auto read = [&]() -> Task<> {
            auto events = executor->yielding();
            while (co_await events.next() != nullptr) {
            }
        };
        CHECK_THROWS_AS(loop.run(read()), RunError);
    } else {
        CHECK_FALSE(loop.run(executor->try_run()).ok());
    }
    CHECK(ran == 10);
}
