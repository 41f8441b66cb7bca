#include <chrono>
#include <coroutine>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/async_generator.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>
#include <grafo/tree_executor.hpp>

#include "catch.hpp"
#include "counted.hpp"

using Catch::Matchers::ContainsSubstring;
using grafo::AsyncGenerator;
using grafo::EventLoop;
using grafo::Task;
using grafo_test::Counted;

namespace {

AsyncGenerator<int> count_to(int end) {
    for (int i = 1; i <= end; ++i) co_yield i;
}

AsyncGenerator<int> nothing() { co_return; }

// Everything that is left of a generator.
template <class T, class R>
Task<std::vector<T>> rest(AsyncGenerator<T, R>& generator) {
    std::vector<T> items;
    while (auto item = co_await generator.next()) items.push_back(*item);
    co_return items;
}

template <class T, class R>
std::vector<T> all(AsyncGenerator<T, R> generator) {
    return grafo::run(rest(generator));
}

}  // namespace

TEST_CASE("A generator gives its items in the order in which it yields them, then ends") {
    CHECK(all(count_to(4)) == std::vector<int>{1, 2, 3, 4});
}

TEST_CASE("A generator that yields nothing is at its end at once") {
    CHECK(all(nothing()).empty());
    CHECK(all(count_to(0)).empty());
}

TEST_CASE("An empty generator is at its end") { CHECK(all(AsyncGenerator<int>()).empty()); }

TEST_CASE("After its end a generator stays at its end") {
    const auto body = []() -> Task<> {
        AsyncGenerator<int> generator = count_to(1);
        const auto got = co_await generator.next();
        CHECK(got);
        const auto end = co_await generator.next();
        CHECK_FALSE(end);
        const auto still_end = co_await generator.next();
        CHECK_FALSE(still_end);
    };
    grafo::run(body());
}

TEST_CASE("A generator starts with the first next(), not when it is called") {
    bool started = false;
    const auto generate = [&]() -> AsyncGenerator<int> {
        started = true;
        co_yield 1;
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int> generator = generate();
        CHECK_FALSE(started);
        auto next = generator.next();
        CHECK_FALSE(started);
        const auto item = co_await next;
        CHECK(item);
        CHECK(started);
    };
    grafo::run(body());
}

TEST_CASE("A generator that is never asked never starts, and destroys its arguments") {
    Counted::reset();
    bool started = false;
    const auto generate = [&](Counted counted) -> AsyncGenerator<int> {
        started = true;
        co_yield counted.value;
    };
    {
        const AsyncGenerator<int> generator = generate(Counted(1));
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
    CHECK_FALSE(started);
}

TEST_CASE("The body of a generator runs only while its next item is awaited") {
    std::vector<std::string> order;
    const auto generate = [&]() -> AsyncGenerator<int> {
        order.push_back("makes 1");
        co_yield 1;
        order.push_back("makes 2");
        co_yield 2;
        order.push_back("ends");
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int> generator = generate();
        while (auto item = co_await generator.next()) {
            order.push_back("got " + std::to_string(*item));
            co_await grafo::sleep_for(std::chrono::hours(1));
        }
    };
    EventLoop loop{grafo::virtual_time};
    loop.run(body());
    CHECK(order == std::vector<std::string>{"makes 1", "got 1", "makes 2", "got 2", "ends"});
}

TEST_CASE("The body of a generator may await between its items") {
    const auto generate = []() -> AsyncGenerator<int> {
        for (int i = 0; i < 3; ++i) {
            co_await grafo::sleep_for(std::chrono::minutes(1));
            co_yield i;
        }
        co_await grafo::sleep_for(std::chrono::minutes(1));
    };
    EventLoop loop{grafo::virtual_time};
    const EventLoop::TimePoint start = loop.now();
    AsyncGenerator<int> generator = generate();
    CHECK(loop.run(rest(generator)) == std::vector<int>{0, 1, 2});
    CHECK(loop.now() - start == std::chrono::minutes(4));
}

TEST_CASE("A generator may be read by another generator, any number of levels deep") {
    const auto twice = [](AsyncGenerator<int> source) -> AsyncGenerator<int> {
        while (auto item = co_await source.next()) {
            co_await grafo::yield();
            co_yield *item * 2;
        }
    };
    CHECK(all(twice(twice(count_to(3)))) == std::vector<int>{4, 8, 12});
}

TEST_CASE("A generator of 100,000 items runs in constant space") {
    const auto body = []() -> Task<long> {
        AsyncGenerator<int> generator = count_to(100'000);
        long total = 0;
        while (auto item = co_await generator.next()) total += *item;
        co_return total;
    };
    CHECK(grafo::run(body()) == 5'000'050'000L);
}

TEST_CASE("A generator can be moved between two items, not copied") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<AsyncGenerator<int>>);
    STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<AsyncGenerator<int>>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<AsyncGenerator<int>>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<AsyncGenerator<int>>);
    const auto body = []() -> Task<> {
        AsyncGenerator<int> first = count_to(3);
        const int one = *co_await first.next();
        CHECK(one == 1);
        AsyncGenerator<int> second = std::move(first);
        const std::vector<int> others = co_await rest(second);
        CHECK(others == std::vector<int>{2, 3});
        const auto none = co_await first.next();  // NOLINT(bugprone-use-after-move)
        CHECK_FALSE(none);
    };
    grafo::run(body());
}

