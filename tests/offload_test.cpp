#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// No test waits for a time: functions on the pool are held and released by latches. Where one would
// be waited for in vain the test hangs, and ctest ends it.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

// Says on which thread it ended; what was moved from says nothing.
class Marked {
public:
    using Ended = std::atomic<std::thread::id>;
    explicit Marked(Ended& ended) noexcept : ended_(&ended) {}
    Marked(Marked&& other) noexcept : ended_(std::exchange(other.ended_, nullptr)) {}
    Marked(const Marked&) = delete;
    Marked& operator=(const Marked&) = delete;
    ~Marked() {
        if (ended_ != nullptr) ended_->store(std::this_thread::get_id());
    }

private:
    Ended* ended_;
};

// Pools of other libraries, as far as they matter here.
struct InlinePool {
    template <class F>
    void operator()(F fn) {
        fn();
    }
};
struct FullPool {
    template <class F>
    void operator()(F&&) {
        throw std::runtime_error("the queue is full");
    }
};
struct ThrowingInlinePool {
    template <class F>
    void enqueue(F fn) {
        fn();
        throw std::runtime_error("too late");
    }
};
struct DroppingPool {
    template <class F>
    void enqueue(F) {}
};
// Needs functions that can be copied, and keeps them for longer than they run.
class FunctionPool {
public:
    explicit FunctionPool(ThreadPool& threads) : threads_(threads) {}
    std::shared_ptr<int> enqueue(const std::function<void()>& fn) {  // gives what nobody needs
        kept_.push_back(fn);
        threads_.enqueue(fn);
        return nullptr;
    }

private:
    ThreadPool& threads_;
    std::vector<std::function<void()>> kept_;
};
namespace foreign {
struct Pool {
    ThreadPool& threads;
};
template <class F>
void post(Pool& pool, F&& fn) {  // found by its argument only
    pool.threads.enqueue(std::forward<F>(fn));
}
}  // namespace foreign

// Waits until all that was queued before has been run, by each thread.
void drain(ThreadPool& pool) {
    const auto all = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(pool.size()) + 1);
    for (std::size_t i = 0; i < pool.size(); ++i) pool.enqueue([all] { all->arrive_and_wait(); });
    all->arrive_and_wait();
}

// Lets the loop turn until somebody has said so.
Task<> wait_for(const std::atomic<bool>& said) {
    while (!said.load()) co_await grafo::yield();
}

// Runs the task beside another that waits, in the loop, for `begun`; then cancels it.
void cancel_once_begun(EventLoop& loop, ThreadPool& waiting, std::latch& begun, Task<> task) {
    const auto root = [&]() -> Task<> {
        const auto wait = [&] { begun.wait(); };
        co_await offload(waiting, wait);
    };
    loop.spawn(std::move(task));
    loop.run(root());
}

const NodeError& only_error(const RunReport& report) {
    REQUIRE(report.failed().size() == 1);
    return report.errors().front();
}

template <class E>
bool is_caused_by(const std::exception& error) {
    try {
        std::rethrow_if_nested(error);
    } catch (const E&) {
        return true;
    } catch (...) {
    }
    return false;
}

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
    std::latch both(2);
    ThreadPool pool{2};
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
    bool ended = false;
    bool went_on = false;
    std::latch begun(1);
    ThreadPool pool{1};
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
    std::latch begun(1);
    std::latch release(1);
    ThreadPool pool{1};
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

// ---- offload: results, errors, pools
// --------------------------------------------------------------

TEST_CASE("Offloaded work may give nothing, a move-only value or a reference") {
    ThreadPool pool{1};
    int number = 1;
    const auto body = [&]() -> Task<int> {
        const auto nothing = [&] { ++number; };
        co_await offload(pool, nothing);
        const auto make = [] { return std::make_unique<int>(40); };
        const std::unique_ptr<int> made = co_await offload(pool, make);
        const auto refer = [&]() -> int& { return number; };
        int& same = co_await offload(pool, refer);
        CHECK(&same == &number);
        auto owned = std::make_unique<int>(0);
        auto move_only = [owned = std::move(owned)](const StopFlag& stop) {
            return stop ? 1 : *owned;
        };
        co_return same + *made + co_await offload(pool, std::move(move_only));
    };
    CHECK(grafo::run(body()) == 42);
}

