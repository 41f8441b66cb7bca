#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

#include "../common/database.hpp"
#include "page.hpp"

/// A page that was not saved.
struct Miss {
    std::string url;
    std::string state;  // "failed" or "skipped"
    int status = 0;     // 0: there was no answer
    unsigned attempts = 0;
    std::string reason;
};

/// The database of pages, without those of an earlier run. For one thread at a time. What `save`
/// and `miss` have written is kept, whatever happens to the process. Throws `std::runtime_error`.
class Store {
public:
    explicit Store(const std::filesystem::path& file);

    void save(const Page& page);
    void miss(const Miss& miss);

    /// How many pages it has saved, redirects not counted.
    [[nodiscard]] std::size_t saved() const { return saved_; }

private:
    Database database_;
    std::size_t saved_ = 0;
};