TEST_CASE("Move assignment of a generator destroys the one that it held, wherever that was") {
    Counted::reset();
    const auto generate = [](Counted counted) -> AsyncGenerator<int> {
        const Counted local(counted.value);
        co_yield local.value;
        co_yield local.value;
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int> generator = generate(Counted(1));
        const int one = *co_await generator.next();
        CHECK(one == 1);
        CHECK(Counted::live() == 2);
        generator = generate(Counted(2));
        CHECK(Counted::live() == 1);
        const int two = *co_await generator.next();
        CHECK(two == 2);
    };
    grafo::run(body());
    CHECK(Counted::live() == 0);
}

// --- what is yielded -------------------------------------------------------------------------

TEST_CASE("A yielded lvalue is given itself, not a copy") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<Counted> {
        Counted counted(1);
        co_yield counted;
        CHECK(counted.value == 10);
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<Counted> generator = generate();
        const auto item = co_await generator.next();
        item->value *= 10;
        const auto end = co_await generator.next();
        CHECK_FALSE(end);
    };
    grafo::run(body());
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::copies() == 0);
    CHECK(Counted::moves() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A yielded temporary lives until the next item is asked for, and is not copied") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<Counted> {
        co_yield Counted(1);
        CHECK(Counted::live() == 0);
        co_yield Counted(2);
        CHECK(Counted::live() == 0);
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<Counted> generator = generate();
        const auto first = co_await generator.next();
        co_await grafo::yield();
        CHECK(first->value == 1);
        CHECK(Counted::live() == 1);
        const auto second = co_await generator.next();
        CHECK(second->value == 2);
        CHECK(Counted::live() == 1);
        const auto end = co_await generator.next();
        CHECK_FALSE(end);
    };
    grafo::run(body());
    CHECK(Counted::constructed() == 2);
    CHECK(Counted::copies() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A yielded const object is copied: the reader may change what it gets") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<Counted> {
        const Counted counted(1);
        co_yield counted;
        CHECK(counted.value == 1);
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<Counted> generator = generate();
        const auto item = co_await generator.next();
        item->value = 10;
        CHECK(Counted::copies() == 1);
        const auto end = co_await generator.next();
        CHECK_FALSE(end);
    };
    grafo::run(body());
    CHECK(Counted::live() == 0);
}

TEST_CASE("What is yielded is converted to the item's type") {
    const auto texts = []() -> AsyncGenerator<std::string> {
        co_yield "a literal";
        const char* pointer = "a pointer";
        co_yield pointer;
        co_yield std::string("a string");
    };
    CHECK(all(texts()) == std::vector<std::string>{"a literal", "a pointer", "a string"});
    const auto numbers = []() -> AsyncGenerator<double> {
        co_yield 1;
        const float half = 0.5F;
        co_yield half;
    };
    CHECK(all(numbers()) == std::vector<double>{1.0, 0.5});
    const auto options = []() -> AsyncGenerator<std::optional<int>> {
        co_yield 1;
        co_yield std::nullopt;
    };
    CHECK(all(options()) == std::vector<std::optional<int>>{1, std::nullopt});
}

