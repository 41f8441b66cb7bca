#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

/// An answer that the server may say is still the right one.
struct CachedAnswer {
    std::string etag;
    std::string body;
    std::optional<std::string> next;  // the next page, as in its Link header
};

/// The answers of this run and of those before it: kept in a file, if it is given one.
class Cache {
public:
    /// Reads the file if it is there. Throws `std::runtime_error` if it is no cache, or cannot be
    /// written later on.
    explicit Cache(std::filesystem::path file);

    /// Null if there is none.
    [[nodiscard]] const CachedAnswer* find(const std::string& key) const;
    void put(const std::string& key, CachedAnswer answer) { answers_[key] = std::move(answer); }
    void remove(const std::string& key) { answers_.erase(key); }

    /// Replaces the file, readable by its owner only. Throws `std::runtime_error`.
    void save() const;

private:
    void read();

    std::filesystem::path file_;
    std::map<std::string, CachedAnswer> answers_;
};
