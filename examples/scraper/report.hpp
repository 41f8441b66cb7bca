#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "../common/file.hpp"
#include "command_line.hpp"
#include "progress.hpp"

/// A page of a run.
struct Visit {
    unsigned depth = 0;      // links away from a start, on the shortest way known
    unsigned redirects = 0;  // followed to get there
    std::string state;       // as in the database; empty while it is open
    std::string reason;      // if it failed or was skipped
    int status = 0;          // what follows is known once it was parsed
    bool redirect = false;
    std::string title;
    std::vector<std::string> links;
    std::size_t found = 0;  // by the XPath expression
};

/// By URL.
using Visits = std::map<std::string, Visit>;

/// The links between the pages of a run, for Graphviz. The file is made at once, so that a run does
/// not find out at its end that it cannot be. Throws `std::runtime_error`.
class GraphFile {
public:
    explicit GraphFile(std::filesystem::path file);
    void write(const Visits& visits);

private:
    std::filesystem::path file_;
    File stream_;
};

/// What has become of the pages, on stdout.
void print_report(const Visits& visits, const Counts& counts, std::chrono::nanoseconds elapsed,
                  const Options& options);
