#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>

#include <grafo/asio.hpp>
#include <grafo/curl.hpp>
#include <grafo/grafo.hpp>

#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "../examples/common/local_server.hpp"
#include "catch.hpp"
#include "watch_by_hand.hpp"

// Descriptors that a loop has its io_context watch, as the HTTP client does: each case in a loop
// that sleeps in a context, and in one that a context drives.

using namespace std::chrono_literals;
using grafo::EventLoop;
using grafo::Http;
using grafo::HttpResponse;
using grafo::Task;
using grafo_test::Park;
using grafo_test::Signal;

namespace {

[[maybe_unused]] const int no_proxy = setenv("no_proxy", "*", 1);

enum class Loop { sleeps, driven };

const char* text(Loop which) {
    return which == Loop::sleeps ? "a loop that sleeps in a context"
                                 : "a loop that a context drives";
}

void run_in(Loop which, asio::io_context& context, Task<> task) {
    if (which == Loop::sleeps) {
        grafo::run(context, std::move(task));
        return;
    }
    std::optional<std::exception_ptr> end;
    grafo::co_spawn(context, std::move(task), [&](std::exception_ptr error) {
        end = error;
        context.stop();  // also where a watch goes on
    });
    context.restart();
    context.run();
    REQUIRE(end.has_value());
    if (*end != nullptr) std::rethrow_exception(*end);
}

Task<HttpResponse> get(Http& http, std::string url) { co_return co_await http.get(url); }
Task<> get_nothing(Http& http, std::string url) { co_await http.get(url); }
Task<> until_held(const LocalServer& server) {
    while (server.counts().held == 0) co_await grafo::yield();
}

}  // namespace

TEST_CASE("A watcher is called in a loop of Asio's for as long as its descriptor can be read") {
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        asio::io_context context;
        std::coroutine_handle<> parked;
        Signal signal([&] {
            if (signal.calls == 3) {
                signal.clear();
                parked.resume();
            }
        });
        const auto body = [&]() -> Task<> {
            signal.begin();
            signal.set();
            co_await Park(parked);
            for (int i = 0; i < 10; ++i) co_await grafo::yield();
            signal.watch.reset();
        };
        run_in(which, context, body());
        CHECK(signal.calls == 3);
    }
}

TEST_CASE("A thread that makes a watched descriptor readable wakes the context") {
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        asio::io_context context;
        std::coroutine_handle<> parked;
        Signal signal([&] {
            signal.clear();
            parked.resume();
        });
        std::thread thread;
        const auto body = [&]() -> Task<> {
            signal.begin();
            for (int i = 0; i < 3; ++i) {
                thread = std::thread([&] { signal.set(); });
                co_await Park(parked);
                thread.join();
            }
            signal.watch.reset();
        };
        run_in(which, context, body());
        CHECK(signal.calls == 3);
    }
}

TEST_CASE(
    "In a loop of Asio's a watcher may end its own watch and one that is due, and begin one") {
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        asio::io_context context;
        std::coroutine_handle<> parked;
        Signal third([&] {
            third.watch.reset();
            parked.resume();
        });
        Signal second([] {});
        Signal first([&] {
            first.watch.reset();
            second.watch.reset();
            third.begin();
            third.set();
        });
        const auto body = [&]() -> Task<> {
            first.begin();
            second.begin();
            first.set();
            second.set();
            co_await Park(parked);
            for (int i = 0; i < 3; ++i) co_await grafo::yield();
        };
        run_in(which, context, body());
        CHECK(first.calls + second.calls >= 1);
        CHECK(second.calls <= 1);  // the order of the two is the system's
        CHECK(third.calls == 1);
    }
}

TEST_CASE("A watch may outlive the loop and its context") {
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        Signal signal([] {});
        {
            asio::io_context context;
            const auto body = [&]() -> Task<> {
                signal.begin();
                co_return;
            };
            run_in(which, context, body());
        }
        CHECK(signal.watch != nullptr);
        CHECK(fcntl(signal.descriptor, F_GETFD) != -1);
        signal.watch.reset();
        CHECK(fcntl(signal.descriptor, F_GETFD) != -1);  // it is still its owner's
    }
}

TEST_CASE("A watch whose descriptor is never readable ends with its task") {
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        asio::io_context context;
        Signal signal([] {});
        const auto body = [&]() -> Task<> {
            signal.begin();
            for (int i = 0; i < 3; ++i) co_await grafo::yield();
            signal.watch.reset();
        };
        run_in(which, context, body());
        CHECK(signal.calls == 0);
    }
}

TEST_CASE("The HTTP client works in a loop of Asio's, beside Asio's own handlers") {
    LocalServer server({{"/number", [](const LocalServer::Request& request) {
                             return LocalServer::Response("number " + request.query("n"));
                         }}});
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        asio::io_context context;
        std::vector<std::string> bodies;
        int posted = 0;
        const auto body = [&]() -> Task<> {
            Http http;
            std::vector<Task<HttpResponse>> all;
            for (int i = 0; i < 50; ++i) {
                all.push_back(get(http, server.url("/number?n=" + std::to_string(i))));
                asio::post(context, [&] { ++posted; });
            }
            std::vector<HttpResponse> responses = co_await grafo::when_all(std::move(all));
            for (HttpResponse& response : responses) bodies.push_back(response.body());
        };
        run_in(which, context, body());
        REQUIRE(bodies.size() == 50);
        CHECK(bodies.back() == "number 49");
        CHECK(posted == 50);
    }
}

TEST_CASE("A request in a loop of Asio's is given up when its task is cancelled") {
    LocalServer server({{"/held", [](const LocalServer::Request&) {
                             return LocalServer::Response("never").hold();
                         }}});
    for (const Loop which : {Loop::sleeps, Loop::driven}) {
        INFO(text(which));
        asio::io_context context;
        const auto body = [&]() -> Task<> {
            Http http;
            std::vector<Task<>> race;
            race.push_back(get_nothing(http, server.url("/held")));
            race.push_back(until_held(server));
            const auto first = co_await grafo::when_any(std::move(race));
            CHECK(first.index == 1);
        };
        run_in(which, context, body());
    }
    server.wait_until([](const LocalServer::Counts& counts) { return counts.open == 0; });
}
