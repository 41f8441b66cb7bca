// How a graph of the set is run, and what has become of it.
#pragma once

#include <cstdint>
#include <exception>
#include <iterator>
#include <new>
#include <string_view>

#include "form.hpp"
#include "graphs.hpp"
#include "leftovers.hpp"
#include "memory.hpp"

namespace torture {

/// run() throws at the end, try_run() reports: the one goes with fail_fast, the other with
/// keep_going.
struct Way {
    const char* name;
    bool streaming;
    bool keep_going;
};
inline constexpr Way ways[] = {{"run(), fail_fast", false, false},
                               {"try_run(), keep_going", false, true},
                               {"yielding(), fail_fast", true, false},
                               {"yielding(), keep_going", true, true}};

enum class How : unsigned char { unknown, completed, failed, stopped, cancelled, threw };
inline std::string_view name_of(How how) {
    constexpr std::string_view names[] = {"did not end", "completed", "failed",
                                          "stopped",     "cancelled", "threw"};
    return names[static_cast<std::size_t>(how)];
}

struct Ending {
    How how = How::unknown;
    std::exception_ptr error;
    Digest events;
};

inline How how_of(const std::exception_ptr& error) noexcept {
    if (error == nullptr) return How::completed;
    try {
        std::rethrow_exception(error);
    } catch (const grafo::RunError& run) {
        return run.stopped() ? How::stopped : How::failed;
    } catch (const grafo::Cancelled&) {
        return How::cancelled;
    } catch (...) {
        return How::threw;
    }
}

/// Is it an E, or does it come from one, however deep?
template <class E>
bool comes_from(const std::exception_ptr& error) noexcept {
    if (error == nullptr) return false;
    try {
        std::rethrow_exception(error);
    } catch (const E&) {
        return true;
    } catch (const grafo::RunError& run) {
        for (const grafo::NodeError& one : run.errors()) {
            if (comes_from<E>(one.cause())) return true;
        }
        return false;
    } catch (const std::nested_exception& outer) {
        return comes_from<E>(outer.nested_ptr());
    } catch (...) {
        return false;
    }
}

inline void note_error(Ending& ending) noexcept {
    ending.error = std::current_exception();
    ending.how = how_of(ending.error);
}
inline Task<> read_stream(AsyncGenerator<grafo::Event> events, Ending& ending) {
    try {
        while (const grafo::Event* event = co_await events.next()) {
            ending.events.add(static_cast<int>(event->kind()));
            ending.events.add(std::string_view(event->node().id()));
        }
        ending.how = How::completed;
    } catch (...) {
        note_error(ending);
    }
}
inline Task<> await_run(Task<grafo::RunReport> run, Ending& ending) {
    try {
        const grafo::RunReport report = co_await std::move(run);
        report.throw_if_failed();
        ending.how = How::completed;
    } catch (...) {
        note_error(ending);
    }
}
/// Runs the graph as far as it goes. Its executor and handles may go meanwhile.
inline Task<> watch(const TreeExecutor& executor, Way way, Ending& ending) {
    if (way.streaming) return read_stream(executor.yielding(), ending);
    return await_run(way.keep_going ? executor.try_run() : executor.run(), ending);
}

inline TreeExecutor& prepared(Graph& graph, Way way) {
    graph.executor->on_error(way.keep_going ? grafo::ErrorPolicy::keep_going
                                            : grafo::ErrorPolicy::fail_fast);
    return *graph.executor;
}

inline bool is_final(grafo::NodeState state) { return state >= grafo::NodeState::completed; }

/// What is the same each time, on each machine and with each compiler.
inline Digest outcome_of(const Graph& graph, const Ending& ending) {
    Digest digest = ending.events;
    digest.add(static_cast<int>(ending.how));
    for (const AnyNode& node : graph.nodes) digest.add(static_cast<int>(node.state()));
    for (const Node<Item>& node : graph.results) {
        if (node.state() == grafo::NodeState::completed) digest.add(node.output().value);
    }
    return digest;
}
/// The same for people.
inline std::string text_of(const Graph& graph, const Ending& ending) {
    std::string text = fmt::format("the run {}", name_of(ending.how));
    if (ending.error != nullptr) {
        try {
            std::rethrow_exception(ending.error);
        } catch (const std::exception& error) {
            text += fmt::format(" ({})", error.what());
        } catch (...) {
        }
    }
    constexpr std::string_view states[] = {"pending", "ready",   "running",  "completed",
                                           "failed",  "skipped", "cancelled"};
    for (const AnyNode& node : graph.nodes) {
        text += fmt::format("; {} {}", node.id(), states[static_cast<std::size_t>(node.state())]);
        for (const Node<Item>& result : graph.results) {
            if (AnyNode(result) != node || node.state() != grafo::NodeState::completed) continue;
            text += fmt::format(" with {}", result.output().value);
        }
    }
    return text;
}

/// How many Items the node's output holds.
template <class... Outputs>
std::int64_t outputs_of(const AnyNode& node) {
    if (node.state() != grafo::NodeState::completed) return 0;
    std::int64_t items = 0;
    const auto add = [&](const auto& output) {
        if constexpr (requires { output.size(); }) {
            items += static_cast<std::int64_t>(output.size());
        } else {
            ++items;
        }
    };
    const auto look = [&]<class T>(const T*) {
        try {
            add(node.output<T>());
        } catch (const grafo::OutputUnavailableError&) {  // of another type, moved, not collected
        }
    };
    (look(static_cast<const Outputs*>(nullptr)), ...);
    return items;
}
/// A graph that has run keeps its outputs, beside the `at_rest` objects it was built with.
inline void check_only_outputs_live(const Graph& graph, std::int64_t at_rest, std::string& wrong) {
    std::int64_t expected = at_rest;
    for (const AnyNode& node : graph.nodes) {
        expected += outputs_of<Item, std::vector<Item>, Sole>(node);
    }
    if (counts().alive != expected) {
        wrong += fmt::format("\n  {} objects live beside the outputs", counts().alive - expected);
    }
}

/// Nobody may wait or be awaited in a loop that has run.
inline void check_nothing_waits(EventLoop& loop, std::string& wrong) {
    const grafo::detail::LoopCore& core = grafo::detail::LoopAccess::core(loop);
    if (core.out != 0 || core.holds != 0 || core.abandoned != 0 || !core.waiting.empty()) {
        wrong += "\n  something waits in the loop";
    }
}
inline Task<> long_pause() { co_await grafo::sleep_for(1h); }

/// What an undisturbed run of the graph gives, when all that was is long ago for a rate limiter.
inline Ending run_undisturbed(Graph& graph, Way way, EventLoop& loop) {
    Ending ending;
    loop.run(long_pause());
    loop.run(watch(prepared(graph, way), way, ending));
    return ending;
}

}  // namespace torture
