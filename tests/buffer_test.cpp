#include <grafo/grafo.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// `buffer(n)`: chunks leave their producer's frame as copies, and it runs ahead of its readers.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;
using Ints = std::vector<int>;

void run_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    loop.run(executor.run());
}

RunReport try_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

AsyncGenerator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
}

Task<int> slow_sum(AsyncGenerator<int> in, std::chrono::milliseconds pause) {
    int total = 0;
    while (const int* item = co_await in.next()) {
        co_await sleep_for(pause);
        total += *item;
    }
    co_return total;
}

AsyncGenerator<Counted> produce(int n) {
    for (int i = 1; i <= n; ++i) {
        Counted item(i);
        co_yield item;
    }
}

Task<int> sum_counted(AsyncGenerator<Counted> in) {
    int total = 0;
    while (Counted* item = co_await in.next()) {
        const Counted mine = std::move(*item);
        co_await sleep_for(1ms);
        total += mine.value;
    }
    co_return total;
}

// Notes how far a producer has come when a reader looks at its chunks.
struct Ahead {
    int yielded = 0;
    Ints when_read;
};

AsyncGenerator<int> counted_ahead(Ahead& ahead, int n) {
    for (int i = 1; i <= n; ++i) {
        ahead.yielded = i;
        co_yield i;
    }
}

Task<> read_slowly(Ahead& ahead, AsyncGenerator<int> in) {
    while (const int* item = co_await in.next()) {
        static_cast<void>(item);
        co_await sleep_for(1ms);
        ahead.when_read.push_back(ahead.yielded);
    }
}

}  // namespace

TEST_CASE("A producer with a buffer of n runs n chunks ahead of its slowest reader, and no more") {
    Ahead ahead;
    Node producer{"producer", [&ahead] { return counted_ahead(ahead, 6); }};
    Node reader{"reader",
                [&ahead](AsyncGenerator<int> in) { return read_slowly(ahead, std::move(in)); },
                "in"_a = producer};
    SECTION("0") {
        run_all(TreeExecutor{producer});
        CHECK(ahead.when_read == Ints{1, 2, 3, 4, 5, 6});
    }
    SECTION("1") {
        producer.buffer(1);
        run_all(TreeExecutor{producer});
        CHECK(ahead.when_read == Ints{2, 3, 4, 5, 6, 6});
    }
    SECTION("3") {
        producer.buffer(3);
        run_all(TreeExecutor{producer});
        CHECK(ahead.when_read == Ints{4, 5, 6, 6, 6, 6});
    }
    SECTION("3, beside a quick reader") {
        producer.buffer(3);
        Node quick{"quick", slow_sum, "in"_a = producer, "pause"_a = 0ms};
        run_all(TreeExecutor{producer});
        CHECK(ahead.when_read == Ints{4, 5, 6, 6, 6, 6});
        CHECK(quick.output() == 21);
    }
    SECTION("more than there are") {
        producer.buffer(100);
        TreeExecutor executor{producer};
        EventLoop loop{virtual_time};
        loop.run(executor.run());
        CHECK(ahead.when_read == Ints{6, 6, 6, 6, 6, 6});
    }
    SECTION("set back to 0") {
        producer.buffer(3).buffer(0);
        run_all(TreeExecutor{producer});
        CHECK(ahead.when_read == Ints{1, 2, 3, 4, 5, 6});
    }
}

TEST_CASE("A producer may end long before its readers have read all of its buffer") {
    Node producer{"producer", count_to, "n"_a = 5};
    producer.buffer(10);
    Node reader{"reader", slow_sum, "in"_a = producer, "pause"_a = 1000ms};
    Node after{"after", [](const Ints& all) { return all.size(); }, "all"_a = producer};
    EventLoop loop{virtual_time};
    const auto start = loop.now();
    std::optional<std::chrono::nanoseconds> after_done;
    for (const Event& event : iterate(loop, TreeExecutor{producer}.yielding())) {
        if (event.completed(after)) after_done = loop.now() - start;
    }
    CHECK(after_done == 0ns);
    CHECK(loop.now() - start == 5s);
    CHECK(reader.output() == 15);
}

