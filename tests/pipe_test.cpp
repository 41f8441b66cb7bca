#include <grafo/grafo.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// A child that reads its producer's chunks as they come: what flows, in which order, who waits for
// whom, and what is refused. Ends other than the natural one are in pipe_end_test.cpp.

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

// Runs it as a stream; the chunks that the events told.
Ints stream_all(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    Ints chunks;
    for (const Event& event : iterate(loop, executor.yielding())) {
        if (const auto chunk = event.chunk<int>()) chunks.push_back(chunk->output);
    }
    return chunks;
}

AsyncGenerator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
}

Task<Ints> read_all(AsyncGenerator<int> in) {
    Ints all;
    while (const int* item = co_await in.next()) all.push_back(*item);
    co_return all;
}

Task<int> sum(AsyncGenerator<int> in) {
    int total = 0;
    while (const int* item = co_await in.next()) total += *item;
    co_return total;
}

AsyncGenerator<int> add_ten(AsyncGenerator<int> in) {
    while (const int* item = co_await in.next()) co_yield *item + 10;
}

Task<Ints> read_some(AsyncGenerator<int> in, int count) {
    Ints some;
    while (count-- > 0) {
        const int* item = co_await in.next();
        if (item == nullptr) break;
        some.push_back(*item);
    }
    co_return some;
}

AsyncGenerator<int> logged_count(Log& log, int n) {
    for (int i = 1; i <= n; ++i) {
        log.push_back("yields " + std::to_string(i));
        co_yield i;
        log.push_back("goes on after " + std::to_string(i));
    }
}

Task<> logged_read(Log& log, std::string name, std::chrono::milliseconds pause,
                   AsyncGenerator<int> in) {
    while (const int* item = co_await in.next()) {
        log.push_back(name + " has " + std::to_string(*item));
        co_await sleep_for(pause);
        log.push_back(name + " is done with " + std::to_string(*item));
    }
    log.push_back(name + " ends");
}

}  // namespace

// ---- what flows -------------------------------------------------------------------------------

TEST_CASE("A parameter of type AsyncGenerator reads its producer's chunks while that runs") {
    Node producer{"producer", count_to, "n"_a = 4};
    Node reader{"reader", read_all, "in"_a = producer};
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == Ints{1, 2, 3, 4});
    CHECK(producer.output() == Ints{1, 2, 3, 4});
}

TEST_CASE("connect, connect with a transform, map, forward_as and forward_auto all make pipes") {
    Node producer{"producer", count_to, "n"_a = 2};
    Node plain{"plain", read_all, "in"_a};
    Node transformed{"transformed", read_all, "in"_a};
    Node later{"later", read_all, "in"_a};
    Node mapped{"mapped", read_all, "in"_a = producer.map([](int x) { return x * 100; })};
    Node named{"named", read_all, "in"_a};
    Node automatic{"automatic", read_all, "in"_a};
    producer.connect(plain, "in"_a);
    producer.connect(transformed, "in"_a = [](const int& x) { return -x; });
    producer.connect(
        later, "in"_a = [](int x) -> Task<int> {
            co_await sleep_for(1s);
            co_return x + 1000;
        });
    producer.connect(named, forward_as("in"));
    producer.connect(automatic, forward_auto);
    run_all(TreeExecutor{producer});
    CHECK(plain.output() == Ints{1, 2});
    CHECK(transformed.output() == Ints{-1, -2});
    CHECK(later.output() == Ints{1001, 1002});
    CHECK(mapped.output() == Ints{100, 200});
    CHECK(named.output() == Ints{1, 2});
    CHECK(automatic.output() == Ints{1, 2});
}

TEST_CASE("Chunks convert as an argument would, and so do those that a transform makes") {
    const auto read_texts = [](AsyncGenerator<std::string> in) -> Task<Log> {
        Log all;
        while (std::string* item = co_await in.next()) all.push_back(std::move(*item));
        co_return all;
    };
    const auto yield_literals = []() -> AsyncGenerator<const char*> {
        co_yield "a";
        co_yield "b";
    };
    Node producer{"producer", yield_literals};
    Node reader{"reader", read_texts, "in"_a = producer};
    Node second{"second", read_texts, "in"_a = producer.map([](const char*) { return "mapped"; })};
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == Log{"a", "b"});
    CHECK(second.output() == Log{"mapped", "mapped"});
}

