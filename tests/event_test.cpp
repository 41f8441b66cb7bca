#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// What a stream tells of its run, in which order, and how it holds a producer back.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

using Log = std::vector<std::string>;

std::string kind_name(EventKind kind) {
    switch (kind) {
        case EventKind::started: return "started";
        case EventKind::chunk: return "chunk";
        case EventKind::completed: return "completed";
        case EventKind::failed: return "failed";
        case EventKind::retrying: return "retrying";
        case EventKind::skipped: return "skipped";
        case EventKind::cancelled: return "cancelled";
    }
    return "unknown";
}

std::string text_of(const Event& event) {
    return event.node().id() + " " + kind_name(event.kind());
}

// All events of a run in virtual time, as texts; a final RunError as one more.
Log events_of(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    Log log;
    try {
        for (const Event& event : iterate(loop, executor.yielding())) {
            log.push_back(text_of(event));
        }
    } catch (const RunError&) {
        log.push_back("RunError");
    }
    return log;
}

AsyncGenerator<int> count_to(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
}

AsyncGenerator<int, std::string> count_and_tell(int n) {
    for (int i = 1; i <= n; ++i) co_yield i;
    co_return "counted to " + std::to_string(n);
}

}  // namespace

static_assert(!std::is_copy_constructible_v<Event>);
static_assert(std::is_nothrow_move_constructible_v<Event>);
static_assert(std::is_nothrow_move_assignable_v<Event>);

TEST_CASE("A stream tells of each start, chunk and end, in the order in which they happen") {
    Node a{"a", [] { return 3; }};
    Node b{"b", count_to, "n"_a};
    Node c{"c", [](const std::vector<int>& all) { return all.size(); }, "all"_a};
    a.connect(b, "n"_a).connect(c, "all"_a);
    CHECK(events_of(TreeExecutor{a}) == Log{"a started", "a completed", "b started", "b chunk",
                                            "b chunk", "b chunk", "b completed", "c started",
                                            "c completed"});
    CHECK(c.output() == 3);
}

TEST_CASE("The events of nodes that run side by side are in the order of time") {
    Node slow{"slow", []() -> Task<> { co_await sleep_for(2s); }};
    Node quick{"quick", []() -> Task<> { co_await sleep_for(1s); }};
    Node join{"join", [] {}};
    slow.connect(join);
    quick.connect(join);
    CHECK(events_of(TreeExecutor{join}) == Log{"slow started", "quick started", "quick completed",
                                               "slow completed", "join started", "join completed"});
}

TEST_CASE("Failed, skipped and cancelled nodes are told of as well, before RunError") {
    Node failing{"failing", []() -> Task<int> {
                     co_await sleep_for(1s);
                     throw std::runtime_error("broken");
                 }};
    Node child{"child", [](int) {}, "x"_a};
    failing.connect(child, "x"_a);
    Node beside{"beside", []() -> Task<> { co_await sleep_for(2s); }};
    Node skipping{"skipping", []() -> Task<> { co_await skip("not today"); }};
    TreeExecutor executor{failing, beside, skipping};
    CHECK(events_of(executor) == Log{"failing started", "beside started", "skipping started",
                                     "skipping skipped", "failing failed", "child skipped",
                                     "beside cancelled", "RunError"});
    executor.on_error(ErrorPolicy::keep_going);
    CHECK(events_of(executor) == Log{"failing started", "beside started", "skipping started",
                                     "skipping skipped", "failing failed", "child skipped",
                                     "beside completed", "RunError"});
}

TEST_CASE(
    "for (const Event& event : iterate(TreeExecutor{node}.yielding())) works on a temporary") {
    Node a{"a", count_to, "n"_a = 2};
    Log log;
    std::vector<int> chunks;
    for (const Event& event : iterate(TreeExecutor{a}.yielding())) {
        log.push_back(text_of(event));
        if (auto chunk = event.chunk(a)) chunks.push_back(chunk->output);
    }
    CHECK(log == Log{"a started", "a chunk", "a chunk", "a completed"});
    CHECK(chunks == std::vector<int>{1, 2});
}

