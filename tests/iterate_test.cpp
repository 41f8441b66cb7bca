#include <chrono>
#include <coroutine>
#include <iterator>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace std::chrono_literals;
using namespace grafo::literals;
using grafo::AsyncGenerator;
using grafo::EventLoop;
using grafo::iterate;
using grafo::Task;
using grafo_test::Counted;

namespace {

AsyncGenerator<int> count_to(int end) {
    for (int i = 1; i <= end; ++i) {
        co_await grafo::yield();
        co_yield i;
    }
}

AsyncGenerator<Counted> counted_to(int end) {
    const Counted local(0);
    for (int i = 1; i <= end; ++i) co_yield Counted(i);
}

}  // namespace

TEST_CASE("A generator is iterated from code that is no coroutine") {
    std::vector<int> items;
    for (int item : iterate(count_to(3))) items.push_back(item);
    CHECK(items == std::vector<int>{1, 2, 3});
}

TEST_CASE("A generator that yields nothing is an empty range") {
    int steps = 0;
    for (int item : iterate(count_to(0))) steps += item;
    for (int item : iterate(AsyncGenerator<int>())) steps += item;
    CHECK(steps == 0);
}

TEST_CASE("The range is an input range of references to the items") {
    using Range = grafo::Iterate<int>;
    STATIC_REQUIRE(std::ranges::input_range<Range>);
    STATIC_REQUIRE_FALSE(std::ranges::forward_range<Range>);
    STATIC_REQUIRE(std::is_same_v<std::ranges::range_reference_t<Range>, int&>);
    STATIC_REQUIRE(std::is_same_v<std::ranges::range_value_t<Range>, int>);
    auto range = iterate(count_to(5));
    CHECK(std::ranges::find(range, 3) != std::default_sentinel);
}

