#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <grafo/detail/poll_reactor.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/reactor.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

#include "catch.hpp"
#include "watch_by_hand.hpp"

using namespace std::chrono_literals;
using grafo::EventLoop;
using grafo::Reactor;
using grafo::Task;
using grafo::Watch;
using grafo::Watcher;
using grafo_test::Park;
using grafo_test::Signal;

namespace {

// Never sleeps: each wait runs the next step of a script, in place of what would have come.
class ScriptedReactor : public Reactor {
public:
    using Step = std::function<void(const TimePoint* deadline)>;

    void then(Step step) { steps_.push_back(std::move(step)); }

    void wait(const TimePoint* deadline) override {
        const std::size_t step = waits++;
        if (step >= steps_.size()) throw std::logic_error("the loop waited once too often");
        steps_[step](deadline);
    }
    void wake() noexcept override { ++wakes; }
    bool busy() const noexcept override { return is_busy; }
    void poll() override {
        ++polls;
        if (on_poll) on_poll();
    }

    std::size_t waits = 0;
    std::size_t wakes = 0;
    std::size_t polls = 0;
    bool is_busy = false;
    std::function<void()> on_poll;

private:
    std::vector<Step> steps_;
};

// Sleeps until it is woken, and counts.
class CountingReactor : public Reactor {
public:
    void wait(const TimePoint* deadline) override {
        std::unique_lock lock(mutex_);
        ++waits_;
        asleep_ = true;
        changed_.notify_all();
        if (deadline != nullptr) {
            changed_.wait_until(lock, *deadline, [this] { return woken_; });
        } else {
            changed_.wait(lock, [this] { return woken_; });
        }
        asleep_ = false;
        woken_ = false;
    }
    void wake() noexcept override {
        const std::lock_guard lock(mutex_);
        woken_ = true;
        ++wakes_;
        changed_.notify_all();
    }
    // Another thread: until the loop sleeps, with nothing on its way to wake it.
    void await_sleep() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return asleep_ && !woken_; });
    }
    std::size_t waits() const {
        const std::lock_guard lock(mutex_);
        return waits_;
    }
    std::size_t wakes() const {
        const std::lock_guard lock(mutex_);
        return wakes_;
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t waits_ = 0;
    std::size_t wakes_ = 0;
    bool asleep_ = false;
    bool woken_ = false;
};

}  // namespace

TEST_CASE("A loop with something ready does not wait") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    const auto body = []() -> Task<int> {
        for (int i = 0; i < 100; ++i) co_await grafo::yield();
        co_return 1;
    };
    CHECK(loop.run(body()) == 1);
    CHECK(reactor.waits == 0);
}

TEST_CASE("A loop with a timer waits until its deadline, not longer") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    const EventLoop::TimePoint at = loop.now() + 1h;
    std::vector<EventLoop::TimePoint> deadlines;
    reactor.then([&](const Reactor::TimePoint* deadline) {
        REQUIRE(deadline != nullptr);
        deadlines.push_back(*deadline);
        loop.post([] { throw std::runtime_error("enough"); });
    });
    const auto longer = [&]() -> Task<> { co_await grafo::sleep_until(at + 1h); };
    const auto body = [&]() -> Task<> {
        loop.spawn(longer());
        co_await grafo::sleep_until(at);
    };
    CHECK_THROWS_WITH(loop.run(body()), "enough");
    CHECK(deadlines == std::vector<EventLoop::TimePoint>{at});
    CHECK(reactor.waits == 1);
}

TEST_CASE("A wait that returns early does not end a sleep early") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    bool slept = false;
    int early = 0;
    for (int i = 0; i < 3; ++i) {
        reactor.then([&](const Reactor::TimePoint*) { ++early; });
    }
    reactor.then([&](const Reactor::TimePoint*) {
        CHECK_FALSE(slept);
        loop.post([] { throw std::runtime_error("enough"); });
    });
    const auto body = [&]() -> Task<> {
        co_await grafo::sleep_for(1h);
        slept = true;
    };
    CHECK_THROWS_WITH(loop.run(body()), "enough");
    CHECK(early == 3);
    CHECK_FALSE(slept);
}

