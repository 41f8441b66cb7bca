#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "csv.hpp"

/// Rows of numbers, each with its class.
struct Dataset {
    std::filesystem::path file;
    std::string label;                  // the column of the classes
    std::vector<std::string> features;  // the other columns
    std::vector<std::string> classes;   // sorted
    std::vector<double> values;         // row by row
    std::vector<std::size_t> labels;    // the class of each row
    std::vector<std::size_t> lines;     // of the file

    [[nodiscard]] std::size_t rows() const { return labels.size(); }
};

/// The fewest rows of a class that may be split, whatever the number of folds.
inline constexpr std::size_t fewest_rows = 5;

/// Takes the classes from column `label`, the last one if that is empty, and numbers from the
/// others. Throws `std::runtime_error`, naming the file: there is no such column, a cell is no
/// number (its line and column), there are fewer than two classes, or fewer than `fewest` rows of
/// one of them.
[[nodiscard]] Dataset make_dataset(CsvTable table, const std::string& label, std::size_t fewest);

/// Rows of a data set by what they are for. No row is in two of them.
struct Split {
    std::vector<std::size_t> training;
    std::vector<std::size_t> validation;  // say when to stop the training
    std::vector<std::size_t> held_out;    // say how good the result is
};

/// Shuffles by `seed`, and holds every `folds`-th row of each class out, beginning with number
/// `fold` of them. Of the others every fifth is for validation. Over all folds each row is held out
/// once. The same for a seed on every machine.
[[nodiscard]] Split split_rows(const Dataset& data, std::uint64_t seed, std::size_t fold,
                               std::size_t folds);
