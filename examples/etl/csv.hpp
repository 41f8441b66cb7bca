#pragma once
#include <csv.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "../common/file.hpp"

/// Where a row stood: the number of its first line, and its text as the file has it.
struct Source {
    std::size_t line = 0;
    std::string text;
};

/// A row of a CSV file, not looked at yet.
struct CsvRow {
    Source source;
    std::vector<std::string> fields;
    bool unclosed = false;  // the file ended inside a quoted field of it
};

/// Reads a CSV file batch by batch, with libcsv.
class CsvReader {
public:
    /// The file must begin with this header. Nothing is opened yet.
    CsvReader(std::filesystem::path file, std::vector<std::string> header);
    CsvReader(const CsvReader&) = delete;
    CsvReader& operator=(const CsvReader&) = delete;
    ~CsvReader();

    /// The next `count` rows or a few more; fewer at the end of the file, and none after it.
    /// Opens the file the first time. Throws `std::runtime_error`, naming the file.
    [[nodiscard]] std::vector<CsvRow> read(std::size_t count);

    /// The bytes read so far.
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    void open();
    bool read_line();
    void parse(const char* text, std::size_t size);
    static void on_field(void* text, std::size_t size, void* reader);
    static void on_row(int end, void* reader);

    std::filesystem::path file_;
    std::vector<std::string> header_;
    File stream_;
    csv_parser parser_;
    char* buffer_ = nullptr;  // getline's
    std::size_t capacity_ = 0;
    std::size_t line_ = 0;
    std::size_t bytes_ = 0;
    CsvRow row_;                // the row that is being read
    std::vector<CsvRow> rows_;  // those that are complete
};
