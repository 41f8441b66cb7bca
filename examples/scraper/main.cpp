#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <optional>
#include <string>

#include "../common/innermost.hpp"
#include "../common/signals.hpp"
#include "command_line.hpp"
#include "crawl.hpp"
#include "page.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "site.hpp"
#include "store.hpp"

using namespace grafo;

namespace {

// One sentence for each page that the user has named and that was not saved.
int print_starts(const Visits& visits, const Options& options) {
    int code = 0;
    for (const std::string& url : options.urls) {
        const auto visit = visits.find(url);
        if (visit == visits.end() || visit->second.reason.empty()) continue;
        fmt::print(stderr, "scraper: {}: {}\n", url, printable(visit->second.reason));
        code = 1;
    }
    return code;
}

Task<int> scrape(const Options& options, Store& store, GraphFile& graph) {
    ThreadPool worker{1};  // parses and writes, so that the loop never waits for either
    Crawl crawl(options, worker, store);
    TreeExecutor executor{"scraper", crawl.roots()};
    executor.on_error(ErrorPolicy::keep_going);
    auto events = executor.yielding();
    const StopOnSignals stop_on_signals([&executor] { executor.stop(); });
    Progress progress(crawl.counts());
    try {
        while (auto event = co_await events.next()) {
            const std::optional<Miss> miss = crawl.happened(*event, progress);
            if (miss) co_await offload(worker, [&] { store.miss(*miss); });
        }
    } catch (const RunError&) {
        // the pages tell it too
    }
    progress.clear();

    const RunReport report = executor.report();
    graph.write(crawl.visits());
    print_report(crawl.visits(), crawl.counts(), report.elapsed(), options);
    if (report.stopped()) {
        fmt::print(stderr, "scraper: stopped, {} pages are saved in {}\n", store.saved(),
                   options.out.string());
        co_return 130;
    }
    co_return print_starts(crawl.visits(), options);
}

int serve() {
    std::atomic<bool> stopped = false;
    const Site site(true);
    fmt::print("{}\n", site.url());
    std::fflush(stdout);
    const StopOnSignals stop_on_signals([&] {
        stopped = true;
        stopped.notify_one();
    });
    stopped.wait(false);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    init_parser();
    Options options = parse_command_line(argc, argv);
    block_stop_signals();
    try {
        if (options.serve) return serve();
        Store store(options.out);
        GraphFile graph(options.graph);
        std::optional<Site> site;
        if (options.urls.empty()) {
            setenv("no_proxy", "127.0.0.1", 1);
            options.urls.push_back(site.emplace(false).url());
        }
        return grafo::run(scrape(options, store, graph));
    } catch (const std::exception& error) {
        fmt::print(stderr, "scraper: {}\n", printable(innermost(error)));
    }
    return 1;
}
