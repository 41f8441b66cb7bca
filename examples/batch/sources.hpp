#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

/// A file to be packed.
struct Source {
    std::string name;  // below the output folder, with '/' between its parts
    std::filesystem::path path;
    std::uintmax_t size = 0;    // 0 where nothing could be told: reading it will say why
    std::int64_t modified = 0;  // nanoseconds since 1970
};

/// The files among `inputs` and below the folders among them, by name, without what is below
/// `out`. Symbolic links to files count as files, those to folders below an input are left out, and
/// so are pipes and devices there. Throws `std::runtime_error` if an input does not exist, a folder
/// cannot be read, or two files would have one name.
[[nodiscard]] std::vector<Source> find_sources(const std::vector<std::string>& inputs,
                                               const std::filesystem::path& out);
