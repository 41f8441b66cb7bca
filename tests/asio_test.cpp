#include <grafo/asio.hpp>
#include <grafo/grafo.hpp>

#include <asio/buffer.hpp>
#include <asio/completion_condition.hpp>
#include <asio/connect.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/write.hpp>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

// Operations of Asio's awaited in tasks and nodes, and loops that sleep in an io_context. Real I/O
// over the loopback; what would be waited for in vain hangs, and ctest ends it.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using asio::ip::tcp;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;

namespace {

tcp::endpoint any_port() { return tcp::endpoint(asio::ip::address_v4::loopback(), 0); }

// Two sockets that are connected.
struct Pair {
    explicit Pair(asio::io_context& context) : here(context), there(context) {
        tcp::acceptor acceptor(context, any_port());
        here.connect(acceptor.local_endpoint());
        acceptor.accept(there);
    }
    tcp::socket here;
    tcp::socket there;
};

// An operation whose handler the test keeps, to call it when it wants to; what it was asked about
// its cancellation.
template <class Signature>
class Manual;
template <class... Args>
class Manual<void(Args...)> {
public:
    template <class Token>
    auto async_wait(Token&& token) {
        return asio::async_initiate<Token, void(Args...)>(
            [this](auto handler) {
                ++started;
                auto slot = asio::get_associated_cancellation_slot(handler);
                if (slot.is_connected()) slot.assign([this](asio::cancellation_type) { cancel(); });
                using Handler = std::decay_t<decltype(handler)>;
                handler_ = std::make_unique<HandlerOf<Handler>>(std::move(handler));
            },
            token);
    }
    [[nodiscard]] bool waiting() const noexcept { return handler_ != nullptr; }
    template <class... Given>
    void complete(Given&&... given) {
        const auto handler = std::exchange(handler_, nullptr);
        handler->call(std::forward<Given>(given)...);
    }
    void lose() { handler_ = nullptr; }

    int started = 0;
    int cancels = 0;

private:
    void cancel() { ++cancels; }

    struct HandlerBase {
        virtual ~HandlerBase() = default;
        virtual void call(Args... args) = 0;
    };
    template <class Handler>
    struct HandlerOf final : HandlerBase {
        explicit HandlerOf(Handler&& h) : handler(std::move(h)) {}
        void call(Args... args) override { std::move(handler)(std::forward<Args>(args)...); }
        Handler handler;
    };
    std::unique_ptr<HandlerBase> handler_;
};

// Calls its handler with the arguments, before starting it has returned or from the context.
template <class Signature, class... Args>
auto async_give(asio::io_context* later, Args... args) {
    return asio::async_initiate<const UseTask, Signature>(
        [later](auto handler, auto... values) {
            if (later == nullptr) {
                std::move(handler)(std::move(values)...);
            } else {
                asio::post(*later, [handler = std::move(handler),
                                    tuple = std::make_tuple(std::move(values)...)]() mutable {
                    std::apply(std::move(handler), std::move(tuple));
                });
            }
        },
        use_task, std::move(args)...);
}

// Counts how often the loop goes to sleep.
class CountingReactor : public AsioReactor {
public:
    using AsioReactor::AsioReactor;
    void wait(const TimePoint* deadline) override {
        ++sleeps;
        AsioReactor::wait(deadline);
    }
    std::size_t sleeps = 0;
};

Task<> stuck() { co_await std::suspend_always(); }

template <class Condition, class F>
Task<> call_when(Condition condition, F fn) {
    while (!condition()) co_await yield();
    co_await yield();  // what has begun is waiting by now
    fn();
}

// Runs the executor; calls `fn` in its loop once the condition holds.
template <class Condition, class F>
RunReport run_and(asio::io_context& context, const TreeExecutor& executor, Condition condition,
                  F fn) {
    const auto body = [&]() -> Task<RunReport> {
        EventLoop::current().spawn(call_when(condition, fn));
        co_return co_await executor.try_run();
    };
    return grafo::run(context, body());
}

}  // namespace

// --- results -----------------------------------------------------------------------------------

TEST_CASE("use_task makes an operation a task of what its handler is given") {
    asio::io_context context;
    asio::steady_timer timer(context);
    tcp::socket socket(context);
    tcp::acceptor acceptor(context);
    tcp::resolver resolver(context);
    asio::mutable_buffer buffer;
    STATIC_REQUIRE(std::is_same_v<decltype(timer.async_wait(use_task)), Task<>>);
    STATIC_REQUIRE(
        std::is_same_v<decltype(socket.async_read_some(buffer, use_task)), Task<std::size_t>>);
    STATIC_REQUIRE(std::is_same_v<decltype(acceptor.async_accept(use_task)), Task<tcp::socket>>);
    STATIC_REQUIRE(std::is_same_v<decltype(resolver.async_resolve("", "", use_task)),
                                  Task<tcp::resolver::results_type>>);
    STATIC_REQUIRE(std::is_same_v<decltype(async_give<void(int, std::string)>(nullptr, 0, "")),
                                  Task<std::tuple<int, std::string>>>);
    STATIC_REQUIRE(std::is_same_v<decltype(async_give<void(std::exception_ptr, const int&, char)>(
                                      nullptr, std::exception_ptr(), 0, 'c')),
                                  Task<std::tuple<int, char>>>);
}

