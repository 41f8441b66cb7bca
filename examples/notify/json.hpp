#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "alert.hpp"

/// An alert that a channel could not deliver: a line of the dead-letter file.
struct Letter {
    std::string channel;  // mail, webhook or log
    std::string error;
    unsigned tries = 0;
    std::int64_t time = 0;  // of the last try, seconds since 1970
    Alert alert;
};

/// {"id":…,"time":…,"severity":…,"title":…,"text":…} in one line: what webhook and log get.
[[nodiscard]] std::string alert_json(const Alert& alert);

/// {"channel":…,"error":…,"tries":…,"time":…,"alert":{…}} in one line.
[[nodiscard]] std::string letter_json(const Letter& letter);

/// An alert of a JSON file: title and text; severity ("info"), id and time (new ones) if it has
/// them. Throws `std::runtime_error` naming the file.
[[nodiscard]] Alert read_alert(const std::filesystem::path& file);

/// What `letter_json` has made. Throws `std::runtime_error`.
[[nodiscard]] Letter parse_letter(std::string_view line);
