#pragma once
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <grafo/async_generator.hpp>
#include <grafo/detail/context.hpp>
#include <grafo/detail/curl_multi.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>

/// \file
/// HTTP(S) for nodes and tasks, by libcurl, on the loop's own thread. For Linux; link with libcurl
/// 7.85 or later (`CURL::libcurl`).

namespace grafo {

namespace detail {
class Transfer;
}

/// A request that got no answer, or one that was not wanted: the message names method, URL and
/// cause.
class HttpError : public Error {
public:
    /// The URL that was asked for, without user name and password.
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// The status that the server answered with; 0 if there was no answer.
    [[nodiscard]] int status() const noexcept { return status_; }
    /// libcurl's number of the cause, such as `CURLE_COULDNT_CONNECT`: `CURLE_HTTP_RETURNED_ERROR`
    /// for a status that was not expected, `CURLE_FILESIZE_EXCEEDED` for a body that is too long.
    [[nodiscard]] CURLcode code() const noexcept { return code_; }

    // Made by the library.
    HttpError(const std::string& what, std::string url, int status, CURLcode code)
        : Error(what), url_(std::move(url)), status_(status), code_(code) {}

private:
    std::string url_;
    int status_;
    CURLcode code_;
};

/// What a server answered. A value: copies are independent.
class HttpResponse {
public:
    /// A name and a value, without the white space around them.
    using Header = std::pair<std::string, std::string>;

    /// Status 0, and nothing else.
    HttpResponse() {}

    /// The status of the last answer, after redirects.
    [[nodiscard]] int status() const noexcept { return status_; }
    /// True for a status from 200 to 299.
    [[nodiscard]] bool ok() const noexcept { return status_ >= 200 && status_ < 300; }
    /// Where that answer came from.
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// The headers of that answer, in the order in which they came.
    [[nodiscard]] const std::vector<Header>& headers() const noexcept { return headers_; }
    /// The value of the first header of that name, in upper or lower case; `nullptr` without one.
    [[nodiscard]] const std::string* header(std::string_view name) const {
        const std::string wanted(name);
        for (const Header& header : headers_) {
            if (curl_strequal(header.first.c_str(), wanted.c_str()) != 0) return &header.second;
        }
        return nullptr;
    }
    /// The body, decompressed; empty after `HttpRequest::stream`.
    [[nodiscard]] const std::string& body() const& noexcept { return body_; }
    /// The same, moved out of a response that is not needed any more.
    [[nodiscard]] std::string body() && noexcept { return std::move(body_); }

private:
    friend class detail::Transfer;

    int status_ = 0;
    std::string url_;
    std::vector<Header> headers_;
    std::string body_;
};

namespace detail {

using HttpPairs = std::vector<std::pair<std::string, std::string>>;

// What a client gives to each of its requests, and a request may change.
struct HttpSettings {
    HttpSettings() {}

    HttpPairs headers;
    long timeout_ms = 0;          // 0: none
    long connect_timeout_ms = 0;  // 0: libcurl's 5 minutes
    std::optional<std::size_t> max_body;
    long redirects = 10;
    bool expect_success = false;
    bool verify_tls = true;
    std::string ca_file;
};

// All that a request consists of.
struct HttpCall {
    HttpCall(const HttpSettings& s, std::string m, std::string u)
        : settings(s), method(std::move(m)), url(std::move(u)) {}

    HttpSettings settings;
    std::string method;
    std::string url;
    HttpPairs query;
    std::shared_ptr<const std::string> body;  // null: none
};

class TransferWait;

// A request on its way, in the frame of the coroutine that waits for it: what destroys that frame
// aborts it.
class Transfer final : public CurlJob {
public:
    // The whole body is kept, up to a limit; of a stream what is to be read next, and no more than
    // a buffer of it: libcurl waits until that was taken.
    enum class Kind : unsigned char { whole, stream };
    static constexpr std::size_t whole_limit = std::size_t(64) << 20;
    static constexpr std::size_t stream_buffer = std::size_t(64) << 10;

