#include <grafo/asio.hpp>
#include <grafo/grafo.hpp>

#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

Task<> endless(asio::io_context& context) {
    asio::steady_timer timer(context, 24h);
    co_await timer.async_wait(use_task);
}

// How a child that runs `fn` ends: its exit code, or the negative number of a signal.
template <class F>
int end_of_child(F&& fn) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGTERM, SIG_DFL);  // Catch2 has its own
        std::signal(SIGINT, SIG_DFL);
        try {
            fn();
        } catch (...) {
            std::_Exit(99);
        }
        std::_Exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

TEST_CASE("The first signal stops a run gracefully: what is running is cancelled, clean-up runs") {
    for (const int number : {SIGINT, SIGTERM}) {
        asio::io_context context;
        std::vector<std::string> order;
        const auto body = [&]() -> Task<> {
            try {
                std::raise(number);
                co_await endless(context);
            } catch (const Cancelled&) {
                order.push_back("cancelled");
                throw;
            }
        };
        const auto tidy = [&]() -> Task<> {
            co_await sleep_for(1ms);
            order.push_back("tidied up");
        };
        Node node{"node", body};
        Node next{"next", [&] { order.push_back("never"); }};
        Node last{"last", tidy};
        last.trigger(Trigger::all_settled);
        node.connect(next);
        node.connect(last);
        const auto root = [&]() -> Task<RunReport> {
            TreeExecutor executor{node};
            stop_on_signals(executor);
            co_return co_await executor.try_run();
        };
        const RunReport report = grafo::run(context, root());
        CHECK_FALSE(report.ok());
        CHECK(report.failed().empty());
        CHECK(order == std::vector<std::string>{"cancelled", "tidied up"});
    }
}

TEST_CASE("The second signal ends the process with 130") {
    const auto run = [](bool same) {
        asio::io_context context;
        const auto body = [&]() -> Task<> {
            try {
                std::raise(SIGTERM);
                co_await endless(context);
            } catch (const Cancelled&) {
            }
            std::raise(same ? SIGTERM : SIGINT);
            co_await endless(context);
        };
        Node node{"node", body};
        TreeExecutor executor{node};
        stop_on_signals(executor, context);
        static_cast<void>(grafo::run(context, executor.try_run()));
    };
    CHECK(end_of_child([&] { run(true); }) == 130);
    CHECK(end_of_child([&] { run(false); }) == 130);
}

TEST_CASE("The second signal ends the process while a node holds the loop, too") {
    CHECK(end_of_child([] {
              asio::io_context context;
              const auto hold = [] {
                  std::raise(SIGINT);
                  std::raise(SIGINT);
                  for (;;) pause();
              };
              Node node{"node", hold};
              TreeExecutor executor{node};
              stop_on_signals(executor, context);
              static_cast<void>(grafo::run(context, executor.try_run()));
          }) == 130);
}

TEST_CASE("When the executor and its runs are gone the signals have their default action") {
    CHECK(end_of_child([] {
              asio::io_context context;
              {
                  Node node{"node", [] {}};
                  TreeExecutor executor{node};
                  stop_on_signals(executor, context);
                  grafo::run(context, executor.run());
              }
              std::raise(SIGTERM);
          }) == -SIGTERM);
}

TEST_CASE("A run listens for signals when its executor object is gone") {
    asio::io_context context;
    const auto body = [&]() -> Task<> {
        std::raise(SIGTERM);
        co_await endless(context);
    };
    Node node{"node", body};
    const auto start = [&]() -> Task<RunReport> {
        const TreeExecutor executor{node};
        stop_on_signals(executor, context);
        return executor.try_run();
    };
    CHECK(grafo::run(context, start()).cancelled().size() == 1);
}

