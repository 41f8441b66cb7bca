#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "../common/file.hpp"

/// A file that was packed: a line of the manifest.
struct Entry {
    std::string sha256;         // of the source, hexadecimal
    std::uintmax_t size = 0;    // of the source, in bytes
    std::uintmax_t packed = 0;  // of what was written
    std::int64_t modified = 0;  // the source, in nanoseconds since 1970
};

/// By name.
using Entries = std::map<std::string, Entry>;

/// The entries of a manifest; none if there is no such file. A last line that was not written to
/// its end is left out. Throws `std::runtime_error` if it is anything else than a manifest.
[[nodiscard]] Entries read_manifest(const std::filesystem::path& file);

/// Replaces the manifest, in one step. Throws `std::runtime_error`.
void write_manifest(const std::filesystem::path& file, const Entries& entries);

/// The manifest of a run under way: an entry is in the file once `add` has returned, so that even a
/// killed run can be resumed.
class Journal {
public:
    /// Replaces the manifest by these entries. Throws `std::runtime_error`, as `add` and `close`.
    Journal(std::filesystem::path file, Entries entries);
    void add(const std::string& name, const Entry& entry);
    /// Writes it once more, by name.
    void close();

    [[nodiscard]] const Entries& entries() const { return entries_; }

private:
    std::filesystem::path file_;
    Entries entries_;
    File stream_;
};

/// The folder a run writes to, made if it is not there. Throws `std::runtime_error` if it cannot be
/// written to, or if another run is at work in it.
class OutputFolder {
public:
    explicit OutputFolder(const std::filesystem::path& folder);
    OutputFolder(const OutputFolder&) = delete;
    OutputFolder& operator=(const OutputFolder&) = delete;
    ~OutputFolder();

private:
    int lock_;
};
