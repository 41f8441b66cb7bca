#include <atomic>
#include <chrono>
#include <coroutine>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo::EventLoop;
using grafo::Task;
using grafo::virtual_time;
using grafo_test::Counted;

namespace {

Task<int> number(int value) { co_return value; }

Task<> wait(std::chrono::nanoseconds time) { co_await grafo::sleep_for(time); }

// True if the time passed, false if the sleep was cancelled.
Task<bool> slept(std::chrono::nanoseconds time) {
    try {
        co_await grafo::sleep_for(time);
        co_return true;
    } catch (const grafo::Cancelled&) {
        co_return false;
    }
}

// Returns only after a cancellation, and takes it.
Task<> stuck() {
    try {
        co_await std::suspend_always();
    } catch (const grafo::Cancelled&) {
    }
}

Task<> fail_after(std::chrono::nanoseconds time, std::string what) {
    co_await grafo::sleep_for(time);
    throw std::runtime_error(what);
}

}  // namespace

// --- run -------------------------------------------------------------------------------------

TEST_CASE("run gives the task's result") {
    EventLoop loop;
    CHECK(loop.run(number(1)) == 1);
    STATIC_REQUIRE(std::is_void_v<decltype(loop.run(std::declval<Task<>>()))>);
}

TEST_CASE("run rethrows what the task threw") {
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(fail_after(1s, "failed")), "failed");
}

TEST_CASE("A loop can run one task after the other, also after an error") {
    EventLoop loop{virtual_time};
    CHECK(loop.run(number(1)) == 1);
    CHECK_THROWS_WITH(loop.run(fail_after(1s, "failed")), "failed");
    CHECK(loop.run(number(2)) == 2);
    CHECK_THROWS_AS(loop.run(stuck()), grafo::DeadlockError);
    CHECK(loop.run(number(3)) == 3);
}

TEST_CASE("run inside a running loop throws Error, which says what to do instead") {
    const auto body = [](EventLoop& outer) -> Task<> {
        CHECK_THROWS_AS(grafo::run(number(1)), grafo::Error);
        CHECK_THROWS_WITH(grafo::run(number(1)), ContainsSubstring("co_await"));
        CHECK_THROWS_AS(outer.run(number(1)), grafo::Error);
        EventLoop other;
        CHECK_THROWS_AS(other.run(number(1)), grafo::Error);
        co_await grafo::yield();
    };
    EventLoop loop;
    loop.run(body(loop));
    CHECK(loop.run(number(2)) == 2);
}

TEST_CASE("An empty task is refused by run and by spawn with Error") {
    EventLoop loop;
    CHECK_THROWS_AS(loop.run(Task<>()), grafo::Error);
    CHECK_THROWS_AS(loop.spawn(Task<>()), grafo::Error);
    CHECK(loop.run(number(1)) == 1);
}

TEST_CASE("current is the loop that runs on this thread") {
    EventLoop loop;
    const auto body = [&]() -> Task<> {
        CHECK(&EventLoop::current() == &loop);
        co_await grafo::yield();
        CHECK(&EventLoop::current() == &loop);
    };
    loop.run(body());
}

TEST_CASE("current throws Error where no loop runs") {
    CHECK_THROWS_AS(EventLoop::current(), grafo::Error);
    EventLoop loop;
    CHECK_THROWS_AS(EventLoop::current(), grafo::Error);
    loop.run(number(1));
    CHECK_THROWS_WITH(EventLoop::current(), ContainsSubstring("no EventLoop is running"));
}

TEST_CASE("Each thread may run a loop of its own at the same time") {
    std::atomic<int> both{0};
    const auto meet = [&]() -> Task<int> {
        both.fetch_add(1);
        while (both.load() < 2) co_await grafo::yield();  // ends only if both run at once
        co_return 1;
    };
    int there = 0;
    std::thread thread([&] { there = grafo::run(meet()); });
    const int here = grafo::run(meet());
    thread.join();
    CHECK(here == 1);
    CHECK(there == 1);
}

TEST_CASE("A loop may run on one thread after the other") {
    EventLoop loop{virtual_time};
    loop.run(wait(1h));
    int there = 0;
    std::thread thread([&] { there = loop.run(number(4)); });
    thread.join();
    CHECK(there == 4);
    CHECK(loop.run(number(5)) == 5);
}

TEST_CASE("What is ready runs in the order in which it became ready") {
    std::string order;
    const auto letter = [&](char name) -> Task<> {
        for (int i = 0; i < 3; ++i) {
            order += name;
            co_await grafo::yield();
        }
    };
    const auto body = [&]() -> Task<> {
        EventLoop& loop = EventLoop::current();
        loop.spawn(letter('a'));
        loop.spawn(letter('b'));
        co_await letter('c');
    };
    grafo::run(body());
    CHECK(order == "cabcabcab");
}

