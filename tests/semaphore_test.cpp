#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cancel_by_hand.hpp"
#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;
using grafo_test::own_context;
using std::chrono::nanoseconds;

namespace {
std::size_t allocations = 0;
}  // namespace

// Counted here, for the whole program.
void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size);
}
// Inlined into its callers, the free would look to g++ 12 like the wrong way to delete.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept {
    std::free(memory);
}

namespace {

using Log = std::vector<std::string>;

// Acquires, writes its name, and holds what it acquired for that long.
Task<> use(Semaphore semaphore, Log& log, std::string name, nanoseconds hold,
           std::size_t weight = 1) {
    const Counted local;
    const Semaphore::Guard guard = co_await semaphore.acquire(weight);
    log.push_back(std::move(name));
    co_await sleep_for(hold);
}

// The same, in a context that the test cancels, and tells how it ended.
Task<> use_or_tell(Semaphore semaphore, Log& log, std::string name, detail::Context*& context,
                   std::size_t weight = 1) {
    const Counted local;
    co_await own_context(context);
    try {
        const Semaphore::Guard guard = co_await semaphore.acquire(weight);
        log.push_back(name + " acquired");
    } catch (const Cancelled&) {
        log.push_back(name + " cancelled");
    }
    context = nullptr;
}

Task<> acquire_and_drop(Semaphore semaphore) {
    const Semaphore::Guard guard = co_await semaphore.acquire();
}

template <class Body>
void run_virtual(const Body& body) {
    EventLoop loop{virtual_time};
    loop.run(body());
}

}  // namespace

// --- what it is made of ----------------------------------------------------------------------

TEST_CASE("A semaphore of capacity 0 is refused") {
    CHECK_THROWS_AS(Semaphore(0), Error);
    CHECK_THROWS_WITH(Semaphore(0), ContainsSubstring("Semaphore") && ContainsSubstring("0"));
    CHECK_NOTHROW(Semaphore(static_cast<std::size_t>(-1)));
}

TEST_CASE("A weight of 0 or above the capacity is refused when it is asked for, by both numbers") {
    const Semaphore semaphore{7};
    for (const std::size_t weight :
         {std::size_t(0), std::size_t(8), static_cast<std::size_t>(-1)}) {
        const std::string number = std::to_string(weight);
        CHECK_THROWS_AS(static_cast<void>(semaphore.acquire(weight)), Error);
        CHECK_THROWS_AS(static_cast<void>(semaphore.try_acquire(weight)), Error);
        CHECK_THROWS_WITH(static_cast<void>(semaphore.acquire(weight)),
                          ContainsSubstring(number) && ContainsSubstring("1 to 7"));
        CHECK_THROWS_WITH(static_cast<void>(semaphore.try_acquire(weight)),
                          ContainsSubstring(number) && ContainsSubstring("1 to 7"));
    }
    CHECK(semaphore.available() == 7);
    CHECK(semaphore.try_acquire(7));
}

TEST_CASE("Copies of a handle mean the same semaphore, and a handle is never empty") {
    const Semaphore one{2};
    Semaphore copy = one;
    const Semaphore moved = std::move(copy);
    CHECK(one == moved);
    CHECK(one == copy);
    CHECK(one != Semaphore{2});
    const Semaphore::Guard guard = moved.try_acquire();
    CHECK(one.available() == 1);
    CHECK(copy.available() == 1);
    copy = Semaphore{5};
    CHECK(copy.capacity() == 5);
    CHECK(one.capacity() == 2);
}

TEST_CASE("Each limit has an id of its own, and later ones have greater ones") {
    const Semaphore first{1};
    const RateLimiter second{1, 1s};
    const Semaphore third{1};
    const Semaphore copy = first;
    CHECK(detail::LimitAccess::id(first) < detail::LimitAccess::id(second));
    CHECK(detail::LimitAccess::id(second) < detail::LimitAccess::id(third));
    CHECK(detail::LimitAccess::id(first) == detail::LimitAccess::id(copy));
}

// --- guards ----------------------------------------------------------------------------------

TEST_CASE("A guard holds its weight until it is destroyed") {
    const Semaphore semaphore{5};
    CHECK(semaphore.capacity() == 5);
    CHECK(semaphore.available() == 5);
    const auto body = [&]() -> Task<> {
        {
            const Semaphore::Guard two = co_await semaphore.acquire(2);
            CHECK(two);
            CHECK(semaphore.available() == 3);
            const Semaphore::Guard one = co_await semaphore.acquire();
            CHECK(semaphore.available() == 2);
        }
        CHECK(semaphore.available() == 5);
        CHECK(semaphore.capacity() == 5);
        CHECK(semaphore.waiting() == 0);
    };
    run_virtual(body);
}

