// A bare async generator and its reader.
#include <coroutine>
#include <cstddef>
#include <utility>

#include "floor.hpp"
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

// By hand: reader and generator resume each other by symmetric transfer.
class Generator {
public:
    struct promise_type : by_hand::PooledPromise {
        struct ToReader {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(
                std::coroutine_handle<promise_type> self) const noexcept {
                return self.promise().reader;
            }
            void await_resume() const noexcept {}
        };
        Generator get_return_object() noexcept {
            return Generator(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        ToReader yield_value(const int& value) noexcept {
            item = &value;
            return {};
        }
        ToReader final_suspend() noexcept {
            item = nullptr;
            return {};
        }
        void return_void() const noexcept {}
        const int* item = nullptr;
        std::coroutine_handle<> reader;
    };
    explicit Generator(std::coroutine_handle<promise_type> coroutine) noexcept
        : coroutine_(coroutine) {}
    Generator(Generator&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
    ~Generator() {
        if (coroutine_) coroutine_.destroy();
    }
    auto next() const noexcept {
        struct Next {
            std::coroutine_handle<promise_type> generator;
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<> reader) const noexcept {
                generator.promise().reader = reader;
                return generator;
            }
            const int* await_resume() const noexcept { return generator.promise().item; }
        };
        return Next{coroutine_};
    }

private:
    std::coroutine_handle<promise_type> coroutine_;
};

Generator count_by_hand(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
}
by_hand::Body<long long> read_by_hand(const Generator& generator) {
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
                    const Generator generator = count_by_hand(items);
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
