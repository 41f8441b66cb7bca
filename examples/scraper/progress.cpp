#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace {

constexpr std::size_t most_rows = 12;
constexpr std::chrono::milliseconds between_drawings(40);

}  // namespace

std::string printable(std::string_view text) {
    std::string result(text);
    const auto moves = [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; };
    std::ranges::replace_if(result, moves, '?');
    return result;
}

Progress::Progress(const Counts& counts)
    : counts_(counts), terminal_(::isatty(STDOUT_FILENO) == 1) {}

void Progress::work(const std::string& url, std::string what) {
    working_.insert_or_assign(url, std::move(what));
    draw();
}

void Progress::retry(const std::string& url, int status, std::string_view why) {
    line("again", status, url, why);
    working_.insert_or_assign(url, "retry");
    draw();
}

void Progress::end(const std::string& url, std::string_view state, int status,
                   std::string_view text) {
    working_.erase(url);
    if (!terminal_ || state == "failed" || state == "skipped") line(state, status, url, text);
    draw();
}

void Progress::line(std::string_view state, int status, std::string_view url,
                    std::string_view text) {
    clear();
    fmt::print("{:<8}  {:>3}  {}  {}\n", state, status == 0 ? "" : std::to_string(status), url,
               printable(text));
    std::fflush(stdout);
}

void Progress::draw() {
    const Clock::time_point now = Clock::now();
    if (!terminal_ || (lines_ != 0 && now - drawn_ < between_drawings)) return;
    drawn_ = now;
    const std::size_t ended = counts_.saved + counts_.redirects + counts_.failed + counts_.skipped;
    const std::size_t queued = counts_.pages - std::min(counts_.pages, ended + working_.size());
    // Lines do not wrap while they are drawn, so that each is one line however long it is.
    std::string text = lines_ == 0 ? "\x1b[?7l" : fmt::format("\x1b[{}A\x1b[J\x1b[?7l", lines_);
    text += fmt::format("{:>8}{:>9}{:>8}{:>11}{:>9}{:>8}\n", "queued", "at work", "saved",
                        "redirects", "skipped", "failed");
    text += fmt::format("{:>8}{:>9}{:>8}{:>11}{:>9}{:>8}\n", queued, working_.size(), counts_.saved,
                        counts_.redirects, counts_.skipped, counts_.failed);
    lines_ = 2;
    for (const auto& [url, what] : working_) {
        if (lines_ == most_rows) break;
        text += fmt::format("{:<8}       {}\n", what, url);
        ++lines_;
    }
    text += "\x1b[?7h";
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

void Progress::clear() {
    if (lines_ != 0) fmt::print("\x1b[{}A\x1b[J", lines_);
    std::fflush(stdout);
    lines_ = 0;
}
