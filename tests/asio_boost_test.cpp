#define GRAFO_USE_BOOST_ASIO
#include <grafo/asio.hpp>
#include <grafo/grafo.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <exception>
#include <string>
#include <utility>

#include "catch.hpp"

// That Boost's Asio is the same with a macro; built where there is one that is new enough.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
namespace net = boost::asio;
using net::ip::tcp;

namespace {

Task<std::string> exchange() {
    net::io_context& context = current_io_context();
    tcp::acceptor acceptor(context, tcp::endpoint(net::ip::address_v4::loopback(), 0));
    tcp::socket here(context);
    auto [there, nothing] = co_await when_all(
        acceptor.async_accept(use_task), here.async_connect(acceptor.local_endpoint(), use_task));
    co_await net::async_write(here, net::buffer("hello", 5), use_task);
    here.close();
    std::string data(5, ' ');
    co_await net::async_read(there, net::buffer(data), use_task);
    try {
        char more;
        co_await there.async_read_some(net::buffer(&more, 1), use_task);
    } catch (const boost::system::system_error& error) {
        if (error.code() != net::error::eof) throw;
        data += ", eof";
    }
    co_return data;
}

}  // namespace

TEST_CASE("With Boost.Asio a loop sleeps in its io_context, and awaits its operations") {
    net::io_context context;
    CHECK(grafo::run(context, exchange()) == "hello, eof");
}

TEST_CASE("With Boost.Asio a node's operation is cancelled by its timeout") {
    net::io_context context;
    const auto wait = [&]() -> Task<> {
        net::steady_timer timer(context, 24h);
        co_await timer.async_wait(use_task);
    };
    Node node{"wait", wait};
    node.timeout(1ms);
    TreeExecutor executor{node};
    stop_on_signals(executor, context);
    CHECK_THROWS_AS(grafo::run(context, executor.run()), RunError);
}

TEST_CASE("A context of Boost's drives a loop") {
    net::io_context context;
    std::string got;
    co_spawn(context, exchange(), [&](std::exception_ptr error, std::string text) {
        CHECK(error == nullptr);
        got = std::move(text);
    });
    context.run();
    CHECK(got == "hello, eof");
}