// --- spawn -----------------------------------------------------------------------------------

TEST_CASE("A spawned task runs beside the one that spawned it") {
    int done = 0;
    const auto work = [&]() -> Task<> {
        co_await grafo::sleep_for(1s);
        ++done;
    };
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 3; ++i) EventLoop::current().spawn(work());
        CHECK(done == 0);
        co_await grafo::sleep_for(2s);
        CHECK(done == 3);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
}

TEST_CASE("spawn does not start the task in place") {
    bool started = false;
    const auto work = [&]() -> Task<> {
        started = true;
        co_return;
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(work());
        CHECK_FALSE(started);
        co_await grafo::yield();
        CHECK(started);
    };
    grafo::run(body());
}

TEST_CASE("The value of a spawned task is dropped") {
    Counted::reset();
    const auto make = []() -> Task<Counted> { co_return Counted(1); };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(make());
        co_await grafo::sleep_for(1s);
        CHECK(Counted::constructed() == 1);
        CHECK(Counted::live() == 0);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
}

TEST_CASE("What was spawned before run starts in it") {
    bool started = false;
    const auto work = [&]() -> Task<> {
        started = true;
        co_return;
    };
    EventLoop loop{virtual_time};
    loop.spawn(work());
    CHECK_FALSE(started);
    loop.run(wait(1s));
    CHECK(started);
}

TEST_CASE("An exception of a spawned task ends run with it; the task is cancelled first") {
    bool cancelled = false;
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(fail_after(1s, "spawned"));
        try {
            co_await grafo::sleep_for(1h);
        } catch (const grafo::Cancelled&) {
            cancelled = true;
            throw;
        }
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    CHECK_THROWS_WITH(loop.run(body()), "spawned");
    CHECK(cancelled);
    CHECK(loop.now() - start == 1s);
}

TEST_CASE("An exception of a spawned task ends run also if the task returns a value after it") {
    const auto body = []() -> Task<int> {
        EventLoop::current().spawn(fail_after(1s, "spawned"));
        const bool cancelled = !co_await slept(1h);
        CHECK(cancelled);
        co_return 1;
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(body()), "spawned");
}

TEST_CASE("Of several exceptions of spawned tasks the first one ends run") {
    const auto body = []() -> Task<> {
        EventLoop::current().spawn(fail_after(2s, "second"));
        EventLoop::current().spawn(fail_after(1s, "first"));
        if (!co_await slept(1h)) co_await grafo::sleep_for(5s);
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(body()), "first");
}

TEST_CASE("A spawned task that throws Cancelled ends quietly") {
    const auto give_up = []() -> Task<> {
        co_await grafo::yield();
        throw grafo::Cancelled();
    };
    const auto body = [&]() -> Task<int> {
        EventLoop::current().spawn(give_up());
        co_await grafo::sleep_for(1s);
        co_return 1;
    };
    EventLoop loop{virtual_time};
    CHECK(loop.run(body()) == 1);
}

TEST_CASE("When the task is done, spawned tasks are cancelled and awaited, clean-up included") {
    std::vector<std::string> order;
    const auto work = [&](std::string name) -> Task<> {
        if (co_await slept(1h)) order.push_back(name + " was not cancelled");
        co_await grafo::sleep_for(5s);  // clean-up may await
        order.push_back(name);
    };
    const auto body = [&]() -> Task<int> {
        EventLoop::current().spawn(work("first"));
        EventLoop::current().spawn(work("second"));
        co_await grafo::sleep_for(1s);
        order.push_back("body");
        co_return 1;
    };
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    CHECK(loop.run(body()) == 1);
    CHECK(order == std::vector<std::string>{"body", "first", "second"});
    CHECK(loop.now() - start == 6s);
}

TEST_CASE("When the task throws, spawned tasks are cancelled and awaited before run throws") {
    Counted::reset();
    bool cancelled = false;
    const auto work = [&]() -> Task<> {
        const Counted local;
        cancelled = !co_await slept(1h);
        co_await grafo::yield();
    };
    EventLoop loop{virtual_time};
    loop.spawn(work());
    CHECK_THROWS_WITH(loop.run(fail_after(1s, "failed")), "failed");
    CHECK(cancelled);
    CHECK(Counted::live() == 0);
}