TEST_CASE("chunk() finds a chunk by its node, by its type, or by both") {
    Node numbers{"numbers", count_to, "n"_a = 1};
    Node texts{"texts", []() -> AsyncGenerator<std::string> { co_yield "text"; }};
    Node more_numbers{"more_numbers", count_and_tell, "n"_a = 2};
    const AnyNode any = texts;
    const Node<std::vector<std::string>> erased = texts;
    int of_numbers = 0;
    int of_texts = 0;
    int ints = 0;
    int not_chunks = 0;
    EventLoop loop{virtual_time};
    for (const Event& event :
         iterate(loop, TreeExecutor{numbers, texts, more_numbers}.yielding())) {
        const auto by_node = event.chunk(numbers);
        static_assert(std::is_same_v<decltype(by_node), const std::optional<Chunk<int>>>);
        if (by_node) {
            ++of_numbers;
            CHECK(by_node->node == "numbers");
            CHECK(by_node->output == 1);
        }
        const auto text = event.chunk<std::string>(any);
        if (text) {
            ++of_texts;
            CHECK(text->output == "text");
            CHECK(text->node == "texts");
            CHECK(event.chunk(texts).has_value());
            CHECK(event.chunk<std::string>(erased).has_value());
            CHECK(event.chunk<std::string>().has_value());
            CHECK_FALSE(event.chunk<const char*>(any).has_value());
            CHECK_FALSE(event.chunk<std::string>(AnyNode(numbers)).has_value());
        }
        if (event.chunk<int>()) {
            ++ints;
            CHECK_FALSE(event.chunk<std::string>().has_value());
            CHECK_FALSE(event.chunk<long>().has_value());
            CHECK_FALSE(event.chunk<unsigned>().has_value());
        }
        if (event.kind() != EventKind::chunk) {
            ++not_chunks;
            CHECK_FALSE(event.chunk(numbers).has_value());
            CHECK_FALSE(event.chunk<int>().has_value());
        }
        const int kinds = (event.chunk<int>() ? 1 : 0) + (event.chunk<std::string>() ? 1 : 0);
        CHECK(kinds == (event.kind() == EventKind::chunk ? 1 : 0));
    }
    CHECK(of_numbers == 1);
    CHECK(of_texts == 1);
    CHECK(ints == 3);
    CHECK(not_chunks == 6);
}

TEST_CASE("completed(node) is true of that node's completion only, and its output is there") {
    Node a{"a", [] { return 1; }};
    Node b{"b", [](int x) { return x + 1; }, "x"_a};
    a.connect(b, "x"_a);
    int of_a = 0;
    int of_b = 0;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{a}.yielding())) {
        if (event.completed(a)) {
            ++of_a;
            CHECK(event.kind() == EventKind::completed);
            CHECK(event.node() == a);
            CHECK(a.output() == 1);
            CHECK(a.state() == NodeState::completed);
        }
        if (event.completed(b)) {
            ++of_b;
            CHECK(b.output() == 2);
        }
        CHECK_FALSE(event.completed(AnyNode()));
        CHECK(event.error() == nullptr);
    }
    CHECK(of_a == 1);
    CHECK(of_b == 1);
}

TEST_CASE("error() is the failure of a failed event, and null of any other") {
    Node failing{"failing", []() -> AsyncGenerator<int> {
                     co_yield 1;
                     throw std::runtime_error("broken");
                 }};
    Node child{"child", [] {}};
    failing.connect(child);
    int failures = 0;
    int others = 0;
    EventLoop loop{virtual_time};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{failing}.yielding();
        while (auto event = co_await events.next()) {
            const NodeError* error = event->error();
            if (event->kind() != EventKind::failed) {
                ++others;
                CHECK(error == nullptr);
                continue;
            }
            ++failures;
            REQUIRE(error != nullptr);
            CHECK(error->node() == failing);
            CHECK_THAT(error->what(),
                       ContainsSubstring("'failing'") && ContainsSubstring("broken"));
            CHECK_THROWS_AS(std::rethrow_exception(error->cause()), std::runtime_error);
            CHECK_THROWS_AS(failing.output(), NodeError);
        }
    };
    CHECK_THROWS_AS(loop.run(consume()), RunError);
    CHECK(failures == 1);
    CHECK(others == 3);
}

