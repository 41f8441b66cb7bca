#include "command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdlib>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace {

using CLI::ValidationError;

// What the command line gives as texts.
struct Texts {
    std::string token;
    std::string credentials;
    std::string paging = "_page={page}&_limit={size}";
    std::size_t page_size = 10;
    std::string deadline = "30s";
    std::vector<std::string> faults;
};

// Secrets come from the environment, since others can see the command line; and so the message
// does not repeat what may be one.
std::string from_environment(const std::string& option, const std::string& name) {
    const char* const value = std::getenv(name.c_str());
    if (value != nullptr && *value != '\0') return value;
    throw ValidationError(option, "there is no environment variable of that name, or it is empty");
}

std::chrono::milliseconds parse_deadline(const std::string& text) {
    const std::map<std::string, double> units{{"ms", 1}, {"s", 1000}, {"m", 60'000}};
    char* unit = nullptr;
    const double number = std::strtod(text.c_str(), &unit);
    const auto found = units.find(unit);
    const double milliseconds = found == units.end() ? 0 : number * found->second;
    if (milliseconds >= 1 && milliseconds <= 24 * 60 * 60'000.0) {
        return std::chrono::milliseconds(static_cast<long>(milliseconds));
    }
    throw ValidationError("--deadline", fmt::format("{} is no time such as 500ms, 2s or 1.5m, of "
                                                    "at most a day",
                                                    text));
}

Faults parse_faults(const std::vector<std::string>& texts) {
    const std::map<std::string, Fault> kinds{
        {"fail", Fault::fail},          {"busy", Fault::busy},
        {"hang", Fault::hang},          {"cut", Fault::cut},
        {"deep", Fault::deep},          {"broken", Fault::broken},
        {"elsewhere", Fault::elsewhere}};
    Faults faults;
    for (const std::string& text : texts) {
        const std::size_t mark = text.find('=');
        const std::string part = text.substr(0, mark);
        const auto kind = kinds.find(mark == std::string::npos ? "" : text.substr(mark + 1));
        const bool known = part == "profile" || part == "posts" || part == "comments";
        if (!known || kind == kinds.end()) {
            throw ValidationError("--fault", text + " is none such as comments=fail");
        }
        faults[part] = kind->second;
    }
    return faults;
}

// Without the slashes at its end.
std::string checked_url(std::string url) {
    const std::size_t host = url.find("://") + 3;
    if ((!url.starts_with("http://") && !url.starts_with("https://")) || host == url.size()) {
        throw ValidationError("--url", url + " does not begin with http:// or https:// and a host");
    }
    if (url.find_first_of("?#") != std::string::npos) {
        throw ValidationError("--url", url + " has a query: that belongs to the paths");
    }
    if (url.substr(0, url.find('/', host)).find('@') != std::string::npos) {
        throw ValidationError("--url", "a password in a URL is seen by others: use --token");
    }
    while (url.ends_with('/')) url.pop_back();
    return url;
}

void complete(Options& options, const Texts& texts) {
    if (options.user.empty()) throw ValidationError("--user", "it is empty");
    options.deadline = parse_deadline(texts.deadline);
    options.faults = parse_faults(texts.faults);
    if (!options.url.empty()) options.url = checked_url(options.url);
    if (!texts.token.empty()) options.login.token = from_environment("--token", texts.token);
    if (!texts.credentials.empty()) {
        options.login.json = from_environment("--credentials", texts.credentials);
    } else if (options.url.empty() && texts.token.empty()) {
        options.login.path = "login";
        options.login.json = DemoServer::credentials;
    }
    for (std::string* const path :
         {&options.profile, &options.posts.path, &options.comments.path}) {
        *path = fill_in(*path, "user", options.user);
    }
    for (Listing* const list : {&options.posts, &options.comments}) {
        list->paging = texts.paging;
        list->page_size = texts.page_size;
    }
}

}  // namespace

Options parse_command_line(int argc, char** argv) {
    Options options{false,
                    "",
                    "7",
                    {},
                    "users/{user}",
                    {"users/{user}/posts", "", 0},
                    {"users/{user}/comments", "", 0},
                    {},
                    3,
                    8U << 20U,
                    "",
                    "",
                    {}};
    Texts texts;
    CLI::App app("Gets profile, posts and comments of a user from a JSON API, as one document.");
    auto* const url = app.add_option("--url", options.url,
                                     "Where the API is, such as https://host/api; without it a "
                                     "server in this process is asked");
    app.add_option("--user", options.user, "Whose")->capture_default_str();
    auto* const token = app.add_option("--token", texts.token, "Environment variable with a token");
    auto* const credentials = app.add_option(
        "--credentials", texts.credentials,
        "Environment variable with the JSON to be posted to --login, which answers with a token");
    app.add_option("--login", options.login.path, "Path of the login")->needs(credentials);
    credentials->needs("--login")->excludes(token);
    app.add_option("--profile", options.profile, "Path of the profile")->capture_default_str();
    app.add_option("--posts", options.posts.path, "Path of the posts")->capture_default_str();
    app.add_option("--comments", options.comments.path, "Path of the comments")
        ->capture_default_str();
    app.add_option("--paging", texts.paging,
                   "Query of a page, with {page} or {offset}, and {size}; empty: there are none")
        ->capture_default_str();
    app.add_option("--page-size", texts.page_size, "How many items are asked for at once")
        ->check(CLI::Range(1, 10'000))
        ->capture_default_str();
    app.add_option("--deadline", texts.deadline, "When it gives up: 500ms, 2s, 1m")
        ->capture_default_str();
    app.add_option("--retries", options.retries, "How often a part is tried again")
        ->check(CLI::Range(0, 100))
        ->capture_default_str();
    app.add_option("--max-body", options.max_body, "Of an answer, in bytes")
        ->check(CLI::Range(1, std::numeric_limits<int>::max()))
        ->capture_default_str();
    app.add_option("--cache", options.cache, "File that keeps the answers for the next run");
    app.add_option("--ca-file", options.ca_file, "Certificates to trust, in place of the system's")
        ->check(CLI::ExistingFile);
    app.add_flag("--serve", options.serve, "Only be the server of the example, until Ctrl-C")
        ->excludes(url);
    app.add_option(
           "--fault", texts.faults,
           "What goes wrong at the server of the example: PART=fail, busy, hang, cut, broken, "
           "deep or elsewhere")
        ->allow_extra_args(false)
        ->excludes(url);
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("api: {}\n", error.what());
    });
    try {
        app.parse(argc, argv);
        complete(options, texts);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return options;
}