TEST_CASE("A converted item lives until the next one is asked for, and is destroyed once") {
    struct Source {
        explicit Source(int v) : value(v) {}
        operator Counted() const { return Counted(value); }  // NOLINT: a conversion is the point
        int value;
    };
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<Counted> {
        co_yield Source(5);
        CHECK(Counted::live() == 0);
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<Counted> generator = generate();
        const auto item = co_await generator.next();
        co_await grafo::yield();
        CHECK(item->value == 5);
        CHECK(Counted::live() == 1);
        const auto end = co_await generator.next();
        CHECK_FALSE(end);
    };
    grafo::run(body());
    CHECK(Counted::live() == 0);
}

TEST_CASE("A generator may yield braces") {
    struct Point {
        Point() = default;
        Point(int a, int b) : x(a), y(b) {}
        int x = 0;
        int y = 0;
    };
    const auto generate = []() -> AsyncGenerator<Point> {
        co_yield {1, 2};
        co_yield {};
    };
    const auto body = [&]() -> Task<int> {
        AsyncGenerator<Point> generator = generate();
        int sum = 0;
        while (auto item = co_await generator.next()) sum = sum * 100 + item->x * 10 + item->y;
        co_return sum;
    };
    CHECK(grafo::run(body()) == 1200);
}

TEST_CASE("A generator may yield move-only items, which the reader may take") {
    const auto generate = []() -> AsyncGenerator<std::unique_ptr<int>> {
        auto owned = std::make_unique<int>(1);
        co_yield owned;
        CHECK(owned == nullptr);
        co_yield std::make_unique<int>(2);
        auto moved = std::make_unique<int>(3);
        co_yield std::move(moved);
        co_yield nullptr;
    };
    const auto body = [&]() -> Task<std::vector<int>> {
        std::vector<int> values;
        AsyncGenerator<std::unique_ptr<int>> generator = generate();
        while (auto item = co_await generator.next()) {
            const std::unique_ptr<int> taken = std::move(*item);
            values.push_back(taken ? *taken : 0);
        }
        co_return values;
    };
    CHECK(grafo::run(body()) == std::vector<int>{1, 2, 3, 0});
}

TEST_CASE("A generator of const items yields without copies, and the reader sees const") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<const Counted> {
        const Counted kept(1);
        co_yield kept;
        co_yield Counted(2);
    };
    const auto body = [&]() -> Task<int> {
        AsyncGenerator<const Counted> generator = generate();
        int total = 0;
        while (auto item = co_await generator.next()) {
            STATIC_REQUIRE(std::is_same_v<decltype(*item), const Counted&>);
            total += item->value;
        }
        co_return total;
    };
    CHECK(grafo::run(body()) == 3);
    CHECK(Counted::copies() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A generator of references gives the objects themselves") {
    std::vector<int> numbers{1, 2, 3};
    const auto generate = [](std::vector<int>& of) -> AsyncGenerator<int&> {
        for (int& number : of) co_yield number;
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int&> generator = generate(numbers);
        while (auto item = co_await generator.next()) *item *= 10;
    };
    grafo::run(body());
    CHECK(numbers == std::vector<int>{10, 20, 30});
}

TEST_CASE("An item stays valid while the reader awaits, until it asks for the next") {
    const auto generate = []() -> AsyncGenerator<std::string> {
        co_yield std::string(100, 'a');
        co_yield std::string(100, 'b');
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<std::string> generator = generate();
        const auto item = co_await generator.next();
        for (int i = 0; i < 3; ++i) co_await grafo::sleep_for(std::chrono::hours(1));
        CHECK(*item == std::string(100, 'a'));
    };
    EventLoop loop{grafo::virtual_time};
    loop.run(body());
}

// --- the result ------------------------------------------------------------------------------

namespace {

AsyncGenerator<int, std::string> progress(int steps) {
    for (int i = 1; i <= steps; ++i) co_yield i;
    co_return std::to_string(steps) + " steps";
}

}  // namespace

