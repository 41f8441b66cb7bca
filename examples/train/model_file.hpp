#pragma once
#include <filesystem>
#include <string>

#include "../common/file.hpp"
#include "network.hpp"

/// A file that is to be replaced: what is written goes to one beside it, with `.part` at the end of
/// its name, that takes its place in the end. Until then it stays as it was.
class OutputFile {
public:
    /// Throws `std::runtime_error`, naming the file, if it cannot be made.
    explicit OutputFile(std::filesystem::path file);
    OutputFile(OutputFile&&) noexcept = default;
    OutputFile& operator=(OutputFile&&) = delete;
    ~OutputFile();

    [[nodiscard]] const std::filesystem::path& path() const { return file_; }
    /// Writes all of it and replaces the file. Throws as above. To be called once.
    void replace_by(const std::string& text);

private:
    [[nodiscard]] std::filesystem::path part() const;

    std::filesystem::path file_;
    File stream_;  // null once it is done
};

/// Opens the file a model will be saved to, so that a run does not train in vain.
[[nodiscard]] OutputFile open_output(std::filesystem::path file);

/// Writes a model as JSON, every number with all its digits. Gives the file's name.
std::filesystem::path save_model(const Model& model, OutputFile file);

/// Reads a saved model. Throws `std::runtime_error`, naming the file, also if it is no model.
[[nodiscard]] Model load_model(const std::filesystem::path& file);
