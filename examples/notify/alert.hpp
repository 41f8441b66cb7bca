#pragma once
#include <cstdint>
#include <string>
#include <string_view>

/// What is to be told. Its id and its time are the same in every try and on every channel, so that
/// whoever gets it twice can see that it is one.
struct Alert {
    std::string id;
    std::int64_t time = 0;  // seconds since 1970
    std::string severity;   // info, warning or critical
    std::string title;
    std::string text;
};

/// An alert of now, with a random id. Throws `std::runtime_error` as `check_alert` does.
[[nodiscard]] Alert make_alert(std::string severity, std::string title, std::string text);

/// Throws `std::runtime_error` and says what is wrong: a title of no or more than one line, a
/// severity that is none, an id that could not stand in a header, text that is not UTF-8.
void check_alert(const Alert& alert);

/// Seconds since 1970, now.
[[nodiscard]] std::int64_t unix_time();

/// `time` in UTC, as `std::strftime` writes it.
[[nodiscard]] std::string format_time(std::int64_t time, const char* format);

/// What another machine said, for a line of our own: without its control characters.
[[nodiscard]] std::string printable(std::string_view text);
