#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

/// "5/s": so many in any window of that length.
struct Rate {
    std::size_t count = 5;
    std::chrono::seconds per{1};
};

/// What a run is asked to do.
struct Options {
    std::vector<std::string> urls;  // absolute; none: the pages that come with the example
    std::string xpath = "//h2";
    unsigned depth = 2;
    Rate rate;
    std::size_t jobs = 4;
    std::chrono::milliseconds timeout{10'000};
    unsigned retries = 2;
    std::size_t max_pages = 1000;
    std::string user_agent = "grafo-scraper/1.0";
    std::filesystem::path out = "pages.db";
    std::filesystem::path graph;
    bool serve = false;  // the pages that come with the example, and nothing else
};

/// What the command line says. Ends the process after `--help` with 0, and with 2 and a sentence on
/// stderr if the command line is wrong.
[[nodiscard]] Options parse_command_line(int argc, char** argv);