TEST_CASE("The error of offloaded work fails its node, which can recover from it") {
    ThreadPool pool{1};
    const auto fail = []() -> int { throw std::runtime_error("disk full"); };
    const auto plain = [&]() -> Task<int> { co_return co_await offload(pool, fail); };
    const auto careful = [&]() -> Task<int> {
        bool failed = false;
        try {
            co_await offload(pool, fail);
        } catch (const std::runtime_error&) {
            failed = true;
        }
        const auto again = [failed] { return failed ? 2 : 1; };
        co_return co_await offload(pool, again);
    };
    Node broken{"broken", plain};
    Node mended{"mended", careful};
    TreeExecutor executor{broken, mended};
    executor.on_error(ErrorPolicy::keep_going);
    const RunReport report = grafo::run(executor.try_run());
    CHECK(is_caused_by<std::runtime_error>(only_error(report)));
    CHECK_THAT(only_error(report).what(), ContainsSubstring("disk full"));
    CHECK(mended.output() == 2);
}

TEST_CASE("Any pool will do: post, enqueue or a call") {
    ThreadPool threads{2};
    FunctionPool functions{threads};
    foreign::Pool by_post{threads};
    InlinePool here;
    const auto callable = [&](auto fn) { threads.enqueue(std::move(fn)); };
    const auto body = [&]() -> Task<int> {
        const auto one = [] { return 1; };
        int sum = 0;
        sum += co_await offload(functions, one);
        sum += co_await offload(by_post, one);
        sum += co_await offload(here, one);
        sum += co_await offload(callable, one);
        sum += co_await offload_detached(functions, one);
        sum += co_await offload_detached(by_post, one);
        sum += co_await offload_detached(here, one);
        sum += co_await offload_detached(callable, one);
        co_return sum;
    };
    CHECK(grafo::run(body()) == 8);
}

TEST_CASE("What the pool throws comes out of the await, and the loop goes on") {
    ThreadPool pool{1};
    FullPool full;
    Counted::reset();
    const auto body = [&](bool detached) -> Task<int> {
        const Counted counted{1};
        auto work = [counted] { return counted.value; };
        std::string said;
        try {
            if (detached) {
                co_await offload_detached(full, work);
            } else {
                co_await offload(full, work);
            }
        } catch (const std::runtime_error& error) {
            said = error.what();
        }
        CHECK(said == "the queue is full");
        co_await sleep_for(1h);
        co_return co_await offload(pool, work);
    };
    for (const bool detached : {false, true}) {
        EventLoop loop{virtual_time};
        CHECK(loop.run(body(detached)) == 1);
        CHECK(loop.now().time_since_epoch() == 1h);
        Node node{"node", [&] { return body(detached); }};
        loop.run(TreeExecutor{node}.run());
        CHECK(node.output() == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A pool that throws after it has run the work has run it") {
    ThrowingInlinePool pool;
    const auto body = [&]() -> Task<int> {
        const auto one = [] { return 1; };
        const int first = co_await offload(pool, one);
        co_return first + co_await offload_detached(pool, one);
    };
    CHECK(grafo::run(body()) == 2);
}

TEST_CASE("Work that a pool drops is an error, and nobody waits for ever") {
    DroppingPool pool;
    const auto task = [&]() -> Task<> {
        const auto work = [] { FAIL("it was run"); };
        co_await offload(pool, work);
    };
    const auto detached = [&]() -> Task<> {
        const auto work = [] { FAIL("it was run"); };
        co_await offload_detached(pool, work);
    };
    CHECK_THROWS_WITH(grafo::run(task()), ContainsSubstring("the pool dropped the function"));
    CHECK_THROWS_AS(grafo::run(detached()), Error);
    EventLoop loop{virtual_time};
    Node first{"first", task};
    Node second{"second", detached};
    TreeExecutor executor{first, second};
    executor.on_error(ErrorPolicy::keep_going);
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.failed().size() == 2);
}

TEST_CASE("Offloaded work and its result are destroyed on the loop's thread") {
    ThreadPool pool{1};
    Marked::Ended work_ended{};
    Marked::Ended result_ended{};
    const auto body = [&](bool detached) -> Task<> {
        auto work = [mark = Marked(work_ended), &result_ended] { return Marked(result_ended); };
        if (detached) {
            const Marked result = co_await offload_detached(pool, std::move(work));
        } else {
            const Marked result = co_await offload(pool, std::move(work));
        }
    };
    for (const bool detached : {false, true}) {
        grafo::run(body(detached));
        CHECK(work_ended.exchange({}) == std::this_thread::get_id());
        CHECK(result_ended.exchange({}) == std::this_thread::get_id());
    }
}

TEST_CASE("An offload that is never awaited does nothing") {
    bool called = false;
    ThreadPool pool{1};
    Counted::reset();
    {
        auto work = [counted = Counted{1}, &called] { called = true; };
        const auto kept = offload(pool, work);
        const auto kept_detached = offload_detached(pool, std::move(work));
    }
    CHECK_FALSE(called);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A thread pool runs what is queued before it ends") {
    std::atomic<int> ran{0};
    {
        std::latch release(1);
        ThreadPool pool{1};
        pool.enqueue([&] { release.wait(); });
        for (int i = 0; i < 10; ++i) pool.enqueue([&] { ++ran; });
        // A job whose destructor gives the pool another one.
        struct Chain {
            Chain(ThreadPool& p, std::atomic<int>& r) : pool(&p), ran(r) {}
            Chain(Chain&& other) noexcept
                : pool(std::exchange(other.pool, nullptr)), ran(other.ran) {}
            ~Chain() {
                if (pool != nullptr) pool->enqueue([&counter = ran] { ++counter; });
            }
            void operator()() const {}
            ThreadPool* pool;
            std::atomic<int>& ran;
        };
        pool.enqueue(Chain(pool, ran));
        release.count_down();
    }
    CHECK(ran == 11);
}

TEST_CASE("A thread pool has at least one thread") {
    ThreadPool pool{0};
    CHECK(pool.size() == 1);
    CHECK(grafo::run(thread_of_work(pool)) != std::this_thread::get_id());
}

// ---- offload: cancellation, timeouts, drops
// -------------------------------------------------------

TEST_CASE("A cancelled task waits for its offloaded work, is told once, and may clean up") {
    std::latch begun(1);
    std::vector<std::string> log;
    ThreadPool pool{1};
    ThreadPool waiting{1};
    const auto task = [&]() -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop) std::this_thread::yield();
            log.emplace_back("work ended");
            return 1;
        };
        try {
            co_await offload(pool, work);
        } catch (const Cancelled&) {
            log.emplace_back("cancelled");
        }
        const auto clean = [&] { log.emplace_back("cleaned"); };
        co_await offload(pool, clean);
        co_await grafo::yield();
        log.emplace_back("ended");
    };
    EventLoop loop;
    cancel_once_begun(loop, waiting, begun, task());
    CHECK(log == std::vector<std::string>{"work ended", "cancelled", "cleaned", "ended"});
}

