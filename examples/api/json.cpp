#include "json.hpp"

#include <stdexcept>

namespace {

// What nlohmann::json makes of a document, it walks by recursion.
constexpr int deepest = 100;

bool check_depth(int depth, Json::parse_event_t, const Json&) {
    if (depth > deepest) throw std::runtime_error("no valid JSON: nested too deep");
    return true;
}

}  // namespace

Json parse_json(const std::string& text) {
    try {
        return Json::parse(text, check_depth);
    } catch (const Json::exception& error) {
        std::string what = error.what();  // "[json.exception.parse_error.101] parse error …"
        what.erase(0, what.find(' ') + 1);
        if (what.size() > 200) what.replace(200, std::string::npos, "...");
        throw std::runtime_error("no valid JSON: " + what);
    }
}

std::string to_text(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}
