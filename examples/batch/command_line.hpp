#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

/// What a run is asked to do.
struct Options {
    std::vector<std::string> inputs;
    std::filesystem::path out;
    std::size_t jobs;
    bool resume;
    std::size_t stop_after;  // files; 0: never
};

/// What the command line says, else the headers of the checkout. Ends the process after `--help`
/// with 0, and with 2 and a sentence on stderr if the command line is wrong.
[[nodiscard]] Options parse_command_line(int argc, char** argv);
