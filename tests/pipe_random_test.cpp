#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Random pipelines against a simple model of what each node reads and ends as.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::Counted;

namespace {

using Ints = std::vector<int>;

// A node reads its producer's chunks (+ 1 each where mapped), waits now and then, and yields each.
struct Spec {
    int producer = -1;     // none: it counts
    int chunks = 0;        // then: how many
    int at_most = -1;      // stops after that many; -1: never
    int fails_after = -1;  // throws after that many; -1: never
    bool mapped = false;
    bool lets_go = false;  // goes on for a while after it has let go of its generator
    int before = -1;       // a node, no reader of the same source, that must have ended before
    int pause = 0;
    std::size_t buffer = 0;
    bool collects = true;
    // the model's
    Ints items;  // that it yields
    NodeState state = NodeState::completed;
    int source = 0;
};

std::vector<Spec> make_specs(std::mt19937& random) {
    const auto up_to = [&random](int n) {
        return static_cast<int>(random() % static_cast<unsigned>(n + 1));
    };
    std::vector<Spec> specs;
    const int count = 2 + up_to(10);
    for (int i = 0; i < count; ++i) {
        Spec spec;
        if (i > 0 && up_to(4) > 0) spec.producer = up_to(i - 1);
        spec.chunks = up_to(12);
        if (up_to(4) == 0) spec.at_most = up_to(6);
        if (up_to(7) == 0) spec.fails_after = up_to(8);
        spec.mapped = up_to(1) == 0;
        spec.lets_go = up_to(3) == 0;
        spec.pause = up_to(3) == 0 ? up_to(5) : 0;
        spec.buffer = up_to(1) == 0 ? static_cast<std::size_t>(up_to(4)) : 0;
        spec.collects = up_to(3) > 0;
        spec.source = spec.producer < 0 ? i : specs[static_cast<std::size_t>(spec.producer)].source;
        // Only after a source that was there before: never in a circle.
        if (spec.producer >= 0 && up_to(3) == 0) {
            const int other = up_to(i - 1);
            if (specs[static_cast<std::size_t>(other)].source < spec.source) spec.before = other;
        }
        // The model.
        const auto state_of = [&specs](int at) {
            return at < 0 ? NodeState::completed : specs[static_cast<std::size_t>(at)].state;
        };
        Ints input;
        NodeState end = NodeState::completed;
        if (spec.producer < 0) {
            for (int k = 1; k <= spec.chunks; ++k) input.push_back(k);
        } else {
            input = specs[static_cast<std::size_t>(spec.producer)].items;
            end = state_of(spec.producer);
        }
        if (state_of(spec.before) != NodeState::completed) {
            spec.state = NodeState::skipped;
            specs.push_back(spec);
            continue;
        }
        bool ended = false;
        for (std::size_t k = 0;; ++k) {
            if (spec.at_most == static_cast<int>(k)) {
                ended = true;
                break;
            }
            if (spec.fails_after == static_cast<int>(k)) {
                spec.state = NodeState::failed;
                ended = true;
                break;
            }
            if (k == input.size()) break;
            spec.items.push_back(input[k] + (spec.mapped && spec.producer >= 0 ? 1 : 0));
        }
        if (!ended && end != NodeState::completed) spec.state = NodeState::skipped;
        specs.push_back(spec);
    }
    return specs;
}

// By the end of a run: everything that the node has yielded.
using Yielded = std::vector<Ints>;

AsyncGenerator<Counted> count_to(int n) {
    for (int i = 1; i <= n; ++i) {
        Counted item(i);
        co_yield item;
    }
}

AsyncGenerator<Counted> work(AsyncGenerator<Counted> in, Spec spec, Ints& yielded) {
    yielded.clear();
    for (int k = 0;; ++k) {
        if (spec.at_most == k) break;
        if (spec.fails_after == k) throw std::runtime_error("broken");
        Counted* item = co_await in.next();
        if (item == nullptr) co_return;
        Counted mine = std::move(*item);
        if (spec.pause > 0) co_await sleep_for(std::chrono::milliseconds(spec.pause));
        yielded.push_back(mine.value);
        co_yield mine;
    }
    if (!spec.lets_go) co_return;
    in = AsyncGenerator<Counted>();
    co_await sleep_for(3ms);
}

struct Pipeline {
    explicit Pipeline(const std::vector<Spec>& specs) : yielded(specs.size()) {
        for (std::size_t i = 0; i < specs.size(); ++i) {
            const Spec& spec = specs[i];
            const std::string id = "n" + std::to_string(i);
            Ints& into = yielded[i];
            const auto body = [spec, &into](AsyncGenerator<Counted> in) {
                return work(std::move(in), spec, into);
            };
            const auto make = [&] {
                if (spec.producer < 0) {
                    return Node<std::vector<Counted>>(
                        Node{id, body, "in"_a = [spec] { return count_to(spec.chunks); }});
                }
                const auto& from = handles[static_cast<std::size_t>(spec.producer)];
                Node node{id, body, "in"_a};
                if (spec.mapped) {
                    // The mapped edge needs a deduced type: one that adds, of no name of its own.
                    const auto add = [](AsyncGenerator<Counted> in) {
                        return add_one(std::move(in));
                    };
                    Node adding{id + " add", add, "in"_a};
                    from.connect(adding, "in"_a);
                    adding.collect(false);
                    adding.connect(
                        node, "in"_a = [](const Counted& c) { return Counted(c.value - 9); });
                    nodes.push_back(adding);
                } else {
                    from.connect(node, "in"_a);
                }
                return Node<std::vector<Counted>>(node);
            };
            Node<std::vector<Counted>> node = make();
            node.buffer(spec.buffer).collect(spec.collects);
            if (spec.before >= 0) handles[static_cast<std::size_t>(spec.before)].connect(node);
            handles.push_back(node);
            nodes.push_back(node);
        }
    }
    static AsyncGenerator<Counted> add_one(AsyncGenerator<Counted> in) {
        while (const Counted* item = co_await in.next()) {
            Counted next(item->value + 10);
            co_yield next;
        }
    }
    std::vector<Ints> yielded;
    std::vector<Node<std::vector<Counted>>> handles;
    std::vector<AnyNode> nodes;
};

void check(const std::vector<Spec>& specs, const Pipeline& pipeline) {
    for (std::size_t i = 0; i < specs.size(); ++i) {
        INFO("node n" << i);
        CHECK(pipeline.handles[i].state() == specs[i].state);
        if (specs[i].state == NodeState::skipped && specs[i].items.empty()) continue;
        CHECK(pipeline.yielded[i] == specs[i].items);
        if (specs[i].state != NodeState::completed || !specs[i].collects) continue;
        CHECK(pipeline.handles[i].output().size() == specs[i].items.size());
    }
}

// Without a deadlock that is the pipeline's own.
enum class How : unsigned char { run, stream, slow_stream, dropped, stopped };

}  // namespace