TEST_CASE("A generator with a result gives it after its end") {
    const auto body = []() -> Task<> {
        AsyncGenerator<int, std::string> generator = progress(2);
        const std::vector<int> items = co_await rest(generator);
        CHECK(items == std::vector<int>{1, 2});
        STATIC_REQUIRE(std::is_same_v<decltype(generator.result()), std::string&>);
        CHECK(generator.result() == "2 steps");
        const std::string taken = std::move(generator.result());
        CHECK(taken == "2 steps");
    };
    grafo::run(body());
}

TEST_CASE("A generator with a result may yield nothing") {
    const auto body = []() -> Task<> {
        AsyncGenerator<int, std::string> generator = progress(0);
        const auto end = co_await generator.next();
        CHECK_FALSE(end);
        CHECK(generator.result() == "0 steps");
    };
    grafo::run(body());
}

TEST_CASE("The result of a generator may be move-only") {
    const auto generate = []() -> AsyncGenerator<int, std::unique_ptr<int>> {
        co_yield 1;
        co_return std::make_unique<int>(2);
    };
    const auto body = [&]() -> Task<int> {
        AsyncGenerator<int, std::unique_ptr<int>> generator = generate();
        while (co_await generator.next()) {
        }
        const std::unique_ptr<int> taken = std::move(generator.result());
        co_return *taken;
    };
    CHECK(grafo::run(body()) == 2);
}

TEST_CASE("The result of a generator before its end is refused with Error") {
    const auto body = []() -> Task<> {
        AsyncGenerator<int, std::string> generator = progress(2);
        CHECK_THROWS_AS(generator.result(), grafo::Error);
        const auto item = co_await generator.next();
        CHECK(item);
        CHECK_THROWS_WITH(generator.result(), ContainsSubstring("before"));
    };
    grafo::run(body());
    AsyncGenerator<int, std::string> empty;
    CHECK_THROWS_AS(empty.result(), grafo::Error);
}

TEST_CASE("The result of a generator that threw is what it threw") {
    const auto generate = []() -> AsyncGenerator<int, std::string> {
        co_yield 1;
        throw std::out_of_range("no result");
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int, std::string> generator = generate();
        const auto got = co_await generator.next();
        CHECK(got);
        bool thrown = false;
        try {
            co_await generator.next();
        } catch (const std::out_of_range&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK_THROWS_AS(generator.result(), std::out_of_range);
    };
    grafo::run(body());
}

TEST_CASE("The result of a generator is destroyed with it") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<int, Counted> {
        co_yield 1;
        co_return Counted(2);
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int, Counted> generator = generate();
        while (co_await generator.next()) {
        }
        CHECK(generator.result().value == 2);
        CHECK(Counted::live() == 1);
    };
    grafo::run(body());
    CHECK(Counted::copies() == 0);
    CHECK(Counted::live() == 0);
}

// --- exceptions ------------------------------------------------------------------------------

TEST_CASE("What a generator's body throws comes out of next(), once; then it is at its end") {
    const auto generate = []() -> AsyncGenerator<int> {
        co_yield 1;
        throw std::out_of_range("too far");
    };
    const auto body = [&]() -> Task<std::vector<std::string>> {
        std::vector<std::string> seen;
        AsyncGenerator<int> generator = generate();
        for (int i = 0; i < 4; ++i) {
            try {
                const auto item = co_await generator.next();
                seen.push_back(item ? std::to_string(*item) : "end");
            } catch (const std::out_of_range& error) {
                seen.push_back(error.what());
            }
        }
        co_return seen;
    };
    CHECK(grafo::run(body()) == std::vector<std::string>{"1", "too far", "end", "end"});
}

TEST_CASE("A generator may throw before its first item") {
    const auto generate = [](bool fail) -> AsyncGenerator<int> {
        if (fail) throw std::out_of_range("at once");
        co_yield 1;
    };
    CHECK_THROWS_WITH(all(generate(true)), "at once");
}

