#pragma once
#include <curl/curl.h>

#include <algorithm>
#include <array>
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
#include <grafo/http_response.hpp>
#include <grafo/task.hpp>

// One request of the client of curl.hpp: its settings, its transfer, and the wait for it.
namespace grafo::detail {

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

}  // namespace grafo::detail