TEST_CASE("A guard is move-only, empty by default, after a move and after release") {
    STATIC_REQUIRE(!std::is_copy_constructible_v<Semaphore::Guard>);
    STATIC_REQUIRE(!std::is_copy_assignable_v<Semaphore::Guard>);
    STATIC_REQUIRE(std::is_nothrow_default_constructible_v<Semaphore::Guard>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Semaphore::Guard>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<Semaphore::Guard>);

    const Semaphore semaphore{5};
    Semaphore::Guard empty;
    CHECK(!empty);
    empty.release();

    Semaphore::Guard guard = semaphore.try_acquire(3);
    Semaphore::Guard moved = std::move(guard);
    CHECK(!guard);
    CHECK(moved);
    CHECK(semaphore.available() == 2);
    guard.release();
    CHECK(semaphore.available() == 2);
    moved.release();
    CHECK(!moved);
    CHECK(semaphore.available() == 5);
    moved.release();
    CHECK(semaphore.available() == 5);
}

TEST_CASE("Assigned to, a guard returns what it held and takes over the other") {
    const Semaphore semaphore{10};
    Semaphore::Guard guard = semaphore.try_acquire(3);
    guard = semaphore.try_acquire(2);
    CHECK(semaphore.available() == 8);
    Semaphore::Guard& same = guard;
    guard = std::move(same);
    CHECK(guard);
    CHECK(semaphore.available() == 8);
    guard = Semaphore::Guard();
    CHECK(semaphore.available() == 10);
}

TEST_CASE("A guard may outlive the handles and the loop") {
    Semaphore::Guard kept;
    {
        const auto body = [&]() -> Task<> {
            const Semaphore semaphore{1};
            kept = co_await semaphore.acquire();
        };
        run_virtual(body);
    }
    CHECK(kept);
    kept.release();
    CHECK(!kept);
}

TEST_CASE("Guards are released in a container, in any order") {
    const Semaphore semaphore{6};
    std::vector<Semaphore::Guard> guards;
    for (std::size_t weight = 1; weight <= 3; ++weight) {
        guards.push_back(semaphore.try_acquire(weight));
    }
    CHECK(semaphore.available() == 0);
    guards.erase(guards.begin() + 1);
    CHECK(semaphore.available() == 2);
    guards.clear();
    CHECK(semaphore.available() == 6);
}

// --- try_acquire -----------------------------------------------------------------------------

TEST_CASE("try_acquire gives an empty guard where the weight is not available now") {
    const Semaphore semaphore{3};
    Semaphore::Guard two = semaphore.try_acquire(2);
    CHECK(two);
    CHECK(!semaphore.try_acquire(2));
    const Semaphore::Guard one = semaphore.try_acquire(1);
    CHECK(one);
    CHECK(!semaphore.try_acquire());
    two.release();
    CHECK(semaphore.try_acquire(2));
    CHECK(semaphore.available() == 2);
}

TEST_CASE("try_acquire does not overtake those that wait, though its weight would fit") {
    Log log;
    const Semaphore semaphore{3};
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire(2);
        EventLoop::current().spawn(use(semaphore, log, "heavy", 0s, 3));
        co_await grafo::yield();
        CHECK(semaphore.available() == 1);
        CHECK(semaphore.waiting() == 1);
        CHECK(!semaphore.try_acquire(1));
        guard.release();
        CHECK(!semaphore.try_acquire(1));  // all of it is on its way to the one that waited
        CHECK(semaphore.available() == 0);
        co_await sleep_for(1s);
        CHECK(semaphore.try_acquire(3));
    };
    run_virtual(body);
    CHECK(log == Log{"heavy"});
}

// --- awaiting --------------------------------------------------------------------------------

TEST_CASE("What is available is acquired without a suspension") {
    Log log;
    const auto other = [&]() -> Task<> {
        log.push_back("other");
        co_return;
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(other());
        const Semaphore semaphore{1};
        const Semaphore::Guard guard = co_await semaphore.acquire();
        log.push_back("acquired");
        co_await grafo::yield();
    };
    run_virtual(body);
    CHECK(log == Log{"acquired", "other"});
}

TEST_CASE("What acquire gives does nothing until it is awaited, and may be awaited again") {
    const Semaphore semaphore{3};
    const auto body = [&]() -> Task<> {
        const auto acquire = semaphore.acquire(2);
        CHECK(semaphore.available() == 3);
        Semaphore::Guard first = co_await acquire;
        CHECK(semaphore.available() == 1);
        first.release();
        const Semaphore::Guard second = co_await acquire;
        CHECK(semaphore.available() == 1);
    };
    run_virtual(body);
    CHECK(semaphore.available() == 3);
}

TEST_CASE("At most the capacity is inside at any time") {
    const std::size_t capacity = GENERATE(1U, 2U, 3U, 7U);
    CAPTURE(capacity);
    const Semaphore semaphore{capacity};
    std::size_t inside = 0;
    std::size_t most = 0;
    const auto worker = [&](nanoseconds hold) -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire();
        most = std::max(most, ++inside);
        co_await sleep_for(hold);
        --inside;
    };
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 50; ++i) loop.spawn(worker(10ms));
        co_await sleep_for(1h);
    };
    loop.run(body());
    CHECK(most == capacity);
    CHECK(inside == 0);
    CHECK(semaphore.available() == capacity);
}

