#include "robots.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace {

std::string lower(std::string_view text) {
    std::string lowered(text);
    std::ranges::transform(lowered, lowered.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return lowered;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r";
    const std::size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

// What comes before `mark`, taken off `text` with the mark; all of it without one.
std::string_view cut(std::string_view& text, char mark) {
    const std::string_view before = text.substr(0, text.find(mark));
    text.remove_prefix(std::min(before.size() + 1, text.size()));
    return before;
}

// `*` stands for anything, and a `$` at the end for the end of the path.
bool fits(std::string_view pattern, std::string_view path) {
    const bool whole = pattern.ends_with('$');
    if (whole) pattern.remove_suffix(1);
    std::size_t p = 0;
    std::size_t s = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    for (;;) {
        if (p == pattern.size() && (!whole || s == path.size())) return true;
        if (p < pattern.size() && pattern[p] == '*') {
            star = ++p;
            resume = s;
        } else if (p < pattern.size() && s < path.size() && pattern[p] == path[s]) {
            ++p;
            ++s;
        } else if (star != std::string_view::npos && resume < path.size()) {
            p = star;
            s = ++resume;
        } else {
            return false;
        }
    }
}

}  // namespace

Robots::Robots(std::string_view text, std::string_view agent) {
    const std::string name = lower(trimmed(agent.substr(0, agent.find_first_of("/ "))));
    std::vector<Rule> for_all;
    bool named = false;    // a group of the file names us
    bool in_rules = true;  // of a group, after its names
    bool ours = false;     // the group that is being read
    bool everybody = false;
    while (!text.empty()) {
        std::string_view line = cut(text, '\n');
        line = cut(line, '#');
        const std::string key = lower(trimmed(cut(line, ':')));
        const std::string_view value = trimmed(line);
        if (key == "user-agent") {
            if (std::exchange(in_rules, false)) ours = everybody = false;
            everybody = everybody || value == "*";
            ours = ours || lower(value) == name;
            named = named || ours;
        } else if (key == "allow" || key == "disallow") {
            in_rules = true;
            if (value.empty()) continue;
            if (ours) rules_.push_back(Rule{std::string(value), key == "allow"});
            if (everybody) for_all.push_back(Rule{std::string(value), key == "allow"});
        }
    }
    if (!named) rules_ = std::move(for_all);
}

bool Robots::allow(std::string_view path) const {
    if (path == "/robots.txt") return true;
    bool allowed = true;
    std::size_t longest = 0;
    for (const Rule& rule : rules_) {
        const std::size_t length = rule.pattern.size();
        if (length < longest || !fits(rule.pattern, path)) continue;
        allowed = rule.allow || (length == longest && allowed);
        longest = length;
    }
    return allowed;
}
