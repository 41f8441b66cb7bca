#include "values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

std::optional<std::int64_t> parse_count(std::string_view text) {
    constexpr std::size_t most_digits = 15;  // sums of these do not overflow
    const bool digits =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || text.empty() || text.size() > most_digits) return std::nullopt;
    std::int64_t count = 0;
    std::from_chars(text.data(), text.data() + text.size(), count);
    return count;
}

std::optional<Cents> parse_cents(std::string_view text) {
    const std::size_t point = text.find('.');
    std::string digits(text.substr(0, point));
    if (digits.empty()) return std::nullopt;
    if (point == std::string_view::npos) return parse_count(digits + "00");
    const std::string_view decimals = text.substr(point + 1);
    if (decimals.empty() || decimals.size() > 2) return std::nullopt;
    digits += decimals;
    if (decimals.size() == 1) digits += '0';
    return parse_count(digits);
}

std::optional<Date> parse_date(std::string_view text) {
    if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
    const auto year = parse_count(text.substr(0, 4));
    const auto month = parse_count(text.substr(5, 2));
    const auto day = parse_count(text.substr(8, 2));
    if (!year || !month || !day) return std::nullopt;
    const Date date(std::chrono::year(static_cast<int>(*year)),
                    std::chrono::month(static_cast<unsigned>(*month)),
                    std::chrono::day(static_cast<unsigned>(*day)));
    if (!date.ok()) return std::nullopt;
    return date;
}

std::string format_count(std::size_t count) {
    std::string text = std::to_string(count);
    for (std::size_t i = text.size(); i > 3;) text.insert(i -= 3, 1, ',');
    return text;
}

std::string format_cents(Cents cents) {
    return fmt::format("{}.{:02}", format_count(static_cast<std::size_t>(cents / 100)),
                       cents % 100);
}

std::string format_date(Date date) {
    return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}