TEST_CASE("Those that wait are served first come, first served") {
    Log log;
    const Semaphore semaphore{1};
    const auto body = [&]() -> Task<> {
        for (const char* name : {"1", "2", "3", "4", "5"}) {
            EventLoop::current().spawn(use(semaphore, log, name, 1s));
        }
        co_await sleep_for(2500ms);
        CHECK(log == Log{"1", "2", "3"});
        CHECK(semaphore.waiting() == 2);
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(log == Log{"1", "2", "3", "4", "5"});
}

TEST_CASE("A heavy one at the head of the queue is not overtaken by light ones that would fit") {
    Log log;
    const Semaphore semaphore{4};
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        loop.spawn(use(semaphore, log, "two", 1s, 2));
        loop.spawn(use(semaphore, log, "one", 2s, 1));
        loop.spawn(use(semaphore, log, "all", 1s, 4));
        loop.spawn(use(semaphore, log, "light", 1s, 1));
        loop.spawn(use(semaphore, log, "lighter", 1s, 1));
        co_await sleep_for(1500ms);
        CHECK(log == Log{"two", "one"});
        CHECK(semaphore.available() == 3);
        CHECK(semaphore.waiting() == 3);
        co_await sleep_for(1s);
        CHECK(log == Log{"two", "one", "all"});
        co_await sleep_for(1s);
        CHECK(log == Log{"two", "one", "all", "light", "lighter"});
    };
    loop.run(body());
}

TEST_CASE("Releasing resumes nobody in place, and lets in as many as fit") {
    Log log;
    const Semaphore semaphore{3};
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire(3);
        for (const char* name : {"1", "2", "3", "4"}) {
            EventLoop::current().spawn(use(semaphore, log, name, 1h));
        }
        co_await grafo::yield();
        guard.release();
        log.push_back("released");
        CHECK(semaphore.waiting() == 1);
        co_await grafo::yield();
        CHECK(log == Log{"released", "1", "2", "3"});
    };
    run_virtual(body);
    CHECK(semaphore.available() == 3);
}

TEST_CASE("A newcomer does not overtake one to which a permit is on its way") {
    Log log;
    const Semaphore semaphore{1};
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire();
        EventLoop::current().spawn(use(semaphore, log, "waited", 1s));
        co_await grafo::yield();
        guard.release();
        guard = co_await semaphore.acquire();
        log.push_back("newcomer");
    };
    run_virtual(body);
    CHECK(log == Log{"waited", "newcomer"});
}

TEST_CASE("One that releases and acquires in a loop lets the others in between") {
    std::string order;
    const Semaphore semaphore{1};
    const auto greedy = [&](char name) -> Task<> {
        for (int i = 0; i < 4; ++i) {
            const Semaphore::Guard guard = co_await semaphore.acquire();
            order += name;
            co_await sleep_for(1ms);
        }
    };
    const auto body = [&]() -> Task<> {
        for (const char name : {'a', 'b', 'c'}) EventLoop::current().spawn(greedy(name));
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(order == "abcabcabcabc");
}

TEST_CASE("An exception returns what the frames that it leaves hold") {
    const Semaphore semaphore{2};
    const auto failing = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire(2);
        throw std::runtime_error("as the test wants it");
    };
    const auto body = [&]() -> Task<> {
        CHECK_THROWS_AS(co_await failing(), std::runtime_error);
        CHECK(semaphore.available() == 2);
    };
    run_virtual(body);
}

TEST_CASE("Neither a wait nor a turn allocates") {
    const Semaphore semaphore{1};
    std::size_t turns = 0;
    const auto worker = [&]() -> Task<> {
        for (int i = 0; i < 100; ++i) {
            const Semaphore::Guard guard = co_await semaphore.acquire();
            ++turns;
            co_await grafo::yield();
        }
    };
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 10; ++i) EventLoop::current().spawn(worker());
        co_await grafo::yield();
        const std::size_t before = allocations;
        while (turns < 1'000) co_await grafo::yield();
        CHECK(allocations == before);
    };
    run_virtual(body);
}

// --- cancellation ----------------------------------------------------------------------------

TEST_CASE("A cancelled wait throws Cancelled, and the others keep their turns") {
    Log log;
    const Semaphore semaphore{1};
    std::vector<detail::Context*> contexts(3);
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire();
        EventLoop::current().spawn(use_or_tell(semaphore, log, "first", contexts[0]));
        EventLoop::current().spawn(use_or_tell(semaphore, log, "second", contexts[1]));
        EventLoop::current().spawn(use_or_tell(semaphore, log, "third", contexts[2]));
        co_await grafo::yield();
        CHECK(semaphore.waiting() == 3);
        contexts[1]->cancel();
        CHECK(semaphore.waiting() == 2);
        CHECK(log.empty());
        co_await grafo::yield();
        CHECK(log == Log{"second cancelled"});
        guard.release();
        co_await sleep_for(1s);
    };
    run_virtual(body);
    CHECK(log == Log{"second cancelled", "first acquired", "third acquired"});
    CHECK(semaphore.available() == 1);
}

