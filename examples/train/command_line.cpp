#include "command_line.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <system_error>

namespace fs = std::filesystem;

namespace {

// CLI11 takes a -1 and what is too large for numbers without a sign as well.
std::string check_seed(const std::string& text) {
    std::uint64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    if (error == std::errc() && end == text.data() + text.size()) return {};
    return fmt::format("{} is not a number from 0 to {}", text, UINT64_MAX);
}

// CLI::Range lets a nan through.
std::string check_rate(const std::string& text) {
    double rate = 0;
    if (CLI::detail::lexical_cast(text, rate) && rate >= 1e-9 && rate <= 1.0) return {};
    return fmt::format("{} is not a number from 1e-9 to 1", text);
}

}  // namespace

Options parse_command_line(int argc, char** argv) {
    Options options;
    options.csv = fs::path(GRAFO_EXAMPLE_DIR) / "data" / "iris.csv";
    options.model = "model.json";
    Settings& settings = options.settings;
    const CLI::Range count(1, 1'000'000);
    CLI::App app("Trains a small neural network to tell the classes of the rows of a CSV file.");
    app.option_defaults()->always_capture_default();
    app.add_option("--csv", options.csv, "CSV file with a header; all but the label are numbers");
    app.add_option("--label", options.label, "The column of the classes [the last one]");
    app.add_option("--model", options.model, "Where to save the model, as JSON");
    app.add_option("--seed", settings.seed, "Of the split, the first weights and the order")
        ->check(check_seed);
    app.add_option("--folds", options.folds, "Of the cross-validation")->check(CLI::Range(2, 1000));
    app.add_option("--hidden", settings.hidden, "Units of the hidden layer")
        ->check(CLI::Range(1, 1000));
    app.add_option("--epochs", settings.epochs, "At most")->check(count);
    app.add_option("--patience", settings.patience,
                   "Stop after so many epochs without a better one")
        ->check(count);
    app.add_option("--batch", settings.batch, "Rows for each step")->check(count);
    app.add_option("--rate", settings.rate, "How far a step goes")->check(check_rate);
    try {
        app.parse(argc, argv);
        std::error_code missing;
        if (fs::equivalent(options.csv, options.model, missing)) {
            throw CLI::ValidationError(
                "--model", fmt::format("{} is the data to train with", options.model.string()));
        }
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return options;
}
