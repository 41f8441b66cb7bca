#include <array>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <grafo/curl.hpp>
#include <grafo/detail/loop_driver.hpp>
#include <grafo/grafo.hpp>

#include "../examples/common/local_server.hpp"
#include "catch.hpp"
#include "counted.hpp"

#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

using namespace std::chrono_literals;
using namespace grafo::literals;
using Catch::Matchers::ContainsSubstring;
using grafo::AsyncGenerator;
using grafo::EventLoop;
using grafo::Http;
using grafo::HttpError;
using grafo::HttpOptions;
using grafo::HttpRequest;
using grafo::HttpResponse;
using grafo::Node;
using grafo::Task;
using grafo::TreeExecutor;
using grafo_test::Counted;
using Request = LocalServer::Request;
using Response = LocalServer::Response;

namespace {

[[maybe_unused]] const int no_proxy = setenv("no_proxy", "*", 1);

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

LocalServer::Routes routes(std::string path, LocalServer::Handler handler) {
    return LocalServer::Routes{{std::move(path), std::move(handler)}};
}

Response hello(const Request&) { return Response("hello"); }

// All the server needs to say about one request.
Response echo(const Request& request) {
    std::string text = request.method + " " + request.path + "\n";
    for (const auto& [name, value] : request.queries) text += "? " + name + "=" + value + "\n";
    for (const auto& [name, value] : request.headers) text += name + ": " + value + "\n";
    return Response(text + "\n" + request.body);
}

HttpResponse fetch(const HttpRequest& request) { return grafo::run(request.send()); }

// What the request fails with.
HttpError failure(const HttpRequest& request) {
    try {
        static_cast<void>(fetch(request));
    } catch (const HttpError& error) {
        return error;
    }
    throw std::logic_error("the request did not fail");
}

// Held shut, name look-ups of libcurl's do not end.
class LookUps {
public:
    void hold(bool held) {
        {
            const std::lock_guard lock(mutex_);
            held_ = held;
        }
        changed_.notify_all();
    }
    void enter() {
        std::unique_lock lock(mutex_);
        ++begun_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return !held_; });
    }
    void wait_until_one_has_begun() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return begun_ > 0; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
    int begun_ = 0;
} look_ups;

// An https server with a certificate of its own that nobody has signed: the program of OpenSSL.
class TlsServer {
public:
    TlsServer() {
        char folder[] = "/tmp/grafo_curl_test_XXXXXX";
        if (mkdtemp(folder) == nullptr) return;
        folder_ = folder;
        const std::string files = " -keyout " + folder_ + "/key.pem -out " + certificate();
        const std::string make =
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test "
            "-addext subjectAltName=IP:127.0.0.1" +
            files + " >/dev/null 2>&1";
        if (std::system(make.c_str()) != 0) return;
        const std::string serve = "echo $$; exec openssl s_server -accept 127.0.0.1:0 -www -key " +
                                  folder_ + "/key.pem -cert " + certificate() +
                                  " </dev/null 2>/dev/null";
        output_ = popen(serve.c_str(), "r");
        if (output_ == nullptr) return;
        std::array<char, 200> line{};
        while (fgets(line.data(), static_cast<int>(line.size()), output_) != nullptr) {
            const std::string text(line.data());
            if (pid_ == 0) pid_ = std::stoi(text);
            if (!text.starts_with("ACCEPT ")) continue;
            port_ = std::stoi(text.substr(text.rfind(':') + 1));
            break;
        }
    }
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;
    ~TlsServer() {
        if (pid_ > 0) kill(pid_, SIGTERM);
        if (output_ != nullptr) pclose(output_);
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }
    bool runs() const { return port_ > 0; }
    std::string url() const { return "https://127.0.0.1:" + std::to_string(port_) + "/"; }
    std::string certificate() const { return folder_ + "/certificate.pem"; }

private:
    std::string folder_;
    std::FILE* output_ = nullptr;
    pid_t pid_ = 0;
    int port_ = 0;
};

// A port at which nobody listens.
int free_port() {
    const LocalServer server{LocalServer::Routes{}};
    return server.port();
}

void wait_until_closed(const LocalServer& server) {
    server.wait_until([](const LocalServer::Counts& counts) { return counts.open == 0; });
}

}  // namespace

// In the place of the C library's, for libcurl too.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found) {
    using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    if (node != nullptr && std::string_view(node) == "slow.test") {
        look_ups.enter();
        return EAI_NONAME;
    }
    const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getaddrinfo"));
    return next(node, service, hints, found);
}

TEST_CASE("A get gives status, headers, body and URL of the answer") {
    LocalServer server(routes("/page", [](const Request&) {
        return Response(201, "made").header("X-One", "1").header("x-two", " two ");
    }));
    Http http;
    const HttpResponse response = fetch(http.get(server.url("/page")));
    CHECK(response.status() == 201);
    CHECK(response.ok());
    CHECK(response.body() == "made");
    CHECK(response.url() == server.url("/page"));
    REQUIRE(response.header("x-one") != nullptr);
    CHECK(*response.header("x-one") == "1");
    REQUIRE(response.header("X-TWO") != nullptr);
    CHECK(*response.header("X-TWO") == "two");
    CHECK(response.header("x-three") == nullptr);
    CHECK(response.headers().size() == 3);
}

TEST_CASE("A task that awaits a request goes on on the loop's thread") {
    LocalServer server(routes("/", hello));
    const auto body = [&]() -> Task<std::string> {
        Http http;
        const std::thread::id thread = std::this_thread::get_id();
        HttpResponse response = co_await http.get(server.url());
        CHECK(std::this_thread::get_id() == thread);
        co_return std::move(response).body();
    };
    CHECK(grafo::run(body()) == "hello");
}

TEST_CASE("A loop and a client are all it takes") {
    LocalServer server(routes("/", hello));
    EventLoop loop;
    Http http;
    CHECK(loop.run(http.get(server.url()).send()).body() == "hello");
}

TEST_CASE("A query is encoded and added to what the URL has") {
    LocalServer server(routes("/find", echo));
    Http http;
    HttpRequest request = http.get(server.url("/find?a=1#part"));
    request.query("text", "a&b = 100 % + \xc3\xa9").query("empty", "").query("x=y", "z");
    const std::string seen = fetch(request).body();
    CHECK_THAT(seen, ContainsSubstring("GET /find\n"));
    CHECK_THAT(seen, ContainsSubstring("? a=1\n"));
    CHECK_THAT(seen, ContainsSubstring("? text=a&b = 100 % + \xc3\xa9\n"));
    CHECK_THAT(seen, ContainsSubstring("? empty=\n"));
    CHECK_THAT(seen, ContainsSubstring("? x=y=z\n"));
}