TEST_CASE("An exception of a spawned task's clean-up comes out of run") {
    const auto work = []() -> Task<> {
        if (!co_await slept(1h)) throw std::runtime_error("clean-up failed");
    };
    EventLoop loop{virtual_time};
    loop.spawn(work());
    CHECK_THROWS_WITH(loop.run(wait(1s)), "clean-up failed");
}

TEST_CASE("A task spawned by the clean-up at the end of run is cancelled and awaited as well") {
    std::string ended;
    const auto late = [&]() -> Task<> { ended = co_await slept(1h) ? "slept" : "cancelled"; };
    const auto work = [&]() -> Task<> {
        if (!co_await slept(1h)) EventLoop::current().spawn(late());
    };
    EventLoop loop{virtual_time};
    loop.spawn(work());
    loop.run(wait(1s));
    CHECK(ended == "cancelled");
}

TEST_CASE("A spawned task that waits for nothing that can come is dropped at the end of run") {
    Counted::reset();
    const auto stubborn = []() -> Task<> {
        const Counted local;
        for (;;) co_await stuck();
    };
    EventLoop loop{virtual_time};
    loop.spawn(stubborn());
    loop.run(wait(1s));
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A spawned task is destroyed when it ends, not when run ends") {
    Counted::reset();
    const auto work = [](Counted) -> Task<> { co_await grafo::sleep_for(1s); };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(work(Counted(1)));
        CHECK(Counted::live() == 1);
        co_await grafo::sleep_for(2s);
        CHECK(Counted::live() == 0);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
}

TEST_CASE("A loop that is destroyed without running destroys what was spawned") {
    Counted::reset();
    bool started = false;
    const auto work = [&](Counted) -> Task<> {
        started = true;
        co_return;
    };
    {
        EventLoop loop;
        loop.spawn(work(Counted(1)));
        loop.spawn(work(Counted(2)));
        CHECK(Counted::live() == 2);
    }
    CHECK(Counted::live() == 0);
    CHECK_FALSE(started);
}