TEST_CASE("A list parameter of generators has one for each edge, in connection order") {
    const auto read_lists = [](std::vector<AsyncGenerator<int>> ins) -> Task<std::vector<Ints>> {
        std::vector<Ints> all;
        for (AsyncGenerator<int>& in : ins) {
            all.emplace_back();
            while (const int* item = co_await in.next()) all.back().push_back(*item);
        }
        co_return all;
    };
    Node a{"a", count_to, "n"_a = 1};
    Node b{"b", count_to, "n"_a = 2};
    Node c{"c", count_to, "n"_a = 3};
    Node list{"list", read_lists, "ins"_args = {a, b, c}};
    Node gathered{"gathered", read_lists,
                  "ins"_args = gather(c, b.map([](int x) { return x * 2; }), a)};
    Node connected{"connected", read_lists, "ins"_args};
    a.connect(connected, "ins"_args);
    c.connect(connected, "ins"_a);
    Node empty{"empty", read_lists, "ins"_args = std::vector<AnyNode>()};
    SECTION("run alone") {
        run_all(TreeExecutor{list});
        CHECK(list.output() == std::vector<Ints>{{1}, {1, 2}, {1, 2, 3}});
    }
    SECTION("gathered, run alone") {
        run_all(TreeExecutor{gathered});
        CHECK(gathered.output() == std::vector<Ints>{{1, 2, 3}, {2, 4}, {1}});
    }
    SECTION("connected") {
        run_all(TreeExecutor{connected});
        CHECK(connected.output() == std::vector<Ints>{{1}, {1, 2, 3}});
    }
    SECTION("empty") {
        run_all(TreeExecutor{empty});
        CHECK(empty.output().empty());
    }
}

TEST_CASE("Erased handles are checked at run time by the chunk type") {
    Node producer{"producer", count_to, "n"_a = 2};
    Node reader{"reader", read_all, "in"_a};
    const auto texts = []() -> AsyncGenerator<std::string> { co_yield "a"; };
    Node wrong{"wrong", texts};
    Node plain{"plain", [] { return 1; }};
    SECTION("the same type fits") {
        AnyNode(producer).connect(AnyNode(reader), "in"_a);
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == Ints{1, 2});
    }
    SECTION("a typed child and an erased parent") {
        Node<Ints>(producer).connect(reader, "in"_a);
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == Ints{1, 2});
    }
    SECTION("another type does not, and the error says what is read and what is yielded") {
        CHECK_THROWS_AS(AnyNode(wrong).connect(reader, "in"_a), ForwardingTypeError);
        try {
            wrong.connect(AnyNode(reader), "in"_a);
            FAIL("connected");
        } catch (const ForwardingTypeError& error) {
            CHECK_THAT(error.what(), ContainsSubstring("node 'wrong' yields "));
            CHECK_THAT(error.what(),
                       ContainsSubstring("parameter 'in' of node 'reader' reads a stream of int"));
        }
    }
    SECTION("a parent that yields nothing does not") {
        try {
            AnyNode(plain).connect(AnyNode(reader), "in"_a);
            FAIL("connected");
        } catch (const ForwardingTypeError& error) {
            CHECK_THAT(error.what(), ContainsSubstring("node 'plain' yields no chunks, but"));
        }
    }
    SECTION("a transform into an erased child cannot make a pipe, and the error says so") {
        try {
            producer.connect(AnyNode(reader), "in"_a = [](const Ints&) { return 1; });
            FAIL("connected");
        } catch (const ForwardingTypeError& error) {
            CHECK_THAT(error.what(),
                       ContainsSubstring("parameter 'in' of node 'reader' reads a stream of int"));
            CHECK_THAT(error.what(), ContainsSubstring("keep the type that Node{…} deduced"));
        }
    }
    SECTION("an output that is a list of the chunks is not a stream of them") {
        Node whole{"whole", [](const Ints& all) { return all.size(); }, "all"_a};
        AnyNode(producer).connect(AnyNode(whole), "all"_a);
        run_all(TreeExecutor{producer});
        CHECK(whole.output() == 2);
    }
    CHECK(producer.children().size() <= 1);
}

TEST_CASE("A producer that yields nothing gives its readers an end at once") {
    Node producer{"producer", count_to, "n"_a = 0};
    Node reader{"reader", read_all, "in"_a = producer};
    run_all(TreeExecutor{producer});
    CHECK(reader.output().empty());
    CHECK(stream_all(TreeExecutor{producer}).empty());
}

TEST_CASE("After the end of a pipe next() gives the end again and again") {
    const auto insist = [](AsyncGenerator<int> in) -> Task<int> {
        int ends = 0;
        while (ends < 3) {
            if (co_await in.next() == nullptr) ++ends;
        }
        co_return ends;
    };
    Node producer{"producer", count_to, "n"_a = 2};
    Node reader{"reader", insist, "in"_a = producer};
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == 3);
}