TEST_CASE("next() throws the RunError of a failed run once, and is empty after it") {
    Node failing{"failing", [] { throw std::runtime_error("broken"); }};
    EventLoop loop{virtual_time};
    Log log;
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{failing}.yielding();
        for (int i = 0; i < 5; ++i) {
            try {
                const Event* event = co_await events.next();
                log.push_back(event != nullptr ? text_of(*event) : "end");
            } catch (const RunError& error) {
                CHECK(error.errors().size() == 1);
                log.push_back("RunError");
            }
        }
    };
    loop.run(consume());
    CHECK(log == Log{"failing started", "failing failed", "RunError", "end", "end"});
}

TEST_CASE("A generator's result comes with its completion, after its last chunk was taken") {
    Node counting{"counting", count_and_tell, "n"_a = 3};
    std::vector<int> chunks;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{counting}.yielding())) {
        if (auto chunk = event.chunk(counting)) {
            chunks.push_back(chunk->output);
            CHECK(counting.state() == NodeState::running);
            CHECK_THROWS_AS(counting.output(), OutputUnavailableError);
        }
        if (event.completed(counting)) {
            CHECK(chunks == std::vector<int>{1, 2, 3});
            CHECK(counting.output() == "counted to 3");
        }
    }
    CHECK(counting.output() == "counted to 3");
}

TEST_CASE("A generator's chunks are its output, the same whether it was streamed or run") {
    Node counting{"counting", count_to, "n"_a = 3};
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{counting}.run());
    CHECK(counting.output() == std::vector<int>{1, 2, 3});
    events_of(TreeExecutor{counting});
    CHECK(counting.output() == std::vector<int>{1, 2, 3});
}

TEST_CASE("collect(false) keeps no chunk: output() says so, and no edge may want them") {
    Counted::reset();
    {
        Node generator{"generator", []() -> AsyncGenerator<Counted> {
                           for (int i = 0; i < 10; ++i) {
                               Counted chunk(i);
                               co_yield chunk;
                           }
                       }};
        generator.collect(false);
        EventLoop loop{virtual_time};
        loop.run(TreeExecutor{generator}.run());
        CHECK(Counted::copies() == 0);
        CHECK(Counted::live() == 0);
        CHECK(generator.state() == NodeState::completed);
        CHECK_THROWS_WITH(generator.output(),
                          ContainsSubstring("'generator'") && ContainsSubstring("collect(false)"));
        CHECK(events_of(TreeExecutor{generator}).size() == 12);
        CHECK(Counted::copies() == 0);

        Node child{"child", [](const std::vector<Counted>&) {}, "all"_a};
        generator.connect(child, "all"_a);
        CHECK_THROWS_AS(loop.run(TreeExecutor{generator}.run()), ForwardingTypeError);
        generator.collect(true);
        loop.run(TreeExecutor{generator}.run());
        CHECK(generator.output().size() == 10);
        CHECK(child.state() == NodeState::completed);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A chunk is the very object in the producer's frame, never a copy") {
    const void* in_frame = nullptr;
    Counted::reset();
    Node generator{"generator", [&]() -> AsyncGenerator<Counted, int> {
                       Counted chunk(1);
                       in_frame = &chunk;
                       co_yield chunk;
                       co_yield chunk;
                       co_return 1;
                   }};
    int seen = 0;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{generator}.yielding())) {
        if (auto chunk = event.chunk(generator)) {
            ++seen;
            CHECK(&chunk->output == in_frame);
        }
    }
    CHECK(seen == 2);
    CHECK(Counted::copies() + Counted::moves() == 0);
}