TEST_CASE("One signal stops all executors that listen, each of them once") {
    asio::io_context context;
    int begun = 0;
    int cleaned_up = 0;
    const auto body = [&]() -> Task<> {
        if (++begun == 2) std::raise(SIGTERM);
        try {
            co_await endless(context);
        } catch (const Cancelled&) {
            cleaned_up -= 10;
        }
        co_await sleep_for(1ms);  // a second stop would cancel this
        cleaned_up += 11;
    };
    Node first{"first", body};
    Node second{"second", body};
    const auto run = [&](const Node<void>& node) -> Task<> {
        TreeExecutor executor{node};
        stop_on_signals(executor);
        stop_on_signals(executor);  // no more than once
        static_cast<void>(co_await executor.try_run());
    };
    const auto root = [&]() -> Task<> { co_await when_all(run(first), run(second)); };
    grafo::run(context, root());
    CHECK(cleaned_up == 2);
    CHECK(first.state() == NodeState::cancelled);
    CHECK(second.state() == NodeState::cancelled);
}

TEST_CASE("A signal counts as the first for executors that listen since the last one") {
    for (int i = 0; i < 3; ++i) {
        asio::io_context context;
        const auto body = [&]() -> Task<> {
            std::raise(SIGINT);
            co_await endless(context);
        };
        Node old{"old", [] {}};
        TreeExecutor still_there{old};
        stop_on_signals(still_there, context);
        Node node{"node", body};
        for (int run = 0; run < 2; ++run) {
            TreeExecutor executor{node};
            stop_on_signals(executor, context);
            CHECK_FALSE(grafo::run(context, executor.try_run()).ok());
        }
    }
}

TEST_CASE("A context does not run on for signals, and a deadlock is told all the same") {
    asio::io_context context;
    Node node{"node", [] { return 1; }};
    const TreeExecutor executor{node};
    stop_on_signals(executor, context);
    bool told = false;
    co_spawn(context, executor.run(),
             [&](std::exception_ptr, const RunReport& report) { told = report.ok(); });
    context.run();
    CHECK(told);
    context.restart();
    const auto stuck = []() -> Task<> { co_await std::suspend_always(); };
    Node waits{"waits", stuck};
    TreeExecutor other{waits};
    stop_on_signals(other, context);
    CHECK_THROWS_WITH(grafo::run(context, other.run()), ContainsSubstring("waits"));
}

TEST_CASE("A run that a context drives is stopped by a signal") {
    asio::io_context context;
    const auto body = [&]() -> Task<> {
        std::raise(SIGTERM);
        co_await sleep_for(24h);
    };
    Node node{"node", body};
    const auto root = [&]() -> Task<RunReport> {
        TreeExecutor executor{node};
        stop_on_signals(executor);
        co_return co_await executor.try_run();
    };
    bool told = false;
    co_spawn(context, root(), [&](std::exception_ptr, const RunReport& report) {
        told = true;
        CHECK(report.cancelled().size() == 1);
    });
    context.run();
    CHECK(told);
}

TEST_CASE("Signal sets of the user's are told as well, before and after") {
    asio::io_context context;
    asio::signal_set set(context, SIGTERM);
    int heard = 0;
    const auto body = [&]() -> Task<> {
        std::raise(SIGTERM);
        co_await endless(context);
    };
    Node node{"node", body};
    {
        set.async_wait([&](const asio::error_code&, int) { ++heard; });
        TreeExecutor executor{node};
        stop_on_signals(executor, context);
        CHECK_FALSE(grafo::run(context, executor.try_run()).ok());
    }
    context.run();
    CHECK(heard == 1);
    set.async_wait([&](const asio::error_code&, int) { ++heard; });
    std::raise(SIGTERM);
    context.restart();
    context.run();
    CHECK(heard == 2);
}

TEST_CASE("The executor may outlive the context whose signals it listens for") {
    auto context = std::make_unique<asio::io_context>();
    Node node{"node", [] { return 1; }};
    std::optional<TreeExecutor> executor(std::in_place, node);
    stop_on_signals(*executor, *context);
    context = nullptr;
    grafo::run(executor->run());
    executor.reset();
    CHECK(node.output() == 1);
}

TEST_CASE("Without a context there is nobody to listen for signals") {
    Node node{"node", [] {}};
    const TreeExecutor executor{node};
    CHECK_THROWS_AS(stop_on_signals(executor), Error);
    const auto body = [&]() -> Task<> {
        stop_on_signals(executor);
        co_return;
    };
    CHECK_THROWS_WITH(grafo::run(body()), ContainsSubstring("sleeps in no io_context"));
}