TEST_CASE("A generator with a result is read in a pipe, and forwards its result as well") {
    const auto progress = [](int n) -> AsyncGenerator<int, std::string> {
        for (int i = 1; i <= n; ++i) co_yield i;
        co_return "done";
    };
    Node producer{"producer", progress, "n"_a = 3};
    Node reader{"reader", read_all, "in"_a = producer};
    Node after{"after", [](std::string text) { return text + "!"; }, "text"_a = producer};
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == Ints{1, 2, 3});
    CHECK(after.output() == "done!");
}

TEST_CASE(
    "Chunks go into a pipe, into the output and to the events; collect(false) ends the second") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a = producer};
    TreeExecutor executor{producer};
    CHECK(stream_all(executor) == Ints{1, 2, 3});
    CHECK(producer.output() == Ints{1, 2, 3});
    CHECK(reader.output() == 6);
    producer.collect(false);
    CHECK(stream_all(executor) == Ints{1, 2, 3});
    CHECK_THROWS_AS(producer.output(), OutputUnavailableError);
    CHECK(reader.output() == 6);
}

TEST_CASE("A second run is a fresh one") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node middle{"middle", add_ten, "in"_a = producer};
    Node reader{"reader", sum, "in"_a = middle};
    TreeExecutor executor{producer};
    for (int i = 0; i < 3; ++i) {
        run_all(executor);
        CHECK(reader.output() == 36);
        CHECK(stream_all(executor) == Ints{1, 11, 2, 12, 3, 13});
        CHECK(reader.output() == 36);
        CHECK(middle.output() == Ints{11, 12, 13});
    }
}

// ---- who gets a copy --------------------------------------------------------------------------

TEST_CASE("A single reader gets the producer's chunk itself, each of several but the last a copy") {
    Counted::reset();
    const auto produce = []() -> AsyncGenerator<Counted> {
        for (int i = 0; i < 5; ++i) {
            Counted item(i);
            co_yield item;
        }
    };
    const auto take = [](AsyncGenerator<Counted> in) -> Task<int> {
        int total = 0;
        while (Counted* item = co_await in.next()) {
            const Counted mine = std::move(*item);
            total += mine.value;
        }
        co_return total;
    };
    {
        Node producer{"producer", produce};
        producer.collect(false);
        Node first{"first", take, "in"_a = producer};
        SECTION("one") {
            run_all(TreeExecutor{producer});
            CHECK(Counted::copies() == 0);
        }
        SECTION("one, and the events") {
            EventLoop loop{virtual_time};
            int seen = 0;
            for (const Event& event : iterate(loop, TreeExecutor{producer}.yielding())) {
                if (const auto chunk = event.chunk(producer)) seen += chunk->output.value;
            }
            CHECK(seen == 10);
            CHECK(Counted::copies() <= 5);
        }
        SECTION("three") {
            Node second{"second", take, "in"_a = producer};
            Node third{"third", take, "in"_a = producer};
            run_all(TreeExecutor{producer});
            CHECK(Counted::copies() == 10);
            CHECK(second.output() == 10);
            CHECK(third.output() == 10);
        }
        CHECK(first.output() == 10);
        CHECK(Counted::live() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Move-only chunks go through a pipe, and its reader may move them out") {
    using Box = std::unique_ptr<int>;
    const auto produce = [](int n) -> AsyncGenerator<Box> {
        for (int i = 1; i <= n; ++i) {
            auto box = std::make_unique<int>(i);
            co_yield box;
        }
    };
    const auto pass_on = [](AsyncGenerator<Box> in) -> AsyncGenerator<Box> {
        while (Box* item = co_await in.next()) {
            Box box = std::move(*item);
            *box *= 2;
            co_yield box;
        }
    };
    const auto keep = [](AsyncGenerator<Box> in) -> Task<int> {
        std::vector<Box> kept;
        while (Box* item = co_await in.next()) kept.push_back(std::move(*item));
        int total = 0;
        for (const Box& box : kept) total += *box;
        co_return total;
    };
    Node producer{"producer", produce, "n"_a = 4};
    Node middle{"middle", pass_on, "in"_a = producer};
    Node reader{"reader", keep, "in"_a = middle};
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == 20);
}

TEST_CASE("A chunk that its producer yields as const is not the reader's to change") {
    static const std::string table[] = {"one", "two"};
    const auto produce = []() -> AsyncGenerator<const std::string> {
        for (const std::string& text : table) co_yield text;
    };
    const auto take = [](AsyncGenerator<std::string> in) -> Task<Log> {
        Log all;
        while (std::string* item = co_await in.next()) all.push_back(std::move(*item));
        co_return all;
    };
    const auto look = [](AsyncGenerator<const std::string&> in) -> Task<std::size_t> {
        std::size_t own = 0;
        while (const std::string* item = co_await in.next()) {
            own += item == &table[0] || item == &table[1] ? 1U : 0U;
        }
        co_return own;
    };
    Node producer{"producer", produce};
    SECTION("taken") {
        Node reader{"reader", take, "in"_a = producer};
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == Log{"one", "two"});
    }
    SECTION("looked at") {
        Node reader{"reader", look, "in"_a = producer};
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == 2);
    }
    CHECK(table[0] == "one");
    CHECK(table[1] == "two");
}

