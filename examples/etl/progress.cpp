#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "values.hpp"

ProgressLine::ProgressLine() : terminal_(::isatty(STDOUT_FILENO) == 1) {}

void ProgressLine::show(std::string_view node, const Progress& progress) {
    if (node != node_) {
        node_ = node;
        next_ = 0;
    }
    if (!terminal_ && progress.rows < next_) return;
    next_ = 2 * progress.rows;
    std::string text = fmt::format("{}: {} rows", node, format_count(progress.rows));
    if (progress.total != 0) text += fmt::format(", {} %", 100 * progress.done / progress.total);
    if (terminal_) {
        fmt::print("\r{}\x1b[K", text);
    } else {
        fmt::print("{}\n", text);
    }
    std::fflush(stdout);
}

void ProgressLine::clear() {
    if (terminal_ && !node_.empty()) fmt::print("\r\x1b[K");
    std::fflush(stdout);
    node_.clear();
}
