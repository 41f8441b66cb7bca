#pragma once
#include <cstddef>
#include <grafo/curl.hpp>
#include <grafo/grafo.hpp>
#include <stdexcept>
#include <string>

#include "command_line.hpp"
#include "page.hpp"
#include "robots.hpp"

/// Why a page cannot be had.
class PageError : public std::runtime_error {
public:
    PageError(const std::string& why, int status, bool again)
        : std::runtime_error(why), status_(status), again_(again) {}

    /// Of the answer; 0: there was none.
    [[nodiscard]] int status() const { return status_; }
    /// Whether it is worth another request, a little later.
    [[nodiscard]] bool again() const { return again_; }

private:
    int status_;
    bool again_;
};

/// What all requests to a host share.
struct Host {
    explicit Host(const Options& options)
        : at_once(options.jobs), rate(options.rate.count, options.rate.per) {}

    grafo::Semaphore at_once;
    grafo::RateLimiter rate;
    grafo::EventLoop::TimePoint rest_until{};  // it asked for that, by Retry-After
};

[[nodiscard]] grafo::Http make_client(const Options& options);

/// What a robots.txt says to `agent`. Throws `PageError` if the host does not answer, or with an
/// error of its own: then nothing may be asked for.
grafo::Task<Robots> read_robots(grafo::Http http, Host* host, std::string url, std::string agent);

/// A page, or a redirect to another one of the same host. Throws `PageError`.
grafo::Task<Answer> fetch(grafo::NodeContext& context, grafo::Http http, Host* host,
                          std::string url);