TEST_CASE("Offloaded work that has not begun when it is cancelled is never called") {
    bool called = false;
    bool cancelled = false;
    ThreadPool pool{1};
    const auto task = [&](bool detached) -> Task<> {
        const auto work = [&] { called = true; };
        try {
            if (detached) {
                co_await offload_detached(pool, work);
            } else {
                co_await offload(pool, work);
            }
        } catch (const Cancelled&) {
            cancelled = true;
        }
    };
    for (const bool detached : {false, true}) {
        std::latch blocked(1);
        pool.enqueue([&] { blocked.wait(); });
        cancelled = false;
        EventLoop loop;
        const auto root = [&]() -> Task<> {
            loop.spawn(task(detached));
            co_await grafo::yield();
            co_await grafo::yield();
            // The end of this task cancels the other; its work comes after what blocks the pool.
            loop.spawn([](std::latch& latch) -> Task<> {
                latch.count_down();
                co_return;
            }(blocked));
        };
        loop.run(root());
        CHECK(cancelled);
        drain(pool);
        CHECK_FALSE(called);
    }
}

TEST_CASE("An error of offloaded work goes before the cancellation that came meanwhile") {
    std::latch begun(1);
    std::vector<std::string> log;
    ThreadPool pool{1};
    ThreadPool waiting{1};
    const auto task = [&]() -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop) std::this_thread::yield();
            throw std::runtime_error("half written");
        };
        try {
            co_await offload(pool, work);
        } catch (const std::runtime_error& error) {
            log.emplace_back(error.what());
        }
        try {
            co_await grafo::yield();
        } catch (const Cancelled&) {
            log.emplace_back("cancelled");
        }
        co_await grafo::yield();
        log.emplace_back("ended");
    };
    EventLoop loop;
    cancel_once_begun(loop, waiting, begun, task());
    CHECK(log == std::vector<std::string>{"half written", "cancelled", "ended"});
}

TEST_CASE("Offloaded work may end its cancellation with Cancelled: that is told once") {
    std::latch begun(1);
    ThreadPool pool{1};
    ThreadPool waiting{1};
    int told = 0;
    bool ended = false;
    const auto task = [&]() -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop) std::this_thread::yield();
            throw Cancelled();
        };
        try {
            co_await offload(pool, work);
        } catch (const Cancelled&) {
            ++told;
        }
        co_await grafo::yield();
        ended = true;
    };
    EventLoop loop;
    cancel_once_begun(loop, waiting, begun, task());
    CHECK(told == 1);
    CHECK(ended);
}

