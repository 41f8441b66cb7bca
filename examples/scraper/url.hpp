#pragma once
#include <optional>
#include <string>

/// An absolute http or https URL, always written in the same way: without fragment, user, default
/// port and `..`. Nothing if it is none.
[[nodiscard]] std::optional<std::string> absolute_url(const std::string& url);

/// The same for a link on the page `base`.
[[nodiscard]] std::optional<std::string> absolute_url(const std::string& base,
                                                      const std::string& link);

/// "http://127.0.0.1:8080", of an absolute URL.
[[nodiscard]] std::string origin_of(const std::string& url);

/// "127.0.0.1:8080", of an absolute URL. http and https of one name are the same host.
[[nodiscard]] std::string host_of(const std::string& url);

/// "/page?number=1", of an absolute URL.
[[nodiscard]] std::string path_of(const std::string& url);
