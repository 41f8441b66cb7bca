#include <grafo/grafo.hpp>
#include <grafo/watchdog.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "catch.hpp"

// Nothing here is bounded by time: a body that holds the loop ends when the watchdog has said so.
// If it never does, the test hangs, and ctest ends it.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using detail::HoldBoard;
using detail::HoldSampler;

namespace {

// What a watchdog has said so far. On a slow machine it may say more than a test is after.
class Seen {
public:
    auto callback() {
        return [this](const WatchdogReport& report) {
            const std::lock_guard lock(mutex_);
            names_.emplace_back(report.node);
            nodes_.push_back(report.is_node);
            held_ = report.held;
            said_.notify_all();
        };
    }
    // Holds the loop until the watchdog has named this.
    void hold_until(std::string_view name) {
        std::unique_lock lock(mutex_);
        said_.wait(lock, [&] { return count_locked(name) > 0; });
    }
    long count(std::string_view name) {
        const std::lock_guard lock(mutex_);
        return count_locked(name);
    }
    bool is_node(std::string_view name) {
        const std::lock_guard lock(mutex_);
        return nodes_[static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) -
                                               names_.begin())];
    }
    std::chrono::nanoseconds held() {
        const std::lock_guard lock(mutex_);
        return held_;
    }

private:
    long count_locked(std::string_view name) const {
        return static_cast<long>(std::count(names_.begin(), names_.end(), name));
    }

    std::mutex mutex_;
    std::condition_variable said_;
    std::vector<std::string> names_;
    std::vector<bool> nodes_;
    std::chrono::nanoseconds held_{};
};

constexpr std::string_view task_name = "a task of the loop";

Task<> do_nothing() { co_return; }

}  // namespace

TEST_CASE("A plain function that holds the loop is named while it still does") {
    Seen seen;
    const auto busy = [&] { seen.hold_until("busy"); };
    Node before{"before", [] {}};
    Node node{"busy", busy};
    before.connect(node);
    EventLoop loop;
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    loop.run(TreeExecutor{before}.run());
    CHECK(seen.count("busy") == 1);
    CHECK(seen.is_node("busy"));
    CHECK(seen.held() >= 1ms);
}

TEST_CASE("A coroutine that holds the loop after an await is named") {
    Seen seen;
    const auto body = [&]() -> Task<> {
        co_await grafo::yield();
        seen.hold_until("coroutine");
    };
    Node node{"coroutine", body};
    Node other{"other", do_nothing};
    EventLoop loop;
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    loop.run(TreeExecutor{node, other}.run());
    CHECK(seen.count("coroutine") >= 1);
}

TEST_CASE("A task that a node awaits counts as the node") {
    Seen seen;
    const auto inner = [&]() -> Task<> {
        co_await sleep_for(1h);
        seen.hold_until("outer");
    };
    const auto outer = [&]() -> Task<> { co_await inner(); };
    Node node{"outer", outer};
    EventLoop loop{virtual_time};
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    loop.run(TreeExecutor{node}.run());
    CHECK(seen.count("outer") >= 1);
}

TEST_CASE("A generator that holds the loop after a chunk is named") {
    Seen seen;
    const auto body = [&]() -> AsyncGenerator<int> {
        co_yield 1;
        seen.hold_until("generator");
        co_yield 2;
    };
    Node node{"generator", body};
    const auto consume = [&]() -> Task<int> {
        int chunks = 0;
        auto events = TreeExecutor{node}.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::chunk) ++chunks;
        }
        co_return chunks;
    };
    EventLoop loop;
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    CHECK(loop.run(consume()) == 2);
    CHECK(seen.count("generator") >= 1);
}

TEST_CASE("The reader of a stream that holds the loop counts as a task of the loop") {
    Seen seen;
    const auto body = []() -> AsyncGenerator<int> { co_yield 1; };
    Node node{"generator", body};
    const auto consume = [&]() -> Task<> {
        auto events = TreeExecutor{node}.yielding();
        while (auto event = co_await events.next()) {
            if (event->kind() == EventKind::chunk) seen.hold_until(task_name);
        }
    };
    EventLoop loop;
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    loop.run(consume());
    CHECK(seen.count(task_name) >= 1);
    CHECK_FALSE(seen.is_node(task_name));
}