TEST_CASE("The timeout of a node is delivered when its offloaded work returns") {
    bool ended = false;
    std::latch begun(1);
    ThreadPool pool{1};
    const auto body = [&]() -> Task<int> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop) std::this_thread::yield();
            ended = true;
            return 1;
        };
        co_return co_await offload(pool, work);
    };
    Node node{"node", body};
    node.timeout(1ms);
    Node gate{"gate", [&] { begun.wait(); }};  // no timer fires before
    const RunReport report = grafo::run(TreeExecutor{node, gate}.try_run());
    CHECK(ended);
    CHECK(node.state() == NodeState::failed);
    CHECK(is_caused_by<TimeoutError>(only_error(report)));
}

TEST_CASE("A node whose time is up before it begins offloads nothing") {
    bool called = false;
    ThreadPool pool{1};
    const auto body = [&](bool detached) -> Task<> {
        const auto work = [&] { called = true; };
        if (detached) {
            co_await offload_detached(pool, work);
        } else {
            co_await offload(pool, work);
        }
    };
    for (const bool detached : {false, true}) {
        Node node{"node", [&] { return body(detached); }};
        node.timeout(0s);
        const RunReport report = grafo::run(TreeExecutor{node}.try_run());
        CHECK(is_caused_by<TimeoutError>(only_error(report)));
    }
    drain(pool);
    CHECK_FALSE(called);
}

TEST_CASE("A node's failure stops offloaded work of the others, and the run waits for it") {
    std::latch begun(1);
    bool ended = false;
    ThreadPool pool{1};
    const auto body = [&]() -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop) std::this_thread::yield();
            ended = true;
        };
        co_await offload(pool, work);
    };
    const auto fail = [&]() -> Task<> {
        co_await grafo::yield();
        begun.wait();
        throw std::runtime_error("failed");
    };
    Node slow{"slow", body};
    Node broken{"broken", fail};
    CHECK_THROWS_AS(grafo::run(TreeExecutor{slow, broken}.run()), RunError);
    CHECK(ended);
    CHECK(slow.state() == NodeState::cancelled);
}

TEST_CASE("Work of a run that is dropped sees its StopFlag") {
    std::latch begun(1);
    bool ended = false;
    ThreadPool pool{1};
    const auto inner = [&]() -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun.count_down();
            while (!stop) std::this_thread::yield();
            ended = true;
        };
        co_await offload(pool, work);
        FAIL("the node went on");
    };
    const auto body = [&]() -> Task<> { co_await inner(); };
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
    };
    grafo::run(consume());
    CHECK(ended);
}

// ---- offload_detached
// -----------------------------------------------------------------------------

TEST_CASE("Detached work gives its result or its error to the one that waits") {
    ThreadPool pool{1};
    const auto body = [&]() -> Task<std::string> {
        const auto here = [] { return std::this_thread::get_id(); };
        const std::thread::id thread = co_await offload_detached(pool, here);
        CHECK(thread != std::this_thread::get_id());
        const auto nothing = [] {};
        co_await offload_detached(pool, nothing);
        auto owned = std::make_unique<std::string>("a move-only");
        auto pass = [owned = std::move(owned)](const StopFlag& stop) mutable {
            if (stop.stop_requested()) owned = nullptr;
            return std::move(owned);
        };
        const std::unique_ptr<std::string> back = co_await offload_detached(pool, std::move(pass));
        const auto fail = [] { throw std::runtime_error(" error"); };
        try {
            co_await offload_detached(pool, fail);
        } catch (const std::runtime_error& error) {
            co_return *back + error.what();
        }
        co_return "nothing";
    };
    CHECK(grafo::run(body()) == "a move-only error");
    Node node{"node", body};
    grafo::run(TreeExecutor{node}.run());
    CHECK(node.output() == "a move-only error");
}

