#include "url.hpp"

#include <algorithm>
#include <new>

#include "../common/curl_url.hpp"

namespace {

CurlUrl make_url() {
    CurlUrl url(curl_url());
    if (url == nullptr) throw std::bad_alloc();
    return url;
}

std::optional<std::string> written(CURLU* url) {
    const auto scheme = part(url, CURLUPART_SCHEME);
    if (scheme != "http" && scheme != "https") return {};
    std::string host = part(url, CURLUPART_HOST).value_or("");
    std::ranges::transform(host, host.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (host.empty() || curl_url_set(url, CURLUPART_HOST, host.c_str(), 0) != CURLUE_OK) return {};
    for (const CURLUPart none : {CURLUPART_FRAGMENT, CURLUPART_USER, CURLUPART_PASSWORD}) {
        curl_url_set(url, none, nullptr, 0);
    }
    return part(url, CURLUPART_URL, CURLU_NO_DEFAULT_PORT);
}

}  // namespace

std::optional<std::string> absolute_url(const std::string& url) {
    const auto parsed = make_url();
    if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_URLENCODE) != CURLUE_OK) {
        return {};
    }
    return written(parsed.get());
}

std::optional<std::string> absolute_url(const std::string& base, const std::string& link) {
    const auto parsed = make_url();
    if (curl_url_set(parsed.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
        curl_url_set(parsed.get(), CURLUPART_URL, link.c_str(), CURLU_URLENCODE) != CURLUE_OK) {
        return {};
    }
    return written(parsed.get());
}

std::string origin_of(const std::string& url) {
    return url.substr(0, url.find('/', url.find("://") + 3));
}

std::string host_of(const std::string& url) {
    const std::string origin = origin_of(url);
    return origin.substr(origin.find("://") + 3);
}

std::string path_of(const std::string& url) { return url.substr(origin_of(url).size()); }