// ---- who waits for whom -----------------------------------------------------------------------

TEST_CASE("The producer goes on when its reader asks for the next chunk, and not before") {
    Log log;
    Node producer{"producer", [&log] { return logged_count(log, 2); }};
    Node reader{
        "reader",
        [&log](AsyncGenerator<int> in) { return logged_read(log, "r", 5ms, std::move(in)); },
        "in"_a = producer};
    const Log expected{"yields 1",         "r has 1",         "r is done with 1",
                       "goes on after 1",  "yields 2",        "r has 2",
                       "r is done with 2", "goes on after 2", "r ends"};
    TreeExecutor executor{producer};
    SECTION("alone") { run_all(executor); }
    SECTION("with one place") { run_all(executor.max_concurrency(1)); }
    SECTION("with one place, and the reader first") {
        reader.priority(1);
        run_all(executor.max_concurrency(1));
    }
    SECTION("as a stream") { stream_all(executor); }
    CHECK(log == expected);
}

TEST_CASE("The producer waits for the slowest of its readers") {
    Log log;
    Node producer{"producer", [&log] { return logged_count(log, 2); }};
    const auto reader = [&log](std::string name, std::chrono::milliseconds pause) {
        return [&log, name, pause](AsyncGenerator<int> in) {
            return logged_read(log, name, pause, std::move(in));
        };
    };
    Node quick{"quick", reader("q", 1ms), "in"_a = producer};
    Node slow{"slow", reader("s", 10ms), "in"_a = producer};
    run_all(TreeExecutor{producer});
    CHECK(log == Log{"yields 1", "q has 1", "s has 1", "q is done with 1", "s is done with 1",
                     "goes on after 1", "yields 2", "q has 2", "s has 2", "q is done with 2",
                     "s is done with 2", "goes on after 2", "q ends", "s ends"});
}

TEST_CASE("The consumer of the events is a reader like the others") {
    Log log;
    Node producer{"producer", [&log] { return logged_count(log, 2); }};
    Node reader{
        "reader",
        [&log](AsyncGenerator<int> in) { return logged_read(log, "r", 1ms, std::move(in)); },
        "in"_a = producer};
    const auto consume = [](AsyncGenerator<Event> events, Log& told) -> Task<> {
        while (Event* event = co_await events.next()) {
            const auto chunk = event->chunk<int>();
            if (!chunk) continue;
            told.push_back("event " + std::to_string(chunk->output));
            co_await sleep_for(10ms);
            told.push_back("event is done with " + std::to_string(chunk->output));
        }
    };
    EventLoop loop{virtual_time};
    loop.run(consume(TreeExecutor{producer}.yielding(), log));
    CHECK(log == Log{"yields 1", "event 1", "r has 1", "r is done with 1", "event is done with 1",
                     "goes on after 1", "yields 2", "event 2", "r has 2", "r is done with 2",
                     "event is done with 2", "goes on after 2", "r ends"});
}

TEST_CASE(
    "A reader starts when its other edges are settled; its producer waits at the first chunk") {
    Log log;
    Node producer{"producer", [&log] { return logged_count(log, 2); }};
    Node other{"other", [&log]() -> Task<int> {
                   co_await sleep_for(1h);
                   log.push_back("other ends");
                   co_return 100;
               }};
    Node reader{"reader",
                [&log](AsyncGenerator<int> in, int base) -> Task<int> {
                    log.push_back("reader starts");
                    int total = base;
                    while (const int* item = co_await in.next()) total += *item;
                    co_return total;
                },
                "in"_a = producer, "base"_a = other};
    Node beside{"beside", sum, "in"_a = producer};
    run_all(TreeExecutor{reader, beside});
    CHECK(log == Log{"yields 1", "other ends", "reader starts", "goes on after 1", "yields 2",
                     "goes on after 2"});
    CHECK(reader.output() == 103);
    CHECK(beside.output() == 3);
}

