// Depth and size without recursion. Run with a small stack: what recurses in a depth ends here.
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;

namespace {

constexpr int million = 1'000'000;
constexpr std::size_t many = 1'000'000;
constexpr long long sum_below_million = 1LL * million * (million - 1) / 2;

// Held by every callable of a graph: what is still alive of it.
using Token = std::shared_ptr<int>;

// Counts what ran, and what ran before its turn.
struct Order {
    int next = 0;
    int wrong = 0;
    void ran(int place) {
        if (place != next) ++wrong;
        ++next;
    }
};

RunReport run_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.run());
}

RunReport try_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

Task<int> number(int value) { co_return value; }

// One coroutine inside the other, `depth` of them.
Task<int> depth_of(int depth) {
    if (depth == 0) co_return 0;
    const int below = co_await depth_of(depth - 1);
    co_return below + 1;
}

Task<int> fail_at(int depth) {
    if (depth == 0) throw std::out_of_range("the bottom");
    co_return co_await fail_at(depth - 1);
}

Task<> nest(int depth, Token token, bool& bottom) {
    if (depth > 0) {
        co_await nest(depth - 1, token, bottom);
    } else {
        bottom = true;
        co_await std::suspend_always();
    }
}

AsyncGenerator<int> count_to(int end) {
    for (int i = 0; i < end; ++i) co_yield i;
}

// Another library's awaitables: ready, refusing to suspend, resuming in place.
struct Ready {
    int value;
    explicit Ready(int v) noexcept : value(v) {}
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const noexcept { return value; }
};
struct Refusing : Ready {
    using Ready::Ready;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
};
struct InPlace : Ready {
    using Ready::Ready;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) const { coroutine.resume(); }
};

template <class Awaited, class Make>
Task<long long> sum_of_awaits(Make make) {
    long long sum = 0;
    for (int i = 0; i < million; ++i) {
        Awaited awaited = make(i);
        sum += co_await std::move(awaited);
    }
    co_return sum;
}

}  // namespace

// ---- awaits -----------------------------------------------------------------------------------

TEST_CASE("A million tasks that are done at once are awaited in a loop on a small stack") {
    CHECK(run(sum_of_awaits<Task<int>>(number)) == sum_below_million);
}

TEST_CASE("A million awaitables of another library that are ready need no stack") {
    CHECK(run(sum_of_awaits<Ready>([](int i) { return Ready(i); })) == sum_below_million);
    CHECK(run(sum_of_awaits<Refusing>([](int i) { return Refusing(i); })) == sum_below_million);
}

TEST_CASE("A million awaitables of another library that resume in place need no stack") {
    CHECK(run(sum_of_awaits<InPlace>([](int i) { return InPlace(i); })) == sum_below_million);
}

TEST_CASE("A million yields in a loop need no stack") {
    const auto count = []() -> Task<int> {
        int yields = 0;
        for (; yields < million; ++yields) co_await grafo::yield();
        co_return yields;
    };
    CHECK(run(count()) == million);
}

TEST_CASE("A million items of a generator are read in a loop on a small stack") {
    const auto sum = []() -> Task<long long> {
        long long total = 0;
        AsyncGenerator<int> items = count_to(million);
        while (const int* item = co_await items.next()) total += *item;
        co_return total;
    };
    CHECK(run(sum()) == sum_below_million);
}

TEST_CASE("A coroutine awaits a coroutine a million levels deep") {
    CHECK(run(depth_of(million)) == million);
}

TEST_CASE("An exception comes up through a hundred thousand levels of awaits") {
    CHECK_THROWS_AS(run(fail_at(million / 10)), std::out_of_range);
}

TEST_CASE("A cancellation comes up through a hundred thousand levels of awaits") {
    const Token token = std::make_shared<int>();
    bool bottom = false;
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(nest(million / 10, token, bottom)), DeadlockError);
    CHECK(bottom);
    CHECK(token.use_count() == 1);
}

TEST_CASE("A million spawned tasks that never ran are destroyed with their loop") {
    const Token token = std::make_shared<int>();
    const auto hold = [](Token) -> Task<> { co_return; };
    {
        EventLoop loop{virtual_time};
        for (int i = 0; i < million; ++i) loop.spawn(hold(token));
        CHECK(token.use_count() == million + 1);
    }
    CHECK(token.use_count() == 1);
}

// ---- chains -----------------------------------------------------------------------------------

