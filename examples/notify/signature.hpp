#pragma once
#include <cstdint>
#include <string>
#include <string_view>

/// "sha256=" and the HMAC-SHA256 in hex of the time, a dot and the body: so neither can be changed,
/// and a body that somebody has overheard is of no use later.
[[nodiscard]] std::string sign(std::string_view secret, std::string_view timestamp,
                               std::string_view body);

/// What a receiver has to do: true if the signature is that of time and body, and the time no more
/// than `tolerance` seconds from `now`. Takes as long for any wrong signature.
[[nodiscard]] bool verify(std::string_view secret, std::string_view timestamp,
                          std::string_view body, std::string_view signature, std::int64_t now,
                          std::int64_t tolerance = 300);
