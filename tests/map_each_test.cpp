#include <grafo/grafo.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"
#include "gate.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;
using grafo_test::Gate;
using std::chrono::milliseconds;

namespace {

using Log = std::vector<std::string>;
using Numbers = std::vector<int>;

Task<int> wait_and_double(int x) {
    co_await sleep_for(milliseconds(x));
    co_return 2 * x;
}
int twice(int x) { return 2 * x; }

milliseconds elapsed(const EventLoop& loop) {
    return std::chrono::duration_cast<milliseconds>(loop.now().time_since_epoch());
}

// All that it yields.
template <class Y, class R>
Task<std::vector<Y>> read_all(AsyncGenerator<Y, R>& generator) {
    std::vector<Y> items;
    while (auto item = co_await generator.next()) items.push_back(*item);
    co_return items;
}

// Sleeps for so many ms; an hour for 0. If it is cancelled, cleans up for `clean_up`.
struct Worker {
    explicit Worker(Log& l, milliseconds c = 0ms) : log(&l), clean_up(c) {}

    Task<int> operator()(int x) const { return work(*log, clean_up, x); }

    static Task<int> work(Log& log, milliseconds clean_up, int x) {
        const std::string name = std::to_string(x);
        log.push_back(name + " starts");
        const Counted local(x);
        bool cancelled = false;
        try {
            co_await sleep_for(x == 0 ? milliseconds(1h) : milliseconds(x));
        } catch (const Cancelled&) {
            cancelled = true;
        }
        if (!cancelled) {
            log.push_back(name + " ends");
            co_return x;
        }
        log.push_back(name + " cancelled");
        if (clean_up > 0ms) co_await sleep_for(clean_up);
        log.push_back(name + " cleaned up");
        throw Cancelled();
    }

    Log* log;
    milliseconds clean_up;
};

}  // namespace

// --- what it gives ---------------------------------------------------------------------------

TEST_CASE("map_each yields each result as it ends, and returns all in the order of the items") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        auto generator = map_each(wait_and_double, 8)({30, 10, 20});
        const Numbers yielded = co_await read_all(generator);
        CHECK(yielded == Numbers{20, 40, 60});
        CHECK(generator.result() == Numbers{60, 20, 40});
    };
    loop.run(body());
    CHECK(elapsed(loop) == 30ms);
}

TEST_CASE("map_each makes a node: its chunks are the results, its output is all of them") {
    EventLoop loop{virtual_time};
    const Numbers numbers{3, 1, 2};
    Node node{"node", map_each(wait_and_double, 8), "numbers"_a = numbers};
    STATIC_REQUIRE(std::is_convertible_v<decltype(node), Node<Numbers>>);
    Numbers chunks;
    const auto body = [&]() -> Task<> {
        auto events = TreeExecutor{node}.yielding();
        while (auto event = co_await events.next()) {
            if (auto chunk = event->chunk(node)) chunks.push_back(chunk->output);
        }
    };
    loop.run(body());
    CHECK(chunks == Numbers{2, 4, 6});
    CHECK(node.output() == Numbers{6, 2, 4});
}

TEST_CASE("A node of map_each takes its items from a parent and may run again") {
    EventLoop loop{virtual_time};
    Node source{"source", [] { return Numbers{1, 2, 3}; }};
    Node mapped{"mapped", map_each(wait_and_double, 2), "numbers"_a};
    Node sum{"sum",
             [](const Numbers& all) {
                 int total = 0;
                 for (const int n : all) total += n;
                 return total;
             },
             "all"_a};
    source.connect(mapped, "numbers"_a).connect(sum, "all"_a);
    for (int i = 0; i < 2; ++i) {
        loop.run(TreeExecutor{source}.run());
        CHECK(sum.output() == 12);
    }
}

