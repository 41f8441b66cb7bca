#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What a server refuses, with which code, and how often: "RCPT" 550, "POST" 503.
struct Refusal {
    std::string command;
    int code = 0;   // 0: there is no answer
    int times = 0;  // below 0: always
};

/// The refusals of a server, which are used up.
class Refusals {
public:
    explicit Refusals(std::vector<Refusal> list) : list_(std::move(list)) {}

    /// The code with which the command is refused this time; empty: it is not.
    std::optional<int> next(std::string_view command) {
        const auto found = std::ranges::find_if(list_, [&](const Refusal& refusal) {
            return refusal.command == command && refusal.times != 0;
        });
        if (found == list_.end()) return {};
        if (found->times > 0) --found->times;
        return found->code;
    }

private:
    std::vector<Refusal> list_;
};
