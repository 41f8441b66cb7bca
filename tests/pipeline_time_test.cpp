#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

// How long a graph takes, to the nanosecond, in virtual time: the longest path through it, and no
// node starts a moment before, or after, the last of what it needs.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

namespace {

nanoseconds now() { return EventLoop::current().now().time_since_epoch(); }

nanoseconds time_of(const EventLoop& loop) { return loop.now().time_since_epoch(); }

// When a node's body began and ended, and how often it began.
struct Span {
    nanoseconds start{-1};
    nanoseconds end{-1};
    int starts = 0;
};

Task<int> take_time(Span& span, nanoseconds duration, int value) {
    ++span.starts;
    span.start = now();
    co_await sleep_for(duration);
    span.end = now();
    co_return value;
}

// Equal on every platform, unlike std::uniform_int_distribution.
class Random {
public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_()) % n; }
    bool chance(std::size_t percent) { return below(100) < percent; }
    nanoseconds duration() {
        return nanoseconds(static_cast<nanoseconds::rep>(below(1'000'000'007)));
    }
    template <class T>
    void shuffle(std::vector<T>& items) {
        for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
    }

private:
    std::mt19937 engine_;
};

}  // namespace

TEST_CASE("A diamond takes as long as its longer side") {
    //   extract ── clean ──┐
    //      └──── enrich ── load
    Span spans[4];
    const auto load_both = [&](int a, int b) { return take_time(spans[3], 500ms, a + b); };
    Node extract{"extract", [&] { return take_time(spans[0], 1s, 1); }};
    Node clean{"clean", [&](int x) { return take_time(spans[1], 2s, x * 10); }, "x"_a};
    Node enrich{"enrich", [&](int x) { return take_time(spans[2], 3s + 7ns, x * 100); }, "x"_a};
    Node load{"load", load_both, "a"_a, "b"_a};
    extract.connect(clean, "x"_a).connect(load, "a"_a);
    extract.connect(enrich, "x"_a).connect(load, "b"_a);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{extract}.run());
    CHECK(load.output() == 110);
    CHECK(spans[1].start == 1s);
    CHECK(spans[2].start == 1s);
    CHECK(spans[3].start == 4s + 7ns);
    CHECK(time_of(loop) == 4s + 507ms - 7ms + 7ns);
    CHECK(report.elapsed() == 4500000007ns);
    CHECK(enrich.runtime() == 3s + 7ns);
    CHECK(load.runtime() == 500ms);
}

TEST_CASE("A chain takes the sum of its parts, any number of them side by side the longest") {
    std::vector<Span> spans(100);
    std::vector<Node<int>> chain;
    nanoseconds sum{};
    nanoseconds longest{};
    Random random(1);
    std::vector<Node<int>> side_by_side;
    for (std::size_t i = 0; i < spans.size(); ++i) {
        const nanoseconds duration = random.duration();
        sum += duration;
        longest = std::max(longest, duration);
        const auto body = [&span = spans[i], duration] { return take_time(span, duration, 0); };
        chain.push_back(Node{"link" + std::to_string(i), body});
        side_by_side.push_back(Node{"side" + std::to_string(i), body});
        if (i > 0) chain[i - 1].connect(chain[i]);
    }
    EventLoop loop{virtual_time};
    CHECK(loop.run(TreeExecutor{chain.front()}.run()).elapsed() == sum);
    for (std::size_t i = 1; i < spans.size(); ++i) CHECK(spans[i].start == spans[i - 1].end);
    CHECK(loop.run(TreeExecutor{side_by_side}.run()).elapsed() == longest);
    CHECK(time_of(loop) == sum + longest);
}

