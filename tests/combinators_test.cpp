#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"
#include "gate.hpp"

// when_all, when_all_settled, when_any, with_timeout. All time is virtual.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Equals;
using grafo_test::Counted;
using grafo_test::Gate;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

using Log = std::vector<std::string>;

template <class T>
Task<T> after(milliseconds pause, T value) {
    co_await sleep_for(pause);
    co_return value;
}
Task<int> at_once(int value) { co_return value; }
Task<> nothing() { co_return; }
Task<> nothing_after(milliseconds pause) { co_await sleep_for(pause); }
Task<int> fail_after(milliseconds pause, std::string what) {
    co_await sleep_for(pause);
    throw std::runtime_error(what);
}
Task<int> fail_at_once(std::string what) {
    throw std::runtime_error(what);
    co_return 0;
}
Task<int&> refer(int& to) { co_return to; }
Task<std::unique_ptr<int>> make_unique_after(milliseconds pause, int value) {
    co_await sleep_for(pause);
    co_return std::make_unique<int>(value);
}

// Sleeps for an hour; if it is cancelled it needs `clean_up` to end. Tells the log all of it.
Task<int> slow(Log& log, std::string name, milliseconds clean_up = 0ms) {
    log.push_back(name + " starts");
    bool cancelled = false;
    try {
        co_await sleep_for(1h);
    } catch (const Cancelled&) {
        cancelled = true;
    }
    if (!cancelled) {
        log.push_back(name + " ends");
        co_return 1;
    }
    log.push_back(name + " cancelled");
    if (clean_up > 0ms) co_await sleep_for(clean_up);
    log.push_back(name + " cleaned up");
    throw Cancelled();
}

// What a task ended with, as a word.
template <class T>
Task<std::string> word(Task<T> task) {
    try {
        static_cast<void>(co_await std::move(task));
    } catch (const std::exception& error) {
        co_return error.what();
    } catch (const Cancelled&) {
        co_return "cancelled";
    }
    co_return "value";
}
template <class A>
Task<> just(A awaitable) {
    static_cast<void>(co_await std::move(awaitable));
}

milliseconds elapsed(const EventLoop& loop) {
    return std::chrono::duration_cast<milliseconds>(loop.now().time_since_epoch());
}

template <class Body>
void in_virtual_time(Body body) {
    EventLoop loop{virtual_time};
    loop.run(body());
}

std::string text_of(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    } catch (const Cancelled&) {
        return "cancelled";
    }
}

// Cancels what runs beside it after that time: a branch that ends first.
template <class A>
Task<> cancel_after(milliseconds pause, A awaitable) {
    Task<> work = just(std::move(awaitable));
    co_await when_any(std::move(work), sleep_for(pause));
}

}  // namespace

// --- when_all --------------------------------------------------------------------------------

TEST_CASE("when_all gives a tuple of what its tasks give, in their order") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        auto [number, text, real] =
            co_await when_all(after(3ms, 1), after(1ms, std::string("two")), after(2ms, 3.0));
        STATIC_REQUIRE(std::is_same_v<decltype(number), int>);
        STATIC_REQUIRE(std::is_same_v<decltype(text), std::string>);
        CHECK(number == 1);
        CHECK(text == "two");
        CHECK(real == 3.0);
    };
    loop.run(body());
    CHECK(elapsed(loop) == 3ms);  // at the same time
}

TEST_CASE("when_all gives std::monostate for a task of nothing") {
    in_virtual_time([]() -> Task<> {
        auto results = co_await when_all(nothing(), at_once(2), nothing_after(1ms));
        STATIC_REQUIRE(
            std::is_same_v<decltype(results), std::tuple<std::monostate, int, std::monostate>>);
        CHECK(std::get<1>(results) == 2);
    });
}

TEST_CASE("when_all keeps references: the objects themselves") {
    int a = 1;
    const std::string b = "b";
    in_virtual_time([&]() -> Task<> {
        const auto refer_const = [](const std::string& to) -> Task<const std::string&> {
            co_return to;
        };
        auto results = co_await when_all(refer(a), refer_const(b));
        STATIC_REQUIRE(std::is_same_v<decltype(results), std::tuple<int&, const std::string&>>);
        std::get<0>(results) = 5;
        CHECK(&std::get<1>(results) == &b);
    });
    CHECK(a == 5);
}

TEST_CASE("when_all moves move-only values out, and copies none") {
    Counted::reset();
    in_virtual_time([]() -> Task<> {
        auto [one, two] = co_await when_all(make_unique_after(1ms, 1), make_unique_after(0ms, 2));
        CHECK(*one == 1);
        CHECK(*two == 2);
        const auto count = [](int n) -> Task<Counted> { co_return Counted(n); };
        auto [a, b] = co_await when_all(count(1), count(2));
        CHECK(a.value == 1);
        CHECK(b.value == 2);
    });
    CHECK(Counted::copies() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("when_all of a vector gives a vector, in the order of the tasks") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        std::vector<Task<int>> tasks;
        for (int i = 0; i < 5; ++i) tasks.push_back(after(milliseconds(10 - i), i));
        const std::vector<int> numbers = co_await when_all(std::move(tasks));
        CHECK(numbers == std::vector<int>{0, 1, 2, 3, 4});

        std::vector<Task<>> silent;
        silent.push_back(nothing());
        silent.push_back(nothing_after(1ms));
        const auto monostates = co_await when_all(std::move(silent));
        STATIC_REQUIRE(std::is_same_v<decltype(monostates), const std::vector<std::monostate>>);
        CHECK(monostates.size() == 2);

        std::vector<Task<std::unique_ptr<int>>> owners;
        owners.push_back(make_unique_after(2ms, 1));
        owners.push_back(make_unique_after(1ms, 2));
        const auto owned = co_await when_all(std::move(owners));
        CHECK(*owned[0] == 1);
        CHECK(*owned[1] == 2);

        std::vector<Task<bool>> flags;
        flags.push_back(after(1ms, true));
        flags.push_back(after(0ms, false));
        const std::vector<bool> both = co_await when_all(std::move(flags));
        CHECK(both == std::vector<bool>{true, false});

        int a = 1;
        int b = 2;
        std::vector<Task<int&>> references;
        references.push_back(refer(a));
        references.push_back(refer(b));
        const auto referred = co_await when_all(std::move(references));
        STATIC_REQUIRE(
            std::is_same_v<decltype(referred), const std::vector<std::reference_wrapper<int>>>);
        referred[1].get() = 7;
        CHECK(b == 7);
    };
    loop.run(body());
    CHECK(elapsed(loop) == 14ms);
}

TEST_CASE("An empty when_all gives nothing, at once") {
    in_virtual_time([]() -> Task<> {
        const std::tuple<> none = co_await when_all();
        static_cast<void>(none);
        const auto numbers = co_await when_all(std::vector<Task<int>>());
        CHECK(numbers.empty());
        const auto monostates = co_await when_all(std::vector<Task<>>());
        CHECK(monostates.empty());
        const std::tuple<> settled = co_await when_all_settled();
        static_cast<void>(settled);
        const auto outcomes = co_await when_all_settled(std::vector<Task<int>>());
        CHECK(outcomes.empty());
    });
}

