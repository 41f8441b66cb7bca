#pragma once
#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <grafo/async_generator.hpp>
#include <grafo/detail/curl_multi.hpp>
#include <grafo/detail/curl_transfer.hpp>
#include <grafo/errors.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

/// \file
/// HTTP(S) for nodes and tasks, by libcurl, on the loop's own thread. For Linux; link with libcurl
/// 7.85 or later (`CURL::libcurl`).

namespace grafo {

namespace detail {

// The settings that clients and requests have in common. Each gives the object back, a temporary by
// value.
template <class Self>
class HttpSettable {
public:
    /// Sends a header, in the place of one of that name that was set before or that libcurl would
    /// send. Throws `Error` for a name or a value that would not be one line of its own.
    Self& header(std::string_view name, std::string_view value) & {
        constexpr std::string_view breaks("\r\n\0", 3);
        if (name.empty() || name.find_first_of(breaks) != std::string_view::npos ||
            name.find(':') != std::string_view::npos ||
            value.find_first_of(breaks) != std::string_view::npos) {
            throw Error("the HTTP header '" + std::string(name) +
                        "' is refused: a name needs a character or more and no colon, and neither "
                        "name nor value has line breaks or zeros");
        }
        std::string key(name);
        std::erase_if(settings_.headers, [&](const auto& header) {
            return curl_strequal(header.first.c_str(), key.c_str()) != 0;
        });
        settings_.headers.emplace_back(std::move(key), value);
        return self();
    }
    Self header(std::string_view name, std::string_view value) && {
        return std::move(header(name, value));
    }
    /// A request that takes longer, from its start to the end of its body, fails with `HttpError`.
    /// Real time, rounded up to milliseconds, also under a virtual clock; none is set by default.
    template <class Rep, class Period>
    Self& timeout(std::chrono::duration<Rep, Period> d) & {
        settings_.timeout_ms = milliseconds(d);
        return self();
    }
    template <class Rep, class Period>
    Self timeout(std::chrono::duration<Rep, Period> d) && {
        return std::move(timeout(d));
    }
    /// The same for the time until a connection is there, name look-up included; 5 minutes by
    /// default.
    template <class Rep, class Period>
    Self& connect_timeout(std::chrono::duration<Rep, Period> d) & {
        settings_.connect_timeout_ms = milliseconds(d);
        return self();
    }
    template <class Rep, class Period>
    Self connect_timeout(std::chrono::duration<Rep, Period> d) && {
        return std::move(connect_timeout(d));
    }
    /// A body of more bytes, decompressed, fails with `HttpError`. By default 64 MiB, without limit
    /// for a stream.
    Self& max_body(std::size_t bytes) & {
        settings_.max_body = bytes;
        return self();
    }
    Self max_body(std::size_t bytes) && { return std::move(max_body(bytes)); }
    /// Follows up to `n` redirects, 10 by default, and fails with `HttpError` at the next; with 0
    /// the redirect is the response.
    Self& redirects(unsigned n) & {
        settings_.redirects = static_cast<long>(std::min(n, unsigned(INT_MAX)));
        return self();
    }
    Self redirects(unsigned n) && { return std::move(redirects(n)); }
    /// A status other than 200 to 299 fails with `HttpError`, rather than being a response.
    Self& expect_success(bool expect = true) & {
        settings_.expect_success = expect;
        return self();
    }
    Self expect_success(bool expect = true) && { return std::move(expect_success(expect)); }
    /// Whether an `https` server has to prove who it is, as by default; without that anybody on the
    /// way can read and change all that is sent.
    Self& verify_tls(bool verify) & {
        settings_.verify_tls = verify;
        return self();
    }
    Self verify_tls(bool verify) && { return std::move(verify_tls(verify)); }
    /// A file of certificates in PEM format to trust in the place of the system's.
    Self& ca_file(std::string path) & {
        settings_.ca_file = std::move(path);
        return self();
    }
    Self ca_file(std::string path) && { return std::move(ca_file(std::move(path))); }

protected:
    explicit HttpSettable(const HttpSettings& settings) : settings_(settings) {}
    HttpSettable(const HttpSettable&) = default;
    HttpSettable(HttpSettable&&) = default;
    HttpSettable& operator=(const HttpSettable&) = default;
    HttpSettable& operator=(HttpSettable&&) = default;
    ~HttpSettable() = default;

    HttpSettings settings_;

private:
    Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class Rep, class Period>
    static long milliseconds(std::chrono::duration<Rep, Period> d) noexcept {
        const auto count = std::chrono::ceil<std::chrono::milliseconds>(to_nanoseconds(d)).count();
        return static_cast<long>(std::clamp<decltype(count)>(count, 1, INT_MAX));
    }
};

}  // namespace detail

/// What an `Http` does with all its requests: `Http http{HttpOptions().timeout(30s)};`.
class HttpOptions : public detail::HttpSettable<HttpOptions> {
public:
    /// The defaults.
    HttpOptions() : HttpSettable(detail::HttpSettings()) {}

    /// At most `n` connections at once to one host (name and port), 8 by default: further requests
    /// wait for one of them, first come first served. Throws `Error` for 0.
    HttpOptions& per_host(std::size_t n) & {
        per_host_ = checked(n, "per_host");
        return *this;
    }
    HttpOptions per_host(std::size_t n) && { return std::move(per_host(n)); }
    /// At most `n` connections at once to all hosts, 256 by default. Throws `Error` for 0.
    HttpOptions& connections(std::size_t n) & {
        connections_ = checked(n, "connections");
        return *this;
    }
    HttpOptions connections(std::size_t n) && { return std::move(connections(n)); }

private:
    friend class Http;

