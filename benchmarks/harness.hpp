#pragma once
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

// What a side took for an item, one number a round.
using Samples = std::vector<double>;

[[nodiscard]] double median(Samples samples);

// Sides that are measured in turn, so that a drift of the machine meets all of them; in another
// order each round, so that none always follows the same other side.
class Contest {
public:
    explicit Contest(int rounds) : rounds_(rounds) {}
    // `round` gives one number; it is called once before it counts.
    void add(std::string side, std::function<double()> round);
    void run();
    // Empty for a side that was not added.
    [[nodiscard]] const Samples& operator[](std::string_view side) const;

private:
    struct Side {
        std::string name;
        std::function<double()> round;
        Samples samples;
    };
    int rounds_;
    std::vector<Side> sides_;
};

// The rows of the table, as they come.
class Bench {
public:
    struct Peer {
        std::string name;
        Samples samples;
    };

    explicit Bench(bool quick) : quick_(quick) {}

    [[nodiscard]] bool quick() const noexcept { return quick_; }
    // A round is short in some: these take `times` as many.
    [[nodiscard]] Contest contest(int times = 1) const { return Contest(quick_ ? 3 : 9 * times); }
    // How long one measurement takes at least, in seconds.
    [[nodiscard]] double least() const noexcept { return quick_ ? 0.002 : 0.008; }

    // A row of ours, and what else was measured in the same contest.
    void row(std::string name, std::string unit, const Samples& ours, const Samples& floor = {},
             std::vector<Peer> peers = {});
    // A row of what one of our own settings adds.
    void added(std::string name, std::string unit, const Samples& with, const Samples& without);
    void note(std::string text) { notes_.push_back(std::move(text)); }

    void print_table() const;
    void write_json(const std::string& file) const;
    // The same table, for a page.
    void write_markdown(const std::string& file) const;

    // To another process, and from there.
    void save(std::FILE* to) const;
    void load(std::FILE* from);

private:
    struct Row {
        std::string name;
        std::string unit;
        Samples ours;
        Samples floor;
        std::vector<Peer> peers;
        bool added = false;
        std::string target;
        std::string must;
        std::string verdict;
    };
    static void judge(Row& row);
    // Titles and rows, as text.
    [[nodiscard]] std::vector<std::vector<std::string>> cells() const;

    bool quick_;
    std::vector<Row> rows_;
    std::vector<std::string> notes_;
};

[[nodiscard]] double seconds();
// Of all threads of this process.
[[nodiscard]] double cpu_seconds();

// How long something takes: by the clock, or in CPU time if that is less, since what other programs
// take of a shared machine belongs to no side.
class Stopwatch {
public:
    [[nodiscard]] double stop() const {
        const double cpu = cpu_seconds() - cpu_;
        const double wall = seconds() - wall_;
        return cpu < wall ? cpu : wall;
    }

private:
    double wall_ = seconds();
    double cpu_ = cpu_seconds();
};

// A round of something small: once to warm the caches, then so often that it takes `least` seconds.
// Nanoseconds an item.
template <class F>
[[nodiscard]] std::function<double()> repeated(double least, double items, F once) {
    return [=, repeats = 0]() mutable {
        const Stopwatch first;
        once();
        if (repeats == 0) repeats = 1 + static_cast<int>(least / first.stop());
        const Stopwatch watch;
        for (int i = 0; i < repeats; ++i) once();
        return watch.stop() * 1e9 / repeats / items;
    };
}

// A round of something that is measured once at a time. Nanoseconds an item.
template <class F>
[[nodiscard]] std::function<double()> single(double items, F once) {
    return [=]() mutable {
        const Stopwatch watch;
        once();
        return watch.stop() * 1e9 / items;
    };
}

// Stops the benchmark: two sides that must give the same did not.
void require(bool holds, std::string_view what);

}  // namespace bench