TEST_CASE("Tasks start in their order, as jobs of the loop, not inside the await") {
    Log log;
    in_virtual_time([&]() -> Task<> {
        const auto tell = [&log](std::string name) -> Task<> {
            log.push_back(name);
            co_return;
        };
        const auto other = [&log]() -> Task<> {
            log.push_back("spawned before");
            co_return;
        };
        EventLoop::current().spawn(other());
        auto all = when_all(tell("a"), tell("b"), tell("c"));
        log.push_back("made");
        co_await std::move(all);
        log.push_back("after");
    });
    CHECK(log == Log{"made", "spawned before", "a", "b", "c", "after"});
}

TEST_CASE("A combinator that is never awaited starts nothing and destroys its tasks") {
    Counted::reset();
    bool started = false;
    const auto body = [&](Counted) -> Task<> {
        started = true;
        co_return;
    };
    {
        const auto all = when_all(body(Counted(1)), body(Counted(2)));
        std::vector<Task<>> tasks;
        tasks.push_back(body(Counted(3)));
        const auto any = when_any(std::move(tasks));
        const auto timed = with_timeout(1s, body(Counted(4)));
        CHECK(Counted::live() == 4);
    }
    CHECK_FALSE(started);
    CHECK(Counted::live() == 0);
}

TEST_CASE("when_all takes awaitables of every kind beside tasks") {
    Gate gate;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        const auto open = [&]() -> Task<> {
            co_await sleep_for(1ms);
            gate.open();
        };
        const auto items = []() -> AsyncGenerator<std::string> {
            co_await sleep_for(2ms);
            co_yield "item";
        };
        auto generator = items();
        const Node node{"n", [] { return 1; }};
        const TreeExecutor executor{node};
        auto results = co_await when_all(gate, open(), sleep_for(3ms), generator.next(),
                                         when_all(at_once(1), at_once(2)), executor.run());
        CHECK(std::get<0>(results) == 7);
        CHECK(*std::get<3>(results) == "item");
        CHECK(std::get<4>(results) == std::tuple<int, int>(1, 2));
        CHECK(std::get<5>(results).ok());

        std::vector<decltype(sleep_for(1ms))> sleeps;
        sleeps.push_back(sleep_for(5ms));
        sleeps.push_back(sleep_for(4ms));
        const auto slept = co_await when_all(std::move(sleeps));
        CHECK(slept.size() == 2);
    };
    loop.run(body());
    CHECK(elapsed(loop) == 8ms);
}

TEST_CASE("The first error of when_all cancels the others, waits for them, and is rethrown") {
    Log log;
    EventLoop loop{virtual_time};
    const bool in_vector = GENERATE(false, true);
    const auto body = [&]() -> Task<> {
        if (in_vector) {
            std::vector<Task<int>> tasks;
            tasks.push_back(slow(log, "a", 30ms));
            tasks.push_back(fail_after(5ms, "broken"));
            tasks.push_back(slow(log, "b", 20ms));
            co_await when_all(std::move(tasks));
        } else {
            co_await when_all(slow(log, "a", 30ms), fail_after(5ms, "broken"),
                              slow(log, "b", 20ms));
        }
    };
    CHECK_THROWS_WITH(loop.run(body()), "broken");
    CHECK(log == Log{"a starts", "b starts", "a cancelled", "b cancelled", "b cleaned up",
                     "a cleaned up"});
    CHECK(elapsed(loop) == 35ms);
}

TEST_CASE("An error that comes while the others are cancelled does not replace the first") {
    EventLoop loop{virtual_time};
    const auto fail_when_cancelled = []() -> Task<int> {
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            throw std::runtime_error("in the clean-up");
        }
        co_return 1;
    };
    const auto body = [&]() -> Task<> {
        co_await when_all(fail_when_cancelled(), fail_after(5ms, "first"), fail_after(5ms, "same"));
    };
    CHECK_THROWS_WITH(loop.run(body()), "first");
}

TEST_CASE("A task that never started when another one failed never starts") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await when_all(slow(log, "a"), fail_at_once("at once"), slow(log, "b"));
    };
    CHECK_THROWS_WITH(loop.run(body()), "at once");
    CHECK(log == Log{"a starts", "a cancelled", "a cleaned up"});
    CHECK(elapsed(loop) == 0ms);
}

TEST_CASE("A cancelled task that returns a value all the same does not hide the error") {
    EventLoop loop{virtual_time};
    const auto stubborn = []() -> Task<int> {
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
        }
        co_return 5;
    };
    const auto body = [&]() -> Task<> { co_await when_all(stubborn(), fail_after(1ms, "broken")); };
    CHECK_THROWS_WITH(loop.run(body()), "broken");
}

TEST_CASE("What is thrown by a task is what comes out: Skip, Cancelled, any type") {
    in_virtual_time([]() -> Task<> {
        const auto skipping = []() -> Task<> { co_await skip("why"); };
        const auto number = []() -> Task<> {
            throw 5;
            co_return;
        };
        bool skipped = false;
        int thrown = 0;
        try {
            co_await when_all(skipping(), nothing_after(1h));
        } catch (const Skip& s) {
            skipped = s.why() == "why";
        }
        try {
            co_await when_all(nothing_after(1h), number());
        } catch (int n) {
            thrown = n;
        }
        CHECK(skipped);
        CHECK(thrown == 5);
    });
}

TEST_CASE("A task that was moved from is refused where it is given") {
    Task<int> task = at_once(1);
    const Task<int> owner = std::move(task);
    CHECK_THROWS_WITH(when_all(std::move(task), at_once(1)),
                      "an empty Task was given to when_all: it was moved from");
    CHECK_THROWS_WITH(with_timeout(1s, Task<int>()),
                      "an empty Task was given to with_timeout: it was moved from");
    std::vector<Task<int>> tasks(2);
    CHECK_THROWS_WITH(when_all_settled(std::move(tasks)),
                      "an empty Task was given to when_all_settled: it was moved from");
    CHECK_THROWS_WITH(when_any(Task<int>()),
                      "an empty Task was given to when_any: it was moved from");
}

TEST_CASE("A combinator that was moved from throws when it is awaited") {
    EventLoop loop{virtual_time};
    const auto body = []() -> Task<> {
        auto all = when_all(at_once(1));
        const auto [one] = co_await std::move(all);
        CHECK(one == 1);
        co_await std::move(all);
    };
    CHECK_THROWS_WITH(loop.run(body()), "an empty Task was awaited: it was moved from");
    const auto any = []() -> Task<> {
        std::vector<Task<int>> tasks;
        tasks.push_back(at_once(1));
        auto first = when_any(std::move(tasks));
        auto moved = std::move(first);
        co_await std::move(moved);
        co_await std::move(first);
    };
    CHECK_THROWS_AS(loop.run(any()), Error);
}

// --- when_all_settled ------------------------------------------------------------------------

TEST_CASE("when_all_settled gives how each task ended, and no error cancels another") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        int object = 1;
        auto [a, b, c, d] = co_await when_all_settled(
            after(3ms, std::string("text")), fail_after(1ms, "broken"), nothing(), refer(object));
        CHECK(a.has_value());
        CHECK(*a == "text");
        CHECK(a->size() == 4);
        CHECK(a.value() == "text");
        CHECK(a.error() == nullptr);
        CHECK_FALSE(b);
        CHECK(text_of(b.error()) == "broken");
        CHECK_THROWS_WITH(b.value(), "broken");
        CHECK_THROWS_WITH(std::as_const(b).value(), "broken");
        CHECK_THROWS_WITH(std::move(b).value(), "broken");
        CHECK(c.has_value());
        STATIC_REQUIRE(std::is_void_v<decltype(c.value())>);
        c.value();
        d.value() = 5;
        CHECK(object == 5);
        CHECK(&*d == &object);
    };
    loop.run(body());
    CHECK(elapsed(loop) == 3ms);
}

