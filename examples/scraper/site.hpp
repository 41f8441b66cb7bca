#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "../common/local_server.hpp"

/// The pages in `data`, on 127.0.0.1, with what happens on real sites: `/glossary.html` fails once,
/// `/calendar.html` is there a second after it was asked for first, `/map.html` never answers,
/// `/oak` is a redirect, `/walks/…` are redirects in a circle.
class Site {
public:
    /// `log`: prints each request. Throws `std::runtime_error` if the files cannot be read.
    explicit Site(bool log);
    Site(const Site&) = delete;
    Site& operator=(const Site&) = delete;

    [[nodiscard]] std::string url() const { return server_->url(); }

private:
    LocalServer::Response answer(const LocalServer::Request& request);

    bool log_;
    std::map<std::string, std::string> files_;  // by path
    // The server's thread's own:
    std::set<std::string> asked_;
    std::chrono::steady_clock::time_point open_from_;
    std::unique_ptr<LocalServer> server_;
};
