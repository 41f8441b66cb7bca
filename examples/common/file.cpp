#include "file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

void throw_errno(std::string_view what, const std::filesystem::path& file) {
    throw std::runtime_error(fmt::format("cannot {} {}: {}", what, file.string(),
                                         std::generic_category().message(errno)));
}
