#include "client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "../common/curl_url.hpp"
#include "../common/retry_after.hpp"

using namespace grafo;
using namespace std::chrono_literals;

namespace {

std::string origin(CURLU* url) {
    const auto text = [url](CURLUPart what) {
        return part(url, what, CURLU_DEFAULT_PORT).value_or("");
    };
    return text(CURLUPART_SCHEME) + "://" + text(CURLUPART_HOST) + ":" + text(CURLUPART_PORT);
}

// The URL of a link found at `from`. Only on the server of `home`: the token is for nobody else.
std::string resolve(const std::string& link, const std::string& from, const std::string& home) {
    const CurlUrl own(curl_url());
    const CurlUrl other(curl_url());
    if (curl_url_set(own.get(), CURLUPART_URL, home.c_str(), 0) != CURLUE_OK ||
        curl_url_set(other.get(), CURLUPART_URL, from.c_str(), 0) != CURLUE_OK ||
        curl_url_set(other.get(), CURLUPART_URL, link.c_str(), 0) != CURLUE_OK) {
        throw std::runtime_error(fmt::format("its next page has no valid URL: {}", link));
    }
    std::string url = part(other.get(), CURLUPART_URL, CURLU_DEFAULT_PORT).value_or("");
    if (origin(own.get()) != origin(other.get())) {
        throw std::runtime_error(fmt::format("its next page is on another server: {}", url));
    }
    return url;
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = std::min(text.find_first_not_of(" \t"), text.size());
    return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

// True if one of a link's parameters is that relation: `; rel="next"; title="..."`.
bool has_relation(std::string_view parameters, std::string_view relation) {
    while (!parameters.empty()) {
        parameters.remove_prefix(1);  // the semicolon
        const std::size_t end = std::min(parameters.find(';'), parameters.size());
        std::string_view value = trimmed(parameters.substr(0, end));
        parameters.remove_prefix(end);
        if (!value.starts_with("rel=")) continue;
        value.remove_prefix(4);
        if (value.starts_with('"') && value.ends_with('"') && value.size() > 1) {
            value = value.substr(1, value.size() - 2);
        }
        if (value == relation) return true;
    }
    return false;
}

// What the answer says of a next page, in its headers such as `Link: <URL>; rel="next"`: its URL,
// empty if this is the last one; nothing if it does not speak of pages.
std::optional<std::string> next_page(const HttpResponse& response) {
    constexpr std::array relations{"first", "prev", "last"};
    std::optional<std::string> next;
    for (const auto& [name, value] : response.headers()) {
        if (curl_strequal(name.c_str(), "Link") == 0) continue;
        std::string_view links = value;
        for (;;) {
            const std::size_t begin = links.find('<');
            const std::size_t end = links.find('>', begin);
            if (end == std::string_view::npos) break;
            const std::string_view url = links.substr(begin + 1, end - begin - 1);
            links.remove_prefix(end + 1);
            std::string_view parameters = trimmed(links.substr(0, links.find('<')));
            if (parameters.ends_with(',')) parameters.remove_suffix(1);
            if (has_relation(parameters, "next")) return std::string(url);
            for (const char* const relation : relations) {
                if (has_relation(parameters, relation)) next = "";
            }
        }
    }
    return next;
}

bool may_be_kept(const HttpResponse& response) {
    const std::string* const rules = response.header("Cache-Control");
    return rules == nullptr || rules->find("no-store") == std::string::npos;
}

ApiError::Lasts lasts(int status) {
    const bool busy = status == 408 || status == 429 || status >= 500;
    return busy ? ApiError::for_now : ApiError::for_good;
}

ApiError::Lasts lasts(CURLcode code) {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_OPERATION_TIMEDOUT:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE: return ApiError::for_now;
        default: return ApiError::for_good;
    }
}

HttpOptions http_options(const Client::Settings& settings) {
    HttpOptions options;
    options.max_body(settings.max_body).header("Accept", "application/json");
    if (!settings.ca_file.empty()) options.ca_file(settings.ca_file.string());
    return options;
}

}  // namespace

Client::Client(Settings settings, Cache& cache)
    : settings_(std::move(settings)), cache_(cache), http_(http_options(settings_)) {}

Task<Answer> Client::get(std::string url, std::string token) {
    const std::string asked = "GET " + url;
    std::optional<CachedAnswer> known;
    if (const CachedAnswer* const found = cache_.find(key(url))) known = *found;

    HttpRequest request = http_.get(url);
    if (!token.empty()) request.header("Authorization", "Bearer " + token);
    if (known) request.header("If-None-Match", known->etag);
    const HttpResponse response = co_await send(std::move(request), url);
    const std::optional<std::string> next = next_page(response);
    if (response.status() == 304 && known) {
        if (next) known->next = next;
        cache_.put(key(url), *known);
        co_return answer(asked, response.url(), known->body, known->next);
    }
    if (!response.ok()) refuse(asked, url, response);

    Answer fresh = answer(asked, response.url(), response.body(), next);
    const std::string* const etag = response.header("ETag");
    if (etag != nullptr && may_be_kept(response)) {
        CachedAnswer to_keep{*etag, response.body(), next};
        cache_.put(key(url), std::move(to_keep));
    } else {
        cache_.remove(key(url));
    }
    co_return fresh;
}

Task<Json> Client::post(std::string url, std::string json) {
    const std::string asked = "POST " + url;
    const HttpRequest request = http_.post(url, std::move(json), "application/json");
    const HttpResponse response = co_await send(request, url);
    if (!response.ok()) refuse(asked, url, response);
    co_return answer(asked, response.url(), response.body(), {}).document;
}

Task<HttpResponse> Client::send(HttpRequest request, std::string url) {
    const auto busy = busy_until_.find(url);
    if (busy != busy_until_.end()) co_await sleep_until(busy->second);
    HttpResponse response;
    try {
        response = co_await request;
    } catch (const HttpError& error) {
        ++answers_[0];
        throw ApiError(error.what(), lasts(error.code()));
    }
    ++answers_[response.status()];
    co_return response;
}

void Client::refuse(const std::string& asked, const std::string& url,
                    const HttpResponse& response) {
    std::string what = fmt::format("{}: the server answered {}", asked, response.status());
    if (response.status() == 401) what += " (not authorized)";
    ApiError::Lasts how_long = lasts(response.status());
    const std::chrono::seconds wait = retry_after(response);
    if (how_long == ApiError::for_now && wait > 0s) {
        what += fmt::format(", to be asked again in {} s", wait.count());
        const Clock::time_point until = Clock::now() + wait;
        if (until > settings_.deadline) how_long = ApiError::for_good;
        busy_until_[url] = until;
    }
    throw ApiError(what, how_long);
}

Answer Client::answer(const std::string& asked, const std::string& url, const std::string& body,
                      const std::optional<std::string>& next) const {
    try {
        Answer answer{parse_json(body), next};
        if (next && !next->empty()) answer.next = resolve(*next, url, settings_.url);
        return answer;
    } catch (const std::runtime_error& error) {
        throw ApiError(fmt::format("{}: {}", asked, error.what()), ApiError::for_good);
    }
}

std::string Client::key(const std::string& url) const {
    if (!url.starts_with(settings_.url)) return url;
    return settings_.cache_name + url.substr(settings_.url.size());
}
