#include <grafo/asio.hpp>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>
#include <asio/write.hpp>
#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <atomic>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Loops that are driven by an io_context, which the user runs.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using asio::ip::tcp;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

Task<int> number_after(std::chrono::milliseconds time, int number) {
    co_await sleep_for(time);
    co_return number;
}
Task<> fail_after(std::chrono::milliseconds time, std::string what) {
    co_await sleep_for(time);
    throw std::runtime_error(what);
}
Task<> stuck(Counted = Counted()) { co_await std::suspend_always(); }

// A handler that keeps what it is told.
struct Kept {
    explicit Kept(std::string& place) : text(&place) {}
    void operator()(std::exception_ptr error) const {
        try {
            if (error != nullptr) std::rethrow_exception(error);
            *text = "done";
        } catch (const std::exception& exception) {
            *text = exception.what();
        }
    }
    void operator()(std::exception_ptr error, int number) const {
        (*this)(error);
        if (error == nullptr) *text = std::to_string(number);
    }
    std::string* text;
};

struct Pair {
    explicit Pair(asio::io_context& context) : here(context), there(context) {
        tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        here.connect(acceptor.local_endpoint());
        acceptor.accept(there);
    }
    tcp::socket here;
    tcp::socket there;
};

const std::string aborted = asio::error_code(asio::error::operation_aborted).message();

}  // namespace

TEST_CASE("A task spawned in a context runs when that is run, and its handler gets the result") {
    asio::io_context context;
    std::string number;
    std::string nothing;
    std::string failed;
    co_spawn(context, number_after(1ms, 7), Kept(number));
    const auto body = []() -> Task<> { co_await yield(); };
    co_spawn(context, body(), Kept(nothing));
    co_spawn(context, fail_after(0ms, "failed"), Kept(failed));
    CHECK(nothing.empty());
    context.run();
    CHECK(number == "7");
    CHECK(nothing == "done");
    CHECK(failed == "failed");
}

TEST_CASE("The end of a spawned task is given to any token of Asio's") {
    asio::io_context context;
    std::future<int> number = co_spawn(context, number_after(1ms, 7), asio::use_future);
    std::future<void> failed = co_spawn(context, fail_after(1ms, "failed"), asio::use_future);
    bool done = false;
    const auto body = [&]() -> Task<> {
        done = true;
        co_return;
    };
    co_spawn(context, body(), asio::detached);
    co_spawn(context, fail_after(0ms, "nobody sees this"), asio::detached);
    context.run();
    CHECK(number.get() == 7);
    CHECK_THROWS_WITH(failed.get(), "failed");
    CHECK(done);
}

TEST_CASE("An empty task is not spawned") {
    asio::io_context context;
    CHECK_THROWS_AS(co_spawn(context, Task<>(), asio::detached), Error);
}

TEST_CASE("Several runs are driven by one context, between handlers of its own") {
    asio::io_context context;
    int turns = 0;
    int handlers_between = 0;
    int at_last_turn = 0;
    bool running = true;
    struct Again {
        asio::io_context& context;
        int& calls;
        const bool& running;
        void operator()() const {
            ++calls;
            if (running) asio::post(context, *this);
        }
    };
    int calls = 0;
    const auto work = [&](int steps) -> Task<int> {
        for (int i = 0; i < steps; ++i) {
            co_await yield();
            ++turns;
            if (calls > at_last_turn) ++handlers_between;
            at_last_turn = calls;
        }
        co_return steps;
    };
    std::vector<Node<int>> sums;
    int reports = 0;
    for (int i = 0; i < 5; ++i) {
        Node first{"first", work, "steps"_a = 100};
        Node second{"second", work, "steps"_a = 50};
        Node sum{"sum", [](int a, int b) { return a + b; }, "a"_a = first, "b"_a = second};
        sums.push_back(sum);
        co_spawn(context, TreeExecutor{sum}.run(),
                 [&](std::exception_ptr error, const RunReport& report) {
                     CHECK(error == nullptr);
                     CHECK(report.completed().size() == 3);
                     if (++reports == 5) running = false;
                 });
    }
    asio::post(context, Again{context, calls, running});
    context.run();
    CHECK(reports == 5);
    for (const Node<int>& sum : sums) CHECK(sum.output() == 150);
    CHECK(turns == 5 * 150);
    CHECK(calls > 90);  // of a hundred rounds
    CHECK(handlers_between > 90);
}

