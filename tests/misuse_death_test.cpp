// What the library is not made for, and cannot refuse by an error: debug builds end the program
// with a sentence. See docs/misuse.md; with NDEBUG only what is no misuse
// is tested here.
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <grafo/watchdog.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "catch.hpp"
#include "death.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::last_words;

namespace {

Task<int> one_later() {
    co_await sleep_for(1ms);
    co_return 1;
}
AsyncGenerator<int> count_slowly(int n) {
    for (int i = 1; i <= n; ++i) {
        co_await sleep_for(1ms);
        co_yield i;
    }
}
Task<int> next_of(AsyncGenerator<int>& numbers) {
    const int* number = co_await numbers.next();
    co_return number != nullptr ? *number : 0;
}

}  // namespace

// ---- what is no misuse ------------------------------------------------------------------------

TEST_CASE("Reads by turns, after errors and after a cancellation are no misuse of a generator") {
    const auto reads = []() -> Task<int> {
        AsyncGenerator<int> numbers = count_slowly(5);
        int sum = co_await next_of(numbers);
        sum += co_await next_of(numbers);
        const auto first = co_await when_any(next_of(numbers), one_later());
        sum += first.value.index() == 0 ? std::get<0>(first.value) : 0;
        while (const int* number = co_await numbers.next()) sum += *number;
        co_await numbers.next();
        AsyncGenerator<int> late = count_slowly(5);
        bool timed_out = false;
        try {
            co_await with_timeout(0s, next_of(late));
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(co_await next_of(late) == 0);
        co_return sum;
    };
    EventLoop loop{virtual_time};
    CHECK(loop.run(reads()) > 0);
}

TEST_CASE("A loop may be used by one thread after the other") {
    EventLoop loop;
    const Semaphore semaphore{1};
    const Node node = Node{"node", one_later}.limit(semaphore);
    CHECK(loop.run(TreeExecutor{node}.run()).ok());
    std::thread([&] {
        loop.spawn(one_later());
        static_cast<void>(loop.run(TreeExecutor{node}.run()));
        static_cast<void>(semaphore.try_acquire());
        node.priority(1);
    }).join();
    CHECK(loop.run(TreeExecutor{node}.run()).ok());
}

#ifndef NDEBUG

// ---- generators -------------------------------------------------------------------------------

TEST_CASE("Two next() of one generator at the same time end a debug build") {
    const auto both = []() -> Task<> {
        AsyncGenerator<int> numbers = count_slowly(3);
        co_await when_all(next_of(numbers), next_of(numbers));
    };
    CHECK_THAT(last_words([&] { grafo::run(both()); }),
               ContainsSubstring("awaited while another next() of it had not given its item"));
}

TEST_CASE("A generator that asks itself for an item ends a debug build") {
    const auto asks = []() -> Task<> {
        AsyncGenerator<int>* self = nullptr;
        const auto body = [](AsyncGenerator<int>*& generator) -> AsyncGenerator<int> {
            co_await generator->next();
            co_yield 1;
        };
        AsyncGenerator<int> numbers = body(self);
        self = &numbers;
        co_await numbers.next();
    };
    CHECK_THAT(last_words([&] { grafo::run(asks()); }),
               ContainsSubstring("awaited while another next() of it had not given its item"));
}

TEST_CASE("A generator whose reader was dropped within next() is not read on in a debug build") {
    const auto drop_reader = [] {
        AsyncGenerator<int> others = count_slowly(3);
        const Node reader{"reader", [&others]() -> Task<> { co_await others.next(); }};
        EventLoop loop;
        const auto read_on = [&]() -> Task<> {
            {
                auto events = TreeExecutor{reader}.yielding();
                co_await events.next();
                co_await yield();
            }
            co_await others.next();
        };
        loop.run(read_on());
    };
    CHECK_THAT(last_words(drop_reader),
               ContainsSubstring("awaited while another next() of it had not given its item"));
}

TEST_CASE("An iterator at the end, or of no range, is not dereferenced in a debug build") {
    const auto at_end = [] {
        auto numbers = iterate(count_slowly(0));
        return *numbers.begin();
    };
    CHECK_THAT(last_words(at_end), ContainsSubstring("dereferenced at the end"));
    const auto of_none = [] {
        decltype(iterate(count_slowly(0)))::Iterator none;
        ++none;
    };
    CHECK_THAT(last_words(of_none), ContainsSubstring("an iterator of no iterate()"));
}

TEST_CASE("The value of an outcome that is an error is not read unchecked in a debug build") {
    const auto fails = [](int way) -> Task<> {
        const auto throws = []() -> Task<std::string> {
            co_await yield();
            throw 1;
        };
        auto outcomes = co_await when_all_settled(throws(), throws());
        Outcome<std::string>& outcome = std::get<0>(outcomes);
        if (way == 0) static_cast<void>((*outcome).size());
        if (way == 1) static_cast<void>(outcome->size());
        if (way == 2) static_cast<void>((*std::as_const(outcome)).size());
        if (way == 3) static_cast<void>((*std::move(outcome)).size());
    };
    for (int way = 0; way < 4; ++way) {
        CHECK_THAT(last_words([&] { grafo::run(fails(way)); }),
                   ContainsSubstring("the value of an Outcome that is an error was used"));
    }
}

// ---- loops ------------------------------------------------------------------------------------

TEST_CASE("A loop that is destroyed while it runs ends a debug build") {
    const auto destroys = [] {
        auto loop = std::make_unique<EventLoop>();
        const auto task = [&loop]() -> Task<> {
            co_await yield();
            loop.reset();
        };
        loop->run(task());
    };
    CHECK_THAT(last_words(destroys), ContainsSubstring("an EventLoop was destroyed while it runs"));
}

TEST_CASE("A loop that is run, or given a task, by another thread ends a debug build") {
    const auto elsewhere = [](auto&& what) {
        return last_words([&] {
            EventLoop loop;
            ThreadPool pool{1};
            const auto task = [&]() -> Task<> {
                const auto work = [&] { what(loop); };
                co_await offload(pool, work);
            };
            loop.run(task());
        });
    };
    CHECK_THAT(elsewhere([](EventLoop& loop) { loop.run(one_later()); }),
               ContainsSubstring("an EventLoop was run while another thread runs it"));
    CHECK_THAT(elsewhere([](EventLoop& loop) { loop.spawn(one_later()); }),
               ContainsSubstring("spawn was called on another thread than the loop's"));
    CHECK_THAT(elsewhere([](EventLoop& loop) { const Watchdog watchdog(loop, 1s); }),
               ContainsSubstring("a Watchdog was made on another thread than its loop's"));
}

TEST_CASE("A range or a watchdog that outlives its loop ends a debug build") {
    const auto ends = [] {
        auto loop = std::make_unique<EventLoop>();
        auto numbers = iterate(*loop, count_slowly(3));
        auto number = numbers.begin();
        loop.reset();
        ++number;
    };
    CHECK_THAT(last_words(ends), ContainsSubstring("an iterate() outlived its loop"));
    const auto dropped = [] {
        auto loop = std::make_unique<EventLoop>();
        auto numbers = iterate(*loop, count_slowly(3));
        loop.reset();
    };
    CHECK_THAT(last_words(dropped), ContainsSubstring("an iterate() outlived its loop"));
    const auto watches = [] {
        auto loop = std::make_unique<EventLoop>();
        const Watchdog watchdog(*loop, 1s);
        loop.reset();
    };
    CHECK_THAT(last_words(watches), ContainsSubstring("a Watchdog outlived its loop"));
}

// ---- threads ----------------------------------------------------------------------------------

TEST_CASE("A limit that is used by two threads at once ends a debug build") {
    const auto shared = [](auto limit, auto use) {
        return last_words([&] {
            ThreadPool pool{1};
            const auto task = [&]() -> Task<> {
                auto held = co_await use(limit);
                const auto work = [&] {
                    const auto other = [&]() -> Task<> { static_cast<void>(co_await use(limit)); };
                    grafo::run(other());
                };
                co_await offload(pool, work);
                static_cast<void>(held);
            };
            grafo::run(task());
        });
    };
    const auto acquire = [](Semaphore& semaphore) -> Task<Semaphore::Guard> {
        co_return co_await semaphore.acquire();
    };
    const auto pass = [](RateLimiter& rate) -> Task<int> {
        co_await rate.acquire();
        co_return 1;
    };
    CHECK_THAT(shared(Semaphore(2), acquire), ContainsSubstring("is used by two threads"));
    CHECK_THAT(shared(RateLimiter(2, 1s), pass), ContainsSubstring("is used by two threads"));
    const auto gives_back = [] {
        ThreadPool pool{1};
        const auto task = [&]() -> Task<> {
            Semaphore::Guard guard = co_await Semaphore(1).acquire();
            const auto work = [&] { guard.release(); };
            co_await offload(pool, work);
        };
        grafo::run(task());
    };
    CHECK_THAT(last_words(gives_back), ContainsSubstring("is used by two threads"));
}

TEST_CASE("A node that another thread changes while it is in a run ends a debug build") {
    const auto elsewhere = [](auto&& what) {
        return last_words([&] {
            ThreadPool pool{1};
            const Node child{"child", [] {}};
            const Node other{"other", [] {}};
            const Node node{"node", [&]() -> Task<> {
                                const auto work = [&] { what(child, other); };
                                co_await offload(pool, work);
                            }};
            node.connect(child);
            grafo::run(TreeExecutor{node}.run());
        });
    };
    using Handle = const Node<void>&;
    for (const std::string& words :
         {elsewhere([](Handle child, Handle) { child.priority(1); }),
          elsewhere([](Handle child, Handle other) { other.connect(child); }),
          elsewhere([](Handle child, Handle other) { child.connect(other); }),
          elsewhere([](Handle child, Handle other) { child.redirect({other}); })}) {
        CHECK_THAT(words, ContainsSubstring("a node was changed on another thread"));
    }
}

TEST_CASE("A graph that its own callables keep alive is reported by a debug build") {
    const auto leaks = [] {
        const Node first{"first", [] {}};
        const Node second{"second", [first] { static_cast<void>(first.state()); }};
        first.connect(second);
    };
    const std::string words = last_words(leaks);
    CHECK_THAT(words, ContainsSubstring("a graph is kept alive only by its own callables"));
    CHECK_THAT(words, ContainsSubstring("node 'second' holds a handle of node 'first'"));
    CHECK_THAT(words, ContainsSubstring("and lived"));
    const auto refers = [] {
        const Node first{"first", [] {}};
        const Node second{"second", [first = first.ref()] { static_cast<void>(first.expired()); }};
        first.connect(second);
    };
    CHECK_THAT(last_words(refers), !ContainsSubstring("kept alive"));
}

TEST_CASE("Work for a pool that holds a node handle ends a debug build") {
    const auto holds = [] {
        ThreadPool pool{1};
        const Node node{"node", one_later};
        const auto task = [&]() -> Task<> {
            const auto work = [node] { static_cast<void>(node.id()); };
            co_await offload(pool, work);
        };
        grafo::run(task());
    };
    CHECK_THAT(last_words(holds), ContainsSubstring("holds a handle of node 'node'"));
}
#endif