    static std::size_t checked(std::size_t n, const char* what) {
        if (n == 0) {
            throw Error(std::string("HttpOptions::") + what + " needs 1 connection or more, not 0");
        }
        return n;
    }

    std::size_t per_host_ = 8;
    std::size_t connections_ = 256;
};

/// A request of an `Http`: awaited, it is sent and gives its `HttpResponse`. A value that may be
/// kept, copied and awaited several times; each time is a request of its own. Nothing is sent
/// before. Settings change this request and give it back, a temporary by value. Holds the client.
///
/// Throws `HttpError` when there is no answer (the host cannot be found or refuses the connection,
/// the certificate is not trusted, the connection breaks, a limit is passed), and `Cancelled` when
/// its context is cancelled. An answer of any status is a response, but for `expect_success`.
/// A request that is cancelled, timed out or dropped is aborted at once, and its connection closed.
class [[nodiscard("an HttpRequest does nothing until it is awaited")]] HttpRequest
    : public detail::HttpSettable<HttpRequest> {
public:
    /// Adds `name=value` to the URL, both encoded.
    HttpRequest& query(std::string name, std::string value) & {
        query_.emplace_back(std::move(name), std::move(value));
        return *this;
    }
    HttpRequest query(std::string name, std::string value) && {
        return std::move(query(std::move(name), std::move(value)));
    }
    /// Sends `data`, and says of what type it is. Copies of the request share it.
    HttpRequest& body(std::string data, std::string_view content_type) & {
        header("Content-Type", content_type);
        body_ = std::make_shared<const std::string>(std::move(data));
        return *this;
    }
    HttpRequest body(std::string data, std::string_view content_type) && {
        return std::move(body(std::move(data), content_type));
    }

    /// The request as a task.
    [[nodiscard]] Task<HttpResponse> send() const { return detail::send(multi_, call()); }
    /// Sends the request.
    Task<HttpResponse>::Awaiter operator co_await() const { return send().operator co_await(); }

    /// Sends the request at the first `next()`, and yields the body piece by piece as it comes,
    /// decompressed; the result is the response without its body. Throws from `next()` as an await
    /// does; what has come before a connection breaks is yielded first.
    /// At most about 64 KiB are read ahead: a reader that takes its time slows the server down. A
    /// generator that is destroyed before its end aborts the request.
    [[nodiscard]] AsyncGenerator<std::string, HttpResponse> stream() const {
        return detail::stream(multi_, call());
    }

    using grafo_awaitable = void;

private:
    friend class Http;

    HttpRequest(std::shared_ptr<detail::CurlMulti> multi, const detail::HttpSettings& settings,
                std::string method, std::string url)
        : HttpSettable(settings),
          multi_(std::move(multi)),
          method_(std::move(method)),
          url_(std::move(url)) {}

    detail::HttpCall call() const {
        if (multi_ == nullptr) throw Error("an HttpRequest was used that was moved from");
        detail::HttpCall call(settings_, method_, url_);
        call.query = query_;
        call.body = body_;
        return call;
    }

    std::shared_ptr<detail::CurlMulti> multi_;
    std::string method_;
    std::string url_;
    detail::HttpPairs query_;
    std::shared_ptr<const std::string> body_;
};

/// An HTTP and HTTPS client: `HttpResponse page = co_await http.get(url);`. All its requests share
/// their connections, which are kept for the next ones, and go on at once on the loop's thread, in
/// which the loop sleeps until one of them has something to do.
/// A cheap handle: copies mean the same client, which lives while a handle, a request or a stream
/// does. Belongs to one thread, and to one loop of it at a time. A loop that was given a `Reactor`
/// needs one that watches descriptors (`Reactor::watch`). Proxies are taken from the environment
/// (`http_proxy`, `https_proxy`, `no_proxy`); only names are looked up on a thread of libcurl's.
class Http {
public:
    /// A client with the default options.
    Http() : Http(HttpOptions()) {}
    /// Throws `Error` or `std::system_error` if libcurl or the system cannot provide one. Two
    /// descriptors, beside those of the connections.
    explicit Http(const HttpOptions& options)
        : state_(std::make_shared<State>(options.settings_, options.per_host_,
                                         options.connections_)) {}

    /// A GET request: asks for what is at a URL.
    HttpRequest get(std::string url) const { return request("GET", std::move(url)); }
    /// A HEAD request: the same without the body.
    HttpRequest head(std::string url) const { return request("HEAD", std::move(url)); }
    /// A POST request with a body of that type, "application/json" for example.
    HttpRequest post(std::string url, std::string body, std::string_view content_type) const {
        HttpRequest post = request("POST", std::move(url));
        post.body(std::move(body), content_type);
        return post;
    }
    /// A PUT request, as `post`.
    HttpRequest put(std::string url, std::string body, std::string_view content_type) const {
        HttpRequest put = request("PUT", std::move(url));
        put.body(std::move(body), content_type);
        return put;
    }
    /// A request of any method, "DELETE" for example. One that is none of GET, HEAD and POST stays
    /// what it is in a redirect.
    HttpRequest request(std::string method, std::string url) const {
        return HttpRequest(std::shared_ptr<detail::CurlMulti>(state_, &state_->multi),
                           state_->settings, std::move(method), std::move(url));
    }

    // No moves: a handle is never empty.
    Http(const Http&) noexcept = default;
    Http& operator=(const Http&) noexcept = default;
    ~Http() = default;

private:
    struct State {
        State(const detail::HttpSettings& s, std::size_t per_host, std::size_t connections)
            : settings(s), multi(per_host, connections) {}
        detail::HttpSettings settings;
        detail::CurlMulti multi;
    };

    std::shared_ptr<State> state_;
};

}  // namespace grafo
