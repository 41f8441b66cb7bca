// Many timers at once: the CPU time of the process, for each of them.
#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "floor.hpp"
#include "workloads.hpp"

#include <grafo/grafo.hpp>

#if defined(GRAFO_BENCHMARK_ASIO)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#endif

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr int timer_count = 100'000;
constexpr nanoseconds span = std::chrono::milliseconds(50);

const std::vector<nanoseconds>& durations() {
    static const std::vector<nanoseconds> made = [] {
        std::vector<nanoseconds> all;
        std::mt19937 random(1);
        std::uniform_int_distribution<nanoseconds::rep> any(0, span.count());
        for (int i = 0; i < timer_count; ++i) all.emplace_back(any(random));
        return all;
    }();
    return made;
}

int fired = 0;

grafo::Task<> wait(nanoseconds duration) {
    co_await grafo::sleep_for(duration);
    ++fired;
}
grafo::Task<> wait_for_all(grafo::EventLoop& loop) {
    for (const nanoseconds duration : durations()) loop.spawn(wait(duration));
    while (fired < timer_count) co_await grafo::sleep_for(span);
}
void run_ours() {
    grafo::EventLoop loop;
    loop.run(wait_for_all(loop));
}

// By hand: a frame and 16 bytes of a four-ary heap for each timer.
struct Sleeper {
    struct promise_type : by_hand::PooledPromise {
        Sleeper get_return_object() noexcept {
            return Sleeper{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
    };
    std::coroutine_handle<> coroutine;
};

class Heap {
public:
    struct Entry {
        Clock::time_point at;
        std::coroutine_handle<> coroutine;
    };
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    [[nodiscard]] Clock::time_point first() const noexcept { return entries_.front().at; }
    void push(Entry entry) {
        entries_.push_back(entry);
        std::size_t at = entries_.size() - 1;
        for (; at > 0 && entry.at < entries_[(at - 1) / 4].at; at = (at - 1) / 4) {
            entries_[at] = entries_[(at - 1) / 4];
        }
        entries_[at] = entry;
    }
    std::coroutine_handle<> pop() {
        const std::coroutine_handle<> top = entries_.front().coroutine;
        const Entry entry = entries_.back();
        entries_.pop_back();
        const std::size_t size = entries_.size();
        if (size == 0) return top;
        std::size_t at = 0;
        for (;;) {
            const std::size_t child = at * 4 + 1;
            if (child >= size) break;
            std::size_t least = child;
            for (std::size_t i = child + 1; i < std::min(child + 4, size); ++i) {
                if (entries_[i].at < entries_[least].at) least = i;
            }
            if (entry.at <= entries_[least].at) break;
            entries_[at] = entries_[least];
            at = least;
        }
        entries_[at] = entry;
        return top;
    }

private:
    std::vector<Entry> entries_;
};

Sleeper wait_by_hand(Heap& heap, nanoseconds duration) {
    struct Sleep {
        Heap& heap;
        nanoseconds duration;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> coroutine) const {
            heap.push({Clock::now() + duration, coroutine});
        }
        void await_resume() const noexcept {}
    };
    co_await Sleep{heap, duration};
    ++fired;
}
void run_by_hand() {
    Heap heap;
    for (const nanoseconds duration : durations()) wait_by_hand(heap, duration).coroutine.resume();
    while (!heap.empty()) {
        std::this_thread::sleep_until(heap.first());
        for (const auto now = Clock::now(); !heap.empty() && heap.first() <= now;) {
            heap.pop().resume();
        }
    }
}

#if defined(GRAFO_BENCHMARK_ASIO)
asio::awaitable<void> wait_asio(nanoseconds duration) {
    asio::steady_timer timer(co_await asio::this_coro::executor, duration);
    co_await timer.async_wait(asio::use_awaitable);
    ++fired;
}
void run_asio() {
    asio::io_context context(1);
    for (const nanoseconds duration : durations()) {
        asio::co_spawn(context, wait_asio(duration), asio::detached);
    }
    context.run();
}
#endif

}  // namespace

void timers(Bench& bench) {
    const auto fire_all = [](auto once) {
        return [=] {
            fired = 0;
            const double start = cpu_seconds();
            once();
            const double taken = cpu_seconds() - start;
            require(fired == timer_count, "a timer did not fire");
            return taken * 1e9 / timer_count;
        };
    };
    Contest contest = bench.contest();
    contest.add("ours", fire_all(run_ours));
    contest.add("floor", fire_all(run_by_hand));
#if defined(GRAFO_BENCHMARK_ASIO)
    contest.add("Asio", fire_all(run_asio));
#endif
    contest.run();
    bench.row("timers", "CPU ns/timer", contest["ours"], contest["floor"],
              {{"Asio", contest["Asio"]}});
}

}  // namespace bench