TEST_CASE("A callback that holds the loop counts as its node") {
    Seen seen;
    const auto plain = [&] { seen.hold_until("plain callback"); };
    const auto later = [&]() -> Task<> {
        co_await grafo::yield();
        seen.hold_until("coroutine callback");
    };
    Node a{"plain callback", [] {}};
    a.on_before_run(plain);
    Node b{"coroutine callback", do_nothing};
    b.on_after_run(later);
    EventLoop loop;
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    loop.run(TreeExecutor{a, b}.run());
    CHECK(seen.count("plain callback") >= 1);
    CHECK(seen.count("coroutine callback") >= 1);
}

TEST_CASE("A transform that holds the loop counts as the parent of its edge") {
    Seen seen;
    const auto one = [] { return 1; };
    const auto take = [](int x) { return x; };
    Node first{"first", one};
    Node second{"second", one};
    Node plain_child{"plain child", take, "x"_a};
    Node later_child{"later child", take, "x"_a};
    const auto plain = [&](int x) {
        seen.hold_until("first");
        return x + 1;
    };
    const auto later = [&](int x) -> Task<int> {
        co_await grafo::yield();
        seen.hold_until("second");
        co_return x + 2;
    };
    first.connect(plain_child, "x"_a = plain);
    second.connect(later_child, "x"_a = later);
    EventLoop loop;
    const Watchdog watchdog{loop, 1ms, seen.callback()};
    loop.run(TreeExecutor{first, second}.run());
    CHECK(plain_child.output() == 2);
    CHECK(later_child.output() == 3);
    CHECK(seen.count("first") >= 1);
    CHECK(seen.count("second") >= 1);
}

TEST_CASE("What belongs to no node counts as a task of the loop") {
    enum class Who { root, spawned, spawned_later, posted };
    for (const Who who : {Who::root, Who::spawned, Who::spawned_later, Who::posted}) {
        Seen seen;
        EventLoop loop;
        const Watchdog watchdog{loop, 1ms, seen.callback()};
        const auto busy = [&](bool late) -> Task<> {
            if (late) co_await grafo::yield();
            seen.hold_until(task_name);
        };
        const auto root = [&]() -> Task<> {
            if (who == Who::root) co_await busy(false);
            if (who == Who::spawned) loop.spawn(busy(false));
            if (who == Who::spawned_later) loop.spawn(busy(true));
            if (who == Who::posted) loop.post([&] { seen.hold_until(task_name); });
            while (seen.count(task_name) == 0) co_await grafo::yield();
        };
        loop.run(root());
        CHECK(seen.count(task_name) >= 1);
        CHECK_FALSE(seen.is_node(task_name));
    }
}

TEST_CASE("A watchdog's callback may take the name and the time") {
    std::latch said(1);
    std::string name;
    std::chrono::nanoseconds held{};
    const auto callback = [&](std::string_view node, std::chrono::nanoseconds time) {
        if (node != "busy") return;
        name = node;
        held = time;
        said.count_down();
    };
    Node node{"busy", [&] { said.wait(); }};
    EventLoop loop;
    {
        const Watchdog watchdog{loop, 0.001s, callback};
        loop.run(TreeExecutor{node}.run());
    }
    CHECK(name == "busy");
    CHECK(held >= 1ms);
}

TEST_CASE("A watchdog without a callback prints a line on stderr") {
    std::FILE* const file = std::tmpfile();
    REQUIRE(file != nullptr);
    const int before = dup(STDERR_FILENO);
    std::fflush(stderr);
    REQUIRE(dup2(fileno(file), STDERR_FILENO) == STDERR_FILENO);
    detail::print_watchdog_report({"load", true, 1999us});
    detail::print_watchdog_report({task_name, false, 2s});
    std::fflush(stderr);
    REQUIRE(dup2(before, STDERR_FILENO) == STDERR_FILENO);
    close(before);
    std::rewind(file);
    std::string said(200, '\0');
    said.resize(std::fread(said.data(), 1, said.size(), file));
    std::fclose(file);
    CHECK(said ==
          "grafo: node 'load' has held the loop for 1 ms\n"
          "grafo: a task of the loop has held the loop for 2000 ms\n");
}