TEST_CASE("Random graphs take exactly their critical path, run or streamed, from roots or sinks") {
    for (std::uint32_t seed = 0; seed < 120; ++seed) {
        CAPTURE(seed);
        Random random(seed);
        const std::size_t count = 1 + random.below(24);
        std::vector<Span> spans(count);
        std::vector<Node<int>> nodes;
        std::vector<nanoseconds> ready(count, 0ns);
        std::vector<nanoseconds> done(count);
        std::vector<bool> has_parent(count, false);
        std::vector<int> values(count);
        for (std::size_t i = 0; i < count; ++i) {
            const nanoseconds duration = random.chance(10) ? 0ns : random.duration();
            values[i] = static_cast<int>(i);
            const auto body = [&span = spans[i], duration,
                               i](const std::vector<int>& parts) -> Task<int> {
                const int sum = std::accumulate(parts.begin(), parts.end(), static_cast<int>(i));
                return take_time(span, duration, sum);
            };
            std::vector<AnyNode> none;
            const auto alone = [body] { return body(std::vector<int>()); };
            std::vector<std::size_t> parents;
            for (std::size_t p = 0; p < i; ++p) {
                if (random.chance(20)) parents.push_back(p);
            }
            if (parents.empty()) {
                nodes.push_back(Node{"node" + std::to_string(i), alone});
            } else {
                nodes.push_back(Node{"node" + std::to_string(i), body, "parts"_args});
            }
            for (const std::size_t p : parents) {
                // Some of the edges take time of their own.
                nanoseconds on_edge{};
                if (random.chance(30)) {
                    on_edge = random.duration();
                    nodes[p].connect(
                        nodes[i], "parts"_a = [on_edge](int x) -> Task<int> {
                            co_await sleep_for(on_edge);
                            co_return x;
                        });
                } else {
                    nodes[p].connect(nodes[i], "parts"_a);
                }
                has_parent[i] = true;
                ready[i] = std::max(ready[i], done[p] + on_edge);
                values[i] += values[p];
            }
            done[i] = ready[i] + duration;
        }
        const nanoseconds longest = *std::max_element(done.begin(), done.end());
        const bool streamed = random.chance(50);
        std::vector<Node<int>> given;
        for (std::size_t i = 0; i < count; ++i) {
            const bool is_sink = nodes[i].children().empty();
            if (seed % 2 == 0 ? !has_parent[i] : is_sink) given.push_back(nodes[i]);
        }
        random.shuffle(given);
        EventLoop loop{virtual_time};
        const TreeExecutor executor{given};
        if (streamed) {
            for (const Event& event : iterate(loop, executor.yielding())) {
                CHECK(event.kind() <= EventKind::completed);
            }
        } else {
            loop.run(executor.run());
        }
        CHECK(time_of(loop) == longest);
        CHECK(executor.report().elapsed() == longest);
        for (std::size_t i = 0; i < count; ++i) {
            CAPTURE(i);
            CHECK(spans[i].starts == 1);
            CHECK(spans[i].start == ready[i]);
            CHECK(spans[i].end == done[i]);
            CHECK(nodes[i].output() == values[i]);
            CHECK(nodes[i].runtime() == done[i] - ready[i]);
        }
    }
}

// ---- fan-in -------------------------------------------------------------------------------------

TEST_CASE("A list is filled in connection order, whatever the order in which the parents end") {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
        CAPTURE(seed);
        Random random(seed);
        std::vector<int> order(100);
        std::iota(order.begin(), order.end(), 0);
        random.shuffle(order);
        int calls = 0;
        Node gather_all{"gather_all",
                        [&](std::vector<int> parts) {
                            ++calls;
                            return parts;
                        },
                        "parts"_args};
        std::vector<AnyNode> parents;
        for (int i = 0; i < 100; ++i) {
            const auto body = [](int value, nanoseconds duration) -> Task<int> {
                co_await sleep_for(duration);
                co_return value;
            };
            Node parent{"parent", body, "value"_a = i,
                        "duration"_a = nanoseconds(order[static_cast<std::size_t>(i)] * 1ms)};
            parent.connect(gather_all, "parts"_a);
            parents.push_back(parent);
        }
        std::vector<int> expected(100);
        std::iota(expected.begin(), expected.end(), 0);
        EventLoop loop{virtual_time};
        loop.run(TreeExecutor{parents}.run());
        CHECK(gather_all.output() == expected);
        CHECK(calls == 1);
        CHECK(time_of(loop) == 99ms);
    }
}

TEST_CASE("Parents of one type fill the parameters that they were connected to, in any order") {
    for (std::uint32_t seed = 0; seed < 24; ++seed) {
        std::vector<int> order{0, 1, 2, 3};
        Random(seed).shuffle(order);
        const auto digits = [](int a, int b, int c, int d) {
            return ((a * 10 + b) * 10 + c) * 10 + d;
        };
        Node child{"child", digits, "a"_a, "b"_a, "c"_a, "d"_a};
        const auto body = [](int value, int delay) -> Task<int> {
            co_await sleep_for(std::chrono::seconds(delay));
            co_return value;
        };
        std::vector<Node<int>> parents;
        for (int i = 0; i < 4; ++i) {
            parents.push_back(Node{"parent", body, "value"_a = i + 1,
                                   "delay"_a = order[static_cast<std::size_t>(i)]});
        }
        parents[2].connect(child, "c"_a);
        parents[0].connect(child, "a"_a);
        parents[3].connect(child, "d"_a);
        parents[1].connect(child, "b"_a);
        EventLoop loop{virtual_time};
        loop.run(TreeExecutor{child}.run());
        CHECK(child.output() == 1234);
        CHECK(time_of(loop) == 3s);
    }
}

