#include "command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <thread>

Options parse_command_line(int argc, char** argv) {
    const std::filesystem::path checkout = std::filesystem::path(GRAFO_EXAMPLE_DIR) / ".." / "..";
    Options options{{(checkout / "include").lexically_normal().string()},
                    "build/batch",
                    std::max(1U, std::thread::hardware_concurrency()),
                    false,
                    0};
    CLI::App app("Packs files with gzip, in parallel, and lists them with their SHA-256.");
    app.add_option("inputs", options.inputs, "Files, and folders with all that is in them")
        ->capture_default_str();
    app.add_option("--out", options.out, "Folder for the packed files and manifest.tsv")
        ->capture_default_str();
    app.add_option("--jobs", options.jobs, "How many files at once")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_flag("--resume", options.resume,
                 "Skip what the manifest lists and has not changed; else all is done anew");
    app.add_option("--stop-after", options.stop_after, "Stop as by Ctrl-C after so many files")
        ->check(CLI::Range(1, std::numeric_limits<int>::max()));
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("batch: {}\n", error.what());
    });
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return options;
}
