#include "alert.hpp"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <stdexcept>
#include <utility>

namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = [&](std::size_t at) {
            return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
        };
        const unsigned first = byte(i);
        const std::size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (size > 1) {
            if (first < 0xc2 || first > 0xf4) return false;
            // not longer than needed, no surrogates, nothing beyond U+10FFFF
            const unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
            const unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
            if (byte(i + 1) < least || byte(i + 1) > most) return false;
        }
        for (std::size_t k = 2; k < size; ++k) {
            if (byte(i + k) < 0x80 || byte(i + k) > 0xbf) return false;
        }
        i += size;
    }
    return true;
}

std::string random_id() {
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1) refuse("OpenSSL gives no random numbers");
    std::string id;
    for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
    return id;
}

}  // namespace

Alert make_alert(std::string severity, std::string title, std::string text) {
    Alert alert{random_id(), unix_time(), std::move(severity), std::move(title), std::move(text)};
    check_alert(alert);
    return alert;
}

void check_alert(const Alert& alert) {
    if (alert.severity != "info" && alert.severity != "warning" && alert.severity != "critical") {
        refuse(fmt::format("the severity is info, warning or critical, not '{}'",
                           printable(alert.severity)));
    }
    if (alert.title.empty()) refuse("the title is empty");
    if (std::ranges::any_of(alert.title, is_control)) {
        refuse("the title has a line break or another control character");
    }
    if (!is_utf8(alert.title)) refuse("the title is not UTF-8");
    if (!is_utf8(alert.text)) refuse("the text is not UTF-8");
    constexpr std::string_view in_ids =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (alert.id.empty() || alert.id.size() > 64 ||
        alert.id.find_first_not_of(in_ids) != std::string::npos) {
        refuse("the id is not 1 to 64 letters, digits, '-' or '_'");
    }
}

std::int64_t unix_time() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string format_time(std::int64_t time, const char* format) {
    const std::time_t seconds = time;
    std::tm utc = {};
    char text[64];
    if (::gmtime_r(&seconds, &utc) == nullptr) refuse("the time is out of range");
    return {text, std::strftime(text, sizeof text, format, &utc)};
}

std::string printable(std::string_view text) {
    std::string result(text);
    std::ranges::replace_if(result, is_control, ' ');
    return result;
}