TEST_CASE("A request sends the client's headers, and its own in their place") {
    LocalServer server(routes("/", echo));
    Http http{HttpOptions().header("X-Client", "c").header("X-Both", "client")};
    HttpRequest request = http.get(server.url());
    request.header("x-both", "request").header("X-Empty", "").header("X-Mine", "m");
    const std::string seen = fetch(request).body();
    CHECK_THAT(seen, ContainsSubstring("x-client: c\n"));
    CHECK_THAT(seen, ContainsSubstring("x-both: request\n"));
    CHECK_THAT(seen, ContainsSubstring("x-empty: \n"));
    CHECK_THAT(seen, ContainsSubstring("x-mine: m\n"));
    CHECK_THAT(seen, ContainsSubstring("user-agent: grafo\n"));
    CHECK_THAT(seen, ContainsSubstring("accept-encoding: "));
    const std::string own =
        fetch(http.get(server.url()).header("User-Agent", "me").header("Accept", "text/x")).body();
    CHECK_THAT(own, ContainsSubstring("user-agent: me\n"));
    CHECK_THAT(own, ContainsSubstring("accept: text/x\n"));
    CHECK_THAT(own, ContainsSubstring("x-both: client\n"));
}

TEST_CASE("A header that would not be one line of its own is refused") {
    Http http;
    HttpRequest request = http.get("http://127.0.0.1/");
    CHECK_THROWS_WITH(request.header("X", "1\r\nY: 2"), ContainsSubstring("HTTP header 'X'"));
    CHECK_THROWS_AS(request.header("X\n", "1"), grafo::Error);
    CHECK_THROWS_AS(request.header("X:", "1"), grafo::Error);
    CHECK_THROWS_AS(request.header("", "1"), grafo::Error);
    CHECK_THROWS_AS(request.header("X", std::string_view("a\0b", 3)), grafo::Error);
    CHECK_THROWS_AS(request.body("", "text/plain\nX: 1"), grafo::Error);
}

TEST_CASE("A post sends its body and says of what type it is") {
    LocalServer server(routes("/", echo));
    Http http;
    const std::string body("{\"a\": \"\0\"}", 10);
    const std::string seen = fetch(http.post(server.url(), body, "application/json")).body();
    CHECK_THAT(seen, ContainsSubstring("POST /\n"));
    CHECK_THAT(seen, ContainsSubstring("content-type: application/json\n"));
    CHECK_THAT(seen, ContainsSubstring("content-length: 10\n"));
    CHECK(seen.ends_with("\n" + body));
    const std::string empty = fetch(http.post(server.url(), "", "text/plain")).body();
    CHECK_THAT(empty, ContainsSubstring("POST /\n"));
    CHECK_THAT(empty, ContainsSubstring("content-length: 0\n"));
}

TEST_CASE("A large body is sent whole and without waiting to be asked for it") {
    LocalServer server(routes("/", [](const Request& request) {
        return Response(std::to_string(request.body.size()) + request.header("expect"));
    }));
    Http http;
    const std::string body(5'000'000, 'x');
    CHECK(fetch(http.post(server.url(), body, "text/plain")).body() == "5000000");
}

TEST_CASE("A large body is received whole") {
    std::string large(20'000'000, 'x');
    large.append("end");
    LocalServer server(routes("/", [&](const Request&) { return Response(large); }));
    Http http;
    // No comparison of 20 MB that prints both when it fails.
    CHECK((fetch(http.get(server.url())).body() == large));
}

TEST_CASE("Every method can be used") {
    LocalServer server(routes("/", echo));
    Http http;
    CHECK(fetch(http.request("DELETE", server.url())).body().starts_with("DELETE /\n"));
    const std::string put = fetch(http.put(server.url(), "new", "text/plain")).body();
    CHECK(put.starts_with("PUT /\n"));
    CHECK(put.ends_with("\nnew"));
    HttpRequest patch = http.request("PATCH", server.url());
    patch.body("change", "text/plain");
    CHECK(fetch(patch).body().starts_with("PATCH /\n"));
    const HttpResponse head = fetch(http.head(server.url()));
    CHECK(head.status() == 200);
    CHECK(head.body().empty());
    REQUIRE(head.header("Content-Length") != nullptr);
    CHECK(*head.header("Content-Length") != "0");
}

TEST_CASE("A status of any kind is a response") {
    LocalServer server(routes("/*", [](const Request& request) {
        return Response(std::stoi(request.path.substr(1)), "why");
    }));
    Http http;
    for (const int status : {200, 204, 304, 400, 404, 429, 500, 503}) {
        const HttpResponse response = fetch(http.get(server.url("/" + std::to_string(status))));
        CHECK(response.status() == status);
        CHECK(response.ok() == (status < 300));
    }
}

TEST_CASE("A status that is not expected is an error that names it") {
    LocalServer server(LocalServer::Routes{});
    Http http{HttpOptions().expect_success()};
    const HttpError error = failure(http.get(server.url("/nothing")));
    CHECK(error.what() == "GET " + server.url("/nothing") + ": the server answered 404 Not Found");
    CHECK(error.url() == server.url("/nothing"));
    CHECK(error.status() == 404);
    CHECK(error.code() == CURLE_HTTP_RETURNED_ERROR);
    CHECK(fetch(http.get(server.url("/nothing")).expect_success(false)).status() == 404);
}

TEST_CASE("A redirect is followed, and the response is that of its end") {
    LocalServer server(LocalServer::Routes{
        {"/old",
         [](const Request&) {
             return Response(302, "moved").location("/new").header("X-Old", "1");
         }},
        {"/new", [](const Request&) { return Response("here").header("X-New", "1"); }}});
    Http http;
    const HttpResponse response = fetch(http.get(server.url("/old")));
    CHECK(response.status() == 200);
    CHECK(response.body() == "here");
    CHECK(response.url() == server.url("/new"));
    CHECK(response.header("X-New") != nullptr);
    CHECK(response.header("X-Old") == nullptr);

    const HttpResponse first = fetch(http.get(server.url("/old")).redirects(0));
    CHECK(first.status() == 302);
    CHECK(first.body() == "moved");
    CHECK(first.url() == server.url("/old"));
    REQUIRE(first.header("Location") != nullptr);
    CHECK(*first.header("Location") == "/new");
}

TEST_CASE("A redirect after a post asks with a get, as browsers do") {
    LocalServer server(LocalServer::Routes{
        {"/form", [](const Request&) { return Response(303).location("/done"); }},
        {"/done", echo}});
    Http http;
    const std::string seen = fetch(http.post(server.url("/form"), "a=1", "text/plain")).body();
    CHECK(seen.starts_with("GET /done\n"));
}

