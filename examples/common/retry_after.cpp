#include "retry_after.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <string>
#include <system_error>

using namespace std::chrono_literals;

std::chrono::seconds retry_after(const grafo::HttpResponse& response) {
    constexpr std::chrono::seconds longest = 10000h;
    const std::string* const header = response.header("Retry-After");
    if (header == nullptr) return 0s;
    unsigned seconds = 0;
    const char* const end = header->data() + header->size();
    if (const auto read = std::from_chars(header->data(), end, seconds); read.ptr == end) {
        return read.ec == std::errc() ? std::chrono::seconds(seconds) : longest;
    }
    const std::time_t date = curl_getdate(header->c_str(), nullptr);
    return std::clamp(std::chrono::seconds(date - std::time(nullptr)), 0s, longest);
}
