#include "report.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>

namespace {

constexpr std::size_t height = 12;
constexpr std::size_t width = 64;
constexpr double smallest = 1e-9;  // that has a logarithm

}  // namespace

EpochLine::EpochLine() : terminal_(::isatty(STDOUT_FILENO) == 1) {}

void EpochLine::show(const Epoch& epoch) {
    if (!terminal_ && epoch.number < next_) return;
    next_ = 2 * epoch.number;
    shown_ = true;
    fmt::print("{}epoch {:4}: loss {:.4f}, validation {:.4f}, accuracy {:.3f}{}",
               terminal_ ? "\r" : "", epoch.number, epoch.training_loss, epoch.validation_loss,
               epoch.validation_accuracy, terminal_ ? "\x1b[K" : "\n");
    std::fflush(stdout);
}

void EpochLine::clear() {
    if (terminal_ && shown_) fmt::print("\r\x1b[K");
    std::fflush(stdout);
    shown_ = false;
}

void print_data(const Dataset& data, const Split& split, const Settings& settings) {
    fmt::print("{}: {} rows, {} features, {} classes of {}\n", data.file.filename().string(),
               data.rows(), data.features.size(), data.classes.size(), data.label);
    fmt::print("{} rows for training, {} for validation, {} held out; seed {}\n\n",
               split.training.size(), split.validation.size(), split.held_out.size(),
               settings.seed);
}

void print_curve(const std::vector<Epoch>& epochs) {
    double highest = smallest;
    double lowest = epochs.front().training_loss;
    std::size_t best = 0;
    for (const Epoch& epoch : epochs) {
        highest = std::max({highest, epoch.training_loss, epoch.validation_loss});
        lowest = std::min({lowest, epoch.training_loss, epoch.validation_loss});
        if (epoch.best) best = epoch.number;
    }
    std::array<std::string, height> lines;
    lines.fill(std::string(std::min(width, epochs.size()), ' '));
    const auto depth = [&](double loss) { return std::log(highest / std::max(loss, smallest)); };
    const auto draw = [&](std::size_t column, double loss, char mark) {
        const double part = highest > lowest ? depth(loss) / depth(lowest) : 0.0;
        char& place = lines[static_cast<std::size_t>(part * (height - 1) + 0.5)][column];
        place = place == ' ' || place == mark ? mark : '#';
    };
    const std::size_t columns = lines.front().size();
    for (std::size_t column = 0; column < columns; ++column) {
        const std::size_t i = columns == 1 ? 0 : column * (epochs.size() - 1) / (columns - 1);
        draw(column, epochs[i].training_loss, '*');
        draw(column, epochs[i].validation_loss, 'o');
    }
    fmt::print("\nloss by epoch, logarithmic (* training, o validation, # both)\n");
    for (std::size_t line = 0; line < height; ++line) {
        std::string axis;
        if (line == 0) axis = fmt::format("{:.4f}", highest);
        if (line == height - 1) axis = fmt::format("{:.4f}", lowest);
        const std::string& marks = lines[line];
        fmt::print("{:>9} |{}\n", axis, marks.substr(0, marks.find_last_not_of(' ') + 1));
    }
    fmt::print("{:>9} +{:-<{}}\n", "", "", columns);
    fmt::print("{:>9}  1{:>{}}\n", "", epochs.back().number, columns - 1);
    fmt::print("stopped after epoch {}; the model is that of epoch {}, the best in validation\n",
               epochs.back().number, best);
}

void print_evaluation(const Dataset& data, const Evaluation& evaluation) {
    std::size_t longest = 6;
    for (const std::string& name : data.classes) longest = std::max(longest, name.size());
    fmt::print("\nheld out: {} of {} right, accuracy {:.3f}\n", evaluation.right(), evaluation.rows,
               evaluation.accuracy());
    fmt::print("  {:{}}  predicted\n  {:{}}", "", longest, "actual", longest);
    for (const std::string& name : data.classes) fmt::print("  {:>{}}", name, longest);
    fmt::print("\n");
    for (std::size_t actual = 0; actual < data.classes.size(); ++actual) {
        fmt::print("  {:{}}", data.classes[actual], longest);
        for (const std::size_t rows : evaluation.confusion[actual]) {
            fmt::print("  {:>{}}", rows, longest);
        }
        fmt::print("\n");
    }
    for (const auto& [row, prediction] : evaluation.mistakes) {
        fmt::print("  line {}: {}, taken for {} with probability {:.3f}\n", data.lines[row],
                   data.classes[data.labels[row]], data.classes[prediction.label],
                   prediction.probability);
    }
}

void print_folds(const std::vector<Evaluation>& folds) {
    std::size_t right = 0;
    std::size_t rows = 0;
    fmt::print("\ncross-validation in {} folds\n", folds.size());
    for (std::size_t i = 0; i < folds.size(); ++i) {
        fmt::print("  fold {:2}: {} of {} right, accuracy {:.3f}\n", i + 1, folds[i].right(),
                   folds[i].rows, folds[i].accuracy());
        right += folds[i].right();
        rows += folds[i].rows;
    }
    fmt::print("  all    : {} of {} right, accuracy {:.3f}\n", right, rows,
               static_cast<double>(right) / static_cast<double>(rows));
}