TEST_CASE("All tasks of a context share its loop, and what belongs to a loop") {
    asio::io_context context;
    Semaphore semaphore(1);
    std::vector<EventLoop*> loops;
    std::vector<int> order;
    const auto body = [&](int number) -> Task<> {
        loops.push_back(&EventLoop::current());
        CHECK(&current_io_context() == &context);
        const auto guard = co_await semaphore.acquire();
        co_await sleep_for(1ms);
        order.push_back(number);
    };
    for (int i = 0; i < 3; ++i) co_spawn(context, body(i), asio::detached);
    context.run();
    REQUIRE(loops.size() == 3);
    CHECK(loops[0] == loops[1]);
    CHECK(loops[0] == loops[2]);
    CHECK(order == std::vector<int>{0, 1, 2});
    CHECK_THROWS_AS(EventLoop::current(), Error);
}

TEST_CASE("A driven loop is not polled: a context that waits for it calls few handlers") {
    asio::io_context context;
    std::string end;
    co_spawn(context, number_after(30ms, 1), Kept(end));
    const std::size_t handlers = context.run();
    CHECK(end == "1");
    CHECK(handlers <= 8);
}

TEST_CASE("A context runs as long as there are tasks, and no longer") {
    std::atomic<bool> may_end = false;
    ThreadPool pool{1};
    asio::io_context context;
    bool done = false;
    const auto body = [&]() -> Task<> {
        const auto wait = [&] { may_end.wait(false); };
        co_await offload(pool, wait);
        done = true;
    };
    co_spawn(context, body(), asio::detached);
    asio::steady_timer timer(context, 1ms);
    timer.async_wait([&](const asio::error_code&) {
        CHECK_FALSE(done);
        may_end = true;
        may_end.notify_all();
    });
    context.run();
    CHECK(done);
    context.restart();
    std::string again;
    co_spawn(context, number_after(1ms, 2), Kept(again));
    context.run();
    CHECK(again == "2");
}

TEST_CASE("An echo server and its client are tasks in a context, for 1,000 messages") {
    asio::io_context context;
    Pair pair(context);
    const auto serve = [&]() -> Task<int> {
        std::string data(64, ' ');
        for (int served = 0;; ++served) {
            std::size_t size = 0;
            try {
                size = co_await pair.there.async_read_some(asio::buffer(data), use_task);
            } catch (const asio::system_error&) {
                co_return served;
            }
            co_await asio::async_write(pair.there, asio::buffer(data, size), use_task);
        }
    };
    const auto ask = [&]() -> Task<int> {
        std::string answer;
        for (int i = 0; i < 1000; ++i) {
            const std::string message = std::to_string(i) + "\n";
            co_await asio::async_write(pair.here, asio::buffer(message), use_task);
            answer.clear();
            co_await asio::async_read_until(pair.here, asio::dynamic_buffer(answer), '\n',
                                            use_task);
            if (answer != message) throw std::runtime_error("another message: " + answer);
        }
        pair.here.close();
        co_return 1000;
    };
    std::string served;
    std::string asked;
    co_spawn(context, serve(), Kept(served));
    co_spawn(context, ask(), Kept(asked));
    context.run();
    CHECK(served == "1000");
    CHECK(asked == "1000");
}

TEST_CASE("Tasks are spawned from other threads, and posts from there wake the loop") {
    constexpr int threads = 3;
    constexpr int tasks = 100;
    std::atomic<int> begun = 0;
    asio::io_context context;
    auto work = asio::make_work_guard(context);
    int ended = 0;
    std::vector<std::thread> spawners;
    const auto body = [&]() -> Task<> {
        ++begun;
        co_await yield();
        EventLoop& loop = EventLoop::current();
        loop.post([&] {
            if (++ended == threads * tasks) work.reset();
        });
    };
    for (int t = 0; t < threads; ++t) {
        spawners.emplace_back([&] {
            for (int i = 0; i < tasks; ++i) co_spawn(context, body(), asio::detached);
        });
    }
    context.run();
    for (std::thread& spawner : spawners) spawner.join();
    CHECK(begun == threads * tasks);
    CHECK(ended == threads * tasks);
}

TEST_CASE("A run that a context drives is stopped by a handler and from another thread") {
    std::atomic<bool> begun = false;
    asio::io_context context;
    Pair pair(context);
    const auto read = [&]() -> Task<> {
        begun = true;
        begun.notify_all();
        char data[1];
        co_await asio::async_read(pair.here, asio::buffer(data), use_task);
    };
    for (const bool other_thread : {false, true}) {
        begun = false;
        Node node{"read", read};
        TreeExecutor executor{node};
        bool told = false;
        co_spawn(context, executor.try_run(), [&](std::exception_ptr, const RunReport& report) {
            told = true;
            CHECK(report.cancelled().size() == 1);
        });
        std::thread thread;
        asio::steady_timer timer(context, 1ms);
        if (other_thread) {
            thread = std::thread([&] {
                begun.wait(false);
                executor.stop();
            });
        } else {
            timer.async_wait([&](const asio::error_code&) { executor.stop(); });
        }
        context.run();
        context.restart();
        CHECK(told);
        if (other_thread) thread.join();
    }
}

