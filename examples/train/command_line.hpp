#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

#include "network.hpp"

/// What to do in a run.
struct Options {
    std::filesystem::path csv;
    std::string label;  // empty: the last column
    std::filesystem::path model;
    std::size_t folds = 5;
    Settings settings;
};

/// What the command line says, else what comes with the example. Ends the process after `--help`
/// with 0, and with 2 and a sentence on stderr if the command line is wrong.
[[nodiscard]] Options parse_command_line(int argc, char** argv);
