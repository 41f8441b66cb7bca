#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <grafo/curl.hpp>
#include <grafo/grafo.hpp>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>

#include "cache.hpp"
#include "json.hpp"

/// A request that did not bring what was asked for.
class ApiError : public std::runtime_error {
public:
    enum Lasts { for_now, for_good };

    ApiError(const std::string& what, Lasts lasts)
        : std::runtime_error(what), temporary_(lasts == for_now) {}

    /// It may be better at another try.
    [[nodiscard]] bool temporary() const { return temporary_; }

private:
    bool temporary_;
};

/// What the API answered.
struct Answer {
    Json document;
    /// The URL of the next page, empty after the last one; not set if the answer does not say.
    std::optional<std::string> next;
};

/// A JSON API over HTTP: asks with the token, takes from the cache what has not changed, and does
/// not ask a busy server again before it wants to be. Throws `ApiError`, and `grafo::Cancelled`.
class Client {
public:
    using Clock = grafo::EventLoop::Clock;

    struct Settings {
        std::string url;         // of the API, without a slash at its end
        std::string cache_name;  // stands for that URL in the cache
        std::filesystem::path ca_file;
        std::size_t max_body;
        Clock::time_point deadline;  // what a busy server puts off beyond it has failed
    };

    Client(Settings settings, Cache& cache);
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Of a path below the API's URL, with or without a query.
    [[nodiscard]] std::string url(const std::string& path) const {
        return settings_.url + "/" + path;
    }

    grafo::Task<Answer> get(std::string url, std::string token);
    grafo::Task<Json> post(std::string url, std::string json);

    /// How many answers of each status there were; of 0: how many requests got none, or half of
    /// one.
    [[nodiscard]] const std::map<int, std::size_t>& answers() const { return answers_; }

private:
    grafo::Task<grafo::HttpResponse> send(grafo::HttpRequest request, std::string url);
    [[noreturn]] void refuse(const std::string& asked, const std::string& url,
                             const grafo::HttpResponse& response);
    [[nodiscard]] Answer answer(const std::string& asked, const std::string& url,
                                const std::string& body,
                                const std::optional<std::string>& next) const;
    [[nodiscard]] std::string key(const std::string& url) const;

    Settings settings_;
    Cache& cache_;
    grafo::Http http_;
    std::map<std::string, Clock::time_point> busy_until_;  // of a URL, by its Retry-After
    std::map<int, std::size_t> answers_;
};