TEST_CASE("Random pipelines read what a simple model reads, and end as it ends") {
    const unsigned first = GENERATE(range(0U, 10U)) * 40;
    for (unsigned seed = first; seed < first + 40; ++seed) {
        Counted::reset();
        {
            std::mt19937 random(seed);
            const std::vector<Spec> specs = make_specs(random);
            const Pipeline pipeline(specs);
            TreeExecutor executor{pipeline.nodes};
            executor.on_error(ErrorPolicy::keep_going);
            const std::size_t places[] = {1, 2, 3, 1000};
            executor.max_concurrency(places[random() % 4]);
            for (int round = 0; round < 4; ++round) {
                EventLoop loop{virtual_time};
                const auto how = static_cast<How>(random() % 5);
                INFO("seed " << seed << ", round " << round << ", how " << static_cast<int>(how));
                int at = static_cast<int>(random() % 80);
                try {
                    switch (how) {
                        case How::run: loop.run(executor.try_run()); break;
                        case How::stream:
                            for (const Event& event : iterate(loop, executor.yielding())) {
                                static_cast<void>(event);
                            }
                            break;
                        case How::slow_stream: {
                            const auto consume = [](AsyncGenerator<Event> events) -> Task<> {
                                while (const Event* event = co_await events.next()) {
                                    if (event->kind() == EventKind::chunk) co_await sleep_for(2ms);
                                }
                            };
                            loop.run(consume(executor.yielding()));
                            break;
                        }
                        case How::dropped:
                            for (const Event& event : iterate(loop, executor.yielding())) {
                                static_cast<void>(event);
                                if (at-- == 0) break;
                            }
                            break;
                        case How::stopped:
                            for (const Event& event : iterate(loop, executor.yielding())) {
                                static_cast<void>(event);
                                if (at-- == 0) executor.stop();
                            }
                            break;
                    }
                } catch (const RunError&) {
                }
                if (how <= How::slow_stream) check(specs, pipeline);
                if (how == How::stopped) {
                    for (const AnyNode& node : pipeline.nodes) {
                        CHECK(node.state() >= NodeState::completed);
                    }
                }
            }
        }
        REQUIRE(Counted::live() == 0);
    }
}
