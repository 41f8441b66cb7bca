// Runs inside the nodes of runs: who is asked, and goes, in which order. Their depth is
// sub_flow_deep_test.cpp's.
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"
#include "gate.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::Counted;
using grafo_test::Gate;

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

// A node whose only edge awaits a run of the other one.
Node<int> with_run_in_transform(Node<void> inside) {
    const Node first{"first", [] { return 1; }};
    const Node second{"second", [](int x) { return x; }, "x"_a};
    first.connect(
        second, "x"_a = [inside](int x) -> Task<int> {
            const Counted local(1);
            co_await run_of(inside);
            co_return x;
        });
    return first;
}

// Drops a run of the node after a second, and opens the gate one after that, until when the frame
// that waits there, and all around it, stay.
Task<> drop_run_of(AnyNode node, Gate& gate) {
    AsyncGenerator<Event> events = TreeExecutor{node}.yielding();
    co_await events.next();
    co_await sleep_for(1s);
    const int before = Counted::live();
    events = AsyncGenerator<Event>();
    co_await sleep_for(1s);
    CHECK(Counted::live() == (gate.waited() ? before : 0));
    gate.open();
    co_await sleep_for(1s);
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

TEST_CASE("A run that a transform awaits is cancelled with the run of its edge") {
    for (const bool by_failure : {false, true}) {
        CAPTURE(by_failure);
        Log log;
        const Node first = with_run_in_transform(sleeper(log, "inner"));
        const Node fails{"fails", [by_failure]() -> Task<> {
                             co_await sleep_for(1s);
                             if (by_failure) throw std::runtime_error("no");
                         }};
        const TreeExecutor executor{first, fails};
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            EventLoop::current().spawn([](const TreeExecutor& all) -> Task<> {
                for (int i = 0; i < 3; ++i) {
                    co_await sleep_for(2s);
                    all.stop();
                }
            }(executor));
            co_await executor.try_run();
        };
        loop.run(body());
        CHECK(log == Log{"inner cancelled", "inner goes"});
        CHECK(loop.now().time_since_epoch() == (by_failure ? 1s : 2s));
    }
}

TEST_CASE("A run inside a run is dropped when what is busy beside it is over, and may run again") {
    enum class Where { branch, branch_first, transform, alone_in_transform, map_each };
    for (const Where where : {Where::branch, Where::branch_first, Where::transform,
                              Where::alone_in_transform, Where::map_each}) {
        CAPTURE(where);
        Counted::reset();
        {
            Gate gate;
            bool again = false;
            int gone_on = 0;
            const Node inner{"inner", [&]() -> Task<> {
                                 const Counted local(1);
                                 if (again) co_return;
                                 co_await sleep_for(1500ms);  // after the drop, before the gate
                                 ++gone_on;
                             }};
            const auto at_gate = [&]() -> Task<> {
                const Counted local(1);
                co_await gate;
            };
            const auto item = [&](int i) -> Task<int> {
                if (i == 0) co_await run_of(inner);
                if (i == 1) co_await at_gate();
                co_return i;
            };
            const Node around{"around", [&]() -> Task<> {
                                  const Counted local(1);
                                  if (where == Where::branch) {
                                      co_await when_all(run_of(inner), at_gate());
                                  } else if (where == Where::branch_first) {
                                      co_await when_all(at_gate(), run_of(inner));
                                  } else if (where == Where::map_each) {
                                      const Node each{"each", grafo::map_each(item, 2),
                                                      "items"_a = std::vector<int>{0, 1}};
                                      co_await TreeExecutor{each}.run();
                                  } else {
                                      const Node beside{"beside", at_gate};
                                      const Node first = with_run_in_transform(inner);
                                      NodeList nodes{first};
                                      if (where == Where::transform) {
                                          nodes = NodeList{first, beside};
                                      }
                                      co_await TreeExecutor{nodes}.run();
                                  }
                              }};
            const Node outer{"outer", [&]() -> Task<> {
                                 const Counted local(1);
                                 co_await run_of(around);
                             }};
            EventLoop loop{virtual_time};
            loop.run(drop_run_of(outer, gate));
            CHECK(gone_on == 0);
            CHECK(Counted::live() == 0);
            again = true;
            CHECK_NOTHROW(loop.run(run_of(inner)));
        }
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("A stream of another's, read by a node that is dropped, lets go of its own nodes first") {
    Counted::reset();
    Gate gate;
    std::optional<AsyncGenerator<Event>> shared;
    const Node busy{"busy", [&]() -> Task<> {
                        const Counted local(1);
                        co_await gate;
                    }};
    const Node sleeps{"sleeps", []() -> Task<> {
                          const Counted local(1);
                          co_await sleep_for(10s);
                      }};
    const Node reader{"reader", [&]() -> Task<> {
                          const Counted local(1);
                          co_await shared->next();
                      }};
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        shared.emplace(TreeExecutor{busy, sleeps}.yielding());
        co_await shared->next();
        co_await shared->next();
        co_await drop_run_of(reader, gate);
        CHECK(Counted::live() == 0);
        co_await sleep_for(20s);  // nothing of it comes back
        shared.reset();
    };
    loop.run(body());
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stream whose former reader is gone is let go of by one that was dropped") {
    Counted::reset();
    std::optional<AsyncGenerator<Event>> shared;
    std::optional<AsyncGenerator<Event>> outer;
    const Node inner{"inner", []() -> Task<> {
                         const Counted local(1);
                         co_await sleep_for(10s);
                     }};
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        shared.emplace(TreeExecutor{inner}.yielding());
        {
            const Node former{"former", [&]() -> Task<> { co_await shared->next(); }};
            co_await run_of(former);
        }
        const Node reader{"reader", [&]() -> Task<> {
                              const Counted local(1);
                              co_await sleep_for(1ms);
                              outer.reset();
                              co_await shared->next();
                          }};
        outer.emplace(TreeExecutor{reader}.yielding());
        co_await outer->next();
        co_await sleep_for(10ms);
        CHECK(Counted::live() == 0);
        co_await sleep_for(20s);
        shared.reset();
    };
    loop.run(body());
    CHECK(Counted::live() == 0);
}
