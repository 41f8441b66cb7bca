#include "manifest.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace {

constexpr std::string_view header = "sha256\tsize\tpacked\tmodified\tname\n";

// A line is a line and a tab a tab, whatever the name is made of.
std::string escape(std::string_view name) {
    std::string text;
    for (const char c : name) {
        if (c == '\n') {
            text += "\\n";
        } else if (c == '\\') {
            text += "\\\\";
        } else {
            text += c;
        }
    }
    return text;
}

std::optional<std::string> unescape(std::string_view text) {
    std::string name;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            name += text[i];
        } else if (++i < text.size() && (text[i] == 'n' || text[i] == '\\')) {
            name += text[i] == 'n' ? '\n' : '\\';
        } else {
            return std::nullopt;
        }
    }
    return name;
}

std::string to_line(const std::string& name, const Entry& entry) {
    return fmt::format("{}\t{}\t{}\t{}\t{}\n", entry.sha256, entry.size, entry.packed,
                       entry.modified, escape(name));
}

// Takes what is before the next tab.
std::string_view take_field(std::string_view& line) {
    const std::size_t end = std::min(line.find('\t'), line.size());
    const std::string_view field = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    return field;
}

template <class Number>
bool take_number(std::string_view& line, Number& number) {
    const std::string_view field = take_field(line);
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
    return error == std::errc() && end == field.data() + field.size();
}

bool is_sha256(std::string_view text) {
    const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    return text.size() == 64 && std::ranges::all_of(text, is_digit);
}

// False if it is no line of a manifest.
bool parse_line(std::string_view line, Entries& entries) {
    Entry entry;
    entry.sha256 = take_field(line);
    if (!is_sha256(entry.sha256) || !take_number(line, entry.size) ||
        !take_number(line, entry.packed) || !take_number(line, entry.modified) || line.empty()) {
        return false;
    }
    std::optional<std::string> name = unescape(line);
    return name && entries.emplace(std::move(*name), std::move(entry)).second;
}

void write(std::FILE* stream, std::string_view text, const fs::path& file) {
    if (std::fwrite(text.data(), 1, text.size(), stream) != text.size()) throw_errno("write", file);
}

}  // namespace

Entries read_manifest(const fs::path& file) {
    Entries entries;
    const File stream(std::fopen(file.c_str(), "rbe"));
    if (stream == nullptr && errno == ENOENT) return entries;
    if (stream == nullptr) throw_errno("read", file);
    const std::string content = read_all(stream.get(), file);
    std::string_view text = content;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = text.find('\n');
        const bool whole = end != std::string_view::npos;
        if (!whole && number > 1) break;  // the run was killed while it wrote that
        const std::string_view line = text.substr(0, end);
        const bool valid =
            number == 1 ? whole && text.substr(0, end + 1) == header : parse_line(line, entries);
        if (!valid) {
            throw std::runtime_error(
                fmt::format("{} is not a manifest: line {} is broken; begin anew without --resume",
                            file.string(), number));
        }
        text.remove_prefix(end + 1);
    }
    return entries;
}

void write_manifest(const fs::path& file, const Entries& entries) {
    const fs::path part = file.string() + ".part";
    File stream(std::fopen(part.c_str(), "wbe"));
    if (stream == nullptr) throw_errno("write", part);
    write(stream.get(), header, part);
    for (const auto& [name, entry] : entries) write(stream.get(), to_line(name, entry), part);
    if (std::fclose(stream.release()) != 0) throw_errno("write", part);
    if (std::rename(part.c_str(), file.c_str()) != 0) throw_errno("write", file);
}

Journal::Journal(fs::path file, Entries entries)
    : file_(std::move(file)), entries_(std::move(entries)) {
    write_manifest(file_, entries_);
    stream_.reset(std::fopen(file_.c_str(), "abe"));
    if (stream_ == nullptr) throw_errno("write", file_);
}

void Journal::add(const std::string& name, const Entry& entry) {
    write(stream_.get(), to_line(name, entry), file_);
    if (std::fflush(stream_.get()) != 0) throw_errno("write", file_);
    entries_.insert_or_assign(name, entry);
}

void Journal::close() {
    stream_.reset();
    write_manifest(file_, entries_);
}

OutputFolder::OutputFolder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
        throw std::runtime_error(
            fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
    }
    lock_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock_ < 0) throw_errno("write to", folder);
    if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
    const bool busy = errno == EWOULDBLOCK;
    ::close(lock_);
    if (busy) throw std::runtime_error("another run writes to " + folder.string());
    throw_errno("lock", folder);
}

OutputFolder::~OutputFolder() { ::close(lock_); }