TEST_CASE("No more than in_flight are at work at once, the first items first") {
    for (const std::size_t in_flight : std::vector<std::size_t>{1, 2, 3, 7, 100}) {
        CAPTURE(in_flight);
        std::size_t now = 0;
        std::size_t most = 0;
        Numbers begun;
        const auto work = [&](int x) -> Task<int> {
            begun.push_back(x);
            most = most > ++now ? most : now;
            co_await sleep_for(milliseconds(x * 7 % 5));
            --now;
            co_return x;
        };
        EventLoop loop{virtual_time};
        Numbers items;
        for (int i = 0; i < 20; ++i) items.push_back(i);
        const auto body = [&]() -> Task<> {
            auto generator = map_each(work, in_flight)(items);
            const Numbers yielded = co_await read_all(generator);
            CHECK(yielded.size() == 20);
            CHECK(generator.result() == items);
        };
        loop.run(body());
        CHECK(begun == items);
        CHECK(most == (in_flight < 20 ? in_flight : 20));
        if (in_flight == 1) CHECK(elapsed(loop) == 40ms);
    }
}

TEST_CASE("The function may be a function, a lambda or a functor, a coroutine or not") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        auto plain = map_each(twice, 4)({1, 2});
        auto pointer = map_each(&twice, 4)({1, 2});
        auto lambda = map_each([three = 3](int x) { return three * x; }, 4)({1, 2});
        const auto add = [three = 3](int x) -> Task<int> {
            co_await sleep_for(1ms);
            co_return three + x;
        };
        auto coroutine = map_each(add, 4)({1, 2});
        Log log;
        auto functor = map_each(Worker(log), 4)({1, 2});
        const auto converted = [](int x) { return sleep_for(milliseconds(x)); };
        STATIC_REQUIRE(detail::Awaitable<decltype(converted(1))>);
        int count = 0;
        auto counting = map_each([count](int x) mutable { return x + ++count; }, 1)({10, 10});

        const Numbers of_plain = co_await read_all(plain);
        CHECK(of_plain == Numbers{2, 4});
        const Numbers of_pointer = co_await read_all(pointer);
        CHECK(of_pointer == Numbers{2, 4});
        const Numbers of_lambda = co_await read_all(lambda);
        CHECK(of_lambda == Numbers{3, 6});
        const Numbers of_coroutine = co_await read_all(coroutine);
        CHECK(of_coroutine == Numbers{4, 5});
        const Numbers of_functor = co_await read_all(functor);
        CHECK(of_functor == Numbers{1, 2});
        const Numbers of_counting = co_await read_all(counting);
        CHECK(of_counting == Numbers{11, 12});
    };
    loop.run(body());
}

TEST_CASE("The function may give an awaitable of another library") {
    Gate gates[2];
    EventLoop loop{virtual_time};
    struct Opened {
        explicit Opened(Gate& g) : gate(&g) {}
        Gate::Awaiter operator co_await() const noexcept { return Gate::Awaiter(*gate); }
        Gate* gate;
    };
    const auto wait = [&gates](std::size_t i) { return Opened(gates[i]); };
    const auto body = [&]() -> Task<> {
        const auto open = [&]() -> Task<> {
            co_await sleep_for(1ms);
            gates[1].open();
            gates[0].open();
        };
        EventLoop::current().spawn(open());
        auto generator = map_each(wait, 2)({0, 1});
        const Numbers yielded = co_await read_all(generator);
        CHECK(yielded == Numbers{7, 7});
    };
    loop.run(body());
}

TEST_CASE("Move-only items are moved in and move-only results out; none is copied") {
    Counted::reset();
    using Owner = std::unique_ptr<Counted>;
    const auto work = [](Owner owner) -> Task<Owner> {
        co_await sleep_for(milliseconds(10 - owner->value));
        co_return std::make_unique<Counted>(owner->value + 10);
    };
    {
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            std::vector<Owner> items;
            for (int i = 0; i < 4; ++i) items.push_back(std::make_unique<Counted>(i));
            auto generator = map_each(work, 4)(std::move(items));
            Numbers yielded;
            while (const Owner* item = co_await generator.next()) {
                yielded.push_back((*item)->value);
            }
            CHECK(yielded == Numbers{13, 12, 11, 10});
            const std::vector<Owner> all = std::move(generator.result());
            REQUIRE(all.size() == 4);
            for (int i = 0; i < 4; ++i) {
                CHECK(all[static_cast<std::size_t>(i)]->value == 10 + i);
            }
            CHECK(Counted::live() == 4);
        };
        loop.run(body());
    }
    CHECK(Counted::copies() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("An item taken as const X& is the element itself, which lives as long as its task") {
    Counted::reset();
    std::vector<const Counted*> seen;
    const auto work = [&](const Counted& item) -> Task<int> {
        seen.push_back(&item);
        co_await sleep_for(1ms);
        CHECK(seen[static_cast<std::size_t>(item.value)] == &item);
        co_return item.value;
    };
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        std::vector<Counted> items;
        for (int i = 0; i < 3; ++i) items.emplace_back(i);
        const int copies = Counted::copies();
        auto generator = map_each(work, 2)(std::move(items));
        const Numbers yielded = co_await read_all(generator);
        CHECK(yielded == Numbers{0, 1, 2});
        CHECK(Counted::copies() == copies);
    };
    loop.run(body());
    CHECK(Counted::live() == 0);
}