TEST_CASE("After a sleep was cancelled the loop does not wait for its time") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    const auto sleep = []() -> Task<> { co_await grafo::sleep_for(1h); };
    const auto body = [&]() -> Task<int> {
        loop.spawn(sleep());
        co_await grafo::yield();
        co_return 1;
    };
    CHECK(loop.run(body()) == 1);
    CHECK(reactor.waits == 0);
}

TEST_CASE("A loop with nothing but a foreign await out waits without a deadline") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    std::coroutine_handle<> parked;
    bool without_deadline = false;
    reactor.then([&](const Reactor::TimePoint* deadline) {
        without_deadline = deadline == nullptr;
        parked.resume();
    });
    const auto body = [&]() -> Task<int> {
        co_await Park(parked);
        co_return 1;
    };
    CHECK(loop.run(body()) == 1);
    CHECK(without_deadline);
    CHECK(reactor.waits == 1);
}

TEST_CASE("A reactor that is busy is waited for: that is no deadlock") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    reactor.is_busy = true;
    std::vector<std::string> order;
    reactor.then([&](const Reactor::TimePoint* deadline) {
        CHECK(deadline == nullptr);
        order.push_back("waited");
    });
    reactor.then([&](const Reactor::TimePoint*) {
        order.push_back("waited again");
        reactor.is_busy = false;
    });
    const auto body = [&]() -> Task<> { co_await std::suspend_always(); };
    CHECK_THROWS_AS(loop.run(body()), grafo::DeadlockError);
    CHECK(order == std::vector<std::string>{"waited", "waited again"});
}

TEST_CASE("A reactor that is not busy, with nothing out, is not waited for: a deadlock") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    const auto body = []() -> Task<> { co_await std::suspend_always(); };
    CHECK_THROWS_AS(loop.run(body()), grafo::DeadlockError);
    CHECK(reactor.waits == 0);
}

TEST_CASE("What a reactor's handlers make ready during a wait runs next") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    std::coroutine_handle<> parked;
    int rounds = 0;
    for (int i = 0; i < 3; ++i) {
        reactor.then([&](const Reactor::TimePoint*) { parked.resume(); });
    }
    const auto body = [&]() -> Task<> {
        for (; rounds < 3; ++rounds) co_await Park(parked);
    };
    loop.run(body());
    CHECK(rounds == 3);
    CHECK(reactor.waits == 3);
}

TEST_CASE("A reactor is polled between two rounds of a loop that never sleeps") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    bool polled = false;
    reactor.on_poll = [&] { polled = true; };
    const auto body = [&]() -> Task<> {
        while (!polled) co_await grafo::yield();
    };
    loop.run(body());
    CHECK(polled);
    CHECK(reactor.waits == 0);
}

TEST_CASE("A post to a loop that does not sleep does not wake its reactor") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    bool called = false;
    const auto body = [&]() -> Task<> {
        loop.post([&] { called = true; });
        while (!called) co_await grafo::yield();
    };
    loop.run(body());
    CHECK(reactor.wakes == 0);
}

TEST_CASE("A loop works on in a reactor of one's own after an error") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    const auto fail = []() -> Task<> {
        co_await grafo::yield();
        throw std::runtime_error("failed");
    };
    const auto number = []() -> Task<int> { co_return 2; };
    CHECK_THROWS_WITH(loop.run(fail()), "failed");
    CHECK(loop.run(number()) == 2);
}

