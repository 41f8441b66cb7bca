#include "file.hpp"

#include <fmt/format.h>

#include <cerrno>

std::runtime_error cannot(std::string_view what, const std::filesystem::path& file,
                          std::error_code error) {
    return std::runtime_error(
        fmt::format("cannot {} {}: {}", what, file.string(), error.message()));
}

std::error_code last_error() { return {errno, std::generic_category()}; }

void throw_errno(std::string_view what, const std::filesystem::path& file) {
    throw cannot(what, file, last_error());
}

std::string read_all(std::FILE* stream, const std::filesystem::path& file) {
    std::string text;
    char buffer[1 << 14];
    while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, stream)) {
        text.append(buffer, size);
    }
    if (std::ferror(stream) != 0) throw_errno("read", file);
    return text;
}

std::string read_file(const std::filesystem::path& file) {
    const File stream(std::fopen(file.c_str(), "rbe"));
    if (stream == nullptr) throw_errno("read", file);
    return read_all(stream.get(), file);
}
