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
