#include "json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "../common/file.hpp"
#include "files.hpp"

namespace {

using Json = nlohmann::ordered_json;  // keys stay in our order

constexpr const char* time_format = "%Y-%m-%dT%H:%M:%SZ";

// nlohmann's messages begin with "[json.exception.type_error.302] "
std::string cause(const nlohmann::json::exception& error) {
    const std::string_view text = error.what();
    const std::size_t end = text.find("] ");
    return std::string(end == std::string_view::npos ? text : text.substr(end + 2));
}

// That of `text`, as the sentence of a `std::runtime_error` if it is none.
Json parse(std::string_view text) {
    try {
        return Json::parse(text);
    } catch (const nlohmann::json::exception& error) {
        throw std::runtime_error(printable(cause(error)));
    }
}

void only_keys(const Json& json, std::initializer_list<std::string_view> keys) {
    if (!json.is_object()) throw std::runtime_error("it is no JSON object");
    for (const auto& [key, value] : json.items()) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
            throw std::runtime_error(fmt::format("there is an unknown key '{}'", printable(key)));
        }
    }
}

std::string string_of(const Json& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end()) throw std::runtime_error(fmt::format("there is no '{}'", key));
    if (!found->is_string()) throw std::runtime_error(fmt::format("'{}' is no string", key));
    return found->get<std::string>();
}

std::int64_t time_of(const Json& json) {
    const std::string text = string_of(json, "time");
    std::tm utc = {};
    const char* const end = ::strptime(text.c_str(), time_format, &utc);
    if (end == nullptr || *end != '\0') {
        throw std::runtime_error("'time' is not like 2025-12-31T23:59:59Z");
    }
    return ::timegm(&utc);
}

Json json_of(const Alert& alert) {
    return {{"id", alert.id},
            {"time", format_time(alert.time, time_format)},
            {"severity", alert.severity},
            {"title", alert.title},
            {"text", alert.text}};
}

Alert alert_of(const Json& json) {
    only_keys(json, {"id", "time", "severity", "title", "text"});
    Alert alert =
        make_alert(json.contains("severity") ? string_of(json, "severity") : std::string("info"),
                   string_of(json, "title"), string_of(json, "text"));
    if (json.contains("id")) alert.id = string_of(json, "id");
    if (json.contains("time")) alert.time = time_of(json);
    check_alert(alert);
    return alert;
}

}  // namespace

std::string alert_json(const Alert& alert) { return json_of(alert).dump(); }

std::string letter_json(const Letter& letter) {
    const Json json = {{"channel", letter.channel},
                       {"error", letter.error},
                       {"tries", letter.tries},
                       {"time", format_time(letter.time, time_format)},
                       {"alert", json_of(letter.alert)}};
    // the error has the words of another machine, in whatever encoding
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Alert read_alert(const std::filesystem::path& file) {
    const std::string text = read_file(file);
    try {
        return alert_of(parse(text));
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}: {}", file.string(), error.what()));
    }
}

Letter parse_letter(std::string_view line) {
    const Json json = parse(line);
    only_keys(json, {"channel", "error", "tries", "time", "alert"});
    Letter letter;
    letter.channel = string_of(json, "channel");
    letter.error = string_of(json, "error");
    letter.time = time_of(json);
    const auto tries = json.find("tries");
    if (tries == json.end() || !tries->is_number_unsigned()) {
        throw std::runtime_error("'tries' is no number");
    }
    letter.tries = tries->get<unsigned>();
    const auto alert = json.find("alert");
    if (alert == json.end()) throw std::runtime_error("there is no 'alert'");
    for (const char* const key : {"id", "time", "severity"}) {
        if (alert->is_object()) static_cast<void>(string_of(*alert, key));
    }
    letter.alert = alert_of(*alert);
    return letter;
}