    Transfer(std::shared_ptr<CurlMulti> multi, HttpCall&& call, Kind kind)
        : CurlJob(curl_easy_init()),
          multi_(std::move(multi)),
          call_(std::move(call)),
          easy_(easy()),
          kind_(kind),
          limit_(call_.settings.max_body.value_or(
              kind == Kind::whole ? whole_limit : std::numeric_limits<std::size_t>::max())) {
        if (easy() == nullptr) throw std::bad_alloc();
        prepare();
    }
    ~Transfer() { multi_->remove(*this); }

    // Until it is ready, or the coroutine gives up.
    TransferWait operator co_await() noexcept;
    using grafo_awaitable = void;

    // There is what the coroutine waits for.
    [[nodiscard]] bool ready() const noexcept {
        return ended_ || (kind_ == Kind::stream && !response_.body_.empty());
    }

    // What has come of a stream, empty at its end; libcurl may then read on.
    std::string take() {
        if (!response_.body_.empty()) check_status();
        std::string piece = std::exchange(response_.body_, {});
        if (paused_) go_on();
        return piece;
    }
    // At the end.
    HttpResponse finish() {
        if (error_ != nullptr) std::rethrow_exception(error_);
        if (too_long_) {
            fail("the body is longer than the limit of " + std::to_string(limit_) + " bytes",
                 CURLE_FILESIZE_EXCEEDED);
        }
        if (code_ != CURLE_OK) {
            fail(message_.front() != '\0' ? message_.data() : curl_easy_strerror(code_), code_);
        }
        check_status();
        response_.status_ = status();
        response_.url_ = text(CURLINFO_EFFECTIVE_URL);
        return std::move(response_);
    }

private:
    friend class TransferWait;

    struct Cleanup {
        void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
        void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
        void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
        void operator()(char* text) const noexcept { curl_free(text); }
    };
    using Text = std::unique_ptr<char, Cleanup>;

    void prepare() {
        const HttpSettings& settings = call_.settings;
        set(CURLOPT_ERRORBUFFER, message_.data());
        set(CURLOPT_URL, full_url().c_str());
        set(CURLOPT_PROTOCOLS_STR, "http,https");
        set_method();
        set_headers();
        set(CURLOPT_ACCEPT_ENCODING, "");  // all that libcurl can undo
        set(CURLOPT_FOLLOWLOCATION, settings.redirects > 0 ? 1L : 0L);
        set(CURLOPT_MAXREDIRS, settings.redirects);
        set(CURLOPT_SSL_VERIFYPEER, settings.verify_tls ? 1L : 0L);
        set(CURLOPT_SSL_VERIFYHOST, settings.verify_tls ? 2L : 0L);
        if (!settings.ca_file.empty()) set(CURLOPT_CAINFO, settings.ca_file.c_str());
        set(CURLOPT_TIMEOUT_MS, settings.timeout_ms);
        set(CURLOPT_CONNECTTIMEOUT_MS, settings.connect_timeout_ms);
        set(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
        set(CURLOPT_QUICK_EXIT, 1L);  // else a name look-up that is given up would block the loop
#endif
        set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
        set(CURLOPT_HEADERDATA, this);
        set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
        set(CURLOPT_WRITEDATA, this);
    }
    void set_method() {
        const bool has_body = call_.body != nullptr;
        if (has_body) {
            set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call_.body->size()));
            set(CURLOPT_POSTFIELDS, call_.body->data());
        }
        if (call_.method == "HEAD") {
            set(CURLOPT_NOBODY, 1L);
        } else if (call_.method != (has_body ? "POST" : "GET")) {
            set(CURLOPT_CUSTOMREQUEST, call_.method.c_str());
        }
    }
    void set_headers() {
        set(CURLOPT_USERAGENT, "grafo");
        bool expect = false;
        for (const auto& [name, value] : call_.settings.headers) {
            add_header(name + (value.empty() ? ";" : ": ") + value);
            expect = expect || curl_strequal(name.c_str(), "Expect") != 0;
        }
        // Else a body waits for a "100 Continue", a second with servers that do not send one.
        if (call_.body != nullptr && !expect) add_header("Expect:");
        set(CURLOPT_HTTPHEADER, headers_.get());
    }
    void add_header(const std::string& line) {
        curl_slist* longer = curl_slist_append(headers_.get(), line.c_str());
        if (longer == nullptr) throw std::bad_alloc();
        static_cast<void>(headers_.release());
        headers_.reset(longer);
    }
    std::string full_url() {
        if (call_.url.find('\0') != std::string::npos) malformed();
        if (call_.query.empty()) return call_.url;
        const std::unique_ptr<CURLU, Cleanup> url(curl_url());
        if (url == nullptr) throw std::bad_alloc();
        if (curl_url_set(url.get(), CURLUPART_URL, call_.url.c_str(), CURLU_GUESS_SCHEME) !=
            CURLUE_OK) {
            malformed();
        }
        for (const auto& [name, value] : call_.query) {
            const std::string pair = escaped(name) + "=" + escaped(value);
            if (curl_url_set(url.get(), CURLUPART_QUERY, pair.c_str(), CURLU_APPENDQUERY) !=
                CURLUE_OK) {
                malformed();
            }
        }
        char* whole = nullptr;
        if (curl_url_get(url.get(), CURLUPART_URL, &whole, 0) != CURLUE_OK) malformed();
        return Text(whole).get();
    }
    std::string escaped(const std::string& text) {
        if (text.empty()) return {};  // a length of 0 means another thing there
        const Text escaped(curl_easy_escape(easy(), text.data(), static_cast<int>(text.size())));
        if (escaped == nullptr) throw std::bad_alloc();
        return escaped.get();
    }
    template <class Value>
    void set(CURLoption option, Value value) {
        const CURLcode code = curl_easy_setopt(easy(), option, value);
        if (code != CURLE_OK) fail(curl_easy_strerror(code), code);
    }

