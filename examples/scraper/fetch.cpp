#include "fetch.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "../common/retry_after.hpp"
#include "url.hpp"

using namespace grafo;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t longest_page = std::size_t(16) << 20;
constexpr std::chrono::seconds longest_rest = 5min;

void need_service(const HttpResponse& response, Host& host) {
    const int status = response.status();
    if (status != 429 && status < 500) return;
    std::string why = fmt::format("status {}", status);
    bool again = true;
    if (const std::string* text = response.header("Retry-After")) {
        why += ", Retry-After: " + *text;
        const std::chrono::seconds rest = retry_after(response);
        again = rest <= longest_rest;
        if (again) host.rest_until = std::max(host.rest_until, EventLoop::current().now() + rest);
    }
    throw PageError(why, status, again);
}

PageError no_answer(const HttpError& error) {
    std::string why = error.what();
    const std::string before = "GET " + error.url() + ": ";
    if (why.starts_with(before)) why.erase(0, before.size());
    const bool for_good = error.code() == CURLE_FILESIZE_EXCEEDED ||
                          error.code() == CURLE_TOO_MANY_REDIRECTS ||
                          error.code() == CURLE_PEER_FAILED_VERIFICATION;
    return PageError(why, error.status(), !for_good);
}

Task<HttpResponse> ask(HttpRequest request, Host* host) {
    while (EventLoop::current().now() < host->rest_until) {
        co_await sleep_until(host->rest_until);
        co_await host->rate.acquire();  // all that have slept wake at once
    }
    HttpResponse response;
    try {
        response = co_await request;
    } catch (const HttpError& error) {
        throw no_answer(error);
    }
    need_service(response, *host);
    co_return response;
}

}  // namespace

Http make_client(const Options& options) {
    return Http(HttpOptions()
                    .header("User-Agent", options.user_agent)
                    .timeout(options.timeout)
                    .max_body(longest_page)
                    .per_host(options.jobs));
}

Task<Robots> read_robots(Http http, Host* host, std::string url, std::string agent) {
    const HttpResponse response = co_await ask(http.get(std::move(url)).redirects(5), host);
    if (!response.ok()) co_return Robots();  // there is none
    co_return Robots(response.body(), agent);
}

Task<Answer> fetch(NodeContext& context, Http http, Host* host, std::string url) {
    HttpResponse response = co_await ask(http.get(url).redirects(0), host);
    Answer answer;
    answer.status = response.status();
    answer.attempts = context.attempt();
    if (const std::string* type = response.header("Content-Type")) answer.content_type = *type;
    const std::string* to = response.header("Location");
    if (to != nullptr && answer.status / 100 == 3) {
        const std::optional<std::string> location = absolute_url(url, *to);
        if (!location || host_of(*location) != host_of(url)) {
            throw PageError("redirects to " + location.value_or(*to), answer.status, false);
        }
        answer.location = *location;
    } else if (!response.ok()) {
        throw PageError(fmt::format("status {}", answer.status), answer.status, false);
    }
    answer.url = std::move(url);
    if (answer.has_links()) answer.body = std::move(response).body();
    co_return answer;
}
