#include "mail.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <grafo/offload.hpp>
#include <grafo/task.hpp>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "delivery_error.hpp"

namespace {

constexpr std::string_view line_end = "\r\n";

bool is_plain(char c) { return c > 0x20 && c < 0x7f; }

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const auto byte = [&](std::size_t at) {
            return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0U;
        };
        const unsigned three = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
        text += digits[three >> 18U];
        text += digits[three >> 12U & 63U];
        text += i + 1 < bytes.size() ? digits[three >> 6U & 63U] : '=';
        text += i + 2 < bytes.size() ? digits[three & 63U] : '=';
    }
    return text;
}

// A header's text as RFC 2047 has it: as it is if that is ASCII and short, else in encoded words, a
// line each, no character divided between two of them.
std::string encode_header(std::string_view text) {
    const bool plain = std::ranges::all_of(text, [](char c) { return is_plain(c) || c == ' '; });
    if (plain && text.size() <= 60 && text.find("=?") == std::string_view::npos) {
        return std::string(text);
    }
    constexpr std::size_t longest = 39;  // so that the line has no more than 76
    std::string encoded;
    while (!text.empty()) {
        std::size_t size = std::min(longest, text.size());
        while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) {
            --size;
        }
        if (!encoded.empty()) encoded += "\r\n ";
        encoded += fmt::format("=?UTF-8?B?{}?=", base64(text.substr(0, size)));
        text.remove_prefix(size);
    }
    return encoded;
}

// A line of text as quoted-printable (RFC 2045), with its end.
void add_line(std::string& body, std::string_view line) {
    constexpr std::size_t longest = 75;  // and a "=" where it goes on in the next
    std::size_t width = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        const bool blank = c == ' ' || c == '\t';
        const bool plain = (is_plain(c) && c != '=') || (blank && i + 1 < line.size());
        const std::size_t size = plain ? 1 : 3;
        if (width + size > longest) {
            body += "=\r\n";
            width = 0;
        }
        width += size;
        if (plain) {
            body += c;
        } else {
            body += fmt::format("={:02X}", static_cast<unsigned char>(c));
        }
    }
    body += line_end;
}

struct Cleanup {
    void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, Cleanup>;
using List = std::unique_ptr<curl_slist, Cleanup>;

template <class Value>
void set(const Easy& easy, CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(easy.get(), option, value);
    if (code != CURLE_OK) throw DeliveryError(curl_easy_strerror(code), false);
}

List list_of(const std::vector<std::string>& addresses) {
    List list;
    for (const std::string& address : addresses) {
        curl_slist* const longer =
            curl_slist_append(list.get(), fmt::format("<{}>", address).c_str());
        if (longer == nullptr) throw std::bad_alloc();
        static_cast<void>(list.release());
        list.reset(longer);
    }
    return list;
}

std::size_t read_message(char* to, std::size_t, std::size_t room, void* rest) noexcept {
    auto& message = *static_cast<std::string_view*>(rest);
    const std::size_t size = std::min(room, message.size());
    std::memcpy(to, message.data(), size);
    message.remove_prefix(size);
    return size;
}

// Of an SMTP server libcurl gives what it says line by line; 221 is its answer to QUIT.
std::size_t keep_reply(const char* line, std::size_t, std::size_t size, void* reply) noexcept {
    try {
        const std::string_view text(line, size);
        if (!text.starts_with("221")) static_cast<std::string*>(reply)->assign(text);
        return size;
    } catch (...) {
        return 0;
    }
}

int ask_to_stop(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
    return static_cast<const grafo::StopFlag*>(stop)->stop_requested() ? 1 : 0;
}

std::string trimmed(std::string_view line) {
    while (!line.empty() && !is_plain(line.back())) line.remove_suffix(1);
    return printable(line);
}

}  // namespace

