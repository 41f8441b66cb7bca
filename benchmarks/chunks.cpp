// Many generator nodes, their chunks merged into one stream.
#include <coroutine>
#include <cstddef>
#include <utility>
#include <vector>

#include "floor.hpp"
#include "workloads.hpp"

#include <grafo/grafo.hpp>

namespace bench {

namespace {

constexpr int producers = 1'000;
constexpr int chunks_each = 1'000;
constexpr long long expected =
    static_cast<long long>(producers) * chunks_each * (chunks_each - 1) / 2;

grafo::AsyncGenerator<int> produce() {
    for (int i = 0; i < chunks_each; ++i) co_yield i;
}
// Yields the same; only the result is kept.
grafo::AsyncGenerator<int, int> produce_result() {
    for (int i = 0; i < chunks_each; ++i) co_yield i;
    co_return chunks_each;
}

grafo::Task<long long> read(grafo::AsyncGenerator<grafo::Event> events) {
    long long sum = 0;
    while (const grafo::Event* event = co_await events.next()) {
        if (const auto chunk = event->chunk<int>()) sum += chunk->output;
    }
    co_return sum;
}

template <class Body>
class Ours {
public:
    explicit Ours(Body* body) : executor_(make(body)) { executor_.timing(false); }
    long long run() { return loop_.run(read(executor_.yielding())); }

private:
    static std::vector<grafo::AnyNode> make(Body* body) {
        std::vector<grafo::AnyNode> nodes;
        for (int i = 0; i < producers; ++i) nodes.push_back(grafo::Node{"n", body});
        return nodes;
    }
    grafo::TreeExecutor executor_;
    grafo::EventLoop loop_;
};

// By hand, a bare merge: an intrusive list of generators, each resumed by the reader in turn.
class Producer {
public:
    struct promise_type;
    using Handle = std::coroutine_handle<promise_type>;
    struct Merge {
        Handle first;
        Handle last;
        std::coroutine_handle<> reader;
        const int* item = nullptr;

        void push(Handle producer) noexcept;
        auto next() noexcept;
    };
    struct promise_type : by_hand::PooledPromise {
        explicit promise_type(Merge& m) noexcept : merge(m) {}
        struct ToReader {
            Merge& merge;
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept {
                return merge.reader;
            }
            void await_resume() const noexcept {}
        };
        Handle get_return_object() noexcept { return Handle::from_promise(*this); }
        ToReader yield_value(const int& value) noexcept {
            merge.item = &value;
            return {merge};
        }
        ToReader final_suspend() noexcept {
            merge.item = nullptr;
            return {merge};
        }
        void return_void() const noexcept {}
        Merge& merge;
        Handle next;
    };
};

void Producer::Merge::push(Handle producer) noexcept {
    producer.promise().next = {};
    (first ? last.promise().next : first) = producer;
    last = producer;
}

// The item of the next producer, which then goes to the end of the list.
auto Producer::Merge::next() noexcept {
    struct Next {
        Merge& merge;
        Handle producer;
        bool await_ready() const noexcept { return !producer; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> to) const noexcept {
            merge.reader = to;
            return producer;
        }
        const int* await_resume() const noexcept {
            if (!producer) return nullptr;
            static constexpr int ended = 0;
            if (producer.done()) {
                producer.destroy();
                return &ended;
            }
            merge.push(producer);
            return merge.item;
        }
    };
    const Handle at = first;
    if (first) first = first.promise().next;
    return Next{*this, at};
}

}  // namespace
}  // namespace bench

template <>
struct std::coroutine_traits<bench::Producer::Handle, bench::Producer::Merge&> {
    using promise_type = bench::Producer::promise_type;
};

namespace bench {

namespace {

Producer::Handle produce_by_hand(Producer::Merge& /*merge*/) {
    for (int i = 0; i < chunks_each; ++i) co_yield i;
}
by_hand::Body<long long> read_by_hand(Producer::Merge& merge) {
    long long sum = 0;
    while (const int* item = co_await merge.next()) sum += *item;
    co_return sum;
}
long long run_by_hand() {
    Producer::Merge merge;
    for (int i = 0; i < producers; ++i) merge.push(produce_by_hand(merge));
    return read_by_hand(merge).run();
}

}  // namespace

void chunks(Bench& bench) {
    const auto merge_one = [&](auto once) {
        return repeated(bench.least(), producers * chunks_each,
                        [=] { require(once() == expected, "a chunk is missing"); });
    };
    Ours ours(produce);
    Ours with_result(produce_result);
    Contest contest = bench.contest();
    contest.add("ours", merge_one([&] { return ours.run(); }));
    contest.add("with a result", merge_one([&] { return with_result.run(); }));
    contest.add("floor", merge_one(run_by_hand));
    contest.run();
    bench.row("chunks", "ns/chunk", contest["ours"], contest["floor"]);
    bench.row("chunks and a result", "ns/chunk", contest["with a result"], contest["floor"]);
}

}  // namespace bench