TEST_CASE("Chunks of a move-only type are streamed") {
    Node generator{"generator", []() -> AsyncGenerator<std::unique_ptr<int>> {
                       for (int i = 0; i < 3; ++i) {
                           auto chunk = std::make_unique<int>(i);
                           co_yield chunk;
                       }
                   }};
    std::vector<int> seen;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{generator}.yielding())) {
        if (auto chunk = event.chunk(generator)) seen.push_back(*chunk->output);
    }
    CHECK(seen == std::vector<int>{0, 1, 2});
}

// ---- holding back -------------------------------------------------------------------------------

TEST_CASE("A producer never runs ahead: one chunk of each is alive while the consumer is slow") {
    Counted::reset();
    {
        std::map<std::string, int> yielded;
        std::map<std::string, int> taken;
        std::vector<AnyNode> producers;
        for (const char* name : {"a", "b", "c"}) {
            producers.push_back(Node{
                name, [&yielded, id = std::string(name)]() -> AsyncGenerator<Counted> {
                    for (int i = 0; i < 20; ++i) {
                        Counted chunk(i);
                        ++yielded[id];
                        co_yield chunk;
                    }
                }}.collect(false));
        }
        int most = 0;
        EventLoop loop{virtual_time};
        const auto consume = [&]() -> Task<> {
            auto events = TreeExecutor{producers}.yielding();
            while (auto event = co_await events.next()) {
                if (auto chunk = event->chunk<Counted>()) {
                    const std::string id(chunk->node);
                    const int before = taken[id]++;
                    CHECK(chunk->output.value == before);
                    co_await sleep_for(1s);
                    CHECK(chunk->output.value == before);
                    CHECK(yielded[id] == taken[id]);  // it waits at the chunk that is held
                    most = std::max(most, Counted::live());
                }
            }
        };
        loop.run(consume());
        CHECK(most == 3);
        CHECK(taken == std::map<std::string, int>{{"a", 20}, {"b", 20}, {"c", 20}});
        CHECK(loop.now().time_since_epoch() == 60s);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("The chunks of several producers take turns: none waits for another to end") {
    std::vector<AnyNode> producers;
    for (const char* name : {"a", "b", "c"}) {
        producers.push_back(Node{name, []() -> AsyncGenerator<int> {
                                     for (int i = 0; i < 4; ++i) co_yield i;
                                 }});
    }
    std::string order;
    EventLoop loop{virtual_time};
    for (const Event& event : iterate(loop, TreeExecutor{producers}.yielding())) {
        if (event.kind() == EventKind::chunk) order += event.node().id();
    }
    REQUIRE(order.size() == 12);
    for (std::size_t i = 0; i + 3 <= order.size(); i += 3) {
        std::string round = order.substr(i, 3);
        std::sort(round.begin(), round.end());
        CHECK(round == "abc");
    }
}

TEST_CASE("Events that are no chunks hold nobody: a plain graph runs on while nobody reads") {
    std::vector<AnyNode> chain;
    int calls = 0;
    for (int i = 0; i < 50; ++i) {
        AnyNode node = Node{"node" + std::to_string(i), [&calls] { ++calls; }};
        if (i > 0) chain.back().connect(node);
        chain.push_back(node);
    }
    EventLoop loop{virtual_time};
    int count = 1;
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{chain.front()}.yielding();
        const Event* first = co_await events.next();
        REQUIRE(first != nullptr);
        co_await sleep_for(1s);
        CHECK(calls == 50);
        while (co_await events.next()) ++count;
    };
    loop.run(consume());
    CHECK(count == 100);
}

TEST_CASE("Under run() nobody reads, and no producer is parked: its time is its own") {
    Node generator{"generator", []() -> AsyncGenerator<int, int> {
                       int i = 0;
                       for (; i < 1000; ++i) {
                           if (i % 100 == 0) co_await sleep_for(1ms);
                           co_yield i;
                       }
                       co_return i;
                   }};
    generator.timeout(11ms);
    Node beside{"beside", []() -> Task<> { co_await sleep_for(5ms); }};
    EventLoop loop{virtual_time};
    TreeExecutor executor{generator, beside};
    executor.max_concurrency(2);
    const RunReport report = loop.run(executor.run());
    CHECK(report.elapsed() == 10ms);
    CHECK(generator.output() == 1000);
}

TEST_CASE("A node whose chunk is held, or waits to be, takes no place under max_concurrency") {
    Node producer{"producer", count_to, "n"_a = 2};
    int calls = 0;
    Node other{"other", [&] { ++calls; }};
    TreeExecutor executor{producer, other};
    executor.max_concurrency(1);
    EventLoop loop{virtual_time};
    Log log;
    const auto consume = [&]() -> Task<> {
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            log.push_back(text_of(*event));
            if (event->chunk(producer) && calls == 0) {
                co_await sleep_for(1s);
                CHECK(calls == 1);
            }
        }
    };
    loop.run(consume());
    CHECK(log == Log{"producer started", "producer chunk", "other started", "other completed",
                     "producer chunk", "producer completed"});
}