TEST_CASE("when_all_settled of a vector gives a vector of outcomes, also move-only ones") {
    in_virtual_time([]() -> Task<> {
        std::vector<Task<std::unique_ptr<int>>> tasks;
        const auto fail = []() -> Task<std::unique_ptr<int>> {
            throw std::runtime_error("none");
            co_return nullptr;
        };
        tasks.push_back(make_unique_after(1ms, 1));
        tasks.push_back(fail());
        tasks.push_back(make_unique_after(0ms, 3));
        std::vector<Outcome<std::unique_ptr<int>>> outcomes =
            co_await when_all_settled(std::move(tasks));
        REQUIRE(outcomes.size() == 3);
        CHECK(**outcomes[0] == 1);
        CHECK_FALSE(outcomes[1].has_value());
        const std::unique_ptr<int> three = std::move(outcomes[2]).value();
        CHECK(*three == 3);

        std::vector<Task<>> silent;
        silent.push_back(nothing());
        const auto silent_outcomes = co_await when_all_settled(std::move(silent));
        CHECK(silent_outcomes[0].has_value());
        CHECK_NOTHROW(silent_outcomes[0].value());
    });
}

TEST_CASE("A cancelled when_all_settled cancels its tasks, waits, and throws Cancelled") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await cancel_after(
            5ms, when_all_settled(slow(log, "a", 10ms), at_once(1), slow(log, "b", 20ms)));
    };
    loop.run(body());
    CHECK(log == Log{"a starts", "b starts", "a cancelled", "b cancelled", "a cleaned up",
                     "b cleaned up"});
    CHECK(elapsed(loop) == 25ms);
}

// --- when_any --------------------------------------------------------------------------------

TEST_CASE("when_any gives the index and the value of the first to end, for structured bindings") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        auto [index, value] =
            co_await when_any(after(3ms, 1), after(1ms, std::string("two")), nothing_after(2ms));
        CHECK(index == 1);
        CHECK(value.index() == 1);
        CHECK(std::get<1>(value) == "two");
        STATIC_REQUIRE(
            std::is_same_v<decltype(value), std::variant<int, std::string, std::monostate>>);

        // The same type twice: the index of the variant tells which.
        const auto same = co_await when_any(after(2ms, 1), after(1ms, 2));
        CHECK(same.index == 1);
        CHECK(std::get<1>(same.value) == 2);
    };
    loop.run(body());
    CHECK(elapsed(loop) == 2ms);
}

TEST_CASE("when_any gives references and move-only values of packs and vectors") {
    in_virtual_time([]() -> Task<> {
        int object = 1;
        const auto any = co_await when_any(refer(object), nothing_after(1ms));
        std::get<0>(any.value).get() = 2;
        CHECK(object == 2);

        auto owned = co_await when_any(make_unique_after(1ms, 1), make_unique_after(2ms, 2));
        CHECK(*std::get<0>(owned.value) == 1);

        std::vector<Task<std::unique_ptr<int>>> owners;
        owners.push_back(make_unique_after(2ms, 1));
        owners.push_back(make_unique_after(1ms, 2));
        auto [index, value] = co_await when_any(std::move(owners));
        STATIC_REQUIRE(std::is_same_v<decltype(value), std::unique_ptr<int>>);
        CHECK(index == 1);
        CHECK(*value == 2);

        std::vector<Task<int&>> references;
        references.push_back(refer(object));
        auto [i, reference] = co_await when_any(std::move(references));
        CHECK(i == 0);
        CHECK(&reference == &object);

        std::vector<Task<>> silent;
        silent.push_back(nothing());
        const auto first = co_await when_any(std::move(silent));
        CHECK(first.index == 0);
        STATIC_REQUIRE(std::is_same_v<decltype(first.value), std::monostate>);
    });
}

TEST_CASE("The first to end in when_any cancels the others and waits for them") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        const auto first =
            co_await when_any(slow(log, "a", 30ms), after(5ms, 9), slow(log, "b", 20ms));
        CHECK(first.index == 1);
        CHECK(std::get<1>(first.value) == 9);
    };
    loop.run(body());
    CHECK(log == Log{"a starts", "b starts", "a cancelled", "b cancelled", "b cleaned up",
                     "a cleaned up"});
    CHECK(elapsed(loop) == 35ms);
}

TEST_CASE("The first to end in when_any with an error cancels the others, waits, and throws it") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await when_any(slow(log, "a", 10ms), fail_after(5ms, "broken"), after(1h, 1));
    };
    CHECK_THROWS_WITH(loop.run(body()), "broken");
    CHECK(log == Log{"a starts", "a cancelled", "a cleaned up"});
    CHECK(elapsed(loop) == 15ms);
}

TEST_CASE("Losers of when_any that throw or return change nothing") {
    in_virtual_time([]() -> Task<> {
        const auto loser = [](bool throws) -> Task<int> {
            try {
                co_await sleep_for(1h);
            } catch (const Cancelled&) {
                if (throws) throw std::runtime_error("the loser");
            }
            co_return -1;
        };
        const auto first = co_await when_any(loser(true), after(1ms, 5), loser(false));
        CHECK(first.index == 1);
        CHECK(std::get<1>(first.value) == 5);
    });
}

TEST_CASE("Where the first task of when_any needs no time, the later ones never start") {
    Log log;
    in_virtual_time([&]() -> Task<> {
        const auto first = co_await when_any(at_once(1), slow(log, "b"), fail_at_once("no"));
        CHECK(first.index == 0);
    });
    CHECK(log.empty());
}

TEST_CASE("Of two that end at the same instant the one that began to wait first is the first") {
    in_virtual_time([]() -> Task<> {
        const auto a = co_await when_any(after(5ms, 1), after(5ms, 2));
        CHECK(a.index == 0);
        const auto late = [](milliseconds first, milliseconds second) -> Task<int> {
            co_await sleep_for(first);
            co_await sleep_for(second);
            co_return 1;
        };
        const auto b = co_await when_any(late(2ms, 3ms), after(5ms, 2));
        CHECK(b.index == 1);
    });
}

TEST_CASE("when_any over an empty vector throws an error that says so") {
    CHECK_THROWS_WITH(when_any(std::vector<Task<int>>()),
                      "when_any was given no tasks: none of them can end first");
    CHECK_THROWS_AS(when_any(std::vector<Task<int>>()), Error);
}

TEST_CASE("when_any over 1,000 tasks gives the one, and cancels 999") {
    Counted::reset();
    int cancelled = 0;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        const auto one = [&cancelled](int i, Counted held) -> Task<int> {
            const Counted local(i);
            try {
                co_await sleep_for(milliseconds(2'000 - (i == 700 ? 1'999 : i)));
            } catch (const Cancelled&) {
                ++cancelled;
                throw;
            }
            co_return i + held.value;
        };
        std::vector<Task<int>> tasks;
        for (int i = 0; i < 1'000; ++i) tasks.push_back(one(i, Counted(1)));
        const auto [index, value] = co_await when_any(std::move(tasks));
        CHECK(index == 700);
        CHECK(value == 701);
        CHECK(Counted::live() == 0);
    };
    loop.run(body());
    CHECK(cancelled == 999);
    CHECK(elapsed(loop) == 1ms);
    CHECK(Counted::live() == 0);
}

