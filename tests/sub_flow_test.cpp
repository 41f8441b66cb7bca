// Runs inside the nodes of runs: who is asked, and goes, in which order. Their depth is
// sub_flow_deep_test.cpp's.
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"

using namespace grafo;
using namespace std::chrono_literals;

namespace {

using Log = std::vector<std::string>;

// Says when it goes, and then does what it was given to do.
class Farewell {
public:
    Farewell(Log& log, std::string name, std::function<void()> act = {})
        : log_(log), name_(std::move(name)), act_(std::move(act)) {}
    Farewell(const Farewell&) = delete;
    Farewell& operator=(const Farewell&) = delete;
    ~Farewell() {
        log_.push_back(name_ + " goes");
        if (act_) act_();
    }

private:
    Log& log_;
    std::string name_;
    std::function<void()> act_;
};

// Waits until it is cancelled.
Node<void> sleeper(Log& log, const std::string& name, std::function<void()> act = {}) {
    return Node{name, [&log, name, act]() -> Task<> {
                    const Farewell farewell(log, name, act);
                    try {
                        co_await sleep_for(1h);
                    } catch (const Cancelled&) {
                        log.push_back(name + " cancelled");
                        throw;
                    }
                }};
}

Task<> run_of(Node<void> node) { co_await TreeExecutor{node}.run(); }

// A node that awaits a run of the other one.
Node<void> around(Log& log, const std::string& name, Node<void> inside) {
    return Node{name, [&log, name, inside]() -> Task<> {
                    const Farewell farewell(log, name);
                    co_await run_of(inside);
                }};
}

Node<void> three_side_by_side(Log& log) {
    const Node a = around(log, "around a", sleeper(log, "a"));
    const Node b = sleeper(log, "b");
    const Node c = sleeper(log, "c");
    return Node{"three", [&log, a, b, c]() -> Task<> {
                    const Farewell farewell(log, "three");
                    co_await when_all(run_of(a), run_of(b), run_of(c));
                }};
}

}  // namespace

TEST_CASE("Runs that a node awaits side by side are cancelled in their order, the inner first") {
    Log log;
    const Node three = three_side_by_side(log);
    const Node last = sleeper(log, "last");
    const TreeExecutor executor{three, last};
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn([](const TreeExecutor& all) -> Task<> {
            co_await sleep_for(1ms);
            all.stop();
        }(executor));
        co_await executor.try_run();
    };
    loop.run(body());
    Log cancelled;
    for (const std::string& line : log) {
        if (line.ends_with("cancelled")) cancelled.push_back(line);
    }
    CHECK(cancelled == Log{"a cancelled", "b cancelled", "c cancelled", "last cancelled"});
    CHECK(loop.now().time_since_epoch() == 1ms);
}

TEST_CASE("Runs that a node awaits side by side are dropped in their order, before the node") {
    Log log;
    const Node three = three_side_by_side(log);
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        AsyncGenerator<Event> events = TreeExecutor{three}.yielding();
        co_await events.next();
        co_await sleep_for(1ms);
        events = AsyncGenerator<Event>();
        CHECK(log == Log{"a goes", "around a goes", "b goes", "c goes", "three goes"});
    };
    loop.run(body());
}

TEST_CASE("A stream dropped by a destructor of a dropped sub-flow is gone when that goes on") {
    Log log;
    std::optional<AsyncGenerator<Event>> other;
    const Node inner = sleeper(log, "inner", [&] {
        other.reset();
        log.emplace_back("inner's destructor ends");
    });
    const Node outer = around(log, "outer", inner);
    const Node other_outer = around(log, "other outer", sleeper(log, "other inner"));
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        AsyncGenerator<Event> events = TreeExecutor{outer}.yielding();
        co_await events.next();
        other.emplace(TreeExecutor{other_outer}.yielding());
        co_await other->next();
        co_await sleep_for(1ms);
        events = AsyncGenerator<Event>();
        CHECK(log == Log{"inner goes", "other inner goes", "other outer goes",
                         "inner's destructor ends", "outer goes"});
    };
    loop.run(body());
}
