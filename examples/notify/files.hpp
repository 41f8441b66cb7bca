#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

/// Appends `lines`, whole lines of text, and makes the file if there is none. When it returns they
/// are on the disk; if it throws `DeliveryError` the file is as it was. Several processes may
/// append to one file. Blocks.
void append_lines(const std::filesystem::path& file, std::string_view lines);

/// A dead-letter file whose letters are tried again. They stay in it until `replace`: a run that is
/// killed loses none of them. Meanwhile others may append to it, but not do the same.
class LetterFile {
public:
    /// Reads the letters. Throws `std::runtime_error` if the file cannot be read or written, has a
    /// line that is no letter, or is being tried again by another process.
    explicit LetterFile(const std::filesystem::path& file);
    LetterFile(const LetterFile&) = delete;
    LetterFile& operator=(const LetterFile&) = delete;
    ~LetterFile();

    [[nodiscard]] const std::vector<Letter>& letters() const noexcept { return letters_; }
    /// Leaves those `lines` in the place of the letters, and what was appended since. Throws
    /// `DeliveryError`, and the file is as it was.
    void replace(std::string_view lines);

private:
    std::filesystem::path path_;
    int file_;
    std::size_t size_ = 0;  // of what was read
    std::vector<Letter> letters_;
};