// --- with_timeout ----------------------------------------------------------------------------

TEST_CASE("with_timeout gives what the task gives in time") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        int object = 1;
        const int five = co_await with_timeout(100ms, after(99ms, 5));
        CHECK(five == 5);
        co_await with_timeout(100ms, nothing());
        STATIC_REQUIRE(std::is_same_v<
                       decltype(with_timeout(1s, refer(object)).operator co_await().await_resume()),
                       int&>);
        int& same = co_await with_timeout(1s, refer(object));
        CHECK(&same == &object);
        const auto owned = co_await with_timeout(1s, make_unique_after(1ms, 3));
        CHECK(*owned == 3);
    };
    loop.run(body());
    CHECK(elapsed(loop) == 100ms);
}

TEST_CASE("A task that is too slow is cancelled, waited for, and a TimeoutError thrown") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> { co_await with_timeout(100ms, slow(log, "a", 20ms)); };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(log == Log{"a starts", "a cancelled", "a cleaned up"});
    CHECK(elapsed(loop) == 120ms);
    CHECK_THROWS_WITH(loop.run(body()), "a task did not end within 100 ms (with_timeout)");
}

TEST_CASE("A TimeoutError names the limit in the largest unit, and the node") {
    const auto limit_text = [](auto limit) {
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> { co_await with_timeout(limit, sleep_for(24h)); };
        return loop.run(word(body()));
    };
    CHECK(limit_text(2s) == "a task did not end within 2 s (with_timeout)");
    CHECK(limit_text(1500ms) == "a task did not end within 1500 ms (with_timeout)");
    CHECK(limit_text(1500us) == "a task did not end within 1500 us (with_timeout)");
    CHECK(limit_text(1ns) == "a task did not end within 1 ns (with_timeout)");
    CHECK(limit_text(std::chrono::duration<double>(0.25)) ==
          "a task did not end within 250 ms (with_timeout)");
    CHECK(limit_text(1min) == "a task did not end within 60 s (with_timeout)");

    Node node{"fetch", []() -> Task<> { co_await with_timeout(1s, sleep_for(1h)); }};
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(TreeExecutor{node}.try_run());
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(),
               Equals("node 'fetch' failed: it awaited a task that did not end within 1 s "
                      "(with_timeout)"));
}

TEST_CASE("A branch belongs to the node of the coroutine that awaits it, however deep") {
    Node node{"fetch", []() -> Task<> {
                  co_await when_all(when_any(with_timeout(1s, sleep_for(1h)), sleep_for(2h)));
              }};
    EventLoop loop{virtual_time};
    CHECK_THROWS_WITH(loop.run(TreeExecutor{node}.run()),
                      ContainsSubstring("'fetch' failed: it awaited a task that did not end"));
}

TEST_CASE("A task that swallows the cancellation and returns still timed out") {
    const auto stubborn = []() -> Task<int> {
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
        }
        co_await sleep_for(10ms);
        co_return 5;
    };
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> { co_await with_timeout(1ms, stubborn()); };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(elapsed(loop) == 11ms);
}

TEST_CASE("Another exception of a timed-out task's clean-up comes out itself") {
    const auto failing = []() -> Task<int> {
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            throw std::runtime_error("the clean-up failed");
        }
        co_return 1;
    };
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> { co_await with_timeout(1ms, failing()); };
    CHECK_THROWS_WITH(loop.run(body()), "the clean-up failed");
}

TEST_CASE("An error in time comes out of with_timeout, and its timer is forgotten") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> { co_await with_timeout(1h, fail_after(1ms, "broken")); };
    CHECK_THROWS_WITH(loop.run(body()), "broken");
    CHECK(elapsed(loop) == 1ms);
}

TEST_CASE("A limit of zero or less cancels at the first suspension") {
    for (const nanoseconds limit : {0ns, -1ns, nanoseconds::min()}) {
        Log log;
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> { co_await with_timeout(limit, slow(log, "a", 5ms)); };
        CHECK_THROWS_AS(loop.run(body()), TimeoutError);
        CHECK(log == Log{"a starts", "a cancelled", "a cleaned up"});
        CHECK(elapsed(loop) == 5ms);
    }
}

TEST_CASE("With a limit of zero a task that never suspends gives its value") {
    in_virtual_time([]() -> Task<> {
        const int five = co_await with_timeout(0s, at_once(5));
        CHECK(five == 5);
        const std::string end = co_await word(just(with_timeout(0s, fail_at_once("broken"))));
        CHECK(end == "broken");
    });
}

TEST_CASE("The longest limit is none, in any unit") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        const int one = co_await with_timeout(nanoseconds::max(), after(24h, 1));
        CHECK(one == 1);
        const int two = co_await with_timeout(std::chrono::hours::max(), after(24h, 2));
        CHECK(two == 2);
        const int three =
            co_await with_timeout(std::chrono::duration<double>(1e300), after(24h, 3));
        CHECK(three == 3);
    };
    loop.run(body());
    CHECK(loop.now().time_since_epoch() == 72h);
}

TEST_CASE("A task that ends at the very instant of its limit timed out: the limit was set first") {
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> { co_await with_timeout(100ms, after(100ms, 1)); };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(elapsed(loop) == 100ms);
}

TEST_CASE("A with_timeout inside a with_timeout: the shorter one decides") {
    Log log;
    EventLoop loop{virtual_time};
    const auto nested = [&](milliseconds outer, milliseconds inner) -> Task<> {
        co_await with_timeout(outer, with_timeout(inner, slow(log, "a", 3ms)));
    };
    CHECK(loop.run(word(nested(100ms, 50ms))) == "a task did not end within 50 ms (with_timeout)");
    CHECK(elapsed(loop) == 53ms);
    CHECK(loop.run(word(nested(50ms, 100ms))) == "a task did not end within 50 ms (with_timeout)");
    CHECK(elapsed(loop) == 106ms);
    CHECK(log == Log{"a starts", "a cancelled", "a cleaned up", "a starts", "a cancelled",
                     "a cleaned up"});
}

TEST_CASE("Of two limits at the same instant the outer one decides, and the task hears it once") {
    Log log;
    EventLoop loop{virtual_time};
    const auto inner = [&]() -> Task<> {
        co_await sleep_for(40ms);
        co_await with_timeout(60ms, slow(log, "a", 3ms));
    };
    const auto body = [&]() -> Task<> { co_await with_timeout(100ms, inner()); };
    CHECK(loop.run(word(body())) == "a task did not end within 100 ms (with_timeout)");
    CHECK(log == Log{"a starts", "a cancelled", "a cleaned up"});
    CHECK(elapsed(loop) == 103ms);
}

TEST_CASE("An outer limit that passes during the inner one's clean-up is a second request") {
    Log log;
    EventLoop loop{virtual_time};
    const auto task = [&]() -> Task<> {
        for (int i = 0; i < 2; ++i) {
            try {
                co_await sleep_for(1h);
            } catch (const Cancelled&) {
                log.push_back("request at " + std::to_string(elapsed(loop).count()));
            }
        }
    };
    const auto body = [&]() -> Task<> { co_await with_timeout(80ms, with_timeout(50ms, task())); };
    CHECK(loop.run(word(body())) == "a task did not end within 80 ms (with_timeout)");
    CHECK(log == Log{"request at 50", "request at 80"});
}

