#include "smtp_sink.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

namespace {

constexpr std::size_t longest_line = 1000;  // with its CRLF, RFC 5321 4.5.3.1.6
constexpr std::size_t longest_message = 10 << 20;

const char* reason(int code) {
    switch (code) {
        case 421: return "4.3.2 not now, try again later";
        case 450:
        case 451: return "4.3.0 try again later";
        case 550: return "5.1.1 there is no such mailbox";
        case 554: return "5.7.1 not wanted here";
        default: return "refused";
    }
}

std::string upper(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return result;
}

}  // namespace

// With one client, from its greeting to its end.
class SmtpSink::Conversation {
public:
    Conversation(SmtpSink& sink, int socket) : sink_(sink), socket_(socket) {}
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;
    ~Conversation() { ::close(socket_); }

    void run() {
        if (!refused("CONNECT")) say("220 notify.invalid ESMTP");
        while (open_) {
            const std::optional<std::string> line = next_line();
            if (!line) return;
            answer(*line);
        }
    }

private:
    void answer(const std::string& line) {
        const std::string command = upper(line.substr(0, line.find(' ')));
        if (command == "QUIT") {
            say("221 2.0.0 bye");
            open_ = false;
        } else if (command == "EHLO" || command == "HELO") {
            if (refused("EHLO")) return;
            message_ = {};
            greeted_ = true;
            say(command == "HELO" ? "250 notify.invalid"
                                  : "250-notify.invalid\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE " +
                                        std::to_string(longest_message));
        } else if (command == "NOOP") {
            say("250 2.0.0 ok");
        } else if (command == "RSET") {
            message_ = {};
            say("250 2.0.0 ok");
        } else if (command == "MAIL") {
            mail(line);
        } else if (command == "RCPT") {
            recipient(line);
        } else if (command == "DATA") {
            data();
        } else {
            say("500 5.5.2 unknown command");
        }
    }
    void mail(const std::string& line) {
        const std::optional<std::string> from = path(line, "MAIL FROM:");
        if (!greeted_ || !message_.from.empty()) {
            say("503 5.5.1 wrong order");
        } else if (!from) {
            say("501 5.5.4 MAIL FROM:<address>");
        } else if (!refused("MAIL")) {
            message_.from = *from;
            say("250 2.1.0 ok");
        }
    }
    void recipient(const std::string& line) {
        const std::optional<std::string> to = path(line, "RCPT TO:");
        if (message_.from.empty()) {
            say("503 5.5.1 wrong order");
        } else if (!to) {
            say("501 5.5.4 RCPT TO:<address>");
        } else if (!refused("RCPT")) {
            message_.to.push_back(*to);
            say("250 2.1.5 ok");
        }
    }
    void data() {
        if (message_.to.empty()) {
            say("503 5.5.1 wrong order");
            return;
        }
        if (refused("DATA")) return;
        say("354 go on, end with a dot");
        bool good = true;
        for (;;) {
            std::optional<std::string> line = next_line();
            if (!line) return;
            if (*line == ".") break;
            if (line->starts_with('.')) line->erase(0, 1);
            good = good && line->size() + 2 <= longest_line &&
                   message_.data.size() + line->size() + 2 <= longest_message;
            if (good) message_.data += *line + "\r\n";
        }
        SmtpSink::Message message = std::exchange(message_, {});
        if (!good) {
            say("552 5.3.4 too long");
            return;
        }
        if (refused("END")) return;
        if (sink_.arrived_) sink_.arrived_(message);
        std::size_t number = 0;
        {
            const std::lock_guard lock(sink_.mutex_);
            sink_.messages_.push_back(std::move(message));
            number = sink_.messages_.size();
        }
        say("250 2.0.0 kept as message " + std::to_string(number));
    }

    // "MAIL FROM:<a@example.org> SIZE=100" has the path a@example.org.
    static std::optional<std::string> path(const std::string& line, const std::string& begin) {
        if (upper(line.substr(0, begin.size())) != begin) return {};
        const std::size_t open = line.find('<', begin.size());
        const std::size_t close = line.find('>', begin.size());
        if (open == std::string::npos || close == std::string::npos || close < open + 2) return {};
        return line.substr(open + 1, close - open - 1);
    }

    bool refused(std::string_view command) {
        const std::optional<int> code = sink_.refusals_.next(command);
        if (!code) return false;
        {
            const std::lock_guard lock(sink_.mutex_);
            ++sink_.refused_;
        }
        if (*code == 0) return true;  // the client waits, and we for it
        say(std::to_string(*code) + " " + reason(*code));
        if (*code == 421) open_ = false;
        return true;
    }
    void say(const std::string& reply) {
        const std::string line = reply + "\r\n";
        std::string_view rest = line;
        while (!rest.empty()) {
            const ssize_t size = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
            if (size < 0 && errno == EINTR) continue;
            if (size < 0) {
                open_ = false;
                return;
            }
            rest.remove_prefix(static_cast<std::size_t>(size));
        }
    }
    // Without its CRLF, which is what ends it: a line feed alone is none. Empty at the end.
    std::optional<std::string> next_line() {
        for (;;) {
            const std::size_t end = in_.find("\r\n", searched_);
            if (end != std::string::npos) {
                std::string line = in_.substr(0, end);
                in_.erase(0, end + 2);
                searched_ = 0;
                return line;
            }
            searched_ = in_.empty() ? 0 : in_.size() - 1;
            if (in_.size() > longest_message || !receive()) return {};
        }
    }
    bool receive() {
        std::array<pollfd, 2> polled = {pollfd{socket_, POLLIN, 0}, pollfd{sink_.wake_, POLLIN, 0}};
        if (::poll(polled.data(), polled.size(), -1) < 0) return errno == EINTR;
        if (polled[1].revents != 0) return false;
        char buffer[4096];
        const ssize_t size = ::recv(socket_, buffer, sizeof buffer, 0);
        if (size < 0 && errno == EINTR) return true;
        if (size <= 0) return false;
        in_.append(buffer, static_cast<std::size_t>(size));
        return true;
    }

    SmtpSink& sink_;
    int socket_;
    bool open_ = true;
    bool greeted_ = false;
    std::string in_;
    std::size_t searched_ = 0;
    SmtpSink::Message message_;
};

SmtpSink::SmtpSink(std::vector<Refusal> refusals, std::function<void(const Message&)> arrived)
    : refusals_(std::move(refusals)), arrived_(std::move(arrived)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    wake_ = ::eventfd(0, EFD_CLOEXEC);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wake_ < 0 || listener_ < 0 || ::bind(listener_, generic, size) != 0 ||
        ::listen(listener_, SOMAXCONN) != 0 || ::getsockname(listener_, generic, &size) != 0) {
        const std::system_error error(errno, std::generic_category(), "SmtpSink");
        ::close(listener_);
        ::close(wake_);
        throw error;
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
}

SmtpSink::~SmtpSink() {
    ::eventfd_write(wake_, 1);  // nobody reads it: from now on whoever polls it ends
    thread_.join();
    ::close(listener_);
    ::close(wake_);
}

std::vector<SmtpSink::Message> SmtpSink::messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
}

std::size_t SmtpSink::refused() const {
    const std::lock_guard lock(mutex_);
    return refused_;
}

void SmtpSink::serve() {
    for (;;) {
        std::array<pollfd, 2> polled = {pollfd{listener_, POLLIN, 0}, pollfd{wake_, POLLIN, 0}};
        if (::poll(polled.data(), polled.size(), -1) < 0) continue;
        if (polled[1].revents != 0) return;
        const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (socket >= 0) Conversation(*this, socket).run();
    }
}
