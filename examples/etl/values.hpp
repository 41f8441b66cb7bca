#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Money, in hundredths.
using Cents = std::int64_t;

using Date = std::chrono::year_month_day;

/// "42": digits only, no sign.
[[nodiscard]] std::optional<std::int64_t> parse_count(std::string_view text);

/// "12", "12.5" or "12.50": no sign, no separators.
[[nodiscard]] std::optional<Cents> parse_cents(std::string_view text);

/// "2025-03-31": a day that exists.
[[nodiscard]] std::optional<Date> parse_date(std::string_view text);

/// "1,234,567".
[[nodiscard]] std::string format_count(std::size_t count);

/// "1,234.50". Not for negative amounts.
[[nodiscard]] std::string format_cents(Cents cents);

/// "2025-03-31".
[[nodiscard]] std::string format_date(Date date);
