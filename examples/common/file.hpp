#pragma once
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

struct CloseFile {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
};

/// An open file.
using File = std::unique_ptr<std::FILE, CloseFile>;

/// Throws `std::runtime_error`: "cannot `what` `file`: " and what errno says.
[[noreturn]] void throw_errno(std::string_view what, const std::filesystem::path& file);