TEST_CASE("What a generator awaits may throw into its body, which may go on yielding") {
    const auto fail = []() -> Task<int> {
        co_await grafo::yield();
        throw std::out_of_range("too far");
    };
    const auto generate = [&]() -> AsyncGenerator<std::string> {
        std::string text;
        try {
            co_await fail();
        } catch (const std::out_of_range& error) {
            text = error.what();
        }
        co_yield text;
    };
    CHECK(all(generate()) == std::vector<std::string>{"too far"});
}

TEST_CASE("The locals of a generator that threw are gone when its exception comes out") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<int> {
        const Counted local(1);
        co_yield local.value;
        throw std::out_of_range("too far");
    };
    const auto body = [&]() -> Task<> {
        AsyncGenerator<int> generator = generate();
        const auto got = co_await generator.next();
        CHECK(got);
        bool thrown = false;
        try {
            co_await generator.next();
        } catch (const std::out_of_range&) {
            thrown = true;
            CHECK(Counted::live() == 0);
        }
        CHECK(thrown);
    };
    grafo::run(body());
}

// --- dropped at any time ---------------------------------------------------------------------

TEST_CASE("A generator may be dropped after any number of items") {
    const auto generate = [](Counted argument) -> AsyncGenerator<Counted> {
        const Counted local(argument.value);
        for (int i = 0; i < 3; ++i) {
            const Counted inner(i);
            co_yield Counted(local.value + i);
            co_await grafo::yield();
        }
    };
    for (int steps = 0; steps <= 4; ++steps) {
        Counted::reset();
        const auto body = [&]() -> Task<> {
            AsyncGenerator<Counted> generator = generate(Counted(1));
            for (int i = 0; i < steps; ++i) {
                const auto item = co_await generator.next();
                CHECK((item != nullptr) == (i < 3));
            }
        };
        grafo::run(body());
        CHECK(Counted::constructed() > 0);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("A generator may be dropped outside a loop, and after its loop is gone") {
    Counted::reset();
    AsyncGenerator<Counted> generator;
    const auto generate = []() -> AsyncGenerator<Counted> {
        const Counted local(1);
        co_yield Counted(2);
    };
    const auto body = [&]() -> Task<> {
        generator = generate();
        const auto got = co_await generator.next();
        CHECK(got);
    };
    grafo::run(body());
    CHECK(Counted::live() == 2);
    generator = AsyncGenerator<Counted>();
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task that is dropped while its generator awaits takes the generator with it") {
    Counted::reset();
    const auto generate = []() -> AsyncGenerator<int> {
        const Counted local(1);
        co_yield local.value;
        co_await std::suspend_always();
    };
    const auto body = [&]() -> Task<> {
        const Counted local(2);
        AsyncGenerator<int> generator = generate();
        const auto got = co_await generator.next();
        CHECK(got);
        CHECK(Counted::live() == 2);
        co_await generator.next();
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    CHECK(Counted::constructed() == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A generator may be read on by another task, on another loop") {
    AsyncGenerator<int> generator = count_to(4);
    const auto one = [&]() -> Task<int> { co_return *co_await generator.next(); };
    CHECK(grafo::run(one()) == 1);
    CHECK(grafo::run(one()) == 2);
    CHECK(grafo::run(rest(generator)) == std::vector<int>{3, 4});
}

TEST_CASE("A generator that outlives the dropped node that read it rests, until it is destroyed") {
    Counted::reset();
    std::vector<std::string> log;
    const auto generate = [&log]() -> AsyncGenerator<int> {
        const Counted local(1);
        co_await grafo::sleep_for(std::chrono::milliseconds(2));
        log.push_back("goes on");
        co_yield 1;
    };
    {
        EventLoop loop{grafo::virtual_time};
        AsyncGenerator<int> generator = generate();
        const auto consume = [&]() -> Task<> {
            {
                const grafo::Node node{"node",
                                       [&generator]() -> Task<> { co_await generator.next(); }};
                auto events = grafo::TreeExecutor{node}.yielding();
                co_await events.next();
                co_await grafo::sleep_for(std::chrono::milliseconds(1));
            }
            co_await grafo::sleep_for(std::chrono::milliseconds(10));
        };
        loop.run(consume());
        CHECK(log.empty());
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}