TEST_CASE("When a heavy one at the head is cancelled, the light ones behind it are let in") {
    Log log;
    const Semaphore semaphore{3};
    detail::Context* heavy = nullptr;
    const auto body = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire(1);
        EventLoop::current().spawn(use_or_tell(semaphore, log, "heavy", heavy, 3));
        EventLoop::current().spawn(use(semaphore, log, "light", 1s, 1));
        EventLoop::current().spawn(use(semaphore, log, "other", 1s, 1));
        EventLoop::current().spawn(use(semaphore, log, "late", 1s, 1));
        co_await grafo::yield();
        heavy->cancel();
        CHECK(semaphore.available() == 0);
        CHECK(semaphore.waiting() == 1);
        co_await sleep_for(500ms);
        CHECK(log == Log{"light", "other", "heavy cancelled"});
        co_await sleep_for(1s);
    };
    run_virtual(body);
    CHECK(log == Log{"light", "other", "heavy cancelled", "late"});
}

TEST_CASE("Cancelled with the permit on its way, a waiter passes it on to the next") {
    Log log;
    const Semaphore semaphore{1};
    std::vector<detail::Context*> contexts(3);
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire();
        EventLoop::current().spawn(use_or_tell(semaphore, log, "first", contexts[0]));
        EventLoop::current().spawn(use_or_tell(semaphore, log, "second", contexts[1]));
        EventLoop::current().spawn(use_or_tell(semaphore, log, "third", contexts[2]));
        co_await grafo::yield();
        guard.release();
        CHECK(semaphore.waiting() == 2);
        contexts[0]->cancel();
        CHECK(semaphore.waiting() == 1);
        contexts[1]->cancel();
        CHECK(semaphore.waiting() == 0);
        CHECK(semaphore.available() == 0);
        co_await sleep_for(1s);
    };
    run_virtual(body);
    std::sort(log.begin(), log.end());
    CHECK(log == Log{"first cancelled", "second cancelled", "third acquired"});
    CHECK(semaphore.available() == 1);
}

TEST_CASE("A second cancellation of the same wait reaches the next await") {
    Log log;
    const Semaphore semaphore{1};
    detail::Context* context = nullptr;
    const auto task = [&]() -> Task<> {
        co_await own_context(context);
        try {
            const Semaphore::Guard guard = co_await semaphore.acquire();
        } catch (const Cancelled&) {
            log.push_back("once");
        }
        try {
            co_await sleep_for(1h);
        } catch (const Cancelled&) {
            log.push_back("twice");
        }
        const Semaphore::Guard guard = co_await semaphore.acquire();
        log.push_back("acquired");
    };
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire();
        EventLoop::current().spawn(task());
        co_await grafo::yield();
        context->cancel();
        context->cancel();
        co_await sleep_for(1s);
        guard.release();
        co_await sleep_for(1s);
    };
    run_virtual(body);
    CHECK(log == Log{"once", "twice", "acquired"});
}

TEST_CASE("A cancellation that is due is thrown by an acquire that would wait, by no other") {
    Log log;
    const Semaphore semaphore{1};
    const auto task = [&]() -> Task<> {
        detail::Context* self = nullptr;
        co_await own_context(self);
        self->cancel();
        Semaphore::Guard guard = co_await semaphore.acquire();
        log.push_back("acquired");
        try {
            const Semaphore::Guard never = co_await semaphore.acquire();
        } catch (const Cancelled&) {
            log.push_back("cancelled");
            CHECK(semaphore.waiting() == 0);
        }
        guard.release();
        guard = co_await semaphore.acquire();
        log.push_back("acquired again");
    };
    run_virtual(task);
    CHECK(log == Log{"acquired", "cancelled", "acquired again"});
    CHECK(semaphore.available() == 1);
}

TEST_CASE("At the loop's end those that wait are cancelled, also with the permit on its way") {
    Log log;
    const Semaphore semaphore{1};
    std::vector<detail::Context*> contexts(3);
    Counted::reset();
    const auto body = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire();
        EventLoop::current().spawn(use_or_tell(semaphore, log, "first", contexts[0]));
        EventLoop::current().spawn(use_or_tell(semaphore, log, "second", contexts[1]));
        EventLoop::current().spawn(use_or_tell(semaphore, log, "third", contexts[2]));
        co_await grafo::yield();
    };
    run_virtual(body);
    std::sort(log.begin(), log.end());
    CHECK(log == Log{"first cancelled", "second cancelled", "third cancelled"});
    CHECK(semaphore.available() == 1);
    CHECK(semaphore.waiting() == 0);
    CHECK(Counted::constructed() == 3);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A node that times out while it waits leaves the queue to the next") {
    const Semaphore semaphore{2};
    Log log;
    EventLoop loop{virtual_time};
    const auto waits = [&](std::size_t weight) -> Task<> {
        const Counted local;
        const Semaphore::Guard guard = co_await semaphore.acquire(weight);
        log.push_back(std::to_string(weight));
        co_await sleep_for(10s);
    };
    const auto body = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire();
        Node heavy = Node{"heavy", waits, "weight"_a = std::size_t(2)}.timeout(3s);
        const Node light{"light", waits, "weight"_a = std::size_t(1)};
        TreeExecutor executor{"both", {AnyNode(heavy), AnyNode(light)}};
        executor.on_error(ErrorPolicy::keep_going);
        const RunReport report = co_await executor.try_run();
        CHECK(report.failed().size() == 1);
        CHECK(heavy.state() == NodeState::failed);
        CHECK(light.state() == NodeState::completed);
        CHECK(light.runtime() == 13s);
        CHECK_THROWS_WITH(report.throw_if_failed(), ContainsSubstring("heavy"));
    };
    Counted::reset();
    loop.run(body());
    CHECK(log == Log{"1"});
    CHECK(semaphore.available() == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A run that is stopped takes its nodes out of the queue") {
    const Semaphore semaphore{1};
    const auto body = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire();
        Node waits{"waits", acquire_and_drop, "semaphore"_a = semaphore};
        TreeExecutor executor{waits};
        const auto stop_later = [&]() -> Task<> {
            co_await sleep_for(1s);
            CHECK(semaphore.waiting() == 1);
            executor.stop();
        };
        EventLoop::current().spawn(stop_later());
        co_await executor.try_run();
        CHECK(waits.state() == NodeState::cancelled);
        CHECK(semaphore.waiting() == 0);
    };
    run_virtual(body);
    CHECK(semaphore.available() == 1);
}