TEST_CASE("An idle loop sleeps: it wakes up once for each post, and for nothing else") {
    constexpr std::size_t posts = 5;
    CountingReactor reactor;
    EventLoop loop(reactor);
    std::size_t called = 0;
    std::coroutine_handle<> parked;
    const auto sleep = []() -> Task<> { co_await grafo::sleep_for(1h); };
    const auto body = [&]() -> Task<> {
        loop.spawn(sleep());  // a timer that is far away
        co_await Park(parked);
    };
    std::thread thread([&] {
        for (std::size_t i = 0; i < posts; ++i) {
            reactor.await_sleep();
            loop.post([&, i] {
                ++called;
                if (i + 1 == posts) parked.resume();
            });
        }
    });
    loop.run(body());
    thread.join();
    CHECK(called == posts);
    CHECK(reactor.waits() == posts);
    CHECK(reactor.wakes() == posts);
}

TEST_CASE("Several posts to a sleeping loop reach it whatever the moment") {
    constexpr int threads = 3;
    constexpr int posts = 200;
    CountingReactor reactor;
    EventLoop loop(reactor);
    int called = 0;
    std::coroutine_handle<> parked;
    std::vector<std::thread> posters;
    const auto body = [&]() -> Task<> {
        for (int t = 0; t < threads; ++t) {
            posters.emplace_back([&] {
                for (int i = 0; i < posts; ++i) {
                    loop.post([&] {
                        if (++called == threads * posts) parked.resume();
                    });
                }
            });
        }
        co_await Park(parked);
    };
    loop.run(body());
    for (std::thread& poster : posters) poster.join();
    CHECK(called == threads * posts);
}

TEST_CASE("A loop asleep in its own reactor is told that a descriptor it watches can be read") {
    EventLoop loop;
    std::coroutine_handle<> parked;
    Signal signal([&] {
        signal.clear();
        parked.resume();
    });
    const auto body = [&]() -> Task<> {
        signal.begin();
        for (int i = 0; i < 3; ++i) {
            loop.post([&] { std::thread([&] { signal.set(); }).join(); });
            co_await Park(parked);
        }
        signal.watch.reset();
    };
    loop.run(body());
    CHECK(signal.calls == 3);
}

TEST_CASE("A watcher is called again for as long as its descriptor can be read") {
    EventLoop loop;
    std::coroutine_handle<> parked;
    Signal signal([&] {
        if (signal.calls == 3) parked.resume();
    });
    const auto body = [&]() -> Task<> {
        signal.begin();
        signal.set();
        co_await Park(parked);
        signal.watch.reset();
    };
    loop.run(body());
    CHECK(signal.calls >= 3);
}

TEST_CASE("A watcher may end its own watch and another that is due in the same moment") {
    EventLoop loop;
    std::coroutine_handle<> parked;
    Signal second([] {});
    Signal first([&] {
        first.watch.reset();
        second.watch.reset();
        parked.resume();
    });
    const auto body = [&]() -> Task<> {
        first.begin();
        second.begin();
        first.set();
        second.set();
        co_await Park(parked);
        for (int i = 0; i < 3; ++i) co_await grafo::yield();
    };
    loop.run(body());
    CHECK(first.calls == 1);
    CHECK(second.calls == 0);
}

TEST_CASE("A watcher may begin a watch") {
    EventLoop loop;
    std::coroutine_handle<> parked;
    Signal second([&] {
        second.watch.reset();
        parked.resume();
    });
    Signal first([&] {
        first.watch.reset();
        second.begin();
        second.set();
    });
    const auto body = [&]() -> Task<> {
        first.begin();
        first.set();
        co_await Park(parked);
    };
    loop.run(body());
    CHECK(first.calls == 1);
    CHECK(second.calls == 1);
}

TEST_CASE("A loop that never sleeps sees what it watches between two rounds") {
    EventLoop loop;
    Signal signal([&] { signal.watch.reset(); });
    const auto body = [&]() -> Task<> {
        signal.begin();
        signal.set();
        while (signal.calls == 0) co_await grafo::yield();
    };
    loop.run(body());
    CHECK(signal.calls == 1);
}

