#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <optional>
#include <string>
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

using Times = std::vector<nanoseconds>;
using Log = std::vector<std::string>;

nanoseconds now() { return EventLoop::current().now().time_since_epoch(); }

Task<> pass(RateLimiter limiter, Times& times) {
    const Counted local;
    co_await limiter.acquire();
    times.push_back(now());
}

Task<> pass_named(RateLimiter limiter, Log& log, std::string name) {
    co_await limiter.acquire();
    log.push_back(name + " at " + std::to_string(now() / 1ms));
}

// The same, in a context that the test cancels, and tells how it ended.
Task<> pass_or_tell(RateLimiter limiter, Log& log, std::string name, detail::Context*& context) {
    const Counted local;
    co_await own_context(context);
    try {
        co_await limiter.acquire();
        log.push_back(name + " at " + std::to_string(now() / 1ms));
    } catch (const Cancelled&) {
        log.push_back(name + " cancelled at " + std::to_string(now() / 1ms));
    }
    context = nullptr;
}

Task<> sleep(nanoseconds time) { co_await sleep_for(time); }

template <class Body>
void run_virtual(const Body& body) {
    EventLoop loop{virtual_time};
    loop.run(body());
}

// How many timers are armed in a loop that stands still; they stay.
std::size_t armed(EventLoop& loop) {
    detail::TimerHeap& heap = detail::LoopAccess::timers(loop);
    std::vector<std::pair<detail::Timer*, EventLoop::TimePoint>> timers;
    while (!heap.empty()) {
        const EventLoop::TimePoint at = heap.first();
        timers.emplace_back(&heap.pop(), at);
    }
    for (const auto& [timer, at] : timers) heap.insert(*timer, at);
    return timers.size();
}

}  // namespace

// --- what it is made of ----------------------------------------------------------------------

TEST_CASE("A limiter of count 0, or of a duration that is not above zero, is refused") {
    CHECK_THROWS_AS(RateLimiter(0, 1s), Error);
    CHECK_THROWS_WITH(RateLimiter(0, 1s), ContainsSubstring("count") && ContainsSubstring("0"));
    CHECK_THROWS_AS(RateLimiter(1, 0s), Error);
    CHECK_THROWS_AS(RateLimiter(1, -1ns), Error);
    CHECK_THROWS_WITH(RateLimiter(1, -5ns), ContainsSubstring("-5 ns"));
    CHECK_THROWS_AS(RateLimiter(1, nanoseconds::min()), Error);
    CHECK_THROWS_AS(RateLimiter(1, std::chrono::duration<double>(-1e-12)), Error);
    CHECK_THROWS_AS(
        RateLimiter(1, std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())),
        Error);
    CHECK_NOTHROW(RateLimiter(1, 1ns));
    CHECK_NOTHROW(RateLimiter(static_cast<std::size_t>(-1), std::chrono::hours::max()));
}

TEST_CASE("A window may be given in any unit, and is rounded up to nanoseconds") {
    const RateLimiter ten{10, 1s};
    CHECK(ten.count() == 10);
    CHECK(ten.per() == 1s);
    CHECK(RateLimiter(1, 1h).per() == 3'600s);
    CHECK(RateLimiter(1, std::chrono::duration<double>(0.1)).per() == 100ms);
    CHECK(RateLimiter(1, std::chrono::duration<double>(1e-12)).per() == 1ns);
    CHECK(RateLimiter(1, std::chrono::duration<int, std::ratio<1, 3>>(1)).per() == 333'333'334ns);
    CHECK(RateLimiter(1, std::chrono::hours::max()).per() == nanoseconds::max());
}

TEST_CASE("Copies of a handle mean the same limiter, and a handle is never empty") {
    const RateLimiter one{1, 1s};
    RateLimiter copy = one;
    const RateLimiter moved = std::move(copy);
    CHECK(one == moved);
    CHECK(one == copy);
    CHECK(one != RateLimiter{1, 1s});
    Times times;
    const auto body = [&]() -> Task<> {
        co_await pass(one, times);
        co_await pass(copy, times);
        co_await pass(moved, times);
    };
    run_virtual(body);
    CHECK(times == Times{0s, 1s, 2s});
}

// --- when ------------------------------------------------------------------------------------

TEST_CASE("The first are let through at once, and each further one a window after the last but") {
    Times times;
    const RateLimiter limiter{3, 1s};
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 10; ++i) EventLoop::current().spawn(pass(limiter, times));
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(times == Times{0s, 0s, 0s, 1s, 1s, 1s, 2s, 2s, 2s, 3s});
}

