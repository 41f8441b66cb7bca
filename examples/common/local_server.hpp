#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

/// A small HTTP/1.1 server for examples and tests, in the same process: on 127.0.0.1, at a port
/// that is free, with one thread of its own for all connections.
///
///     LocalServer server({{"/hello", [](const LocalServer::Request& request) {
///                             return LocalServer::Response("hello " + request.query("name"));
///                         }}});
///     co_await http.get(server.url("/hello")).query("name", "you");
///
/// Handlers are called on the server's thread, one at a time: what they share with another thread
/// must be declared before the server and be safe to share. They must not throw nor block.
class LocalServer {
public:
    using Pairs = std::map<std::string, std::string>;

    /// What a client asked for.
    struct Request {
        std::string method;
        std::string path;  // without the query
        Pairs queries;     // decoded
        Pairs headers;     // names in lower case
        std::string body;
        std::size_t number = 0;  // of the request on this server, from 1

        /// A value of the query, or of the headers (name in lower case); empty without one.
        [[nodiscard]] std::string query(const std::string& name) const {
            return value(queries, name);
        }
        [[nodiscard]] std::string header(const std::string& name) const {
            return value(headers, name);
        }

    private:
        static std::string value(const Pairs& pairs, const std::string& name) {
            const auto found = pairs.find(name);
            return found == pairs.end() ? std::string() : found->second;
        }
    };

    /// What it gets; by default 200 and an empty body, at once, on a connection that stays open.
    class Response {
    public:
        Response() {}
        explicit Response(std::string body) : body_(std::move(body)) {}
        explicit Response(int status, std::string body = {})
            : status_(status), body_(std::move(body)) {}

        /// Adds a header. Content-Length is there anyway, or Transfer-Encoding.
        Response& header(std::string name, std::string value) {
            headers_.emplace_back(std::move(name), std::move(value));
            return *this;
        }
        /// A redirect, if the status is one.
        Response& location(std::string url) { return header("Location", std::move(url)); }
        /// Waits before it answers.
        Response& delay(std::chrono::milliseconds d) {
            delay_ = d;
            return *this;
        }
        /// Waits until `LocalServer::release`.
        Response& hold() {
            hold_ = true;
            return *this;
        }
        /// Goes on, after the body, with what `next` gives, until that is empty; waits `pause`
        /// before each piece.
        Response& then(std::function<std::string()> next, std::chrono::milliseconds pause = {}) {
            next_ = std::move(next);
            pause_ = pause;
            return *this;
        }
        /// Breaks the connection after so many bytes of the body.
        Response& break_after(std::size_t bytes) {
            break_after_ = bytes;
            return *this;
        }
        /// Breaks the connection instead of an answer.
        Response& no_answer() {
            answer_ = false;
            return *this;
        }
        /// Closes the connection after the answer, as it then says.
        Response& close() {
            close_ = true;
            return header("Connection", "close");
        }

    private:
        friend class LocalServer;

        int status_ = 200;
        std::vector<std::pair<std::string, std::string>> headers_;
        std::string body_;
        std::chrono::milliseconds delay_{};
        std::chrono::milliseconds pause_{};
        std::function<std::string()> next_;
        std::optional<std::size_t> break_after_;
        bool hold_ = false;
        bool answer_ = true;
        bool close_ = false;
    };

    using Handler = std::function<Response(const Request&)>;
    /// By path, or by the beginning of a path if it ends in `*`; the longest one that fits is
    /// called. What has none gets 404.
    using Routes = std::map<std::string, Handler>;

    /// What has happened so far.
    struct Counts {
        std::size_t accepted = 0;   // connections
        std::size_t open = 0;       // of them, now
        std::size_t most_open = 0;  // at once
        std::size_t requests = 0;
        std::size_t held = 0;   // those that wait for `release`
        std::size_t bytes = 0;  // given to the system to be sent
    };

