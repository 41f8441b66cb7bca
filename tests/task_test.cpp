#include <chrono>
#include <coroutine>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/event_loop.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

#include "catch.hpp"
#include "counted.hpp"

using Catch::Matchers::ContainsSubstring;
using grafo::EventLoop;
using grafo::Task;
using grafo_test::Counted;

namespace {

Task<int> number(int value) { co_return value; }

Task<> mark(bool& started) {
    started = true;
    co_return;
}

}  // namespace

TEST_CASE("A task gives what its body returns") { CHECK(grafo::run(number(42)) == 42); }

TEST_CASE("Awaiting a task gives its value to the awaiting body") {
    const auto sum = []() -> Task<int> {
        const int a = co_await number(1);
        const int b = co_await number(2);
        co_return a + b;
    };
    CHECK(grafo::run(sum()) == 3);
}

TEST_CASE("A task of nothing is Task<>, and runs its body to the end") {
    STATIC_REQUIRE(std::is_same_v<Task<>, Task<void>>);
    STATIC_REQUIRE(std::is_void_v<decltype(grafo::run(std::declval<Task<>>()))>);
    bool started = false;
    grafo::run(mark(started));
    CHECK(started);
}

TEST_CASE("A task may give a reference: the object itself") {
    std::string text = "before";
    const auto refer = [](std::string& to) -> Task<std::string&> { co_return to; };
    const auto change = [&]() -> Task<> {
        std::string& same = co_await refer(text);
        same = "after";
    };
    grafo::run(change());
    CHECK(text == "after");
    CHECK(&grafo::run(refer(text)) == &text);
}

TEST_CASE("A task may give a reference to const") {
    const std::string text = "kept";
    const auto refer = [](const std::string& to) -> Task<const std::string&> { co_return to; };
    CHECK(&grafo::run(refer(text)) == &text);
}

TEST_CASE("A task may give a move-only value") {
    const auto make = [](int value) -> Task<std::unique_ptr<int>> {
        co_return std::make_unique<int>(value);
    };
    const auto use = [&]() -> Task<int> {
        const std::unique_ptr<int> owned = co_await make(7);
        co_return *owned;
    };
    CHECK(grafo::run(use()) == 7);
    CHECK(*grafo::run(make(8)) == 8);
}

TEST_CASE("A task may give a value that cannot be default constructed or assigned") {
    struct Fixed {
        explicit Fixed(int n) : number(n) {}
        const int number;
    };
    const auto make = []() -> Task<Fixed> { co_return Fixed(5); };
    CHECK(grafo::run(make()).number == 5);
}

TEST_CASE("What a body returns is converted to the type of the task") {
    const auto text = []() -> Task<std::string> { co_return "a literal"; };
    const auto braces = []() -> Task<std::vector<int>> { co_return {1, 2, 3}; };
    CHECK(grafo::run(text()) == "a literal");
    CHECK(grafo::run(braces()) == std::vector<int>{1, 2, 3});
}

