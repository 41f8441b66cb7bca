#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include <latch>
#include <stdexcept>
#include <string>
#include <thread>

#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

namespace {

Task<std::thread::id> thread_of_work(ThreadPool& pool) {
    const auto here = [] { return std::this_thread::get_id(); };
    co_return co_await offload(pool, here);
}

Task<int> two_at_once(ThreadPool& pool, std::latch& both, int value) {
    const auto meet = [&both, value] {
        both.arrive_and_wait();  // ends only if the other one runs at the same time
        return value;
    };
    co_return co_await offload(pool, meet);
}

}  // namespace

TEST_CASE("Offloaded work runs on a thread of the pool and gives its result on the loop") {
    ThreadPool pool{1};
    CHECK(pool.size() == 1);
    CHECK(grafo::run(thread_of_work(pool)) != std::this_thread::get_id());
}

TEST_CASE("Nodes that offload run at the same time") {
    ThreadPool pool{2};
    std::latch both(2);
    const auto first = [&] { return two_at_once(pool, both, 1); };
    const auto second = [&] { return two_at_once(pool, both, 2); };
    Node a{"a", first};
    Node b{"b", second};
    grafo::run(TreeExecutor{a, b}.run());
    CHECK(a.output() + b.output() == 3);
}

TEST_CASE("What offloaded work throws is rethrown where it is awaited") {
    ThreadPool pool{1};
    const auto body = [&pool]() -> Task<std::string> {
        const auto fail = []() -> int { throw std::runtime_error("disk full"); };
        try {
            co_await offload(pool, fail);
        } catch (const std::runtime_error& error) {
            co_return error.what();
        }
        co_return "nothing";
    };
    CHECK(grafo::run(body()) == "disk full");
}

TEST_CASE("A cancellation waits for offloaded work and is delivered when that returns") {
    ThreadPool pool{1};
    bool ended = false;
    bool went_on = false;
    std::latch begun(1);
    const auto body = [&]() -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop.stop_requested()) std::this_thread::yield();
            ended = true;
        };
        co_await offload(pool, work);
        went_on = true;
    };
    Node node{"work", body};
    TreeExecutor executor{node};
    std::thread stopper([&] {
        begun.wait();
        executor.stop();
    });
    const RunReport report = grafo::run(executor.try_run());
    stopper.join();
    CHECK(ended);
    CHECK_FALSE(went_on);
    CHECK(node.state() == NodeState::cancelled);
    CHECK(report.stopped());
}

TEST_CASE("A run that is dropped waits for offloaded work, which may use the node's variables") {
    ThreadPool pool{1};
    std::latch begun(1);
    std::latch release(1);
    int seen = 0;
    const auto body = [&]() -> Task<> {
        const std::string text = "a text too long for the small buffer of a string";
        const auto work = [&] {
            begun.count_down();
            release.wait();
            seen = static_cast<int>(text.size());
        };
        co_await offload(pool, work);
    };
    const auto tick = [&]() -> AsyncGenerator<int> {
        co_await grafo::yield();
        begun.wait();
        co_yield 1;
    };
    Node slow{"slow", body};
    Node ticker{"ticker", tick};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{slow, ticker}.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::chunk) break;
        }
        EventLoop::current().post([&] { release.count_down(); });
    };
    grafo::run(consume());
    CHECK(seen == 48);
    CHECK(slow.state() == NodeState::cancelled);
}

TEST_CASE("A virtual clock stands still while offloaded work is out") {
    ThreadPool pool{1};
    EventLoop loop{virtual_time};
    std::latch slept(1);
    const auto sleeper = [&]() -> Task<> {
        co_await sleep_for(1h);
        slept.count_down();
    };
    bool early = false;
    const auto body = [&]() -> Task<> {
        loop.spawn(sleeper());
        co_await grafo::yield();
        const auto work = [&] { early = slept.try_wait(); };
        co_await offload(pool, work);
        CHECK(EventLoop::current().now().time_since_epoch() == 0h);
        co_await sleep_for(2h);
        CHECK(slept.try_wait());
    };
    loop.run(body());
    CHECK_FALSE(early);
}