TEST_CASE("A reader starts no earlier than its producer") {
    Log log;
    Node before{"before", [&log]() -> Task<int> {
                    co_await sleep_for(1s);
                    log.push_back("before ends");
                    co_return 2;
                }};
    Node producer{"producer", count_to, "n"_a = before};
    Node reader{"reader",
                [&log](AsyncGenerator<int> in) {
                    log.push_back("reader starts");
                    return read_all(std::move(in));
                },
                "in"_a = producer};
    run_all(TreeExecutor{before});
    CHECK(log == Log{"before ends", "reader starts"});
    CHECK(reader.output() == Ints{1, 2});
}

TEST_CASE("A reader is a producer for others: chunks go through a chain one by one") {
    Log log;
    const auto stage = [&log](std::string name) {
        return [&log, name](AsyncGenerator<int> in) -> AsyncGenerator<int> {
            while (const int* item = co_await in.next()) {
                log.push_back(name + std::to_string(*item));
                co_yield *item;
            }
        };
    };
    Node producer{"producer", count_to, "n"_a = 2};
    Node a{"a", stage("a"), "in"_a = producer};
    Node b{"b", stage("b"), "in"_a = a};
    Node c{"c", stage("c"), "in"_a = b};
    run_all(TreeExecutor{producer});
    CHECK(log == Log{"a1", "b1", "c1", "a2", "b2", "c2"});
    CHECK(c.output() == Ints{1, 2});
}

TEST_CASE("A reader with two producers reads them by turns") {
    const auto zip = [](AsyncGenerator<int> a, AsyncGenerator<int> b) -> Task<Ints> {
        Ints both;
        for (;;) {
            const int* x = co_await a.next();
            const int* y = co_await b.next();
            if (x != nullptr) both.push_back(*x);
            if (y != nullptr) both.push_back(-*y);
            if (x == nullptr && y == nullptr) co_return both;
        }
    };
    Node one{"one", count_to, "n"_a = 2};
    Node two{"two", count_to, "n"_a = 4};
    Node reader{"reader", zip, "a"_a = one, "b"_a = two};
    TreeExecutor executor{reader};
    executor.max_concurrency(GENERATE(1U, 2U, 100U));
    run_all(executor);
    CHECK(reader.output() == Ints{1, -1, 2, -2, -3, -4});
}

TEST_CASE("Pipes that part and meet again need a buffer at the fork to be read by turns") {
    const auto zip = [](AsyncGenerator<int> a, AsyncGenerator<int> b) -> Task<Ints> {
        Ints both;
        for (;;) {
            const int* x = co_await a.next();
            const int* y = co_await b.next();
            if (x == nullptr || y == nullptr) co_return both;
            both.push_back(*x + *y);
        }
    };
    Node fork{"fork", count_to, "n"_a = 4};
    Node left{"left", add_ten, "in"_a = fork};
    Node right{"right", add_ten, "in"_a = fork};
    Node join{"join", zip, "a"_a = left, "b"_a = right};
    SECTION("without one each waits for the other, and the loop names them") {
        try {
            run_all(TreeExecutor{fork});
            FAIL("ended");
        } catch (const DeadlockError& error) {
            CHECK_THAT(error.what(), ContainsSubstring("'fork'"));
            CHECK_THAT(error.what(), ContainsSubstring("'join'"));
        }
    }
    SECTION("one chunk ahead is enough") {
        fork.buffer(1);
        run_all(TreeExecutor{fork});
        CHECK(join.output() == Ints{22, 24, 26, 28});
    }
    SECTION("as it is at its end of two pipes from one producer") {
        fork.buffer(1);
        Node twice{"twice", zip, "a"_a = fork, "b"_a = fork};
        run_all(TreeExecutor{twice});
        CHECK(twice.output() == Ints{2, 4, 6, 8});
    }
}

// ---- readers that stop early ------------------------------------------------------------------

TEST_CASE("A reader that ends early, or lets go of its generator, is waited for no more") {
    Node producer{"producer", count_to, "n"_a = 5};
    SECTION("after two chunks") {
        Node reader{"reader", read_some, "in"_a = producer, "count"_a = 2};
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == Ints{1, 2});
    }
    SECTION("at once") {
        Node reader{"reader", read_some, "in"_a = producer, "count"_a = 0};
        run_all(TreeExecutor{producer});
        CHECK(reader.output().empty());
    }
    SECTION("a plain function") {
        Node reader{"reader", [](AsyncGenerator<int>) { return 7; }, "in"_a = producer};
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == 7);
    }
    SECTION("while it goes on with something else") {
        Node reader{"reader",
                    [p = producer.ref()](AsyncGenerator<int> in) -> Task<bool> {
                        static_cast<void>(co_await in.next());
                        in = AsyncGenerator<int>();
                        co_await sleep_for(1h);
                        co_return p.lock().state() == NodeState::completed;
                    },
                    "in"_a = producer};
        run_all(TreeExecutor{producer});
        CHECK(reader.output());
    }
    SECTION("beside one that reads on") {
        Node early{"early", read_some, "in"_a = producer, "count"_a = 1};
        Node all{"all", read_all, "in"_a = producer};
        run_all(TreeExecutor{producer});
        CHECK(early.output() == Ints{1});
        CHECK(all.output() == Ints{1, 2, 3, 4, 5});
    }
    CHECK(producer.output() == Ints{1, 2, 3, 4, 5});
}

