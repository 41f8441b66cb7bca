#pragma once
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "refusal.hpp"

/// A small SMTP server (RFC 5321) in the same process that keeps the mail it gets: on 127.0.0.1, at
/// a port that is free, with one thread of its own. It speaks with one client at a time, the others
/// wait. Without TLS and without passwords.
class SmtpSink {
public:
    /// A mail as it arrived: the envelope, and all that came between DATA and the dot, byte by
    /// byte, without the dots that the client had to double.
    struct Message {
        std::string from;
        std::vector<std::string> to;
        std::string data;
    };

    /// The commands that may be refused: CONNECT, EHLO, MAIL, RCPT, DATA, END (the dot); one of
    /// code 0 gets no answer. `arrived` is called on the server's thread.
    explicit SmtpSink(std::vector<Refusal> refusals = {},
                      std::function<void(const Message&)> arrived = {});
    SmtpSink(const SmtpSink&) = delete;
    SmtpSink& operator=(const SmtpSink&) = delete;
    /// Breaks what is open.
    ~SmtpSink();

    [[nodiscard]] int port() const noexcept { return port_; }
    /// "127.0.0.1:40000".
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    /// What has arrived so far.
    [[nodiscard]] std::vector<Message> messages() const;
    /// How many commands were refused.
    [[nodiscard]] std::size_t refused() const;

private:
    class Conversation;

    void serve();

    Refusals refusals_;  // the thread's own
    std::function<void(const Message&)> arrived_;
    int listener_ = -1;
    int wake_ = -1;
    int port_ = 0;
    mutable std::mutex mutex_;
    std::vector<Message> messages_;
    std::size_t refused_ = 0;
    std::thread thread_;
};