TEST_CASE("Items and results may be bools") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        auto generator = map_each([](bool b) { return !b; }, 2)({true, false, true});
        int count = 0;
        while (co_await generator.next()) ++count;
        CHECK(count == 3);
        CHECK(generator.result() == std::vector<bool>{false, true, false});
    };
    loop.run(body());
}

TEST_CASE("No items give no chunk and an empty result") {
    EventLoop loop{virtual_time};
    Node node{"node", map_each(wait_and_double, 3), "numbers"_a = Numbers()};
    loop.run(TreeExecutor{node}.run());
    CHECK(node.output().empty());
    CHECK(elapsed(loop) == 0ms);
}

TEST_CASE("map_each with nothing in flight is refused where it is called") {
    CHECK_THROWS_AS(map_each(wait_and_double, 0), Error);
    CHECK_THROWS_WITH(map_each(wait_and_double, 0),
                      "map_each was given 0 items in flight: it would never begin");
}

TEST_CASE("A generator of a temporary map_each owns the function, captures included") {
    Counted::reset();
    {
        EventLoop loop{virtual_time};
        const auto make = [] {
            const Counted captured(5);
            return map_each(
                [captured](int x) -> Task<int> {
                    co_await sleep_for(1ms);
                    co_return captured.value + x;
                },
                2)({1, 2, 3});
        };
        const auto body = [&]() -> Task<> {
            auto generator = make();
            const Numbers yielded = co_await read_all(generator);
            CHECK(yielded == Numbers{6, 7, 8});
        };
        loop.run(body());
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("map_each does nothing until it is asked for an item") {
    Log log;
    Counted::reset();
    {
        const auto generator = map_each(Worker(log), 2)({1, 2, 3});
        CHECK(log.empty());
    }
    CHECK(log.empty());
}

TEST_CASE(
    "While the reader is at work those in flight go on, and one more begins for each it took") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        auto generator = map_each(Worker(log), 2)({1, 2, 3, 4, 5});
        co_await generator.next();
        CHECK(log == Log{"1 starts", "2 starts", "1 ends"});
        co_await sleep_for(1h);
        CHECK(log == Log{"1 starts", "2 starts", "1 ends", "3 starts", "2 ends", "3 ends"});
        const int* item = co_await generator.next();
        CHECK(*item == 2);
        item = co_await generator.next();
        CHECK(*item == 3);
        co_await sleep_for(1h);
        CHECK(log.size() == 10);
    };
    loop.run(body());
}

TEST_CASE("map_each inside map_each, and combinators inside that") {
    EventLoop loop{virtual_time};
    const auto inner = [](int x) -> Task<int> {
        const auto [a, b] = co_await when_all(wait_and_double(x), wait_and_double(1));
        const int c = co_await with_timeout(1s, wait_and_double(1));
        co_return a + b + c;
    };
    const auto outer = [inner](int x) -> Task<int> {
        auto generator = map_each(inner, 2)({x, x + 1, x + 2});
        int sum = 0;
        while (const int* item = co_await generator.next()) sum += *item;
        co_return sum;
    };
    const auto body = [&]() -> Task<> {
        auto generator = map_each(outer, 3)({1, 2, 3, 4});
        const Numbers yielded = co_await read_all(generator);
        CHECK(generator.result() == Numbers{24, 30, 36, 42});
    };
    loop.run(body());
}

