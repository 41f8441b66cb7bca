#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace {

constexpr std::size_t most_lines = 16;
constexpr std::chrono::milliseconds between_drawings(40);

// Of 0 bytes of work all is done; a file that grows does not go beyond it.
std::uintmax_t share(std::uintmax_t done, std::uintmax_t work, std::uintmax_t parts) {
    return work == 0 ? parts : std::min(done, work) * parts / work;
}

std::string bar(std::uintmax_t done, std::uintmax_t work) {
    const std::size_t full = share(done, work, 20);
    return fmt::format("[{}{}] {:>3} %", std::string(full, '#'), std::string(20 - full, ' '),
                       share(done, work, 100));
}

}  // namespace

std::string printable(const std::string& name) {
    std::string text = name;
    const auto moves = [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; };
    std::ranges::replace_if(text, moves, '?');
    return text;
}

ProgressLines::ProgressLines(std::size_t files, std::uintmax_t work)
    : terminal_(::isatty(STDERR_FILENO) == 1), files_(files), work_(work) {}

void ProgressLines::begin(const std::string& name, std::uintmax_t work) {
    running_.insert_or_assign(name, Running{work, 0});
}

void ProgressLines::advance(const std::string& name, std::uintmax_t done) {
    Running& file = running_.at(name);
    const std::uintmax_t before = share(file.done, file.work, 4);
    file.done = done;
    if (terminal_) {
        draw();
    } else if (share(done, file.work, 4) > before) {
        fmt::print(stderr, "{}: {} %\n", printable(name), share(done, file.work, 100));
    }
}

void ProgressLines::end(const std::string& name) {
    const auto file = running_.find(name);
    if (file == running_.end()) return;  // it was not begun
    ++ended_files_;
    ended_work_ += file->second.work;
    running_.erase(file);
    if (terminal_) {
        draw();
    } else if (const auto tenth = share(ended_work_, work_, 10); tenth > told_) {
        told_ = tenth;
        fmt::print(stderr, "all: {} %, {} of {} files\n", share(ended_work_, work_, 100),
                   ended_files_, files_);
    }
}

void ProgressLines::draw() {
    const Clock::time_point now = Clock::now();
    if (now - drawn_ < between_drawings) return;
    drawn_ = now;
    // Lines do not wrap while they are drawn, so that each is one line however long its name is.
    std::string text = lines_ == 0 ? "\x1b[?7l" : fmt::format("\x1b[{}A\x1b[J\x1b[?7l", lines_);
    lines_ = std::min(running_.size(), most_lines) + 1;
    auto file = running_.begin();
    std::uintmax_t done = ended_work_;
    for (const auto& [name, running] : running_) done += std::min(running.done, running.work);
    for (std::size_t i = 1; i < lines_; ++i, ++file) {
        text += fmt::format("{}  {}\n", bar(file->second.done, file->second.work),
                            printable(file->first));
    }
    text += fmt::format("{}  {} of {} files\n\x1b[?7h", bar(done, work_), ended_files_, files_);
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
}

void ProgressLines::clear() {
    if (lines_ != 0) fmt::print(stderr, "\x1b[{}A\x1b[J", lines_);
    lines_ = 0;
}
