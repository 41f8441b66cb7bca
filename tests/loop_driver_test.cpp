#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <grafo/detail/loop_driver.hpp>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include "catch.hpp"
#include "counted.hpp"

// A loop that somebody else's loop drives, played by the test.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::Counted;

namespace {

// Counts what asks for a round.
class Host : public Reactor {
public:
    void wait(const TimePoint*) override { throw std::logic_error("a driven loop never waits"); }
    void wake() noexcept override {
        ++wakes;
        wakes.notify_all();
    }

    std::atomic<int> wakes{0};
};

// Rounds until there is nothing to do at once.
detail::LoopDriver::Next turns(detail::LoopDriver& driver) {
    for (;;) {
        detail::LoopDriver::Next next = driver.turn();
        if (next.error != nullptr) std::rethrow_exception(next.error);
        if (!next.ready) return next;
    }
}

template <class T>
void spawn(detail::LoopDriver& driver, Task<T> task) {
    driver.loop().post(
        [&driver, task = std::move(task)]() mutable { driver.loop().spawn(std::move(task)); });
}

const auto cut_nothing = [] {};

}  // namespace

TEST_CASE("A driven loop is idle until something is posted, and is woken by that") {
    Host host;
    detail::LoopDriver driver(host);
    CHECK(turns(driver).idle);
    CHECK(host.wakes == 0);
    int done = 0;
    const auto body = [&]() -> Task<> {
        CHECK(&EventLoop::current() == &driver.loop());
        co_await yield();
        ++done;
    };
    spawn(driver, body());
    CHECK(host.wakes == 1);
    CHECK(done == 0);
    CHECK(turns(driver).idle);
    CHECK(done == 1);
    CHECK_THROWS_AS(EventLoop::current(), Error);
}

TEST_CASE("The first post to a driven loop asks for its first round") {
    Host host;
    detail::LoopDriver driver(host);
    CHECK(host.wakes == 0);
    bool called = false;
    driver.loop().post([&] { called = true; });
    CHECK(host.wakes == 1);
    CHECK(turns(driver).idle);
    CHECK(called);
}

TEST_CASE("A round of a driven loop is one round: its host gets a turn between two of them") {
    Host host;
    detail::LoopDriver driver(host);
    int rounds = 0;
    const auto body = [&]() -> Task<> {
        for (;;) {
            ++rounds;
            co_await yield();
        }
    };
    spawn(driver, body());
    CHECK(driver.turn().ready);
    for (int i = 0; i < 10; ++i) {
        CHECK(driver.turn().ready);
        CHECK(rounds == i + 1);
    }
    driver.drop(cut_nothing);
}

TEST_CASE("A driven loop says when it wants its next round") {
    Host host;
    detail::LoopDriver driver(host);
    bool slept = false;
    const EventLoop::TimePoint at = driver.loop().now() + 1ms;
    const auto body = [&]() -> Task<> {
        co_await sleep_until(at);
        slept = true;
    };
    spawn(driver, body());
    detail::LoopDriver::Next next = turns(driver);
    while (!next.idle) {
        CHECK(next.deadline == std::optional(at));
        std::this_thread::sleep_until(*next.deadline);
        next = turns(driver);
    }
    CHECK(slept);
    CHECK_FALSE(next.deadline.has_value());
}

TEST_CASE("The error of a driven loop's task goes to its host, and the loop works on") {
    Host host;
    detail::LoopDriver driver(host);
    const auto fail = []() -> Task<> {
        co_await yield();
        throw std::runtime_error("failed");
    };
    bool done = false;
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 5; ++i) co_await yield();
        done = true;
    };
    spawn(driver, fail());
    spawn(driver, body());
    CHECK_THROWS_WITH(turns(driver), "failed");
    CHECK(turns(driver).idle);
    CHECK(done);
}

TEST_CASE("A driven loop is turned inside a running loop of the same thread") {
    Host host;
    detail::LoopDriver driver(host);
    EventLoop outer;
    std::vector<std::string> order;
    const auto inner_body = [&]() -> Task<> {
        order.push_back("inner");
        co_await yield();
        order.push_back("inner again");
    };
    const auto body = [&]() -> Task<> {
        spawn(driver, inner_body());
        turns(driver);
        CHECK(&EventLoop::current() == &outer);
        co_await yield();
        order.push_back("outer");
    };
    outer.run(body());
    CHECK(order == std::vector<std::string>{"inner", "inner again", "outer"});
}

TEST_CASE("A driven loop that has work on another thread is not idle, and woken by its end") {
    ThreadPool pool{1};
    Host host;
    detail::LoopDriver driver(host);
    std::thread::id where;
    const auto body = [&]() -> Task<> {
        const auto work = [] { return std::this_thread::get_id(); };
        where = co_await offload(pool, work);
    };
    spawn(driver, body());
    int seen = host.wakes;
    while (!turns(driver).idle) {
        host.wakes.wait(seen);
        seen = host.wakes;
    }
    CHECK(where != std::thread::id());
    CHECK(where != std::this_thread::get_id());
}

TEST_CASE("Dropped, a driven loop destroys what its tasks hold and resumes none of them") {
    Counted::reset();
    Host host;
    detail::LoopDriver driver(host);
    bool resumed = false;
    const auto sleeper = [&](Counted) -> Task<> {
        try {
            co_await sleep_for(1h);
            resumed = true;
        } catch (...) {
            resumed = true;
        }
    };
    const auto run = [&]() -> Task<> {
        Node node{"node", sleeper, "counted"_a = Counted(1)};
        Node other{"other", sleeper, "counted"_a = Counted(2)};
        TreeExecutor executor{node, other};
        co_await executor.run();
        resumed = true;
    };
    spawn(driver, sleeper(Counted(3)));
    spawn(driver, run());
    CHECK_FALSE(turns(driver).idle);
    CHECK(Counted::live() > 0);
    spawn(driver, sleeper(Counted(4)));  // not yet there
    driver.drop(cut_nothing);
    CHECK(Counted::live() == 0);
    CHECK_FALSE(resumed);
}

TEST_CASE("Dropped, a driven loop waits for the functions that run on other threads") {
    std::atomic<bool> begun = false;
    std::atomic<bool> ended = false;
    ThreadPool pool{1};
    Counted::reset();
    Host host;
    detail::LoopDriver driver(host);
    const auto body = [&](Counted counted) -> Task<> {
        const auto work = [&](const StopFlag& stop) {
            begun = true;
            begun.notify_all();
            while (!stop) std::this_thread::yield();
            ended = counted.value == 1;
        };
        co_await offload(pool, work);
    };
    spawn(driver, body(Counted(1)));
    turns(driver);
    begun.wait(false);
    driver.drop(cut_nothing);
    CHECK(ended);
    CHECK(Counted::live() == 0);
}
