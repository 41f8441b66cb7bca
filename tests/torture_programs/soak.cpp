// One loop, thousands of runs, most of which are broken: whatever happened before, the next run is
// as the first one, and nothing grows: neither memory, nor the loop's timers, nor what is open.
//
// A case is a loop and its rounds. In a round a graph is built, run, broken a few times, run again
// and destroyed; its executor is made anew now and then.
#define GRAFO_NO_FRAME_RECYCLING

#include <optional>
#include <string>

#if defined(__linux__)
#include <dirent.h>
#endif

#include "memory.hpp"
#include "one_run.hpp"

namespace {

using namespace torture;

enum class Fault : unsigned char {
    none,
    exception,
    stop,
    drop_executor,
    drop_run,
    time_out,
    allocation,
};
constexpr std::string_view fault_names[] = {"nothing",
                                            "an exception at place",
                                            "stop() at place",
                                            "dropping the executor at place",
                                            "dropping the run after so many events:",
                                            "with_timeout() of so many half milliseconds:",
                                            "no memory for allocation"};
constexpr std::size_t faults = std::size(fault_names);

// How many descriptors are open, the one of this very question included.
std::int64_t open_descriptors() {
    std::int64_t count = 0;
#if defined(__linux__)
    DIR* const all = opendir("/proc/self/fd");
    if (all == nullptr) return -1;
    while (readdir(all) != nullptr) ++count;
    closedir(all);
#endif
    return count;
}

Graph* graph_on = nullptr;

Task<> read_some(AsyncGenerator<grafo::Event> events, std::uint64_t count) {
    for (; count > 0; --count) {
        const grafo::Event* const event = co_await events.next();
        if (event == nullptr) break;
    }
}
Task<> in_time(std::chrono::microseconds limit, Task<> run) {
    co_await with_timeout(limit, std::move(run));
}

class Soak {
public:
    Soak(int argc, char** argv) : topic_("soak", argc, argv) {}