TEST_CASE("A producer goes on only when there is a place for it again under max_concurrency") {
    int running = 0;
    int most = 0;
    const auto body = [&](int n) -> AsyncGenerator<int> {
        for (int i = 0; i < n; ++i) {
            ++running;
            most = std::max(most, running);
            co_await sleep_for(1s);
            --running;
            co_yield i;
        }
    };
    std::vector<AnyNode> nodes;
    for (int i = 0; i < 6; ++i) nodes.push_back(Node{"node", body, "n"_a = 5});
    TreeExecutor executor{nodes};
    executor.max_concurrency(2);
    EventLoop loop{virtual_time};
    int chunks = 0;
    for (const Event& event : iterate(loop, executor.yielding())) {
        if (event.kind() == EventKind::chunk) ++chunks;
    }
    CHECK(chunks == 30);
    CHECK(most == 2);
    CHECK(loop.now().time_since_epoch() == 15s);
}

TEST_CASE("The time that a node is parked on a chunk does not count for its timeout") {
    const bool too_slow = GENERATE(false, true);
    // Three seconds of its own in all.
    Node producer{"producer", []() -> AsyncGenerator<int> {
                      for (int i = 0; i < 3; ++i) {
                          co_await sleep_for(1s);
                          co_yield i;
                      }
                  }};
    producer.timeout(too_slow ? 2999ms : 3001ms);
    EventLoop loop{virtual_time};
    int chunks = 0;
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{producer}.yielding();
        try {
            while (auto event = co_await events.next()) {
                if (!event->chunk(producer)) continue;
                ++chunks;
                co_await sleep_for(1h);
            }
        } catch (const RunError&) {
        }
    };
    loop.run(consume());
    CHECK(chunks == (too_slow ? 2 : 3));
    CHECK(producer.state() == (too_slow ? NodeState::failed : NodeState::completed));
}

TEST_CASE("An event may be moved out and outlives the step, but its chunk does not") {
    Node a{"a", [] { return 1; }};
    Node b{"b", [](int x) { return x; }, "x"_a};
    a.connect(b, "x"_a);
    std::vector<Event> kept;
    EventLoop loop{virtual_time};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{a}.yielding();
        while (auto event = co_await events.next()) kept.push_back(std::move(*event));
    };
    loop.run(consume());
    REQUIRE(kept.size() == 4);
    CHECK(text_of(kept[0]) == "a started");
    CHECK(text_of(kept[3]) == "b completed");
}