TEST_CASE("The handler's cancellation slot cancels its task, which ends as aborted") {
    asio::io_context context;
    asio::cancellation_signal signal;
    std::string end;
    bool cleaned_up = false;
    const auto body = [&]() -> Task<> {
        std::exception_ptr cancelled;
        try {
            co_await sleep_for(24h);
        } catch (const Cancelled&) {
            cancelled = std::current_exception();
        }
        co_await sleep_for(1ms);
        cleaned_up = true;
        std::rethrow_exception(cancelled);
    };
    co_spawn(context, body(), asio::bind_cancellation_slot(signal.slot(), Kept(end)));
    asio::steady_timer timer(context, 1ms);
    SECTION("while it waits") {
        timer.async_wait(
            [&](const asio::error_code&) { signal.emit(asio::cancellation_type::terminal); });
        context.run();
        CHECK(cleaned_up);
    }
    SECTION("before it has begun") {
        signal.emit(asio::cancellation_type::terminal);
        context.run();
    }
    CHECK(end == aborted);
    signal.emit(asio::cancellation_type::terminal);  // nothing is there any more
}

TEST_CASE("The handler is called on its own executor") {
    std::atomic<int> called = 0;
    asio::thread_pool pool(1);
    asio::io_context context;
    std::thread::id where;
    co_spawn(context, number_after(1ms, 3),
             asio::bind_executor(pool, [&](std::exception_ptr, int number) {
                 where = std::this_thread::get_id();
                 called = number;
             }));
    context.run();
    pool.join();
    CHECK(called == 3);
    CHECK(where != std::this_thread::get_id());
}

TEST_CASE("What a task throws that was spawned inside comes out of the context's run") {
    asio::io_context context;
    std::string end;
    const auto body = []() -> Task<int> {
        EventLoop::current().spawn(fail_after(0ms, "spawned inside"));
        co_await sleep_for(5ms);
        co_return 1;
    };
    co_spawn(context, body(), Kept(end));
    CHECK_THROWS_WITH(context.run(), "spawned inside");
    context.run();
    CHECK(end == "1");
}

TEST_CASE("A context that was stopped goes on with its tasks when it is run again") {
    asio::io_context context;
    std::string end;
    const auto body = [&]() -> Task<int> {
        co_await yield();
        context.stop();
        co_await sleep_for(1ms);
        co_return 1;
    };
    co_spawn(context, body(), Kept(end));
    context.run();
    CHECK(end.empty());
    context.restart();
    context.run();
    CHECK(end == "1");
}

TEST_CASE("A task that runs its context itself does not run its loop in there") {
    asio::io_context context;
    std::string end;
    bool other = false;
    bool handler = false;
    const auto second = [&]() -> Task<> {
        other = true;
        co_return;
    };
    const auto body = [&]() -> Task<int> {
        EventLoop& loop = EventLoop::current();
        co_spawn(context, second(), asio::detached);
        asio::post(context, [&] { handler = true; });
        while (!handler) context.poll_one();
        CHECK_FALSE(other);
        CHECK(&EventLoop::current() == &loop);
        while (!other) co_await yield();
        co_return 1;
    };
    co_spawn(context, body(), Kept(end));
    context.run();
    CHECK(end == "1");
}

TEST_CASE("A loop that sleeps in a context runs beside the tasks that this drives") {
    asio::io_context context;
    std::string end;
    bool done = false;
    const auto inner = [&]() -> Task<int> {
        for (int i = 0; i < 10; ++i) co_await sleep_for(1ms);
        done = true;
        co_return 1;
    };
    const auto outer = [&]() -> Task<> {
        EventLoop* const loop = &EventLoop::current();
        while (!done) {
            co_await sleep_for(1ms);
            CHECK(&EventLoop::current() == loop);
        }
        while (end.empty()) co_await yield();
    };
    co_spawn(context, inner(), Kept(end));
    grafo::run(context, outer());
    CHECK(end == "1");
}