TEST_CASE("A window is a window wherever it begins: grants are spread as they were made") {
    Times times;
    const RateLimiter limiter{2, 1s};
    const auto body = [&]() -> Task<> {
        co_await pass(limiter, times);
        co_await sleep_for(900ms);
        for (int i = 0; i < 6; ++i) co_await pass(limiter, times);
    };
    run_virtual(body);
    CHECK(times == Times{0ms, 900ms, 1'000ms, 1'900ms, 2'000ms, 2'900ms, 3'000ms});
}

TEST_CASE("Time that nobody used is not saved up") {
    Times times;
    const RateLimiter limiter{2, 1s};
    const auto body = [&]() -> Task<> {
        co_await sleep_for(1h);
        for (int i = 0; i < 5; ++i) co_await pass(limiter, times);
    };
    run_virtual(body);
    CHECK(times == Times{3'600s, 3'600s, 3'601s, 3'601s, 3'602s});
}

TEST_CASE("A limiter is exact to the nanosecond") {
    Times times;
    const RateLimiter limiter{1, 333'333'334ns};
    const auto body = [&]() -> Task<> {
        co_await sleep_for(7ns);
        for (int i = 0; i < 1'000; ++i) co_await pass(limiter, times);
    };
    run_virtual(body);
    for (std::size_t i = 0; i < times.size(); ++i) {
        CHECK(times[i] == 7ns + static_cast<std::int64_t>(i) * 333'333'334ns);
    }
}

TEST_CASE("One that comes exactly a window later is let through at once") {
    Times times;
    const RateLimiter limiter{1, 1s};
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 3; ++i) {
            co_await pass(limiter, times);
            co_await sleep_for(1s);
        }
        co_await pass(limiter, times);
        co_await sleep_for(1s - 1ns);
        co_await pass(limiter, times);
    };
    run_virtual(body);
    CHECK(times == Times{0s, 1s, 2s, 3s, 4s});
}

TEST_CASE("What may pass now passes without a suspension") {
    Log log;
    const auto other = [&]() -> Task<> {
        log.push_back("other");
        co_return;
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(other());
        const RateLimiter limiter{2, 1s};
        co_await limiter.acquire();
        co_await limiter.acquire();
        log.push_back("passed");
        co_await limiter.acquire();
    };
    run_virtual(body);
    CHECK(log == Log{"passed", "other"});
}

TEST_CASE("What acquire gives does nothing until it is awaited, and may be awaited again") {
    const RateLimiter limiter{1, 1s};
    const auto body = [&]() -> Task<> {
        const auto acquire = limiter.acquire();
        const auto never = limiter.acquire();
        co_await sleep_for(10s);
        co_await acquire;
        CHECK(now() == 10s);
        co_await acquire;
        CHECK(now() == 11s);
    };
    run_virtual(body);
}

TEST_CASE("A window without an end lets its count through, and then nobody") {
    Times times;
    const RateLimiter limiter{2, std::chrono::hours::max()};
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 3; ++i) co_await pass(limiter, times);
    };
    CHECK_THROWS_AS(loop.run(body()), DeadlockError);
    CHECK(times == Times{0s, 0s});
    CHECK(loop.now().time_since_epoch() == 0s);
    CHECK(limiter.waiting() == 0);
}

TEST_CASE("A window that ends beyond the clock is never over") {
    Times times;
    const RateLimiter limiter{1, nanoseconds::max() - 1s};
    const auto body = [&]() -> Task<> {
        co_await sleep_for(1h);
        co_await pass(limiter, times);
        co_await pass(limiter, times);
    };
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(loop.run(body()), DeadlockError);
    CHECK(times == Times{3'600s});
}

// --- in turn ---------------------------------------------------------------------------------

TEST_CASE("Those that wait are let through first come, first served") {
    Log log;
    const RateLimiter limiter{1, 1s};
    const auto body = [&]() -> Task<> {
        for (const char* name : {"1", "2", "3", "4"}) {
            EventLoop::current().spawn(pass_named(limiter, log, name));
        }
        co_await sleep_for(500ms);
        CHECK(limiter.waiting() == 3);
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(log == Log{"1 at 0", "2 at 1000", "3 at 2000", "4 at 3000"});
}

TEST_CASE("A newcomer does not overtake one whose time has come, but which has not resumed") {
    Log log;
    const RateLimiter limiter{1, 1s};
    const auto newcomer = [&]() -> Task<> {
        co_await sleep_for(1s);
        co_await pass_named(limiter, log, "newcomer");
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(newcomer());  // its timer is the first to be armed
        EventLoop::current().spawn(pass_named(limiter, log, "first"));
        EventLoop::current().spawn(pass_named(limiter, log, "second"));
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(log == Log{"first at 0", "second at 1000", "newcomer at 2000"});
}

TEST_CASE("However many wait, one timer is armed, and none when nobody waits") {
    Times times;
    const RateLimiter limiter{1, 1s};
    EventLoop loop{virtual_time};
    const auto start = [&]() -> Task<> {
        for (int i = 0; i < 5; ++i) loop.spawn(pass(limiter, times));
        co_await grafo::yield();
    };
    detail::LoopAccess::step(loop, start());
    for (std::size_t passed = 1; passed < 5; ++passed) {
        CHECK(times.size() == passed);
        CHECK(limiter.waiting() == 5 - passed);
        CHECK(armed(loop) == 1);
        CHECK(detail::LoopAccess::timers(loop).first().time_since_epoch() ==
              std::chrono::seconds(passed));
        detail::LoopAccess::step(loop, sleep(1s));
    }
    CHECK(times == Times{0s, 1s, 2s, 3s, 4s});
    CHECK(limiter.waiting() == 0);
    CHECK(armed(loop) == 0);
}

TEST_CASE("Once the limiter has grown neither a wait nor a turn allocates") {
    const RateLimiter limiter{10, 1ms};
    std::size_t turns = 0;
    const auto worker = [&]() -> Task<> {
        for (int i = 0; i < 100; ++i) {
            co_await limiter.acquire();
            ++turns;
        }
    };
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 10; ++i) EventLoop::current().spawn(worker());
        while (turns < 50) co_await sleep_for(1ms);
        const std::size_t before = allocations;
        while (turns < 1'000) co_await sleep_for(1ms);
        CHECK(allocations == before);
    };
    run_virtual(body);
}

TEST_CASE("A great count costs memory only for what is used of it") {
    const RateLimiter limiter{static_cast<std::size_t>(-1), 1s};
    std::size_t passed = 0;
    const auto body = [&]() -> Task<> {
        for (; passed < 10'000; ++passed) co_await limiter.acquire();
        CHECK(now() == 0s);
    };
    run_virtual(body);
    CHECK(passed == 10'000);
}

// --- cancellation ----------------------------------------------------------------------------

TEST_CASE("A cancelled waiter spends nothing: the next one passes in its place") {
    for (std::size_t cancelled = 0; cancelled < 3; ++cancelled) {
        Log log;
        const RateLimiter limiter{1, 1s};
        std::vector<detail::Context*> contexts(3);
        const auto body = [&]() -> Task<> {
            co_await limiter.acquire();
            for (std::size_t i = 0; i < 3; ++i) {
                EventLoop::current().spawn(
                    pass_or_tell(limiter, log, std::to_string(i), contexts[i]));
            }
            co_await sleep_for(500ms);
            contexts[cancelled]->cancel();
            CHECK(limiter.waiting() == 2);
            co_await sleep_for(1h);
        };
        run_virtual(body);
        if (cancelled == 0) CHECK(log == Log{"0 cancelled at 500", "1 at 1000", "2 at 2000"});
        if (cancelled == 1) CHECK(log == Log{"1 cancelled at 500", "0 at 1000", "2 at 2000"});
        if (cancelled == 2) CHECK(log == Log{"2 cancelled at 500", "0 at 1000", "1 at 2000"});
    }
}

TEST_CASE("Cancelled when its time has come, but before it resumed, a waiter spends nothing") {
    Log log;
    const RateLimiter limiter{1, 1s};
    std::vector<detail::Context*> contexts(2);
    const auto canceller = [&]() -> Task<> {
        co_await sleep_for(1s);
        contexts[0]->cancel();
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(canceller());  // its timer fires before the limiter's
        co_await limiter.acquire();
        EventLoop::current().spawn(pass_or_tell(limiter, log, "first", contexts[0]));
        EventLoop::current().spawn(pass_or_tell(limiter, log, "second", contexts[1]));
        co_await sleep_for(1h);
    };
    run_virtual(body);
    std::sort(log.begin(), log.end());
    CHECK(log == Log{"first cancelled at 1000", "second at 1000"});
}

TEST_CASE("When all that wait are cancelled no timer stays armed") {
    Log log;
    const RateLimiter limiter{1, 1h};
    EventLoop loop{virtual_time};
    std::vector<detail::Context*> contexts(3);
    const auto body = [&]() -> Task<> {
        co_await limiter.acquire();
        for (auto& context : contexts) loop.spawn(pass_or_tell(limiter, log, "", context));
        co_await sleep_for(1s);
        CHECK(armed(loop) == 1);
        for (detail::Context* context : contexts) context->cancel();
        CHECK(limiter.waiting() == 0);
        CHECK(armed(loop) == 0);
    };
    loop.run(body());
    CHECK(log.size() == 3);
    CHECK(loop.now().time_since_epoch() == 1s);
}

TEST_CASE("A second cancellation of the same wait reaches the next await") {
    Log log;
    const RateLimiter limiter{1, 10s};
    detail::Context* context = nullptr;
    const auto task = [&]() -> Task<> {
        co_await own_context(context);
        for (int i = 0; i < 3; ++i) {
            try {
                co_await limiter.acquire();
                log.push_back("passed at " + std::to_string(now() / 1s));
            } catch (const Cancelled&) {
                log.push_back("cancelled at " + std::to_string(now() / 1s));
            }
        }
    };
    const auto body = [&]() -> Task<> {
        co_await limiter.acquire();
        EventLoop::current().spawn(task());
        co_await sleep_for(1s);
        context->cancel();
        context->cancel();
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(log == Log{"cancelled at 1", "cancelled at 1", "passed at 10"});
}

TEST_CASE("A node that times out while it waits leaves its place to the next") {
    const RateLimiter limiter{1, 10s};
    Times times;
    const auto body = [&]() -> Task<> {
        co_await limiter.acquire();
        const auto wait = [&]() -> Task<> { co_await pass(limiter, times); };
        const auto node = [&](const char* id) { return Node{id, wait}; };
        const AnyNode first = node("first").timeout(3s);
        const AnyNode second = node("second");
        TreeExecutor executor{"both", {first, second}};
        executor.on_error(ErrorPolicy::keep_going);
        co_await executor.try_run();
        CHECK(first.state() == NodeState::failed);
        CHECK(second.state() == NodeState::completed);
    };
    Counted::reset();
    run_virtual(body);
    CHECK(times == Times{10s});
    CHECK(Counted::live() == 0);
}

TEST_CASE("At the loop's end those that wait are cancelled, and time does not go on") {
    Times times;
    Counted::reset();
    const RateLimiter limiter{1, 1h};
    EventLoop loop{virtual_time};
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 4; ++i) loop.spawn(pass(limiter, times));
        co_await sleep_for(1s);
    };
    loop.run(body());
    CHECK(times == Times{0s});
    CHECK(loop.now().time_since_epoch() == 1s);
    CHECK(limiter.waiting() == 0);
    CHECK(armed(loop) == 0);
    CHECK(Counted::constructed() == 4);
    CHECK(Counted::live() == 0);
}

// --- dropped frames --------------------------------------------------------------------------

namespace {

// A graph whose nodes wait for a limiter, and one that yields a chunk every millisecond.
struct Crowd {
    explicit Crowd(std::size_t size) : limiter(2, 3ms) {
        const auto member = [](RateLimiter l) -> Task<> {
            const Counted local;
            co_await l.acquire();
            const Counted inside;
            co_await sleep_for(2ms);
        };
        for (std::size_t i = 0; i < size; ++i) {
            const Node node{"member_" + std::to_string(i), member, "limiter"_a = limiter};
            nodes.push_back(node);
        }
        const Node ticks{"ticks",
                         [](int n) -> AsyncGenerator<int> {
                             for (int i = 0; i < n; ++i) {
                                 co_await sleep_for(1ms);
                                 co_yield i;
                             }
                         },
                         "n"_a = 40};
        nodes.push_back(ticks);
    }
    RateLimiter limiter;
    std::vector<AnyNode> nodes;
};

}  // namespace

TEST_CASE("A stream may be dropped after every event of nodes that wait and pass") {
    for (int events = 1; events < 80; ++events) {
        CAPTURE(events);
        Counted::reset();
        const Crowd crowd(12);
        const TreeExecutor executor{crowd.nodes};
        Times times;
        EventLoop loop{virtual_time};
        const auto body = [&]() -> Task<> {
            {
                auto stream = executor.yielding();
                for (int i = 0; i < events; ++i) {
                    const auto event = co_await stream.next();
                    if (!event) break;
                }
                if (events % 3 == 0) {
                    loop.spawn(pass(crowd.limiter, times));  // behind all the others
                    co_await grafo::yield();
                }
            }
            CHECK(crowd.limiter.waiting() <= 1);
            CHECK(armed(loop) == crowd.limiter.waiting());
            const nanoseconds dropped = now();
            co_await sleep_for(10ms);
            if (!times.empty()) CHECK(times[0] - dropped <= 3ms);
        };
        loop.run(body());
        CHECK(times.size() == (events % 3 == 0 ? 1 : 0));
        CHECK(crowd.limiter.waiting() == 0);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE(
    "A waiter that is dropped, but not yet destroyed, is out of the queue and spends nothing") {
    Counted::reset();
    const RateLimiter limiter{1, 10s};
    Times times;
    grafo_test::Gate gate;
    const auto behind_gate = [&]() -> Task<> {
        const Counted local;
        co_await gate;
    };
    const auto frozen = [&]() -> Task<> {
        const Counted local;
        co_await limiter.acquire();
        FAIL("it was dropped");
    };
    const auto inner = [&]() -> Task<> {
        const Node first{"first", behind_gate};
        const Node second{"second", frozen};
        TreeExecutor executor{"inner", {first, second}};
        co_await executor.run();
    };
    const auto body = [&]() -> Task<> {
        co_await limiter.acquire();
        {
            const Node outer{"outer", inner};
            auto stream = TreeExecutor{outer}.yielding();
            const auto started = co_await stream.next();
            REQUIRE(started);
            co_await sleep_for(1s);
            CHECK(limiter.waiting() == 1);
            EventLoop::current().spawn(pass(limiter, times));
            co_await grafo::yield();
        }
        CHECK(limiter.waiting() == 1);
        co_await sleep_for(20s);
        CHECK(times == Times{10s});
        CHECK(Counted::live() == 2);  // both frozen
        gate.open();
        co_await sleep_for(1s);
    };
    run_virtual(body);
    CHECK(limiter.waiting() == 0);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A range over such a stream may be left after every event, outside of its loop") {
    for (int events = 1; events < 70; ++events) {
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
        CHECK(crowd.limiter.waiting() == 0);
        CHECK(armed(loop) == 0);
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
        stream = {};
        CHECK(crowd.limiter.waiting() == 0);
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE("What waits in a loop that is gone does not stand in the way of another loop") {
    Counted::reset();
    const Crowd crowd(12);
    const TreeExecutor executor{crowd.nodes};
    auto stream = executor.yielding();
    {
        EventLoop loop{virtual_time};
        const auto first_chunk = [&]() -> Task<> {
            for (;;) {
                const auto event = co_await stream.next();
                if (!event || event->kind() == EventKind::chunk) break;
            }
        };
        loop.run(first_chunk());
    }
    CHECK(crowd.limiter.waiting() == 10);
    Times times;
    const auto body = [&]() -> Task<> {
        co_await sleep_for(1ms);  // the clock goes on from where the other one stopped
        for (int i = 0; i < 3; ++i) co_await pass(crowd.limiter, times);
        CHECK(crowd.limiter.waiting() == 0);
    };
    run_virtual(body);
    CHECK(times == Times{3ms, 3ms, 6ms});
    stream = {};
    CHECK(Counted::live() == 0);
}

TEST_CASE("When the head is destroyed while the loop stands still, the next one is called in it") {
    const RateLimiter limiter{1, 1s};
    Log log;
    EventLoop loop{virtual_time};
    const auto member = [&]() -> Task<> { co_await limiter.acquire(); };
    const Node node{"node", member};
    const TreeExecutor executor{node};
    auto stream = executor.yielding();
    const auto start = [&]() -> Task<> {
        co_await limiter.acquire();
        const auto event = co_await stream.next();
        CHECK(event->kind() == EventKind::started);
        co_await grafo::yield();
        loop.spawn(pass_named(limiter, log, "next"));
        co_await sleep_for(100ms);
    };
    detail::LoopAccess::step(loop, start());
    CHECK(limiter.waiting() == 2);
    CHECK(armed(loop) == 1);
    stream = {};
    CHECK(limiter.waiting() == 1);
    CHECK(armed(loop) == 0);
    loop.run(sleep(10s));
    CHECK(log == Log{"next at 1000"});
}

TEST_CASE("A loop may be destroyed with tasks inside that wait and pass") {
    Counted::reset();
    Times times;
    const RateLimiter limiter{3, 1s};
    for (const nanoseconds length : {nanoseconds(0), nanoseconds(1s), nanoseconds(5500ms)}) {
        {
            EventLoop loop{virtual_time};
            const auto start = [&]() -> Task<> {
                for (int i = 0; i < 100; ++i) loop.spawn(pass(limiter, times));
                co_await sleep_for(length);
            };
            detail::LoopAccess::step(loop, start());
            CHECK(limiter.waiting() > 80);
        }
        CHECK(limiter.waiting() == 0);
    }
    CHECK(Counted::constructed() == 300);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A task that waits again after its cancellation is dropped, and leaves the queue") {
    Counted::reset();
    const RateLimiter limiter{1, nanoseconds::max()};
    const auto stubborn = [&]() -> Task<> {
        const Counted local;
        for (;;) {
            try {
                co_await limiter.acquire();
            } catch (const Cancelled&) {
            }
        }
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(stubborn());
        EventLoop::current().spawn(stubborn());
        co_await sleep_for(1s);
        CHECK(limiter.waiting() == 2);
    };
    run_virtual(body);
    CHECK(limiter.waiting() == 0);
    CHECK(Counted::constructed() == 2);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A waiter keeps the limiter alive after all handles have gone") {
    Times times;
    const auto waits = [&](RateLimiter::Acquire acquire) -> Task<> {
        co_await acquire;
        times.push_back(now());
    };
    const auto body = [&]() -> Task<> {
        std::optional<RateLimiter> limiter(std::in_place, 1U, 1s);
        for (int i = 0; i < 3; ++i) EventLoop::current().spawn(waits(limiter->acquire()));
        limiter.reset();
        co_await sleep_for(1h);
    };
    run_virtual(body);
    CHECK(times == Times{0s, 1s, 2s});
}

// --- loops -----------------------------------------------------------------------------------

TEST_CASE("A limiter goes on in the next run of its loop") {
    Times times;
    const RateLimiter limiter{2, 10s};
    EventLoop loop{virtual_time};
    for (int i = 0; i < 4; ++i) {
        loop.run(pass(limiter, times));
        loop.run(sleep(1s));
    }
    CHECK(times == Times{0s, 1s, 10s, 11s});
}

TEST_CASE("In a loop whose clock is behind, the limiter starts afresh") {
    Times times;
    const RateLimiter limiter{2, 1s};
    const auto body = [&]() -> Task<> {
        co_await sleep_for(1h);
        for (int i = 0; i < 3; ++i) co_await pass(limiter, times);
    };
    run_virtual(body);
    const auto short_body = [&]() -> Task<> {
        for (int i = 0; i < 3; ++i) co_await pass(limiter, times);
    };
    run_virtual(short_body);
    CHECK(times == Times{3'600s, 3'600s, 3'601s, 0s, 0s, 1s});
}

TEST_CASE("In a loop whose clock is ahead, the limiter remembers what it granted") {
    Times times;
    const RateLimiter limiter{1, 1h};
    run_virtual([&] { return pass(limiter, times); });
    const auto body = [&]() -> Task<> {
        co_await sleep_for(1s);
        co_await pass(limiter, times);
    };
    run_virtual(body);
    CHECK(times == Times{0s, 3'600s});
}

TEST_CASE("Awaited where no loop runs, a limiter says so") {
    const RateLimiter limiter{1, 1s};
    RateLimiter::Awaiter awaiter = limiter.acquire().operator co_await();
    CHECK_THROWS_AS(awaiter.await_ready(), Error);
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

struct User {
    nanoseconds arrives{};
    std::optional<nanoseconds> cancelled;
    std::optional<nanoseconds> passed{};
};

using Users = std::vector<User>;

// In order of arrival. `grain` makes for arrivals at the same time.
Users random_users(Random& random, nanoseconds span, nanoseconds grain, bool with_cancellation) {
    Users users(1 + random.below(60));
    for (User& user : users) {
        const auto range = static_cast<std::uint64_t>(span / grain);
        user.arrives = grain * static_cast<std::int64_t>(1 + random.below(range));
        if (with_cancellation && random.below(3) == 0) {
            user.cancelled =
                nanoseconds(1 + random.below(static_cast<std::uint64_t>(2 * span.count())));
        }
    }
    std::sort(users.begin(), users.end(),
              [](const User& a, const User& b) { return a.arrives < b.arrives; });
    return users;
}

// Each passes when it is there, the former one has passed, and the window allows it.
void simulate(Users& users, std::size_t count, nanoseconds per) {
    Times passed;
    for (User& user : users) {
        nanoseconds at = user.arrives;
        if (!passed.empty()) at = std::max(at, passed.back());
        if (passed.size() >= count) at = std::max(at, passed[passed.size() - count] + per);
        if (user.cancelled && *user.cancelled < at) continue;
        user.passed = at;
        passed.push_back(at);
    }
}

void perform(Users& users, std::size_t count, nanoseconds per) {
    EventLoop loop{virtual_time};
    const RateLimiter limiter{count, per};
    std::vector<detail::Context*> contexts(users.size());
    const auto work = [&](User& user, detail::Context*& context) -> Task<> {
        const Counted local;
        co_await own_context(context);
        try {
            co_await sleep_until(EventLoop::TimePoint(user.arrives));
            co_await limiter.acquire();
            user.passed = now();
        } catch (const Cancelled&) {
        }
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
    CHECK(limiter.waiting() == 0);
    CHECK(armed(loop) == 0);
}

void check_random(bool with_cancellation, nanoseconds grain) {
    Counted::reset();
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        CAPTURE(seed);
        Random random(seed);
        const std::size_t count = 1 + random.below(8);
        const nanoseconds per(1 + random.below(200'000'000'000));
        Users expected = random_users(random, 1'000s, grain, with_cancellation);
        Users users = expected;
        simulate(expected, count, per);
        perform(users, count, per);
        Times passed;
        for (std::size_t i = 0; i < users.size(); ++i) {
            CAPTURE(i);
            CHECK(users[i].passed == expected[i].passed);
            if (users[i].passed) passed.push_back(*users[i].passed);
        }
        CHECK(std::is_sorted(passed.begin(), passed.end()));
        for (std::size_t i = count; i < passed.size(); ++i) {
            CHECK(passed[i] - passed[i - count] >= per);
        }
    }
    CHECK(Counted::live() == 0);
}

}  // namespace

TEST_CASE("Over any schedule no window holds more than the count, and none has an idle gap") {
    check_random(false, 1ns);
}

TEST_CASE("The same for arrivals in bursts at the same moment") { check_random(false, 50s); }

TEST_CASE("The same with cancellations at any time, which cost nobody anything") {
    check_random(true, 1ns);
}