    void start() {
        const CURLMcode code = multi_->add(*this);
        if (code != CURLM_OK) fail(curl_multi_strerror(code), CURLE_FAILED_INIT);
        started_ = true;
    }
    void go_on() {
        paused_ = false;
        multi_->go_on(*this);
    }
    void wait(Waiter& waiter) {
        waiter_ = &waiter;
        if (!started_) {
            start();
        } else if (paused_) {
            go_on();
        }
    }
    void wake() noexcept {
        if (!awaited() || !ready()) return;
        multi_->home().make_ready(*std::exchange(waiter_, nullptr));
    }
    void ended(CURLcode code) noexcept override {
        code_ = code;
        ended_ = true;
        paused_ = false;
        wake();
    }
    bool awaited() const noexcept override {
        return waiter_ != nullptr && waiter_->context != nullptr;
    }

    static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) noexcept {
        auto& transfer = *static_cast<Transfer*>(self);
        return transfer.guarded([&] { transfer.add_line(std::string_view(data, size)); }) ? size
                                                                                          : 0;
    }
    static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) noexcept {
        auto& transfer = *static_cast<Transfer*>(self);
        std::string& body = transfer.response_.body_;
        if (transfer.kind_ == Kind::stream && body.size() >= stream_buffer) {
            transfer.paused_ = true;
            transfer.multi_->paused(transfer);
            return CURL_WRITEFUNC_PAUSE;
        }
        if (size > transfer.limit_ - transfer.received_) {
            transfer.too_long_ = true;
            return 0;
        }
        if (!transfer.guarded([&] { body.append(data, size); })) return 0;
        transfer.received_ += size;
        transfer.wake();
        return size;
    }
    template <class F>
    bool guarded(F&& fn) noexcept {
        try {
            fn();
            return true;
        } catch (...) {
            error_ = std::current_exception();
            return false;
        }
    }
    void add_line(std::string_view line) {
        if (line.starts_with("HTTP/")) {  // of the next answer, after a redirect say
            response_.headers_.clear();
            reason_ = trimmed(line.substr(std::min(line.find(' '), line.size())));
            return;
        }
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) return;
        response_.headers_.emplace_back(trimmed(line.substr(0, colon)),
                                        trimmed(line.substr(colon + 1)));
    }
    static std::string_view trimmed(std::string_view text) noexcept {
        constexpr std::string_view space = " \t\r\n";
        const std::size_t first = text.find_first_not_of(space);
        if (first == std::string_view::npos) return {};
        return text.substr(first, text.find_last_not_of(space) - first + 1);
    }

    [[nodiscard]] int status() const noexcept {
        long status = 0;
        curl_easy_getinfo(easy(), CURLINFO_RESPONSE_CODE, &status);
        return static_cast<int>(status);
    }
    [[nodiscard]] std::string text(CURLINFO info) const {
        const char* text = nullptr;
        curl_easy_getinfo(easy(), info, &text);
        return text != nullptr ? text : "";
    }
    void check_status() {
        if (!call_.settings.expect_success) return;
        const int code = status();
        if (code < 200 || code > 299) {
            fail("the server answered " + (reason_.empty() ? std::to_string(code) : reason_),
                 CURLE_HTTP_RETURNED_ERROR);
        }
    }
    [[noreturn]] void malformed() {
        fail(curl_easy_strerror(CURLE_URL_MALFORMAT), CURLE_URL_MALFORMAT);
    }
    [[noreturn]] void fail(const std::string& cause, CURLcode code) {
        std::string url = without_user(call_.url);
        std::string what = call_.method + " " + url;
        long redirects = 0;
        curl_easy_getinfo(easy(), CURLINFO_REDIRECT_COUNT, &redirects);
        if (redirects > 0) {
            what += " (redirected to " + without_user(text(CURLINFO_EFFECTIVE_URL)) + ")";
        }
        throw HttpError(what + ": " + cause, std::move(url), status(), code);
    }
    static std::string without_user(std::string url) {
        const std::size_t scheme = url.find("://");
        const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
        const std::size_t end = std::min(url.find_first_of("/?#", begin), url.size());
        const std::size_t at = url.substr(0, end).rfind('@');
        if (at != std::string::npos && at >= begin) url.erase(begin, at + 1 - begin);
        return url;
    }

    std::shared_ptr<CurlMulti> multi_;
    HttpCall call_;
    std::unique_ptr<curl_slist, Cleanup> headers_;
    std::unique_ptr<CURL, Cleanup> easy_;
    Kind kind_;
    bool started_ = false;
    bool paused_ = false;  // until something was taken
    bool ended_ = false;
    bool too_long_ = false;
    CURLcode code_ = CURLE_OK;
    std::size_t limit_;
    std::size_t received_ = 0;
    Waiter* waiter_ = nullptr;
    std::exception_ptr error_;  // of our own, in a callback
    std::string reason_;        // "404 Not Found"
    HttpResponse response_;
    std::array<char, CURL_ERROR_SIZE> message_{};
};