TEST_CASE("A loop awaits a task that another thread's context drives, and cancels it there") {
    std::atomic<bool> cancelled = false;
    asio::io_context theirs;
    auto work = asio::make_work_guard(theirs);
    std::thread thread([&] { theirs.run(); });
    const auto answer = []() -> Task<std::thread::id> {
        co_await sleep_for(1ms);
        co_return std::this_thread::get_id();
    };
    const auto endless = [&]() -> Task<> {
        try {
            co_await sleep_for(24h);
        } catch (const Cancelled&) {
            cancelled = true;
            throw;
        }
    };
    const auto body = [&]() -> Task<> {
        const std::thread::id where = co_await co_spawn(theirs, answer(), use_task);
        CHECK(where == thread.get_id());
        bool timed_out = false;
        try {
            co_await with_timeout(1ms, co_spawn(theirs, endless(), use_task));
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(cancelled);
    };
    grafo::run(body());
    work.reset();
    thread.join();
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE("A coroutine of Asio's awaits a task of the loop of its context") {
    asio::io_context context;
    int got = 0;
    const auto body = [&]() -> asio::awaitable<void> {
        got = co_await grafo::co_spawn(context, number_after(1ms, 5), asio::use_awaitable);
    };
    asio::co_spawn(context, body(), asio::detached);
    context.run();
    CHECK(got == 5);
}
#endif

// --- a context that is destroyed
// ------------------------------------------------------------------

TEST_CASE("A context that is destroyed drops its tasks, wherever they wait, and resumes none") {
    Counted::reset();
    bool resumed = false;
    bool told = false;
    const auto watch = [&](Task<> task) -> Task<> {
        try {
            co_await std::move(task);
        } catch (...) {
        }
        resumed = true;
    };
    const auto sleep = [](Counted) -> Task<> { co_await sleep_for(24h); };
    const auto io = [](Counted) -> Task<> {
        Pair pair(current_io_context());
        std::string data(10, ' ');
        co_await asio::async_read(pair.here, asio::buffer(data), use_task);
    };
    const auto timer = [](Counted) -> Task<> {
        asio::steady_timer wait(current_io_context(), 24h);
        co_await wait.async_wait(use_task);
    };
    const auto run = [&](Counted) -> Task<> {
        Node a{"sleep", sleep, "counted"_a = Counted(1)};
        Node b{"io", io, "counted"_a = Counted(2)};
        Node c{"timer", timer, "counted"_a = Counted(3)};
        TreeExecutor executor{a, b, c};
        co_await executor.run();
    };
    const auto dropped_inside = [&](Counted) -> Task<> {
        Node node{"io", io, "counted"_a = Counted(4)};
        {
            auto events = TreeExecutor{node}.yielding();
            static_cast<void>(co_await events.next());
            co_await yield();
        }
        co_await std::suspend_always();
    };
    {
        asio::io_context context;
        std::vector<Task<>> tasks;
        tasks.push_back(sleep(Counted(5)));
        tasks.push_back(io(Counted(6)));
        tasks.push_back(timer(Counted(7)));
        tasks.push_back(run(Counted(8)));
        tasks.push_back(stuck(Counted(9)));
        tasks.push_back(dropped_inside(Counted(10)));
        for (Task<>& task : tasks) {
            Task<> watched = watch(std::move(task));
            co_spawn(context, std::move(watched), [&](std::exception_ptr) { told = true; });
        }
        asio::steady_timer enough(context, 1ms);
        enough.async_wait([&](const asio::error_code&) { context.stop(); });
        context.run();
        CHECK(Counted::live() > 0);
        Task<> watched = watch(sleep(Counted(11)));
        co_spawn(context, std::move(watched), asio::detached);  // it is not even there yet
    }
    CHECK(Counted::live() == 0);
    CHECK_FALSE(resumed);
    CHECK_FALSE(told);
}

TEST_CASE("A context that is destroyed right where a dropped frame waits for its operation") {
    Counted::reset();
    {
        asio::io_context context;
        const auto io = [](Counted) -> Task<> {
            Pair pair(current_io_context());
            std::string data(10, ' ');
            co_await asio::async_read(pair.here, asio::buffer(data), use_task);
        };
        const auto body = [&](Counted) -> Task<> {
            Node node{"io", io, "counted"_a = Counted(1)};
            {
                auto events = TreeExecutor{node}.yielding();
                static_cast<void>(co_await events.next());
                co_await yield();
                context.stop();  // before the operation has noticed
            }
            co_await std::suspend_always();
        };
        co_spawn(context, body(Counted(2)), asio::detached);
        context.run();
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A context that is destroyed waits for what its tasks have offloaded") {
    std::atomic<bool> begun = false;
    std::atomic<bool> ended = false;
    ThreadPool pool{1};
    Counted::reset();
    {
        asio::io_context context;
        const auto body = [&](Counted counted) -> Task<> {
            const auto work = [&](const StopFlag& stop) {
                begun = true;
                begun.notify_all();
                while (!stop) std::this_thread::yield();
                ended = counted.value == 1;
            };
            co_await offload(pool, work);
        };
        co_spawn(context, body(Counted(1)), asio::detached);
        while (!begun) context.poll();
    }
    CHECK(ended);
    CHECK(Counted::live() == 0);
}