void check_address(std::string_view address) {
    const std::size_t at = address.find('@');
    const bool plain = std::ranges::all_of(address, is_plain) &&
                       address.find_first_of("<>(),;:\\\"[]") == std::string_view::npos;
    if (!plain || at == 0 || at == std::string_view::npos || at + 1 == address.size() ||
        address.find('@', at + 1) != std::string_view::npos || address.size() > 254) {
        throw std::runtime_error(
            fmt::format("'{}' is not an address like name@example.org", printable(address)));
    }
}

std::string compose_message(const Alert& alert, const MailSettings& settings) {
    check_alert(alert);  // no line of it can get between the headers
    std::string to;
    for (const std::string& address : settings.to) to += (to.empty() ? "" : ",\r\n ") + address;
    const std::string domain = settings.from.substr(settings.from.find('@') + 1);
    std::string message = fmt::format(
        "Date: {}\r\n"
        "From: {}\r\n"
        "To: {}\r\n"
        "Subject: {}\r\n"
        "Message-ID: <{}@{}>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n",
        format_time(alert.time, "%a, %d %b %Y %H:%M:%S +0000"), settings.from, to,
        encode_header(fmt::format("[{}] {}", alert.severity, alert.title)), alert.id, domain);
    std::string_view text = alert.text;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        add_line(message, line);
    }
    return message;
}

std::string send_message(const MailSettings& settings, std::string_view message,
                         const grafo::StopFlag& stop) {
    // What libcurl points to is declared before it: the last it does is to say QUIT.
    char cause[CURL_ERROR_SIZE] = "";
    std::string reply;
    std::string_view rest = message;
    const List recipients = list_of(settings.to);
    const Easy easy(curl_easy_init());
    if (easy == nullptr) throw std::bad_alloc();
    set(easy, CURLOPT_ERRORBUFFER, cause);
    set(easy, CURLOPT_NOSIGNAL,
        1L);  // else timeouts raise signals, and this is not the only thread
#if LIBCURL_VERSION_NUM >= 0x075700
    set(easy, CURLOPT_QUICK_EXIT, 1L);  // else a stop waits for a name look-up
#endif
    set(easy, CURLOPT_URL, settings.url.c_str());
    set(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    // TLS wherever the server has it; a password goes nowhere without
    set(easy, CURLOPT_USE_SSL,
        static_cast<long>(settings.user.empty() ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (!settings.ca_file.empty()) set(easy, CURLOPT_CAINFO, settings.ca_file.c_str());
    if (!settings.user.empty()) {
        set(easy, CURLOPT_USERNAME, settings.user.c_str());
        set(easy, CURLOPT_PASSWORD, settings.password.c_str());
    }
    const std::string from = fmt::format("<{}>", settings.from);
    set(easy, CURLOPT_MAIL_FROM, from.c_str());
    set(easy, CURLOPT_MAIL_RCPT, recipients.get());
    set(easy, CURLOPT_UPLOAD, 1L);
    set(easy, CURLOPT_READFUNCTION, &read_message);
    set(easy, CURLOPT_READDATA, static_cast<void*>(&rest));
    set(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(message.size()));
    set(easy, CURLOPT_HEADERFUNCTION, &keep_reply);
    set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&reply));
    set(easy, CURLOPT_NOPROGRESS, 0L);
    set(easy, CURLOPT_XFERINFOFUNCTION, &ask_to_stop);
    set(easy, CURLOPT_XFERINFODATA, static_cast<void*>(const_cast<grafo::StopFlag*>(&stop)));

    const CURLcode code = curl_easy_perform(easy.get());
    if (code == CURLE_OK) return trimmed(reply);
    if (code == CURLE_ABORTED_BY_CALLBACK && stop) throw grafo::Cancelled();
    long number = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &number);
    if (number >= 400) {
        throw DeliveryError(fmt::format("the server said {}", trimmed(reply)), number < 500);
    }
    throw DeliveryError(cause[0] != '\0' ? cause : curl_easy_strerror(code), is_transient(code));
}