class TransferWait : Waiter {
public:
    explicit TransferWait(Transfer& transfer) noexcept
        : Waiter(&TransferWait::on_ask), transfer_(transfer) {}
    ~TransferWait() {
        if (transfer_.waiter_ == this) transfer_.waiter_ = nullptr;
    }

    bool await_ready() const noexcept { return transfer_.ready(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        try {
            transfer_.wait(*this);
        } catch (...) {
            context->waiter = nullptr;
            throw;
        }
        return true;
    }
    void await_resume() const { check(); }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<TransferWait&>(waiter);
        if (ask != Ask::cancel || self.transfer_.waiter_ != &self) return false;
        self.transfer_.waiter_ = nullptr;
        self.gave_up = true;
        LoopCore::current->make_ready(self);
        return true;
    }

    Transfer& transfer_;
};

inline TransferWait Transfer::operator co_await() noexcept { return TransferWait(*this); }

inline Task<HttpResponse> send(std::shared_ptr<CurlMulti> multi, HttpCall call) {
    Transfer transfer(std::move(multi), std::move(call), Transfer::Kind::whole);
    while (!transfer.ready()) co_await transfer;
    co_return transfer.finish();
}

inline AsyncGenerator<std::string, HttpResponse> stream(std::shared_ptr<CurlMulti> multi,
                                                        HttpCall call) {
    Transfer transfer(std::move(multi), std::move(call), Transfer::Kind::stream);
    for (;;) {
        while (!transfer.ready()) co_await transfer;
        std::string piece = transfer.take();
        if (piece.empty()) break;
        co_yield piece;
    }
    co_return transfer.finish();
}

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
