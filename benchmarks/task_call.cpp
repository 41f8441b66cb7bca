// co_await of a task that is ready at once.
#include <coroutine>
#include <utility>

#include "floor.hpp"
#include "workloads.hpp"

#include <grafo/grafo.hpp>

#if defined(GRAFO_BENCHMARK_ASIO)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#endif

namespace bench {

namespace {

constexpr int calls = 1'000'000;
constexpr long long expected = static_cast<long long>(calls) * (calls - 1) / 2;

grafo::Task<int> give(int x) { co_return x; }
grafo::Task<long long> call(int n) {
    long long sum = 0;
    for (int i = 0; i < n; ++i) sum += co_await give(i);
    co_return sum;
}

// By hand, through a loop that resumes what was handed to it, or by symmetric transfer.
struct Loop {
    static inline std::coroutine_handle<> next;
    static void run(std::coroutine_handle<> first) {
        for (next = first; next;) std::exchange(next, {}).resume();
    }
};

template <class T, bool Symmetric>
class Call {
    static auto hand_over(std::coroutine_handle<> to) noexcept {
        if constexpr (Symmetric) {
            return to ? to : std::noop_coroutine();
        } else {
            Loop::next = to;
        }
    }

public:
    struct promise_type : by_hand::PooledPromise {
        Call get_return_object() noexcept {
            return Call(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        auto final_suspend() const noexcept {
            struct Final {
                bool await_ready() const noexcept { return false; }
                auto await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                    return hand_over(self.promise().caller);
                }
                void await_resume() const noexcept {}
            };
            return Final{};
        }
        void return_value(T v) noexcept { value = v; }
        T value;
        std::coroutine_handle<> caller;
    };
    explicit Call(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
    Call(const Call&) = delete;
    ~Call() { coroutine_.destroy(); }

    bool await_ready() const noexcept { return false; }
    auto await_suspend(std::coroutine_handle<> caller) const noexcept {
        coroutine_.promise().caller = caller;
        return hand_over(coroutine_);
    }
    T await_resume() const noexcept { return coroutine_.promise().value; }
    T run() const {
        Loop::run(coroutine_);
        return coroutine_.promise().value;
    }

private:
    std::coroutine_handle<promise_type> coroutine_;
};

template <bool Symmetric>
Call<int, Symmetric> give_by_hand(int x) {
    co_return x;
}
template <bool Symmetric>
Call<long long, Symmetric> call_by_hand(int n) {
    long long sum = 0;
    for (int i = 0; i < n; ++i) sum += co_await give_by_hand<Symmetric>(i);
    co_return sum;
}

#if defined(GRAFO_BENCHMARK_ASIO)
asio::awaitable<int> give_asio(int x) { co_return x; }
asio::awaitable<long long> call_asio(int n) {
    long long sum = 0;
    for (int i = 0; i < n; ++i) sum += co_await give_asio(i);
    co_return sum;
}
long long run_asio() {
    asio::io_context context(1);
    long long sum = 0;
    asio::co_spawn(context, call_asio(calls),
                   [&](const std::exception_ptr&, long long got) { sum = got; });
    context.run();
    return sum;
}
#endif

}  // namespace

void task_call(Bench& bench) {
    const auto call_one = [&](auto once) {
        return repeated(bench.least(), calls,
                        [=] { require(once() == expected, "a task gave something else"); });
    };
    Contest contest = bench.contest();
    contest.add("ours", call_one([] { return grafo::run(call(calls)); }));
    contest.add("floor", call_one([] { return call_by_hand<false>(calls).run(); }));
    contest.add("symmetric", call_one([] { return call_by_hand<true>(calls).run(); }));
#if defined(GRAFO_BENCHMARK_ASIO)
    contest.add("Asio", call_one(run_asio));
#endif
    contest.run();
    bench.row("task call", "ns/call", contest["ours"], contest["floor"],
              {{"Asio", contest["Asio"]}});
    bench.row("task call: by symmetric transfer", "ns/call", contest["ours"], contest["symmetric"]);
}

}  // namespace bench
