#include "report.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <utility>

#include "url.hpp"

namespace {

std::string in_quotes(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        result += c;
    }
    return result + '"';
}

std::string_view color_of(const Visit& visit) {
    if (visit.state == "failed") return "red";
    if (visit.state == "skipped") return "orange";
    return visit.state == "saved" ? "black" : "gray";
}

void print_reasons(const Visits& visits, std::string_view state) {
    std::map<std::string_view, std::size_t> reasons;
    for (const auto& [url, visit] : visits) {
        if (visit.state == state) ++reasons[visit.reason];
    }
    for (const auto& [reason, count] : reasons) {
        fmt::print("  {:>6}  {}\n", count, printable(reason));
    }
}

}  // namespace

GraphFile::GraphFile(std::filesystem::path file)
    : file_(std::move(file)), stream_(std::fopen(file_.c_str(), "w")) {
    if (stream_ == nullptr) throw_errno("write", file_);
}

void GraphFile::write(const Visits& visits) {
    std::string text = "digraph pages {\n    rankdir=LR;\n    node [shape=box];\n";
    for (const auto& [url, visit] : visits) {
        const std::string label = visit.title.empty() ? path_of(url) : visit.title;
        text += fmt::format("    {} [label={}, color={}, tooltip={}];\n", in_quotes(url),
                            in_quotes(label), color_of(visit),
                            in_quotes(visit.reason.empty() ? visit.state : visit.reason));
    }
    for (const auto& [url, visit] : visits) {
        for (const std::string& target : visit.links) {
            if (!visits.contains(target)) continue;
            text += fmt::format("    {} -> {}{};\n", in_quotes(url), in_quotes(target),
                                visit.redirect ? " [style=dashed]" : "");
        }
    }
    text += "}\n";
    std::fwrite(text.data(), 1, text.size(), stream_.get());
    if (std::fflush(stream_.get()) != 0) throw_errno("write", file_);
}

void print_report(const Visits& visits, const Counts& counts, std::chrono::nanoseconds elapsed,
                  const Options& options) {
    std::size_t links = 0;
    std::size_t found = 0;
    for (const auto& [url, visit] : visits) {
        if (visit.state != "saved") continue;
        links += visit.links.size();
        found += visit.found;
    }
    fmt::print("\nsaved     {:>4}  with {} links, and {} times {}\n", counts.saved, links, found,
               options.xpath);
    fmt::print("redirects {:>4}\n", counts.redirects);
    fmt::print("skipped   {:>4}\n", counts.skipped);
    print_reasons(visits, "skipped");
    fmt::print("failed    {:>4}\n", counts.failed);
    print_reasons(visits, "failed");
    if (visits.size() == options.max_pages) {
        fmt::print("no more, since --max-pages is {}\n", options.max_pages);
    }
    fmt::print("{:.1f} s, in {}, links between them in {}\n",
               std::chrono::duration<double>(elapsed).count(), options.out.string(),
               options.graph.string());
}
