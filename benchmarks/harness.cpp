#include "harness.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <random>
#include <stdexcept>

#include "targets.hpp"

namespace bench {

namespace {

double quantile(Samples samples, double at) {
    std::sort(samples.begin(), samples.end());
    const double place = at * static_cast<double>(samples.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, samples.size() - 1);
    const double share = place - static_cast<double>(below);
    return samples[below] * (1 - share) + samples[above] * share;
}

Samples combine(const Samples& a, const Samples& b, double (*with)(double, double)) {
    Samples made;
    std::transform(a.begin(), a.end(), b.begin(), std::back_inserter(made), with);
    return made;
}
Samples ratios(const Samples& a, const Samples& b) {
    return combine(a, b, [](double x, double y) { return x / y; });
}

std::string number(double value) {
    char text[32];
    const double size = std::abs(value);
    const int digits = size >= 1000 ? 0 : size >= 100 ? 0 : size >= 1 ? 1 : size == 0 ? 0 : 3;
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}
std::string fixed(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", value);
    return text;
}

std::string json_text(std::string_view text) {
    std::string made = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') made += '\\';
        made += c;
    }
    return made + '"';
}
std::string json_number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}
std::string json_numbers(const Samples& samples) {
    std::string made = "[";
    for (const double sample : samples) {
        made += (made.size() > 1 ? ", " : "") + json_number(sample);
    }
    return made + "]";
}

void write_file(const std::string& file, const std::string& text) {
    std::FILE* out = std::fopen(file.c_str(), "w");
    if (out == nullptr) throw std::runtime_error("cannot write " + file);
    std::fputs(text.c_str(), out);
    std::fclose(out);
}

// Below this a floor does nothing at all, and a ratio to it says nothing.
constexpr double no_floor = 0.1;

}  // namespace

double median(Samples samples) { return quantile(std::move(samples), 0.5); }

namespace {
double read_clock(clockid_t clock) {
    timespec at{};
    clock_gettime(clock, &at);
    return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9;
}
}  // namespace

double seconds() { return read_clock(CLOCK_MONOTONIC); }
double cpu_seconds() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

void require(bool holds, std::string_view what) {
    if (!holds) throw std::runtime_error("benchmark: " + std::string(what));
}

void Contest::add(std::string side, std::function<double()> round) {
    sides_.push_back(Side{std::move(side), std::move(round), {}});
}

void Contest::run() {
    for (Side& side : sides_) side.round();
    std::vector<Side*> order;
    for (Side& side : sides_) order.push_back(&side);
    std::minstd_rand random(1);
    for (int i = 0; i < rounds_; ++i) {
        std::shuffle(order.begin(), order.end(), random);
        for (Side* side : order) side->samples.push_back(side->round());
    }
}

const Samples& Contest::operator[](std::string_view side) const {
    static const Samples none;
    for (const Side& candidate : sides_) {
        if (candidate.name == side) return candidate.samples;
    }
    return none;
}

void Bench::row(std::string name, std::string unit, const Samples& ours, const Samples& floor,
                std::vector<Peer> peers) {
    std::erase_if(peers, [](const Peer& peer) { return peer.samples.empty(); });
    rows_.push_back(
        Row{std::move(name), std::move(unit), ours, floor, std::move(peers), false, {}, {}, {}});
    judge(rows_.back());
}

void Bench::added(std::string name, std::string unit, const Samples& with, const Samples& without) {
    const Samples more = combine(with, without, [](double x, double y) { return x - y; });
    rows_.push_back(Row{std::move(name), std::move(unit), more, {}, {}, true, {}, {}, {}});
}

void Bench::judge(Row& row) {
    const Goal* goal = std::find_if(std::begin(goals), std::end(goals),
                                    [&](const Goal& g) { return g.row == row.name; });
    if (goal == std::end(goals)) return;
    const bool of_floor = goal->of == Goal::Of::floor;
    const char* unit = of_floor ? "x" : "";
    const double value = of_floor ? median(ratios(row.ours, row.floor)) : median(row.ours);
    const auto write = [](double limit) {
        std::string text = json_number(limit);
        return text;
    };
    row.target = write(goal->target) + unit;
    bool met = true;
    if (goal->must > 0) {
        row.must = write(goal->must) + unit;
        met = value <= goal->must;
    }
    for (const Share& share : {goal->peer, goal->instead}) {
        if (share.peer.empty()) continue;
        const auto peer = std::find_if(row.peers.begin(), row.peers.end(),
                                       [&](const Bench::Peer& p) { return p.name == share.peer; });
        if (peer == row.peers.end()) continue;
        if (!row.must.empty()) row.must += ", ";
        if (share.of != 1) row.must += write(share.of) + " ";
        row.must += share.peer;
        met = met && median(ratios(row.ours, peer->samples)) <= share.of;
        break;
    }
    if (!met) {
        row.verdict = "MISSED";
    } else if (value <= goal->target) {
        row.verdict = "target";
    } else {
        row.verdict = row.must.empty() ? "no peer" : "must";
    }
}