TEST_CASE("A redirect loop is an error") {
    LocalServer server(routes("/*", [](const Request& request) {
        return Response(302).location("/" + std::to_string(request.number));
    }));
    Http http;
    const HttpError error = failure(http.get(server.url("/0")).redirects(5));
    CHECK(error.code() == CURLE_TOO_MANY_REDIRECTS);
    CHECK_THAT(error.what(), ContainsSubstring("GET " + server.url("/0") + " (redirected to " +
                                               server.url("/5") + "): "));
    CHECK_THAT(error.what(), ContainsSubstring("(5)"));
    CHECK(server.counts().requests == 6);
    CHECK(failure(http.get(server.url("/x"))).code() == CURLE_TOO_MANY_REDIRECTS);
    CHECK(server.counts().requests == 17);  // ten by default
}

TEST_CASE("A redirect to anything but HTTP is not followed") {
    LocalServer server(
        routes("/", [](const Request&) { return Response(302).location("file:///etc/hostname"); }));
    Http http;
    const HttpError error = failure(http.get(server.url()));
    CHECK(error.code() == CURLE_UNSUPPORTED_PROTOCOL);
    CHECK(failure(http.get("file:///etc/hostname")).code() == CURLE_UNSUPPORTED_PROTOCOL);
}

TEST_CASE("A compressed body is decompressed") {
    LocalServer server(routes("/", [](const Request& request) {
        if (request.header("accept-encoding").find("gzip") == std::string::npos) {
            return Response(406);
        }
        constexpr std::string_view packed(
            "\037\213\010\000\000\000\000\000\002\003\313\110\315\311\311\327\121\110"
            "\316\317\055\050\112\055\056\116\115\121\050\317\057\312\111\001\000\010"
            "\236\064\065\027\000\000\000",
            43);
        return Response(std::string(packed)).header("Content-Encoding", "gzip");
    }));
    Http http;
    const HttpResponse response = fetch(http.get(server.url()));
    CHECK(response.status() == 200);
    CHECK(response.body() == "hello, compressed world");
}

TEST_CASE("A compressed body that is broken is an error") {
    LocalServer server(routes("/", [](const Request&) {
        return Response("no gzip").header("Content-Encoding", "gzip");
    }));
    Http http;
    CHECK(failure(http.get(server.url())).code() == CURLE_BAD_CONTENT_ENCODING);
}

TEST_CASE("A body may be as long as its limit, and no longer") {
    LocalServer server(
        routes("/", [](const Request&) { return Response(std::string(1000, 'x')); }));
    Http http;
    CHECK(fetch(http.get(server.url()).max_body(1000)).body().size() == 1000);
    const HttpError error = failure(http.get(server.url()).max_body(999));
    CHECK(error.what() ==
          "GET " + server.url() + ": the body is longer than the limit of 999 bytes");
    CHECK(error.code() == CURLE_FILESIZE_EXCEEDED);
    CHECK(error.status() == 200);
    Http strict{HttpOptions().max_body(0)};
    CHECK(failure(strict.get(server.url())).code() == CURLE_FILESIZE_EXCEEDED);
    CHECK(fetch(strict.head(server.url())).ok());
}