TEST_CASE("A task that is cancelled gives up its detached work at once") {
    std::latch release(1);
    std::atomic<bool> stopped{false};
    std::atomic<bool> ended{false};
    std::vector<std::string> log;
    std::latch begun(1);
    ThreadPool pool{1};
    ThreadPool waiting{1};
    const auto task = [&]() -> Task<> {
        auto work = [&begun, &release, &stopped, &ended](const StopFlag& stop) {
            begun.count_down();
            release.wait();  // for after the task's end
            stopped = stop.stop_requested();
            ended = true;
            return std::string("nobody sees it");
        };
        try {
            co_await offload_detached(pool, work);
        } catch (const Cancelled&) {
            log.emplace_back("cancelled");
        }
        co_await grafo::yield();  // told once
        log.emplace_back("cleaned");
    };
    EventLoop loop;
    cancel_once_begun(loop, waiting, begun, task());  // returns though the work goes on
    CHECK(log == std::vector<std::string>{"cancelled", "cleaned"});
    CHECK_FALSE(ended);
    release.count_down();
    loop.run(wait_for(ended));
    CHECK(stopped);
}

TEST_CASE("A node whose time is up gives up its detached work at once") {
    std::latch begun(1);
    std::latch release(1);
    std::atomic<bool> ended{false};
    ThreadPool pool{1};
    Counted::reset();
    {
        const auto body = [&]() -> Task<int> {
            auto work = [counted = Counted{7}, &begun, &release, &ended] {
                begun.count_down();
                release.wait();
                ended = true;
                return counted.value;
            };
            co_return co_await offload_detached(pool, std::move(work));
        };
        Node node{"node", body};
        node.timeout(1ms);
        Node gate{"gate", [&] { begun.wait(); }};  // no timer fires before
        EventLoop loop;
        const RunReport report = loop.run(TreeExecutor{node, gate}.try_run());
        CHECK(is_caused_by<TimeoutError>(only_error(report)));
        CHECK_FALSE(ended);
        release.count_down();
        loop.run(wait_for(ended));
    }
    drain(pool);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A run that is stopped from another thread gives up its detached work at once") {
    std::latch begun(1);
    std::latch release(1);
    std::atomic<bool> stopped{false};
    ThreadPool pool{1};
    const auto body = [&]() -> Task<> {
        auto work = [&begun, &release, &stopped](const StopFlag& stop) {
            begun.count_down();
            release.wait();
            stopped = stop.stop_requested();
        };
        co_await offload_detached(pool, work);
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    std::thread stopper([&] {
        begun.wait();
        executor.stop();
    });
    const RunReport report = grafo::run(executor.try_run());
    stopper.join();
    CHECK(report.stopped());
    CHECK(node.state() == NodeState::cancelled);
    release.count_down();
    drain(pool);
    CHECK(stopped);
}

TEST_CASE("A node's failure makes the others give up their detached work at once") {
    std::latch begun(1);
    std::latch release(1);
    ThreadPool pool{1};
    const auto body = [&]() -> Task<> {
        auto work = [&begun, &release] {
            begun.count_down();
            release.wait();
        };
        co_await offload_detached(pool, work);
    };
    const auto fail = [&]() -> Task<> {
        co_await grafo::yield();
        begun.wait();
        throw std::runtime_error("failed");
    };
    Node slow{"slow", body};
    Node broken{"broken", fail};
    CHECK_THROWS_AS(grafo::run(TreeExecutor{slow, broken}.run()), RunError);
    CHECK(slow.state() == NodeState::cancelled);
    release.count_down();
}

TEST_CASE("The frames of a run that is dropped go at once, detached work goes on") {
    std::latch begun(1);
    std::latch release(1);
    std::atomic<bool> stopped{false};
    ThreadPool pool{1};
    Counted::reset();
    const auto body = [&]() -> Task<> {
        const Counted in_frame{1};
        auto work = [&begun, &release, &stopped](const StopFlag& stop) {
            begun.count_down();
            release.wait();
            stopped = stop.stop_requested();
        };
        co_await offload_detached(pool, work);
        FAIL("the node went on");
    };
    const auto tick = [&]() -> AsyncGenerator<int> {
        co_await grafo::yield();
        begun.wait();
        co_yield 1;
    };
    Node slow{"slow", body};
    Node ticker{"ticker", tick};
    const auto consume = [&]() -> Task<> {
        {
            auto events = TreeExecutor{slow, ticker}.yielding();
            while (auto event = co_await events.next()) {
                if (event->kind() == EventKind::chunk) break;
            }
            CHECK(Counted::live() == 1);
        }
        CHECK(Counted::live() == 0);
        // Nor does a virtual clock stand still for it.
        co_await sleep_for(1h);
    };
    EventLoop loop{virtual_time};
    loop.run(consume());
    CHECK(slow.state() == NodeState::cancelled);
    release.count_down();
    drain(pool);
    CHECK(stopped);
}

TEST_CASE("A body that drops its own stream and then offloads never does") {
    bool called = false;
    bool went_on = false;
    ThreadPool pool{1};
    Counted::reset();
    for (const bool detached : {false, true}) {
        std::optional<AsyncGenerator<Event>> events;
        const auto body = [&]() -> Task<> {
            auto work = [counted = Counted{1}, &called] { called = true; };
            events.reset();
            if (detached) co_await offload_detached(pool, std::move(work));
            if (!detached) co_await offload(pool, std::move(work));
            went_on = true;
        };
        Node first{"first", [] {}};
        Node node{"node", body};
        first.connect(node);
        const auto consume = [&]() -> Task<> {
            events.emplace(TreeExecutor{first}.yielding());
            co_await events->next();
            co_await sleep_for(1h);
        };
        EventLoop loop{virtual_time};
        loop.run(consume());
        CHECK(node.state() == NodeState::cancelled);
    }
    drain(pool);
    CHECK_FALSE(called);
    CHECK_FALSE(went_on);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A virtual clock stands still while detached work is awaited, not when it is abandoned") {
    std::latch release(1);
    std::latch slept(1);
    ThreadPool pool{1};
    EventLoop loop{virtual_time};
    const auto sleeper = [&]() -> Task<> {
        co_await sleep_for(1h);
        slept.count_down();
    };
    const auto stubborn = [&]() -> Task<> {
        auto work = [&release] { release.wait(); };
        co_await offload_detached(pool, work);
    };
    bool early = true;
    const auto root = [&]() -> Task<> {
        loop.spawn(sleeper());
        co_await grafo::yield();
        auto work = [&early, &slept] { early = slept.try_wait(); };
        co_await offload_detached(pool, work);
        CHECK(loop.now().time_since_epoch() == 0h);

        Node node{"node", stubborn};
        TreeExecutor executor{node};
        const auto stop = [&]() -> Task<> {
            executor.stop();
            co_return;
        };
        loop.spawn(stop());
        co_await executor.try_run();
        co_await sleep_for(2h);  // while the work is still out
        CHECK(slept.try_wait());
    };
    loop.run(root());
    CHECK_FALSE(early);
    release.count_down();
}

TEST_CASE("Abandoned work and its result are destroyed on the loop's thread while that lives") {
    ThreadPool pool{1};
    ThreadPool waiting{1};
    for (const bool in_next_run : {true, false}) {
        std::latch begun(1);
        std::latch release(1);
        Marked::Ended work_ended{};
        Marked::Ended result_ended{};
        {
            EventLoop loop;
            const auto task = [&]() -> Task<> {
                auto work = [mark = Marked(work_ended), &result_ended, &begun, &release] {
                    begun.count_down();
                    release.wait();
                    return Marked(result_ended);
                };
                co_await offload_detached(pool, std::move(work));
            };
            cancel_once_begun(loop, waiting, begun, task());
            CHECK(work_ended.load() == std::thread::id());
            release.count_down();
            drain(pool);  // by then the letter is in the loop's box
            CHECK(work_ended.load() == std::thread::id());
            const auto turn = []() -> Task<> { co_await grafo::yield(); };
            if (in_next_run) {
                loop.run(turn());
                CHECK(result_ended.load() == std::this_thread::get_id());
            }
        }
        CHECK(work_ended.load() == std::this_thread::get_id());
        CHECK(result_ended.load() == std::this_thread::get_id());
    }
}

TEST_CASE("Abandoned work is destroyed on the pool's thread if the loop is gone") {
    std::latch release(1);
    ThreadPool pool{1};
    Marked::Ended work_ended{};
    Marked::Ended result_ended{};
    {
        ThreadPool waiting{1};
        std::latch begun(1);
        EventLoop loop;
        const auto task = [&]() -> Task<> {
            auto work = [mark = Marked(work_ended), &result_ended, &begun, &release] {
                begun.count_down();
                release.wait();
                return Marked(result_ended);
            };
            co_await offload_detached(pool, std::move(work));
        };
        cancel_once_begun(loop, waiting, begun, task());
    }
    CHECK(work_ended.load() == std::thread::id());
    release.count_down();
    const std::thread::id pool_thread = grafo::run(thread_of_work(pool));
    CHECK(work_ended.load() == pool_thread);
    CHECK(result_ended.load() == pool_thread);
}

TEST_CASE("A generator that outlives its loop may have detached work out") {
    std::latch begun(1);
    std::latch release(1);
    ThreadPool pool{1};
    Counted::reset();
    // Owned by nobody in the loop, read by a node of a run that is dropped.
    std::optional<AsyncGenerator<int>> generator;
    const auto body = [&]() -> AsyncGenerator<int> {
        auto work = [counted = Counted{1}, &begun, &release] {
            begun.count_down();
            release.wait();
            return counted.value;
        };
        co_yield co_await offload_detached(pool, std::move(work));
    };
    generator = body();
    const auto read = [&]() -> Task<> { co_await generator->next(); };
    const auto tick = [&]() -> AsyncGenerator<int> {
        co_await grafo::yield();
        begun.wait();
        co_yield 1;
    };
    Node reader{"reader", read};
    Node ticker{"ticker", tick};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{reader, ticker}.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::chunk) break;
        }
    };
    {
        EventLoop loop;
        bool in_time = false;
        SECTION("and be destroyed before the work ends") {}
        SECTION("and be destroyed after the work has ended") { in_time = true; }
        SECTION("and be destroyed while another loop runs") {
            loop.run(consume());
            EventLoop other;
            const auto destroy = [&]() -> Task<> {
                generator.reset();
                co_await grafo::yield();
            };
            other.run(destroy());
        }
        if (generator) loop.run(consume());
        if (in_time) release.count_down();
    }
    generator.reset();
    if (!release.try_wait()) release.count_down();
    drain(pool);
    CHECK(Counted::live() == 0);
}

