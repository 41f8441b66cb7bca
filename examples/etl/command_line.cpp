#include "command_line.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>
#include <system_error>

namespace {

namespace fs = std::filesystem;

bool same_file(const fs::path& left, const fs::path& right) {
    std::error_code missing;
    return fs::absolute(left).lexically_normal() == fs::absolute(right).lexically_normal() ||
           fs::equivalent(left, right, missing);
}

void check_rejects(const Files& files) {
    for (const fs::path& other : {files.orders, files.customers, files.products, files.out}) {
        if (!same_file(files.rejects, other)) continue;
        throw CLI::ValidationError("--rejects", fmt::format("{} is already another file of the run",
                                                            files.rejects.string()));
    }
}

}  // namespace

Files parse_command_line(int argc, char** argv) {
    const fs::path data = fs::path(GRAFO_EXAMPLE_DIR) / "data";
    Files files{data / "orders.csv", data / "customers.json", data / "products.db", "sales.db", ""};
    CLI::App app("Loads orders, joined with their customers and products, into a SQLite database.");
    app.add_option("--orders", files.orders, "CSV file")->capture_default_str();
    app.add_option("--customers", files.customers, "JSON file")->capture_default_str();
    app.add_option("--products", files.products, "SQLite database")->capture_default_str();
    app.add_option("--out", files.out, "SQLite database, its table `sales` is replaced")
        ->capture_default_str();
    app.add_option("--rejects", files.rejects,
                   "CSV file of the rejected rows [as --out, ending in .rejects.csv]");
    try {
        app.parse(argc, argv);
        if (files.rejects.empty()) {
            files.rejects = files.out;
            files.rejects.replace_extension(".rejects.csv");
        }
        check_rejects(files);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return files;
}
