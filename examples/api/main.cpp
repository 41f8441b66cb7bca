#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <grafo/grafo.hpp>
#include <optional>
#include <string>
#include <vector>

#include "../common/file.hpp"
#include "../common/innermost.hpp"
#include "../common/signals.hpp"
#include "cache.hpp"
#include "client.hpp"
#include "command_line.hpp"
#include "demo_server.hpp"
#include "json.hpp"
#include "parts.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

namespace {

constexpr int all_is_there = 0;
constexpr int nothing_is_there = 1;
constexpr int something_is_missing = 3;
constexpr int interrupted = 130;

// On stderr, in one line whatever a server wrote into it.
void tell(std::string text) {
    std::ranges::replace_if(text, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, '?');
    std::fputs(("api: " + text + "\n").c_str(), stderr);  // and go on if nobody can read it
}

Task<> stop_at(Client::Clock::time_point deadline, TreeExecutor* executor) {
    co_await sleep_until(deadline);
    executor->stop();
}

Task<> show_progress(AsyncGenerator<Event> events) {
    try {
        while (auto event = co_await events.next()) {
            const std::string& part = event->node().id();
            if (auto page = event->chunk<Page>()) {
                tell(fmt::format("{}: page {}, {} items", part, page->output.number,
                                 page->output.items.size()));
            } else if (event->kind() == EventKind::retrying) {
                tell(fmt::format("{}: {}, tries again", part, innermost(*event->error())));
            } else if (event->kind() == EventKind::completed && part != "merge") {
                tell(fmt::format("{}: done", part));
            }
        }
    } catch (const RunError&) {
        // the report tells it
    }
}

void tell_requests(const Client& client, std::chrono::nanoseconds elapsed) {
    std::size_t requests = 0;
    std::string text;
    for (const auto& [status, count] : client.answers()) {
        text += requests == 0 ? ": " : ", ";
        requests += count;
        text += status == 0 ? fmt::format("{} failed", count)
                            : fmt::format("{} answered {}", count, status);
        if (status == 304) text += " (from the cache)";
    }
    tell(fmt::format("{} requests in {:.2f} s{}", requests,
                     std::chrono::duration<double>(elapsed).count(), text));
}

// Why that node has no output.
std::string reason(const AnyNode& node, const RunReport& report, const Options& options) {
    for (const NodeError& error : report.errors()) {
        if (error.node() == node) return innermost(error);
    }
    if (node.state() == NodeState::skipped) return "there is no token";
    return fmt::format("the deadline of {:g} s has passed",
                       std::chrono::duration<double>(options.deadline).count());
}

void print(const Json& json) {
    const std::string text = to_text(json) + "\n";
    const std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
    if (written != text.size() || std::fflush(stdout) != 0) throw_errno("write", "the result");
}

//         ┌─> profile ──────┐
// login ──┼─> posts ────────┼─> merge
//         └─> comments ─────┘
int collect(const Options& options) {
    std::optional<DemoServer> server;
    if (options.url.empty()) {
        server.emplace(std::filesystem::path(GRAFO_EXAMPLE_DIR) / "data" / "blog.json",
                       options.faults);
    }
    const std::string url = server ? server->url() : options.url;
    Cache cache(options.cache);
    const auto deadline = Client::Clock::now() + options.deadline;
    Client client(
        {url, server ? "the example's server" : url, options.ca_file, options.max_body, deadline},
        cache);

    const RetryPolicy again = RetryPolicy{options.retries + 1}
                                  .backoff(200ms, 2.0)
                                  .cap(5s)
                                  .full_jitter()
                                  .when(&ApiError::temporary);
    Node login{"login", log_in, "client"_a = &client, "login"_a = options.login};
    Node profile{"profile", fetch_profile, "client"_a = &client, "path"_a = options.profile,
                 "token"_a = login};
    Node posts{"posts", fetch_pages, "client"_a = &client, "listing"_a = options.posts,
               "token"_a = login};
    Node comments{"comments", fetch_pages, "client"_a = &client, "listing"_a = options.comments,
                  "token"_a = login};
    Node merged{"merge",
                merge,
                "user"_a = options.user,
                "profile"_a = profile,
                "posts"_a = posts,
                "comments"_a = comments};
    const std::vector<AnyNode> parts{profile, posts, comments};
    login.retry(again);
    profile.retry(again);
    posts.retry(again);
    comments.retry(again);
    merged.trigger(Trigger::all_settled);  // of what is there, after the deadline too

    TreeExecutor executor{"api", merged};
    executor.on_error(ErrorPolicy::keep_going);
    auto events = executor.yielding();
    std::atomic<bool> stopped = false;
    const StopOnSignals stop_on_signals([&] {
        stopped = true;
        executor.stop();
    });
    EventLoop loop;
    loop.spawn(stop_at(deadline, &executor));
    loop.run(show_progress(std::move(events)));

    const RunReport report = executor.report();
    tell_requests(client, report.elapsed());
    if (stopped && !report.cancelled().empty()) {
        tell("stopped");
        return interrupted;
    }
    if (login.state() != NodeState::completed) {
        tell(fmt::format("login: {}", reason(login, report, options)));
        return nothing_is_there;
    }
    Json missing = Json::array();
    for (const AnyNode& part : parts) {
        if (part.state() == NodeState::completed) continue;
        const std::string why = reason(part, report, options);
        tell(fmt::format("{} is missing: {}", part.id(), why));
        missing.push_back(Json::object({{"part", part.id()}, {"reason", why}}));
    }
    const bool something = missing.size() < parts.size();
    const int code = missing.empty() ? all_is_there
                     : something     ? something_is_missing
                                     : nothing_is_there;
    if (something) {
        Json document = merged.output();
        document["missing"] = std::move(missing);
        print(document);
    }
    cache.save();
    return code;
}

int serve(const Options& options) {
    const DemoServer server(std::filesystem::path(GRAFO_EXAMPLE_DIR) / "data" / "blog.json",
                            options.faults);
    std::atomic<bool> stopped = false;
    const StopOnSignals stop_on_signals([&] {
        stopped = true;
        stopped.notify_one();
    });
    fmt::print("{}\n", server.url());
    std::fflush(stdout);
    stopped.wait(false);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse_command_line(argc, argv);
    block_stop_signals();
    try {
        return options.serve ? serve(options) : collect(options);
    } catch (const std::exception& error) {
        tell(innermost(error));
    }
    return nothing_is_there;
}
