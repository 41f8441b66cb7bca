#pragma once
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

struct CloseFile {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
};

/// An open file.
using File = std::unique_ptr<std::FILE, CloseFile>;

/// "cannot `what` `file`: " and what the error says.
[[nodiscard]] std::runtime_error cannot(std::string_view what, const std::filesystem::path& file,
                                        std::error_code error);

/// What errno says.
[[nodiscard]] std::error_code last_error();

/// Throws `cannot(what, file, last_error())`.
[[noreturn]] void throw_errno(std::string_view what, const std::filesystem::path& file);

/// What is left of a stream of `file`; throws as `throw_errno("read", file)` does.
[[nodiscard]] std::string read_all(std::FILE* stream, const std::filesystem::path& file);

/// All of a file; throws in the same way.
[[nodiscard]] std::string read_file(const std::filesystem::path& file);
