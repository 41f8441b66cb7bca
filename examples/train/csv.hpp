#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

/// A row of a CSV file, and the number of the line it begins in.
struct CsvRow {
    std::size_t line;
    std::vector<std::string> cells;
};

/// A CSV file. Moves from node to node.
struct CsvTable {
    std::filesystem::path file;
    std::vector<std::string> header;
    std::vector<CsvRow> rows;

    CsvTable() = default;
    CsvTable(CsvTable&&) = default;
    CsvTable& operator=(CsvTable&&) = default;
};

/// Reads a CSV file, with libcsv; empty lines are left out. Throws `std::runtime_error`, naming the
/// file, and the line of a misplaced quote or of a row with more or fewer cells than the header.
[[nodiscard]] CsvTable read_csv(const std::filesystem::path& file);