TEST_CASE("A loop has one watchdog at a time") {
    EventLoop loop;
    {
        const Watchdog watchdog{loop, 1h};
        CHECK_THROWS_AS(Watchdog(loop, 1h), Error);
        EventLoop another;
        const Watchdog on_another{another, 1h};
    }
    const Watchdog watchdog{loop, std::chrono::nanoseconds::max()};
    loop.run(do_nothing());
}

TEST_CASE("A watchdog may be destroyed while a node holds the loop") {
    SECTION("before it has said so") {
        EventLoop loop;
        std::optional<Watchdog> watchdog;
        watchdog.emplace(loop, 1h);
        Node node{"busy", [&] { watchdog.reset(); }};
        loop.run(TreeExecutor{node}.run());
    }
    SECTION("after it has said so") {
        Seen seen;
        EventLoop loop;
        std::optional<Watchdog> watchdog;
        watchdog.emplace(loop, 1ms, seen.callback());
        const auto busy = [&] {
            seen.hold_until("busy");
            watchdog.reset();
        };
        Node node{"busy", busy};
        loop.run(TreeExecutor{node}.run());
        CHECK(seen.count("busy") == 1);
    }
    SECTION("while its callback is at work, which it waits for") {
        std::latch called(1);
        std::latch ending(1);
        bool ended = false;  // no atomic: the end of the thread is what orders it
        const auto callback = [&](std::string_view node, std::chrono::nanoseconds) {
            if (node != "busy" || ended) return;
            called.count_down();
            ending.wait();
            ended = true;
        };
        EventLoop loop;
        std::optional<Watchdog> watchdog;
        watchdog.emplace(loop, 1ms, callback);
        const auto busy = [&] {
            called.wait();
            ending.count_down();
            watchdog.reset();
            CHECK(ended);
        };
        Node node{"busy", busy};
        loop.run(TreeExecutor{node}.run());
    }
}

TEST_CASE("A node may make the watchdog of the loop that runs it") {
    Seen seen;
    std::optional<Watchdog> watchdog;
    const auto make = [&] { watchdog.emplace(EventLoop::current(), 1ms, seen.callback()); };
    Node first{"first", make};
    Node second{"second", [&] { seen.hold_until("second"); }};
    first.connect(second);
    EventLoop loop;
    loop.run(TreeExecutor{first}.run());
    CHECK(seen.count("second") == 1);
    watchdog.reset();
}

// ---- by hand, with a clock of our own -----------------------------------------------------------

TEST_CASE("A hold is reported once, when it has lasted for the limit") {
    HoldBoard board;
    HoldSampler sampler(board, 100ms);
    HoldSampler::TimePoint now{};
    CHECK_FALSE(sampler.sample(now));
    board.enter("slow");
    CHECK_FALSE(sampler.sample(now += 1h));  // the first time that it is seen
    CHECK_FALSE(sampler.sample(now += 99ms));
    CHECK(sampler.sample(now += 1ms));
    CHECK(sampler.report(now).node == "slow");
    CHECK(sampler.report(now).is_node);
    CHECK(sampler.report(now).held == 100ms);
    CHECK_FALSE(sampler.sample(now += 1h));  // the same one
    SECTION("another hold of the same node is another one") {
        board.enter("slow");
        CHECK_FALSE(sampler.sample(now += 1h));
        CHECK(sampler.sample(now += 100ms));
    }
    SECTION("so it is after an idle loop") {
        board.leave();
        CHECK_FALSE(sampler.sample(now += 1h));
        board.enter("");
        CHECK_FALSE(sampler.sample(now += 1h));
        CHECK(sampler.sample(now += 1h));
        CHECK(sampler.report(now).node == task_name);
        CHECK_FALSE(sampler.report(now).is_node);
        CHECK(sampler.report(now).held == 1h);
    }
}

TEST_CASE("Short holds one after the other are not reported, however many") {
    HoldBoard board;
    HoldSampler sampler(board, 100ms);
    HoldSampler::TimePoint now{};
    bool any = false;
    for (int i = 0; i < 100; ++i) {
        board.enter("quick");
        any = any || sampler.sample(now += 60ms);
        any = any || sampler.sample(now += 60ms);
        if (i % 2 == 0) board.leave();
    }
    CHECK_FALSE(any);
}