TEST_CASE("A hundred thousand items, of tasks and of plain functions") {
    EventLoop loop{virtual_time};
    Numbers items;
    for (int i = 0; i < 100'000; ++i) items.push_back(i % 10);
    const auto body = [&]() -> Task<> {
        auto tasks = map_each(wait_and_double, 1'000)(items);
        std::size_t count = 0;
        while (co_await tasks.next()) ++count;
        CHECK(count == items.size());
        auto plain = map_each(twice, items.size())(items);
        while (co_await plain.next()) --count;
        CHECK(count == 0);
    };
    loop.run(body());
}

// --- errors, cancellation, time --------------------------------------------------------------

TEST_CASE("The first error cancels the others, waits for them, and is rethrown") {
    Log log;
    EventLoop loop{virtual_time};
    const auto work = [&](int x) -> Task<int> {
        if (x < 0) {
            co_await sleep_for(5ms);
            throw std::runtime_error("item " + std::to_string(x));
        }
        co_return co_await Worker::work(log, 20ms, x);
    };
    Numbers yielded;
    const auto body = [&]() -> Task<> {
        auto generator = map_each(work, 4)({0, 2, -1, -2, 7});
        while (const int* item = co_await generator.next()) yielded.push_back(*item);
    };
    CHECK_THROWS_WITH(loop.run(body()), "item -1");
    CHECK(yielded == Numbers{2});
    CHECK(elapsed(loop) == 25ms);
    CHECK(log == Log{"0 starts", "2 starts", "2 ends", "7 starts", "0 cancelled", "7 cancelled",
                     "0 cleaned up", "7 cleaned up"});
}

TEST_CASE("An error that comes while the others are cancelled does not replace the first") {
    EventLoop loop{virtual_time};
    const auto work = [](int x) -> Task<int> {
        if (x == 1) throw std::runtime_error("first");
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            throw std::runtime_error("in the clean-up");
        }
        co_return x;
    };
    const auto body = [&]() -> Task<> {
        auto generator = map_each(work, 4)({0, 1, 2});
        co_await generator.next();
    };
    CHECK_THROWS_WITH(loop.run(body()), "first");
}

TEST_CASE("A function that throws before it gives a task fails like a task that throws") {
    Log log;
    EventLoop loop{virtual_time};
    const auto work = [&](int x) -> Task<int> {
        if (x < 0) throw std::runtime_error("refused");
        return Worker::work(log, 3ms, x);
    };
    const auto plain = [](int x) -> int {
        if (x < 0) throw std::runtime_error("refused");
        return x;
    };
    const auto body = [&](auto fn) -> Task<> {
        auto generator = map_each(fn, 2)({1, 0, -1});
        while (co_await generator.next()) {
        }
    };
    CHECK_THROWS_WITH(loop.run(body(work)), "refused");
    CHECK(log == Log{"1 starts", "0 starts", "1 ends", "0 cancelled", "0 cleaned up"});
    CHECK(elapsed(loop) == 4ms);
    CHECK_THROWS_WITH(loop.run(body(plain)), "refused");
}

TEST_CASE("What ended before an error is yielded before it is thrown") {
    EventLoop loop{virtual_time};
    const auto work = [](int x) -> Task<int> {
        co_await sleep_for(milliseconds(x));
        if (x == 3) throw std::runtime_error("broken");
        co_return x;
    };
    Numbers yielded;
    const auto body = [&]() -> Task<> {
        auto generator = map_each(work, 9)({1, 2, 3, 4, 5});
        while (const int* item = co_await generator.next()) {
            yielded.push_back(*item);
            co_await sleep_for(1h);
        }
    };
    CHECK_THROWS_WITH(loop.run(body()), "broken");
    CHECK(yielded == Numbers{1, 2});
}

TEST_CASE("A failing item fails the node, which names it") {
    EventLoop loop{virtual_time};
    const auto work = [](int x) -> Task<int> {
        co_await sleep_for(1ms);
        if (x == 2) throw std::runtime_error("item 2 is broken");
        co_await sleep_for(1h);
        co_return x;
    };
    Node node{"mapped", map_each(work, 8), "numbers"_a = Numbers{1, 2, 3}};
    CHECK_THROWS_WITH(loop.run(TreeExecutor{node}.run()),
                      ContainsSubstring("'mapped' failed: item 2 is broken"));
    CHECK(elapsed(loop) == 1ms);
}

TEST_CASE("A cancelled map_each cancels what is in flight, waits for it, then it is Cancelled") {
    const bool twice_asked = GENERATE(false, true);
    Log log;
    EventLoop loop{virtual_time};
    Node node{"node", map_each(Worker(log, 20ms), 2), "numbers"_a = Numbers{1, 0, 0, 4}};
    TreeExecutor executor{node};
    const auto stop = [&]() -> Task<> {
        co_await sleep_for(5ms);
        executor.stop();
        if (!twice_asked) co_return;
        co_await sleep_for(5ms);
        executor.stop();
    };
    const auto body = [&]() -> Task<> { co_await when_all(executor.try_run(), stop()); };
    loop.run(body());
    CHECK(node.state() == NodeState::cancelled);
    Log expected{"1 starts", "0 starts", "1 ends", "0 starts", "0 cancelled", "0 cancelled"};
    if (!twice_asked) {
        expected.push_back("0 cleaned up");
        expected.push_back("0 cleaned up");
    }
    CHECK(log == expected);
    CHECK(elapsed(loop) == (twice_asked ? 10ms : 25ms));
}

TEST_CASE("A cancellation at a chunk cancels what is in flight and waits for it as well") {
    Log log;
    EventLoop loop{virtual_time};
    Node node{"node", map_each(Worker(log, 20ms), 3), "numbers"_a = Numbers{1, 2, 0, 0}};
    TreeExecutor executor{node};
    const auto body = [&]() -> Task<> {
        auto events = executor.yielding();
        try {
            while (auto event = co_await events.next()) {
                if (!event->chunk(node)) continue;
                co_await sleep_for(10ms);  // 2 has ended meanwhile
                executor.stop();
            }
        } catch (const RunError&) {
        }
    };
    loop.run(body());
    CHECK(node.state() == NodeState::cancelled);
    CHECK(log == Log{"1 starts", "2 starts", "0 starts", "1 ends", "0 starts", "2 ends",
                     "0 cancelled", "0 cancelled", "0 cleaned up", "0 cleaned up"});
    CHECK(elapsed(loop) == 31ms);
}

TEST_CASE("A timeout of the node, or around the next item, ends all that is in flight") {
    Log log;
    EventLoop loop{virtual_time};
    Node node{"node", map_each(Worker(log), 2), "numbers"_a = Numbers{1, 0, 0}};
    node.timeout(5ms);
    loop.run(TreeExecutor{node}.try_run());
    CHECK(node.state() == NodeState::failed);
    CHECK(elapsed(loop) == 5ms);
    CHECK(log.back() == "0 cleaned up");

    const auto body = [&]() -> Task<> {
        auto generator = map_each(Worker(log, 3ms), 2)({1, 0, 0});
        const int* first = co_await with_timeout(5ms, generator.next());
        CHECK(*first == 1);
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, generator.next());
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        const int* end = co_await generator.next();
        CHECK(end == nullptr);
    };
    log.clear();
    loop.run(body());
    CHECK(elapsed(loop) == 5ms + 1ms + 5ms + 3ms);
    CHECK(log.size() == 8);
}