TEST_CASE("An operation gives nothing, one value or several, at once or later") {
    asio::io_context context;
    for (asio::io_context* later : {static_cast<asio::io_context*>(nullptr), &context}) {
        const auto body = [&]() -> Task<> {
            co_await async_give<void()>(later);
            const int one = co_await async_give<void(int)>(later, 1);
            CHECK(one == 1);
            auto [number, text] = co_await async_give<void(int, std::string)>(later, 2, "two");
            CHECK(number == 2);
            CHECK(text == "two");
            co_await async_give<void(asio::error_code)>(later, asio::error_code());
            const int three =
                co_await async_give<void(asio::error_code, int)>(later, asio::error_code(), 3);
            CHECK(three == 3);
            auto [four, five] = co_await async_give<void(std::exception_ptr, int, int)>(
                later, std::exception_ptr(), 4, 5);
            CHECK(four + five == 9);
        };
        grafo::run(context, body());
    }
}

TEST_CASE("An operation gives what can only be moved, and takes it") {
    asio::io_context context;
    using Owner = std::unique_ptr<int>;
    for (asio::io_context* later : {static_cast<asio::io_context*>(nullptr), &context}) {
        const auto body = [&]() -> Task<int> {
            Owner first = std::make_unique<int>(1);
            Owner one = co_await async_give<void(asio::error_code, Owner)>(
                later, asio::error_code(), std::move(first));
            Owner second = std::make_unique<int>(2);
            auto several =
                co_await async_give<void(Owner, Owner)>(later, std::move(one), std::move(second));
            co_return *std::get<0>(several) + *std::get<1>(several);
        };
        CHECK(grafo::run(context, body()) == 3);
    }
}

TEST_CASE("The error of an operation is thrown: as system_error, or what an exception_ptr holds") {
    asio::io_context context;
    for (asio::io_context* later : {static_cast<asio::io_context*>(nullptr), &context}) {
        const auto code = [&]() -> Task<> {
            const asio::error_code error = asio::error::connection_refused;
            co_await async_give<void(asio::error_code, int)>(later, error, 0);
        };
        try {
            grafo::run(context, code());
            FAIL("nothing was thrown");
        } catch (const asio::system_error& error) {
            CHECK(error.code() == asio::error::connection_refused);
        }
        const auto exception = [&]() -> Task<> {
            const auto error = std::make_exception_ptr(std::out_of_range("range"));
            co_await async_give<void(std::exception_ptr)>(later, error);
        };
        CHECK_THROWS_AS(grafo::run(context, exception()), std::out_of_range);
    }
}

TEST_CASE("The error of an operation fails its node, which names it") {
    asio::io_context context;
    tcp::endpoint closed;
    {
        const tcp::acceptor acceptor(context, any_port());
        closed = acceptor.local_endpoint();
    }
    const auto connect = [&]() -> Task<> {
        tcp::socket socket(context);
        co_await socket.async_connect(closed, use_task);
    };
    Node node{"connect", connect};
    CHECK_THROWS_WITH(
        grafo::run(context, TreeExecutor{node}.run()),
        ContainsSubstring("node 'connect' failed") &&
            ContainsSubstring(asio::error_code(asio::error::connection_refused).message()));
}

TEST_CASE("What is thrown where an operation is started comes out of the await") {
    asio::io_context context;
    const auto body = []() -> Task<> {
        co_await asio::async_initiate<const UseTask, void(int)>(
            [](auto) { throw std::runtime_error("refused"); }, use_task);
    };
    CHECK_THROWS_WITH(grafo::run(context, body()), "refused");
    CHECK_THROWS_WITH(grafo::run(body()), "refused");
}

TEST_CASE("An operation that drops its handler is an error") {
    asio::io_context context;
    const auto body = []() -> Task<> {
        co_await asio::async_initiate<const UseTask, void(int)>([](auto) {}, use_task);
    };
    CHECK_THROWS_WITH(grafo::run(context, body()), ContainsSubstring("dropped its handler"));
}

TEST_CASE("An operation begins when its task is awaited, not before") {
    asio::io_context context;
    Manual<void()> operation;
    {
        const auto never = operation.async_wait(use_task);
    }
    CHECK(operation.started == 0);
    const auto body = [&]() -> Task<> {
        auto wait = operation.async_wait(use_task);
        co_await yield();
        CHECK(operation.started == 0);
        asio::post(context, [&] { operation.complete(); });
        co_await std::move(wait);
        CHECK(operation.started == 1);
    };
    grafo::run(context, body());
}

TEST_CASE("use_task works inside the adapters of other tokens") {
    asio::io_context context;
    Pair pair(context);
    const auto body = [&]() -> Task<> {
        char data[4] = {};
        pair.there.close();
        auto [error, size] = co_await pair.here.async_read_some(
            asio::buffer(data), asio::experimental::as_tuple(use_task));
        CHECK(error == asio::error::eof);
        CHECK(size == 0);
        asio::error_code told;
        const std::size_t none = co_await pair.here.async_read_some(
            asio::buffer(data), asio::redirect_error(use_task, told));
        CHECK(told == asio::error::eof);
        CHECK(none == 0);
    };
    grafo::run(context, body());
}

TEST_CASE("use_task may be the default token of an I/O object") {
    asio::io_context context;
    Pair pair(context);
    auto socket = UseTask::as_default_on(std::move(pair.here));
    UseTask::as_default_on_t<asio::steady_timer> timer(context);
    const auto body = [&]() -> Task<std::string> {
        timer.expires_after(0s);
        co_await timer.async_wait();
        const std::string sent = "default";
        asio::write(pair.there, asio::buffer(sent));
        std::string got(sent.size(), ' ');
        co_await asio::async_read(socket, asio::buffer(got));
        co_return got;
    };
    CHECK(grafo::run(context, body()) == "default");
}

TEST_CASE("The callable of a node may be an operation itself") {
    asio::io_context context;
    asio::steady_timer timer(context, 0s);
    const auto wait = [&] { return timer.async_wait(use_task); };
    Node node{"wait", wait};
    Node after{"after", [] { return 1; }};
    node.connect(after);
    grafo::run(context, TreeExecutor{node}.run());
    CHECK(after.output() == 1);
}

