#pragma once
#include <cstddef>
#include <string>
#include <string_view>

/// A chunk: how far a node has come.
struct Progress {
    std::size_t rows;
    std::size_t done;   // of total, in any unit
    std::size_t total;  // 0: unknown

    Progress(std::size_t row_count, std::size_t amount, std::size_t whole)
        : rows(row_count), done(amount), total(whole) {}
};

/// Shows progress on stdout: on a terminal in one line that is drawn again and again, else in a
/// line of its own each time a node's rows have doubled.
class ProgressLine {
public:
    ProgressLine();
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    ~ProgressLine() { clear(); }

    void show(std::string_view node, const Progress& progress);
    void clear();

private:
    bool terminal_;
    std::string node_;
    std::size_t next_ = 0;
};