TEST_CASE("A reader may return its generator: it is cut off there, and at its end") {
    const auto keep = [](AsyncGenerator<int> in) -> Task<AsyncGenerator<int>> {
        const int* first = co_await in.next();
        if (first == nullptr || *first != 1) throw std::logic_error("no first chunk");
        co_return std::move(in);
    };
    Node producer{"producer", count_to, "n"_a = 5};
    Node reader{"reader", keep, "in"_a = producer};
    SECTION("read by nobody") {
        run_all(TreeExecutor{producer});
        CHECK(reader.state() == NodeState::completed);
    }
    SECTION("an output that is a generator is not a stream of chunks, but may be awaited later") {
        run_all(TreeExecutor{producer});
        EventLoop loop{virtual_time};
        auto& kept = const_cast<AsyncGenerator<int>&>(reader.output());
        CHECK(loop.run(sum(std::move(kept))) == 0);
    }
    CHECK(producer.output().size() == 5);
}

TEST_CASE("A plain function that hands its generator on is a stage that changes nothing") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node stage{"stage", [](AsyncGenerator<int> in) { return in; }, "in"_a = producer};
    Node reader{"reader", sum, "in"_a = stage};
    run_all(TreeExecutor{producer});
    CHECK(stage.output() == Ints{1, 2, 3});
    CHECK(reader.output() == 6);
    CHECK(stream_all(TreeExecutor{producer}) == Ints{1, 1, 2, 2, 3, 3});
}

TEST_CASE("A generator is a value like any other: bound, deferred, or made by hand") {
    Node bound{"bound", read_all, "in"_a = count_to(2)};
    Node deferred{"deferred", read_all, "in"_a = [] { return count_to(3); }};
    Node later{"later", read_all, "in"_a = []() -> Task<AsyncGenerator<int>> {
                   co_await sleep_for(1s);
                   co_return count_to(4);
               }};
    TreeExecutor executor{bound, deferred, later};
    run_all(executor);
    CHECK(bound.output() == Ints{1, 2});
    CHECK(deferred.output() == Ints{1, 2, 3});
    CHECK(later.output() == Ints{1, 2, 3, 4});
    CHECK_THROWS_AS(run_all(executor), MissingArgumentError);
    bound.bind("in"_a = count_to(1));
    run_all(executor);
    CHECK(bound.output() == Ints{1});
    CHECK(deferred.output() == Ints{1, 2, 3});
}

TEST_CASE("An executor that was given one of two readers runs without the other") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node one{"one", sum, "in"_a = producer};
    Node two{"two", read_all, "in"_a = producer};
    run_all(TreeExecutor{one});
    CHECK(one.output() == 6);
    CHECK(two.state() == NodeState::pending);
    run_all(TreeExecutor{two});
    CHECK(two.output() == Ints{1, 2, 3});
    run_all(TreeExecutor{producer});
    CHECK(one.output() == 6);
    CHECK(two.output() == Ints{1, 2, 3});
}

// ---- wiring in a run --------------------------------------------------------------------------

TEST_CASE("A pipe connected in a run is one if its producer has not started yet") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a};
    Node builder{"builder", [p = producer.ref(), r = reader.ref()] {
                     Node<Ints>(p).connect(AnyNode(r), "in"_a);
                 }};
    builder.connect(producer);
    TreeExecutor executor{builder};
    for (int i = 0; i < 2; ++i) {
        run_all(executor);
        CHECK(reader.output() == 6);
        CHECK(reader.parents().empty());
    }
}

