#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <ratio>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/combinators.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace std::chrono_literals;
using grafo::EventLoop;
using grafo::Task;
using grafo::virtual_time;
using grafo_test::Counted;
using std::chrono::nanoseconds;
using TimePoint = EventLoop::TimePoint;

namespace {

template <class Duration>
Task<> sleep(Duration duration) {
    co_await grafo::sleep_for(duration);
}

// How far a virtual clock goes on in a sleep_for of that duration.
template <class Duration>
nanoseconds time_of(Duration duration) {
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    loop.run(sleep(duration));
    return loop.now() - start;
}

nanoseconds time_until(EventLoop& loop, TimePoint time) {
    const auto body = [](TimePoint until) -> Task<> { co_await grafo::sleep_until(until); };
    const TimePoint start = loop.now();
    loop.run(body(time));
    return loop.now() - start;
}

Task<> append(std::string& order, char name, nanoseconds time) {
    co_await grafo::sleep_for(time);
    order += name;
}

Task<> append_forever(std::string& order, char name) {
    for (;;) {
        order += name;
        co_await grafo::yield();
    }
}

// Sleeps that long, and tells how that ended.
template <class Duration>
Task<> tell(std::string& ended, Duration duration) {
    try {
        co_await grafo::sleep_for(duration);
        ended = "slept";
    } catch (const grafo::Cancelled&) {
        ended = "cancelled";
    }
}

}  // namespace

// --- how long --------------------------------------------------------------------------------