TEST_CASE("A limit on a generator's next item: a timed-out generator has ended") {
    in_virtual_time([]() -> Task<> {
        const auto items = []() -> AsyncGenerator<int> {
            for (int i = 1;; ++i) {
                co_await sleep_for(milliseconds(i * 10));
                co_yield i;
            }
        };
        auto generator = items();
        int last = 0;
        bool timed_out = false;
        try {
            for (;;) {
                const int* item = co_await with_timeout(35ms, generator.next());
                last = *item;
            }
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(last == 3);
        const int* end = co_await generator.next();
        CHECK(end == nullptr);
    });
}

TEST_CASE("What cannot be cancelled is waited for, and the timeout delivered then") {
    Gate gate;
    EventLoop loop{virtual_time};
    const auto open = [&]() -> Task<> {
        co_await sleep_for(50ms);
        gate.open();
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(open());
        co_await with_timeout(10ms, gate);
    };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(elapsed(loop) == 50ms);
}

// --- cancellation ----------------------------------------------------------------------------

TEST_CASE("When the awaiting coroutine is cancelled, so are all branches, waited for, then it") {
    const int kind = GENERATE(0, 1, 2, 3, 4, 5);
    CAPTURE(kind);
    Log log;
    EventLoop loop{virtual_time};
    std::string end;
    const auto body = [&]() -> Task<> {
        try {
            std::vector<Task<int>> tasks;
            tasks.push_back(slow(log, "a", 20ms));
            tasks.push_back(slow(log, "b", 10ms));
            switch (kind) {
                case 0: co_await when_all(std::move(tasks[0]), std::move(tasks[1])); break;
                case 1: co_await when_all(std::move(tasks)); break;
                case 2: co_await when_all_settled(std::move(tasks[0]), std::move(tasks[1])); break;
                case 3: co_await when_any(std::move(tasks[0]), std::move(tasks[1])); break;
                case 4: co_await when_any(std::move(tasks)); break;
                default: co_await with_timeout(1h, when_all(std::move(tasks)));
            }
            end = "value";
        } catch (const Cancelled&) {
            end = "cancelled";
            throw;
        }
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    const auto stop = [&]() -> Task<> {
        co_await sleep_for(5ms);
        executor.stop();
    };
    const auto main = [&]() -> Task<> {
        auto [report, stopped] = co_await when_all(executor.try_run(), stop());
        CHECK_FALSE(report.ok());
    };
    loop.run(main());
    CHECK(end == "cancelled");
    CHECK(node.state() == NodeState::cancelled);
    CHECK(elapsed(loop) == 25ms);
    CHECK(log == Log{"a starts", "b starts", "a cancelled", "b cancelled", "b cleaned up",
                     "a cleaned up"});
}

TEST_CASE("A coroutine that is to be cancelled already starts no branch") {
    Log log;
    Counted::reset();
    EventLoop loop{virtual_time};
    const auto begin_cancelled = [&]() -> Task<> {
        const auto held = [&log](Counted) -> Task<int> { return slow(log, "never"); };
        // Cancelled while it executes: its next await is the one to hear of it.
        co_await when_all(held(Counted(1)), held(Counted(2)));
    };
    Node node{"node", begin_cancelled};
    TreeExecutor executor{node};
    node.on_before_run([&] { executor.stop(); });
    const RunReport report = loop.run(executor.try_run());
    CHECK(node.state() == NodeState::cancelled);
    CHECK(log.empty());
    CHECK(Counted::live() == 0);
}

TEST_CASE("Branches that did not start when the awaiting coroutine is cancelled never start") {
    Log log;
    EventLoop loop{virtual_time};
    std::optional<TreeExecutor> executor;
    const auto stop = [&]() -> Task<> {
        executor->stop();
        log.push_back("stopped");
        co_return;
    };
    const bool alone = GENERATE(false, true);
    Node node{"node", [&]() -> Task<> {
                  if (alone) co_await when_all(stop(), slow(log, "a"), slow(log, "b"));
                  co_await when_all(sleep_for(1h), stop(), slow(log, "a"), slow(log, "b"));
              }};
    executor.emplace(node);
    loop.run(executor->try_run());
    CHECK(node.state() == NodeState::cancelled);
    CHECK(log == Log{"stopped"});
    CHECK(elapsed(loop) == 0ms);
}

TEST_CASE("A second request to end is passed on to the branches again") {
    const int kind = GENERATE(0, 1, 2, 3);
    Log log;
    EventLoop loop{virtual_time};
    const auto twice = [&]() -> Task<int> {
        for (int i = 0; i < 2; ++i) {
            try {
                co_await sleep_for(1h);
            } catch (const Cancelled&) {
                log.push_back("request at " + std::to_string(elapsed(loop).count()));
            }
        }
        co_return 1;
    };
    Node node{"node", [&]() -> Task<> {
                  switch (kind) {
                      case 0: co_await when_all(twice(), at_once(1)); break;
                      case 1: co_await when_all_settled(at_once(1), twice()); break;
                      case 2: co_await when_any(twice(), sleep_for(1h)); break;
                      default: co_await with_timeout(1h, when_all(when_any(twice())));
                  }
              }};
    TreeExecutor executor{node};
    const auto stop = [&]() -> Task<> {
        co_await sleep_for(5ms);
        executor.stop();
        co_await sleep_for(5ms);
        executor.stop();
    };
    const auto main = [&]() -> Task<> { co_await when_all(executor.try_run(), stop()); };
    loop.run(main());
    CHECK(log == Log{"request at 5", "request at 10"});
    CHECK(node.state() == NodeState::cancelled);
}

TEST_CASE("A cancellation while the losers are waited for is passed on, and Cancelled thrown") {
    Log log;
    EventLoop loop{virtual_time};
    std::string end;
    const auto any = [&]() -> Task<> {
        try {
            co_await when_any(at_once(1), slow(log, "never"));
            co_await when_any(after(5ms, 1), slow(log, "a", 1h));
            end = "value";
        } catch (const Cancelled&) {
            end = "cancelled";
            throw;
        }
    };
    const auto body = [&]() -> Task<> { co_await with_timeout(20ms, any()); };
    CHECK(loop.run(word(body())) == "a task did not end within 20 ms (with_timeout)");
    CHECK(end == "cancelled");
    CHECK(elapsed(loop) == 20ms);
    CHECK(log == Log{"a starts", "a cancelled"});
}

TEST_CASE("Clean-up code of a cancelled coroutine may await combinators") {
    Log log;
    EventLoop loop{virtual_time};
    const auto task = [&]() -> Task<> {
        bool cancelled = false;
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            cancelled = true;
        }
        if (!cancelled) co_return;
        co_await when_all(nothing_after(5ms), after(10ms, 1));
        log.push_back("all");
        const auto any = co_await when_any(after(1ms, 1), after(2ms, 2));
        log.push_back("any " + std::to_string(any.index));
        co_await with_timeout(5ms, nothing_after(4ms));
        log.push_back("in time");
        throw Cancelled();
    };
    const auto body = [&]() -> Task<> { co_await with_timeout(1ms, task()); };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(log == Log{"all", "any 0", "in time"});
    CHECK(elapsed(loop) == 16ms);
}

TEST_CASE("Branches have a cancellation of their own: a new combinator begins uncancelled") {
    EventLoop loop{virtual_time};
    int items = 0;
    const auto generate = []() -> AsyncGenerator<int> {
        for (int i = 0; i < 3; ++i) co_yield i;
    };
    const auto read = [&]() -> Task<> {
        auto generator = generate();
        while (co_await generator.next()) ++items;
    };
    const auto task = [&]() -> Task<> {
        bool cancelled = false;
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            cancelled = true;
        }
        // Here a co_yield would throw; not in a branch that nobody cancelled.
        if (cancelled) co_await when_all(read());
    };
    const auto body = [&]() -> Task<> { co_await with_timeout(1ms, task()); };
    CHECK_THROWS_AS(loop.run(body()), TimeoutError);
    CHECK(items == 3);
}

