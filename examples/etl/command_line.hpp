#pragma once
#include <filesystem>

/// The files of a run.
struct Files {
    std::filesystem::path orders;
    std::filesystem::path customers;
    std::filesystem::path products;
    std::filesystem::path out;
    std::filesystem::path rejects;
};

/// What the command line says, else the files that come with the example. Ends the process after
/// `--help` with 0, and with 2 and a sentence on stderr if the command line is wrong.
[[nodiscard]] Files parse_command_line(int argc, char** argv);
