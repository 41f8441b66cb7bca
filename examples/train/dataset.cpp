#include "dataset.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <stdexcept>

#include "random.hpp"

namespace {

constexpr double largest = 1e100;  // its square is still a number
constexpr std::size_t validation_part = 5;

std::optional<double> parse_number(const std::string& cell) {
    char* end = nullptr;
    const double number = std::strtod(cell.c_str(), &end);  // libc++ has no from_chars for it
    if (cell.empty() || end != cell.c_str() + cell.size()) return std::nullopt;
    if (!(std::abs(number) <= largest)) return std::nullopt;
    return number;
}

std::size_t find_label(const std::vector<std::string>& header, const std::string& label) {
    if (label.empty()) return header.size() - 1;
    const auto found = std::find(header.begin(), header.end(), label);
    if (found == header.end()) {
        throw std::runtime_error(
            fmt::format("there is no column {}, there are {}", label, fmt::join(header, ", ")));
    }
    if (std::find(found + 1, header.end(), label) != header.end()) {
        throw std::runtime_error(fmt::format("there are two columns {}", label));
    }
    return static_cast<std::size_t>(found - header.begin());
}

void check_classes(const Dataset& data, std::size_t fewest) {
    if (data.classes.size() < 2) {
        throw std::runtime_error(fmt::format(
            "column {} has {}, it takes two classes to train", data.label,
            data.classes.empty() ? "no rows" : "one class only, " + data.classes.front()));
    }
    for (std::size_t i = 0; i < data.classes.size(); ++i) {
        const auto rows = std::count(data.labels.begin(), data.labels.end(), i);
        if (static_cast<std::size_t>(rows) >= fewest) continue;
        throw std::runtime_error(fmt::format("too few rows: class {} of column {} has {} of {}",
                                             data.classes[i], data.label, rows, fewest));
    }
}

Dataset make(const CsvTable& table, const std::string& label, std::size_t fewest) {
    const std::size_t label_column = find_label(table.header, label);
    Dataset data;
    data.file = table.file;
    data.label = table.header[label_column];
    data.features = table.header;
    data.features.erase(data.features.begin() + static_cast<std::ptrdiff_t>(label_column));
    if (data.features.empty()) {
        throw std::runtime_error(fmt::format("there is no column but the label {}", data.label));
    }
    const auto is_number = [](const std::string& name) { return parse_number(name).has_value(); };
    if (std::all_of(data.features.begin(), data.features.end(), is_number)) {
        throw std::runtime_error("the first line has numbers, not the names of the columns");
    }

    for (const CsvRow& row : table.rows) {
        for (std::size_t column = 0; column < row.cells.size(); ++column) {
            const std::string& cell = row.cells[column];
            const auto wrong = [&](const char* what) {
                return std::runtime_error(fmt::format("line {}, column {}: \"{}\" is {}", row.line,
                                                      table.header[column], cell, what));
            };
            if (column == label_column) {
                if (cell.empty()) throw wrong("no class");
                data.classes.push_back(cell);
            } else if (const auto number = parse_number(cell)) {
                data.values.push_back(*number);
            } else {
                throw wrong("not a number that can be used");
            }
        }
        data.lines.push_back(row.line);
    }
    std::sort(data.classes.begin(), data.classes.end());
    data.classes.erase(std::unique(data.classes.begin(), data.classes.end()), data.classes.end());
    for (const CsvRow& row : table.rows) {
        const auto found =
            std::lower_bound(data.classes.begin(), data.classes.end(), row.cells[label_column]);
        data.labels.push_back(static_cast<std::size_t>(found - data.classes.begin()));
    }
    check_classes(data, fewest);
    return data;
}

}  // namespace

Dataset make_dataset(CsvTable table, const std::string& label, std::size_t fewest) {
    try {
        return make(table, label, fewest);
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}: {}", table.file.string(), error.what()));
    }
}

Split split_rows(const Dataset& data, std::uint64_t seed, std::size_t fold, std::size_t folds) {
    Random random(seed);
    Split split;
    std::vector<std::vector<std::size_t>> rows_of(data.classes.size());
    for (std::size_t row = 0; row < data.rows(); ++row) rows_of[data.labels[row]].push_back(row);
    for (std::vector<std::size_t>& rows : rows_of) {
        random.shuffle(rows);
        std::size_t others = 0;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (i % folds == fold) {
                split.held_out.push_back(rows[i]);
            } else if (others++ % validation_part == 0) {
                split.validation.push_back(rows[i]);
            } else {
                split.training.push_back(rows[i]);
            }
        }
    }
    for (auto* rows : {&split.training, &split.validation, &split.held_out}) {
        std::sort(rows->begin(), rows->end());
    }
    return split;
}