// --- an echo server and its client ---------------------------------------------------------------

TEST_CASE("An echo server and its client are nodes, for 10,000 messages") {
    constexpr int messages = 10'000;
    asio::io_context context;
    tcp::acceptor acceptor(context, any_port());
    const auto serve = [&]() -> Task<int> {
        tcp::socket socket = co_await acceptor.async_accept(use_task);
        std::string data(64, ' ');
        for (int served = 0;; ++served) {
            std::size_t size = 0;
            try {
                size = co_await socket.async_read_some(asio::buffer(data), use_task);
            } catch (const asio::system_error& error) {
                CHECK(error.code() == asio::error::eof);
                co_return served;
            }
            co_await asio::async_write(socket, asio::buffer(data, size), use_task);
        }
    };
    const auto ask = [&](tcp::endpoint server) -> AsyncGenerator<std::string, int> {
        tcp::socket socket(current_io_context());
        co_await socket.async_connect(server, use_task);
        std::string answer;
        for (int i = 0; i < messages; ++i) {
            const std::string message = "message " + std::to_string(i) + "\n";
            co_await asio::async_write(socket, asio::buffer(message), use_task);
            answer.clear();
            co_await asio::async_read_until(socket, asio::dynamic_buffer(answer), '\n', use_task);
            if (answer != message) throw std::runtime_error("another message: " + answer);
            if (i % 1000 == 0) co_yield answer;
        }
        co_return messages;
    };
    Node server{"server", serve};
    Node client{"client", ask, "server"_a = acceptor.local_endpoint()};
    int chunks = 0;
    const auto body = [&]() -> Task<> {
        TreeExecutor executor{server, client};
        auto events = executor.yielding();
        while (auto event = co_await events.next()) {
            if (auto chunk = event->chunk(client)) {
                CHECK(chunk->output == "message " + std::to_string(1000 * chunks) + "\n");
                ++chunks;
            }
        }
    };
    grafo::run(context, body());
    CHECK(client.output() == messages);
    CHECK(server.output() == messages);
    CHECK(chunks == messages / 1000);
}

TEST_CASE("Many clients of one server talk at once") {
    asio::io_context context;
    tcp::acceptor acceptor(context, any_port());
    const auto echo = [](tcp::socket socket) -> Task<> {
        char data[16];
        const std::size_t size = co_await socket.async_read_some(asio::buffer(data), use_task);
        co_await asio::async_write(socket, asio::buffer(data, size), use_task);
    };
    const auto serve = [&](int clients) -> Task<> {
        for (int i = 0; i < clients; ++i) {
            tcp::socket socket = co_await acceptor.async_accept(use_task);
            EventLoop::current().spawn(echo(std::move(socket)));
        }
        co_await stuck();
    };
    const auto ask = [&](int number) -> Task<int> {
        tcp::socket socket(context);
        co_await socket.async_connect(acceptor.local_endpoint(), use_task);
        const std::string sent = std::to_string(number);
        co_await asio::async_write(socket, asio::buffer(sent), use_task);
        std::string got(sent.size(), ' ');
        co_await asio::async_read(socket, asio::buffer(got), use_task);
        co_return std::stoi(got);
    };
    const auto body = [&]() -> Task<int> {
        constexpr int clients = 50;
        EventLoop::current().spawn(serve(clients));
        std::vector<Task<int>> asked;
        for (int i = 0; i < clients; ++i) asked.push_back(ask(i));
        int sum = 0;
        for (const int number : co_await when_all(std::move(asked))) sum += number;
        co_return sum;
    };
    CHECK(grafo::run(context, body()) == 50 * 49 / 2);
}

// --- cancellation --------------------------------------------------------------------------------