TEST_CASE("A pipe connected in a run after its producer has started is refused") {
    Node producer{"producer", []() -> AsyncGenerator<int> {
                      co_await sleep_for(1s);
                      co_yield 1;
                  }};
    Node reader{"reader", sum, "in"_a};
    Node trigger{"trigger", [] {}};
    std::string what;
    SECTION("connected itself") {
        Node late{"late", [&what, p = producer.ref(), r = reader.ref()] {
                      try {
                          Node<Ints>(p).connect(AnyNode(r), "in"_a);
                      } catch (const SafeExecutionError& error) {
                          what = error.what();
                      }
                  }};
        run_all(TreeExecutor{producer, late});
        CHECK_THAT(what, ContainsSubstring("node 'producer' has begun to yield in the run"));
        CHECK_THAT(what, ContainsSubstring("a pipe to node 'reader'"));
        CHECK(producer.children().empty());
        CHECK(late.state() == NodeState::completed);
    }
    SECTION("one that was there, of a reader that joins the run") {
        producer.connect(reader, "in"_a);
        Node other{"other", sum, "in"_a = producer};
        Node late{"late", [&what, reader](NodeContext& context) {
                      try {
                          context.node().connect(reader);
                      } catch (const SafeExecutionError& error) {
                          what = error.what();
                      }
                  }};
        const RunReport report = try_all(TreeExecutor{other, late});
        CHECK(report.ok());
        CHECK_THAT(what, ContainsSubstring("node 'producer' has begun to yield in the run"));
        CHECK(late.children().empty());
    }
}

TEST_CASE("A reader joins a run whose producer has not started, by any of its edges") {
    Node before{"before", []() -> Task<> { co_await sleep_for(1s); }};
    Node producer{"producer", count_to, "n"_a = 3};
    before.connect(producer);
    Node wanted{"wanted", sum, "in"_a = producer};
    Node joins{"joins", sum, "in"_a = producer};
    Node late{"late", [joins](NodeContext& context) { context.node().connect(joins); }};
    run_all(TreeExecutor{wanted, late});
    CHECK(wanted.output() == 6);
    CHECK(joins.output() == 6);
}

TEST_CASE("A pipe that is disconnected in a run before its reader has started holds up nobody") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a};
    producer.connect(reader, "in"_a);
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1h); }};
    slow.connect(reader);
    Node other{"other", read_all, "in"_a = producer};
    Node cutter{"cutter", [p = producer.ref(), r = reader.ref()]() -> Task<> {
                    co_await sleep_for(1s);
                    Node<Ints>(p).disconnect(Node<int>(r));
                }};
    TreeExecutor executor{producer, slow, cutter};
    const RunReport report = try_all(executor);
    CHECK(other.output() == Ints{1, 2, 3});
    CHECK(producer.state() == NodeState::completed);
    CHECK(reader.state() >= NodeState::failed);
    run_all(TreeExecutor{producer, slow});
    CHECK(reader.output() == 6);
}

TEST_CASE("A reader that loses another parent in a run reads on") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a = producer};
    Node slow{"slow", []() -> Task<> { co_await sleep_for(1h); }};
    slow.connect(reader);
    Node cutter{"cutter", [s = slow.ref(), r = reader.ref()]() -> Task<> {
                    co_await sleep_for(1s);
                    Node<void>(s).disconnect(Node<int>(r));
                }};
    run_all(TreeExecutor{producer, slow, cutter});
    CHECK(reader.state() == NodeState::completed);
    CHECK(reader.output() == 6);
}

TEST_CASE("A redirect keeps the pipe to a listed child and cuts off the others") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node kept{"kept", sum, "in"_a = producer};
    Node cut{"cut", sum, "in"_a = producer};
    producer.on_before_run(
        [p = producer.ref(), k = kept.ref()] { Node<Ints>(p).redirect({AnyNode(k)}); });
    TreeExecutor executor{producer};
    for (int i = 0; i < 2; ++i) {
        try_all(executor);
        CHECK(kept.output() == 6);
        CHECK(cut.state() >= NodeState::failed);
        CHECK(producer.children().size() == 2);
    }
}

// ---- what is refused --------------------------------------------------------------------------

namespace {

template <class E>
std::string refusal(const TreeExecutor& executor) {
    try {
        run_all(executor);
    } catch (const E& error) {
        return error.what();
    }
    return "not refused";
}

}  // namespace

TEST_CASE("A reader that also waits for its producer's end is refused before anything starts") {
    bool started = false;
    Node producer{"producer", [&started]() -> AsyncGenerator<int> {
                      started = true;
                      co_yield 1;
                  }};
    Node reader{"reader", sum, "in"_a = producer};
    SECTION("directly") { producer.connect(reader); }
    SECTION("by what it forwards") {
        Node both{"reader", [](AsyncGenerator<int>, const Ints&) {}, "in"_a = producer,
                  "all"_a = producer};
    }
    SECTION("by way of another node") {
        Node middle{"middle", [](const Ints&) {}, "all"_a = producer};
        middle.connect(reader);
    }
    SECTION("by way of another reader") {
        Node middle{"middle", sum, "in"_a = producer};
        middle.connect(reader);
    }
    SECTION("by way of a reader's reader") {
        Node middle{"middle", add_ten, "in"_a = producer};
        Node last{"last", sum, "in"_a = middle};
        last.connect(reader);
    }
    SECTION("by way of another producer") {
        Node behind{"behind", count_to, "n"_a = 1};
        producer.connect(behind);
        behind.connect(Node{"reader", [](AsyncGenerator<int>, AsyncGenerator<int>) {},
                            "in"_a = producer, "other"_a},
                       "other"_a);
    }
    const std::string what = refusal<CycleError>(TreeExecutor{producer});
    CHECK_THAT(what, ContainsSubstring("node 'reader' reads the chunks of node 'producer' in a "
                                       "pipe, and waits for its end by another path"));
    CHECK_FALSE(started);
}