TEST_CASE("A node's completion is told before its children start, in state and in event") {
    Node parent{"parent", [] { return 1; }};
    std::vector<AnyNode> children;
    for (int i = 0; i < 3; ++i) {
        Node child{"child" + std::to_string(i), [](int) {}, "x"_a};
        parent.connect(child, "x"_a);
        children.push_back(child);
    }
    EventLoop loop{virtual_time};
    bool told = false;
    for (const Event& event : iterate(loop, TreeExecutor{parent}.yielding())) {
        if (event.completed(parent)) {
            told = true;
            for (const AnyNode& child : children) CHECK(child.state() <= NodeState::ready);
        }
        if (event.node() != parent) CHECK(told);
    }
    CHECK(told);
}

// ---- random graphs ------------------------------------------------------------------------------

namespace {

// A small graph of random shape whose nodes end in random ways, and a simple model of it.
class RandomGraph {
public:
    enum class Outcome { completes, fails, skips, times_out };

    explicit RandomGraph(std::uint32_t seed) : random_(seed) {
        const std::size_t count = 2 + below(9);
        for (std::size_t i = 0; i < count; ++i) add(i);
    }

    [[nodiscard]] std::size_t size() const { return nodes.size(); }

    // What the node gives if nothing goes wrong above it: by recursion, without the library.
    [[nodiscard]] long value(std::size_t i) const {
        long sum = static_cast<long>(i) + 1;
        for (const std::size_t p : parents[i]) sum += value(p);
        return sum;
    }
    // How the node ends if nothing is cancelled.
    [[nodiscard]] NodeState end_of(std::size_t i) const {
        for (const std::size_t p : parents[i]) {
            if (end_of(p) != NodeState::completed) return NodeState::skipped;
        }
        switch (outcomes[i]) {
            case Outcome::completes: return NodeState::completed;
            case Outcome::skips: return NodeState::skipped;
            default: return NodeState::failed;
        }
    }
    [[nodiscard]] std::size_t index_of(const AnyNode& node) const {
        for (std::size_t i = 0; i < size(); ++i) {
            if (node == nodes[i]) return i;
        }
        FAIL("a node that is not of this graph");
        return 0;
    }
    [[nodiscard]] bool all_parents(std::size_t i, NodeState state) const {
        return std::all_of(parents[i].begin(), parents[i].end(),
                           [&](std::size_t p) { return nodes[p].state() == state; });
    }

