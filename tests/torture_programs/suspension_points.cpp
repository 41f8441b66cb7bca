// At every place where a run of a graph may be disturbed, in every way: nothing is leaked, every
// object is destroyed once, each node has ended, and the graph runs again as if nothing had been.
//
// The places are *inside* the user's code, wherever that says here(), and *between* two steps of
// the loop, where everything is suspended. For what comes by time they are the moments at which
// something happens in virtual time, and those half-way between.
#define GRAFO_NO_FRAME_RECYCLING

#include <coroutine>
#include <optional>
#include <string>
#include <vector>

#include "cancel_by_hand.hpp"
#include "memory.hpp"
#include "one_run.hpp"

namespace {

using namespace torture;
using grafo::detail::Context;

enum class Action : unsigned char {
    throw_it,
    stop,
    stop_twice,
    cancel_task,
    cancel_node,
    drop_run,
    drop_executor,
    drop_handles,
    time_out_attempt,
    time_out_node,
    time_out_run,
};
constexpr std::string_view action_names[] = {"an exception",
                                             "stop()",
                                             "stop() twice",
                                             "cancelling the task",
                                             "cancelling a node",
                                             "dropping the run",
                                             "dropping the executor",
                                             "dropping executor and handles",
                                             "timeout() of a node",
                                             "total_timeout() of a node",
                                             "with_timeout() of the run"};

struct Case {
    const NamedGraph* graph;
    Way way;
    Action action;
    bool inside;          // or between two steps of the loop
    std::uint64_t place;  // which of them; for what comes by time, which moment
    std::size_t node;
};

// A coroutine that knows nothing of the library and awaits a run: whoever holds it may drop it.
class Held {
public:
    struct promise_type {
        Held get_return_object() noexcept {
            return Held(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };
    Held(Held&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
    Held& operator=(Held&&) = delete;
    ~Held() { drop(); }
    void start() {
        starting_ = true;
        frame_.resume();
        starting_ = false;
    }
    // Not what is at work itself: an observer, say, may be called by it.
    void drop() noexcept {
        if (frame_ && !starting_) std::exchange(frame_, {}).destroy();
    }

private:
    explicit Held(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
    bool starting_ = false;
};

// The guard tells whoever waits for the semaphore that the run has ended or was dropped.
Held hold(const TreeExecutor& executor, Way way, Ending& ending, grafo::Semaphore running) {
    const auto guard = co_await running.acquire();
    try {
        if (way.streaming) {
            auto events = executor.yielding();
            while (co_await events.next()) {
            }
        } else {
            co_await executor.try_run();
        }
    } catch (...) {
        ending.error = std::current_exception();
    }
    ending.how = how_of(ending.error);
}

// One run, and what disturbs it.
struct Trial : grafo::detail::Monitor {
    Trial(Graph& g, const Case& c) : graph(g), one(c) {}

    void enter(std::string_view) noexcept override {}
    void leave() noexcept override {
        ++steps;
        if (loop != nullptr) note_moment();
        if (!one.inside && steps == one.place) act();
    }
    void note_moment() {
        const auto now = loop->now().time_since_epoch();
        if (moments.empty() || moments.back() != now) moments.push_back(now);
    }
    void act() {
        acted = true;
        switch (one.action) {
            case Action::throw_it: throw Broken(one.place);
            case Action::stop_twice: graph.executor->stop(); [[fallthrough]];
            case Action::stop: graph.executor->stop(); break;
            case Action::cancel_task:
                if (task != nullptr) task->cancel();
                break;
            case Action::cancel_node: {
                grafo::detail::NodeCore& node = *graph.nodes[one.node].core();
                if (node.running) node.cancel();
                break;
            }
            case Action::drop_run:
                if (held) held->drop();
                break;
            case Action::drop_handles:
                graph.nodes.clear();
                graph.results.clear();
                [[fallthrough]];
            case Action::drop_executor: graph.executor.reset(); break;
            default: break;
        }
    }

    Graph& graph;
    const Case& one;
    EventLoop* loop = nullptr;
    Context* task = nullptr;
    std::optional<Held> held;
    std::uint64_t steps = 0;
    std::vector<std::chrono::nanoseconds> moments;
    bool acted = false;
};
Trial* trial_on = nullptr;

Task<> run_as_task(Trial& trial, Ending& ending) {
    co_await grafo_test::own_context(trial.task);
    co_await watch(*trial.graph.executor, trial.one.way, ending);
    trial.task = nullptr;
}
Task<> run_in_time(Trial& trial, Ending& ending, std::chrono::nanoseconds limit) {
    co_await with_timeout(limit, watch(*trial.graph.executor, trial.one.way, ending));
}
Task<> run_held(Trial& trial, Ending& ending) {
    const grafo::Semaphore running{1};
    trial.held.emplace(hold(*trial.graph.executor, trial.one.way, ending, running));
    trial.held->start();
    const auto ended = co_await running.acquire();
    static_cast<void>(ended);
}

struct Measures {
    std::uint64_t inside = 0;
    std::uint64_t between = 0;
    std::vector<std::chrono::nanoseconds> moments;
    std::size_t nodes = 0;
    std::uint64_t outcome = 0;
};

// Runs the graph with the disturbance of the case. What the loop itself threw comes out as well.
void run_disturbed(Trial& trial, Ending& ending, EventLoop& loop, std::chrono::nanoseconds limit) {
    Counts& all = counts();
    all.places = 0;
    if (trial.one.inside) all.breaking_place = trial.one.place;
    all.break_it = [] { trial_on->act(); };
    trial_on = &trial;
    trial.loop = &loop;
    grafo::detail::LoopAccess::core(loop).monitor = &trial;
    try {
        if (trial.one.action == Action::drop_run) {
            loop.run(run_held(trial, ending));
        } else if (trial.one.action == Action::time_out_run) {
            loop.run(run_in_time(trial, ending, limit));
        } else {
            loop.run(run_as_task(trial, ending));
        }
    } catch (...) {
        if (ending.error == nullptr || ending.how == How::cancelled) {
            ending.error = std::current_exception();
            ending.how = How::threw;
        }
    }
    grafo::detail::LoopAccess::core(loop).monitor = nullptr;
    trial.held.reset();
    trial.task = nullptr;
    all.breaking_place = std::numeric_limits<std::uint64_t>::max();
    trial_on = nullptr;
}

Measures measure(const NamedGraph& graph, Way way, bool held) {
    Measures found;
    const Case nothing{&graph, way, held ? Action::drop_run : Action::cancel_task, false, 0, 0};
    Graph g = graph.make();
    prepared(g, way);
    EventLoop loop{grafo::virtual_time};
    Trial trial(g, nothing);
    Ending ending;
    run_disturbed(trial, ending, loop, {});
    found.inside = counts().places;
    found.between = trial.steps;
    found.moments = trial.moments;
    found.nodes = g.nodes.size();
    found.outcome = outcome_of(g, ending).value();
    return found;
}

bool by_time(Action action) { return action >= Action::time_out_attempt; }

// Zero, the moments, and half a millisecond after each.
std::chrono::nanoseconds limit_of(const Measures& measures, std::uint64_t place) {
    if (place == 0) return std::chrono::nanoseconds(0);
    const std::uint64_t i = (place - 1) / 2;
    return measures.moments[i] + ((place - 1) % 2 == 0 ? 0us : 500us);
}

std::string check_ending(const Trial& trial, const Ending& ending, std::uint64_t expected) {
    const Case& one = trial.one;
    if (comes_from<grafo::DeadlockError>(ending.error)) return "a deadlock";
    if (one.action != Action::drop_handles) {
        for (const AnyNode& node : trial.graph.nodes) {
            if (!is_final(node.state())) return "a node has not ended";
        }
    }
    if (one.action == Action::drop_handles) {
        return ending.how == How::unknown ? "the run did not end" : std::string();
    }
    const bool as_ever = outcome_of(trial.graph, ending).value() == expected;
    switch (one.action) {
        case Action::throw_it:
            if (comes_from<Broken>(ending.error) || trial.graph.forgives) return {};
            return "the exception is lost";
        case Action::stop:
        case Action::stop_twice:
            return as_ever || ending.how == How::stopped ? "" : "it is not told as stopped";
        case Action::cancel_task:
            return as_ever || ending.how == How::cancelled ? "" : "it is not told as cancelled";
        case Action::drop_executor:
            return as_ever ? "" : "the run was another without its executor";
        default: return {};
    }
}

std::string run_case(const Case& one, const Measures& measures, Digest& digest) {
    counts() = Counts();
    const std::int64_t alive = memory().alive;
    std::string wrong;
    {
        Graph graph = one.graph->make();
        prepared(graph, one.way);
        std::chrono::nanoseconds limit{};
        if (by_time(one.action)) limit = limit_of(measures, one.place);
        if (one.action == Action::time_out_attempt) graph.nodes[one.node].timeout(limit);
        if (one.action == Action::time_out_node) graph.nodes[one.node].total_timeout(limit);
        Ending ending;
        EventLoop loop{grafo::virtual_time};
        Trial trial(graph, one);
        run_disturbed(trial, ending, loop, limit);
        digest.add(outcome_of(graph, ending).value());
        if (!by_time(one.action) && !trial.acted) wrong = "the place was not reached";
        if (wrong.empty()) wrong = check_ending(trial, ending, measures.outcome);
        if (!wrong.empty()) wrong += "\n  " + text_of(graph, ending);
        const bool changed = graph.nodes.empty() || !graph.executor || by_time(one.action);
        if (!changed && wrong.empty()) {
            const Ending again = run_undisturbed(graph, one.way, loop);
            Graph fresh = one.graph->make();
            const Ending expected = run_undisturbed(fresh, one.way, loop);
            if (outcome_of(graph, again).value() != outcome_of(fresh, expected).value()) {
                wrong = "the next run is another one\n  " + text_of(graph, again) +
                        "\n  instead of\n  " + text_of(fresh, expected);
            }
        }
    }
    check_nothing_lives(alive, wrong);
    return wrong;
}

class Program {
public:
    Program(int argc, char** argv) : topic_("suspension_points", argc, argv) {}

    int run() {
        for (const NamedGraph& graph : all_graphs) {
            for (const Way way : ways) run_graph(graph, way);
        }
        return topic_.finish();
    }

private:
    void run_graph(const NamedGraph& graph, Way way) {
        const Measures rooted = measure(graph, way, false);
        const Measures held = measure(graph, way, true);
        for (const Action action :
             {Action::throw_it, Action::stop, Action::stop_twice, Action::cancel_task,
              Action::cancel_node, Action::drop_run, Action::drop_executor, Action::drop_handles}) {
            const Measures& measures = action == Action::drop_run ? held : rooted;
            const std::size_t nodes = action == Action::cancel_node ? measures.nodes : 1;
            for (std::size_t node = 0; node < nodes; ++node) {
                for (std::uint64_t i = 1; i <= measures.inside; ++i) {
                    run_one({&graph, way, action, true, i, node}, measures);
                }
                if (action == Action::throw_it) continue;
                for (std::uint64_t i = 1; i <= measures.between; ++i) {
                    run_one({&graph, way, action, false, i, node}, measures);
                }
            }
        }
        for (const Action action :
             {Action::time_out_attempt, Action::time_out_node, Action::time_out_run}) {
            const std::size_t nodes = action == Action::time_out_run ? 1 : rooted.nodes;
            for (std::size_t node = 0; node < nodes; ++node) {
                for (std::uint64_t i = 0; i <= 2 * rooted.moments.size(); ++i) {
                    run_one({&graph, way, action, false, i, node}, rooted);
                }
            }
        }
    }

    void run_one(const Case& one, const Measures& measures) {
        const std::uint64_t number = number_++;
        if (!topic_.alone() && topic_.length() == Length::brief &&
            topic_.random_of(number).next() % one_of != 0) {
            return;
        }
        if (!topic_.begin(number)) return;
        if (topic_.alone()) fmt::print("{}\n", text_of(one));  // before it may crash
        std::fflush(stdout);
        const std::string wrong = run_case(one, measures, topic_.digest());
        if (!wrong.empty()) topic_.fail(number, text_of(one) + ": " + wrong);
    }
    static std::string text_of(const Case& one) {
        const std::string_view where = by_time(one.action) ? "in time"
                                       : one.inside        ? "in the user's code"
                                                           : "between two steps";
        const bool of_a_node = one.action == Action::cancel_node || by_time(one.action);
        return fmt::format("  graph {}, {}: {} at place {} {}{}", one.graph->name, one.way.name,
                           action_names[static_cast<std::size_t>(one.action)], one.place, where,
                           of_a_node ? fmt::format(", node {}", one.node) : std::string());
    }

    static constexpr std::uint64_t one_of = 40;  // the short form takes one case of so many
    Topic topic_;
    std::uint64_t number_ = 0;
};

}  // namespace

int main(int argc, char** argv) { return Program(argc, argv).run(); }