TEST_CASE("A sleep lasts exactly as long as it says, in any unit") {
    CHECK(time_of(1ns) == 1ns);
    CHECK(time_of(1us) == 1'000ns);
    CHECK(time_of(1ms) == 1'000'000ns);
    CHECK(time_of(1s) == 1'000'000'000ns);
    CHECK(time_of(1min) == 60s);
    CHECK(time_of(1h) == 3'600s);
    CHECK(time_of(std::chrono::days(1)) == 24h);
    CHECK(time_of(std::chrono::years(100)) == std::chrono::years(100));
    CHECK(time_of(std::chrono::duration<int, std::ratio<7>>(3)) == 21s);
    CHECK(time_of(std::chrono::duration<unsigned char>(200)) == 200s);
}

TEST_CASE("Sleeps are exact to the nanosecond, however long and however many") {
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    std::vector<nanoseconds> seen;
    const auto body = [&]() -> Task<> {
        const std::vector<nanoseconds> times{1ns, 999ns, 1h + 1ns, 87'600h + 7ns, 3ns};
        for (const nanoseconds& time : times) {
            co_await grafo::sleep_for(time);
            seen.push_back(loop.now() - start);
        }
    };
    loop.run(body());
    CHECK(seen == std::vector<nanoseconds>{1ns, 1'000ns, 1h + 1'001ns, 87'601h + 1'008ns,
                                           87'601h + 1'011ns});
}

TEST_CASE("A thousand sleeps of a nanosecond take a microsecond") {
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 1'000; ++i) co_await grafo::sleep_for(1ns);
    };
    loop.run(body());
    CHECK(loop.now() - start == 1us);
}

TEST_CASE("A sleep in floating point seconds is not truncated to whole ones") {
    using Seconds = std::chrono::duration<double>;
    CHECK(time_of(Seconds(0.5)) == 500ms);
    CHECK(time_of(Seconds(1.75)) == 1'750ms);
    CHECK(time_of(Seconds(0.1)) == 100ms);
    CHECK(time_of(Seconds(3'600.25)) == 1h + 250ms);
    CHECK(time_of(std::chrono::duration<float>(0.25F)) == 250ms);
    CHECK(time_of(std::chrono::duration<long double, std::milli>(1.5L)) == 1'500us);
    CHECK(time_of(std::chrono::duration<double, std::ratio<3'600>>(0.5)) == 30min);
}

TEST_CASE("A sleep of a part of a nanosecond is rounded up: never early") {
    CHECK(time_of(std::chrono::duration<double>(1e-12)) == 1ns);
    CHECK(time_of(std::chrono::duration<double, std::nano>(1.5)) == 2ns);
    CHECK(time_of(std::chrono::duration<double, std::nano>(2.0)) == 2ns);
    CHECK(time_of(std::chrono::duration<std::int64_t, std::pico>(1)) == 1ns);
    CHECK(time_of(std::chrono::duration<std::int64_t, std::pico>(1'000)) == 1ns);
    CHECK(time_of(std::chrono::duration<std::int64_t, std::pico>(1'001)) == 2ns);
    CHECK(time_of(std::chrono::duration<int, std::ratio<1, 3>>(1)) == 333'333'334ns);
}

TEST_CASE("The longest sleep that ends is one nanosecond short of the end of the clock") {
    CHECK(time_of(nanoseconds::max() - 1ns) == nanoseconds::max() - 1ns);
    CHECK(time_of(std::chrono::hours(2'562'047)) == 2'562'047h);
    CHECK(time_of(std::chrono::duration<double>(9.2e9)) == 9'200'000'000s);
}

TEST_CASE("A sleep in float seconds that almost reaches the end of the clock is not cut short") {
    // 9,223,371,776 s; as a float of nanoseconds that rounds up to beyond the range.
    std::string ended = "has not ended";
    EventLoop loop{virtual_time};
    loop.spawn(tell(ended, std::chrono::duration<float>(9'223'371'776.0F)));
    loop.run(sleep(1h));
    CHECK(ended == "cancelled");
}

TEST_CASE("A sleep of zero or less takes no time, but lets others run") {
    CHECK(time_of(0s) == 0s);
    CHECK(time_of(-1ns) == 0s);
    CHECK(time_of(-1h) == 0s);
    CHECK(time_of(nanoseconds::min()) == 0s);
    CHECK(time_of(std::chrono::hours::min()) == 0s);
    CHECK(time_of(std::chrono::duration<double>(-0.5)) == 0s);
    CHECK(time_of(std::chrono::duration<double>(-1e-12)) == 0s);
    CHECK(time_of(std::chrono::duration<double>(-std::numeric_limits<double>::infinity())) == 0s);

    for (const nanoseconds time : {nanoseconds(0), nanoseconds(-1), nanoseconds::min()}) {
        std::string order;
        const auto body = [&]() -> Task<> {
            EventLoop::current().spawn(append_forever(order, 's'));
            order += '1';
            co_await grafo::sleep_for(time);
            order += '2';
        };
        EventLoop loop{virtual_time};
        loop.run(body());
        CHECK(order.substr(0, 3) == "1s2");
    }
}

TEST_CASE("A sleep measures from when it is awaited, not from when sleep_for was called") {
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    const auto body = [&]() -> Task<> {
        const auto later = grafo::sleep_for(1s);
        co_await grafo::sleep_for(10s);
        co_await later;
        CHECK(loop.now() - start == 11s);
        co_await later;
        CHECK(loop.now() - start == 12s);
    };
    loop.run(body());
    CHECK(loop.now() - start == 12s);
}

TEST_CASE("In real time a sleep is not over before its time has come") {
    const auto body = []() -> Task<> {
        for (const nanoseconds time : {nanoseconds(1), nanoseconds(1us), nanoseconds(50us)}) {
            const TimePoint start = std::chrono::steady_clock::now();
            co_await grafo::sleep_for(time);
            CHECK(std::chrono::steady_clock::now() - start >= time);
            const TimePoint until = std::chrono::steady_clock::now() + time;
            co_await grafo::sleep_until(until);
            CHECK(std::chrono::steady_clock::now() >= until);
        }
    };
    grafo::run(body());
}

// --- sleep_until -----------------------------------------------------------------------------

TEST_CASE("sleep_until ends exactly at its point of the clock") {
    EventLoop loop{virtual_time};
    CHECK(time_until(loop, loop.now() + 1ns) == 1ns);
    CHECK(time_until(loop, loop.now() + 5h + 3ns) == 5h + 3ns);
    CHECK(time_until(loop, TimePoint::max() - 1ns) > 24h);
    CHECK(loop.now() == TimePoint::max() - 1ns);
}

TEST_CASE("sleep_until a point that is now or past takes no time, but lets others run") {
    EventLoop loop{virtual_time};
    loop.run(sleep(1h));
    CHECK(time_until(loop, loop.now()) == 0s);
    CHECK(time_until(loop, loop.now() - 1ns) == 0s);
    CHECK(time_until(loop, loop.now() - 1h) == 0s);
    CHECK(time_until(loop, TimePoint()) == 0s);
    CHECK(time_until(loop, TimePoint::min()) == 0s);

    std::string order;
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(append_forever(order, 's'));
        order += '1';
        co_await grafo::sleep_until(loop.now() - 1s);
        order += '2';
    };
    loop.run(body());
    CHECK(order.substr(0, 3) == "1s2");
}

TEST_CASE("sleep_until takes a point in coarser units as well") {
    using Coarse = std::chrono::time_point<EventLoop::Clock, std::chrono::hours>;
    EventLoop loop{virtual_time};
    CHECK(time_until(loop, Coarse(3h)) == Coarse(3h) - TimePoint());
}

TEST_CASE("A point that passes while others work ends the sleep at the next one of theirs") {
    // Both wake at one: the one that began to wait first goes first, the clock does not go back.
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    std::vector<nanoseconds> seen;
    const auto body = [&]() -> Task<> {
        co_await grafo::sleep_for(2s);
        seen.push_back(loop.now() - start);
        co_await grafo::sleep_until(start + 1s);
        seen.push_back(loop.now() - start);
        co_await grafo::sleep_until(start + 3s);
        seen.push_back(loop.now() - start);
    };
    loop.run(body());
    CHECK(seen == std::vector<nanoseconds>{2s, 2s, 3s});
}

// --- never -----------------------------------------------------------------------------------

TEST_CASE("A sleep of max() in any unit never ends: alone it is a deadlock") {
    CHECK_THROWS_AS(time_of(nanoseconds::max()), grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::seconds::max()), grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::hours::max()), grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::hours(2'562'048)), grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::duration<std::uint64_t, std::nano>::max()),
                    grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::duration<double>::max()), grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::duration<double>(9.3e9)), grafo::DeadlockError);
    CHECK_THROWS_AS(time_of(std::chrono::duration<double>(std::numeric_limits<double>::infinity())),
                    grafo::DeadlockError);
}

TEST_CASE("A sleep until the last point of the clock never ends: alone it is a deadlock") {
    EventLoop loop{virtual_time};
    CHECK_THROWS_AS(time_until(loop, TimePoint::max()), grafo::DeadlockError);
    loop.run(sleep(1h));
    CHECK_THROWS_AS(time_until(loop, TimePoint::max()), grafo::DeadlockError);
}

TEST_CASE("A sleep that never ends is a deadlock in real time too, at once") {
    CHECK_THROWS_AS(grafo::run(sleep(std::chrono::hours::max())), grafo::DeadlockError);
    EventLoop loop;
    CHECK_THROWS_AS(time_until(loop, TimePoint::max()), grafo::DeadlockError);
}

TEST_CASE("A sleep beyond the end of the clock does not wrap around, wherever the clock stands") {
    std::string ended;
    EventLoop loop{virtual_time};
    loop.run(sleep(1'000h));
    loop.spawn(tell(ended, nanoseconds::max() - 1ns));  // from here on beyond the end
    loop.run(sleep(2'000'000h));
    CHECK(ended == "cancelled");
}

TEST_CASE("A sleep that never ends does not move the clock, nor keep the others from theirs") {
    std::string ended;
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    loop.spawn(tell(ended, std::chrono::hours::max()));
    loop.run(sleep(1h));
    CHECK(loop.now() - start == 1h);
    CHECK(ended == "cancelled");
}

TEST_CASE("In a deadlock a sleep that never ends is cancelled, and its task cleans up") {
    Counted::reset();
    std::string order;
    const auto body = [&]() -> Task<> {
        const Counted local;
        try {
            co_await grafo::sleep_for(std::chrono::hours::max());
        } catch (const grafo::Cancelled&) {
            order += 'c';
        }
        co_await grafo::sleep_for(1h);
        order += 's';
    };
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    CHECK_THROWS_AS(loop.run(body()), grafo::DeadlockError);
    CHECK(order == "cs");
    CHECK(loop.now() - start == 1h);
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}

// --- order -----------------------------------------------------------------------------------

TEST_CASE("Sleeps end in the order of their deadlines, whatever the order of their starts") {
    std::string order;
    const auto body = [&]() -> Task<> {
        EventLoop& loop = EventLoop::current();
        for (const char name : std::string("hbgdcafe")) {
            loop.spawn(append(order, name, nanoseconds(name)));
        }
        co_await grafo::sleep_for(1s);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
    CHECK(order == "abcdefgh");
}

TEST_CASE("Among equal deadlines the sleep that began first ends first") {
    std::string order;
    const auto body = [&]() -> Task<> {
        for (const char name : std::string("ecabd")) {
            EventLoop::current().spawn(append(order, name, 1h));
        }
        co_await grafo::sleep_for(2h);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
    CHECK(order == "ecabd");
}

TEST_CASE("Equal deadlines keep their order among many others, and when some are cancelled") {
    // A thousand sleeps of a hundred deadlines, ten of each; a generation before is cancelled.
    std::vector<int> order;
    EventLoop loop{virtual_time};
    const auto one = [&](int number) -> Task<> {
        co_await grafo::sleep_for(std::chrono::seconds(1 + number * 37 % 100));
        order.push_back(number);
    };
    for (int i = 0; i < 1'000; ++i) loop.spawn(one(1'000 + i));
    loop.run(sleep(0s));  // they begin, and are cancelled
    CHECK(order.empty());

    for (int i = 0; i < 1'000; ++i) loop.spawn(one(i));
    loop.run(sleep(1h));
    REQUIRE(order.size() == 1'000);
    bool ordered = true;
    for (std::size_t i = 1; i < order.size(); ++i) {
        const int before = order[i - 1] * 37 % 100;
        const int after = order[i] * 37 % 100;
        ordered &= before < after || (before == after && order[i - 1] < order[i]);
    }
    CHECK(ordered);
}

TEST_CASE("Of many sleeps most of which are given up, the others end in order and in time") {
    // Each is given up after a time of its own, or ends before.
    std::vector<std::pair<TimePoint, int>> ended;
    int given_up = 0;
    const auto one = [&](int number, nanoseconds after, nanoseconds limit) -> Task<> {
        try {
            co_await grafo::with_timeout(limit, sleep(after));
            ended.emplace_back(EventLoop::current().now(), number);
        } catch (const grafo::TimeoutError&) {
            CHECK(limit <= after);
            ++given_up;
        }
    };
    const unsigned seed = Catch::rngSeed();
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> any(1, 300);
    std::vector<std::pair<TimePoint, int>> expected;
    EventLoop loop{virtual_time};
    for (int i = 0; i < 10'000; ++i) {
        const nanoseconds after(any(random) * 1'000);
        const nanoseconds limit(any(random) * (i % 4 == 0 ? 2'000 : 20) + 1);
        if (after < limit) expected.emplace_back(loop.now() + after, i);
        loop.spawn(one(i, after, limit));
    }
    loop.run(sleep(1h));
    std::sort(expected.begin(), expected.end());  // of one time, in the order they were started in
    CHECK(given_up > 5'000);
    CHECK(ended.size() + static_cast<std::size_t>(given_up) == 10'000);
    CHECK(ended == expected);
}

TEST_CASE("A relative and an absolute sleep of the same deadline are equal") {
    std::string order;
    const auto until = [&](char name, TimePoint at) -> Task<> {
        co_await grafo::sleep_until(at);
        order += name;
    };
    const auto body = [&]() -> Task<> {
        EventLoop& loop = EventLoop::current();
        const TimePoint at = loop.now() + 5s;
        loop.spawn(append(order, 'a', 5s));
        loop.spawn(until('b', at));
        loop.spawn(append(order, 'c', 5s));
        co_await grafo::sleep_for(6s);
    };
    EventLoop loop{virtual_time};
    loop.run(body());
    CHECK(order == "abc");
}

// --- yield -----------------------------------------------------------------------------------

TEST_CASE("yield lets each of the others run once before it comes back") {
    std::string order;
    const auto body = [&]() -> Task<> {
        EventLoop& loop = EventLoop::current();
        loop.spawn(append_forever(order, 'a'));
        loop.spawn(append_forever(order, 'b'));
        for (int i = 0; i < 4; ++i) {
            order += '-';
            co_await grafo::yield();
        }
    };
    EventLoop loop{virtual_time};
    loop.run(body());
    CHECK(order.substr(0, 12) == "-ab-ab-ab-ab");
}

TEST_CASE("yield takes no time on the loop's clock") {
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    const auto body = []() -> Task<> {
        for (int i = 0; i < 1'000; ++i) co_await grafo::yield();
    };
    loop.run(body());
    CHECK(loop.now() == start);
}

TEST_CASE("In real time a task that only yields does not keep sleeps from ending") {
    bool slept = false;
    const auto sleeper = [&]() -> Task<> {
        co_await grafo::sleep_for(1us);
        slept = true;
    };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(sleeper());
        while (!slept) co_await grafo::yield();
    };
    grafo::run(body());
    CHECK(slept);
}

TEST_CASE("A task that only yields does not keep posted functions from being called") {
    bool called = false;
    const auto body = [&]() -> Task<> {
        EventLoop::current().post([&] { called = true; });
        while (!called) co_await grafo::yield();
    };
    EventLoop loop{virtual_time};
    loop.run(body());
    CHECK(called);
}

// --- given up --------------------------------------------------------------------------------

TEST_CASE("A sleep that is cancelled ends at once, and its time is not waited for") {
    std::string ended;
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    loop.spawn(tell(ended, 1'000h));
    loop.run(sleep(3s));
    CHECK(ended == "cancelled");
    CHECK(loop.now() - start == 3s);
    loop.run(sleep(2'000h));  // the sleep that was given up is forgotten
    CHECK(loop.now() - start == 3s + 2'000h);
}

TEST_CASE("The frame of a sleep that goes on at the loop's end is destroyed with the loop") {
    Counted::reset();
    const auto body = [](Counted) -> Task<> { co_await grafo::sleep_for(1h); };
    {
        EventLoop loop{virtual_time};
        loop.spawn(body(Counted(1)));
        CHECK(Counted::live() == 1);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What sleep_for, sleep_until and yield give does nothing until it is awaited") {
    // Also where no loop runs.
    const auto relative = grafo::sleep_for(1h);
    const auto absolute = grafo::sleep_until(TimePoint());
    const auto short_one = grafo::yield();
    STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<decltype(relative)>);
    STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<decltype(absolute)>);
    STATIC_REQUIRE(noexcept(grafo::sleep_for(std::declval<const nanoseconds&>())));
    STATIC_REQUIRE(noexcept(grafo::sleep_until(std::declval<const TimePoint&>())));
    STATIC_REQUIRE(noexcept(grafo::yield()));
    EventLoop loop{virtual_time};
    const TimePoint start = loop.now();
    const auto body = [&]() -> Task<> {
        co_await absolute;
        co_await short_one;
        CHECK(loop.now() == start);
        auto copy = relative;
        co_await copy;
        CHECK(loop.now() - start == 1h);
    };
    loop.run(body());
}