TEST_CASE("The limit of a body is that of its decompressed length") {
    LocalServer server(routes("/", [](const Request&) {
        constexpr std::string_view packed(
            "\037\213\010\000\000\000\000\000\002\003\355\301\061\001\000\000\000\302"
            "\240\254\353\137\302\032\036\100\001\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\257\006\207"
            "\372\342\033\240\206\001\000",
            133);  // 100,000 times the letter a
        return Response(std::string(packed)).header("Content-Encoding", "gzip");
    }));
    Http http;
    CHECK(fetch(http.get(server.url()).max_body(100'000)).body().size() == 100'000);
    CHECK(failure(http.get(server.url()).max_body(99'999)).code() == CURLE_FILESIZE_EXCEEDED);
}

TEST_CASE("A body without end meets the limit of 64 MiB, and the server notices that") {
    LocalServer server(routes("/", [](const Request&) {
        return Response().then([] { return std::string(1 << 20, 'x'); });
    }));
    Http http;
    CHECK_THAT(failure(http.get(server.url())).what(),
               ContainsSubstring("limit of 67108864 bytes"));
    wait_until_closed(server);
}

TEST_CASE("A connection that breaks is an error that says so") {
    LocalServer server(LocalServer::Routes{
        {"/body", [](const Request&) { return Response("0123456789").break_after(4); }},
        {"/chunks",
         [](const Request&) {
             return Response("0123456789").then([] { return std::string(); }).break_after(4);
         }},
        {"/none", [](const Request&) { return Response().no_answer(); }}});
    Http http;
    const HttpError body = failure(http.get(server.url("/body")));
    CHECK(body.code() == CURLE_PARTIAL_FILE);
    CHECK(body.status() == 200);
    CHECK_THAT(body.what(), ContainsSubstring("GET " + server.url("/body") + ": transfer closed"));
    CHECK(failure(http.get(server.url("/chunks"))).status() == 200);
    const HttpError none = failure(http.post(server.url("/none"), "x", "text/plain"));
    CHECK(none.code() == CURLE_GOT_NOTHING);
    CHECK(none.status() == 0);
    CHECK(none.what() == "POST " + server.url("/none") + ": Empty reply from server");
}

TEST_CASE("A refused connection is an error that names URL and cause") {
    const std::string url = "http://127.0.0.1:" + std::to_string(free_port()) + "/x";
    Http http;
    const HttpError error = failure(http.get(url));
    CHECK(error.code() == CURLE_COULDNT_CONNECT);
    CHECK(error.status() == 0);
    CHECK(error.url() == url);
    CHECK_THAT(error.what(), ContainsSubstring("GET " + url + ": "));
    CHECK_THAT(error.what(), ContainsSubstring("onnect"));
}

TEST_CASE("A host that cannot be found is an error that names it") {
    const std::string host(64, 'x');  // longer than a name may be: no server is asked
    Http http;
    const HttpError error = failure(http.get("http://" + host + "/"));
    CHECK(error.code() == CURLE_COULDNT_RESOLVE_HOST);
    CHECK_THAT(error.what(), ContainsSubstring("Could not resolve host: " + host));
}

TEST_CASE("A URL that is none is an error that names it") {
    Http http;
    for (const std::string url : {"http://", "http://a b/", "http://a:port/", ""}) {
        const HttpError error = failure(http.get(url));
        CHECK(error.code() == CURLE_URL_MALFORMAT);
        CHECK_THAT(error.what(), ContainsSubstring("GET " + url + ": "));
    }
    const std::string zero("http://127.0.0.1/\0x", 19);
    CHECK(failure(http.get(zero)).code() == CURLE_URL_MALFORMAT);
    CHECK(failure(http.get("http://").query("a", "b")).code() == CURLE_URL_MALFORMAT);
    CHECK(failure(http.get("gopher://127.0.0.1/")).code() == CURLE_UNSUPPORTED_PROTOCOL);
}

TEST_CASE("An https URL at a server that speaks plain HTTP is an error of TLS") {
    LocalServer server(routes("/", hello));
    Http http;
    const std::string url = "https" + server.url().substr(4);
    const HttpError error = failure(http.get(url));
    CHECK(error.code() == CURLE_SSL_CONNECT_ERROR);
    CHECK_THAT(error.what(), ContainsSubstring("GET " + url + ": "));
    CHECK(server.counts().requests == 0);
}

TEST_CASE("A certificate that nobody vouches for is refused, unless the request says otherwise") {
    TlsServer server;
    if (!server.runs()) {
        WARN("skipped: it takes the program openssl");
        return;
    }
    Http http;
    const HttpError error = failure(http.get(server.url()));
    CHECK(error.code() == CURLE_PEER_FAILED_VERIFICATION);
    CHECK_THAT(error.what(), ContainsSubstring("GET " + server.url() + ": "));
    CHECK_THAT(error.what(), ContainsSubstring("certificate"));
    CHECK(fetch(http.get(server.url()).ca_file(server.certificate())).ok());
    CHECK(fetch(http.get(server.url()).verify_tls(false)).ok());
    CHECK(failure(http.get(server.url())).code() == CURLE_PEER_FAILED_VERIFICATION);
    std::string other_name = server.url();  // that of the certificate is the number
    other_name.replace(other_name.find("127.0.0.1"), 9, "localhost");
    const HttpRequest to_other = http.get(other_name).ca_file(server.certificate());
    CHECK(failure(to_other).code() == CURLE_PEER_FAILED_VERIFICATION);
}

TEST_CASE("A user name and a password in a URL stay out of errors") {
    const std::string port = std::to_string(free_port());
    Http http;
    for (const std::string user : {"user:secret@", "secret@", "user:se@cret@"}) {
        const HttpError error = failure(http.get("http://" + user + "127.0.0.1:" + port + "/@x"));
        CHECK(error.url() == "http://127.0.0.1:" + port + "/@x");
        CHECK(std::string(error.what()).find("cret") == std::string::npos);
    }
    LocalServer server(routes("/", echo));
    const std::string with_user = "http://user:secret@" + server.url().substr(7);
    CHECK_THAT(fetch(http.get(with_user)).body(), ContainsSubstring("authorization: Basic "));
}

TEST_CASE("A request may have a time limit") {
    LocalServer server(routes("/", [](const Request&) { return Response().hold(); }));
    Http http;
    const HttpError error = failure(http.get(server.url()).timeout(20ms));
    CHECK(error.code() == CURLE_OPERATION_TIMEDOUT);
    CHECK_THAT(error.what(), ContainsSubstring("timed out"));
    wait_until_closed(server);
    CHECK(failure(http.get(server.url()).timeout(-1s)).code() == CURLE_OPERATION_TIMEDOUT);
    Http patient{HttpOptions().timeout(std::chrono::hours::max()).connect_timeout(1h)};
    LocalServer other(routes("/", hello));
    CHECK(fetch(patient.get(other.url())).ok());
}

TEST_CASE("Requests one after the other share a connection") {
    LocalServer server(routes("/", hello));
    Http http;
    const auto body = [&]() -> Task<> {
        for (int i = 0; i < 10; ++i) {
            const HttpResponse response = co_await http.get(server.url());
            CHECK(response.body() == "hello");
        }
    };
    grafo::run(body());
    grafo::run(body());  // also in another loop
    CHECK(server.counts().requests == 20);
    CHECK(server.counts().accepted == 1);
}

TEST_CASE("Requests at once leave all their connections to the next ones") {
    constexpr std::size_t requests = 20;
    LocalServer server(routes("/", [](const Request& request) {
        // One after the other: at the end of the last one there are no others.
        return Response("hello").delay(std::chrono::milliseconds(request.number % requests));
    }));
    Http http{HttpOptions().per_host(requests)};
    const auto body = [&]() -> Task<> {
        for (int round = 0; round < 3; ++round) {
            const std::vector<HttpRequest> all(requests, http.get(server.url()));
            const std::vector<HttpResponse> responses = co_await grafo::when_all(all);
            for (const HttpResponse& response : responses) CHECK(response.body() == "hello");
        }
    };
    grafo::run(body());
    CHECK(server.counts().requests == 3 * requests);
    CHECK(server.counts().accepted == requests);
}

TEST_CASE("A connection that the server closes is not used again") {
    LocalServer server(routes("/", [](const Request&) { return Response("hello").close(); }));
    Http http;
    for (int i = 0; i < 3; ++i) CHECK(fetch(http.get(server.url())).body() == "hello");
    CHECK(server.counts().accepted == 3);
}

TEST_CASE("No more connections are open to a host than the client is given") {
    constexpr std::size_t requests = 50;
    LocalServer* running = nullptr;
    std::size_t waiting = 0;  // the server's
    LocalServer server(routes("/", [&](const Request& request) {
        // All connections that there may be have a request to answer: let them go on.
        if (++waiting == 4 || request.number == requests) {
            waiting = 0;
            running->release();
        }
        return Response("hello").hold();
    }));
    running = &server;
    Http http{HttpOptions().per_host(4)};
    std::size_t answered = 0;
    const auto one = [&]() -> Task<> {
        const HttpResponse response = co_await http.get(server.url());
        CHECK(response.body() == "hello");
        ++answered;
    };
    const auto body = [&]() -> Task<> {
        std::vector<Task<>> tasks;
        for (std::size_t i = 0; i < requests; ++i) tasks.push_back(one());
        co_await grafo::when_all(std::move(tasks));
    };
    grafo::run(body());
    CHECK(answered == requests);
    CHECK(server.counts().accepted == 4);
    CHECK(server.counts().most_open == 4);
    CHECK_THROWS_AS(HttpOptions().per_host(0), grafo::Error);
    CHECK_THROWS_AS(HttpOptions().connections(0), grafo::Error);
}

TEST_CASE("A client has no more connections in all than it is given") {
    LocalServer first(routes("/", hello));
    LocalServer second(routes("/", hello));
    Http http{HttpOptions().connections(1)};
    const auto body = [&]() -> Task<> {
        auto both = grafo::when_all(http.get(first.url()).timeout(1h), http.get(second.url()));
        const auto [one, two] = co_await std::move(both);
        CHECK(one.ok());
        CHECK(two.ok());
    };
    grafo::run(body());
    CHECK(first.counts().accepted == 1);
    CHECK(second.counts().accepted == 1);
}

TEST_CASE("A thousand requests are under way at once on one thread") {
    constexpr std::size_t requests = 1000;
    const std::size_t before = open_descriptors();
    {
        LocalServer* running = nullptr;
        LocalServer server(routes("/*", [&](const Request& request) {
            if (request.number == requests) running->release();  // now all are there
            return Response(request.path).hold();
        }));
        running = &server;
        {
            Http http{HttpOptions().per_host(requests).connections(requests)};
            std::size_t right = 0;
            const auto one = [&](std::size_t i) -> Task<> {
                const std::string path = "/" + std::to_string(i);
                const HttpResponse response = co_await http.get(server.url(path));
                if (response.body() == path) ++right;
            };
            const auto body = [&]() -> Task<> {
                std::vector<Task<>> tasks;
                for (std::size_t i = 0; i < requests; ++i) tasks.push_back(one(i));
                co_await grafo::when_all(std::move(tasks));
            };
            grafo::run(body());
            CHECK(right == requests);
            CHECK(server.counts().most_open == requests);
        }
        wait_until_closed(server);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("A thousand requests cancelled half way leave nothing behind") {
    constexpr std::size_t requests = 1000;
    const std::size_t before = open_descriptors();
    Counted::reset();
    {
        // Half of them are answered when all are there, the others never.
        LocalServer* running = nullptr;
        LocalServer server(routes("/*", [&](const Request& request) {
            if (request.number == requests) running->release();
            const bool answered = request.number % 2 == 0;
            return answered ? Response("hello").hold()
                            : Response("begun").then([] { return std::string("x"); }, 1h);
        }));
        running = &server;
        std::size_t answered = 0;
        std::size_t cancelled = 0;
        Http http{HttpOptions().per_host(requests).connections(requests)};
        const auto one = [&](Counted) -> Task<> {
            try {
                const HttpResponse response = co_await http.get(server.url("/"));
                CHECK(response.ok());
            } catch (const grafo::Cancelled&) {
                ++cancelled;
                throw;
            }
            if (++answered == requests / 2) throw std::runtime_error("half way");
        };
        const auto body = [&]() -> Task<> {
            std::vector<Task<>> tasks;
            for (std::size_t i = 0; i < requests; ++i) tasks.push_back(one(Counted()));
            co_await grafo::when_all(std::move(tasks));
        };
        CHECK_THROWS_WITH(grafo::run(body()), "half way");
        CHECK(answered == requests / 2);
        CHECK(cancelled == requests / 2);
        CHECK(Counted::live() == 0);
        // What was aborted is closed, what ended well is kept.
        server.wait_until(
            [](const LocalServer::Counts& counts) { return counts.open == requests / 2; });
        http = Http();
        wait_until_closed(server);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("A thousand requests that wait for few connections can be cancelled") {
    LocalServer server(routes("/", [](const Request& request) {
        return request.number == 4 ? Response("hello") : Response().hold();
    }));
    Http http{HttpOptions().per_host(4)};
    std::size_t cancelled = 0;
    const auto one = [&]() -> Task<> {
        try {
            const HttpResponse response = co_await http.get(server.url("/"));
            CHECK(response.ok());
        } catch (const grafo::Cancelled&) {
            ++cancelled;
            throw;
        }
    };
    const auto body = [&]() -> Task<> {
        std::vector<Task<>> tasks;
        for (int i = 0; i < 1000; ++i) tasks.push_back(one());
        co_await grafo::when_any(std::move(tasks));
    };
    grafo::run(body());
    CHECK(cancelled == 999);
    CHECK(server.counts().accepted == 4);
}

TEST_CASE("A request that is cancelled is aborted, and those beside it are not") {
    LocalServer server(LocalServer::Routes{
        {"/held", [](const Request&) { return Response().hold(); }}, {"/", hello}});
    Http http;
    const auto body = [&]() -> Task<> {
        const auto any =
            co_await grafo::when_any(http.get(server.url("/held")), http.get(server.url("/")));
        CHECK(any.index == 1);
        const HttpResponse again = co_await http.get(server.url("/"));
        CHECK(again.body() == "hello");
    };
    grafo::run(body());
    server.wait_until([](const LocalServer::Counts& counts) { return counts.open == 1; });
}

#if LIBCURL_VERSION_NUM >= 0x075700
TEST_CASE("A name look-up that is given up does not hold up the loop") {
    look_ups.hold(true);
    EventLoop loop;
    Http http;
    std::thread stopper([&] {
        look_ups.wait_until_one_has_begun();
        loop.post([] { throw std::runtime_error("given up"); });
    });
    CHECK_THROWS_WITH(loop.run(http.get("http://slow.test/").send()), "given up");
    stopper.join();
    look_ups.hold(false);
    CHECK(failure(http.get("http://slow.test/")).code() == CURLE_COULDNT_RESOLVE_HOST);
}
#endif

TEST_CASE("A request in a context that was cancelled before is not sent") {
    LocalServer server(routes("/", hello));
    Http http;
    const auto late = [&]() -> Task<> {
        try {
            co_await grafo::sleep_for(1h);
        } catch (const grafo::Cancelled&) {
        }
        // The request for an end was received: what is awaited in order to clean up works.
        const HttpResponse response = co_await http.get(server.url());
        CHECK(response.ok());
    };
    const auto never = [&]() -> Task<> {
        const HttpResponse response = co_await http.get(server.url("/never"));
        CHECK(response.status() == 0);
    };
    const auto body = [&]() -> Task<> {
        try {
            co_await grafo::with_timeout(1ms, late());
        } catch (const grafo::TimeoutError&) {
        }
        try {
            co_await grafo::with_timeout(0ms, never());
        } catch (const grafo::TimeoutError&) {
        }
    };
    grafo::run(body());
    CHECK(server.counts().requests == 1);
}

TEST_CASE("A stream yields the body as it comes, then gives the response") {
    int piece = 0;  // the server's
    LocalServer server(routes("/", [&](const Request&) {
        return Response("first ").header("X-One", "1").then([&]() -> std::string {
            return ++piece == 1 ? "second " : piece == 2 ? "third" : "";
        });
    }));
    Http http;
    const auto body = [&]() -> Task<std::string> {
        auto pieces = http.get(server.url()).stream();
        std::string text;
        while (auto part = co_await pieces.next()) {
            CHECK_FALSE(part->empty());
            text += *part;
        }
        CHECK(pieces.result().status() == 200);
        CHECK(pieces.result().header("X-One") != nullptr);
        CHECK(pieces.result().body().empty());
        CHECK(pieces.result().url() == server.url());
        co_return text;
    };
    CHECK(grafo::run(body()) == "first second third");
    CHECK(server.counts().requests == 1);
}

TEST_CASE("A piece is read before the next one was sent") {
    LocalServer server(LocalServer::Routes{
        {"/body",
         [&](const Request&) {
             return Response("1").then(
                 [n = 1]() mutable { return ++n > 3 ? std::string() : std::to_string(n); }, 1ms);
         }},
        {"/", hello}});
    Http http;
    const auto body = [&]() -> Task<std::string> {
        std::string text;
        auto pieces = http.get(server.url("/body")).stream();
        while (auto part = co_await pieces.next()) {
            text += *part;
            const HttpResponse other = co_await http.get(server.url());
            CHECK(other.ok());
        }
        co_return text;
    };
    CHECK(grafo::run(body()) == "123");
}

TEST_CASE("A stream that is not read slows the server down, and then goes on") {
    constexpr std::size_t size = 64 << 20;
    LocalServer server(LocalServer::Routes{
        {"/large", [](const Request&) { return Response(std::string(size, 'x')); }}, {"/", hello}});
    Http http;
    const auto body = [&]() -> Task<std::size_t> {
        auto pieces = http.get(server.url("/large")).stream();
        std::size_t read = 0;
        auto first = co_await pieces.next();
        REQUIRE(first != nullptr);
        read += first->size();
        for (int i = 0; i < 200; ++i) {  // meanwhile the loop has plenty of time for it
            const HttpResponse other = co_await http.get(server.url());
            CHECK(other.ok());
        }
        CHECK(server.counts().bytes < size);  // the rest fits in no buffer of the system
        while (auto part = co_await pieces.next()) {
            CHECK(part->size() <= 2 * 64 * 1024);
            read += part->size();
        }
        co_return read;
    };
    CHECK(grafo::run(body()) == size);
}

TEST_CASE("A compressed stream pauses and goes on as well") {
    LocalServer server(routes("/", [](const Request&) {
        constexpr std::string_view packed(
            "\037\213\010\000\000\000\000\000\002\003\355\301\061\001\000\000\000\302"
            "\240\254\353\137\302\032\036\100\001\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
            "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\257\006\207"
            "\372\342\033\240\206\001\000",
            133);
        return Response(std::string(packed)).header("Content-Encoding", "gzip");
    }));
    Http http;
    const auto body = [&]() -> Task<std::size_t> {
        auto pieces = http.get(server.url()).stream();
        std::size_t read = 0;
        while (auto part = co_await pieces.next()) {
            read += part->size();
            for (int i = 0; i < 10; ++i) co_await grafo::yield();
        }
        co_return read;
    };
    CHECK(grafo::run(body()) == 100'000);
}

TEST_CASE("A stream that is dropped before its end aborts the request") {
    LocalServer server(routes("/", [](const Request&) {
        return Response("begin").then([] { return std::string(100'000, 'x'); });
    }));
    const std::size_t before = open_descriptors();
    const auto body = [&]() -> Task<> {
        Http http;
        for (int i = 0; i < 3; ++i) {
            auto pieces = http.get(server.url()).stream();
            for (int part = 0; part < i; ++part) {
                auto item = co_await pieces.next();
                CHECK(item != nullptr);
            }
        }
    };
    grafo::run(body());
    wait_until_closed(server);
    CHECK(server.counts().requests == 2);  // the one that was not read was not sent
    CHECK(open_descriptors() == before);
}

TEST_CASE("A stream whose connection breaks yields what has come, then throws") {
    LocalServer server(
        routes("/", [](const Request&) { return Response("0123456789").break_after(4); }));
    Http http;
    const auto body = [&]() -> Task<std::string> {
        std::string text;
        auto pieces = http.get(server.url()).stream();
        try {
            while (auto part = co_await pieces.next()) text += *part;
        } catch (const HttpError& error) {
            text += error.code() == CURLE_PARTIAL_FILE ? " broken" : " else";
        }
        co_return text;
    };
    CHECK(grafo::run(body()) == "0123 broken");
}

TEST_CASE("A stream with a limit, or of a status that is not expected, fails") {
    LocalServer server(LocalServer::Routes{
        {"/body", [](const Request&) { return Response(std::string(1000, 'x')); }},
        {"/busy", [](const Request&) { return Response(503, "busy"); }}});
    Http http;
    const auto read = [](AsyncGenerator<std::string, HttpResponse> pieces) -> Task<std::size_t> {
        std::size_t size = 0;
        while (auto part = co_await pieces.next()) size += part->size();
        co_return size;
    };
    CHECK(grafo::run(read(http.get(server.url("/body")).max_body(1000).stream())) == 1000);
    CHECK_THROWS_WITH(grafo::run(read(http.get(server.url("/body")).max_body(999).stream())),
                      ContainsSubstring("limit of 999 bytes"));
    CHECK(grafo::run(read(http.get(server.url("/busy")).stream())) == 4);
    CHECK_THROWS_WITH(grafo::run(read(http.get(server.url("/busy")).expect_success().stream())),
                      ContainsSubstring("503 Service Unavailable"));
}

TEST_CASE("A stream is a generator node's body, and its pieces are chunks") {
    LocalServer server(routes("/", [](const Request&) {
        return Response("1").then(
            [n = 1]() mutable { return ++n > 3 ? std::string() : std::to_string(n); });
    }));
    Http http;
    Node page{"page", [](Http client, std::string url) { return client.get(url).stream(); },
              "client"_a = http, "url"_a = server.url()};
    std::string text;
    for (const grafo::Event& event : grafo::iterate(TreeExecutor{page}.yielding())) {
        if (auto chunk = event.chunk(page)) text += chunk->output;
    }
    CHECK(text == "123");
    CHECK(page.output().status() == 200);
}

TEST_CASE("A stream is read by another node through a pipe, as far as that wants it") {
    LocalServer server(routes("/", [](const Request&) {
        return Response("begin").then([] { return std::string(100'000, 'x'); });
    }));
    Http http;
    Node page{"page", [](Http client, std::string url) { return client.get(url).stream(); },
              "client"_a = http, "url"_a = server.url()};
    const auto first_million = [](AsyncGenerator<std::string> pieces) -> Task<std::size_t> {
        std::size_t size = 0;
        while (auto piece = co_await pieces.next()) {
            size += piece->size();
            if (size > 1'000'000) break;
        }
        co_return size;
    };
    Node reader{"reader", first_million, "pieces"_a = page};
    TreeExecutor executor{page};
    const auto body = [&]() -> Task<> {
        auto events = executor.yielding();
        try {
            while (auto event = co_await events.next()) {
                if (event->completed(reader)) executor.stop();
            }
        } catch (const grafo::RunError& error) {
            CHECK(error.stopped());
        }
    };
    grafo::run(body());
    CHECK(reader.output() > 1'000'000);
    CHECK(page.state() == grafo::NodeState::cancelled);
    wait_until_closed(server);
}

TEST_CASE("A node may return a request, and what depends on it gets the response") {
    LocalServer server(routes("/", hello));
    Http http;
    Node page{"page", [](Http client, std::string url) { return client.get(std::move(url)); },
              "client"_a = http, "url"_a = server.url()};
    Node size{"size", [](const HttpResponse& response) { return response.body().size(); },
              "response"_a = page};
    grafo::run(TreeExecutor{page}.run());
    CHECK(size.output() == 5);
}

TEST_CASE("A node tries again after an HTTP error for which its policy says so") {
    LocalServer server(routes("/", [](const Request& request) {
        return request.number < 3 ? Response(503) : Response("hello");
    }));
    Http http{HttpOptions().expect_success()};
    Node page{"page", [](Http client, std::string url) { return client.get(std::move(url)); },
              "client"_a = http, "url"_a = server.url()};
    page.retry(
        grafo::RetryPolicy{5}.when([](const HttpError& error) { return error.status() == 503; }));
    grafo::run(TreeExecutor{page}.run());
    CHECK(page.output().body() == "hello");
    CHECK(server.counts().requests == 3);
}

TEST_CASE("A node that fails by an HTTP error has it as its cause") {
    const std::string url = "http://127.0.0.1:" + std::to_string(free_port()) + "/";
    Http http;
    Node page{"page", [](Http client, std::string u) { return client.get(std::move(u)); },
              "client"_a = http, "u"_a = url};
    try {
        grafo::run(TreeExecutor{page}.run());
        FAIL("the run did not fail");
    } catch (const grafo::RunError& error) {
        CHECK_THAT(error.what(), ContainsSubstring("node 'page' failed: GET " + url + ": "));
        REQUIRE(error.errors().size() == 1);
        CHECK_THROWS_AS(std::rethrow_exception(error.errors().front().cause()), HttpError);
    }
}

TEST_CASE("A node's timeout aborts its request") {
    LocalServer server(routes("/", [](const Request&) { return Response("").hold(); }));
    Http http;
    Node page{"page", [](Http client, std::string url) { return client.get(std::move(url)); },
              "client"_a = http, "url"_a = server.url()};
    page.timeout(20ms);
    CHECK_THROWS_WITH(grafo::run(TreeExecutor{page}.run()), ContainsSubstring("20 ms"));
    CHECK(page.state() == grafo::NodeState::failed);
    server.wait_until(
        [](const LocalServer::Counts& counts) { return counts.accepted == 1 && counts.open == 0; });
}

TEST_CASE("A stopped run aborts its requests") {
    LocalServer server(routes("/", [](const Request&) { return Response("").hold(); }));
    Http http;
    Node page{"page", [](Http client, std::string url) { return client.get(std::move(url)); },
              "client"_a = http, "url"_a = server.url()};
    TreeExecutor executor{page};
    std::thread stopper([&] {
        server.wait_until([](const LocalServer::Counts& counts) { return counts.held == 1; });
        executor.stop();
    });
    const grafo::RunReport report = grafo::run(executor.try_run());
    stopper.join();
    CHECK_FALSE(report.ok());
    CHECK(page.state() == grafo::NodeState::cancelled);
    wait_until_closed(server);
}

TEST_CASE("A run that is dropped aborts its requests") {
    LocalServer server(LocalServer::Routes{
        {"/held", [](const Request&) { return Response("").hold(); }}, {"/", hello}});
    const std::size_t before = open_descriptors();
    Counted::reset();
    {
        Http http;
        const auto get = [](Http client, std::string url, Counted) -> Task<std::string> {
            HttpResponse response = co_await client.get(std::move(url));
            co_return std::move(response).body();
        };
        Node slow{"slow", get, "client"_a = http, "url"_a = server.url("/held"),
                  "counted"_a = Counted()};
        Node fast{"fast", get, "client"_a = http, "url"_a = server.url("/"),
                  "counted"_a = Counted()};
        EventLoop loop;
        for (const grafo::Event& event :
             grafo::iterate(loop, TreeExecutor{"both", {slow, fast}}.yielding())) {
            if (event.completed(fast)) break;
        }
        server.wait_until([](const LocalServer::Counts& counts) { return counts.open <= 1; });
    }
    wait_until_closed(server);
    CHECK(Counted::live() == 0);
    CHECK(open_descriptors() == before);
}

TEST_CASE("An exception beside a request aborts it") {
    LocalServer server(routes("/", [](const Request&) { return Response("").hold(); }));
    Http http;
    const auto held = [&]() -> Task<> { co_await http.get(server.url()); };
    const auto fail = [&]() -> Task<> {
        co_await grafo::sleep_for(1ms);
        throw std::runtime_error("beside");
    };
    const auto body = [&]() -> Task<> { co_await grafo::when_all(held(), fail()); };
    CHECK_THROWS_WITH(grafo::run(body()), "beside");
    wait_until_closed(server);
}

TEST_CASE("A spawned task's request is aborted when the loop's task is done") {
    LocalServer server(routes("/", [](const Request&) { return Response("").hold(); }));
    Http http;
    const auto held = [&]() -> Task<> { co_await http.get(server.url()); };
    const auto body = [&]() -> Task<> {
        EventLoop::current().spawn(held());
        for (int i = 0; i < 5; ++i) co_await grafo::yield();
    };
    grafo::run(body());
    wait_until_closed(server);
}

TEST_CASE("A client may go before its requests") {
    LocalServer server(routes("/", hello));
    const std::size_t before = open_descriptors();
    const auto body = [&]() -> Task<> {
        const HttpResponse one = co_await Http().get(server.url());
        CHECK(one.ok());
        const HttpRequest kept = Http().get(server.url());
        const HttpResponse two = co_await kept;
        CHECK(two.ok());
        auto pieces = Http().get(server.url()).stream();
        auto part = co_await pieces.next();
        REQUIRE(part != nullptr);
        CHECK(*part == "hello");
    };
    grafo::run(body());
    wait_until_closed(server);
    CHECK(open_descriptors() == before);
}

TEST_CASE("A request is a value: each await sends it once more") {
    LocalServer server(routes("/", echo));
    Http http;
    const auto body = [&]() -> Task<> {
        HttpRequest request = http.post(server.url(), "data", "text/plain");
        const HttpRequest copy = request;
        request.query("changed", "yes");
        for (int i = 0; i < 2; ++i) {
            const HttpResponse first = co_await copy;
            CHECK(first.body().ends_with("\ndata"));
            CHECK(first.body().find("changed") == std::string::npos);
            const HttpResponse second = co_await request;
            CHECK(second.body().find("? changed=yes") != std::string::npos);
        }
    };
    grafo::run(body());
    CHECK(server.counts().requests == 4);
}

TEST_CASE("A virtual clock stands still while a request is under way") {
    LocalServer server(routes("/", [](const Request&) { return Response("hello").delay(20ms); }));
    EventLoop loop(grafo::virtual_time);
    Http http;
    const EventLoop::TimePoint start = loop.now();
    const auto body = [&]() -> Task<> {
        const HttpResponse response =
            co_await grafo::with_timeout(1ms, http.get(server.url()).send());
        CHECK(response.body() == "hello");
        CHECK(loop.now() == start);
        co_await grafo::sleep_for(1h);
        CHECK(loop.now() == start + 1h);
    };
    loop.run(body());
}

TEST_CASE("A stream that nobody reads does not hide a deadlock") {
    LocalServer server(routes("/", [](const Request&) {
        return Response("begin").then([] { return std::string(100'000, 'x'); });
    }));
    Http http;
    const auto body = [&]() -> Task<> {
        auto pieces = http.get(server.url()).stream();
        auto part = co_await pieces.next();
        CHECK(part != nullptr);
        co_await std::suspend_always();
    };
    CHECK_THROWS_AS(grafo::run(body()), grafo::DeadlockError);
    wait_until_closed(server);
}

TEST_CASE("A client is used in one loop at a time") {
    LocalServer server(LocalServer::Routes{
        {"/held", [](const Request&) { return Response("").hold(); }}, {"/", hello}});
    Http http;
    const auto held = [&]() -> Task<> { co_await http.get(server.url("/held")); };
    const auto events = [&]() -> AsyncGenerator<int> {
        EventLoop::current().spawn(held());
        for (int i = 0; i < 3; ++i) {
            co_await grafo::yield();
            co_yield i;
        }
    };
    EventLoop loop;
    for (const int number : grafo::iterate(loop, events())) {
        if (number == 2) {
            CHECK_THROWS_WITH(grafo::run(http.get(server.url()).send()),
                              ContainsSubstring("another"));
        }
    }
    CHECK(fetch(http.get(server.url())).ok());
}

TEST_CASE("A stream that is half read may go on in another loop, also after its own is gone") {
    constexpr std::size_t size = 10'000'000;
    LocalServer server(LocalServer::Routes{
        {"/large", [](const Request&) { return Response(std::string(size, 'x')); }}, {"/", hello}});
    Http http;
    auto pieces = http.get(server.url("/large")).stream();
    std::size_t read = 0;
    const auto begin = [&]() -> Task<> {
        auto part = co_await pieces.next();
        REQUIRE(part != nullptr);
        read += part->size();
    };
    const auto rest = [&]() -> Task<> {
        while (auto part = co_await pieces.next()) read += part->size();
    };
    grafo::run(begin());
    CHECK(fetch(http.get(server.url())).ok());
    grafo::run(begin());
    grafo::run(rest());
    CHECK(read == size);
}

TEST_CASE("A stream may outlive its loop and then be dropped") {
    LocalServer server(routes("/", [](const Request&) {
        return Response("begin").then([] { return std::string(100'000, 'x'); });
    }));
    auto pieces = Http().get(server.url()).stream();
    const auto begin = [&]() -> Task<> {
        auto part = co_await pieces.next();
        CHECK(part != nullptr);
    };
    grafo::run(begin());
    pieces = {};
    wait_until_closed(server);
}

TEST_CASE("In a loop whose reactor cannot watch descriptors a request says so") {
    class Blind : public grafo::Reactor {
    public:
        void wait(const TimePoint*) override { throw std::logic_error("nothing to wait for"); }
        void wake() noexcept override {}
    };
    LocalServer server(routes("/", hello));
    Blind reactor;
    EventLoop loop(reactor);
    Http http;
    CHECK_THROWS_WITH(loop.run(http.get(server.url()).send()), ContainsSubstring("Reactor::watch"));
    CHECK(fetch(http.get(server.url())).ok());  // elsewhere it works
}

TEST_CASE("A loop that is driven from outside may be told of its sockets between two rounds") {
    class Outside : public grafo::Reactor {
    public:
        struct Entry final : grafo::Watch {
            explicit Entry(Outside& r) : reactor(r) {}
            ~Entry() override { reactor.watcher = nullptr; }
            Outside& reactor;
        };
        void wait(const TimePoint*) override { throw std::logic_error("not asked to wait"); }
        void wake() noexcept override {}
        std::unique_ptr<grafo::Watch> watch(int d, grafo::Watcher& w) override {
            descriptor = d;
            watcher = &w;
            return std::make_unique<Entry>(*this);
        }
        int descriptor = -1;
        grafo::Watcher* watcher = nullptr;
    };
    LocalServer server(routes("/", hello));
    Http http;
    int answered = 0;
    const auto body = [&]() -> Task<> {
        for (; answered < 3; ++answered) {
            const HttpResponse response = co_await http.get(server.url());
            CHECK(response.body() == "hello");
        }
    };
    Outside reactor;
    grafo::detail::LoopDriver driver(reactor);
    driver.loop().spawn(body());
    while (answered < 3) {
        CHECK(driver.turn().error == nullptr);
        if (reactor.watcher == nullptr) continue;
        pollfd polled{reactor.descriptor, POLLIN, 0};
        REQUIRE(poll(&polled, 1, -1) == 1);
        reactor.watcher->readable();
    }
    CHECK(driver.turn().idle);
    driver.drop([] {});
}

TEST_CASE("Timers, posts and requests go on side by side") {
    LocalServer server(routes("/", [](const Request&) { return Response("hello").delay(5ms); }));
    EventLoop loop;
    Http http;
    int ticks = 0;
    bool posted = false;
    const auto tick = [&]() -> Task<> {
        for (; ticks < 5; ++ticks) co_await grafo::sleep_for(1ms);
    };
    const auto fetch_all = [&]() -> Task<> {
        for (int i = 0; i < 5; ++i) {
            const HttpResponse response = co_await http.get(server.url());
            CHECK(response.ok());
        }
    };
    const auto body = [&]() -> Task<> { co_await grafo::when_all(tick(), fetch_all()); };
    std::thread poster([&] { loop.post([&] { posted = true; }); });
    loop.run(body());
    poster.join();
    CHECK(ticks == 5);
    CHECK(posted);
}
