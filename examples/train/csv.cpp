#include "csv.hpp"

#include <csv.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "../common/file.hpp"

namespace {

class Parser {
public:
    // on_row is told every end of line that is not inside quotes, also that of an empty line
    Parser() { csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL); }
    Parser(const Parser&) = delete;
    Parser& operator=(const Parser&) = delete;
    ~Parser() { csv_free(&parser_); }

    void parse(std::string_view line) {
        ++line_;
        if (csv_parse(&parser_, line.data(), line.size(), on_cell, on_row, this) != line.size()) {
            throw_error();
        }
    }
    std::vector<CsvRow> finish() {
        if (csv_fini(&parser_, on_cell, on_row, this) != 0) throw_error();
        return std::move(rows_);
    }

private:
    [[noreturn]] void throw_error() {
        if (csv_error(&parser_) != CSV_EPARSE) throw std::bad_alloc();
        throw std::runtime_error(
            fmt::format("line {}: a quote is not closed, or stands inside a cell", first_line_));
    }
    static void on_cell(void* text, std::size_t size, void* self) {
        auto& cells = static_cast<Parser*>(self)->cells_;
        cells.emplace_back(static_cast<const char*>(text), size);
    }
    static void on_row(int, void* self) {
        auto& parser = *static_cast<Parser*>(self);
        auto cells = std::exchange(parser.cells_, {});
        if (!cells.empty()) parser.rows_.push_back({parser.first_line_, std::move(cells)});
        parser.first_line_ = parser.line_ + 1;
    }

    csv_parser parser_;
    std::size_t line_ = 0;
    std::size_t first_line_ = 1;  // of the row that is being read
    std::vector<std::string> cells_;
    std::vector<CsvRow> rows_;
};

// C's streams: those of libc++ do not tell a read that failed from the end of the file.
std::vector<CsvRow> read_rows(std::FILE* stream) {
    struct Line {
        char* text = nullptr;  // getline's
        std::size_t capacity = 0;
        ~Line() { std::free(text); }
    } buffer;
    Parser parser;
    ::ssize_t size = 0;
    for (bool first = true; (size = ::getline(&buffer.text, &buffer.capacity, stream)) >= 0;
         first = false) {
        std::string line(buffer.text, static_cast<std::size_t>(size));
        if (first && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
        if (line.ends_with('\n')) line.pop_back();
        if (line.ends_with('\r')) line.pop_back();
        line += '\n';
        parser.parse(line);
    }
    return parser.finish();
}

}  // namespace

CsvTable read_csv(const std::filesystem::path& file) {
    const File stream(std::fopen(file.c_str(), "rb"));
    if (stream == nullptr) throw cannot("read", file, last_error());
    CsvTable table;
    table.file = file;
    try {
        table.rows = read_rows(stream.get());
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}, {}", file.string(), error.what()));
    }
    if (std::ferror(stream.get()) != 0) throw cannot("read", file, last_error());
    if (table.rows.empty()) throw std::runtime_error(fmt::format("{} is empty", file.string()));

    table.header = std::move(table.rows.front().cells);
    table.rows.erase(table.rows.begin());
    for (const CsvRow& row : table.rows) {
        if (row.cells.size() == table.header.size()) continue;
        throw std::runtime_error(fmt::format("{}, line {}: there are {} cells, in the header {}",
                                             file.string(), row.line, row.cells.size(),
                                             table.header.size()));
    }
    return table;
}