    std::vector<Node<long>> nodes;
    std::vector<std::vector<std::size_t>> parents;
    std::vector<Outcome> outcomes;
    std::vector<int> chunks;  // how many the node yields before its end

private:
    struct Plan {
        explicit Plan(std::size_t i, Outcome o, std::chrono::milliseconds d, int c)
            : base(static_cast<long>(i) + 1), outcome(o), duration(d), chunks(c) {}
        void end() const {
            if (outcome == Outcome::fails) throw std::runtime_error("broken");
            if (outcome == Outcome::skips) throw Skip("not today");
        }
        [[nodiscard]] long sum(const std::vector<long>& parts) const {
            long result = base;
            for (const long part : parts) result += part;
            return result;
        }
        long base;
        Outcome outcome;
        std::chrono::milliseconds duration;
        int chunks;
    };
    static long plainly(const Plan& plan, const std::vector<long>& parts) {
        plan.end();
        return plan.sum(parts);
    }
    static Task<long> slowly(Plan plan, std::vector<long> parts) {
        co_await sleep_for(plan.duration);
        plan.end();
        co_return plan.sum(parts);
    }
    static AsyncGenerator<int, long> in_chunks(Plan plan, std::vector<long> parts) {
        for (int i = 0; i < plan.chunks; ++i) co_yield i;
        co_await sleep_for(plan.duration);
        plan.end();
        co_return plan.sum(parts);
    }

    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_()) % n; }

    template <class Body>
    Node<long> make(const std::string& id, const Plan& plan, bool alone, Body body) {
        if (alone) {
            return Node{id, [plan, body] { return body(plan, std::vector<long>()); }};
        }
        return Node{id, [plan, body](const std::vector<long>& parts) { return body(plan, parts); },
                    "parts"_args};
    }

    void add(std::size_t i) {
        std::vector<std::size_t> above;
        for (std::size_t p = 0; p < i; ++p) {
            if (below(100) < 30) above.push_back(p);
        }
        const std::size_t dice = below(100);
        const Outcome outcome = dice < 72   ? Outcome::completes
                                : dice < 84 ? Outcome::fails
                                : dice < 94 ? Outcome::skips
                                            : Outcome::times_out;
        const std::size_t kind = outcome == Outcome::times_out ? 1 + below(2) : below(3);
        const std::chrono::milliseconds duration(below(4));
        const Plan plan(i, outcome, outcome == Outcome::times_out ? 1h : duration,
                        static_cast<int>(kind == 2 ? below(4) : 0));
        const std::string id = "node" + std::to_string(i);
        const auto made = kind == 0   ? make(id, plan, above.empty(), plainly)
                          : kind == 1 ? make(id, plan, above.empty(), slowly)
                                      : make(id, plan, above.empty(), in_chunks);
        if (outcome == Outcome::times_out) made.timeout(2ms);
        // Some edges take a transform, some of these wait.
        for (const std::size_t p : above) {
            switch (below(3)) {
                case 0: nodes[p].connect(made, "parts"_a); break;
                case 1: nodes[p].connect(made, "parts"_a = [](long x) { return x; }); break;
                default:
                    nodes[p].connect(
                        made, "parts"_a = [](long x) -> Task<long> {
                            co_await sleep_for(1ms);
                            co_return x;
                        });
                    break;
            }
        }
        nodes.push_back(made);
        parents.push_back(std::move(above));
        outcomes.push_back(outcome);
        chunks.push_back(plan.chunks);
    }

    std::mt19937 random_;
};

// What each of the graph's nodes ended as, against the model and the report.
void check_ends(const RandomGraph& graph, const RunReport& report, ErrorPolicy policy) {
    std::vector<int> listed(graph.size(), 0);
    const auto check_list = [&](const std::vector<AnyNode>& list, NodeState state) {
        for (const AnyNode& node : list) {
            CHECK(node.state() == state);
            ++listed[graph.index_of(node)];
        }
    };
    check_list(report.completed(), NodeState::completed);
    check_list(report.failed(), NodeState::failed);
    check_list(report.skipped(), NodeState::skipped);
    check_list(report.cancelled(), NodeState::cancelled);
    CHECK(listed == std::vector<int>(graph.size(), 1));
    CHECK(report.errors().size() == report.failed().size());
    CHECK(report.ok() == report.failed().empty());
    for (std::size_t i = 0; i < graph.size(); ++i) {
        CAPTURE(i);
        const NodeState state = graph.nodes[i].state();
        if (policy == ErrorPolicy::keep_going || report.ok()) CHECK(state == graph.end_of(i));
        switch (state) {
            case NodeState::completed:
                CHECK(graph.end_of(i) == state);
                CHECK(graph.all_parents(i, NodeState::completed));
                CHECK(graph.nodes[i].output() == graph.value(i));
                break;
            case NodeState::failed:
                CHECK(graph.end_of(i) == state);
                CHECK(graph.all_parents(i, NodeState::completed));
                CHECK_THROWS_AS(graph.nodes[i].output(), NodeError);
                break;
            case NodeState::skipped:
                CHECK((graph.end_of(i) == state || !graph.all_parents(i, NodeState::completed)));
                CHECK_THROWS_AS(graph.nodes[i].output(), OutputUnavailableError);
                break;
            default:
                CHECK(policy == ErrorPolicy::fail_fast);
                CHECK_FALSE(report.failed().empty());
                break;
        }
    }
}

}  // namespace