TEST_CASE("100 parents with transforms that wait, ending in every order, start their child once") {
    constexpr int parent_count = 100;
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
        CAPTURE(seed);
        Random random(seed);
        std::vector<int> parent_order(parent_count);
        std::vector<int> transform_order(parent_count);
        std::iota(parent_order.begin(), parent_order.end(), 0);
        std::iota(transform_order.begin(), transform_order.end(), 0);
        random.shuffle(parent_order);
        random.shuffle(transform_order);
        const bool ties = seed % 3 == 0;  // many then end in one moment
        const auto milliseconds = [ties](int k) {
            return std::chrono::milliseconds(ties ? k / 7 : k);
        };

        int starts = 0;
        int transforms_done = 0;
        std::vector<int> seen;
        Span span;
        Node child{"child",
                   [&](const std::vector<int>& parts) -> Task<int> {
                       ++starts;
                       seen = parts;
                       CHECK(transforms_done == parent_count);
                       return take_time(span, 1ms, 7);
                   },
                   "parts"_args};
        Node grandchild{"grandchild", [](int x) { return x; }, "x"_a = child};
        std::vector<AnyNode> parents;
        nanoseconds last{};
        for (std::size_t i = 0; i < parent_count; ++i) {
            const nanoseconds of_parent = milliseconds(parent_order[i]);
            const nanoseconds of_transform = milliseconds(transform_order[i]);
            const int value = static_cast<int>(i);
            Node parent{"parent", [of_parent, value]() -> Task<int> {
                            co_await sleep_for(of_parent);
                            co_return value;
                        }};
            switch (i % 3) {
                case 0:
                case 1:
                    parent.connect(
                        child, "parts"_a = [&transforms_done, of_transform](int x) -> Task<int> {
                            co_await sleep_for(of_transform);
                            ++transforms_done;
                            co_return x * 2;
                        });
                    last = std::max(last, of_parent + of_transform);
                    break;
                default:
                    parent.connect(
                        child, "parts"_a = [&transforms_done](int x) {
                            ++transforms_done;
                            return x * 2;
                        });
                    last = std::max(last, of_parent);
                    break;
            }
            parents.push_back(parent);
        }
        EventLoop loop{virtual_time};
        const TreeExecutor executor{parents};
        for (int again = 0; again < 2; ++again) {
            starts = 0;
            transforms_done = 0;
            const nanoseconds begin = time_of(loop);
            loop.run(executor.run());
            CHECK(starts == 1);
            CHECK(span.start == begin + last);
            CHECK(time_of(loop) == begin + last + 1ms);
            REQUIRE(seen.size() == parent_count);
            for (int i = 0; i < parent_count; ++i) {
                CHECK(seen[static_cast<std::size_t>(i)] == 2 * i);
            }
            CHECK(grandchild.output() == 7);
        }
    }
}

TEST_CASE("The transforms of one parent's edges run side by side") {
    Node parent{"parent", [] { return 1; }};
    Span spans[3];
    Node a{"a", [&](int x) { return take_time(spans[0], 1s, x); }, "x"_a};
    Node b{"b", [&](int x) { return take_time(spans[1], 1s, x); }, "x"_a};
    Node both{"both", [&](int x, int y) { return take_time(spans[2], 1s, x + y); }, "x"_a, "y"_a};
    const auto wait = [](nanoseconds duration) {
        return [duration](int x) -> Task<int> {
            co_await sleep_for(duration);
            co_return x;
        };
    };
    parent.connect(a, "x"_a = wait(3s));
    parent.connect(b, "x"_a = wait(1s));
    parent.connect(both, "x"_a = wait(5s));
    parent.connect(both, "y"_a = wait(4s));
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{parent}.run());
    CHECK(spans[0].start == 3s);
    CHECK(spans[1].start == 1s);
    CHECK(spans[2].start == 5s);
    CHECK(time_of(loop) == 6s);
}

// ---- what else takes time -----------------------------------------------------------------------

TEST_CASE("Callbacks and deferred arguments are part of the path, and of the node's runtime") {
    const auto wait = [](nanoseconds duration) {
        return [duration]() -> Task<> { co_await sleep_for(duration); };
    };
    Span spans[2];
    Node first{"first", [&](int x) { return take_time(spans[0], 1s, x); },
               "x"_a = []() -> Task<int> {
                   co_await sleep_for(10s);
                   co_return 1;
               }};
    first.on_before_run(wait(100s)).on_before_run(wait(200s)).on_after_run(wait(1000s));
    Node second{"second", [&](int x) { return take_time(spans[1], 1s, x); }, "x"_a = first};
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{second}.run());
    CHECK(spans[0].start == 310s);
    CHECK(spans[1].start == 1311s);
    CHECK(time_of(loop) == 1312s);
    CHECK(first.runtime() == 1311s);
    CHECK(second.runtime() == 1s);
}

