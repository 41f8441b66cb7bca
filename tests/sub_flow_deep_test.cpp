// Runs inside the nodes of runs, a thousand deep. Run with a small stack: what recurses ends here.
#include <chrono>
#include <coroutine>
#include <optional>
#include <string>
#include <utility>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"
#include "nest.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Bottom;
using grafo_test::Counted;

namespace {

constexpr int depth = 1000;

struct Nest : grafo_test::Nest {
    std::optional<AsyncGenerator<Event>> outermost;
    bool drops = false;          // the bottom lets go of the outermost stream
    Nest* drops_with = nullptr;  // the bottom's destructor lets go of that one's
};

struct Dropper {
    explicit Dropper(Nest& n) : nest(n) {}
    Dropper(const Dropper&) = delete;
    Dropper& operator=(const Dropper&) = delete;
    ~Dropper() {
        if (nest.drops_with != nullptr) nest.drops_with->outermost.reset();
    }
    Nest& nest;
};

Task<int> innermost(Nest& nest) {
    const Counted local(0);
    const Dropper dropper(nest);
    if (nest.drops) nest.outermost.reset();
    co_return co_await bottom_of(nest);
}

Task<> run_it(TreeExecutor executor) { co_await executor.run(); }

// A run inside a node of a run, awaited in each way in turn.
Task<int> flow(int levels, Nest* nest) {
    if (levels == 0) co_return co_await innermost(*nest);
    const Counted local(levels);
    const Node level{"level " + std::to_string(levels), flow, "levels"_a = levels - 1,
                     "nest"_a = nest};
    const Node above{"above", [](int x) { return x + 1; }, "x"_a = level};
    TreeExecutor executor{above};
    switch (levels % 5) {
        case 0: co_await executor.run(); break;
        case 1: {
            AsyncGenerator<Event> events = executor.yielding();
            while (co_await events.next() != nullptr) {
            }
            break;
        }
        case 2: co_await with_timeout(24h, executor.run()); break;
        case 3: co_await when_all(run_it(std::move(executor)), sleep_for(1ms)); break;
        default: {
            const Node first{"first", [] { return 1; }};
            const Node second{"second", [](int x) { return x; }, "x"_a};
            first.connect(
                second, "x"_a = [&executor](int x) -> Task<int> {
                    co_await executor.run();
                    co_return x;
                });
            co_await TreeExecutor{first}.run();
        }
    }
    co_return above.output();
}

// The stream of a run around all of them, read until they wait.
Task<> begin(Nest& nest, int levels) {
    const int before = Counted::live();
    const Node outer{"outer", flow, "levels"_a = levels, "nest"_a = &nest};
    nest.outermost.emplace(TreeExecutor{outer}.yielding());
    co_await nest.outermost->next();
    while (nest.reached == 0) co_await grafo::yield();
    CHECK(Counted::live() == before + levels + 1);
}

}  // namespace

TEST_CASE("A thousand runs inside each other give a value") {
    Counted::reset();
    Nest nest;
    EventLoop loop{virtual_time};
    CHECK(loop.run(flow(depth, &nest)) == depth);
    CHECK(Counted::live() == 0);
}

TEST_CASE("An error comes up through a thousand runs inside each other, with all their names") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::error;
    EventLoop loop{virtual_time};
    std::string message;
    try {
        static_cast<void>(loop.run(flow(depth, &nest)));
    } catch (const RunError& error) {
        message = error.what();
    }
    CHECK_THAT(message, ContainsSubstring("level 1000") && ContainsSubstring("level 500") &&
                            ContainsSubstring("level 1'") && ContainsSubstring("the bottom"));
    CHECK(Counted::live() == 0);
}

TEST_CASE("A cancellation goes down through a thousand runs inside each other, and comes up") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::sleep;
    EventLoop loop{virtual_time};
    const auto in_time = [&]() -> Task<int> {
        co_return co_await with_timeout(1s, flow(depth, &nest));
    };
    CHECK_THROWS_AS(loop.run(in_time()), TimeoutError);
    CHECK(nest.cancelled == 1);
    CHECK(loop.now().time_since_epoch() == 1s);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A stop of the outermost of a thousand runs inside each other ends them all") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::sleep;
    {
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<NodeState> {
            const Node outer{"outer", flow, "levels"_a = depth, "nest"_a = &nest};
            const TreeExecutor executor{outer};
            EventLoop::current().spawn([](TreeExecutor& all) -> Task<> {
                co_await sleep_for(1s);
                all.stop();
            }(const_cast<TreeExecutor&>(executor)));
            const RunReport report = co_await executor.try_run();
            co_return outer.state();
        };
        CHECK(loop.run(body()) == NodeState::cancelled);
        CHECK(nest.cancelled == 1);
        CHECK(loop.now().time_since_epoch() == 1s);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A thousand runs inside each other are dropped with the outermost, from the inside") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::sleep;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await begin(nest, depth);
        nest.outermost.reset();
        CHECK(Counted::live() == 0);
    };
    loop.run(body());
    CHECK(nest.cancelled == 0);
    CHECK(loop.now().time_since_epoch() < 1h);
}

TEST_CASE("A destructor inside a thousand runs that are dropped may drop another thousand") {
    Counted::reset();
    Nest nest;
    Nest other;
    nest.bottom = other.bottom = Bottom::sleep;
    nest.drops_with = &other;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await begin(nest, depth);
        co_await begin(other, depth);
        nest.outermost.reset();
        CHECK_FALSE(other.outermost.has_value());
        CHECK(Counted::live() == 0);
    };
    loop.run(body());
}

TEST_CASE("A thousand runs inside each other are cancelled when the loop's own task ends") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::sleep;
    {
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            EventLoop::current().spawn([](Nest* inside) -> Task<> {
                static_cast<void>(co_await flow(depth, inside));
            }(&nest));
            while (nest.reached == 0) co_await grafo::yield();
            CHECK(Counted::live() == depth + 1);
        };
        loop.run(body());
    }
    CHECK(nest.cancelled == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("Thousands of runs around a foreign await are dropped when that resumes") {
    constexpr int levels = 4 * depth;
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::gate;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await begin(nest, levels);
        nest.outermost.reset();
        CHECK(Counted::live() == levels + 1);
        nest.gate.open();
        co_await sleep_for(1ms);
        CHECK(Counted::live() == 0);
    };
    loop.run(body());
    CHECK(Counted::live() == 0);
}

TEST_CASE("The innermost of a thousand runs lets go of the outermost, and ends, waits or throws") {
    for (const Bottom bottom : {Bottom::value, Bottom::error, Bottom::sleep}) {
        CAPTURE(bottom);
        Counted::reset();
        Nest nest;
        nest.bottom = bottom;
        nest.drops = true;
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            const Node outer{"outer", flow, "levels"_a = depth, "nest"_a = &nest};
            nest.outermost.emplace(TreeExecutor{outer}.yielding());
            co_await nest.outermost->next();
            while (nest.reached == 0) co_await grafo::yield();
            co_await sleep_for(1ms);
        };
        loop.run(body());
        CHECK(Counted::live() == 0);
    }
}
