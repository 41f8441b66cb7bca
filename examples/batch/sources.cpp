#include "sources.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace {

Source make_source(const fs::path& path, std::string name) {
    Source source{std::move(name), path};
    struct stat info = {};
    if (::stat(path.c_str(), &info) == 0) {
        source.size = static_cast<std::uintmax_t>(info.st_size);
        source.modified = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    }
    return source;
}

// The name of "include/" and "." too.
fs::path name_of(const fs::path& path) {
    const fs::path full = fs::absolute(path).lexically_normal();
    return full.has_filename() ? full.filename() : full.parent_path().filename();
}

void find_below(const fs::path& folder, const fs::path& out, std::vector<Source>& sources) {
    const fs::path name = name_of(folder);
    fs::recursive_directory_iterator entry(folder);
    for (; entry != fs::recursive_directory_iterator(); ++entry) {
        std::error_code missing;
        if (entry->is_directory(missing)) {
            if (fs::equivalent(entry->path(), out, missing)) entry.disable_recursion_pending();
        } else if (entry->is_regular_file(missing) || !entry->exists(missing)) {
            const fs::path inner = entry->path().lexically_relative(folder);
            sources.push_back(make_source(entry->path(), (name / inner).generic_string()));
        }
    }
}

}  // namespace

std::vector<Source> find_sources(const std::vector<std::string>& inputs, const fs::path& out) {
    std::vector<Source> sources;
    for (const fs::path input : inputs) {
        std::error_code error;
        const bool missing = fs::symlink_status(input, error).type() == fs::file_type::not_found;
        if (missing) throw std::runtime_error(fmt::format("there is no {}", input.string()));
        if (!fs::is_directory(input, error)) {
            sources.push_back(make_source(input, name_of(input).string()));
            continue;
        }
        try {
            find_below(input, out, sources);
        } catch (const fs::filesystem_error& failed) {
            throw std::runtime_error(fmt::format("cannot list {}: {}", failed.path1().string(),
                                                 failed.code().message()));
        }
    }
    const auto name = [](const Source& source) -> const std::string& { return source.name; };
    std::ranges::sort(sources, {}, name);
    const auto twice = std::ranges::adjacent_find(sources, {}, name);
    if (twice != sources.end()) {
        throw std::runtime_error(fmt::format("{} and {} would both be packed as {}",
                                             twice->path.string(), std::next(twice)->path.string(),
                                             twice->name));
    }
    return sources;
}