TEST_CASE("Every node of a random graph ends in exactly one state, the one of a simple model") {
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    std::map<NodeState, int> ends;
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        CAPTURE(seed, static_cast<int>(policy));
        const RandomGraph graph(seed);
        TreeExecutor executor{graph.nodes};
        executor.on_error(policy).max_concurrency(1 + seed % 4);
        EventLoop loop{virtual_time};
        for (int again = 0; again < 2; ++again) {
            check_ends(graph, loop.run(executor.try_run()), policy);
        }
        for (const Node<long>& node : graph.nodes) ++ends[node.state()];
    }
    // The graphs are no poor ones.
    CHECK(ends[NodeState::completed] > 200);
    CHECK(ends[NodeState::failed] > 100);
    CHECK(ends[NodeState::skipped] > 100);
    CHECK((ends[NodeState::cancelled] > 50) == (policy == ErrorPolicy::fail_fast));
}

TEST_CASE("The events of a random graph tell of each node its start, its chunks, and one end") {
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    int chunks_seen = 0;
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        CAPTURE(seed, static_cast<int>(policy));
        const RandomGraph graph(seed);
        TreeExecutor executor{graph.nodes};
        executor.on_error(policy).max_concurrency(1 + seed % 4);
        EventLoop loop{virtual_time};
        struct Seen {
            int started = 0;
            int chunks = 0;
            int ends = 0;
            NodeState end = NodeState::pending;
        };
        std::vector<Seen> seen(graph.size());
        std::map<NodeState, std::vector<AnyNode>> lists;
        bool failed = false;
        const auto end = [&](const Event& event, NodeState state) {
            Seen& of_node = seen[graph.index_of(event.node())];
            ++of_node.ends;
            of_node.end = state;
            lists[state].push_back(event.node());
        };
        try {
            for (const Event& event : iterate(loop, executor.yielding())) {
                const std::size_t i = graph.index_of(event.node());
                CHECK(seen[i].ends == 0);  // nothing comes after the end
                CHECK((event.error() != nullptr) == (event.kind() == EventKind::failed));
                switch (event.kind()) {
                    case EventKind::started:
                        CHECK(++seen[i].started == 1);
                        CHECK(seen[i].chunks == 0);
                        for (const std::size_t p : graph.parents[i]) {
                            CHECK(seen[p].end == NodeState::completed);
                        }
                        break;
                    case EventKind::chunk:
                        ++chunks_seen;
                        CHECK(seen[i].started == 1);
                        REQUIRE(event.chunk<int>().has_value());
                        CHECK(event.chunk<int>()->output == seen[i].chunks++);
                        break;
                    case EventKind::completed:
                        CHECK(seen[i].started == 1);
                        CHECK(seen[i].chunks == graph.chunks[i]);
                        CHECK(graph.nodes[i].output() == graph.value(i));
                        end(event, NodeState::completed);
                        break;
                    case EventKind::failed: end(event, NodeState::failed); break;
                    case EventKind::skipped: end(event, NodeState::skipped); break;
                    case EventKind::cancelled: end(event, NodeState::cancelled); break;
                    case EventKind::retrying: FAIL("nothing is tried again here"); break;
                }
            }
        } catch (const RunError& error) {
            failed = true;
            CHECK(error.errors().size() == lists[NodeState::failed].size());
        }
        const RunReport report = executor.report();
        CHECK(failed == !report.ok());
        for (std::size_t i = 0; i < graph.size(); ++i) {
            CHECK(seen[i].ends == 1);
            CHECK(seen[i].end == graph.nodes[i].state());
            if (seen[i].end == NodeState::completed) CHECK(seen[i].started == 1);
            if (!graph.all_parents(i, NodeState::completed)) CHECK(seen[i].started == 0);
        }
        CHECK(lists[NodeState::completed] == report.completed());
        CHECK(lists[NodeState::failed] == report.failed());
        CHECK(lists[NodeState::skipped] == report.skipped());
        CHECK(lists[NodeState::cancelled] == report.cancelled());
        check_ends(graph, report, policy);
    }
    CHECK(chunks_seen > 300);
}