TEST_CASE("Each item may have a limit of its own, and the error names the node") {
    EventLoop loop{virtual_time};
    const auto work = [](int x) -> Task<int> {
        co_return co_await with_timeout(10ms, wait_and_double(x));
    };
    Node node{"fetch", map_each(work, 2), "numbers"_a = Numbers{1, 2, 20}};
    const RunReport report = loop.run(TreeExecutor{node}.try_run());
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(),
               ContainsSubstring("'fetch' failed: it awaited a task that did not end within 10 ms "
                                 "(with_timeout)"));
}

TEST_CASE("Items that wait for ever are a deadlock, and are cancelled") {
    Log log;
    EventLoop loop{virtual_time};
    const auto never = [&log](int x) -> Task<int> {
        try {
            co_await std::suspend_always();
        } catch (const Cancelled&) {
            log.push_back(std::to_string(x));
            throw;
        }
        co_return x;
    };
    Node node{"mapped", map_each(never, 2), "numbers"_a = Numbers{1, 2, 3}};
    CHECK_THROWS_WITH(loop.run(TreeExecutor{node}.run()), ContainsSubstring("'mapped'"));
    CHECK(log == Log{"1", "2"});
}

// --- dropped ---------------------------------------------------------------------------------

TEST_CASE("A generator of map_each may be dropped at any item and at any time") {
    const auto work = [](Counted item) -> Task<Counted> {
        Counted local(item.value + 100);
        co_await sleep_for(milliseconds(item.value % 4));
        co_await when_all(sleep_for(1ms), with_timeout(1h, sleep_for(2ms)));
        co_return local;
    };
    Counted::reset();
    for (int n = 0; n <= 14; ++n) {
        for (const bool in_node : {false, true}) {
            CAPTURE(n, in_node);
            EventLoop loop{virtual_time};
            const auto read = [&]() -> Task<> {
                std::vector<Counted> items;
                for (int i = 0; i < 10; ++i) items.emplace_back(i);
                if (in_node) {
                    Node node{"node", map_each(work, 3), "items"_a};
                    Node source{"source", [&items] { return std::move(items); }};
                    source.connect(node, "items"_a);
                    auto events = TreeExecutor{source}.yielding();
                    for (int i = 0; i <= n; ++i) co_await events.next();
                } else {
                    auto generator = map_each(work, 3)(std::move(items));
                    for (int i = 0; i < n; ++i) co_await generator.next();
                }
            };
            loop.run(read());
            REQUIRE(Counted::live() == 0);

            // By time: in the midst of a wait.
            EventLoop other{virtual_time};
            const auto wait = [&]() -> Task<> {
                std::vector<Counted> items;
                for (int i = 0; i < 10; ++i) items.emplace_back(i);
                Node source{"source", [&items] { return std::move(items); }};
                Node node{"node", map_each(work, 3), "items"_a};
                source.connect(node, "items"_a);
                Node run_all{"run_all", [source, in_node]() -> Task<> {
                                 if (in_node) {
                                     co_await TreeExecutor{source}.run();
                                 } else {
                                     auto events = TreeExecutor{source}.yielding();
                                     while (co_await events.next()) co_await sleep_for(1ms);
                                 }
                             }};
                auto events = TreeExecutor{run_all}.yielding();
                co_await events.next();
                co_await sleep_for(milliseconds(n));
            };
            other.run(wait());
            REQUIRE(Counted::live() == 0);
        }
    }
}