TEST_CASE("A task of 10,000 spawned tasks runs each once") {
    int count = 0;
    const auto work = [&]() -> Task<> {
        co_await grafo::yield();
        ++count;
    };
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 10'000; ++i) EventLoop::current().spawn(work());
        co_await grafo::sleep_for(1s);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
    CHECK(count == 10'000);
}

// --- post ------------------------------------------------------------------------------------

TEST_CASE("A posted function is called on the loop's thread, while the loop runs") {
    std::thread::id called_on;
    bool called = false;
    EventLoop loop;
    const auto body = [&]() -> Task<> {
        std::thread thread([&] {
            loop.post([&] {
                called_on = std::this_thread::get_id();
                called = true;
            });
        });
        thread.join();
        while (!called) co_await grafo::yield();
    };
    loop.run(body());
    CHECK(called_on == std::this_thread::get_id());
}

TEST_CASE("A posted function is not called in place") {
    bool called = false;
    const auto body = [&]() -> Task<> {
        EventLoop::current().post([&] { called = true; });
        CHECK_FALSE(called);
        while (!called) co_await grafo::yield();
    };
    grafo::run(body());
    CHECK(called);
}

TEST_CASE("What is posted before run is called by it, in the order of the posts") {
    std::vector<int> order;
    EventLoop loop{virtual_time};
    for (int i = 0; i < 3; ++i) loop.post([&order, i] { order.push_back(i); });
    CHECK(order.empty());
    loop.run(wait(1s));
    CHECK(order == std::vector<int>{0, 1, 2});
}

TEST_CASE("What is posted between two runs is called by the second") {
    bool called = false;
    EventLoop loop{virtual_time};
    loop.run(wait(1s));
    loop.post([&] { called = true; });
    CHECK_FALSE(called);
    loop.run(wait(1s));
    CHECK(called);
}

TEST_CASE("Many threads may post at once: each post is called once, those of a thread in order") {
    constexpr int threads = 4;
    constexpr int posts = 1'000;
    std::vector<std::vector<int>> seen(threads);
    int total = 0;
    EventLoop loop;
    const auto body = [&]() -> Task<> {
        std::vector<std::thread> posters;
        for (std::size_t t = 0; t < threads; ++t) {
            posters.emplace_back([&, t] {
                for (int i = 0; i < posts; ++i) {
                    loop.post([&, t, i] {
                        seen[t].push_back(i);
                        ++total;
                    });
                }
            });
        }
        while (total < threads * posts) co_await grafo::yield();
        for (std::thread& poster : posters) poster.join();
    };
    loop.run(body());
    CHECK(total == threads * posts);
    for (const std::vector<int>& of_thread : seen) {
        REQUIRE(of_thread.size() == posts);
        bool ordered = true;
        for (int i = 0; i < posts; ++i) ordered &= of_thread[static_cast<std::size_t>(i)] == i;
        CHECK(ordered);
    }
}

TEST_CASE("A posted function may be move-only, and is destroyed after its call") {
    Counted::reset();
    auto owned = std::make_unique<Counted>(3);
    int value = 0;
    EventLoop loop{virtual_time};
    loop.post([&value, o = std::move(owned)] { value = o->value; });
    CHECK(Counted::live() == 1);
    loop.run(wait(1s));
    CHECK(value == 3);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A posted function may post and spawn") {
    std::vector<std::string> order;
    const auto work = [&]() -> Task<> {
        order.push_back("spawned");
        co_return;
    };
    EventLoop loop{virtual_time};
    loop.post([&] {
        order.push_back("posted");
        loop.post([&] { order.push_back("posted again"); });
        loop.spawn(work());
    });
    loop.run(wait(1s));
    REQUIRE(order.size() == 3);
    CHECK(order[0] == "posted");
    const std::vector<std::string> after{order[1], order[2]};
    CHECK((after == std::vector<std::string>{"posted again", "spawned"} ||
           after == std::vector<std::string>{"spawned", "posted again"}));
}

TEST_CASE("An exception of a posted function ends run with it") {
    bool cancelled = false;
    const auto body = [&]() -> Task<> {
        EventLoop::current().post([] { throw std::runtime_error("posted"); });
        try {
            co_await grafo::sleep_for(1h);
        } catch (const grafo::Cancelled&) {
            cancelled = true;
            throw;
        }
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(body()), "posted");
    CHECK(cancelled);
    CHECK(loop.run(number(1)) == 1);
}

TEST_CASE("After a posted function threw, those posted after it are still called") {
    bool called = false;
    EventLoop loop{virtual_time};
    loop.post([] { throw std::runtime_error("posted"); });
    loop.post([&] { called = true; });
    CHECK_THROWS_WITH(loop.run(wait(1s)), "posted");
    CHECK(called);
}

TEST_CASE("A loop that is destroyed with posts that were never delivered destroys them") {
    Counted::reset();
    bool called = false;
    {
        EventLoop loop;
        loop.post([&called, counted = Counted(1)] { called = counted.value != 0; });
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
    CHECK_FALSE(called);
}

TEST_CASE("A loop that only a post can wake waits for it as long as a foreign await is out") {
    // The other thread resumes only once the loop was told to begin; the loop has nothing else.
    struct OnThread {
        explicit OnThread(std::thread& t) : thread(t) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const {
            thread = std::thread([handle] { handle.resume(); });
        }
        void await_resume() const noexcept {}
        std::thread& thread;
    };
    std::thread thread;
    const auto body = [&]() -> Task<int> {
        co_await OnThread(thread);
        co_return 1;
    };
    CHECK(grafo::run(body()) == 1);
    thread.join();
}

// --- deadlock --------------------------------------------------------------------------------

TEST_CASE("A task that waits for nothing that can come ends run with DeadlockError") {
    const auto body = []() -> Task<> { co_await std::suspend_always(); };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    CHECK_THROWS_WITH(grafo::run(body()),
                      ContainsSubstring("deadlock") && ContainsSubstring("the task waits"));
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(body()), grafo::DeadlockError);
}

TEST_CASE("A deadlock names the nodes that wait") {
    using namespace grafo::literals;
    const auto endless = [](int) -> Task<> { co_await std::suspend_always(); };
    const auto body = [&]() -> Task<> {
        grafo::Node done{"the one that is done", number, "value"_a = 1};
        grafo::Node first{"the first that waits", endless, "after"_a};
        grafo::Node second{"the second that waits", endless, "after"_a};
        done.connect(first, "after"_a);
        done.connect(second, "after"_a);
        co_await grafo::TreeExecutor{done}.run();
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    CHECK_THROWS_WITH(grafo::run(body()), ContainsSubstring("the first that waits") &&
                                              ContainsSubstring("the second that waits") &&
                                              !ContainsSubstring("the one that is done"));
}

TEST_CASE("In a deadlock the task is cancelled first, and may clean up") {
    std::vector<std::string> order;
    const auto body = [&]() -> Task<> {
        co_await stuck();
        order.push_back("cancelled");
        co_await grafo::sleep_for(1s);
        order.push_back("cleaned up");
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(body()), grafo::DeadlockError);
    CHECK(order == std::vector<std::string>{"cancelled", "cleaned up"});
}

TEST_CASE("A task whose clean-up deadlocks too is destroyed") {
    Counted::reset();
    const auto body = []() -> Task<> {
        const Counted local;
        co_await stuck();
        co_await std::suspend_always();
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task that returns a value after a deadlock still ends run with DeadlockError") {
    const auto body = []() -> Task<int> {
        co_await stuck();
        co_return 1;
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
}

TEST_CASE("While a spawned task can go on there is no deadlock") {
    std::coroutine_handle<> waiting;
    struct Park {
        explicit Park(std::coroutine_handle<>& p) : place(p) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const { place = handle; }
        void await_resume() const noexcept {}
        std::coroutine_handle<>& place;
    };
    const auto wake = [&]() -> Task<> {
        co_await grafo::sleep_for(1h);
        waiting.resume();
    };
    const auto body = [&]() -> Task<int> {
        EventLoop::current().spawn(wake());
        co_await Park(waiting);
        co_return 1;
    };
    EventLoop loop{virtual_time};
    CHECK(loop.run(body()) == 1);
}

TEST_CASE("A deadlock after a spawned task's exception does not hide that exception") {
    const auto body = []() -> Task<> {
        EventLoop::current().spawn(fail_after(1s, "the cause"));
        co_await slept(1h);
        co_await std::suspend_always();
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(body()), "the cause");
}

// --- virtual time ----------------------------------------------------------------------------

TEST_CASE("In virtual time, hours take no time and now() advances by them") {
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    std::vector<EventLoop::Clock::duration> seen;
    const auto body = [&]() -> Task<> {
        seen.push_back(loop.now() - start);
        co_await grafo::sleep_for(1h);
        seen.push_back(loop.now() - start);
        co_await grafo::sleep_for(100'000h);
        seen.push_back(loop.now() - start);
    };
    loop.run(body());
    CHECK(seen == std::vector<EventLoop::Clock::duration>{0h, 1h, 100'001h});
}

TEST_CASE("In virtual time, the clock stands still while something is ready") {
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    bool slept = false;
    const auto sleep = [&]() -> Task<> {
        co_await grafo::sleep_for(1ns);
        slept = true;
    };
    const auto body = [&]() -> Task<> {
        loop.spawn(sleep());
        for (int i = 0; i < 1'000; ++i) co_await grafo::yield();
        CHECK(loop.now() == start);
        CHECK_FALSE(slept);
        co_await grafo::sleep_for(1ns);
        CHECK(slept);
    };
    loop.run(body());
}

TEST_CASE("In virtual time, the clock goes on from one run to the next") {
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.run(wait(1h));
    loop.run(wait(2h));
    CHECK(loop.now() - start == 3h);
}

TEST_CASE("In virtual time, equal deadlines are served first come, first served") {
    std::string order;
    EventLoop loop{virtual_time};
    const EventLoop::TimePoint at = loop.now() + 10s;
    const auto for_ten = [&](char name, std::chrono::seconds before) -> Task<> {
        co_await grafo::sleep_for(before);
        co_await grafo::sleep_until(at);
        order += name;
    };
    const auto body = [&]() -> Task<> {
        loop.spawn(for_ten('c', 3s));
        loop.spawn(for_ten('b', 2s));
        loop.spawn(for_ten('d', 4s));
        loop.spawn(for_ten('a', 1s));
        co_await grafo::sleep_for(11s);
    };
    loop.run(body());
    CHECK(order == "abcd");
}

TEST_CASE("In virtual time, the order of a run is the same each time") {
    const auto trace = [] {
        std::string order;
        EventLoop loop{virtual_time};
        const auto work = [&](char name, int period) -> Task<> {
            for (int i = 0; i < 20; ++i) {
                co_await grafo::sleep_for(std::chrono::seconds(period));
                order += name;
            }
        };
        const auto body = [&]() -> Task<> {
            for (int i = 0; i < 8; ++i) loop.spawn(work(static_cast<char>('a' + i), 1 + i % 4));
            co_await grafo::sleep_for(1h);
        };
        loop.run(body());
        return order;
    };
    const std::string first = trace();
    CHECK(first.size() == 160);
    CHECK(first.substr(0, 2) == "ae");
    CHECK(trace() == first);
    CHECK(trace() == first);
}

TEST_CASE("In real time, now() is the steady clock") {
    EventLoop loop;
    const EventLoop::TimePoint before = std::chrono::steady_clock::now();
    const EventLoop::TimePoint now = loop.now();
    const EventLoop::TimePoint after = std::chrono::steady_clock::now();
    CHECK(before <= now);
    CHECK(now <= after);
}

TEST_CASE("A loop cannot be copied or moved") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<EventLoop>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<EventLoop>);
    STATIC_REQUIRE_FALSE(std::is_move_assignable_v<EventLoop>);
}
