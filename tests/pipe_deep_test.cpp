// Pipes without recursion and in constant memory. Run with a small stack.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using grafo_test::Counted;

namespace {

constexpr int million = 1'000'000;

// The most that were alive at once.
struct Most {
    int live = 0;
    void look() { live = std::max(live, Counted::live()); }
};

AsyncGenerator<Counted> count_to(int n) {
    for (int i = 1; i <= n; ++i) {
        Counted item(i);
        co_yield item;
    }
}

AsyncGenerator<Counted> add_one(AsyncGenerator<Counted> in) {
    while (const Counted* item = co_await in.next()) {
        Counted next(item->value + 1);
        co_yield next;
    }
}

AsyncGenerator<Counted> pass_on(AsyncGenerator<Counted> in) {
    while (Counted* item = co_await in.next()) co_yield *item;
}

Task<long long> sum(AsyncGenerator<Counted> in, Most& most) {
    long long total = 0;
    while (const Counted* item = co_await in.next()) {
        most.look();
        total += item->value;
    }
    co_return total;
}

auto sum_into(Most& most) {
    return [&most](AsyncGenerator<Counted> in) { return sum(std::move(in), most); };
}

RunReport run_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.try_run());
}

}  // namespace

TEST_CASE("A million chunks go through five stages in constant memory") {
    Counted::reset();
    Most most;
    {
        const auto buffer = GENERATE(as<std::size_t>(), 0, 4);
        Node producer{"producer", count_to, "n"_a = million};
        producer.collect(false).buffer(buffer);
        Node a{"a", add_one, "in"_a = producer};
        Node b{"b", pass_on, "in"_a = a};
        Node c{"c", add_one,
               "in"_a = b.map([](const Counted& item) { return Counted(item.value); })};
        a.collect(false).buffer(buffer);
        b.collect(false);
        c.collect(false).buffer(buffer);
        Node last{"last", sum_into(most), "in"_a = c};
        TreeExecutor executor{producer};
        CHECK(run_all(executor).ok());
        CHECK(last.output() == 1LL * million * (million + 1) / 2 + 2LL * million);
        CHECK(most.live <= static_cast<int>(3 * buffer) + 20);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A million chunks go to the events as well, and are held back by them") {
    Counted::reset();
    Most most;
    {
        Node producer{"producer", count_to, "n"_a = million / 4};
        producer.collect(false);
        Node reader{"reader", sum_into(most), "in"_a = producer};
        EventLoop loop{virtual_time};
        int chunks = 0;
        for (const Event& event : iterate(loop, TreeExecutor{producer}.yielding())) {
            most.look();
            if (event.kind() == EventKind::chunk) ++chunks;
        }
        CHECK(chunks == million / 4);
        CHECK(most.live <= 4);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A chain of a thousand stages runs, is stopped, fails, is dropped and freed") {
    Counted::reset();
    constexpr int stages = 1000;
    Most most;
    {
        bool fail = false;
        Node producer{"producer", [&fail]() -> AsyncGenerator<Counted> {
                          for (int i = 1; i <= 20; ++i) {
                              if (fail && i == 10) throw std::runtime_error("broken");
                              Counted item(i);
                              co_yield item;
                          }
                      }};
        producer.collect(false);
        AnyNode last = producer;
        for (int i = 0; i < stages; ++i) {
            Node stage{"stage", pass_on, "in"_a};
            stage.collect(false);
            last.connect(stage, "in"_a);
            last = stage;
        }
        Node reader{"reader", sum_into(most), "in"_a};
        last.connect(reader, "in"_a);
        TreeExecutor executor{producer};
        CHECK(run_all(executor).ok());
        CHECK(reader.output() == 210);
        CHECK(most.live == 1);
        SECTION("dropped") {
            EventLoop loop{virtual_time};
            int events = 0;
            for (const Event& event : iterate(loop, executor.yielding())) {
                static_cast<void>(event);
                if (++events == 5 * stages) break;
            }
        }
        SECTION("stopped") {
            EventLoop loop{virtual_time};
            int events = 0;
            CHECK_THROWS_AS(
                [&] {
                    for (const Event& event : iterate(loop, executor.yielding())) {
                        static_cast<void>(event);
                        if (++events == 5 * stages) executor.stop();
                    }
                }(),
                RunError);
        }
        SECTION("failed") {
            fail = true;
            executor.on_error(ErrorPolicy::keep_going);
            const RunReport report = run_all(executor);
            CHECK(report.failed().size() == 1);
            CHECK(report.skipped().size() == stages + 1);
            std::string why;
            try {
                static_cast<void>(reader.output());
            } catch (const OutputUnavailableError& error) {
                why = error.what();
            }
            CHECK(why.size() < 200);
            CHECK_THAT(why, Catch::Matchers::ContainsSubstring("its producer 'producer' failed"));
            fail = false;
            CHECK(run_all(executor).ok());
        }
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A thousand readers read one producer") {
    Counted::reset();
    {
        const auto buffer = GENERATE(as<std::size_t>(), 0, 10);
        Node producer{"producer", count_to, "n"_a = 100};
        producer.collect(false).buffer(buffer);
        Most most;
        std::vector<Node<long long>> readers;
        for (int i = 0; i < 1000; ++i) {
            readers.push_back(Node{"reader", sum_into(most), "in"_a = producer});
        }
        TreeExecutor executor{producer};
        CHECK(run_all(executor.max_concurrency(GENERATE(as<std::size_t>(), 1, 10'000))).ok());
        for (const Node<long long>& reader : readers) CHECK(reader.output() == 5050);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A list of a thousand pipes is read one after the other") {
    std::vector<AnyNode> producers;
    for (int i = 0; i < 1000; ++i) producers.push_back(Node{"p", count_to, "n"_a = 3});
    const auto read = [](std::vector<AsyncGenerator<Counted>> ins) -> Task<long long> {
        long long total = 0;
        for (AsyncGenerator<Counted>& in : ins) {
            while (const Counted* item = co_await in.next()) total += item->value;
        }
        co_return total;
    };
    Node reader{"reader", read, "ins"_args = producers};
    CHECK(run_all(TreeExecutor{reader}).ok());
    CHECK(reader.output() == 6000);
}
