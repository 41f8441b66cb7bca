#include "cache.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "../common/file.hpp"
#include "json.hpp"

namespace fs = std::filesystem;

namespace {

constexpr const char* format = "api cache 1";

// A new file beside `file`, which goes with it unless it takes its place.
class NewFile {
public:
    explicit NewFile(const fs::path& file) : file_(file), part_(file.string() + ".XXXXXX") {
        const int descriptor = ::mkstemp(part_.data());
        if (descriptor < 0) throw_errno("write", file_);
        stream_.reset(::fdopen(descriptor, "wb"));
        if (stream_ != nullptr) return;
        ::close(descriptor);
        ::unlink(part_.c_str());
        throw std::bad_alloc();
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile() {
        if (!replaced_) ::unlink(part_.c_str());
    }

    void replace_by(const std::string& text) {
        const std::size_t written = std::fwrite(text.data(), 1, text.size(), stream_.get());
        if (written != text.size() || std::fflush(stream_.get()) != 0) throw_errno("write", file_);
        if (std::rename(part_.c_str(), file_.c_str()) != 0) throw_errno("write", file_);
        replaced_ = true;
    }

private:
    const fs::path& file_;
    std::string part_;
    File stream_;
    bool replaced_ = false;
};

}  // namespace

Cache::Cache(fs::path file) : file_(std::move(file)) {
    if (file_.empty()) return;
    std::error_code error;
    if (fs::exists(file_, error)) {
        if (!fs::is_regular_file(file_, error)) {
            throw std::runtime_error(fmt::format(
                "cannot use {} as a cache: it is there and no regular file", file_.string()));
        }
        file_ = fs::canonical(file_);  // a link stays one
        read();
    }
    const NewFile try_it(file_);  // rather now than when all is done
}

void Cache::read() {
    const std::string text = read_file(file_);
    try {
        const Json json = parse_json(text);
        if (json.at("format") != format) throw std::runtime_error("another format");
        for (const auto& [key, entry] : json.at("answers").items()) {
            CachedAnswer answer{entry.at("etag"), entry.at("body"), {}};
            if (entry.contains("next")) answer.next = entry.at("next").get<std::string>();
            answers_.emplace(key, std::move(answer));
        }
    } catch (const std::exception&) {
        // it may be a file of another kind, given by mistake: it is not replaced
        throw std::runtime_error(fmt::format("{} is no cache of this program", file_.string()));
    }
}

const CachedAnswer* Cache::find(const std::string& key) const {
    const auto found = answers_.find(key);
    return found == answers_.end() ? nullptr : &found->second;
}

void Cache::save() const {
    if (file_.empty()) return;
    Json answers = Json::object();
    for (const auto& [key, answer] : answers_) {
        Json entry = Json::object();
        entry["etag"] = answer.etag;
        if (answer.next) entry["next"] = *answer.next;
        entry["body"] = answer.body;
        answers[key] = std::move(entry);
    }
    Json json = Json::object();
    json["format"] = format;
    json["answers"] = std::move(answers);
    NewFile(file_).replace_by(to_text(json) + "\n");
}
