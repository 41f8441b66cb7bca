#pragma once
#include <string>
#include <string_view>
#include <vector>

/// What a robots.txt (RFC 9309) says to one robot.
class Robots {
public:
    /// Everything is allowed.
    Robots() {}
    /// `agent` is a User-Agent: what counts is its name, before the version.
    Robots(std::string_view text, std::string_view agent);

    /// Whether a path, with its query, may be asked for. The longest rule that fits decides.
    [[nodiscard]] bool allow(std::string_view path) const;

private:
    struct Rule {
        std::string pattern;
        bool allow;
    };
    std::vector<Rule> rules_;
};
