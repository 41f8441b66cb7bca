#include "model_file.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

// found by nlohmann::json
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Model, features, classes, means, deviations, hidden, weights)

OutputFile::OutputFile(fs::path file) : file_(std::move(file)) {
    std::error_code error;
    if (fs::exists(file_, error)) {
        if (!fs::is_regular_file(file_, error)) {
            throw std::runtime_error(
                fmt::format("cannot write {}: it is there and no regular file", file_.string()));
        }
        file_ = fs::canonical(file_);  // a link stays one
    }
    stream_.reset(std::fopen(part().c_str(), "wb"));
    if (stream_ == nullptr) throw cannot("write", file_, last_error());
}

OutputFile::~OutputFile() {
    std::error_code ignored;
    if (stream_ != nullptr) fs::remove(part(), ignored);
}

void OutputFile::replace_by(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stream_.get()) < text.size() ||
        std::fflush(stream_.get()) != 0) {
        throw cannot("write", file_, last_error());
    }
    std::error_code error;
    fs::rename(part(), file_, error);
    if (error) throw cannot("replace", file_, error);
    stream_.reset();
}

fs::path OutputFile::part() const { return file_.string() + ".part"; }

OutputFile open_output(fs::path file) { return OutputFile(std::move(file)); }

fs::path save_model(const Model& model, OutputFile file) {
    file.replace_by(nlohmann::json(model).dump(1) + '\n');
    return file.path();
}

Model load_model(const fs::path& file) {
    std::ifstream stream(file);
    if (!stream) throw cannot("read", file, last_error());
    Model model;
    try {
        model = nlohmann::json::parse(stream).get<Model>();
    } catch (const nlohmann::json::exception& error) {
        throw std::runtime_error(fmt::format("{} is no model: {}", file.string(), error.what()));
    }
    const std::size_t features = model.features.size();
    if (features == 0 || model.classes.size() < 2 || model.hidden == 0 ||
        model.means.size() != features || model.deviations.size() != features ||
        model.weights.size() != count_weights(features, model.hidden, model.classes.size())) {
        throw std::runtime_error(
            fmt::format("{} is no model: its lists are not of the lengths "
                        "that belong together",
                        file.string()));
    }
    return model;
}