TEST_CASE("Long ids are cut between characters") {
    HoldBoard board;
    HoldBoard::Hold hold;
    const auto shown = [&](const std::string& id) {
        board.enter(id);
        REQUIRE(board.read(board.epoch(), hold));
        return std::string(hold.label());
    };
    const std::string ellipsis = "\xe2\x80\xa6";
    CHECK(shown("").empty());
    CHECK(shown("12345678") == "12345678");
    CHECK(shown(std::string(64, 'x')) == std::string(64, 'x'));
    CHECK(shown(std::string(65, 'x')) == std::string(61, 'x') + ellipsis);
    CHECK(shown("now short") == "now short");
    std::string umlauts;
    for (int i = 0; i < 40; ++i) umlauts += "\xc3\xa4";
    CHECK(shown(umlauts) == umlauts.substr(0, 60) + ellipsis);
    board.leave();
    CHECK(board.epoch() == 0);
}

namespace {

// Instead of sleeping, looks whether anybody seems to hold the loop, hours later.
class LookingReactor final : public Reactor {
public:
    explicit LookingReactor(HoldSampler& sampler) : sampler_(sampler) {}
    void wait(const TimePoint*) override {
        ++waits;
        held = held || sampler_.sample(now_ += 1h) || sampler_.sample(now_ += 1h);
    }
    void wake() noexcept override {}

    int waits = 0;
    bool held = false;

private:
    HoldSampler& sampler_;
    HoldSampler::TimePoint now_{};
};

}  // namespace

TEST_CASE("Nobody holds a loop that sleeps") {
    HoldBoard board;
    HoldSampler sampler(board, 1ns);
    LookingReactor reactor(sampler);
    EventLoop loop{reactor};
    detail::LoopAccess::core(loop).monitor = &board;
    const auto body = [&]() -> Task<> {
        loop.post([] {});
        co_await sleep_for(1ms);
    };
    Node sleeper{"sleeper", body};
    Node child{"child", [] {}};
    sleeper.connect(child);
    loop.run(TreeExecutor{sleeper}.run());
    CHECK(reactor.waits > 0);
    CHECK_FALSE(reactor.held);
    CHECK(board.epoch() == 0);
}

TEST_CASE("A board that is read while it is written gives whole names or none") {
    HoldBoard board;
    std::atomic<bool> done{false};
    std::atomic<bool> started{false};
    long wrong = 0;
    long reads = 0;
    std::thread reader([&] {
        HoldBoard::Hold hold;
        while (!done.load()) {
            started.store(true);
            const std::uint64_t epoch = board.epoch();
            if (epoch == 0 || !board.read(epoch, hold)) continue;
            ++reads;
            // Each name is its length, as a character, so many times.
            const std::string_view name = hold.label();
            for (const char c : name) wrong += c == static_cast<char>(' ' + name.size()) ? 0 : 1;
        }
    });
    while (!started.load()) std::this_thread::yield();
    for (int i = 0; i < 20'000; ++i) {
        const auto size = static_cast<std::size_t>(i * 37 % 65);
        // Freed at once: what the reader sees is a copy.
        const auto name = std::make_unique<std::string>(size, static_cast<char>(' ' + size));
        board.enter(*name);
        if (i % 3 == 0) board.leave();
    }
    done.store(true);
    reader.join();
    CHECK(wrong == 0);
    CHECK(reads >= 0);
}

TEST_CASE("A watchdog over many short runs names nothing that is not there") {
    std::mutex mutex;
    std::vector<std::string> strangers;
    const auto callback = [&](const WatchdogReport& report) {
        if (report.node.starts_with("node ") || report.node == task_name) return;
        const std::lock_guard lock(mutex);
        strangers.emplace_back(report.node);
    };
    EventLoop loop;
    const Watchdog watchdog{loop, 0ns, callback};
    for (int i = 0; i < 200; ++i) {
        const auto body = []() -> Task<> { co_await grafo::yield(); };
        Node node{"node " + std::to_string(i), body};
        Node child{"node with a name of its own, " + std::to_string(i), [] {}};
        node.connect(child);
        loop.run(TreeExecutor{node}.run());
    }
    const std::lock_guard lock(mutex);
    CHECK(strangers.empty());
}