TEST_CASE("The consumer of the events has its part of the buffer, whether slower or faster") {
    const int pause = GENERATE(0, 1, 7);
    Ahead ahead;
    Node producer{"producer", [&ahead] { return counted_ahead(ahead, 8); }};
    producer.buffer(2);
    Node reader{"reader", slow_sum, "in"_a = producer, "pause"_a = 3ms};
    const auto consume = [](AsyncGenerator<Event> events, int wait, const Ahead& how,
                            int& most) -> Task<Ints> {
        Ints chunks;
        while (Event* event = co_await events.next()) {
            const auto chunk = event->chunk<int>();
            if (!chunk) continue;
            if (wait > 0) co_await sleep_for(std::chrono::milliseconds(wait));
            chunks.push_back(chunk->output);
            most = std::max(most, how.yielded - chunk->output);
        }
        co_return chunks;
    };
    int most = 0;
    EventLoop loop{virtual_time};
    AsyncGenerator<Event> events = TreeExecutor{producer}.yielding();
    CHECK(loop.run(consume(std::move(events), pause, ahead, most)) == Ints{1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(most <= 2);
    CHECK(reader.output() == 36);
}

TEST_CASE("Without pipes the consumer of the events alone is who is run ahead of") {
    Ahead ahead;
    Node producer{"producer", [&ahead] { return counted_ahead(ahead, 6); }};
    producer.buffer(3);
    EventLoop loop{virtual_time};
    Ints when;
    for (const Event& event : iterate(loop, TreeExecutor{producer}.yielding())) {
        if (event.kind() == EventKind::chunk) when.push_back(ahead.yielded);
    }
    REQUIRE(when.size() == 6);
    CHECK(when.front() == 4);
    for (std::size_t i = 0; i < when.size(); ++i) CHECK(when[i] <= static_cast<int>(i) + 4);
}

TEST_CASE("A buffer costs a copy for each chunk, and none where nobody reads") {
    Counted::reset();
    {
        Node producer{"producer", produce, "n"_a = 5};
        producer.collect(false).buffer(GENERATE(as<std::size_t>(), 1, 3, 100));
        SECTION("nobody") {
            run_all(TreeExecutor{producer});
            CHECK(Counted::copies() == 0);
        }
        SECTION("one reader, who may move them out") {
            Node reader{"reader", sum_counted, "in"_a = producer};
            run_all(TreeExecutor{producer});
            CHECK(reader.output() == 15);
            CHECK(Counted::copies() == 5);
        }
        SECTION("two readers") {
            Node reader{"reader", sum_counted, "in"_a = producer};
            Node other{"other", sum_counted, "in"_a = producer};
            run_all(TreeExecutor{producer});
            CHECK(reader.output() == 15);
            CHECK(other.output() == 15);
            CHECK(Counted::copies() == 10);
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Chunks that cannot be copied are refused a buffer, and so is who yields none") {
    const auto boxes = []() -> AsyncGenerator<std::unique_ptr<int>> { co_yield nullptr; };
    Node producer{"producer", boxes};
    try {
        producer.buffer(1);
        FAIL("not refused");
    } catch (const Error& error) {
        CHECK_THAT(
            error.what(),
            ContainsSubstring("node 'producer' cannot buffer chunks: they cannot be copied"));
    }
    producer.buffer(0);
    Node plain{"plain", [] { return 1; }};
    CHECK_THROWS_WITH(AnyNode(plain).buffer(1), ContainsSubstring("it yields none"));
    run_all(TreeExecutor{producer, plain});
}

namespace {

struct Bomb {
    explicit Bomb(int number) : value(number) {}
    Bomb(const Bomb& other) : value(other.value) {
        if (value == 3) throw std::runtime_error("not to be copied");
    }
    int value;
};

}  // namespace

TEST_CASE("A copy that throws fails whoever makes it: the producer, or a reader") {
    const auto bombs = []() -> AsyncGenerator<Bomb> {
        for (int i = 1; i <= 4; ++i) {
            Bomb bomb(i);
            co_yield bomb;
        }
    };
    const auto add = [](AsyncGenerator<Bomb> in) -> Task<int> {
        int total = 0;
        while (const Bomb* item = co_await in.next()) total += item->value;
        co_return total;
    };
    Node producer{"producer", bombs};
    producer.collect(false);
    Node one{"one", add, "in"_a = producer};
    Node two{"two", add, "in"_a = producer};
    TreeExecutor executor{producer};
    executor.on_error(ErrorPolicy::keep_going);
    SECTION("the producer's") {
        producer.buffer(2);
        try_all(executor);
        CHECK(producer.state() == NodeState::failed);
        CHECK(one.state() == NodeState::skipped);
        CHECK(two.state() == NodeState::skipped);
        CHECK_THROWS_WITH(one.output(), ContainsSubstring("its producer 'producer' failed"));
    }
    SECTION("a reader's") {
        try_all(executor);
        CHECK(producer.state() == NodeState::completed);
        CHECK(one.state() == NodeState::failed);
        CHECK(two.output() == 10);
    }
}

TEST_CASE("A producer that fails with chunks in its buffer: its readers get those first") {
    const auto fail_after_three = []() -> AsyncGenerator<int> {
        for (int i = 1; i <= 3; ++i) co_yield i;
        throw std::runtime_error("broken");
    };
    Node producer{"producer", fail_after_three};
    producer.buffer(10);
    int read = 0;
    Node reader{"reader",
                [&read](AsyncGenerator<int> in) -> Task<> {
                    while (co_await in.next() != nullptr) {
                        co_await sleep_for(1ms);
                        ++read;
                    }
                },
                "in"_a = producer};
    TreeExecutor executor{producer};
    try_all(executor.on_error(ErrorPolicy::keep_going));
    CHECK(read == 3);
    CHECK(reader.state() == NodeState::skipped);
}

TEST_CASE("An endless producer with a buffer lets the loop turn, and is stopped") {
    const auto endless = []() -> AsyncGenerator<int> {
        for (int i = 0;; ++i) co_yield i;
    };
    Node producer{"producer", endless};
    producer.collect(false).buffer(1'000'000);
    Node reader{"reader",
                [](AsyncGenerator<int> in) -> Task<int> {
                    for (int i = 0; i < 10; ++i) static_cast<void>(co_await in.next());
                    co_return 10;
                },
                "in"_a = producer};
    SECTION("by its timeout") {
        producer.timeout(5ms);
        EventLoop loop;
        TreeExecutor executor{producer};
        loop.run(executor.try_run());
        CHECK(producer.state() == NodeState::failed);
    }
    SECTION("by a reader") {
        TreeExecutor executor{producer};
        EventLoop loop{virtual_time};
        for (const Event& event : iterate(loop, executor.yielding())) {
            if (event.completed(reader)) break;
        }
    }
    CHECK(reader.output() == 10);
}

TEST_CASE("Events whose chunks are copies may be read when the next run is on already") {
    Counted::reset();
    {
        Node producer{"producer", produce, "n"_a = 4};
        TreeExecutor executor{producer};
        const auto overlap = [&producer](const TreeExecutor& runs, bool drop,
                                         std::size_t buffer) -> Task<int> {
            producer.buffer(10);
            AsyncGenerator<Event> first = runs.yielding();
            static_cast<void>(co_await first.next());
            co_await sleep_for(1ms);  // the producer has ended
            producer.buffer(buffer);
            AsyncGenerator<Event> second = runs.yielding();
            int total = 0;
            static_cast<void>(co_await second.next());
            co_await sleep_for(1ms);
            if (drop) first = AsyncGenerator<Event>();
            for (;;) {
                Event* a = co_await first.next();
                if (a != nullptr) {
                    if (const auto chunk = a->chunk<Counted>()) total += chunk->output.value;
                }
                Event* b = co_await second.next();
                if (b != nullptr) {
                    if (const auto chunk = b->chunk<Counted>()) total += chunk->output.value;
                }
                if (a == nullptr && b == nullptr) co_return total;
            }
        };
        EventLoop loop{virtual_time};
        for (const std::size_t buffer : {0U, 1U, 2U, 10U}) {
            CHECK(loop.run(overlap(executor, false, buffer)) == 20);
            CHECK(loop.run(overlap(executor, true, buffer)) == 10);
        }
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("The copy of a chunk may cut off readers that it was to be given to") {
    struct Chunk {
        explicit Chunk(std::function<void()>& act) : on_copy(&act) {}
        Chunk(const Chunk& other) : on_copy(other.on_copy), counted(other.counted) {
            if (*on_copy) (*on_copy)();
        }
        std::function<void()>* on_copy;
        Counted counted;
    };
    Counted::reset();
    {
        std::function<void()> on_copy;
        const auto read = [](AsyncGenerator<Chunk> chunks) -> Task<int> {
            int many = 0;
            while (co_await chunks.next() != nullptr) ++many;
            co_return many;
        };
        Node producer{"producer", [&]() -> AsyncGenerator<Chunk> {
                          const Chunk chunk(on_copy);
                          for (int i = 0; i < 5; ++i) co_yield chunk;
                      }};
        producer.collect(false).buffer(1);
        Node slow{"slow", []() -> Task<> { co_await sleep_for(1s); }};
        Node reader{"reader", read, "chunks"_a = producer};
        std::vector<Node<int>> late;
        for (int i = 0; i < 2; ++i) {
            late.push_back(Node{"late", read, "chunks"_a = producer});
            slow.connect(late.back());
        }
        std::size_t cut = 0;
        on_copy = [&] {
            if (cut < late.size()) producer.disconnect(late[cut++]);
        };
        TreeExecutor executor{producer, slow};
        executor.on_error(ErrorPolicy::keep_going);
        const RunReport report = try_all(executor);
        CHECK(reader.output() == 5);
        CHECK(report.failed().size() == 2);  // nothing gives them chunks any more
    }
    CHECK(Counted::live() == 0);
}