TEST_CASE(
    "A chain of a million nodes runs in order, twice, fails, is refused as a cycle, and freed") {
    const Token token = std::make_shared<int>();
    Order order;
    bool fail = false;
    {
        const Node first{"first", [&order, &fail, token] {
                             order = Order();
                             order.ran(0);
                             if (fail) throw std::runtime_error("at once");
                         }};
        Node<void> last = first;
        for (int i = 1; i < million; ++i) {
            const Node next{"n", [&order, token, i] { order.ran(i); }};
            last.connect(next);
            last = next;
        }
        CHECK(token.use_count() == million + 1);
        CHECK(last.level() == many - 1);

        TreeExecutor executor{last};
        for (int times = 0; times < 2; ++times) {
            order.next = -1;
            const RunReport report = run_all(executor);
            CHECK(report.completed().size() == many);
            CHECK(order.next == million);
            CHECK(order.wrong == 0);
        }
        CHECK(last.state() == NodeState::completed);
        CHECK(executor.leaves().size() == 1);

        fail = true;
        executor.on_error(ErrorPolicy::keep_going);
        const RunReport report = try_all(executor);
        CHECK(report.failed().size() == 1);
        CHECK(report.skipped().size() == many - 1);
        CHECK(order.next == 1);
        CHECK(last.state() == NodeState::skipped);

        last.connect(first);
        order.next = -1;
        CHECK_THROWS_AS(run_all(executor), CycleError);
        CHECK_THROWS_AS(last.level(), CycleError);
        CHECK(order.next == -1);
        CHECK(token.use_count() == million + 1);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE(
    "A chain of a million nodes, plain and coroutines, forwards values, twice, and is freed") {
    const Token token = std::make_shared<int>();
    const auto plain = [token](int x) { return x + 1; };
    const auto coroutine = [token](int x) -> Task<int> {
        const int one = co_await number(1);
        co_return x + one;
    };
    {
        int start = 0;
        const Node first{"first", [&start] { return start; }};
        Node<int> last = first;
        for (int i = 1; i < million; ++i) {
            const Node<int> next =
                i % 2 == 0 ? Node<int>{"n", plain, "x"_a} : Node<int>{"n", coroutine, "x"_a};
            last.connect(next, "x"_a);
            last = next;
        }
        CHECK(token.use_count() == million + 2);

        const TreeExecutor executor{first};
        for (int times = 0; times < 2; ++times) {
            start = 7 * times;
            CHECK(run_all(executor).completed().size() == many);
            CHECK(last.output() == start + million - 1);
        }
    }
    CHECK(token.use_count() == 3);  // two callables above
}

// ---- fans -------------------------------------------------------------------------------------

TEST_CASE("One node leads to a million, which run in their order, twice, and are destroyed") {
    const Token token = std::make_shared<int>();
    Order order;
    {
        const Node first{"first", [&order] { order = Order(); }};
        for (int i = 0; i < million; ++i) {
            first.connect(Node{"n", [&order, token, i] { order.ran(i); }});
        }
        CHECK(token.use_count() == million + 1);
        const TreeExecutor executor{first};
        for (int times = 0; times < 2; ++times) {
            order.next = -1;
            CHECK(run_all(executor).completed().size() == many + 1);
            CHECK(order.next == million);
            CHECK(order.wrong == 0);
        }
        CHECK(first.children().size() == many);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("A value goes out to a million nodes and comes back in a list, twice") {
    const Token token = std::make_shared<int>();
    {
        int start = 0;
        const Node first{"first", [&start] { return start; }};
        const Node last{"last", [](std::vector<int> parts) { return parts; }, "parts"_args};
        for (int i = 0; i < million; ++i) {
            const Node part{"n", [token](int x, int y) { return x + y; }, "x"_a, "y"_a = i};
            first.connect(part, "x"_a);
            part.connect(last, "parts"_args);
        }
        CHECK(token.use_count() == million + 1);
        CHECK(last.parents().size() == many);
        CHECK(last.level() == 2);

        const TreeExecutor executor{last};
        for (int times = 0; times < 2; ++times) {
            start = 3 * times;
            CHECK(run_all(executor).completed().size() == many + 2);
            const std::vector<int>& parts = last.output();
            REQUIRE(parts.size() == many);
            int wrong = 0;
            for (int i = 0; i < million; ++i) {
                if (parts[static_cast<std::size_t>(i)] != start + i) ++wrong;
            }
            CHECK(wrong == 0);
        }
    }
    CHECK(token.use_count() == 1);
}

// ---- streams ----------------------------------------------------------------------------------

TEST_CASE("A million chunks come through a stream, twice, and are kept") {
    const Node source{"source", count_to, "end"_a = million};
    const TreeExecutor executor{source};
    for (int times = 0; times < 2; ++times) {
        const auto read = [&]() -> Task<> {
            Order order;
            bool completed = false;
            AsyncGenerator<Event> events = executor.yielding();
            while (const Event* event = co_await events.next()) {
                if (const auto chunk = event->chunk(source)) order.ran(chunk->output);
                if (event->completed(source)) completed = true;
            }
            CHECK(completed);
            CHECK(order.next == million);
            CHECK(order.wrong == 0);
        };
        run(read());
        const std::vector<int>& kept = source.output();
        REQUIRE(kept.size() == many);
        CHECK(kept.front() == 0);
        CHECK(kept.back() == million - 1);
    }
}

TEST_CASE("A million chunks that nobody reads and nobody keeps need no stack either") {
    int yielded = 0;
    const auto count = [&yielded]() -> AsyncGenerator<int, int> {
        yielded = 0;
        for (; yielded < million; ++yielded) co_yield yielded;
        co_return yielded;
    };
    const Node source{"source", count};
    const TreeExecutor executor{source};
    for (int times = 0; times < 2; ++times) {
        run_all(executor);
        CHECK(source.output() == million);
    }
}

// ---- drops ------------------------------------------------------------------------------------

TEST_CASE("A run that is dropped destroys a million levels of awaits without recursion") {
    const Token token = std::make_shared<int>();
    bool bottom = false;
    const auto body = [token, &bottom](bool start) -> Task<> {
        if (start) co_await nest(million, token, bottom);
    };
    {
        const Node deep{"deep", body, "start"_a = true};
        const Node tick{"tick", count_to, "end"_a = 1};
        const auto drop = [&]() -> Task<bool> {
            const TreeExecutor executor{deep, tick};
            AsyncGenerator<Event> events = executor.yielding();
            while (Event* event = co_await events.next()) {
                if (event->kind() == EventKind::chunk) break;
            }
            while (!bottom) co_await grafo::yield();
            const bool all_alive = token.use_count() > million;
            events = AsyncGenerator<Event>();
            co_return all_alive;
        };
        CHECK(run(drop()));
    }
    CHECK(token.use_count() == 2);  // the callable's own, above
}
