#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

/// A chunk: how far a file has come, in bytes of work.
struct Progress {
    explicit Progress(std::uintmax_t work) : done(work) {}
    std::uintmax_t done;
};

/// Without what would move a terminal's cursor.
[[nodiscard]] std::string printable(const std::string& name);

/// Shows on stderr how far the files and all of them are. On a terminal in one line each, drawn
/// again and again; else in a line each time a file has done another quarter, and all of them
/// another tenth.
class ProgressLines {
public:
    /// `files` files with `work` bytes of work.
    ProgressLines(std::size_t files, std::uintmax_t work);
    ProgressLines(const ProgressLines&) = delete;
    ProgressLines& operator=(const ProgressLines&) = delete;
    ~ProgressLines() { clear(); }

    void begin(const std::string& name, std::uintmax_t work);
    void advance(const std::string& name, std::uintmax_t done);
    /// The file has ended, well or not.
    void end(const std::string& name);
    void clear();

private:
    struct Running {
        std::uintmax_t work;
        std::uintmax_t done;
    };
    using Clock = std::chrono::steady_clock;

    void draw();

    bool terminal_;
    std::size_t files_;
    std::uintmax_t work_;
    std::size_t ended_files_ = 0;
    std::uintmax_t ended_work_ = 0;
    std::map<std::string, Running> running_;
    std::uintmax_t told_ = 0;
    std::size_t lines_ = 0;  // on the terminal now
    Clock::time_point drawn_;
};