namespace {

// One operation that does not end by itself, with what it needs, and how it is made to end.
struct Endless {
    explicit Endless(asio::io_context& context) : pair(context) {}
    virtual ~Endless() = default;
    virtual Task<> wait() = 0;
    // So that `wait` ends when it is awaited again.
    virtual void release() = 0;
    Pair pair;
    bool begun = false;
};

struct EndlessTimer final : Endless {
    explicit EndlessTimer(asio::io_context& context) : Endless(context), timer(context, 24h) {}
    Task<> wait() override { return timer.async_wait(use_task); }
    void release() override { timer.expires_after(0s); }
    asio::steady_timer timer;
};
struct EndlessRead final : Endless {
    using Endless::Endless;
    Task<> wait() override { return body(pair.here); }
    static Task<> body(tcp::socket& socket) {
        std::string data(10, ' ');  // in the frame that a drop would destroy
        co_await socket.async_read_some(asio::buffer(data), use_task);
    }
    void release() override { asio::write(pair.there, asio::buffer("0123456789", 10)); }
};
struct EndlessComposedRead final : Endless {
    explicit EndlessComposedRead(asio::io_context& context) : Endless(context) {
        asio::write(pair.there, asio::buffer("01234", 5));
    }
    Task<> wait() override { return body(pair.here); }
    static Task<> body(tcp::socket& socket) {
        std::string data(10, ' ');
        co_await asio::async_read(socket, asio::buffer(data), use_task);
    }
    void release() override { asio::write(pair.there, asio::buffer("0123456789", 10)); }
};
struct EndlessReadUntil final : Endless {
    using Endless::Endless;
    Task<> wait() override { return body(pair.here); }
    static Task<> body(tcp::socket& socket) {
        std::string line;
        co_await asio::async_read_until(socket, asio::dynamic_buffer(line), '\n', use_task);
    }
    void release() override { asio::write(pair.there, asio::buffer("\n", 1)); }
};
struct EndlessWrite final : Endless {
    using Endless::Endless;
    Task<> wait() override { return body(pair.here); }
    static Task<> body(tcp::socket& socket) {
        const std::string data(1 << 24, 'x');  // more than all buffers in between
        co_await asio::async_write(socket, asio::buffer(data), use_task);
    }
    void release() override {
        reader = std::thread([this] {
            std::vector<char> data(1 << 16);
            asio::error_code error;
            while (!error) pair.there.read_some(asio::buffer(data), error);
        });
    }
    ~EndlessWrite() override {
        pair.here.close();
        if (reader.joinable()) reader.join();
    }
    std::thread reader;
};
struct EndlessAccept final : Endless {
    explicit EndlessAccept(asio::io_context& context)
        : Endless(context), acceptor(context, any_port()), client(context) {}
    Task<> wait() override { return body(acceptor); }
    static Task<> body(tcp::acceptor& acceptor) { co_await acceptor.async_accept(use_task); }
    void release() override { client.connect(acceptor.local_endpoint()); }
    tcp::acceptor acceptor;
    tcp::socket client;
};
struct EndlessReadiness final : Endless {
    using Endless::Endless;
    Task<> wait() override { return pair.here.async_wait(tcp::socket::wait_read, use_task); }
    void release() override { asio::write(pair.there, asio::buffer("x", 1)); }
};
struct EndlessDatagram final : Endless {
    explicit EndlessDatagram(asio::io_context& context)
        : Endless(context),
          socket(context, asio::ip::udp::endpoint(asio::ip::address_v4::loopback(), 0)) {}
    Task<> wait() override { return body(socket); }
    static Task<> body(asio::ip::udp::socket& socket) {
        std::string data(10, ' ');
        asio::ip::udp::endpoint from;
        co_await socket.async_receive_from(asio::buffer(data), from, use_task);
    }
    void release() override { socket.send_to(asio::buffer("x", 1), socket.local_endpoint()); }
    asio::ip::udp::socket socket;
};
struct EndlessSignal final : Endless {
    explicit EndlessSignal(asio::io_context& context) : Endless(context), set(context, SIGUSR1) {}
    Task<> wait() override { return body(set); }
    static Task<> body(asio::signal_set& set) { co_await set.async_wait(use_task); }
    void release() override { std::raise(SIGUSR1); }
    asio::signal_set set;
};

// Whether it has begun, and was cancelled, by the exception that came out.
Task<> watched(Endless& operation, Counted, int& cancelled) {
    operation.begun = true;
    try {
        co_await operation.wait();
    } catch (const Cancelled&) {
        ++cancelled;
        throw;
    }
}

}  // namespace

#define EVERY_OPERATION                                                                            \
    EndlessTimer, EndlessRead, EndlessComposedRead, EndlessReadUntil, EndlessWrite, EndlessAccept, \
        EndlessReadiness, EndlessDatagram, EndlessSignal

TEMPLATE_TEST_CASE("A stop cancels the operation of a node, and its object is usable after that",
                   "", EVERY_OPERATION) {
    Counted::reset();
    asio::io_context context;
    TestType operation(context);
    int cancelled = 0;
    const auto body = [&](Counted counted) {
        return watched(operation, std::move(counted), cancelled);
    };
    Node node{"node", body, "counted"_a = Counted(1)};
    TreeExecutor executor{node};
    const auto has_begun = [&] { return operation.begun; };
    const RunReport report = run_and(context, executor, has_begun, [&] { executor.stop(); });
    CHECK_FALSE(report.ok());
    CHECK(node.state() == NodeState::cancelled);
    CHECK(cancelled == 1);
    operation.release();
    grafo::run(context, operation.wait());
}

TEMPLATE_TEST_CASE("A timeout cancels the operation of a node, and its object is usable after that",
                   "", EVERY_OPERATION) {
    Counted::reset();
    asio::io_context context;
    TestType operation(context);
    int cancelled = 0;
    const auto body = [&](Counted counted) {
        return watched(operation, std::move(counted), cancelled);
    };
    Node node{"node", body, "counted"_a = Counted(1)};
    node.timeout(1ms);
    CHECK_THROWS_AS(grafo::run(context, TreeExecutor{node}.run()), RunError);
    CHECK(node.state() == NodeState::failed);
    CHECK_THROWS_WITH(node.output(), ContainsSubstring("timeout"));
    CHECK(cancelled == 1);
    operation.release();
    grafo::run(context, operation.wait());
}

TEMPLATE_TEST_CASE("A dropped run cancels its operation, and the frame goes when that has ended",
                   "", EVERY_OPERATION) {
    Counted::reset();
    asio::io_context context;
    TestType operation(context);
    int cancelled = 0;
    {
        const auto body = [&](Counted counted) {
            return watched(operation, std::move(counted), cancelled);
        };
        Node node{"node", body, "counted"_a = Counted(1)};
        Node first{"first", [] { return 1; }};
        const auto root = [&]() -> Task<> {
            TreeExecutor executor{node, first};
            auto events = executor.yielding();
            while (auto event = co_await events.next()) {
                if (event->completed(first)) break;
            }
            CHECK(operation.begun);
        };
        grafo::run(context, root());
    }
    CHECK(Counted::live() == 0);
    CHECK(cancelled == 0);
    operation.release();
    grafo::run(context, operation.wait());
}