    int run() {
        // What is made once in a program, and what each graph gives when nothing disturbs it.
        EventLoop loop{grafo::virtual_time};
        for (const NamedGraph& named : all_graphs) {
            for (const Way way : ways) measure(named, way, loop);
        }
        const std::uint64_t loops = topic_.pick({3, 900, 50'000});
        return topic_.run({loops, loops, loops},
                          [this](std::uint64_t, Random random, Digest& digest) {
                              return run_loop(random, digest);
                          });
    }

private:
    // What a graph gives with the executor that it was made with, and with another one.
    struct Known {
        std::uint64_t outcome = 0;
        std::uint64_t outcome_anew = 0;
        std::uint64_t places = 0;
    };

    static void renew_executor(Graph& graph, const std::vector<AnyNode>& roots) {
        graph.run(grafo::NodeList(roots));
        if (graph.observer != nullptr) graph.executor->observe(*graph.observer);
    }
    void measure(const NamedGraph& named, Way way, EventLoop& loop) {
        Known known;
        Graph graph = named.make();
        const std::vector<AnyNode> roots = graph.executor->roots();
        counts() = Counts();
        known.outcome = outcome_of(graph, run_undisturbed(graph, way, loop)).value();
        known.places = counts().places;
        renew_executor(graph, roots);
        known.outcome_anew = outcome_of(graph, run_undisturbed(graph, way, loop)).value();
        known_.push_back(known);
    }

    std::string run_loop(Random& random, Digest& digest) {
        const std::int64_t descriptors = open_descriptors();
        const std::int64_t alive = memory().alive;
        std::string wrong;
        {
            EventLoop loop{grafo::virtual_time};
            for (std::uint64_t i = 0; i < rounds && wrong.empty(); ++i) {
                if (i == settled) mark_ = memory().bytes;
                wrong = run_round(random, digest, loop);
                if (i > settled && wrong.empty() && memory().bytes > mark_ + slack) {
                    wrong = fmt::format("{} bytes more than at first", memory().bytes - mark_);
                }
                if (!wrong.empty()) wrong = fmt::format("  round {}: {}", i, wrong);
            }
        }
        if (!wrong.empty()) return wrong;
        check_nothing_lives(alive, wrong);
        if (open_descriptors() != descriptors) wrong += "\n  descriptors are left open";
        return wrong;
    }

    std::string run_round(Random& random, Digest& digest, EventLoop& loop) {
        const std::size_t which = random.below(std::size(all_graphs));
        const std::size_t how = random.below(std::size(ways));
        const NamedGraph& named = all_graphs[which];
        const Way way = ways[how];
        const Known& known = known_[which * std::size(ways) + how];
        counts() = Counts();
        // The loop's own tables have grown to their first size by then.
        loop.run(long_pause());
        std::string done = fmt::format("graph {}, {}", named.name, way.name);
        done.reserve(2000);  // no allocation more from here on
        std::string wrong;
        const std::int64_t before = memory().alive;
        {
            Graph graph = named.make();
            const std::vector<AnyNode> roots = graph.executor->roots();
            bool anew = false;
            std::int64_t alive = -1;  // after the first run that nothing disturbed
            const std::uint64_t runs = random.one_in(20) ? 100 : 1 + random.below(6U);
            for (std::uint64_t i = 0; i < runs && wrong.empty(); ++i) {
                const Fault fault = static_cast<Fault>(random.below(faults));
                const std::uint64_t place = 1 + random.below(limit_of(fault, known));
                if (random.one_in(4) || !graph.executor) {
                    renew_executor(graph, roots);
                    anew = true;
                }
                done += fmt::format("; {} {}", fault_names[static_cast<std::size_t>(fault)], place);
                const std::uint64_t outcome = run_broken(graph, way, loop, fault, place);
                if (fault != Fault::allocation) digest.add(outcome);
                if (!graph.executor) {
                    renew_executor(graph, roots);
                    anew = true;
                }
                wrong = check_loop(loop);
                if (!wrong.empty()) break;
                if (random.one_in(3)) continue;
                const Ending ending = run_undisturbed(graph, way, loop);
                const std::uint64_t got = outcome_of(graph, ending).value();
                digest.add(got);
                if (got != (anew ? known.outcome_anew : known.outcome)) {
                    wrong = "the next run is another one\n  " + text_of(graph, ending);
                } else {
                    wrong = check_loop(loop);
                }
                if (!wrong.empty()) break;
                if (alive >= 0 && memory().alive > alive + bound(graph)) {
                    wrong = fmt::format("the graph has grown by {} allocations",
                                        memory().alive - alive);
                }
                if (alive < 0) alive = memory().alive;
            }
        }
        if (wrong.empty()) check_nothing_lives(before, wrong);
        return wrong.empty() ? wrong : done + ": " + wrong;
    }

    // A node makes what it needs for a stop or a failure when it is needed first, and keeps it.
    static std::int64_t bound(const Graph& graph) {
        return 4 + 4 * static_cast<std::int64_t>(graph.nodes.size());
    }
    static std::uint64_t limit_of(Fault fault, const Known& known) {
        switch (fault) {
            case Fault::exception:
            case Fault::stop:
            case Fault::drop_executor: return known.places + 1;
            case Fault::drop_run:
            case Fault::time_out: return 12;
            case Fault::allocation: return 60;
            default: return 1;
        }
    }
    static std::uint64_t run_broken(Graph& graph, Way way, EventLoop& loop, Fault fault,
                                    std::uint64_t place) {
        Ending ending;
        graph_on = &graph;
        counts().breaking_place = never;
        const bool at_place =
            fault == Fault::exception || fault == Fault::stop || fault == Fault::drop_executor;
        switch (fault) {
            case Fault::exception: counts().break_it = [] { throw Broken(1); }; break;
            case Fault::stop:
                counts().break_it = [] {
                    if (graph_on->executor) graph_on->executor->stop();
                };
                break;
            case Fault::drop_executor:
                counts().break_it = [] { graph_on->executor.reset(); };
                break;
            default: break;
        }
        loop.run(long_pause());  // long ago for a rate limiter
        if (at_place) counts().breaking_place = counts().places + place;
        try {
            const TreeExecutor& executor = prepared(graph, way);
            if (fault == Fault::drop_run) {
                loop.run(read_some(executor.yielding(), place - 1));
            } else if (fault == Fault::time_out) {
                loop.run(in_time(500us * (place - 1), watch(executor, way, ending)));
            } else {
                if (fault == Fault::allocation) memory().failing = memory().allocations + place;
                loop.run(watch(executor, way, ending));
            }
        } catch (...) {
            memory().failing = never;
            if (ending.error == nullptr || ending.how == How::cancelled) {
                ending.error = std::current_exception();
                ending.how = How::threw;
            }
        }
        memory().failing = never;
        counts().breaking_place = never;
        graph_on = nullptr;
        return outcome_of(graph, ending).value();
    }
    static std::string check_loop(EventLoop& loop) {
        if (!grafo::detail::LoopAccess::timers(loop).empty()) return "timers are left";
        if (!grafo::detail::LoopAccess::core(loop).ready.empty()) return "something is ready";
        return {};
    }

    static constexpr std::uint64_t rounds = 500;
    static constexpr std::uint64_t settled = 50;
    static constexpr std::int64_t slack = 2048;  // one graph needs more of the loop than another
    Topic topic_;
    std::vector<Known> known_;
    std::int64_t mark_ = 0;
};

}  // namespace

int main(int argc, char** argv) { return Soak(argc, argv).run(); }