// --- dropped frames --------------------------------------------------------------------------

namespace {

// A graph whose nodes wait for a semaphore, and one that yields a chunk every millisecond.
struct Crowd {
    explicit Crowd(std::size_t size) : semaphore(2) {
        const auto member = [](Semaphore s, std::size_t weight) -> Task<> {
            const Counted local;
            const Semaphore::Guard guard = co_await s.acquire(weight);
            const Counted inside;
            co_await sleep_for(3ms);
        };
        for (std::size_t i = 0; i < size; ++i) {
            const Node node{"member_" + std::to_string(i), member, "semaphore"_a = semaphore,
                            "weight"_a = i % 2 + 1};
            nodes.push_back(node);
        }
        const Node ticks{"ticks",
                         [](int n) -> AsyncGenerator<int> {
                             for (int i = 0; i < n; ++i) {
                                 co_await sleep_for(1ms);
                                 co_yield i;
                             }
                         },
                         "n"_a = 100};
        nodes.push_back(ticks);
    }
    Semaphore semaphore;
    std::vector<AnyNode> nodes;
};

}  // namespace

TEST_CASE("A stream may be dropped after every event of nodes that wait, hold and are let in") {
    for (int events = 1; events < 80; ++events) {
        CAPTURE(events);
        Counted::reset();
        Crowd crowd(12);
        const TreeExecutor executor{crowd.nodes};
        Log log;
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            {
                auto stream = executor.yielding();
                for (int i = 0; i < events; ++i) {
                    const auto event = co_await stream.next();
                    if (!event) break;
                }
                if (events > 2 && events % 3 == 0) {
                    loop.spawn(use(crowd.semaphore, log, "outsider", 1s, 2));
                    co_await grafo::yield();
                }
            }
            CHECK(crowd.semaphore.waiting() == 0);
            co_await sleep_for(10ms);
            const std::size_t held = log.empty() ? 0 : 2;
            CHECK(crowd.semaphore.available() == 2 - held);
        };
        loop.run(body());
        CHECK(log.size() == (events > 2 && events % 3 == 0 ? 1 : 0));
        CHECK(crowd.semaphore.available() == 2);
        CHECK(crowd.semaphore.waiting() == 0);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE(
    "A waiter that is dropped, but not yet destroyed, is out of the queue and gives its permit "
    "on") {
    Counted::reset();
    const Semaphore semaphore{1};
    Log log;
    const bool on_its_way = GENERATE(false, true);
    grafo_test::Gate gate;
    const auto behind_gate = [&]() -> Task<> {
        const Counted local;
        co_await gate;
    };
    const auto frozen = [&]() -> Task<> {
        const Counted local;
        const Semaphore::Guard guard = co_await semaphore.acquire();
        FAIL("it was dropped");
    };
    const auto inner = [&]() -> Task<> {
        const Node first{"first", behind_gate};
        const Node second{"second", frozen};
        TreeExecutor executor{"inner", {first, second}};
        co_await executor.run();
    };
    const auto body = [&]() -> Task<> {
        Semaphore::Guard guard = co_await semaphore.acquire();
        {
            const Node outer{"outer", inner};
            auto stream = TreeExecutor{outer}.yielding();
            const auto started = co_await stream.next();
            REQUIRE(started);
            co_await sleep_for(1s);
            CHECK(semaphore.waiting() == 1);
            EventLoop::current().spawn(use(semaphore, log, "next", 1s));
            co_await grafo::yield();
            if (on_its_way) guard.release();
        }
        CHECK(semaphore.waiting() == (on_its_way ? 0 : 1));
        guard.release();
        co_await sleep_for(500ms);
        CHECK(log == Log{"next"});
        CHECK(Counted::live() == 3);  // of which two are frozen
        gate.open();
        co_await sleep_for(1s);
    };
    run_virtual(body);
    CHECK(semaphore.available() == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A range over such a stream may be left after every event, outside of its loop") {
    for (int events = 1; events < 80; ++events) {
        CAPTURE(events);
        Counted::reset();
        const Crowd crowd(12);
        const TreeExecutor executor{crowd.nodes};
        EventLoop loop{virtual_time};
        int count = 0;
        for (const Event& event : iterate(loop, executor.yielding())) {
            static_cast<void>(event);
            if (++count == events) break;
        }
        CHECK(crowd.semaphore.available() == 2);
        CHECK(crowd.semaphore.waiting() == 0);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("A stream that outlives its loop may be dropped with nodes that wait inside") {
    for (int events = 1; events < 60; ++events) {
        CAPTURE(events);
        Counted::reset();
        const Crowd crowd(12);
        const TreeExecutor executor{crowd.nodes};
        auto stream = executor.yielding();
        {
            EventLoop loop{virtual_time};
            const auto body = [&]() -> Task<> {
                for (int i = 0; i < events; ++i) {
                    const auto event = co_await stream.next();
                    if (!event) break;
                }
            };
            loop.run(body());
        }
        // Those inside are not resumed any more, but what they hold comes back.
        stream = {};
        CHECK(crowd.semaphore.available() == 2);
        CHECK(crowd.semaphore.waiting() == 0);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("What waits in a loop that is gone does not stand in the way of another loop") {
    Counted::reset();
    const Crowd crowd(12);
    const TreeExecutor executor{crowd.nodes};
    auto stream = executor.yielding();
    std::optional<EventLoop> loop;
    loop.emplace(virtual_time);
    const auto first_chunk = [&]() -> Task<> {
        for (;;) {
            const auto event = co_await stream.next();
            if (!event || event->kind() == EventKind::chunk) break;
        }
    };
    loop->run(first_chunk());
    loop.reset();
    CHECK(crowd.semaphore.waiting() == 11);
    CHECK(crowd.semaphore.available() == 1);
    CHECK(!crowd.semaphore.try_acquire(2));
    CHECK(crowd.semaphore.try_acquire(1));
    CHECK(crowd.semaphore.waiting() == 0);
    Log log;
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(use(crowd.semaphore, log, "one", 0s, 1));
        EventLoop::current().spawn(use(crowd.semaphore, log, "two", 0s, 2));
        co_await sleep_for(1s);
        CHECK(log == Log{"one"});
        stream = {};
        co_await sleep_for(1s);
        CHECK(log == Log{"one", "two"});
    };
    run_virtual(body);
    CHECK(crowd.semaphore.available() == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A loop may be destroyed with tasks inside that wait, hold and are let in") {
    Counted::reset();
    const Semaphore semaphore{3};
    Log log;
    {
        EventLoop loop{virtual_time};
        const auto start = [&]() -> Task<> {
            for (std::size_t i = 0; i < 100; ++i) {
                loop.spawn(use(semaphore, log, "", 1s, i % 3 + 1));
            }
            co_await sleep_for(5500ms);
        };
        detail::LoopAccess::step(loop, start());
        CHECK(semaphore.waiting() > 80);
        CHECK(semaphore.available() < 3);
    }
    CHECK(semaphore.available() == 3);
    CHECK(semaphore.waiting() == 0);
    CHECK(Counted::constructed() == 100);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A loop is destroyed with a hundred thousand waiters as fast as with their frames") {
    const Semaphore semaphore{1};
    Semaphore::Guard guard;
    {
        EventLoop loop{virtual_time};
        const auto start = [&]() -> Task<> {
            guard = co_await semaphore.acquire();
            for (int i = 0; i < 100'000; ++i) loop.spawn(acquire_and_drop(semaphore));
            co_await grafo::yield();
        };
        detail::LoopAccess::step(loop, start());
        CHECK(semaphore.waiting() == 100'000);
        guard.release();
    }
    CHECK(semaphore.waiting() == 0);
    CHECK(semaphore.available() == 1);
}

TEST_CASE("A task that waits again after its cancellation is dropped, and leaves the queue") {
    Counted::reset();
    const Semaphore semaphore{1};
    Semaphore::Guard guard = semaphore.try_acquire();
    const auto stubborn = [&]() -> Task<> {
        const Counted local;
        for (;;) {
            try {
                const Semaphore::Guard never = co_await semaphore.acquire();
            } catch (const Cancelled&) {
            }
        }
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(stubborn());
        EventLoop::current().spawn(stubborn());
        co_await sleep_for(1s);
        CHECK(semaphore.waiting() == 2);
    };
    run_virtual(body);
    CHECK(semaphore.waiting() == 0);
    guard.release();
    CHECK(semaphore.available() == 1);
    CHECK(Counted::constructed() == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A waiter keeps the semaphore alive after all handles and guards have gone") {
    std::size_t acquired = 0;
    const auto waits = [&](Semaphore::Acquire acquire) -> Task<> {
        const Semaphore::Guard guard = co_await acquire;
        ++acquired;
    };
    const auto body = [&]() -> Task<> {
        std::optional<Semaphore> semaphore(std::in_place, 1U);
        Semaphore::Guard guard = co_await semaphore->acquire();
        for (int i = 0; i < 3; ++i) EventLoop::current().spawn(waits(semaphore->acquire()));
        semaphore.reset();
        co_await grafo::yield();
        CHECK(acquired == 0);
        guard.release();
        co_await sleep_for(1s);
        CHECK(acquired == 3);
    };
    run_virtual(body);
    CHECK(acquired == 3);
}

// --- outside of the loop ---------------------------------------------------------------------

TEST_CASE("Released while the loop stands still, a permit wakes its waiter when the loop goes on") {
    const Semaphore semaphore{1};
    Log log;
    Semaphore::Guard guard = semaphore.try_acquire();
    EventLoop loop{virtual_time};
    const auto start = [&]() -> Task<> {
        loop.spawn(use(semaphore, log, "first", 1s));
        loop.spawn(use(semaphore, log, "second", 1s));
        co_await grafo::yield();
    };
    detail::LoopAccess::step(loop, start());
    guard.release();
    CHECK(log.empty());
    CHECK(semaphore.waiting() == 2);
    CHECK(!semaphore.try_acquire());
    const auto turn = []() -> Task<> {
        co_await grafo::yield();
        co_await grafo::yield();
    };
    detail::LoopAccess::step(loop, turn());
    CHECK(log == Log{"first"});
    CHECK(semaphore.waiting() == 1);
    const auto rest = []() -> Task<> { co_await sleep_for(10s); };
    loop.run(rest());
    CHECK(log == Log{"first", "second"});
    CHECK(semaphore.available() == 1);
}

TEST_CASE("A task that waits for nothing else is woken by a release between two steps") {
    const Semaphore semaphore{1};
    const auto pairs = [&]() -> AsyncGenerator<int> {
        for (int i = 0; i < 5; ++i) {
            const Semaphore::Guard guard = co_await semaphore.acquire();
            co_yield i;
        }
    };
    int count = 0;
    EventLoop loop{virtual_time};
    std::vector<int> seen;
    const auto reader = [&](AsyncGenerator<int> numbers) -> Task<> {
        while (auto item = co_await numbers.next()) seen.push_back(*item);
        ++count;
    };
    Semaphore::Guard guard = semaphore.try_acquire();
    const auto start = [&]() -> Task<> {
        loop.spawn(reader(pairs()));
        co_await grafo::yield();
    };
    detail::LoopAccess::step(loop, start());
    CHECK(seen.empty());
    guard.release();
    const auto wait = [&]() -> Task<> {  // it has nothing but the semaphore to wait for, too
        while (count == 0) {
            const Semaphore::Guard turn = co_await semaphore.acquire();
        }
    };
    loop.run(wait());
    CHECK(count == 1);
    CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("A release inside another loop wakes nobody there, but when their own loop goes on") {
    const Semaphore semaphore{1};
    Log log;
    Semaphore::Guard guard = semaphore.try_acquire();
    EventLoop still{virtual_time};
    EventLoop* woken_in = nullptr;
    const auto waits = [&]() -> Task<> {
        const Semaphore::Guard own = co_await semaphore.acquire();
        woken_in = &EventLoop::current();
        log.push_back("still");
    };
    const auto start = [&]() -> Task<> {
        still.spawn(waits());
        co_await grafo::yield();
    };
    detail::LoopAccess::step(still, start());
    EventLoop other{virtual_time};
    const auto release = [&]() -> Task<> {
        guard.release();
        co_await sleep_for(1s);
    };
    other.run(release());
    CHECK(log.empty());
    CHECK(semaphore.available() == 1);
    const auto rest = []() -> Task<> { co_await sleep_for(1s); };
    still.run(rest());
    CHECK(woken_in == &still);
    CHECK(log == Log{"still"});
}

TEST_CASE("One loop after the other may use the same semaphore") {
    const Semaphore semaphore{2};
    for (int i = 0; i < 3; ++i) {
        Log log;
        const auto body = [&]() -> Task<> {
            for (const char* name : {"1", "2", "3"}) {
                EventLoop::current().spawn(use(semaphore, log, name, 1s));
            }
            co_await sleep_for(1h);
        };
        run_virtual(body);
        CHECK(log == Log{"1", "2", "3"});
        CHECK(semaphore.available() == 2);
    }
}

TEST_CASE("A semaphore that is never released is a deadlock, which names the nodes that wait") {
    const Semaphore semaphore{1};
    const Semaphore::Guard guard = semaphore.try_acquire();
    CHECK_THROWS_AS(grafo::run(acquire_and_drop(semaphore)), DeadlockError);
    CHECK(semaphore.waiting() == 0);
    const auto body = [&]() -> Task<> {
        const Node patient{"patient", acquire_and_drop, "semaphore"_a = semaphore};
        co_await TreeExecutor{patient}.run();
    };
    CHECK_THROWS_AS(grafo::run(body()), DeadlockError);
    CHECK_THROWS_WITH(grafo::run(body()), ContainsSubstring("patient"));
    CHECK(semaphore.waiting() == 0);
    CHECK(semaphore.available() == 0);
}

TEST_CASE("A task that waits for what it holds itself is a deadlock") {
    const Semaphore semaphore{3};
    const auto body = [&]() -> Task<> {
        const Semaphore::Guard guard = co_await semaphore.acquire(2);
        const Semaphore::Guard never = co_await semaphore.acquire(2);
    };
    CHECK_THROWS_AS(grafo::run(body()), DeadlockError);
    CHECK(semaphore.available() == 3);
}

// --- against a model -------------------------------------------------------------------------

namespace {

struct Random {
    explicit Random(std::uint64_t seed) : state(seed) {}
    std::uint64_t next() {
        state += 0x9e3779b97f4a7c15U;
        return detail::mix(state);
    }
    std::uint64_t below(std::uint64_t end) { return next() % end; }
    std::uint64_t state;
};

// One user of the semaphore, and what becomes of it.
struct User {
    nanoseconds arrives{};
    nanoseconds holds{};
    std::optional<nanoseconds> cancelled;
    std::size_t weight = 1;

    std::optional<nanoseconds> granted{};
    std::optional<nanoseconds> ended{};
};

using Users = std::vector<User>;

// Points of time so fine that no two of them are the same.
nanoseconds some_time(Random& random) { return nanoseconds(1 + random.below(1'000'000'000'000)); }

Users random_users(Random& random, std::size_t capacity) {
    Users users(2 + random.below(30));
    for (User& user : users) {
        user.arrives = some_time(random);
        user.holds = some_time(random) / (1 + random.below(20));
        if (random.below(3) == 0) user.cancelled = some_time(random) * 2;
        user.weight = 1 + random.below(capacity);
    }
    return users;
}

// First come, first served, one event after the other.
void simulate(Users& users, std::size_t capacity) {
    std::size_t available = capacity;
    std::vector<User*> queue;
    for (;;) {
        nanoseconds now = nanoseconds::max();
        User* next = nullptr;
        enum { arrival, cancellation, release } what{};
        for (User& user : users) {
            if (user.ended) continue;
            const bool has_arrived =
                user.granted || std::find(queue.begin(), queue.end(), &user) != queue.end();
            const auto consider = [&](nanoseconds at, auto event) {
                if (at < now) std::tie(now, next, what) = std::tuple(at, &user, event);
            };
            if (!has_arrived) consider(user.arrives, arrival);
            if (user.cancelled) consider(*user.cancelled, cancellation);
            if (user.granted) consider(*user.granted + user.holds, release);
        }
        if (next == nullptr) return;
        if (what == arrival) {
            queue.push_back(next);
        } else {
            next->ended = now;
            if (next->granted) available += next->weight;
            queue.erase(std::remove(queue.begin(), queue.end(), next), queue.end());
        }
        while (!queue.empty() && queue.front()->weight <= available) {
            available -= queue.front()->weight;
            queue.front()->granted = now;
            queue.erase(queue.begin());
        }
    }
}

void perform(Users& users, std::size_t capacity) {
    EventLoop loop{virtual_time};
    const Semaphore semaphore{capacity};
    std::size_t inside = 0;
    const auto time = [&] { return loop.now().time_since_epoch(); };
    std::vector<detail::Context*> contexts(users.size());
    const auto work = [&](User& user, detail::Context*& context) -> Task<> {
        const Counted local;
        co_await own_context(context);
        try {
            co_await sleep_until(EventLoop::TimePoint(user.arrives));
            const Semaphore::Guard guard = co_await semaphore.acquire(user.weight);
            user.granted = time();
            inside += user.weight;
            CHECK(inside + semaphore.available() <= capacity);
            try {
                co_await sleep_for(user.holds);
            } catch (const Cancelled&) {
            }
            inside -= user.weight;
        } catch (const Cancelled&) {
        }
        user.ended = time();
        context = nullptr;
    };
    const auto cancel = [](User& user, detail::Context*& context) -> Task<> {
        co_await sleep_until(EventLoop::TimePoint(*user.cancelled));
        if (context != nullptr) context->cancel();
    };
    const auto body = [&]() -> Task<> {
        for (std::size_t i = 0; i < users.size(); ++i) {
            loop.spawn(work(users[i], contexts[i]));
            if (users[i].cancelled) loop.spawn(cancel(users[i], contexts[i]));
        }
        co_await sleep_for(nanoseconds(1'000'000'000'000'000));
    };
    loop.run(body());
    CHECK(semaphore.available() == capacity);
    CHECK(semaphore.waiting() == 0);
}

}  // namespace

TEST_CASE("Any schedule of arrivals, weights, holds and cancellations goes as the model says") {
    Counted::reset();
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        CAPTURE(seed);
        Random random(seed);
        const std::size_t capacity = 1 + random.below(6);
        Users expected = random_users(random, capacity);
        Users users = expected;
        simulate(expected, capacity);
        perform(users, capacity);
        for (std::size_t i = 0; i < users.size(); ++i) {
            CAPTURE(i);
            CHECK(users[i].granted == expected[i].granted);
            CHECK(users[i].ended == expected[i].ended);
        }
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("Any schedule may be cut off at any time by the end of its loop: all comes back") {
    Counted::reset();
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        Random random(seed);
        const Semaphore semaphore{1 + random.below(4)};
        Log log;
        {
            EventLoop loop{virtual_time};
            const auto body = [&]() -> Task<> {
                const std::uint64_t count = random.below(20);
                for (std::uint64_t i = 0; i < count; ++i) {
                    loop.spawn(use(semaphore, log, "", nanoseconds(random.below(50)),
                                   1 + random.below(semaphore.capacity())));
                    co_await sleep_for(nanoseconds(random.below(20)));
                }
            };
            if (seed % 2 == 0) {
                loop.run(body());
            } else {
                detail::LoopAccess::step(loop, body());
            }
        }
        CHECK(semaphore.available() == semaphore.capacity());
        CHECK(semaphore.waiting() == 0);
    }
    CHECK(Counted::live() == 0);
}
