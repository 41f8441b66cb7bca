#pragma once
#include <nlohmann/json.hpp>
#include <string>

using Json = nlohmann::json;

/// Throws `std::runtime_error`, saying where it is broken.
[[nodiscard]] Json parse_json(const std::string& text);

/// In lines, indented by 2.
[[nodiscard]] std::string to_text(const Json& json);
