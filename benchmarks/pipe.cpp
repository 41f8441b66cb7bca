// Items on their way through five nodes that are connected by pipes.
#include <cstddef>

#include "generator_by_hand.hpp"
#include "peers.hpp"
#include "workloads.hpp"

#include <grafo/grafo.hpp>

#if defined(GRAFO_BENCHMARK_TBB)
#include <oneapi/tbb/parallel_pipeline.h>
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
#include <taskflow/algorithm/data_pipeline.hpp>
#endif

namespace bench {

namespace {

constexpr int items = 200'000;
constexpr std::size_t ahead = 16;

// What the three stages in the middle do; so little that the way between them is what is measured.
int scale(int x) { return 3 * x; }
int shift(int x) { return x + 7; }
int mask(int x) { return x & value_mask; }

long long expected() {
    long long sum = 0;
    for (int i = 0; i < items; ++i) sum += mask(shift(scale(i)));
    return sum;
}

grafo::AsyncGenerator<int> count() {
    for (int i = 0; i < items; ++i) co_yield i;
}
template <int (*F)(int)>
grafo::AsyncGenerator<int> each(grafo::AsyncGenerator<int> numbers) {
    while (const int* number = co_await numbers.next()) co_yield F(*number);
}
grafo::Task<long long> add_up(grafo::AsyncGenerator<int> numbers) {
    long long sum = 0;
    while (const int* number = co_await numbers.next()) sum += *number;
    co_return sum;
}

class Ours {
public:
    explicit Ours(std::size_t buffer = 0) : sum_(make(buffer)), executor_(sum_) {
        executor_.timing(false);
    }
    long long run() {
        loop_.run(executor_.run());
        return sum_.output();
    }
    long long stream() {
        loop_.run(read(executor_.yielding()));
        return sum_.output();
    }

private:
    static grafo::Node<long long> make(std::size_t buffer) {
        using namespace grafo::literals;
        const grafo::Node counted{"count", count};
        const grafo::Node scaled{"scale", each<scale>, "numbers"_a = counted};
        const grafo::Node shifted{"shift", each<shift>, "numbers"_a = scaled};
        const grafo::Node masked{"mask", each<mask>, "numbers"_a = shifted};
        const auto set = [&](const auto& node) {
            node.collect(false);
            if (buffer > 0) node.buffer(buffer);
        };
        set(counted), set(scaled), set(shifted), set(masked);
        return grafo::Node{"sum", add_up, "numbers"_a = masked};
    }
    static grafo::Task<> read(grafo::AsyncGenerator<grafo::Event> events) {
        std::size_t chunks = 0;
        while (const grafo::Event* event = co_await events.next()) {
            chunks += event->kind() == grafo::EventKind::chunk;
        }
        require(chunks == std::size_t{4} * items, "the stream missed a chunk");
    }

    grafo::Node<long long> sum_;
    grafo::TreeExecutor executor_;
    grafo::EventLoop loop_;
};

// By hand: a generator reads the one before it, and each resumes the other by symmetric transfer.
// An item stays in the frame that made it until its reader asks for the next, as in a pipe.
by_hand::Generator count_by_hand() {
    for (int i = 0; i < items; ++i) co_yield i;
}
template <int (*F)(int)>
by_hand::Generator each_by_hand(by_hand::Generator numbers) {
    while (const int* number = co_await numbers.next()) co_yield F(*number);
}
by_hand::Body<long long> add_up_by_hand(by_hand::Generator numbers) {
    long long sum = 0;
    while (const int* number = co_await numbers.next()) sum += *number;
    co_return sum;
}
long long run_by_hand() {
    return add_up_by_hand(
               each_by_hand<mask>(each_by_hand<shift>(each_by_hand<scale>(count_by_hand()))))
        .run();
}

#if defined(GRAFO_BENCHMARK_TBB)
template <int (*F)(int)>
auto tbb_stage() {
    return tbb::make_filter<int, int>(tbb::filter_mode::serial_in_order, F);
}
// One token at a time, as a pipe has one item on each way; with 16 it takes longer, and its flow
// graph longer still.
long long run_tbb() {
    constexpr std::size_t tokens = 1;
    const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
    int next = 0;
    long long sum = 0;
    const auto count = [&](tbb::flow_control& control) {
        if (next == items) {
            control.stop();
            return 0;
        }
        return next++;
    };
    const auto add = [&](int x) { sum += x; };
    constexpr auto in_order = tbb::filter_mode::serial_in_order;
    tbb::parallel_pipeline(tokens, tbb::make_filter<void, int>(in_order, count) &
                                       tbb_stage<scale>() & tbb_stage<shift>() & tbb_stage<mask>() &
                                       tbb::make_filter<int, void>(in_order, add));
    return sum;
}
#endif

#if defined(GRAFO_BENCHMARK_TASKFLOW)
// One line, for the same reason.
long long run_taskflow() {
    constexpr std::size_t lines = 1;
    int next = 0;
    long long sum = 0;
    const auto count = [&](tf::Pipeflow& flow) {
        if (next < items) return next++;
        flow.stop();
        return 0;
    };
    constexpr auto serial = tf::PipeType::SERIAL;
    const auto scaled = [](int& x) { return scale(x); };
    const auto shifted = [](int& x) { return shift(x); };
    const auto masked = [](int& x) { return mask(x); };
    const auto add = [&](int& x) { sum += x; };
    tf::DataPipeline pipeline(
        lines, tf::make_data_pipe<void, int>(serial, count),
        tf::make_data_pipe<int, int>(serial, scaled), tf::make_data_pipe<int, int>(serial, shifted),
        tf::make_data_pipe<int, int>(serial, masked), tf::make_data_pipe<int, void>(serial, add));
    tf::Taskflow flow;
    flow.composed_of(pipeline);
    one_worker().run(flow).wait();
    return sum;
}
#endif

}  // namespace

void pipe(Bench& bench) {
    const long long sum = expected();
    const auto pass_all = [&](auto once) {
        return repeated(bench.least(), items,
                        [=] { require(once() == sum, "a pipe gave something else"); });
    };
    Ours ours;
    Ours buffered(ahead);
    Contest contest = bench.contest();
    contest.add("ours", pass_all([&] { return ours.run(); }));
    contest.add("floor", pass_all(run_by_hand));
    contest.add("buffered", pass_all([&] { return buffered.run(); }));
    contest.add("stream", pass_all([&] { return ours.stream(); }));
#if defined(GRAFO_BENCHMARK_TBB)
    contest.add("oneTBB", pass_all(run_tbb));
#endif
#if defined(GRAFO_BENCHMARK_TASKFLOW)
    contest.add("Taskflow", pass_all(run_taskflow));
#endif
    contest.run();
    bench.row("pipe", "ns/item", contest["ours"], contest["floor"],
              {{"oneTBB", contest["oneTBB"]}, {"Taskflow", contest["Taskflow"]}});
    bench.row("pipe: buffer(16)", "ns/item", contest["buffered"], contest["floor"]);
    bench.added("pipe: yielding() adds", "ns/item", contest["stream"], contest["ours"]);
}

}  // namespace bench
