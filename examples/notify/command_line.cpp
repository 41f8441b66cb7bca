#include "command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "../common/curl_url.hpp"
#include "mail.hpp"

namespace {

namespace fs = std::filesystem;

// A check of one value, by a function that throws a sentence.
template <class F>
CLI::Validator checked(F check) {
    return CLI::Validator(
        [check](std::string& value) {
            try {
                check(value);
                return std::string();
            } catch (const std::runtime_error& error) {
                return std::string(error.what());
            }
        },
        "");
}

// "host:port" gets the first scheme.
std::string full_url(const std::string& text, std::initializer_list<std::string_view> schemes) {
    const std::string whole = text.find("://") == std::string::npos
                                  ? fmt::format("{}://{}", *schemes.begin(), text)
                                  : text;
    const CurlUrl url(curl_url());
    const bool known = std::any_of(schemes.begin(), schemes.end(), [&](std::string_view scheme) {
        return whole.starts_with(std::string(scheme) + "://");
    });
    if (!known || url == nullptr ||
        curl_url_set(url.get(), CURLUPART_URL, whole.c_str(), 0) != CURLUE_OK) {
        throw std::runtime_error(
            fmt::format("'{}' is no address of {}", printable(text), fmt::join(schemes, " or ")));
    }
    return whole;
}

std::string secret_of(const std::string& option, const std::string& variable) {
    const char* const secret = std::getenv(variable.c_str());
    if (secret == nullptr || *secret == '\0') {
        throw CLI::ValidationError(
            option, fmt::format("the environment variable {} is not set", printable(variable)));
    }
    return secret;
}

bool same_file(const fs::path& left, const fs::path& right) {
    std::error_code missing;
    return fs::absolute(left).lexically_normal() == fs::absolute(right).lexically_normal() ||
           fs::equivalent(left, right, missing);
}

}  // namespace

Options parse_command_line(int argc, char** argv) {
    Options options;
    std::string severity = "info";
    std::string title;
    std::string text;
    MailSettings mail;
    std::string password_variable;
    WebhookSettings webhook;
    std::string secret_variable;
    std::string ca_file;
    unsigned backoff = 500;
    unsigned timeout = 30'000;
    options.tries = 4;
    options.dead_letter = "dead_letters.jsonl";

    CLI::App app("Sends an alert to people, programs and a log; without a channel it rehearses.");
    const auto smtp_url = [](const std::string& url) { full_url(url, {"smtp", "smtps"}); };
    const auto http_url = [](const std::string& url) { full_url(url, {"http", "https"}); };
    const auto address = [](const std::string& text_) { check_address(text_); };

    auto* const title_option = app.add_option("--title", title, "What has happened, in a line");
    app.add_option("--text", text, "The rest of it, in lines")->needs(title_option);
    app.add_option("--severity", severity, "info, warning or critical")
        ->needs(title_option)
        ->capture_default_str();
    auto* const alert_option =
        app.add_option("--alert", options.alert_file, "JSON file of title, text and severity")
            ->excludes(title_option);
    auto* const resend_option =
        app.add_option("--resend", options.resend, "Try the letters of that dead-letter file again")
            ->excludes(title_option)
            ->excludes(alert_option);

    auto* const smtp = app.add_option("--smtp", mail.url, "Mail server, HOST:PORT or smtps://…")
                           ->check(checked(smtp_url));
    auto* const from = app.add_option("--from", mail.from, "Address of the sender")
                           ->check(checked(address))
                           ->needs(smtp);
    auto* const to = app.add_option("--to", mail.to, "Address of a recipient, several times")
                         ->check(checked(address))
                         ->expected(1)
                         ->take_all()
                         ->needs(smtp);
    smtp->needs(from)->needs(to);
    auto* const user = app.add_option("--smtp-user", mail.user, "Name to log in with, by TLS");
    auto* const password = app.add_option("--smtp-password-env", password_variable,
                                          "Environment variable of the password");
    user->needs(smtp)->needs(password);
    password->needs(user);
    auto* const url = app.add_option("--webhook", webhook.url, "URL to post to, signed")
                          ->check(checked(http_url));
    auto* const secret = app.add_option("--secret-env", secret_variable,
                                        "Environment variable of the secret to sign with");
    url->needs(secret);
    secret->needs(url);
    app.add_option("--log", options.log, "File to append a line of JSON to");
    app.add_option("--ca-file", ca_file, "Certificates to trust (PEM) [the system's]");

    app.add_option("--quorum", options.quorum, "Channels that have to deliver [all]")
        ->check(CLI::Range(1, 3))
        ->excludes(resend_option);
    app.add_option("--dead-letter", options.dead_letter, "File for what could not be delivered")
        ->excludes(resend_option)
        ->capture_default_str();
    app.add_option("--tries", options.tries, "Tries of a channel, the first included")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    app.add_option("--backoff", backoff,
                   "Longest pause before the second try in ms, twice as long before each further")
        ->check(CLI::Range(0, 3'600'000))
        ->capture_default_str();
    app.add_option("--timeout", timeout, "Longest time of a try in ms")
        ->check(CLI::Range(1, 3'600'000))
        ->capture_default_str();
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("notify: {}\n", printable(error.what()));
    });
    try {
        app.parse(argc, argv);
        options.backoff = std::chrono::milliseconds(backoff);
        options.timeout = std::chrono::milliseconds(timeout);
        if (*smtp) {
            mail.url = full_url(mail.url, {"smtp", "smtps"});
            mail.ca_file = ca_file;
            if (*user) mail.password = secret_of("--smtp-password-env", password_variable);
            options.mail = std::move(mail);
        }
        if (*url) {
            webhook.url = full_url(webhook.url, {"http", "https"});
            webhook.secret = secret_of("--secret-env", secret_variable);
            webhook.ca_file = ca_file;
            options.webhook = std::move(webhook);
        }
        const fs::path& letters = *resend_option ? options.resend : options.dead_letter;
        if (!options.log.empty() && same_file(options.log, letters)) {
            throw CLI::ValidationError("--log", fmt::format("{} is the file of the dead letters",
                                                            printable(options.log.string())));
        }
        const std::size_t channels = options.channels() == 0 ? 3 : options.channels();
        if (options.quorum > channels) {
            throw CLI::ValidationError(
                "--quorum", fmt::format("{} are more than the channels", options.quorum));
        }
        if (options.quorum == 0) options.quorum = channels;
        if (*title_option) {
            try {
                options.alert = make_alert(severity, title, text);
            } catch (const std::runtime_error& error) {
                throw CLI::ValidationError("--title", error.what());
            }
        } else if (options.channels() > 0 && !*alert_option && !*resend_option) {
            throw CLI::RequiredError("--title, --alert or --resend");
        } else if (!*alert_option) {
            options.alert_file = fs::path(GRAFO_EXAMPLE_DIR) / "data" / "alert.json";
        }
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return options;
}
