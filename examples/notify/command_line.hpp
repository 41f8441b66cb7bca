#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>

#include "alert.hpp"
#include "settings.hpp"

/// What a run is asked to do.
struct Options {
    std::optional<Alert> alert;  // of the command line
    std::filesystem::path alert_file;
    std::filesystem::path resend;  // letters in the place of an alert

    std::optional<MailSettings> mail;
    std::optional<WebhookSettings> webhook;
    std::filesystem::path log;
    std::filesystem::path dead_letter;

    std::size_t quorum = 0;  // channels; 0: all
    unsigned tries = 0;
    std::chrono::milliseconds backoff{};
    std::chrono::milliseconds timeout{};

    /// How many channels there are; with none, and nothing to resend, it is a rehearsal.
    [[nodiscard]] std::size_t channels() const {
        return (mail ? 1U : 0U) + (webhook ? 1U : 0U) + (log.empty() ? 0U : 1U);
    }
};

/// What the command line and the environment say. Ends the process after `--help` with 0, and with
/// 2 and a sentence on stderr if the command line is wrong.
[[nodiscard]] Options parse_command_line(int argc, char** argv);