TEST_CASE("A loop that watches waits: that is no deadlock, and after the watch it is one") {
    EventLoop loop;
    Signal signal([&] { signal.watch.reset(); });
    const auto body = [&]() -> Task<> {
        signal.begin();
        signal.set();
        co_await std::suspend_always();
    };
    CHECK_THROWS_AS(loop.run(body()), grafo::DeadlockError);
    CHECK(signal.calls == 1);
}

TEST_CASE("A virtual clock stands still while a descriptor is watched") {
    EventLoop loop(grafo::virtual_time);
    const EventLoop::TimePoint start = loop.now();
    EventLoop::TimePoint called;
    Signal signal([&] {
        called = loop.now();
        signal.watch.reset();
    });
    std::thread thread;
    const auto body = [&]() -> Task<> {
        signal.begin();
        thread = std::thread([&] { signal.set(); });
        co_await grafo::sleep_for(1h);
    };
    loop.run(body());
    thread.join();
    CHECK(called == start);
    CHECK(loop.now() == start + 1h);
}

TEST_CASE("Timers and posts reach a loop that watches a descriptor") {
    EventLoop loop;
    std::coroutine_handle<> parked;
    Signal never([] {});
    std::thread thread;
    const auto body = [&]() -> Task<> {
        never.begin();
        const EventLoop::TimePoint until = loop.now() + 2ms;
        co_await grafo::sleep_until(until);
        CHECK(loop.now() >= until);
        loop.post([&] { thread = std::thread([&] { loop.post([&] { parked.resume(); }); }); });
        co_await Park(parked);
        never.watch.reset();
    };
    loop.run(body());
    thread.join();
    CHECK(never.calls == 0);
}

TEST_CASE("A watch may outlive its loop") {
    Signal signal([] {});
    {
        EventLoop loop;
        const auto body = [&]() -> Task<> {
            signal.begin();
            co_return;
        };
        loop.run(body());
    }
    CHECK(signal.watch != nullptr);
    signal.watch.reset();
}

TEST_CASE("A loop has the reactor that it was given watch descriptors") {
    class WatchingReactor : public ScriptedReactor {
    public:
        std::unique_ptr<Watch> watch(int descriptor, Watcher& watcher) override {
            watched.push_back(descriptor);
            watcher.readable();
            return std::make_unique<Watch>();
        }
        std::vector<int> watched;
    };
    WatchingReactor reactor;
    EventLoop loop(reactor);
    Signal signal([] {});
    const auto body = [&]() -> Task<> {
        signal.begin();
        co_return;
    };
    loop.run(body());
    CHECK(reactor.watched == std::vector<int>{signal.descriptor});
    CHECK(signal.calls == 1);
}

TEST_CASE("A reactor that cannot watch descriptors is named when one is to be watched") {
    ScriptedReactor reactor;
    EventLoop loop(reactor);
    Signal signal([] {});
    const auto body = [&]() -> Task<> {
        signal.begin();
        co_return;
    };
    CHECK_THROWS_WITH(loop.run(body()), Catch::Matchers::ContainsSubstring("Reactor::watch"));
}

TEST_CASE("A virtual clock stands still while its reactor is busy, and jumps when it is not") {
    ScriptedReactor reactor;
    EventLoop loop(grafo::virtual_time, reactor);
    reactor.is_busy = true;
    std::vector<EventLoop::TimePoint> times;
    reactor.then([&](const Reactor::TimePoint* deadline) {
        CHECK(deadline == nullptr);
        times.push_back(loop.now());
        reactor.is_busy = false;
    });
    const auto body = [&]() -> Task<> {
        co_await grafo::sleep_for(1h);
        times.push_back(loop.now());
    };
    loop.run(body());
    CHECK(times == std::vector{EventLoop::TimePoint(), EventLoop::TimePoint(1h)});
    CHECK(reactor.waits == 1);
}