TEST_CASE("An outer error reaches branches that are nested three deep, and all is waited for") {
    Log log;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        std::vector<Task<int>> tasks;
        tasks.push_back(slow(log, "a", 5ms));
        tasks.push_back(slow(log, "b", 10ms));
        co_await when_all(
            when_any(with_timeout(1h, when_all_settled(std::move(tasks))), slow(log, "c", 1ms)),
            fail_after(3ms, "outer"));
    };
    CHECK_THROWS_WITH(loop.run(body()), "outer");
    CHECK(elapsed(loop) == 13ms);
    CHECK(log.back() == "b cleaned up");
    CHECK(log.size() == 9);
}

// --- where they work -------------------------------------------------------------------------

TEST_CASE("Combinators work in nodes, callbacks, transforms, deferred arguments, spawned tasks") {
    EventLoop loop{virtual_time};
    const auto sum = []() -> Task<int> {
        const auto [a, b] = co_await when_all(after(2ms, 1), after(1ms, 2));
        const auto any = co_await when_any(after(1ms, 10), after(1h, 20));
        const int c = co_await with_timeout(1s, after(1ms, 100));
        co_return a + b + std::get<0>(any.value) + c;
    };
    int before = 0;
    int after_run = 0;
    int spawned = 0;
    Node parent{"parent",
                [sum](int x) -> Task<int> {
                    const int y = co_await sum();
                    co_return x + y;
                },
                "x"_a = sum};
    parent.on_before_run([&, sum]() -> Task<> { before = co_await sum(); });
    parent.on_after_run([&, sum]() -> Task<> { after_run = co_await sum(); });
    Node child{"child", [](int x) { return x; }, "x"_a};
    parent.connect(
        child, "x"_a = [sum](const int& x) -> Task<int> {
            const int y = co_await sum();
            co_return x + y;
        });
    Node generator{"generator", [sum]() -> AsyncGenerator<int> {
                       for (int i = 0; i < 2; ++i) {
                           const int y = co_await sum();
                           co_yield y;
                       }
                   }};
    parent.connect(generator);
    const auto main = [&]() -> Task<> {
        const auto spawn = [&]() -> Task<> { spawned = co_await sum(); };
        EventLoop::current().spawn(spawn());
        co_await TreeExecutor{parent}.run();
    };
    loop.run(main());
    CHECK(before == 113);
    CHECK(after_run == 113);
    CHECK(spawned == 113);
    CHECK(parent.output() == 226);
    CHECK(child.output() == 339);
    CHECK(generator.output() == std::vector<int>{113, 113});
}

TEST_CASE("A failing branch fails its node, a skipping one skips it") {
    EventLoop loop{virtual_time};
    const auto skip_later = []() -> Task<> {
        co_await sleep_for(1ms);
        co_await skip("enough");
    };
    Node failing{"failing", []() -> Task<> {
                     co_await when_all(nothing_after(1h), fail_after(1ms, "broken"));
                 }};
    Node skipping{"skipping",
                  [&]() -> Task<> { co_await when_all(nothing_after(1h), skip_later()); }};
    const TreeExecutor executor = TreeExecutor{failing, skipping}.on_error(ErrorPolicy::keep_going);
    const RunReport report = loop.run(executor.try_run());
    CHECK(failing.state() == NodeState::failed);
    CHECK(skipping.state() == NodeState::skipped);
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("broken"));
    CHECK(report.elapsed() == 1ms);
}

TEST_CASE("A run inside a branch is stopped with the branch") {
    EventLoop loop{virtual_time};
    Node inner{"inner", []() -> Task<> { co_await sleep_for(1h); }};
    Node outer{"outer",
               [inner]() -> Task<> { co_await with_timeout(10ms, TreeExecutor{inner}.run()); }};
    const RunReport report = loop.run(TreeExecutor{outer}.try_run());
    CHECK(inner.state() == NodeState::cancelled);
    CHECK(outer.state() == NodeState::failed);
    CHECK(report.elapsed() == 10ms);
}

TEST_CASE("A deadlock inside branches is told, naming the node, and the branches are cancelled") {
    Log log;
    const auto never = [&log](std::string name) -> Task<> {
        try {
            co_await std::suspend_always();
        } catch (const Cancelled&) {
            log.push_back(name + " cancelled");
            throw;
        }
    };
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        co_await when_all(never("a"), when_any(never("b"), never("c")),
                          with_timeout(nanoseconds::max(), never("d")));
    };
    CHECK_THROWS_AS(loop.run(body()), DeadlockError);
    CHECK(log == Log{"a cancelled", "b cancelled", "c cancelled", "d cancelled"});
    log.clear();
    Node node{"waits for ever", body};
    CHECK_THROWS_WITH(loop.run(TreeExecutor{node}.run()), ContainsSubstring("'waits for ever'"));
    CHECK(log.size() == 4);
}

namespace {

// A pool without threads: what it was given runs when the test says so.
struct HandPool {
    template <class F>
    void enqueue(F&& fn) {
        jobs.emplace_back(std::forward<F>(fn));
    }
    void run() {
        for (auto& job : std::exchange(jobs, {})) job();
    }
    std::vector<std::function<void()>> jobs;
};

// Runs the pool once the loop wants to end.
Task<> run_at_the_end(HandPool& pool, Log& log) {
    try {
        co_await std::suspend_always();
    } catch (const Cancelled&) {
    }
    for (int i = 0; i < 5; ++i) co_await grafo::yield();
    log.push_back("the pool runs");
    pool.run();
}

}  // namespace

TEST_CASE("A branch on a pool that loses is asked to stop, and waited for") {
    Log log;
    HandPool pool;
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        const auto run_pool = [&]() -> Task<> {
            for (int i = 0; i < 5; ++i) co_await grafo::yield();
            log.push_back("the pool runs");
            pool.run();
        };
        EventLoop::current().spawn(run_pool());
        const auto work = [&log]() -> int {
            log.push_back("never wanted");
            return 1;
        };
        const auto first = co_await when_any(offload(pool, work), grafo::yield());
        CHECK(first.index == 1);
        log.push_back("when_any has ended");
    };
    loop.run(body());
    CHECK(log == Log{"the pool runs", "when_any has ended"});
}

