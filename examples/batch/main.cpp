#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "../common/innermost.hpp"
#include "../common/signals.hpp"
#include "command_line.hpp"
#include "manifest.hpp"
#include "packer.hpp"
#include "progress.hpp"
#include "sources.hpp"

using namespace grafo;
using namespace grafo::literals;

namespace {

namespace fs = std::filesystem;

constexpr int pieces_between_progress = 16;  // a megabyte

/// What a run has done.
struct Totals {
    std::size_t files = 0;
    std::uintmax_t size = 0;
    std::uintmax_t packed = 0;
};

fs::path target_of(const Source& source, const fs::path& out) {
    return out / (source.name + ".gz");
}

// Gives the entries of those sources that need not be packed again, and takes these off the list.
Entries take_unchanged(std::vector<Source>& sources, const Entries& entries, const fs::path& out) {
    Entries unchanged;
    std::erase_if(sources, [&](const Source& source) {
        const auto found = entries.find(source.name);
        if (found == entries.end()) return false;
        const Entry& entry = found->second;
        std::error_code missing;
        const bool same = entry.size == source.size && entry.modified == source.modified &&
                          fs::file_size(target_of(source, out), missing) == entry.packed;
        if (same) unchanged.insert(*found);
        return same;
    });
    return unchanged;
}

// A node: works in the pool, a few pieces at a time, and tells on the loop's thread how far it is.
AsyncGenerator<Progress, Entry> pack_file(ThreadPool* pool, Journal* journal, Source source,
                                          fs::path target) {
    Packer packer(source.path, std::move(target));
    const auto work = [&packer](const StopFlag& stop) {
        bool more = true;
        for (int i = 0; more && !stop && i < pieces_between_progress; ++i) more = packer.step();
        return more;
    };
    for (;;) {
        const bool more = co_await offload(*pool, work);
        if (!more) break;
        co_yield Progress(packer.progress());
    }
    journal->add(source.name, packer.entry());
    co_return packer.entry();
}

// A node: the end of every run, a stopped one too.
Totals close_manifest(Journal* journal, std::vector<const Entry*> packed) {
    journal->close();
    Totals totals;
    for (const Entry* entry : packed) {
        ++totals.files;
        totals.size += entry->size;
        totals.packed += entry->packed;
    }
    return totals;
}

void print_totals(const Totals& totals, std::size_t unchanged, std::size_t failed,
                  std::chrono::nanoseconds elapsed, const Options& options) {
    fmt::print("packed     {:>6} files, {} bytes to {} bytes\n", totals.files, totals.size,
               totals.packed);
    fmt::print("unchanged  {:>6}\n", unchanged);
    fmt::print("failed     {:>6}\n", failed);
    fmt::print("{:.2f} s, {} at once, in {}\n", std::chrono::duration<double>(elapsed).count(),
               options.jobs, options.out.string());
}

void print_failures(const RunReport& report) {
    for (const NodeError& error : report.errors()) {
        const std::string text = fmt::format("{}: {}", error.node().id(), innermost(error));
        fmt::print(stderr, "batch: {}\n", printable(text));
    }
}

// pack a ─┐
// pack b ─┼─> close_manifest
// pack … ─┘
Task<int> batch(const Options& options, const std::vector<Source>& sources, Journal& journal) {
    const std::size_t unchanged = journal.entries().size();
    ThreadPool pool(options.jobs);
    const Semaphore at_once(options.jobs);

    std::vector<Node<Entry>> files;
    std::uintmax_t work = 0;
    for (const Source& source : sources) {
        files.push_back(Node{source.name, pack_file, "pool"_a = &pool, "journal"_a = &journal,
                             "source"_a = source, "target"_a = target_of(source, options.out)}
                            .limit(at_once));
        work += 2 * source.size;
    }
    Node end = Node{"close_manifest", close_manifest, "journal"_a = &journal, "packed"_args = files}
                   .trigger(Trigger::all_settled);

    TreeExecutor executor{"batch", end};
    executor.on_error(ErrorPolicy::keep_going);
    auto events = executor.yielding();
    std::atomic<bool> stopping = false;
    const StopOnSignals stop_on_signals([&] {
        executor.stop();
        stopping = true;
        stopping.notify_one();
    });
    ProgressLines lines(sources.size(), work);
    std::size_t packed = 0;
    try {
        while (auto event = co_await events.next()) {
            const std::string& name = event->node().id();
            if (event->node() == end) continue;
            if (auto chunk = event->chunk<Progress>()) {
                lines.advance(name, chunk->output.done);
            } else if (event->kind() == EventKind::started) {
                const auto source = std::ranges::lower_bound(sources, name, {}, &Source::name);
                lines.begin(name, 2 * source->size);
            } else {
                lines.end(name);
            }
            if (event->kind() == EventKind::completed && ++packed == options.stop_after) {
                ::kill(::getpid(), SIGINT);
                stopping.wait(false);  // so that no other file begins
            }
        }
    } catch (const RunError&) {
        // the report tells it too
    }
    lines.clear();

    const RunReport report = executor.report();
    print_failures(report);
    if (end.state() != NodeState::completed) co_return 1;
    const std::size_t failed = report.failed().size();
    print_totals(end.output(), unchanged, failed, report.elapsed(), options);
    if (!report.cancelled().empty()) {
        fmt::print(stderr, "batch: stopped, {} files are left for --resume\n",
                   sources.size() - packed);
        co_return 130;
    }
    co_return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse_command_line(argc, argv);
    try {
        std::vector<Source> sources = find_sources(options.inputs, options.out);
        const OutputFolder folder(options.out);
        const fs::path manifest = options.out / "manifest.tsv";
        Entries before;
        if (options.resume) before = read_manifest(manifest);
        Journal journal(manifest, take_unchanged(sources, before, options.out));
        block_stop_signals();
        return grafo::run(batch(options, sources, journal));
    } catch (const std::exception& error) {
        fmt::print(stderr, "batch: {}\n", printable(innermost(error)));
    }
    return 1;
}
