// ./benchmarks/run calls this program; see there.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "apart.hpp"
#include "peers.hpp"
#include "workloads.hpp"

namespace {

struct Workload {
    std::string_view name;
    void (*run)(bench::Bench&);
};

constexpr Workload workloads[] = {
    {"chain", bench::chain},
    {"fan", bench::fan},
    {"wavefront", bench::wavefront},
    {"layered", bench::layered},
    {"large_values", bench::large_values},
    {"chunks", bench::chunks},
    {"pipe", bench::pipe},
    {"generator", bench::generator},
    {"task_call", bench::task_call},
    {"timers", bench::timers},
    {"build", bench::build},
    {"memory", bench::memory},
    {"destroy", bench::destroy},
    {"runs", bench::runs},
};

bool is_workload(std::string_view name) {
    return std::any_of(std::begin(workloads), std::end(workloads),
                       [&](const Workload& w) { return w.name == name; });
}

int usage() {
    std::fprintf(
        stderr,
        "usage: benchmarks [--quick] [--json FILE] [--markdown FILE] [NAME...], NAME one of");
    for (const Workload& workload : workloads) {
        std::fprintf(stderr, " %s", std::string(workload.name).c_str());
    }
    std::fprintf(stderr,
                 "\n       benchmarks [--quick] --growth FILE.svg"
                 "\n       benchmarks --probe SHAPE order|forwarding|yielding "
                 "ours|floor|oneTBB|Taskflow RUNS\n");
    return 2;
}

void note_what_is_missing(bench::Bench& table) {
    if (!bench::has_tbb) table.note("left out: oneTBB (libtbb-dev is not installed)");
    if (!bench::has_taskflow) {
        table.note(
            "left out: Taskflow (its headers were not found; CPLUS_INCLUDE_PATH adds a place)");
    }
#if !defined(GRAFO_BENCHMARK_ASIO)
    table.note("left out: Asio (libasio-dev is not installed)");
#endif
    table.note("left out: libcoro and cppcoro (no Debian packages)");
}

int run_all(const std::vector<std::string_view>& names, bool quick, const std::string& json,
            const std::string& markdown) {
    bench::Bench table(quick);
    for (const Workload& workload : workloads) {
        if (!names.empty() && std::find(names.begin(), names.end(), workload.name) == names.end()) {
            continue;
        }
        const double start = bench::seconds();
        std::fprintf(stderr, "%s ...", std::string(workload.name).c_str());
        const auto measure = [&](std::FILE* out) {
            bench::Bench rows(quick);
            workload.run(rows);
            rows.save(out);
        };
        bench::apart(std::string(workload.name), measure, [&](std::FILE* in) { table.load(in); });
        std::fprintf(stderr, " %.1f s\n", bench::seconds() - start);
    }
    note_what_is_missing(table);
    table.print_table();
    if (!json.empty()) table.write_json(json);
    if (!markdown.empty()) table.write_markdown(markdown);
    return 0;
}

int run(const std::vector<std::string_view>& arguments) {
    bool quick = false;
    std::string json;
    std::string markdown;
    std::string picture;
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view argument = arguments[i];
        const bool has_next = i + 1 < arguments.size();
        if (argument == "--quick") {
            quick = true;
        } else if (argument == "--json" && has_next) {
            json = arguments[++i];
        } else if (argument == "--markdown" && has_next) {
            markdown = arguments[++i];
        } else if (argument == "--growth" && has_next) {
            picture = arguments[++i];
        } else if (argument == "--probe" && arguments.size() == i + 5) {
            bench::probe(arguments[i + 1], arguments[i + 2], arguments[i + 3],
                         std::atoi(std::string(arguments[i + 4]).c_str()));
            return 0;
        } else if (is_workload(argument)) {
            names.push_back(argument);
        } else {
            return usage();
        }
    }
    if (picture.empty()) return run_all(names, quick, json, markdown);
    bench::growth(picture, quick);
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return run({arguments + 1, arguments + count});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
