#pragma once
#include <curl/curl.h>

#include <memory>
#include <optional>
#include <string>

struct FreeByCurl {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
    void operator()(char* text) const { curl_free(text); }
};

/// A URL in its parts, as libcurl takes it apart; null without memory.
using CurlUrl = std::unique_ptr<CURLU, FreeByCurl>;

/// A part of it, empty if it has none; `flags` are those of `curl_url_get`.
[[nodiscard]] inline std::optional<std::string> part(CURLU* url, CURLUPart what,
                                                     unsigned flags = 0) {
    char* text = nullptr;
    if (curl_url_get(url, what, &text, flags) != CURLUE_OK) return {};
    return std::unique_ptr<char, FreeByCurl>(text).get();
}
