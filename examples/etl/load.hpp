#pragma once
#include <cstddef>
#include <filesystem>
#include <grafo/grafo.hpp>

#include "progress.hpp"
#include "rejects.hpp"
#include "sales.hpp"

/// Writes a CSV file: the line number, the reason and the text of each rejected row. Gives their
/// number. Throws `std::runtime_error`, naming the file.
std::size_t write_rejects(const Checked<Sale>& sales, const std::filesystem::path& file);

/// Replaces the table `sales` of a SQLite database in one transaction, a chunk every batch of rows.
/// Gives their number. A failure or a stop leaves the database as it was.
/// Throws `std::runtime_error`, naming the file.
grafo::AsyncGenerator<Progress, std::size_t> load_sales(const Checked<Sale>& sales,
                                                        std::filesystem::path file);
