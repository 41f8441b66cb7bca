#include "csv.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string_view>
#include <utility>

CsvReader::CsvReader(std::filesystem::path file, std::vector<std::string> header)
    : file_(std::move(file)), header_(std::move(header)) {
    // on_row is told every end of line that is not inside quotes, also that of an empty line
    csv_init(&parser_, CSV_REPALL_NL);
}

CsvReader::~CsvReader() {
    csv_free(&parser_);
    std::free(buffer_);
}

std::vector<CsvRow> CsvReader::read(std::size_t count) {
    if (stream_ == nullptr) open();
    while (rows_.size() < count && read_line()) {
    }
    return std::exchange(rows_, {});
}

void CsvReader::open() {
    stream_.reset(std::fopen(file_.c_str(), "rb"));
    if (stream_ == nullptr) throw_errno("read", file_);
    while (rows_.empty() && read_line()) {
    }
    if (rows_.empty() || rows_.front().fields != header_) {
        throw std::runtime_error(fmt::format("{} does not begin with the header \"{}\"",
                                             file_.string(), fmt::join(header_, ",")));
    }
    rows_.erase(rows_.begin());
}

// libcsv is fed line by line: what it gives then ends in this line, and began where row_ says.
bool CsvReader::read_line() {
    const ::ssize_t size = ::getline(&buffer_, &capacity_, stream_.get());
    if (size < 0) {
        if (std::ferror(stream_.get()) != 0) throw_errno("read", file_);
        if (row_.source.text.empty()) return false;
        parse("\n", 1);  // ends the last row, unless a quote is open
        row_.unclosed = !row_.source.text.empty();
        csv_fini(&parser_, on_field, on_row, this);
        return false;
    }
    std::string_view text(buffer_, static_cast<std::size_t>(size));
    bytes_ += text.size();
    if (++line_ == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (row_.source.text.empty()) row_.source.line = line_;
    row_.source.text += text;
    parse(text.data(), text.size());
    return true;
}

void CsvReader::parse(const char* text, std::size_t size) {
    if (csv_parse(&parser_, text, size, on_field, on_row, this) != size) throw std::bad_alloc();
}

void CsvReader::on_field(void* text, std::size_t size, void* reader) {
    static_cast<CsvReader*>(reader)->row_.fields.emplace_back(static_cast<char*>(text), size);
}

void CsvReader::on_row(int end, void* reader) {
    auto* self = static_cast<CsvReader*>(reader);
    CsvRow& row = self->row_;
    if (!row.fields.empty()) {
        Source source = row.source;
        source.text.erase(source.text.find_last_not_of("\r\n") + 1);
        self->rows_.push_back({std::move(source), std::exchange(row.fields, {}), row.unclosed});
    }
    if (end != '\r') row.source.text.clear();  // after a carriage return the line goes on
}