// ---- closures that hold handles
// --------------------------------------------------------------------

#ifndef NDEBUG
namespace {

std::vector<std::string>& captures_reported() {
    static std::vector<std::string> messages;
    return messages;
}

class ReportScope {
public:
    ReportScope() : before_(detail::report_pool_capture) {
        captures_reported().clear();
        detail::report_pool_capture = [](const std::string& message) {
            captures_reported().push_back(message);
        };
    }
    ReportScope(const ReportScope&) = delete;
    ReportScope& operator=(const ReportScope&) = delete;
    ~ReportScope() { detail::report_pool_capture = before_; }

private:
    void (*before_)(const std::string&);
};

}  // namespace

TEST_CASE("Work for a pool that holds a node handle is reported in debug builds") {
    const ReportScope scope;
    ThreadPool pool{1};
    const auto one = [] { return 1; };
    const Node node{"number", one};
    const auto body = [&]() -> Task<int> {
        const auto holds = [node] { return node.id().empty() ? 0 : 1; };
        const auto holds_any = [any = AnyNode(node)] { return any ? 1 : 0; };
        const auto by_value = [id = node.id()] { return id.empty() ? 0 : 1; };
        const auto by_reference = [&node] { return node.id().empty() ? 0 : 1; };
        const auto empty = [any = AnyNode()] { return any ? 0 : 1; };
        int sum = 0;
        sum += co_await offload(pool, by_value);
        sum += co_await offload(pool, by_reference);
        sum += co_await offload(pool, empty);
        sum += co_await offload_detached(pool, by_value);
        CHECK(captures_reported().empty());
        sum += co_await offload(pool, holds);
        CHECK(captures_reported().size() == 1);
        sum += co_await offload_detached(pool, holds_any);
        CHECK(captures_reported().size() == 2);
        co_return sum;
    };
    CHECK(grafo::run(body()) == 6);
    for (const std::string& message : captures_reported()) {
        CHECK_THAT(message, ContainsSubstring("holds a handle of node 'number'"));
    }
}
#endif

