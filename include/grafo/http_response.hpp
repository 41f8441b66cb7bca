#pragma once
#include <curl/curl.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <grafo/errors.hpp>

/// \file
/// What the client of curl.hpp gives: an answer, or the error of a request without one.

namespace grafo {

namespace detail {
class Transfer;
}

/// A request that got no answer, or one that was not wanted: the message names method, URL and
/// cause.
class HttpError : public Error {
public:
    /// The URL that was asked for, without user name and password.
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// The status that the server answered with; 0 if there was no answer.
    [[nodiscard]] int status() const noexcept { return status_; }
    /// libcurl's number of the cause, such as `CURLE_COULDNT_CONNECT`: `CURLE_HTTP_RETURNED_ERROR`
    /// for a status that was not expected, `CURLE_FILESIZE_EXCEEDED` for a body that is too long.
    [[nodiscard]] CURLcode code() const noexcept { return code_; }

    // Made by the library.
    HttpError(const std::string& what, std::string url, int status, CURLcode code)
        : Error(what), url_(std::move(url)), status_(status), code_(code) {}

private:
    std::string url_;
    int status_;
    CURLcode code_;
};

/// What a server answered. A value: copies are independent.
class HttpResponse {
public:
    /// A name and a value, without the white space around them.
    using Header = std::pair<std::string, std::string>;

    /// Status 0, and nothing else.
    HttpResponse() {}

    /// The status of the last answer, after redirects.
    [[nodiscard]] int status() const noexcept { return status_; }
    /// True for a status from 200 to 299.
    [[nodiscard]] bool ok() const noexcept { return status_ >= 200 && status_ < 300; }
    /// Where that answer came from.
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// The headers of that answer, in the order in which they came.
    [[nodiscard]] const std::vector<Header>& headers() const noexcept { return headers_; }
    /// The value of the first header of that name, in upper or lower case; `nullptr` without one.
    [[nodiscard]] const std::string* header(std::string_view name) const {
        const std::string wanted(name);
        for (const Header& header : headers_) {
            if (curl_strequal(header.first.c_str(), wanted.c_str()) != 0) return &header.second;
        }
        return nullptr;
    }
    /// The body, decompressed; empty after `HttpRequest::stream`.
    [[nodiscard]] const std::string& body() const& noexcept { return body_; }
    /// The same, moved out of a response that is not needed any more.
    [[nodiscard]] std::string body() && noexcept { return std::move(body_); }

private:
    friend class detail::Transfer;

    int status_ = 0;
    std::string url_;
    std::vector<Header> headers_;
    std::string body_;
};

}  // namespace grafo
