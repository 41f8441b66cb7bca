// Combinators in their thousands, side by side and inside each other. Run with a small stack.
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"
#include "nest.hpp"

using namespace grafo;
using namespace std::chrono_literals;
using grafo_test::Bottom;
using grafo_test::Counted;
using grafo_test::Nest;

namespace {

constexpr int million = 1'000'000;
constexpr int depth = 100'000;

Task<int> number(int value) { co_return value; }

// One combinator inside the other, of every kind in turn.
Task<int> nested(Nest& nest, int levels) {
    const Counted local(1);
    if (levels == 0) {
        const int value = co_await bottom_of(nest);
        co_return value;
    }
    int below = 0;
    switch (levels % 4) {
        case 0: below = co_await with_timeout(24h, nested(nest, levels - 1)); break;
        case 1: {
            const auto [value] = co_await when_all(nested(nest, levels - 1));
            below = value;
            break;
        }
        case 2: {
            const auto any = co_await when_any(sleep_for(24h), nested(nest, levels - 1));
            below = std::get<1>(any.value);
            break;
        }
        default: {
            std::vector<Task<int>> tasks;
            tasks.push_back(nested(nest, levels - 1));
            auto outcomes = co_await when_all_settled(std::move(tasks));
            below = std::move(outcomes[0]).value();
        }
    }
    co_return below + 1;
}

}  // namespace

TEST_CASE("A million ready tasks in one when_all") {
    EventLoop loop{virtual_time};
    const auto body = []() -> Task<long long> {
        std::vector<Task<int>> tasks;
        tasks.reserve(million);
        for (int i = 0; i < million; ++i) tasks.push_back(number(i));
        const std::vector<int> numbers = co_await when_all(std::move(tasks));
        long long sum = 0;
        for (const int n : numbers) sum += n;
        co_return sum;
    };
    CHECK(loop.run(body()) == 1LL * million * (million - 1) / 2);
}

TEST_CASE("Many thousand waiting tasks, all cancelled by the first error") {
    Counted::reset();
    EventLoop loop{virtual_time};
    const auto wait = [](int i) -> Task<> {
        const Counted local(i);
        co_await sleep_for(1h);
    };
    const auto fail = []() -> Task<> {
        co_await sleep_for(1ms);
        throw std::out_of_range("one of many");
    };
    const auto body = [&]() -> Task<> {
        std::vector<Task<>> tasks;
        for (int i = 0; i < depth; ++i) tasks.push_back(wait(i));
        tasks.push_back(fail());
        co_await when_all(std::move(tasks));
    };
    CHECK_THROWS_AS(loop.run(body()), std::out_of_range);
    CHECK(loop.now().time_since_epoch() == 1ms);
    CHECK(Counted::constructed() == depth);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A hundred thousand combinators inside each other give a value, and an error") {
    Counted::reset();
    Nest nest;
    EventLoop loop{virtual_time};
    CHECK(loop.run(nested(nest, depth)) == depth);
    nest.bottom = Bottom::error;
    CHECK_THROWS_AS(loop.run(nested(nest, depth)), std::out_of_range);
    CHECK(nest.reached == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A hundred thousand combinators inside each other are cancelled") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::sleep;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> { co_await with_timeout(1s, nested(nest, depth)); };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(nest.cancelled == 1);
    CHECK(loop.now().time_since_epoch() == 1s);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A hundred thousand combinators inside each other are dropped") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::sleep;
    {
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            Node node{"node", [&]() -> Task<> { co_await nested(nest, depth); }};
            auto events = TreeExecutor{node}.yielding();
            co_await events.next();
            co_await sleep_for(1ms);
            CHECK(Counted::live() == depth + 1);
            events = AsyncGenerator<Event>();
            CHECK(Counted::live() == 0);
        };
        loop.run(body());
    }
    CHECK(nest.cancelled == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A hundred thousand combinators around a foreign await are dropped when that resumes") {
    Counted::reset();
    Nest nest;
    nest.bottom = Bottom::gate;
    {
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            Node node{"node", [&]() -> Task<> { co_await nested(nest, depth); }};
            auto events = TreeExecutor{node}.yielding();
            co_await events.next();
            co_await sleep_for(1ms);
            events = AsyncGenerator<Event>();
            CHECK(Counted::live() == depth + 1);
            nest.gate.open();
            co_await sleep_for(1ms);
            CHECK(Counted::live() == 0);
        };
        loop.run(body());
    }
    CHECK(Counted::live() == 0);
}
