#include "command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include "page.hpp"
#include "url.hpp"

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// A number from 1 up to a million at the begin of `text`, which is taken off.
std::optional<std::uint32_t> take_number(std::string_view& text) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number == 0 || number > 1'000'000) return {};
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

bool parse_rate(std::string_view text, Rate& rate) {
    const auto count = take_number(text);
    if (!count) return false;
    rate.count = *count;
    if (text == "/s") {
        rate.per = std::chrono::seconds(1);
    } else if (text == "/m") {
        rate.per = std::chrono::minutes(1);
    } else if (text == "/h") {
        rate.per = std::chrono::hours(1);
    } else {
        return false;
    }
    return true;
}

bool parse_time(std::string_view text, milliseconds& time) {
    const auto count = take_number(text);
    if (!count) return false;
    if (text == "ms") {
        time = milliseconds(*count);
    } else if (text == "s") {
        time = std::chrono::seconds(*count);
    } else {
        return false;
    }
    return true;
}

void need_url(std::string& url) {
    const auto absolute = absolute_url(url);
    if (!absolute) {
        throw CLI::ValidationError(
            "URL", url + " is none: it has to begin with http:// or https:// and a host");
    }
    url = *absolute;
}

}  // namespace

Options parse_command_line(int argc, char** argv) {
    Options options;
    std::string rate;
    std::string timeout;
    CLI::App app("Follows the links of web sites, and saves titles, texts and links of the pages.");
    app.add_option("URL", options.urls,
                   "Where to begin; links to the same hosts are followed. Without any, the pages "
                   "that come with the example are served on this machine and scraped");
    app.add_option("--xpath", options.xpath, "What to save of each page beside that")
        ->capture_default_str();
    app.add_option("--depth", options.depth, "How many links away from a URL")
        ->check(CLI::Range(0, 1000))
        ->capture_default_str();
    app.add_option("--rate", rate, "Requests to one host: 5/s, 30/m, 100/h [5/s]");
    app.add_option("--jobs", options.jobs, "Requests to one host at once")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
    app.add_option("--timeout", timeout, "Of a request: 10s, 500ms [10s]");
    app.add_option("--retries", options.retries,
                   "How often a request is made again after a 5xx, a 429 or no answer")
        ->check(CLI::Range(0, 100))
        ->capture_default_str();
    app.add_option("--max-pages", options.max_pages, "No more than that in all")
        ->check(CLI::Range(1, std::numeric_limits<int>::max()))
        ->capture_default_str();
    app.add_option("--user-agent", options.user_agent,
                   "Who you are; its name counts for robots.txt")
        ->capture_default_str();
    app.add_option("--out", options.out,
                   "SQLite database, its tables pages, links and found are replaced")
        ->capture_default_str();
    app.add_option("--graph", options.graph, "Graphviz file of the links [as --out, in .dot]");
    app.add_flag("--serve", options.serve,
                 "Only serves the pages that come with the example, until Ctrl-C");
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("scraper: {}\n", error.what());
    });
    try {
        app.parse(argc, argv);
        for (std::string& url : options.urls) need_url(url);
        if (!rate.empty() && !parse_rate(rate, options.rate)) {
            throw CLI::ValidationError("--rate", rate + " is no rate as 5/s, 30/m or 100/h");
        }
        if (!timeout.empty() && !parse_time(timeout, options.timeout)) {
            throw CLI::ValidationError("--timeout", timeout + " is no time as 10s or 500ms");
        }
        if (const std::string wrong = xpath_error(options.xpath); !wrong.empty()) {
            throw CLI::ValidationError("--xpath", wrong);
        }
        if (options.user_agent.find_first_of("\r\n") != std::string::npos) {
            throw CLI::ValidationError("--user-agent", "it has to be one line");
        }
        if (options.graph.empty()) options.graph = fs::path(options.out).replace_extension(".dot");
        if (fs::absolute(options.graph).lexically_normal() ==
            fs::absolute(options.out).lexically_normal()) {
            throw CLI::ValidationError("--graph", options.graph.string() + " is already --out");
        }
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    if (options.urls.empty()) {  // there nobody minds, and one page never answers
        if (rate.empty()) options.rate.count = 20;
        if (timeout.empty()) options.timeout = milliseconds(500);
        if (app.count("--depth") == 0) options.depth = 3;
    }
    return options;
}