TEST_CASE("A dropped coroutine with a branch on a pool goes when the pool is done with it") {
    Counted::reset();
    {
        Log log;
        HandPool pool;
        EventLoop loop{virtual_time};
        Node node{"node", [&]() -> Task<> {
                      const Counted local(1);
                      const auto work = [&local] { return local.value; };
                      co_await when_all(with_timeout(1h, offload(pool, work)), sleep_for(1h));
                      log.push_back("gone on");
                  }};
        const auto main = [&]() -> Task<> {
            EventLoop::current().spawn(run_at_the_end(pool, log));
            auto events = TreeExecutor{node}.yielding();
            co_await events.next();
            for (int i = 0; i < 3; ++i) co_await grafo::yield();
            REQUIRE(pool.jobs.size() == 1);
            events = AsyncGenerator<Event>();
            CHECK(Counted::live() == 1);
        };
        loop.run(main());
        CHECK(log == Log{"the pool runs"});
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What happens with many branches is the same every time") {
    const auto trace = [] {
        Log log;
        EventLoop loop{virtual_time};
        const auto one = [&](int i) -> Task<> {
            co_await sleep_for(milliseconds(i * 7 % 5));
            log.push_back(std::to_string(i));
            co_await grafo::yield();
            if (i == 17) throw std::runtime_error("17");
            co_await sleep_for(milliseconds(i * 3 % 4));
            log.push_back(std::to_string(i) + "'");
        };
        const auto body = [&]() -> Task<> {
            std::vector<Task<>> tasks;
            for (int i = 0; i < 40; ++i) tasks.push_back(one(i));
            co_await when_all(std::move(tasks));
        };
        CHECK_THROWS_WITH(loop.run(body()), "17");
        return log;
    };
    const Log first = trace();
    CHECK(first.size() > 20);
    CHECK(trace() == first);
}

// --- dropped ---------------------------------------------------------------------------------

namespace {

Task<Counted> counted_after(milliseconds pause, Counted held) {
    const Counted local(held.value);
    co_await sleep_for(pause);
    co_return local;
}

// Suspends in combinators of every kind for 14 ms.
Task<Counted> everything() {
    Counted sum(0);
    auto [a, b] = co_await when_all(counted_after(1ms, Counted(1)), counted_after(2ms, Counted(2)));
    std::vector<Task<Counted>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(counted_after(milliseconds(i), Counted(i)));
    const std::vector<Counted> all = co_await when_all(std::move(tasks));
    const auto any =
        co_await when_any(counted_after(3ms, Counted(3)),
                          when_all(counted_after(1ms, Counted(4)), counted_after(1h, Counted(5))),
                          with_timeout(1h, counted_after(1h, Counted(6))));
    const auto items = []() -> AsyncGenerator<Counted> {
        const Counted local(1);
        for (int i = 0; i < 3; ++i) {
            Counted item(i);
            co_await when_all(sleep_for(1ms), counted_after(1ms, Counted(1)));
            co_yield item;
        }
    };
    auto generator = items();
    while (const Counted* item = co_await with_timeout(1h, generator.next())) {
        sum.value += item->value;
    }
    try {
        co_await with_timeout(
            2ms, when_all_settled(counted_after(1h, Counted(7)), counted_after(1ms, Counted(8))));
    } catch (const TimeoutError&) {
        sum.value += 1;
    }
    auto settled = co_await when_all_settled(counted_after(2ms, Counted(7)), fail_after(1ms, "x"));
    sum.value += a.value + b.value + all[2].value + std::get<0>(any.value).value +
                 (*std::get<0>(settled)).value;
    co_return sum;
}

AsyncGenerator<int> ticks(int n) {
    for (int i = 0; i < n; ++i) {
        co_await sleep_for(1ms);
        co_yield i;
    }
}

// Lets the run go on until the tick, and drops its stream.
Task<> drop_at(TreeExecutor executor, AnyNode clock) {
    auto events = executor.yielding();
    while (auto event = co_await events.next()) {
        if (event->completed(clock)) break;
    }
}

}  // namespace

TEST_CASE("A run may be dropped at any time while its nodes wait in combinators") {
    Counted::reset();
    {
        EventLoop loop{virtual_time};
        CHECK(loop.run(everything()).value == 21 - 2);
        CHECK(elapsed(loop) == 14ms);
    }
    REQUIRE(Counted::live() == 0);
    const int where = GENERATE(0, 1, 2, 3, 4);
    for (int n = 1; n <= 14; ++n) {
        CAPTURE(where, n);
        {
            EventLoop loop{virtual_time};
            Node clock{"clock", ticks, "n"_a = n};
            Node parent{"parent", [where]() -> Task<Counted> {
                            if (where == 0) co_return co_await everything();
                            co_return Counted(1);
                        }};
            if (where == 1) parent.on_before_run([]() -> Task<> { co_await everything(); });
            if (where == 2) parent.on_after_run([]() -> Task<> { co_await everything(); });
            Node child{"child", [](Counted c) { return c; }, "c"_a};
            if (where == 3) {
                parent.connect(child, "c"_a = [](const Counted&) { return everything(); });
            } else {
                parent.connect(child, "c"_a);
            }
            Node outer{"outer", [parent]() -> Task<> {
                           co_await when_all(TreeExecutor{parent}.run(), sleep_for(1h));
                       }};
            const AnyNode top = where == 4 ? AnyNode(outer) : AnyNode(parent);
            loop.run(drop_at(TreeExecutor{top, clock}, clock));
            CHECK(elapsed(loop) == milliseconds(n));
        }
        REQUIRE(Counted::live() == 0);
    }
}

TEST_CASE("A loop that goes with a spawned task inside combinators destroys all of it") {
    for (int n = 0; n <= 14; ++n) {
        Counted::reset();
        {
            EventLoop loop{virtual_time};
            const auto spawn = [&]() -> Task<> {
                co_await everything();
                co_await sleep_for(1h);
            };
            for (const int i : {0, 1}) {
                static_cast<void>(i);
                EventLoop other{virtual_time};
                other.spawn(spawn());
            }
            // A generator that is left while it waits for its branches.
            std::optional<AsyncGenerator<int>> generator;
            const auto items = []() -> AsyncGenerator<int> {
                co_await everything();
                co_yield 1;
            };
            generator.emplace(items());
            const auto read = [&]() -> Task<> { co_await generator->next(); };
            const auto drop = [&]() -> Task<> {
                EventLoop::current().spawn(read());
                co_await sleep_for(milliseconds(n));
                generator.reset();
            };
            loop.run(drop());
        }
        CHECK(Counted::live() == 0);
    }
}

namespace {

// Ends with the tests' frame; tells the log.
class Witness {
public:
    Witness(Log& log, std::string text) : log_(log), text_(std::move(text)) {}
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;
    ~Witness() { log_.push_back(text_); }

private:
    Log& log_;
    std::string text_;
};

Task<int> pass(Gate& gate, Log& log, std::string name) {
    const Witness witness(log, name + " destroyed");
    const Counted local(1);
    const int n = co_await gate;
    log.push_back(name + " goes on");
    co_return n;
}
Task<int> sleep_long(Log& log, std::string name) {
    const Witness witness(log, name + " destroyed");
    const Counted local(1);
    co_await sleep_for(1h);
    co_return 0;
}

}  // namespace

TEST_CASE("A dropped coroutine with a branch inside a foreign await goes when that resumes") {
    const int kind = GENERATE(0, 1, 2, 3, 4);
    const bool lost = GENERATE(false, true);
    CAPTURE(kind, lost);
    Counted::reset();
    {
        Log log;
        Gate gate;
        EventLoop loop{virtual_time};
        Node node{"node", [&]() -> Task<> {
                      const Counted local(1);
                      const Witness witness(log, "body destroyed");
                      switch (kind) {
                          case 0:
                              co_await when_all(sleep_long(log, "beside"), pass(gate, log, "g"));
                              break;
                          case 1:
                              co_await when_any(pass(gate, log, "g"), sleep_long(log, "beside"));
                              break;
                          case 2:
                              co_await with_timeout(
                                  2ms, when_all_settled(sleep_long(log, "beside"),
                                                        with_timeout(3ms, pass(gate, log, "g"))));
                              break;
                          case 3: {
                              std::vector<Task<int>> tasks;
                              tasks.push_back(sleep_long(log, "beside"));
                              tasks.push_back(pass(gate, log, "g"));
                              co_await when_all(std::move(tasks));
                              break;
                          }
                          default: {
                              Node inner{"inner", [&]() -> Task<> {
                                             co_await when_all(pass(gate, log, "g"),
                                                               sleep_long(log, "beside"));
                                         }};
                              co_await when_all(TreeExecutor{inner}.run());
                          }
                      }
                  }};
        const auto main = [&]() -> Task<> {
            const auto let_go = [&]() -> Task<> {
                try {
                    co_await sleep_for(1h);
                } catch (const Cancelled&) {
                }
                co_await sleep_for(5ms);
                log.push_back("the gate opens");
                lost ? gate.lose() : gate.open();
            };
            EventLoop::current().spawn(let_go());
            auto events = TreeExecutor{node}.yielding();
            co_await events.next();
            co_await sleep_for(1ms);
            REQUIRE(gate.waited());
            events = AsyncGenerator<Event>();
            log.push_back("dropped");
        };
        loop.run(main());
        CHECK(elapsed(loop) == 6ms);
        REQUIRE(log.size() == 5);
        CHECK(log[0] == "dropped");
        CHECK(log[1] == "the gate opens");
        CHECK(log[4] == "body destroyed");
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("With several branches inside foreign awaits the last one to resume ends it") {
    Counted::reset();
    {
        Log log;
        Gate gates[3];
        EventLoop loop{virtual_time};
        Node node{"node", [&]() -> Task<> {
                      co_await when_all(pass(gates[0], log, "0"),
                                        when_all(pass(gates[1], log, "1"), sleep_for(2ms)),
                                        pass(gates[2], log, "2"));
                  }};
        const auto main = [&]() -> Task<> {
            {
                auto events = TreeExecutor{node}.yielding();
                co_await events.next();
                co_await sleep_for(1ms);
            }
            for (const std::size_t i : std::vector<std::size_t>{1, 2, 0}) {
                CHECK(log.empty());
                gates[i].open();
                co_await sleep_for(2ms);
            }
            CHECK(log.size() == 3);
            CHECK(Counted::live() == 0);
        };
        loop.run(main());
    }
}

TEST_CASE("A branch that drops its own run ends at its next suspension or its end, and all of it") {
    const int kind = GENERATE(0, 1, 2, 3, 4, 5);
    CAPTURE(kind);
    Counted::reset();
    {
        Log log;
        std::optional<AsyncGenerator<Event>> events;
        EventLoop loop{virtual_time};
        const auto dropper = [&]() -> Task<> {
            const Counted local(1);
            if (kind % 2 == 1) co_await sleep_for(1ms);
            log.push_back("drop");
            events.reset();
            switch (kind / 2) {
                case 0: co_await sleep_for(1ms); break;
                case 1: co_return;  // to its end
                default: co_await when_all(sleep_long(log, "never"), at_once(1));
            }
            log.push_back("gone on");
        };
        Node node{"node", [&]() -> Task<> {
                      const Counted local(1);
                      co_await when_all(counted_after(1h, Counted(1)), with_timeout(1h, dropper()),
                                        counted_after(1h, Counted(1)));
                      log.push_back("the body went on");
                  }};
        const auto main = [&]() -> Task<> {
            events.emplace(TreeExecutor{node}.yielding());
            co_await events->next();
            co_await sleep_for(10ms);
            CHECK_FALSE(events.has_value());
            CHECK(Counted::live() == 0);
        };
        loop.run(main());
        CHECK(log == Log{"drop"});
        CHECK(elapsed(loop) == 10ms);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Branches that do not run yet when their coroutine is dropped never start") {
    Counted::reset();
    {
        Log log;
        std::optional<AsyncGenerator<Event>> events;
        EventLoop loop{virtual_time};
        const auto drop = [&]() -> Task<> {
            events.reset();
            co_return;
        };
        const auto held = [&log](Counted) -> Task<int> {
            log.push_back("started");
            co_return 1;
        };
        Node node{"node", [&]() -> Task<> {
                      co_await sleep_for(1ms);
                      co_await when_all(drop(), held(Counted(1)), held(Counted(2)));
                  }};
        const auto main = [&]() -> Task<> {
            events.emplace(TreeExecutor{node}.yielding());
            co_await events->next();
            co_await sleep_for(2ms);
            CHECK_FALSE(events.has_value());
        };
        loop.run(main());
        CHECK(log.empty());
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A body that drops its own run and then awaits a combinator starts nothing of it") {
    const int kind = GENERATE(0, 1, 2);
    Counted::reset();
    {
        Log log;
        std::optional<AsyncGenerator<Event>> events;
        EventLoop loop{virtual_time};
        Node node{"node", [&]() -> Task<> {
                      co_await sleep_for(1ms);
                      events.reset();
                      switch (kind) {
                          case 0: co_await when_all(sleep_long(log, "a"), at_once(1)); break;
                          case 1: co_await with_timeout(1s, sleep_long(log, "a")); break;
                          default: co_await with_timeout(0s, sleep_long(log, "a"));
                      }
                      log.push_back("gone on");
                  }};
        const auto main = [&]() -> Task<> {
            events.emplace(TreeExecutor{node}.yielding());
            co_await events->next();
            co_await sleep_for(5ms);
        };
        loop.run(main());
        CHECK(log.empty());
        CHECK(elapsed(loop) == 5ms);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("A destructor in a dropped branch may stop the run that is dropped") {
    Counted::reset();
    {
        std::optional<TreeExecutor> executor;
        class Stopper {
        public:
            explicit Stopper(std::optional<TreeExecutor>& e) : executor_(e) {}
            Stopper(const Stopper&) = delete;
            Stopper& operator=(const Stopper&) = delete;
            ~Stopper() { executor_->stop(); }

        private:
            std::optional<TreeExecutor>& executor_;
        };
        std::optional<AsyncGenerator<int>> generator;
        const auto stopping = [&]() -> Task<> {
            const Stopper stopper(executor);
            const Counted local(1);
            co_await sleep_for(1h);
        };
        const auto items = [&]() -> AsyncGenerator<int> {
            co_await when_all(stopping(), when_all(stopping(), sleep_for(1h)));
            co_yield 1;
        };
        Node node{"node", [&]() -> Task<> {
                      generator.emplace(items());
                      co_await when_any(generator->next(), sleep_for(1h));
                  }};
        executor.emplace(node);
        EventLoop loop{virtual_time};
        const auto main = [&]() -> Task<> {
            auto events = executor->yielding();
            co_await events.next();
            co_await sleep_for(1ms);
            events = AsyncGenerator<Event>();
            CHECK(Counted::live() == 0);
            generator.reset();  // it was in the midst of its wait
            co_await sleep_for(1ms);
        };
        loop.run(main());
    }
    CHECK(Counted::live() == 0);
}
