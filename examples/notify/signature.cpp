#include "signature.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <charconv>
#include <climits>
#include <stdexcept>
#include <system_error>

std::string sign(std::string_view secret, std::string_view timestamp, std::string_view body) {
    const std::string text = fmt::format("{}.{}", timestamp, body);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (secret.size() > INT_MAX ||
        HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest,
             &size) == nullptr) {
        throw std::runtime_error("OpenSSL cannot compute an HMAC-SHA256");
    }
    std::string signature = "sha256=";
    for (unsigned int i = 0; i < size; ++i) signature += fmt::format("{:02x}", digest[i]);
    return signature;
}

bool verify(std::string_view secret, std::string_view timestamp, std::string_view body,
            std::string_view signature, std::int64_t now, std::int64_t tolerance) {
    std::int64_t time = 0;
    const char* const end = timestamp.data() + timestamp.size();
    const auto [stop, error] = std::from_chars(timestamp.data(), end, time);
    if (error != std::errc() || stop != end || time < now - tolerance || time > now + tolerance) {
        return false;
    }
    const std::string expected = sign(secret, timestamp, body);
    return signature.size() == expected.size() &&
           CRYPTO_memcmp(signature.data(), expected.data(), expected.size()) == 0;
}