TEST_CASE("A node's runtime begins with its start, after the last transform that it waited for") {
    Node parent{"parent", []() -> Task<int> {
                    co_await sleep_for(1s);
                    co_return 1;
                }};
    Span span;
    Node child{"child", [&](int x) { return take_time(span, 2s, x); }, "x"_a};
    parent.connect(
        child, "x"_a = [](int x) -> Task<int> {
            co_await sleep_for(5s);
            co_return x;
        });
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{parent}.run());
    CHECK(span.start == 6s);
    CHECK(parent.runtime() == 1s);
    CHECK(child.runtime() == 2s);
}

TEST_CASE("A slow reader holds the producer back by its own time, and nobody else") {
    // Per chunk one second is taken to make it, and three to read it.
    Node producer{"producer", []() -> AsyncGenerator<int> {
                      for (int i = 0; i < 4; ++i) {
                          co_await sleep_for(1s);
                          co_yield i;
                      }
                  }};
    Span spans[2];
    Node beside{"beside", [&] { return take_time(spans[0], 2s, 1); }};
    Node after_beside{"after_beside", [&](int x) { return take_time(spans[1], 2s, x); },
                      "x"_a = beside};
    const TreeExecutor executor{producer, after_beside};
    EventLoop loop{virtual_time};
    std::vector<nanoseconds> taken;
    const auto read_slowly = [&]() -> Task<> {
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            if (!event->chunk(producer)) continue;
            taken.push_back(now());
            co_await sleep_for(3s);
        }
    };
    loop.run(read_slowly());
    CHECK(taken == std::vector<nanoseconds>{1s, 5s, 9s, 13s});
    CHECK(time_of(loop) == 16s);
    CHECK(spans[1].end == 4s);
    // Under run() there is no reader, and no holding back.
    CHECK(loop.run(executor.run()).elapsed() == 4s);
}

TEST_CASE("Equal nodes under max_concurrency(n) take the time of as many rounds as it needs") {
    std::vector<Span> spans(10);
    std::vector<AnyNode> nodes;
    for (Span& span : spans) {
        nodes.push_back(Node{"node", [&span] { return take_time(span, 1s, 0); }});
    }
    for (const std::size_t limit : {1U, 2U, 3U, 4U, 5U, 9U, 10U, 11U}) {
        CAPTURE(limit);
        TreeExecutor executor{nodes};
        executor.max_concurrency(limit);
        EventLoop loop{virtual_time};
        const auto rounds = static_cast<int>((nodes.size() + limit - 1) / limit);
        CHECK(loop.run(executor.run()).elapsed() == rounds * 1s);
        for (std::size_t i = 0; i < spans.size(); ++i) {
            CHECK(spans[i].start == static_cast<int>(i / limit) * 1s);
        }
    }
}

TEST_CASE("A flow inside a body takes its own critical path, beside what else runs") {
    Span spans[3];
    const auto run_inner = [&]() -> Task<int> {
        Node a{"a", [&] { return take_time(spans[0], 2s, 1); }};
        Node b{"b", [&] { return take_time(spans[1], 3s, 2); }};
        Node c{"c", [&](int x, int y) { return take_time(spans[2], 1s, x + y); }, "x"_a = a,
               "y"_a = b};
        const RunReport report = co_await TreeExecutor{c}.run();
        CHECK(report.elapsed() == 4s);
        co_return c.output();
    };
    Node before{"before", []() -> Task<> { co_await sleep_for(10s); }};
    Node flow{"flow", run_inner};
    Node beside{"beside", []() -> Task<> { co_await sleep_for(13s); }};
    before.connect(flow);
    EventLoop loop{virtual_time};
    loop.run(TreeExecutor{before, beside}.run());
    CHECK(flow.output() == 3);
    CHECK(spans[2].start == 13s);
    CHECK(time_of(loop) == 14s);
    CHECK(flow.runtime() == 4s);
}

TEST_CASE("A node that a body connects starts when the last of its own parents is done") {
    Span spans[2];
    Node late{"late", [&] { return take_time(spans[0], 5s, 1); }};
    Node body_node{"body_node", [&](NodeContext& context) -> Task<int> {
                       co_await sleep_for(1s);
                       Node added{"added", [&spans](int x) { return take_time(spans[1], 1s, x); },
                                  "x"_a};
                       late.connect(added, "x"_a);
                       context.node().connect(added);
                       co_await sleep_for(1s);
                       co_return 1;
                   }};
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{late, body_node}.run());
    CHECK(spans[1].start == 5s);
    CHECK(spans[1].starts == 1);
    CHECK(report.elapsed() == 6s);
    CHECK(report.completed().size() == 3);
}