TEST_CASE("One semaphore on both ends of a pipe is refused, another one or a rate is not") {
    const Semaphore shared(10);
    Node producer{"producer", count_to, "n"_a = 3};
    Node middle{"middle", add_ten, "in"_a = producer};
    Node reader{"reader", sum, "in"_a = middle};
    SECTION("refused") {
        producer.limit(shared);
        SECTION("at the next") { middle.limit(shared); }
        SECTION("further on") { reader.limit(shared); }
        CHECK_THAT(refusal<Error>(TreeExecutor{producer}),
                   ContainsSubstring("are held together by a pipe and limited by one semaphore"));
    }
    SECTION("different ones") {
        producer.limit(shared);
        reader.limit(Semaphore(1));
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == 36);
    }
    SECTION("a rate") {
        const RateLimiter rate{1, 1s};
        producer.limit(rate);
        middle.limit(rate);
        reader.limit(rate);
        run_all(TreeExecutor{producer});
        CHECK(reader.output() == 36);
    }
}

TEST_CASE("retry at either end of a pipe is refused, and the error says why") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a = producer};
    SECTION("the reader") {
        reader.retry(2);
        CHECK_THAT(refusal<ForwardingTypeError>(TreeExecutor{producer}),
                   ContainsSubstring("node 'reader' cannot retry: parameter 'in' of node 'reader' "
                                     "reads a stream, whose chunks come once"));
    }
    SECTION("the producer") {
        producer.retry(2);
        CHECK_THAT(refusal<ForwardingTypeError>(TreeExecutor{producer}),
                   ContainsSubstring("node 'producer' cannot retry: node 'reader' reads its "
                                     "chunks in a pipe"));
    }
    SECTION("a producer whose pipe is gone may") {
        producer.retry(2);
        producer.disconnect(reader);
        run_all(TreeExecutor{producer});
        CHECK(producer.output().size() == 3);
    }
}

TEST_CASE("when on a pipe is refused when it is connected") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a};
    const auto always = [] { return true; };
    CHECK_THROWS_AS(producer.connect(reader, "in"_a, when(always)), ForwardingTypeError);
    CHECK_THROWS_AS(producer.connect(AnyNode(reader), "in"_a, when(always)), ForwardingTypeError);
    CHECK_THROWS_AS(producer.connect(reader, forward_auto, when(always)), ForwardingTypeError);
    try {
        producer.connect(reader, "in"_a = [](int x) { return x; }, when(always));
        FAIL("connected");
    } catch (const ForwardingTypeError& error) {
        CHECK_THAT(error.what(), ContainsSubstring("the edge producer -> reader") ||
                                     ContainsSubstring("the edge 'producer' -> 'reader'"));
        CHECK_THAT(error.what(), ContainsSubstring("is a pipe into parameter 'in'"));
    }
    CHECK(producer.children().empty());
    producer.connect(reader, "in"_a);
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == 6);
}

TEST_CASE("A trigger other than all_completed on a reader is refused before anything starts") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a = producer};
    reader.trigger(GENERATE(Trigger::any_completed, Trigger::all_settled));
    CHECK_THAT(refusal<ForwardingTypeError>(TreeExecutor{producer}),
               ContainsSubstring("parameter 'in' of node 'reader' takes a stream of int from node "
                                 "'producer', but the trigger"));
    reader.trigger(Trigger::all_completed);
    producer.trigger(Trigger::all_settled);
    run_all(TreeExecutor{producer});
    CHECK(reader.output() == 6);
}

TEST_CASE("A parameter that reads a stream is filled once") {
    Node producer{"producer", count_to, "n"_a = 3};
    Node reader{"reader", sum, "in"_a = producer};
    CHECK_THROWS_AS(AnyNode(producer).connect(AnyNode(reader), "in"_a), ForwardingOverrideError);
    CHECK_THROWS_AS(AnyNode(reader).bind("in"_a = count_to(1)), ForwardingOverrideError);
    Node open{"open", sum, "in"_a};
    CHECK_THROWS_AS(run_all(TreeExecutor{open}), MissingArgumentError);
}