namespace {

// At gates, item by item; an item of -1 sleeps.
struct Gates {
    Gate gate[3];
    Log log;
};

Task<Counted> pass(std::shared_ptr<Gates> gates, const Counted& item) {
    const Counted local(item.value);
    if (item.value < 0) {
        co_await sleep_for(1h);
    } else if (item.value < 3) {
        co_await gates->gate[item.value];
    }
    gates->log.push_back("goes on");
    CHECK(item.value == local.value);
    co_return local;
}

auto map_gates(const std::shared_ptr<Gates>& gates) {
    const Counted captured(5);
    return map_each([gates, captured](const Counted& item) { return pass(gates, item); }, 9);
}

std::vector<Counted> counted_items(const Numbers& values) {
    std::vector<Counted> items;
    for (const int value : values) items.emplace_back(value);
    return items;
}

}  // namespace

TEST_CASE(
    "A generator dropped between two items: what is inside a foreign await goes when that ends") {
    const bool lost = GENERATE(false, true);
    const bool in_node = GENERATE(false, true);
    CAPTURE(lost, in_node);
    Counted::reset();
    {
        const auto gates = std::make_shared<Gates>();
        EventLoop loop{virtual_time};
        const auto let_go = [&]() -> Task<> {
            try {
                co_await sleep_for(1h);
            } catch (const Cancelled&) {
            }
            for (const std::size_t i : std::vector<std::size_t>{1, 0}) {
                co_await sleep_for(5ms);
                CHECK(Counted::live() > 0);
                gates->log.push_back("opens");
                lost ? gates->gate[i].lose() : gates->gate[i].open();
            }
        };
        const auto body = [&]() -> Task<> {
            EventLoop::current().spawn(let_go());
            if (in_node) {
                Node node{"node", map_gates(gates), "items"_a = counted_items({0, 1, -1, 7})};
                auto events = TreeExecutor{node}.yielding();
                while (auto event = co_await events.next()) {
                    if (event->chunk(node)) break;
                }
            } else {
                auto generator = map_gates(gates)(counted_items({0, 1, -1, 7}));
                const Counted* item = co_await generator.next();
                CHECK(item->value == 7);
            }
            REQUIRE(gates->gate[0].waited());
            REQUIRE(gates->gate[1].waited());
            // Gone with the generator: the one that slept. The items, the function and two are
            // left.
            CHECK(Counted::live() == 4 + 1 + 2);
            gates->log.push_back("dropped");
        };
        loop.run(body());
        CHECK(elapsed(loop) == 10ms);
        CHECK(gates->log == Log{"goes on", "dropped", "opens", "opens"});
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE(
    "A node dropped while its map_each waits for a foreign await is destroyed when that ends") {
    const bool lost = GENERATE(false, true);
    Counted::reset();
    {
        const auto gates = std::make_shared<Gates>();
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            {
                Node node{"node", map_gates(gates), "items"_a = counted_items({0, 1, -1})};
                auto events = TreeExecutor{node}.yielding();
                co_await events.next();
                co_await sleep_for(1ms);
            }
            CHECK(Counted::live() > 0);
            for (const std::size_t i : std::vector<std::size_t>{1, 0}) {
                CHECK(Counted::live() > 0);
                lost ? gates->gate[i].lose() : gates->gate[i].open();
                co_await sleep_for(1ms);
            }
            CHECK(Counted::live() == 0);
        };
        loop.run(body());
        CHECK(gates->log.empty());
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("An item that drops its own run ends at its next suspension, or its end, and all of it") {
    const int kind = GENERATE(0, 1, 2, 3);
    const bool parked = GENERATE(false, true);
    CAPTURE(kind, parked);
    Counted::reset();
    {
        Log log;
        std::optional<AsyncGenerator<Event>> events;
        EventLoop loop{virtual_time};
        const auto work = [&](int x) -> Task<int> {
            const Counted local(x);
            if (x == 0) co_return 0;
            if (x == 1) co_await sleep_for(1h);
            co_await sleep_for(2ms);
            log.push_back("drop");
            events.reset();
            if (kind == 0) co_await sleep_for(1ms);
            if (kind == 1) co_await when_all(sleep_for(1ms));
            if (kind == 2) throw std::runtime_error("after the drop");
            if (kind != 3) log.push_back("gone on");
            co_return 3;
        };
        const auto body = [&]() -> Task<> {
            Node node{"node", map_each(work, 9),
                      "numbers"_a = parked ? Numbers{1, 0, 2, 1} : Numbers{1, 2, 1}};
            events.emplace(TreeExecutor{node}.yielding());
            co_await events->next();
            if (parked) co_await events->next();
            co_await sleep_for(10ms);
            CHECK_FALSE(events.has_value());
        };
        loop.run(body());
        CHECK(log == Log{"drop"});
        CHECK(elapsed(loop) == 10ms);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A generator that is left after the loop's run is destroyed with what it has in flight") {
    Counted::reset();
    {
        const auto gates = std::make_shared<Gates>();
        EventLoop loop{virtual_time};
        auto generator = map_gates(gates)(counted_items({-1, 7, 8}));
        const auto body = [&]() -> Task<> { co_await generator.next(); };
        loop.run(body());
        CHECK(Counted::live() > 0);
    }
    CHECK(Counted::live() == 0);
    {
        int sum = 0;
        EventLoop loop{virtual_time};
        for (const int item : iterate(loop, map_each(wait_and_double, 2)({1, 2, 3, 1'000}))) {
            sum += item;
            if (sum > 6) break;
        }
        CHECK(sum == 12);
        CHECK(elapsed(loop) < 1s);
    }
}