TEMPLATE_TEST_CASE("The loser of when_any is cancelled, and waited for", "", EVERY_OPERATION) {
    Counted::reset();
    asio::io_context context;
    TestType operation(context);
    int cancelled = 0;
    const auto body = [&]() -> Task<> {
        asio::steady_timer timer(context, 0s);
        Task<> loser = watched(operation, Counted(1), cancelled);
        const auto first = co_await when_any(std::move(loser), timer.async_wait(use_task));
        CHECK(first.index == 1);
        CHECK(cancelled == 1);
        CHECK(Counted::live() == 0);
        bool timed_out = false;
        Task<> slow = watched(operation, Counted(2), cancelled);
        try {
            co_await with_timeout(1ms, std::move(slow));
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        CHECK(timed_out);
        CHECK(cancelled == 2);
        operation.release();
        co_await with_timeout(1h, operation.wait());
    };
    grafo::run(context, body());
}

TEST_CASE("Two operations at once on one socket are both awaited") {
    asio::io_context context;
    Pair pair(context);
    const auto body = [&]() -> Task<> {
        const std::string sent(1 << 22, 'x');
        std::string got(sent.size(), ' ');
        auto [out, in] =
            co_await when_all(asio::async_write(pair.here, asio::buffer(sent), use_task),
                              asio::async_read(pair.there, asio::buffer(got), use_task));
        CHECK(out == sent.size());
        CHECK(in == sent.size());
        CHECK(got == sent);
    };
    grafo::run(context, body());
}

TEST_CASE("The first error of two operations cancels the other") {
    asio::io_context context;
    Pair pair(context);
    Pair silent(context);
    const auto body = [&]() -> Task<> {
        char data[2];
        pair.there.close();
        co_await when_all(silent.here.async_read_some(asio::buffer(data, 1), use_task),
                          pair.here.async_read_some(asio::buffer(data + 1, 1), use_task));
    };
    CHECK_THROWS_AS(grafo::run(context, body()), asio::system_error);
}

TEST_CASE("In a clean-up after a cancellation operations work") {
    asio::io_context context;
    Pair pair(context);
    bool begun = false;
    const auto body = [&]() -> Task<> {
        char data[10];
        bool cancelled = false;
        begun = true;
        try {
            co_await pair.here.async_read_some(asio::buffer(data), use_task);
        } catch (const Cancelled&) {
            cancelled = true;
        }
        REQUIRE(cancelled);
        co_await asio::async_write(pair.here, asio::buffer("bye", 3), use_task);
        pair.here.close();
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    run_and(context, executor, [&] { return begun; }, [&] { executor.stop(); });
    std::string got(3, ' ');
    asio::read(pair.there, asio::buffer(got));
    CHECK(got == "bye");
}

TEST_CASE("A second stop cancels the operation that a clean-up waits for") {
    asio::io_context context;
    Manual<void()> first;
    Manual<void()> second;
    std::vector<std::string> order;
    const auto body = [&]() -> Task<> {
        try {
            co_await first.async_wait(use_task);
        } catch (const Cancelled&) {
            order.push_back("cancelled");
        }
        try {
            co_await second.async_wait(use_task);
        } catch (const Cancelled&) {
            order.push_back("cancelled again");
            throw;
        }
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    const auto stops = [&]() -> Task<> {
        co_await call_when([&] { return first.waiting(); }, [&] { executor.stop(); });
        co_await call_when([&] { return first.cancels == 1; }, [&] { first.complete(); });
        co_await call_when([&] { return second.waiting(); }, [&] { executor.stop(); });
        co_await call_when([&] { return second.cancels == 1; }, [&] { second.complete(); });
    };
    const auto root = [&]() -> Task<> {
        EventLoop::current().spawn(stops());
        co_await executor.try_run();
    };
    grafo::run(context, root());
    CHECK(order == std::vector<std::string>{"cancelled", "cancelled again"});
    CHECK(first.cancels == 1);
    CHECK(second.cancels == 1);
}

TEST_CASE("A second stop while the first one's operation is still out is delivered as well") {
    asio::io_context context;
    Manual<void()> first;
    Manual<void()> second;
    std::vector<std::string> order;
    const auto body = [&]() -> Task<> {
        for (Manual<void()>* operation : {&first, &second}) {
            try {
                co_await operation->async_wait(use_task);
            } catch (const Cancelled&) {
                order.push_back("cancelled");
            }
        }
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    run_and(
        context, executor, [&] { return first.waiting(); },
        [&] {
            executor.stop();
            executor.stop();
            asio::post(context, [&] { first.complete(); });
        });
    CHECK(order == std::vector<std::string>{"cancelled", "cancelled"});
    CHECK(first.cancels == 2);
    CHECK(second.started == 0);
}

TEST_CASE("An operation that cannot be cancelled is waited for; however it ends, it is Cancelled") {
    asio::io_context context;
    Manual<void(asio::error_code, int)> operation;
    bool got = false;
    std::vector<std::string> order;
    const auto body = [&]() -> Task<> {
        try {
            co_await operation.async_wait(use_task);
            got = true;
        } catch (const Cancelled&) {
            order.push_back("cancelled");
            throw;
        }
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    const int how = GENERATE(0, 1, 2);
    run_and(
        context, executor, [&] { return operation.waiting(); },
        [&] {
            executor.stop();
            asio::post(context, [&] {
                order.push_back("ended");
                if (how == 0) operation.complete(asio::error_code(), 1);
                if (how == 1) operation.complete(asio::error::eof, 1);
                if (how == 2) operation.lose();
            });
        });
    CHECK(node.state() == NodeState::cancelled);
    CHECK_FALSE(got);
    CHECK(order == std::vector<std::string>{"ended", "cancelled"});
}

TEST_CASE("What an operation gave before the cancellation came is not lost") {
    asio::io_context context;
    Manual<void(int)> operation;
    int got = 0;
    const auto body = [&]() -> Task<> {
        got = co_await operation.async_wait(use_task);
        co_await yield();
        got = -1;
    };
    Node node{"node", body};
    TreeExecutor executor{node};
    run_and(
        context, executor, [&] { return operation.waiting(); },
        [&] {
            operation.complete(1);
            executor.stop();
        });
    CHECK(node.state() == NodeState::cancelled);
    CHECK(got == 1);
    CHECK(operation.cancels == 0);
}

TEST_CASE("An operation awaited after a cancellation that nobody took does not begin") {
    asio::io_context context;
    Manual<void()> operation;
    bool cancelled = false;
    const auto body = [&]() -> Task<> {
        try {
            co_await operation.async_wait(use_task);
        } catch (const Cancelled&) {
            cancelled = true;
        }
    };
    Node node{"node", body};
    node.timeout(0s);
    static_cast<void>(grafo::run(context, TreeExecutor{node}.try_run()));
    CHECK(cancelled);
    CHECK(operation.started == 0);
}

TEST_CASE("A retried node starts its operation anew after each timeout") {
    asio::io_context context;
    Pair pair(context);
    const auto body = [&](NodeContext& attempt) -> Task<std::string> {
        if (attempt.attempt() == 3) asio::write(pair.there, asio::buffer("x", 1));
        std::string data(1, ' ');
        co_await pair.here.async_read_some(asio::buffer(data), use_task);
        co_return data;
    };
    Node node{"node", body};
    // What the third one is sent stays for another if this takes longer.
    node.timeout(1ms).retry(1000);
    grafo::run(context, TreeExecutor{node}.run());
    CHECK(node.output() == "x");
}

TEST_CASE("A loop does not return before what was dropped inside an operation has ended") {
    Counted::reset();
    asio::io_context context;
    Manual<void()> operation;
    bool ended = false;
    const auto wait = [&](Counted) -> Task<> { co_await operation.async_wait(use_task); };
    {
        Node node{"node", wait, "counted"_a = Counted(1)};
        const auto root = [&]() -> Task<> {
            auto events = TreeExecutor{node}.yielding();
            static_cast<void>(co_await events.next());
            while (!operation.waiting()) co_await yield();
        };
        const auto watch = [&]() -> Task<> {
            co_await root();
            CHECK(operation.waiting());
            asio::post(context, [&] {
                asio::post(context, [&] {
                    CHECK(Counted::live() > 0);
                    ended = true;
                    operation.complete();
                });
            });
        };
        grafo::run(context, watch());
    }
    CHECK(ended);
    CHECK(operation.cancels == 1);
    CHECK(Counted::live() == 0);
}

TEST_CASE("A dropped iteration of a run cancels its operations and waits for them") {
    Counted::reset();
    asio::io_context context;
    Pair pair(context);
    const auto read = [&](Counted) -> Task<> {
        std::string data(10, ' ');
        co_await pair.here.async_read_some(asio::buffer(data), use_task);
    };
    {
        Node node{"node", read, "counted"_a = Counted(1)};
        AsioReactor reactor(context);
        EventLoop loop(reactor);
        for (const Event& event : iterate(loop, TreeExecutor{node}.yielding())) {
            if (event.kind() == EventKind::started) break;
        }
    }
    CHECK(Counted::live() == 0);
    CHECK(pair.here.is_open());
}

// --- other contexts and threads ------------------------------------------------------------------

TEST_CASE("Operations of a pool's are awaited and cancelled in any loop") {
    std::atomic<int> called = 0;
    asio::thread_pool pool(2);
    asio::io_context context;
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 100; ++i) {
            asio::steady_timer soon(pool, 0s);
            co_await soon.async_wait(use_task);
            ++called;
        }
        for (int i = 0; i < 100; ++i) {
            asio::steady_timer late(pool, 24h);
            asio::steady_timer soon(pool, 0s);
            const auto first =
                co_await when_any(late.async_wait(use_task), soon.async_wait(use_task));
            CHECK(first.index == 1);
        }
    };
    grafo::run(body());
    grafo::run(context, body());
    CHECK(called == 200);
}

TEST_CASE(
    "A composed operation on another thread's strand is cancelled there, and can be dropped") {
    Counted::reset();
    asio::io_context theirs;
    auto work = asio::make_work_guard(theirs);
    std::thread thread([&] { theirs.run(); });
    {
        Pair pair(theirs);
        const auto read = [&](Counted) -> Task<> {
            std::string data(10, ' ');
            co_await asio::async_read(pair.here, asio::buffer(data), use_task);
        };
        Node node{"read", read, "counted"_a = Counted(1)};
        node.timeout(1ms);
        CHECK_THROWS_AS(grafo::run(TreeExecutor{node}.run()), RunError);
        Node dropped{"read", read, "counted"_a = Counted(2)};
        const auto root = [&]() -> Task<> {
            auto events = TreeExecutor{dropped}.yielding();
            static_cast<void>(co_await events.next());
            co_await yield();
        };
        grafo::run(root());
    }
    CHECK(Counted::live() == 0);
    work.reset();
    thread.join();
}

TEST_CASE("A context that is destroyed by another thread under an operation makes it an error") {
    auto theirs = std::make_unique<asio::io_context>();
    auto timer = std::make_unique<asio::steady_timer>(*theirs, 24h);
    std::atomic<bool> waits = false;
    std::thread thread([&] {
        waits.wait(false);
        theirs = nullptr;
    });
    const auto body = [&]() -> Task<> {
        const auto tell = [&]() -> Task<> {
            waits = true;
            waits.notify_all();
            co_return;
        };
        auto wait = std::exchange(timer, nullptr);
        EventLoop::current().spawn(tell());
        // The timer goes to the context, since it must not outlive that.
        auto start = [wait = std::move(wait)](auto handler) mutable {
            asio::steady_timer& started = *wait;
            started.async_wait(
                [wait = std::move(wait), handler = std::move(handler)](
                    const asio::error_code& error) mutable { std::move(handler)(error); });
        };
        co_await asio::async_initiate<const UseTask, void(asio::error_code)>(std::move(start),
                                                                             use_task);
    };
    CHECK_THROWS_WITH(grafo::run(body()), ContainsSubstring("dropped its handler"));
    thread.join();
}

TEST_CASE("A post from another thread wakes a loop that sleeps in its context, once a post") {
    constexpr int posts = 50;
    asio::io_context context;
    CountingReactor reactor(context);
    EventLoop loop(reactor);
    Manual<void()> end;
    std::atomic<int> called = 0;
    const auto sleeper = []() -> Task<> { co_await sleep_for(24h); };
    const auto body = [&]() -> Task<> {
        loop.spawn(sleeper());  // a timer that is far away
        co_await end.async_wait(use_task);
    };
    std::thread thread([&] {
        for (int i = 0; i < posts; ++i) {
            loop.post([&, i] {
                ++called;
                called.notify_all();
                if (i + 1 == posts) end.complete();
            });
            called.wait(i);
        }
    });
    loop.run(body());
    thread.join();
    CHECK(called == posts);
    CHECK(reactor.sleeps <= posts + 1);
}

TEST_CASE("Posts from several threads reach a loop in a context whatever the moment") {
    constexpr int threads = 3;
    constexpr int posts = 300;
    asio::io_context context;
    AsioReactor reactor(context);
    EventLoop loop(reactor);
    Manual<void()> end;
    int called = 0;
    std::vector<std::thread> posters;
    const auto body = [&]() -> Task<> {
        for (int t = 0; t < threads; ++t) {
            posters.emplace_back([&] {
                for (int i = 0; i < posts; ++i) {
                    loop.post([&] {
                        if (++called == 2 * threads * posts) end.complete();
                    });
                    asio::post(context, [&] {
                        if (++called == 2 * threads * posts) end.complete();
                    });
                }
            });
        }
        co_await end.async_wait(use_task);
    };
    loop.run(body());
    for (std::thread& poster : posters) poster.join();
    CHECK(called == 2 * threads * posts);
}

TEST_CASE("A stop from another thread reaches a run that sleeps in its context") {
    std::atomic<bool> begun = false;
    asio::io_context context;
    Pair pair(context);
    const auto read = [&]() -> Task<> {
        begun = true;
        begun.notify_all();
        char data[1];
        co_await pair.here.async_read_some(asio::buffer(data), use_task);
    };
    Node node{"read", read};
    TreeExecutor executor{node};
    std::thread thread([&] {
        begun.wait(false);
        executor.stop();
    });
    const RunReport report = grafo::run(context, executor.try_run());
    thread.join();
    CHECK(report.cancelled().size() == 1);
}

// --- the loop and the context
// ---------------------------------------------------------------------

TEST_CASE("A loop that waits for a handler sleeps once for it") {
    asio::io_context context;
    CountingReactor reactor(context);
    EventLoop loop(reactor);
    constexpr std::size_t rounds = 20;
    const auto body = [&]() -> Task<> {
        for (std::size_t i = 0; i < rounds; ++i) {
            asio::steady_timer timer(context, 1ms);
            co_await timer.async_wait(use_task);
        }
    };
    loop.run(body());
    CHECK(reactor.sleeps <= rounds);
}

TEST_CASE("A loop that sleeps for a time of its own does so once, whatever timers it had before") {
    asio::io_context context;
    CountingReactor reactor(context);
    EventLoop loop(reactor);
    constexpr std::size_t rounds = 20;
    const auto body = [&]() -> Task<> {
        for (std::size_t i = 0; i < rounds; ++i) {
            co_await with_timeout(24h, sleep_for(1ms));  // sets the reactor's timer to and fro
        }
    };
    loop.run(body());
    CHECK(reactor.sleeps <= 2 * rounds);  // a wait may return early, but not for ever
}

TEST_CASE("Handlers of the user's are called while the loop sleeps and while it is busy") {
    asio::io_context context;
    std::vector<std::string> order;
    Manual<void()> end;
    const auto body = [&]() -> Task<> {
        EventLoop* const loop = &EventLoop::current();
        bool called = false;
        asio::post(context, [&] { called = true; });
        while (!called) co_await yield();
        order.push_back("busy");
        asio::steady_timer timer(context, 1ms);
        timer.async_wait([&](const asio::error_code&) {
            order.push_back("handler");
            CHECK(&EventLoop::current() == loop);
            end.complete();
        });
        co_await end.async_wait(use_task);
        order.push_back("woken");
    };
    grafo::run(context, body());
    CHECK(order == std::vector<std::string>{"busy", "handler", "woken"});
}

TEST_CASE("A handler that posts itself for ever does not starve the loop") {
    asio::io_context context;
    struct Again {
        asio::io_context& context;
        long& calls;
        void operator()() const {
            ++calls;
            asio::post(context, *this);
        }
    };
    long calls = 0;
    asio::post(context, Again{context, calls});
    int slept = 0;
    const auto body = [&]() -> Task<> {
        for (; slept < 3; ++slept) {
            co_await sleep_for(1ms);
            for (int i = 0; i < 10; ++i) co_await yield();
        }
    };
    grafo::run(context, body());
    CHECK(slept == 3);
    CHECK(calls > 0);
}

TEST_CASE("The loop ends with its task though the context has work, which goes on afterwards") {
    asio::io_context context;
    bool called = false;
    asio::steady_timer timer(context, 1ms);
    timer.async_wait([&](const asio::error_code& error) { called = !error; });
    const auto guard = std::make_unique<asio::executor_work_guard<asio::io_context::executor_type>>(
        context.get_executor());
    const auto body = []() -> Task<int> {
        co_await yield();
        co_return 1;
    };
    CHECK(grafo::run(context, body()) == 1);
    CHECK_FALSE(context.stopped());
    guard->reset();
    context.run();
    CHECK(called);
    context.restart();
    CHECK(grafo::run(context, body()) == 1);
}

TEST_CASE("A context whose loop has ended runs without a restart") {
    asio::io_context context;
    const auto body = []() -> Task<> { co_await sleep_for(1ms); };
    grafo::run(context, body());
    bool called = false;
    asio::post(context, [&] { called = true; });
    context.run();
    CHECK(called);
}

TEST_CASE("A loop in a context that has nothing to do reports a deadlock, naming the nodes") {
    asio::io_context context;
    Node node{"waits", stuck};
    CHECK_THROWS_WITH(grafo::run(context, TreeExecutor{node}.run()),
                      ContainsSubstring("deadlock") && ContainsSubstring("waits"));
    const auto sleeps = []() -> Task<> {
        co_await sleep_for(1ms);
        try {
            co_await with_timeout(1ms, sleep_for(24h));
        } catch (const TimeoutError&) {
        }
        co_await stuck();
    };
    CHECK_THROWS_AS(grafo::run(context, sleeps()), DeadlockError);
}

TEST_CASE("As long as the context has work there is no deadlock: a handler may end the wait") {
    asio::io_context context;
    Semaphore semaphore(1);
    std::optional<Semaphore::Guard> held = semaphore.try_acquire();
    asio::steady_timer timer(context, 1ms);
    timer.async_wait([&](const asio::error_code&) { held.reset(); });
    const auto body = [&]() -> Task<int> {
        const auto guard = co_await semaphore.acquire();
        co_return 1;
    };
    CHECK(grafo::run(context, body()) == 1);
}

TEST_CASE("What a handler throws ends the loop's run, after the task was cancelled") {
    asio::io_context context;
    Pair pair(context);
    bool cancelled = false;
    const auto body = [&]() -> Task<> {
        char data[1];
        asio::post(context, [] { throw std::runtime_error("a handler's"); });
        try {
            co_await pair.here.async_read_some(asio::buffer(data), use_task);
        } catch (const Cancelled&) {
            cancelled = true;
        }
    };
    CHECK_THROWS_WITH(grafo::run(context, body()), "a handler's");
    CHECK(cancelled);
    asio::steady_timer timer(context, 1ms);  // this time while the loop sleeps
    timer.async_wait([](const asio::error_code&) { throw std::runtime_error("a timer's"); });
    CHECK_THROWS_WITH(grafo::run(context, stuck()), "a timer's");
}

TEST_CASE("A stop of the context does not end the loop") {
    asio::io_context context;
    context.stop();
    asio::steady_timer timer(context);
    const auto body = [&]() -> Task<int> {
        for (int i = 0; i < 3; ++i) {
            timer.expires_after(1ms);
            asio::post(context, [&] { context.stop(); });
            co_await timer.async_wait(use_task);
        }
        co_return 3;
    };
    CHECK(grafo::run(context, body()) == 3);
}

TEST_CASE("In virtual time a sleep takes none, and the clock stands still while I/O is out") {
    asio::io_context context;
    AsioReactor reactor(context);
    EventLoop loop(virtual_time, reactor);
    std::vector<EventLoop::TimePoint> times;
    const auto sleeper = [&]() -> Task<> {
        co_await sleep_for(1h);
        times.push_back(loop.now());
    };
    const auto io = [&]() -> Task<> {
        for (int i = 0; i < 10; ++i) {
            asio::steady_timer timer(context, 1ms);
            co_await timer.async_wait(use_task);
        }
        times.push_back(loop.now());
    };
    const auto body = [&]() -> Task<> { co_await when_all(sleeper(), io()); };
    loop.run(body());
    CHECK(times == std::vector{EventLoop::TimePoint(), EventLoop::TimePoint(1h)});
}

TEST_CASE("current_io_context is that of the loop, if it has one") {
    asio::io_context context;
    const auto has = [&]() -> Task<bool> { co_return &current_io_context() == &context; };
    CHECK(grafo::run(context, has()));
    CHECK_THROWS_WITH(grafo::run(has()), ContainsSubstring("sleeps in no io_context"));
    CHECK_THROWS_AS(current_io_context(), Error);
}

TEST_CASE("A loop in a context works on after an error") {
    asio::io_context context;
    AsioReactor reactor(context);
    EventLoop loop(reactor);
    const auto fail = [&]() -> Task<> {
        asio::steady_timer timer(context, 0s);
        co_await timer.async_wait(use_task);
        throw std::runtime_error("failed");
    };
    const auto works = [&]() -> Task<int> {
        asio::steady_timer timer(context, 0s);
        co_await timer.async_wait(use_task);
        co_return 2;
    };
    CHECK_THROWS_WITH(loop.run(fail()), "failed");
    CHECK(loop.run(works()) == 2);
}

TEST_CASE("Loops sleep in one context one after the other") {
    asio::io_context context;
    Pair pair(context);
    const auto send = [&]() -> Task<> {
        co_await asio::async_write(pair.there, asio::buffer("x", 1), use_task);
    };
    const auto receive = [&]() -> Task<char> {
        char data[1];
        co_await asio::async_read(pair.here, asio::buffer(data), use_task);
        co_return data[0];
    };
    for (int i = 0; i < 3; ++i) {
        grafo::run(context, send());
        CHECK(grafo::run(context, receive()) == 'x');
    }
}
