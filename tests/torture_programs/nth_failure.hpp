// What the programs have in common in which the n-th of something fails, for every n: while a graph
// is built and run. Then the failure is told or the run gives what it ever gives; nothing is
// leaked, and the graph can run again.
//
// How often there is a chance to fail depends on the compiler and its standard library, so the
// digest holds what the graphs give, and that nothing went wrong.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "memory.hpp"
#include "one_run.hpp"

namespace torture {

/// `Failure` says what fails: `Told` is what comes out, `what` names it, `arm(first, second)` sets
/// which two of them will, from now on, and `count()` tells how many there were since.
template <class Failure>
class NthFailure {
public:
    NthFailure(std::string_view topic, int argc, char** argv) : topic_(topic, argc, argv) {}

    int run() {
        for (const NamedGraph& graph : all_graphs) {
            for (const Way way : ways) run_graph(graph, way);
        }
        topic_.digest().add(failures_);
        return topic_.finish();
    }

private:
    // One graph, built and run with a failure.
    struct Attempt {
        Attempt(const NamedGraph& named, Way way, std::uint64_t first, std::uint64_t second) {
            Failure::arm(first, second);
            try {
                loop.emplace(grafo::virtual_time);
                graph.emplace(named.make());
                prepared(*graph, way);
                built = true;
                loop->run(watch(*graph->executor, way, ending));
            } catch (...) {
                if (ending.error == nullptr || ending.how == How::cancelled) {
                    ending.error = std::current_exception();
                    ending.how = How::threw;
                }
            }
            count = Failure::count();
            Failure::arm(never, never);
            told = comes_from<typename Failure::Told>(ending.error);
        }
        [[nodiscard]] bool gave(std::uint64_t outcome) const {
            return built && outcome_of(*graph, ending).value() == outcome;
        }

        std::optional<EventLoop> loop;
        std::optional<Graph> graph;
        Ending ending;
        bool built = false;
        bool told = false;
        std::uint64_t count = 0;
    };

    void run_graph(const NamedGraph& named, Way way) {
        std::uint64_t expected = 0;
        std::uint64_t count = 0;
        for (int i = 0; i < 2; ++i) {  // what is made once in a program is made by then
            const Attempt attempt(named, way, never, never);
            count = attempt.count;
            expected = outcome_of(*attempt.graph, attempt.ending).value();
        }
        topic_.digest().add(expected);
        // Past the last one the run has to be as ever.
        for (std::uint64_t n = 1; n <= count + 1; ++n) run_one(named, way, n, never, expected);
        if (topic_.length() != Length::full) return;
        for (std::uint64_t n = 1; n <= count; ++n) {
            for (std::uint64_t more = 1; more <= pairs; ++more) {
                run_one(named, way, n, n + more, expected);
            }
        }
    }

    void run_one(const NamedGraph& named, Way way, std::uint64_t first, std::uint64_t second,
                 std::uint64_t expected) {
        const std::uint64_t number = number_++;
        if (!topic_.alone() && topic_.length() == Length::brief &&
            topic_.random_of(number).below(one_of) != 0) {
            return;
        }
        if (!topic_.begin(number)) return;
        const std::string name =
            fmt::format("  graph {}, {}: {} {}{} fails", named.name, way.name, Failure::what, first,
                        second == never ? std::string() : fmt::format(" and {}", second));
        if (topic_.alone()) fmt::print("{}\n", name);  // before it may crash
        const std::string wrong = run_case(named, way, first, second, expected);
        if (wrong.empty()) return;
        ++failures_;
        topic_.fail(number, name + ": " + wrong);
    }

    static std::string run_case(const NamedGraph& named, Way way, std::uint64_t first,
                                std::uint64_t second, std::uint64_t expected) {
        counts() = Counts();
        const std::int64_t alive = memory().alive;
        std::string wrong;
        {
            Attempt attempt(named, way, first, second);
            wrong = check(attempt, first, expected);
            if (attempt.loop) check_nothing_waits(*attempt.loop, wrong);
            if (attempt.built) {
                if (!wrong.empty()) wrong += "\n  " + text_of(*attempt.graph, attempt.ending);
                run_again(attempt, way, expected, wrong);
            }
        }
        check_nothing_lives(alive, wrong);
        return wrong;
    }
    static std::string check(const Attempt& attempt, std::uint64_t first, std::uint64_t expected) {
        if (comes_from<grafo::DeadlockError>(attempt.ending.error)) return "a deadlock";
        if (attempt.built) {
            for (const AnyNode& node : attempt.graph->nodes) {
                const grafo::NodeState state = node.state();
                if (!is_final(state) && state != grafo::NodeState::pending) {
                    return "a node has not ended";
                }
            }
        }
        if (attempt.gave(expected)) return {};
        if (attempt.count < first) return "another outcome without a failure";
        if (attempt.told || (attempt.built && attempt.graph->forgives)) return {};
        return "the failure is lost";
    }
    static void run_again(Attempt& attempt, Way way, std::uint64_t expected, std::string& wrong) {
        Graph& graph = *attempt.graph;
        const Ending again = run_undisturbed(graph, way, *attempt.loop);
        if (outcome_of(graph, again).value() == expected) return;
        wrong += "\n  the next run is another one: " + text_of(graph, again);
    }

    static constexpr std::uint64_t one_of = 20;  // the short form takes one case of so many
    static constexpr std::uint64_t pairs = 12;   // the long one lets one more fail, up to so far on
    Topic topic_;
    std::uint64_t number_ = 0;
    std::uint64_t failures_ = 0;
};

}  // namespace torture
