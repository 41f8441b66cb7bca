#include <tbb/task_arena.h>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "catch.hpp"

// Pools of other libraries. The header that would make this one of the tests for the thread
// sanitizer is left out on purpose: it cannot see how libtbb hands a task to another thread.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

// Another address on each thread.
const void* this_thread_mark() {
    static thread_local char mark = 0;
    return &mark;
}

struct AsioPool {
    asio::thread_pool pool{1};
    void finish() { pool.join(); }
};
// One place for a thread of TBB's own, none for the loop's.
struct TbbPool {
    tbb::task_arena pool{1, 0};
    void finish() {}
};

}  // namespace

TEMPLATE_TEST_CASE("Work runs on another library's pool", "", AsioPool, TbbPool) {
    TestType owner;
    auto& pool = owner.pool;
    const auto body = [&](bool detached) -> Task<std::string> {
        const auto where = [] { return this_thread_mark(); };
        const void* mark = nullptr;
        if (detached) {
            mark = co_await offload_detached(pool, where);
        } else {
            mark = co_await offload(pool, where);
        }
        CHECK(mark != this_thread_mark());
        auto owned = std::make_unique<std::string>("done");
        auto take = [owned = std::move(owned)]() mutable { return std::move(owned); };
        std::unique_ptr<std::string> back;
        if (detached) {
            back = co_await offload_detached(pool, std::move(take));
        } else {
            back = co_await offload(pool, std::move(take));
        }
        const auto fail = [] { throw std::runtime_error("failed"); };
        std::string said;
        try {
            if (detached) {
                co_await offload_detached(pool, fail);
            } else {
                co_await offload(pool, fail);
            }
        } catch (const std::runtime_error& error) {
            said = error.what();
        }
        co_return *back + ", " + said;
    };
    for (const bool detached : {false, true}) {
        CHECK(grafo::run(body(detached)) == "done, failed");
        Node node{"node", body, "detached"_a = detached};
        Node child{"child", [](const std::string& text) { return text.size(); }, "text"_a = node};
        grafo::run(TreeExecutor{child}.run());
        CHECK(child.output() == 12);
    }
    owner.finish();
}

TEMPLATE_TEST_CASE("Work on another library's pool is cancelled and timed out", "", AsioPool,
                   TbbPool) {
    TestType owner;
    auto& pool = owner.pool;
    // Heap and counts: detached work outlives this block.
    const auto begun = std::make_shared<std::atomic<bool>>(false);
    const auto stopped = std::make_shared<std::atomic<bool>>(false);
    const auto body = [&](bool detached) -> Task<> {
        auto work = [begun, stopped](const StopFlag& stop) {
            begun->store(true);
            begun->notify_all();
            while (!stop) {
            }
            stopped->store(true);
            stopped->notify_all();
        };
        if (detached) {
            co_await offload_detached(pool, std::move(work));
        } else {
            co_await offload(pool, std::move(work));
        }
    };
    // Holds the loop, and with it the timers, until the work has begun.
    const auto wait = [&] { begun->wait(false); };
    const auto run = [&](bool detached, bool by_timeout) {
        begun->store(false);
        stopped->store(false);
        Node node{"node", body, "detached"_a = detached};
        if (by_timeout) node.timeout(1ms);
        Node gate{"gate", wait};
        TreeExecutor executor{node, gate};
        const auto stop = [&] { executor.stop(); };
        Node stopper{"stopper", stop};
        if (!by_timeout) gate.connect(stopper);
        static_cast<void>(grafo::run(executor.try_run()));
        CHECK(node.state() == (by_timeout ? NodeState::failed : NodeState::cancelled));
        if (!detached) CHECK(stopped->load());
        stopped->wait(false);
    };
    for (const bool detached : {false, true}) {
        for (const bool by_timeout : {false, true}) run(detached, by_timeout);
    }
    owner.finish();
}

TEST_CASE("An Asio pool that was stopped drops the work: an error, whoever waits") {
    const auto body = [&](asio::thread_pool& pool, bool detached) -> Task<int> {
        const auto one = [] { return 1; };
        if (detached) co_return co_await offload_detached(pool, one);
        co_return co_await offload(pool, one);
    };
    for (const bool detached : {false, true}) {
        std::optional<asio::thread_pool> pool(std::in_place, 1);
        pool->stop();
        pool->join();
        EventLoop loop;
        const auto destroy = [&]() -> Task<> {
            pool.reset();
            co_return;
        };
        const auto root = [&]() -> Task<int> {
            loop.spawn(destroy());
            co_return co_await body(*pool, detached);
        };
        CHECK_THROWS_WITH(loop.run(root()), ContainsSubstring("the pool dropped the function"));
    }
}