// ---- other threads
// ---------------------------------------------------------------------------------

TEST_CASE("Functions are posted from many threads, each thread's in order") {
    constexpr int thread_count = 4;
    constexpr int posts = 250;
    EventLoop loop;
    std::vector<std::vector<int>> seen(thread_count);
    const std::thread::id home = std::this_thread::get_id();
    int elsewhere = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < thread_count; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < posts; ++i) {
                loop.post([&, t, i] {
                    seen[static_cast<std::size_t>(t)].push_back(i);
                    if (std::this_thread::get_id() != home) ++elsewhere;
                });
            }
        });
    }
    ThreadPool pool{1};
    const auto join = [&] {
        for (std::thread& thread : threads) thread.join();
    };
    const auto root = [&]() -> Task<> { co_await offload(pool, join); };
    loop.run(root());
    CHECK(elsewhere == 0);
    for (const std::vector<int>& of_thread : seen) {
        REQUIRE(of_thread.size() == posts);
        CHECK(std::is_sorted(of_thread.begin(), of_thread.end()));
    }
}

TEST_CASE("A second stop from another thread reaches the clean-up of a node") {
    std::latch working(1);
    std::latch cleaning(1);
    std::vector<std::string> log;
    ThreadPool pool{1};
    const auto body = [&](bool detached) -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            working.count_down();
            while (!stop) std::this_thread::yield();
        };
        const auto clean = [&](const StopFlag& stop) {
            cleaning.count_down();
            while (!stop) std::this_thread::yield();
        };
        try {
            co_await offload(pool, work);
        } catch (const Cancelled&) {
            log.emplace_back("cancelled");
        }
        try {
            if (detached) co_await offload_detached(pool, clean);
            if (!detached) co_await offload(pool, clean);
        } catch (const Cancelled&) {
            log.emplace_back("cancelled again");
        }
    };
    bool detached = false;
    SECTION("offload") {}
    SECTION("offload_detached") { detached = true; }
    Node node{"node", body, "detached"_a = detached};
    TreeExecutor executor{node};
    std::thread stopper([&] {
        working.wait();
        executor.stop();
        cleaning.wait();
        executor.stop();
    });
    const RunReport report = grafo::run(executor.try_run());
    stopper.join();
    drain(pool);
    CHECK(log == std::vector<std::string>{"cancelled", "cancelled again"});
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("A run that another thread stops before it begins starts nothing") {
    bool called = false;
    Node node{"node", [&] { called = true; }};
    TreeExecutor executor{node};
    Task<RunReport> run = executor.try_run();
    std::thread([&] { executor.stop(); }).join();
    const RunReport report = grafo::run(std::move(run));
    CHECK(report.stopped());
    CHECK_FALSE(called);
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("A run may be stopped by many threads while its work ends on others") {
    ThreadPool pool{2};
    Counted::reset();
    for (int round = 0; round < 100; ++round) {
        const bool detached = round % 2 == 0;
        std::latch begun(1);
        std::vector<Node<int>> nodes;
        const auto body = [&](int number) -> Task<int> {
            auto work = [counted = Counted{number}, number, &begun](const StopFlag& stop) {
                if (number == 0) begun.count_down();
                for (int i = 0; i < number && !stop; ++i) std::this_thread::yield();
                return counted.value;
            };
            if (detached) co_return co_await offload_detached(pool, std::move(work));
            co_return co_await offload(pool, std::move(work));
        };
        for (int i = 0; i < 8; ++i) {
            nodes.push_back(Node<int>{"node " + std::to_string(i), body, "number"_a = i});
        }
        TreeExecutor executor{nodes};
        const auto stop = [&] {
            begun.wait();
            executor.stop();
        };
        std::thread first(stop);
        std::thread second(stop);
        std::optional<EventLoop> loop;
        loop.emplace();
        const RunReport report = loop->run(executor.try_run());
        if (round % 4 == 0) loop.reset();  // abandoned work may outlive it
        first.join();
        second.join();
        CHECK(report.completed().size() + report.cancelled().size() == 8);
        for (int i = 0; i < 8; ++i) {
            const Node<int>& node = nodes[static_cast<std::size_t>(i)];
            if (node.state() == NodeState::completed) CHECK(node.output() == i);
        }
        // What is still queued refers to this round.
        drain(pool);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Work ends while its loop is being destroyed") {
    ThreadPool pool{2};
    ThreadPool waiting{1};
    Counted::reset();
    for (int round = 0; round < 100; ++round) {
        std::atomic<bool> go{false};
        std::latch begun(1);
        std::latch out(1);
        {
            EventLoop loop;
            const auto task = [&]() -> Task<> {
                auto work = [counted = Counted{1}, &begun, &go] {
                    begun.count_down();
                    while (!go) std::this_thread::yield();
                    return counted;
                };
                co_await offload_detached(pool, std::move(work));
            };
            cancel_once_begun(loop, waiting, begun, task());
            pool.enqueue([&] {
                go = true;
                out.count_down();
            });
        }
        out.wait();
        drain(pool);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Many nodes share a pool, with failures among them") {
    ThreadPool pool{3};
    for (int round = 0; round < 10; ++round) {
        std::vector<Node<int>> nodes;
        const auto body = [&](int number) -> Task<int> {
            const auto work = [number] {
                if (number % 10 == 9) throw std::runtime_error("every tenth");
                return number;
            };
            const int first = co_await offload(pool, work);
            co_return first + co_await offload_detached(pool, work);
        };
        for (int i = 0; i < 100; ++i) nodes.push_back(Node<int>{body, "number"_a = i});
        TreeExecutor executor{nodes};
        executor.on_error(ErrorPolicy::keep_going);
        const RunReport report = grafo::run(executor.try_run());
        CHECK(report.completed().size() == 90);
        CHECK(report.failed().size() == 10);
        CHECK(nodes[42].output() == 84);
    }
}
