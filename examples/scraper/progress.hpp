#pragma once
#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>

/// Without what would move a terminal's cursor.
[[nodiscard]] std::string printable(std::string_view text);

/// How many pages there are of each kind.
struct Counts {
    std::size_t pages = 0;  // found so far
    std::size_t saved = 0;
    std::size_t redirects = 0;
    std::size_t failed = 0;
    std::size_t skipped = 0;
};

/// Shows on stdout what happens. On a terminal in a table that is drawn again and again, with the
/// counts and what is at work, and above it a line for each page that was not saved; else in a line
/// for each page.
class Progress {
public:
    explicit Progress(const Counts& counts);
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { clear(); }

    /// What a page is about to do.
    void work(const std::string& url, std::string what);
    /// What will be tried again.
    void retry(const std::string& url, int status, std::string_view why);
    /// It is over, and there is nothing to say about it.
    void stop(const std::string& url) { working_.erase(url); }
    /// What has become of a page.
    void end(const std::string& url, std::string_view state, int status, std::string_view text);
    void clear();

private:
    using Clock = std::chrono::steady_clock;

    void line(std::string_view state, int status, std::string_view url, std::string_view text);
    void draw();

    const Counts& counts_;
    bool terminal_;
    std::map<std::string, std::string> working_;  // on what, by URL
    std::size_t lines_ = 0;                       // of the table on the terminal now
    Clock::time_point drawn_;
};
