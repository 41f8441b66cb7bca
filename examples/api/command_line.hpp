#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>

#include "demo_server.hpp"
#include "parts.hpp"

struct Options {
    bool serve = false;
    std::string url;  // empty: a server in this process
    std::string user;
    Login login;
    std::string profile;  // the path; so are those in the lists
    Listing posts;
    Listing comments;
    std::chrono::milliseconds deadline;
    unsigned retries;
    std::size_t max_body;
    std::filesystem::path cache;
    std::filesystem::path ca_file;
    Faults faults;
};

/// What the command line says, the user's id in its places. Ends the process after `--help` with 0,
/// and with 2 and a sentence on stderr if the command line is wrong.
[[nodiscard]] Options parse_command_line(int argc, char** argv);