TEST_CASE("The items are given themselves: they are neither copied nor moved") {
    Counted::reset();
    int total = 0;
    for (Counted& item : iterate(counted_to(3))) total += item.value;
    CHECK(total == 6);
    CHECK(Counted::copies() == 0);
    CHECK(Counted::moves() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A generator of references and one of const items can be iterated") {
    std::vector<int> numbers{1, 2};
    const auto refer = [&]() -> AsyncGenerator<int&> {
        for (int& number : numbers) co_yield number;
    };
    for (int& number : iterate(refer())) number *= 10;
    CHECK(numbers == std::vector<int>{10, 20});
    const auto constant = [&]() -> AsyncGenerator<const int> {
        for (const int& number : numbers) co_yield number;
    };
    int total = 0;
    for (const int& number : iterate(constant())) total += number;
    CHECK(total == 30);
}

TEST_CASE("A generator with a result can be iterated") {
    const auto generate = []() -> AsyncGenerator<int, std::string> {
        co_yield 1;
        co_return "the result";
    };
    int total = 0;
    for (int item : iterate(generate())) total += item;
    CHECK(total == 1);
}

TEST_CASE("What the generator throws comes out of the loop over it") {
    const auto generate = []() -> AsyncGenerator<int> {
        co_yield 1;
        co_yield 2;
        throw std::out_of_range("too far");
    };
    std::vector<int> items;
    const auto iterate_all = [&] {
        for (int item : iterate(generate())) items.push_back(item);
    };
    CHECK_THROWS_WITH(iterate_all(), "too far");
    CHECK(items == std::vector<int>{1, 2});
}

TEST_CASE("Leaving the loop early drops the generator") {
    for (int leave_at = 1; leave_at <= 3; ++leave_at) {
        Counted::reset();
        for (const Counted& item : iterate(counted_to(3))) {
            if (item.value == leave_at) break;
        }
        CHECK(Counted::constructed() == 1 + leave_at);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("An exception thrown in the loop drops the generator") {
    Counted::reset();
    const auto iterate_some = [] {
        for (const Counted& item : iterate(counted_to(3))) {
            if (item.value == 2) throw std::out_of_range("enough");
        }
    };
    CHECK_THROWS_WITH(iterate_some(), "enough");
    CHECK(Counted::live() == 0);
}

TEST_CASE("A range that is never begun drops its generator, which never starts") {
    Counted::reset();
    bool started = false;
    const auto generate = [&](Counted counted) -> AsyncGenerator<int> {
        started = true;
        co_yield counted.value;
    };
    {
        const auto range = iterate(generate(Counted(1)));
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
    CHECK_FALSE(started);
}

TEST_CASE("Between two steps the loop stands still and the thread is free") {
    std::string order;
    const auto tick = [&]() -> Task<> {
        for (;;) {
            co_await grafo::sleep_for(1min);
            order += 't';
        }
    };
    const auto generate = [&]() -> AsyncGenerator<int> {
        EventLoop::current().spawn(tick());
        for (int i = 0; i < 3; ++i) {
            co_await grafo::sleep_for(2min + 1s);
            co_yield i;
        }
    };
    EventLoop loop{grafo::virtual_time};
    for (int item : iterate(loop, generate())) {
        order += std::to_string(item);
        const EventLoop::TimePoint now = loop.now();
        CHECK_THROWS_AS(EventLoop::current(), grafo::Error);
        // another loop may run here, on this thread
        EventLoop other{grafo::virtual_time};
        const auto sleep = []() -> Task<> { co_await grafo::sleep_for(1h); };
        other.run(sleep());
        CHECK(loop.now() == now);
    }
    CHECK(order == "tt0tt1tt2");
}

TEST_CASE("The loop given is used, and can run something else afterwards") {
    EventLoop loop{grafo::virtual_time};
    const EventLoop::TimePoint start = loop.now();
    const auto generate = []() -> AsyncGenerator<int> {
        co_await grafo::sleep_for(1h);
        co_yield 1;
    };
    for (int item : iterate(loop, generate())) CHECK(item == 1);
    CHECK(loop.now() - start == 1h);
    const auto more = []() -> Task<int> { co_return 2; };
    CHECK(loop.run(more()) == 2);
}

TEST_CASE("What a generator spawned is cancelled and awaited when the range ends") {
    Counted::reset();
    bool cancelled = false;
    const auto work = [&]() -> Task<> {
        const Counted local;
        try {
            co_await grafo::sleep_for(std::chrono::hours::max());
        } catch (const grafo::Cancelled&) {
            cancelled = true;
        }
        co_await grafo::sleep_for(1s);
    };
    const auto generate = [&]() -> AsyncGenerator<int> {
        EventLoop::current().spawn(work());
        co_yield 1;
        co_yield 2;
    };
    EventLoop loop{grafo::virtual_time};
    for (int item : iterate(loop, generate())) {
        CHECK_FALSE(cancelled);
        if (item == 1) break;
    }
    CHECK(cancelled);
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A generator that waits for nothing that can come ends the loop with DeadlockError") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<int> {
        const Counted local;
        co_yield 1;
        co_await std::suspend_always();
    };
    int total = 0;
    const auto iterate_all = [&] {
        for (int item : iterate(generate())) total += item;
    };
    CHECK_THROWS_AS(iterate_all(), grafo::DeadlockError);
    CHECK(total == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("Two ranges may be iterated in turns on one thread") {
    auto first = iterate(count_to(2));
    auto second = iterate(count_to(2));
    auto a = first.begin();
    auto b = second.begin();
    std::string order;
    while (a != first.end() && b != second.end()) {
        order += std::to_string(*a) + std::to_string(*b);
        ++a;
        ++b;
    }
    CHECK(order == "1122");
}

TEST_CASE("iterate inside a running loop throws Error, and the loop runs on") {
    bool thrown = false;
    const auto body = [&]() -> Task<int> {
        try {
            for (int item : iterate(count_to(3))) static_cast<void>(item);
        } catch (const grafo::Error&) {
            thrown = true;
        }
        co_await grafo::yield();
        co_return 1;
    };
    CHECK(grafo::run(body()) == 1);
    CHECK(thrown);
}

TEST_CASE("The events of a run are iterated, also those of an executor that is a temporary") {
    const auto twice = [](int number) { return 2 * number; };
    grafo::Node parent{"parent", twice, "number"_a = 1};
    grafo::Node child{"child", twice, "number"_a};
    parent.connect(child, "number"_a);
    std::vector<std::string> completed;
    for (const grafo::Event& event : iterate(grafo::TreeExecutor{parent}.yielding())) {
        if (event.kind() == grafo::EventKind::completed) completed.push_back(event.node().id());
    }
    CHECK(completed == std::vector<std::string>{"parent", "child"});
    CHECK(child.output() == 4);
}