std::vector<std::vector<std::string>> Bench::cells() const {
    std::vector<std::string> peers;
    for (const Row& row : rows_) {
        for (const Peer& peer : row.peers) {
            if (std::find(peers.begin(), peers.end(), peer.name) == peers.end()) {
                peers.push_back(peer.name);
            }
        }
    }
    std::vector<std::vector<std::string>> lines;
    std::vector<std::string> head = {"workload", "unit", "ours", "floor", "ours/floor", "min..max"};
    for (const std::string& name : peers) head.push_back(name + " (ours/it)");
    head.insert(head.end(), {"target", "must", "verdict"});
    lines.push_back(head);
    for (const Row& row : rows_) {
        const bool compared = !row.floor.empty() && median(row.floor) > no_floor;
        const Samples spread = compared ? ratios(row.ours, row.floor) : row.ours;
        const auto write = compared ? &fixed : &number;
        std::vector<std::string> line = {row.name,
                                         row.unit,
                                         (row.added ? "+" : "") + number(median(row.ours)),
                                         row.floor.empty() ? "" : number(median(row.floor)),
                                         compared ? fixed(median(spread)) : "",
                                         ""};
        if (spread.size() > 1) {
            line.back() = write(quantile(spread, 0)) + ".." + write(quantile(spread, 1));
        }
        for (const std::string& name : peers) {
            line.emplace_back();
            for (const Peer& peer : row.peers) {
                if (peer.name != name) continue;
                line.back() = number(median(peer.samples)) + " (" +
                              fixed(median(ratios(row.ours, peer.samples))) + ")";
            }
        }
        line.insert(line.end(), {row.target, row.must, row.verdict});
        lines.push_back(line);
    }
    return lines;
}

void Bench::print_table() const {
    const auto lines = cells();
    std::vector<std::size_t> widths(lines[0].size());
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i)
            widths[i] = std::max(widths[i], line[i].size());
    }
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i) {
            const int width = static_cast<int>(widths[i]);
            const bool left = i < 2 || i + 2 >= line.size();
            std::printf(left ? "%-*s  " : "%*s  ", width, line[i].c_str());
        }
        std::printf("\n");
    }
    for (const std::string& note : notes_) std::printf("%s\n", note.c_str());
}

void Bench::write_markdown(const std::string& file) const {
    const auto lines = cells();
    std::string text;
    for (const auto& line : lines) {
        text += "|";
        for (const std::string& cell : line) text += (cell.empty() ? "" : " ") + cell + " |";
        text += "\n";
        if (&line != lines.data()) continue;
        for (std::size_t i = 0; i < line.size(); ++i) {
            text += i < 2 || i + 2 >= line.size() ? "|---" : "|--:";
        }
        text += "|\n";
    }
    text += "\n";
    for (const std::string& note : notes_) text += "- " + note + "\n";
    write_file(file, text);
}

void Bench::save(std::FILE* to) const {
    const auto write = [&](const Samples& samples) {
        std::fprintf(to, "%zu\n", samples.size());
        for (const double sample : samples) std::fprintf(to, "%a\n", sample);
    };
    for (const Row& row : rows_) {
        std::fprintf(to, "row\n%s\n%s\n%d\n", row.name.c_str(), row.unit.c_str(), row.added);
        write(row.ours);
        write(row.floor);
        for (const Peer& peer : row.peers) {
            std::fprintf(to, "peer\n%s\n", peer.name.c_str());
            write(peer.samples);
        }
    }
    for (const std::string& note : notes_) std::fprintf(to, "note\n%s\n", note.c_str());
}

void Bench::load(std::FILE* from) {
    std::string line;
    const auto next = [&] {
        line.clear();
        int c = std::fgetc(from);
        if (c == EOF) return false;
        for (; c != '\n' && c != EOF; c = std::fgetc(from)) line += static_cast<char>(c);
        return true;
    };
    const auto text = [&] {
        next();
        return line;
    };
    const auto read = [&] {
        Samples samples(std::stoul(text()));
        for (double& sample : samples) sample = std::strtod(text().c_str(), nullptr);
        return samples;
    };
    const std::size_t before = rows_.size();
    while (next()) {
        if (line == "row") {
            Row& row = rows_.emplace_back();
            row.name = text();
            row.unit = text();
            row.added = text() == "1";
            row.ours = read();
            row.floor = read();
        } else if (line == "peer") {
            std::string name = text();
            rows_.back().peers.push_back({std::move(name), read()});
        } else {
            notes_.push_back(text());
        }
    }
    for (std::size_t i = before; i < rows_.size(); ++i) judge(rows_[i]);
}

void Bench::write_json(const std::string& file) const {
    std::string text = "{\"rows\": [";
    for (const Row& row : rows_) {
        text += std::string(&row == rows_.data() ? "" : ",") +
                "\n  {\"workload\": " + json_text(row.name) + ", \"unit\": " + json_text(row.unit) +
                ", \"ours\": " + json_number(median(row.ours));
        if (!row.floor.empty()) {
            const Samples ratio = ratios(row.ours, row.floor);
            text += ", \"floor\": " + json_number(median(row.floor)) +
                    ", \"ratio\": " + json_number(median(ratio)) + ", \"ratio_quartiles\": [" +
                    json_number(quantile(ratio, 0.25)) + ", " + json_number(quantile(ratio, 0.75)) +
                    "], \"ratios\": " + json_numbers(ratio);
        }
        text += ", \"peers\": {";
        for (const Peer& peer : row.peers) {
            const Samples ratio = ratios(row.ours, peer.samples);
            text += (&peer == row.peers.data() ? "" : ", ") + json_text(peer.name) +
                    ": {\"median\": " + json_number(median(peer.samples)) +
                    ", \"ratio\": " + json_number(median(ratio)) +
                    ", \"ratios\": " + json_numbers(ratio) + "}";
        }
        text += "}, \"samples\": " + json_numbers(row.ours) +
                ", \"target\": " + json_text(row.target) + ", \"must\": " + json_text(row.must) +
                ", \"verdict\": " + json_text(row.verdict) + "}";
    }
    text += "\n], \"notes\": [";
    for (const std::string& note : notes_) {
        text += (&note == notes_.data() ? "" : ", ") + json_text(note);
    }
    text += "]}\n";
    write_file(file, text);
}

}  // namespace bench
