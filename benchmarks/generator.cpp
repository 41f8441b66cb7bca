// A bare async generator and its reader.
#include <exception>
#include <optional>

#include "generator_by_hand.hpp"
#include "workloads.hpp"

#include <grafo/grafo.hpp>

#if defined(GRAFO_BENCHMARK_ASIO)
#include <asio/co_spawn.hpp>
#include <asio/experimental/co_spawn.hpp>
#include <asio/experimental/coro.hpp>
#include <asio/io_context.hpp>
#endif

namespace bench {

namespace {

constexpr int items = 1'000'000;
constexpr long long expected = static_cast<long long>(items) * (items - 1) / 2;

grafo::AsyncGenerator<int> count(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
}
grafo::Task<long long> read(grafo::AsyncGenerator<int> generator) {
    long long sum = 0;
    while (const int* item = co_await generator.next()) sum += *item;
    co_return sum;
}

by_hand::Generator count_by_hand(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
}
by_hand::Body<long long> read_by_hand(const by_hand::Generator& generator) {
    long long sum = 0;
    while (const int* item = co_await generator.next()) sum += *item;
    co_return sum;
}

#if defined(GRAFO_BENCHMARK_ASIO)
using asio::experimental::coro;
coro<int> count_asio(asio::io_context&, int n) {
    for (int i = 0; i < n; ++i) co_yield i;
}
coro<void, long long> read_asio(asio::io_context& context, int n) {
    long long sum = 0;
    coro<int> generator = count_asio(context, n);
    while (const std::optional<int> item = co_await generator) sum += *item;
    co_return sum;
}
long long run_asio() {
    asio::io_context context(1);
    long long sum = 0;
    asio::experimental::co_spawn(read_asio(context, items),
                                 [&](const std::exception_ptr&, long long got) { sum = got; });
    context.run();
    return sum;
}
#endif

}  // namespace

void generator(Bench& bench) {
    const auto read_one = [&](auto once) {
        return repeated(bench.least(), items,
                        [=] { require(once() == expected, "a generator gave something else"); });
    };
    Contest contest = bench.contest();
    contest.add("ours", read_one([] { return grafo::run(read(count(items))); }));
    contest.add("floor", read_one([] {
                    const by_hand::Generator generator = count_by_hand(items);
                    return read_by_hand(generator).run();
                }));
#if defined(GRAFO_BENCHMARK_ASIO)
    contest.add("Asio", read_one(run_asio));
#endif
    contest.run();
    bench.row("generator", "ns/item", contest["ours"], contest["floor"],
              {{"Asio", contest["Asio"]}});
}

}  // namespace bench