    explicit LocalServer(Routes routes) : routes_(std::move(routes)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (listener_.get() < 0 || wake_.get() < 0 || bind(listener_.get(), generic, size) != 0 ||
            listen(listener_.get(), SOMAXCONN) != 0 ||
            getsockname(listener_.get(), generic, &size) != 0) {
            throw std::system_error(errno, std::generic_category(), "LocalServer");
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    LocalServer(const LocalServer&) = delete;
    LocalServer& operator=(const LocalServer&) = delete;
    /// Breaks what is open.
    ~LocalServer() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        wake();
        thread_.join();
    }

    /// The address of a path, "http://127.0.0.1:40000/path".
    [[nodiscard]] std::string url(std::string_view path = "/") const {
        return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
    }
    [[nodiscard]] int port() const noexcept { return port_; }

    /// Answers all that is held. From any thread, handlers included.
    void release() {
        {
            const std::lock_guard lock(mutex_);
            release_ = true;
        }
        wake();
    }
    [[nodiscard]] Counts counts() const {
        const std::lock_guard lock(mutex_);
        return counts_;
    }
    /// Blocks until `condition(counts)`; not on the thread of the client that it waits for.
    template <class F>
    void wait_until(F condition) const {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return condition(counts_); });
    }

private:
    using Clock = std::chrono::steady_clock;

    class Socket {
    public:
        explicit Socket(int socket) noexcept : socket_(socket) {}
        Socket(const Socket&) = delete;
        Socket& operator=(const Socket&) = delete;
        ~Socket() {
            if (socket_ >= 0) ::close(socket_);
        }
        [[nodiscard]] int get() const noexcept { return socket_; }

    private:
        int socket_;
    };

    struct Connection {
        explicit Connection(int s) noexcept : socket(s) {}

        enum class State : unsigned char { reading, held, delayed, writing, paused, over };

        Socket socket;
        State state = State::reading;
        std::string in;
        std::string out;
        std::size_t written = 0;
        Response response;
        Clock::time_point due;
    };
    using State = Connection::State;

    void wake() const noexcept { eventfd_write(wake_.get(), 1); }

    template <class F>
    void count(F&& change) {
        {
            const std::lock_guard lock(mutex_);
            change(counts_);
        }
        changed_.notify_all();
    }

    void serve() {
        std::vector<pollfd> polled;
        for (;;) {
            polled.assign({pollfd{listener_.get(), POLLIN, 0}, pollfd{wake_.get(), POLLIN, 0}});
            int timeout = -1;
            for (const auto& connection : connections_) {
                polled.push_back(pollfd{connection->socket.get(), events(*connection), 0});
                if (!waits(*connection)) continue;
                const auto left =
                    std::chrono::ceil<std::chrono::milliseconds>(connection->due - Clock::now());
                const int wait = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
                timeout = timeout < 0 ? wait : std::min(timeout, wait);
            }
            poll(polled.data(), polled.size(), timeout);
            for (std::size_t i = 0; i < connections_.size(); ++i) {
                step(*connections_[i], polled[i + 2].revents);
            }
            if (polled[1].revents != 0) {
                eventfd_t value = 0;
                eventfd_read(wake_.get(), &value);
            }
            if (!released()) return;
            const std::size_t over =
                std::erase_if(connections_, [](const auto& c) { return c->state == State::over; });
            if (over > 0) count([&](Counts& counts) { counts.open -= over; });
            if (polled[0].revents != 0) accept_all();
        }
    }
    // False at the end.
    bool released() {
        {
            const std::lock_guard lock(mutex_);
            if (ending_) return false;
            if (!std::exchange(release_, false)) return true;
            counts_.held = 0;
        }
        for (const auto& connection : connections_) {
            if (connection->state == State::held) answer(*connection);
        }
        return true;
    }
    void accept_all() {
        for (;;) {
            const int socket =
                accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (socket < 0) return;
            const int on = 1;  // pieces go out as they are, not together a little later
            setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            connections_.push_back(std::make_unique<Connection>(socket));
            count([](Counts& counts) {
                ++counts.accepted;
                counts.most_open = std::max(counts.most_open, ++counts.open);
            });
        }
    }

    static bool waits(const Connection& connection) noexcept {
        return connection.state == State::delayed || connection.state == State::paused;
    }
    static short events(const Connection& connection) noexcept {
        const int wanted = connection.state == State::reading   ? POLLIN
                           : connection.state == State::writing ? POLLOUT
                                                                : 0;
        return static_cast<short>(wanted | POLLRDHUP);
    }

    void step(Connection& connection, int happened) {
        if (connection.state != State::reading &&
            (happened & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
            leave(connection);
        } else if (connection.state == State::reading && happened != 0) {
            read(connection);
        } else if (connection.state == State::writing && happened != 0) {
            write(connection);
        } else if (waits(connection) && connection.due <= Clock::now()) {
            if (connection.state == State::delayed) {
                answer(connection);
            } else {
                add_piece(connection);
            }
        }
    }
    void leave(Connection& connection) {
        if (connection.state == State::held) count([](Counts& counts) { --counts.held; });
        connection.state = State::over;
    }

    void read(Connection& connection) {
        char buffer[16384];
        for (;;) {
            const ssize_t size = recv(connection.socket.get(), buffer, sizeof buffer, 0);
            if (size > 0) {
                connection.in.append(buffer, static_cast<std::size_t>(size));
                continue;
            }
            if (size < 0 && errno == EINTR) continue;
            if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
            leave(connection);
            return;
        }
        handle(connection);
    }

    // Answers a request, if there is a whole one.
    void handle(Connection& connection) {
        const std::string_view in = connection.in;
        if (!in.empty() && (in.front() < 'A' || in.front() > 'Z')) {  // TLS, say
            connection.in.clear();
            connection.response = Response(400).close();
            prepare(connection, false);
            answer(connection);
            return;
        }
        const std::size_t end = in.find("\r\n\r\n");
        if (end == std::string_view::npos) return;
        Request request;
        std::string_view head = in.substr(0, end);
        const std::string_view first = cut(head, "\r\n");
        std::string_view rest = first;
        request.method = cut(rest, " ");
        std::string_view query = cut(rest, " ");
        request.path = decoded(cut(query, "?"), '+');
        while (!query.empty()) {
            std::string_view value = cut(query, "&");
            const std::string_view name = cut(value, "=");
            request.queries[decoded(name)] = decoded(value);
        }
        while (!head.empty()) {
            std::string_view value = cut(head, "\r\n");
            std::string name(cut(value, ":"));
            std::transform(name.begin(), name.end(), name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
            value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
            request.headers[name] = value;
        }
        std::size_t length = 0;
        const std::string text = request.header("content-length");
        std::from_chars(text.data(), text.data() + text.size(), length);
        if (in.size() - end - 4 < length) return;
        request.body = in.substr(end + 4, length);
        connection.in.erase(0, end + 4 + length);

        const bool head_only = request.method == "HEAD";
        count([&](Counts& counts) { request.number = ++counts.requests; });
        connection.response = route(request);
        if (head_only) connection.response.break_after_.reset();
        prepare(connection, head_only);
        if (connection.response.hold_) {
            connection.state = State::held;
            count([](Counts& counts) { ++counts.held; });
        } else if (connection.response.delay_.count() > 0) {
            connection.state = State::delayed;
            connection.due = Clock::now() + connection.response.delay_;
        } else {
            answer(connection);
        }
    }
    Response route(const Request& request) const {
        const Handler* handler = nullptr;
        std::size_t longest = 0;
        for (const auto& [path, candidate] : routes_) {
            const bool prefix = path.ends_with('*');
            const bool fits = prefix ? request.path.starts_with(path.substr(0, path.size() - 1))
                                     : request.path == path;
            if (!fits || (handler != nullptr && path.size() < longest)) continue;
            longest = path.size();
            handler = &candidate;
        }
        if (handler == nullptr) return Response(404, "there is no " + request.path + "\n");
        return (*handler)(request);
    }

    static void prepare(Connection& connection, bool head_only) {
        Response& response = connection.response;
        std::string& out = connection.out;
        out = "HTTP/1.1 " + std::to_string(response.status_) + " " + reason(response.status_) +
              "\r\n";
        for (const auto& [name, value] : response.headers_) out += name + ": " + value + "\r\n";
        if (response.next_) {
            out += "Transfer-Encoding: chunked\r\n\r\n";
        } else {
            out += "Content-Length: " + std::to_string(response.body_.size()) + "\r\n\r\n";
        }
        connection.written = 0;
        if (head_only) {
            response.next_ = nullptr;
            return;
        }
        std::string_view body = response.body_;
        if (response.break_after_) body = body.substr(0, *response.break_after_);
        out += response.next_ && !body.empty() ? chunk(body) : std::string(body);
        response.body_.clear();
    }
    void answer(Connection& connection) {
        if (!connection.response.answer_) {
            leave(connection);
            return;
        }
        connection.state = State::writing;
        write(connection);
    }
    void write(Connection& connection) {
        for (;;) {
            while (connection.written < connection.out.size()) {
                const ssize_t size =
                    ::send(connection.socket.get(), connection.out.data() + connection.written,
                           connection.out.size() - connection.written, MSG_NOSIGNAL);
                if (size < 0 && errno == EINTR) continue;
                if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
                if (size < 0) {
                    leave(connection);
                    return;
                }
                connection.written += static_cast<std::size_t>(size);
                count([&](Counts& counts) { counts.bytes += static_cast<std::size_t>(size); });
            }
            Response& response = connection.response;
            connection.out.clear();
            connection.written = 0;
            if (response.break_after_ || (!response.next_ && response.close_)) {
                leave(connection);
                return;
            }
            if (!response.next_) break;
            if (response.pause_.count() > 0) {
                connection.state = State::paused;
                connection.due = Clock::now() + response.pause_;
                return;
            }
            append_piece(connection);
        }
        connection.state = State::reading;
        handle(connection);  // of the next request, if it is there already
    }
    void add_piece(Connection& connection) {
        append_piece(connection);
        connection.state = State::writing;
        write(connection);
    }
    static void append_piece(Connection& connection) {
        const std::string piece = connection.response.next_();
        connection.out = chunk(piece);
        if (piece.empty()) connection.response.next_ = nullptr;
    }
    static std::string chunk(std::string_view piece) {
        char size[20];
        std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
        return size + std::string(piece) + "\r\n";
    }

    // What comes before `mark`, taken off `text` with the mark; all of it without one.
    static std::string_view cut(std::string_view& text, std::string_view mark) {
        const std::size_t at = text.find(mark);
        const std::string_view before = text.substr(0, at);
        text.remove_prefix(at == std::string_view::npos ? text.size() : at + mark.size());
        return before;
    }
    static std::string decoded(std::string_view text, char plus = ' ') {
        std::string plain;
        for (std::size_t i = 0; i < text.size(); ++i) {
            unsigned code = 0;
            if (text[i] == '%' && i + 2 < text.size() &&
                std::from_chars(text.data() + i + 1, text.data() + i + 3, code, 16).ec ==
                    std::errc()) {
                plain += static_cast<char>(code);
                i += 2;
            } else {
                plain += text[i] == '+' ? plus : text[i];
            }
        }
        return plain;
    }
    static const char* reason(int status) noexcept {
        switch (status) {
            case 200: return "OK";
            case 201: return "Created";
            case 204: return "No Content";
            case 301: return "Moved Permanently";
            case 302: return "Found";
            case 303: return "See Other";
            case 304: return "Not Modified";
            case 307: return "Temporary Redirect";
            case 308: return "Permanent Redirect";
            case 400: return "Bad Request";
            case 401: return "Unauthorized";
            case 403: return "Forbidden";
            case 404: return "Not Found";
            case 429: return "Too Many Requests";
            case 500: return "Internal Server Error";
            case 503: return "Service Unavailable";
            default: return "Status";
        }
    }

    const Routes routes_;
    const Socket listener_{socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const Socket wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int port_ = 0;
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    Counts counts_;
    bool release_ = false;
    bool ending_ = false;
    std::vector<std::unique_ptr<Connection>> connections_;  // the thread's own
    std::thread thread_;
};