TEST_CASE("A value on its way out of a task is moved, never copied, and destroyed once") {
    Counted::reset();
    {
        const auto make = []() -> Task<Counted> { co_return Counted(3); };
        const auto pass = [&]() -> Task<Counted> {
            Counted made = co_await make();
            co_return made;
        };
        CHECK(grafo::run(pass()).value == 3);
        CHECK(Counted::constructed() == 1);
        CHECK(Counted::copies() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task that is never awaited never starts") {
    bool started = false;
    {
        const Task<> task = mark(started);
        CHECK_FALSE(started);
    }
    CHECK_FALSE(started);
}

TEST_CASE("A task that is never awaited destroys its arguments") {
    Counted::reset();
    const auto hold = [](Counted counted) -> Task<int> { co_return counted.value; };
    {
        const Task<int> task = hold(Counted(1));
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task starts when it is awaited, not when it is called") {
    std::vector<std::string> order;
    const auto body = [&]() -> Task<> {
        order.push_back("body");
        co_return;
    };
    const auto outer = [&]() -> Task<> {
        Task<> task = body();
        order.push_back("called");
        co_await std::move(task);
        order.push_back("awaited");
    };
    grafo::run(outer());
    CHECK(order == std::vector<std::string>{"called", "body", "awaited"});
}

TEST_CASE("The arguments and locals of an awaited task are gone after the await's expression") {
    Counted::reset();
    const auto hold = [](Counted argument) -> Task<int> {
        const Counted local(argument.value + 1);
        co_await grafo::yield();
        co_return local.value;
    };
    const auto outer = [&]() -> Task<int> {
        const int value = co_await hold(Counted(1));
        CHECK(Counted::live() == 0);
        co_return value;
    };
    CHECK(grafo::run(outer()) == 2);
    CHECK(Counted::constructed() == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task can be moved, not copied") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Task<int>>);
    STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<Task<int>>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Task<int>>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Task<int>>);
    Task<int> first = number(1);
    Task<int> second = std::move(first);
    CHECK(second);
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): a moved-from task is empty
    CHECK(grafo::run(std::move(second)) == 1);
}

TEST_CASE("Move assignment of a task destroys the one that it held") {
    Counted::reset();
    const auto hold = [](Counted counted) -> Task<int> { co_return counted.value; };
    Task<int> task = hold(Counted(1));
    CHECK(Counted::live() == 1);
    task = hold(Counted(2));
    CHECK(Counted::live() == 1);
    CHECK(grafo::run(std::move(task)) == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("Move assignment of a task to itself keeps it") {
    Task<int> task = number(4);
    Task<int>& same = task;
    task = std::move(same);
    REQUIRE(task);
    CHECK(grafo::run(std::move(task)) == 4);
}

TEST_CASE("A task can be held in a container and awaited later") {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(number(i));
    const auto sum = [](std::vector<Task<int>> all) -> Task<int> {
        int total = 0;
        for (Task<int>& task : all) total += co_await std::move(task);
        co_return total;
    };
    CHECK(grafo::run(sum(std::move(tasks))) == 45);
}

TEST_CASE("A task is true until it is moved from or awaited") {
    const auto outer = []() -> Task<> {
        Task<int> task = number(1);
        CHECK(task);
        const int value = co_await std::move(task);
        CHECK(value == 1);
        CHECK_FALSE(task);  // NOLINT(bugprone-use-after-move): an awaited task is empty
        CHECK_FALSE(Task<int>());
    };
    grafo::run(outer());
}

TEST_CASE("Awaiting an empty task throws Error, which says so") {
    const auto await_empty = []() -> Task<> {
        Task<> empty;
        co_await std::move(empty);
    };
    CHECK_THROWS_AS(grafo::run(await_empty()), grafo::Error);
    CHECK_THROWS_WITH(grafo::run(await_empty()), ContainsSubstring("empty Task"));
}

TEST_CASE("Awaiting a task twice throws Error") {
    const auto twice = []() -> Task<int> {
        Task<int> task = number(1);
        int total = co_await std::move(task);
        total += co_await std::move(task);  // NOLINT(bugprone-use-after-move): the point
        co_return total;
    };
    CHECK_THROWS_AS(grafo::run(twice()), grafo::Error);
}

TEST_CASE("Running an empty task throws Error") {
    CHECK_THROWS_AS(grafo::run(Task<int>()), grafo::Error);
}

TEST_CASE("An exception of a task's body comes out of its await") {
    const auto fail = []() -> Task<int> {
        co_await grafo::yield();
        throw std::out_of_range("too far");
    };
    const auto outer = [&]() -> Task<std::string> {
        try {
            co_await fail();
        } catch (const std::out_of_range& error) {
            co_return error.what();
        }
        co_return "nothing was thrown";
    };
    CHECK(grafo::run(outer()) == "too far");
}

TEST_CASE("An exception that nobody catches passes through every await and comes out of run") {
    Counted::reset();
    const auto inner = []() -> Task<> {
        const Counted local;
        co_await grafo::yield();
        throw std::out_of_range("too far");
    };
    const auto middle = [&]() -> Task<> {
        const Counted local;
        co_await inner();
    };
    const auto outer = [&]() -> Task<int> {
        const Counted local;
        co_await middle();
        co_return 1;
    };
    CHECK_THROWS_AS(grafo::run(outer()), std::out_of_range);
    CHECK(Counted::constructed() == 3);
    CHECK(Counted::live() == 0);
}

TEST_CASE("An exception need not be a std::exception") {
    const auto fail = []() -> Task<> {
        co_await grafo::yield();
        throw 17;
    };
    CHECK_THROWS_AS(grafo::run(fail()), int);
}

TEST_CASE("An exception thrown while the value is being returned comes out of the await") {
    struct Fragile {
        Fragile() = default;
        Fragile(Fragile&&) { throw std::runtime_error("moved"); }
    };
    const auto make = []() -> Task<Fragile> { co_return Fragile(); };
    CHECK_THROWS_WITH(grafo::run(make()), "moved");
}

TEST_CASE("A loop of 100,000 awaits runs in constant space") {
    const auto loop = []() -> Task<long> {
        long total = 0;
        for (int i = 0; i < 100'000; ++i) total += co_await number(i);
        co_return total;
    };
    CHECK(grafo::run(loop()) == 4'999'950'000L);
}

TEST_CASE("Cancelling a task reaches the innermost task that it awaits") {
    std::vector<std::string> order;
    const auto inner = [&]() -> Task<> {
        try {
            co_await grafo::sleep_for(std::chrono::hours(1));
        } catch (const grafo::Cancelled&) {
            order.push_back("inner");
            throw;
        }
    };
    const auto middle = [&]() -> Task<> { co_await inner(); };
    const auto outer = [&]() -> Task<> {
        try {
            co_await middle();
        } catch (const grafo::Cancelled&) {
            order.push_back("outer");
            throw;
        }
    };
    const auto root = [&]() -> Task<> {
        EventLoop::current().spawn(outer());
        co_await grafo::yield();
        order.push_back("root");
    };
    EventLoop loop{grafo::virtual_time};
    const EventLoop::TimePoint start = loop.now();
    loop.run(root());
    CHECK(order == std::vector<std::string>{"root", "inner", "outer"});
    CHECK(loop.now() == start);
}

// --- awaitables of other libraries -----------------------------------------------------------

namespace {

// Suspends, and lets the test decide what becomes of the handle: what most libraries' awaiters do.
template <class Suspend>
class ForeignOperation {
public:
    ForeignOperation(int value, Suspend suspend) : value_(value), suspend_(std::move(suspend)) {}
    bool await_ready() const noexcept { return false; }
    auto await_suspend(std::coroutine_handle<> handle) { return suspend_(handle); }
    int await_resume() const noexcept { return value_; }

private:
    int value_;
    Suspend suspend_;
};

// An awaiter that cannot be moved, as those that link themselves into lists.
class Pinned {
public:
    explicit Pinned(int value) : value_(value) {}
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const { handle.resume(); }
    int await_resume() const noexcept { return value_; }

private:
    int value_;
};

class HasMember {
public:
    explicit HasMember(int value) : value_(value) {}
    Pinned operator co_await() const { return Pinned(value_); }

private:
    int value_;
};

struct HasFree {
    explicit HasFree(int v) : value(v) {}
    int value;
};
Pinned operator co_await(const HasFree& awaitable) { return Pinned(awaitable.value); }

// One stage of await throws.
class Throwing {
public:
    enum class Stage { ready, suspend, resume };
    explicit Throwing(Stage stage) : stage_(stage) {}
    bool await_ready() const {
        if (stage_ == Stage::ready) throw std::runtime_error("in await_ready");
        return false;
    }
    void await_suspend(std::coroutine_handle<> handle) const {
        if (stage_ == Stage::suspend) throw std::runtime_error("in await_suspend");
        handle.resume();
    }
    void await_resume() const {
        if (stage_ == Stage::resume) throw std::runtime_error("in await_resume");
    }

private:
    Stage stage_;
};

// A coroutine type of another library that starts at once and that nobody awaits.
struct Fire {
    struct promise_type {
        Fire get_return_object() noexcept { return Fire(); }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
    Fire() noexcept {}
};

template <class Awaitable>
Task<int> await_it(Awaitable awaitable) {
    co_return co_await std::move(awaitable);
}

}  // namespace

TEST_CASE("A foreign awaiter whose await_suspend returns nothing may resume at once") {
    ForeignOperation operation(1, [](std::coroutine_handle<> handle) { handle.resume(); });
    CHECK(grafo::run(await_it(operation)) == 1);
}

TEST_CASE("A foreign awaiter whose await_suspend returns true may resume before it returns") {
    ForeignOperation operation(2, [](std::coroutine_handle<> handle) {
        handle.resume();
        return true;
    });
    CHECK(grafo::run(await_it(operation)) == 2);
}

TEST_CASE("A foreign awaiter whose await_suspend returns false is not waited for") {
    int calls = 0;
    ForeignOperation operation(3, [&](std::coroutine_handle<>) {
        ++calls;
        return false;
    });
    CHECK(grafo::run(await_it(operation)) == 3);
    CHECK(calls == 1);
}

TEST_CASE("A foreign await_suspend may give the same handle back, to be resumed") {
    ForeignOperation operation(4, [](std::coroutine_handle<> handle) { return handle; });
    CHECK(grafo::run(await_it(operation)) == 4);
}

TEST_CASE("A foreign await_suspend may give the handle of another coroutine, which is resumed") {
    class HandOut {  // gives its coroutine's handle to the test and stays suspended
    public:
        explicit HandOut(std::coroutine_handle<>& out) : out_(out) {}
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const { out_ = handle; }
        void await_resume() const noexcept {}

    private:
        std::coroutine_handle<>& out_;
    };
    std::coroutine_handle<> other;
    std::coroutine_handle<> waiting;
    const auto start_other = [&]() -> Fire {
        co_await HandOut(other);
        waiting.resume();
    };
    start_other();
    REQUIRE(other);
    ForeignOperation operation(5, [&](std::coroutine_handle<> handle) {
        waiting = handle;
        return other;
    });
    CHECK(grafo::run(await_it(operation)) == 5);
}

TEST_CASE("A foreign await_suspend may give std::noop_coroutine and resume later") {
    EventLoop loop;
    ForeignOperation operation(6, [&](std::coroutine_handle<> handle) -> std::coroutine_handle<> {
        loop.post([handle] { handle.resume(); });
        return std::noop_coroutine();
    });
    CHECK(loop.run(await_it(operation)) == 6);
}

TEST_CASE("A foreign awaitable may resume on another thread; the task goes on on the loop's") {
    const std::thread::id here = std::this_thread::get_id();
    std::thread thread;
    std::thread::id resumed_on;
    ForeignOperation operation(7, [&](std::coroutine_handle<> handle) {
        thread = std::thread([&resumed_on, handle] {
            resumed_on = std::this_thread::get_id();
            handle.resume();
        });
    });
    std::thread::id went_on_on;
    const auto body = [&]() -> Task<int> {
        const int value = co_await operation;
        went_on_on = std::this_thread::get_id();
        co_return value;
    };
    CHECK(grafo::run(body()) == 7);
    thread.join();
    CHECK(resumed_on != here);
    CHECK(went_on_on == here);
}

TEST_CASE("Many foreign awaits may be out on other threads at once") {
    constexpr int count = 16;
    std::vector<std::thread> threads;
    const auto resume_elsewhere = [&](std::coroutine_handle<> handle) {
        threads.emplace_back([handle] { handle.resume(); });
    };
    int total = 0;
    const auto one = [&](int value) -> Task<> {
        ForeignOperation operation(value, resume_elsewhere);
        for (int i = 0; i < 10; ++i) total += co_await operation;
    };
    const auto all = [&]() -> Task<> {
        for (int i = 1; i < count; ++i) EventLoop::current().spawn(one(1));
        co_await one(1);
        while (total < count * 10) co_await grafo::yield();
    };
    grafo::run(all());
    for (std::thread& thread : threads) thread.join();
    CHECK(total == count * 10);
}

TEST_CASE("A foreign await that is ready does not suspend") {
    struct Ready {
        explicit Ready(int v) : value(v) {}
        bool await_ready() const noexcept { return true; }
        void await_suspend(std::coroutine_handle<>) const { throw std::logic_error("not called"); }
        int await_resume() const noexcept { return value; }
        int value;
    };
    CHECK(grafo::run(await_it(Ready(8))) == 8);
}

TEST_CASE("A foreign awaitable may have a member operator co_await, of an awaiter that is pinned") {
    CHECK(grafo::run(await_it(HasMember(9))) == 9);
}

TEST_CASE("A foreign awaitable may have a free operator co_await, of an awaiter that is pinned") {
    CHECK(grafo::run(await_it(HasFree(10))) == 10);
}

TEST_CASE("A foreign awaiter may be an lvalue: it is awaited itself, not a copy") {
    Pinned awaiter(11);
    const auto body = [&]() -> Task<int> { co_return co_await awaiter; };
    CHECK(grafo::run(body()) == 11);
}

TEST_CASE("A foreign await may give a reference or a move-only value") {
    struct ToReference {
        explicit ToReference(int& t) : target(t) {}
        bool await_ready() const noexcept { return true; }
        void await_suspend(std::coroutine_handle<>) const noexcept {}
        int& await_resume() const noexcept { return target; }
        int& target;
    };
    struct ToOwned {
        ToOwned() {}
        bool await_ready() const noexcept { return true; }
        void await_suspend(std::coroutine_handle<>) const noexcept {}
        std::unique_ptr<int> await_resume() const { return std::make_unique<int>(13); }
    };
    int number = 0;
    const auto body = [&]() -> Task<int> {
        int& same = co_await ToReference(number);
        same = 12;
        const std::unique_ptr<int> owned = co_await ToOwned();
        co_return *owned;
    };
    CHECK(grafo::run(body()) == 13);
    CHECK(number == 12);
}

TEST_CASE("What a foreign awaiter throws, at any stage, comes out of the await") {
    const auto what = [](Throwing::Stage stage) -> Task<std::string> {
        std::string text = "nothing";
        try {
            co_await Throwing(stage);
        } catch (const std::runtime_error& error) {
            text = error.what();
        }
        co_await grafo::yield();  // the task goes on as usual
        co_return text;
    };
    CHECK(grafo::run(what(Throwing::Stage::ready)) == "in await_ready");
    CHECK(grafo::run(what(Throwing::Stage::suspend)) == "in await_suspend");
    CHECK(grafo::run(what(Throwing::Stage::resume)) == "in await_resume");
}

TEST_CASE("A foreign awaitable that destroys its handle instead of resuming it is a deadlock") {
    Counted::reset();
    const auto body = []() -> Task<> {
        const Counted local;
        ForeignOperation dropping(0, [](std::coroutine_handle<> handle) { handle.destroy(); });
        co_await dropping;
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A foreign awaitable may destroy its handle on another thread") {
    Counted::reset();
    std::thread thread;
    const auto body = [&]() -> Task<> {
        const Counted local;
        ForeignOperation dropping(0, [&](std::coroutine_handle<> handle) {
            thread = std::thread([handle] { handle.destroy(); });
        });
        co_await dropping;
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    thread.join();
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("Resuming the handle that a foreign awaiter got does not run the body in place") {
    std::vector<std::string> order;
    const auto body = [&]() -> Task<> {
        ForeignOperation operation(0, [&](std::coroutine_handle<> handle) {
            handle.resume();
            order.push_back("await_suspend goes on");
        });
        co_await operation;
        order.push_back("body goes on");
    };
    grafo::run(body());
    CHECK(order == std::vector<std::string>{"await_suspend goes on", "body goes on"});
}

TEST_CASE("std::suspend_never does not suspend") {
    bool ran_between = false;
    const auto body = [&]() -> Task<> {
        EventLoop::current().post([&] { ran_between = true; });
        co_await std::suspend_never();
        CHECK_FALSE(ran_between);
    };
    grafo::run(body());
}

TEST_CASE("std::suspend_always suspends for ever: alone it is a deadlock") {
    Counted::reset();
    const auto body = []() -> Task<> {
        const Counted local;
        co_await std::suspend_always();
        throw std::logic_error("resumed");
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A coroutine of another library may await a task inside the loop") {
    int got = 0;
    const auto slow = []() -> Task<int> {
        co_await grafo::sleep_for(std::chrono::hours(1));
        co_return 21;
    };
    const auto foreign = [&]() -> Fire { got = co_await slow(); };
    const auto body = [&]() -> Task<> {
        foreign();
        CHECK(got == 0);
        co_await grafo::sleep_for(std::chrono::hours(2));
    };
    EventLoop loop{grafo::virtual_time};
    loop.run(body());
    CHECK(got == 21);
}
