// At every place where a run of a graph may be disturbed, in every way: nothing is leaked, every
// object is destroyed once, each node has ended, and the graph runs again as if nothing had been.
//
// Then two disturbances, one soon after the other, drawn by the seed.
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
    none,
    throw_it,
    stop,
    stop_twice,
    cancel_task,
    cancel_node,
    drop_run,
    drop_executor,
    drop_handles,
    disconnect,
    connect_new,
    connect_back,
    run_too,
    time_out_attempt,
    time_out_node,
    time_out_run,
};
constexpr std::string_view action_names[] = {"nothing",
                                             "an exception",
                                             "stop()",
                                             "stop() twice",
                                             "cancelling the task",
                                             "cancelling node",
                                             "dropping the run",
                                             "dropping the executor",
                                             "dropping executor and handles",
                                             "disconnecting the children of node",
                                             "connecting a new node, of node",
                                             "connecting the first node, of node",
                                             "a second run of the nodes",
                                             "timeout() of node",
                                             "total_timeout() of node",
                                             "with_timeout() of the run"};
constexpr bool by_time(Action action) { return action >= Action::time_out_attempt; }
constexpr bool of_a_node(Action action) {
    return action == Action::cancel_node || action == Action::disconnect ||
           action == Action::connect_new || action == Action::connect_back ||
           action == Action::time_out_attempt || action == Action::time_out_node;
}

struct Disturbance {
    Action action = Action::none;
    bool inside = false;      // or between two steps of the loop
    std::uint64_t place = 0;  // which of them, from 1; for what comes by time, which moment
    std::size_t node = 0;
};
std::string text_of(const Disturbance& one) {
    return fmt::format("{}{} at place {} {}", action_names[static_cast<std::size_t>(one.action)],
                       of_a_node(one.action) ? fmt::format(" {}", one.node) : std::string(),
                       one.place,
                       by_time(one.action) ? "in time"
                       : one.inside        ? "in the user's code"
                                           : "between two steps");
}

struct Case {
    [[nodiscard]] bool has(Action action) const {
        return first.action == action || second.action == action;
    }
    const NamedGraph* graph;
    Way way;
    Disturbance first;
    Disturbance second;  // its place counts from the first on
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

// The run is on: what is wired now lasts as long as it.
bool runs(const AnyNode& node) {
    const grafo::detail::Graph* graph = node.core()->graph;
    return graph != nullptr && !graph->runs.empty();
}

// Another executor must not run them now; `ran`: it came too late, and does.
Task<> run_too(std::vector<AnyNode> nodes, bool& ran) {
    const TreeExecutor executor{nodes};
    ran = true;
    try {
        co_await executor.try_run();
    } catch (const grafo::SafeExecutionError&) {
        ran = false;
    }
}

// One run, and what disturbs it.
struct Trial : grafo::detail::Monitor {
    Trial(Graph& g, const Case& c) : graph(g), one(c) {}

    void enter(std::string_view) noexcept override {}
    void leave() noexcept override {
        ++steps;
        const auto now = loop->now().time_since_epoch();
        if (moments.empty() || moments.back() != now) moments.push_back(now);
        if (steps == next_step) act();
    }
    void arm(const Disturbance& next) {
        armed = &next;
        next_step = never;
        counts().breaking_place = never;
        if (by_time(next.action)) return;
        if (next.inside) {
            counts().breaking_place = counts().places + next.place;
        } else {
            next_step = steps + next.place;
        }
    }
    void act() {
        ++acted;
        const Disturbance& now = *armed;
        if (acted == 1) {
            arm(one.second);
        } else {
            arm(nothing);
        }
        const bool has_node = now.node < graph.nodes.size();
        switch (now.action) {
            case Action::throw_it: throw Broken(now.place);
            case Action::stop_twice:
                if (graph.executor) graph.executor->stop();
                [[fallthrough]];
            case Action::stop:
                if (graph.executor) graph.executor->stop();
                break;
            case Action::cancel_task:
                if (task != nullptr) task->cancel();
                break;
            case Action::cancel_node:
                if (has_node && graph.nodes[now.node].core()->running) {
                    graph.nodes[now.node].core()->cancel();
                }
                break;
            case Action::drop_run:
                if (held) held->drop();
                break;
            case Action::drop_handles:
                graph.nodes.clear();
                graph.results.clear();
                [[fallthrough]];
            case Action::drop_executor: graph.executor.reset(); break;
            case Action::disconnect:
            case Action::connect_new:
            case Action::connect_back:
                if (has_node && runs(graph.nodes[now.node])) wire(now);
                break;
            case Action::run_too:
                if (has_node && runs(graph.nodes[now.node])) {
                    loop->spawn(::run_too(graph.nodes, ran_too));
                }
                break;
            default: break;
        }
    }
    // Refused, or not: nothing else may come of it.
    void wire(const Disturbance& now) const {
        const AnyNode node = graph.nodes[now.node];
        try {
            if (now.action == Action::disconnect) {
                for (const AnyNode& child : node.children()) node.disconnect(child);
            } else if (now.action == Action::connect_back) {
                node.connect(graph.nodes.front());
            } else {
                const Node fresh{"fresh", plus_ten_of_its_own, "x"_a = Item(1)};
                node.connect(fresh);
            }
        } catch (const grafo::Error&) {
        } catch (const Broken&) {  // of a callback
        }
    }

    Graph& graph;
    const Case& one;
    const Disturbance nothing{};
    const Disturbance* armed = nullptr;
    EventLoop* loop = nullptr;
    Context* task = nullptr;
    std::optional<Held> held;
    std::uint64_t steps = 0;
    std::uint64_t next_step = never;
    std::vector<std::chrono::nanoseconds> moments;
    int acted = 0;
    bool ran_too = false;
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

// Zero, the moments, and half a millisecond after each.
std::chrono::nanoseconds limit_of(const Measures& measures, const Disturbance& one) {
    if (!by_time(one.action) || one.place == 0) return std::chrono::nanoseconds(0);
    const std::uint64_t i = (one.place - 1) / 2;
    return measures.moments[i] + ((one.place - 1) % 2 == 0 ? 0us : 500us);
}

// Runs the graph with what disturbs it. What the loop itself threw comes out as well.
void run_disturbed(Trial& trial, Ending& ending, EventLoop& loop, std::chrono::nanoseconds limit) {
    const Case& one = trial.one;
    counts().places = 0;
    counts().break_it = [] { trial_on->act(); };
    trial_on = &trial;
    trial.loop = &loop;
    trial.arm(by_time(one.first.action) ? one.second : one.first);
    if (by_time(one.first.action)) trial.acted = 1;
    grafo::detail::LoopAccess::core(loop).monitor = &trial;
    try {
        if (one.has(Action::drop_run)) {
            loop.run(run_held(trial, ending));
        } else if (one.first.action == Action::time_out_run) {
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
    counts().breaking_place = never;
    trial_on = nullptr;
}

Measures measure(const NamedGraph& graph, Way way, bool held) {
    Case nothing{&graph, way, {}, {}};
    nothing.first.place = never;
    if (held) nothing.second.action = Action::drop_run;
    Graph g = graph.make();
    prepared(g, way);
    EventLoop loop{grafo::virtual_time};
    Trial trial(g, nothing);
    Ending ending;
    run_disturbed(trial, ending, loop, {});
    Measures found;
    found.inside = counts().places;
    found.between = trial.steps;
    found.moments = trial.moments;
    found.nodes = g.nodes.size();
    found.outcome = outcome_of(g, ending).value();
    return found;
}

std::string check_ending(const Trial& trial, const Ending& ending, std::uint64_t expected) {
    const Case& one = trial.one;
    if (comes_from<grafo::DeadlockError>(ending.error)) return "a deadlock";
    for (const AnyNode& node : trial.graph.nodes) {
        if (!is_final(node.state())) return "a node has not ended";
    }
    if (ending.how == How::unknown && !one.has(Action::drop_run) &&
        !one.has(Action::time_out_run)) {
        return "the run did not end";
    }
    if (one.second.action != Action::none) return {};
    const bool as_ever = outcome_of(trial.graph, ending).value() == expected;
    switch (one.first.action) {
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
        case Action::run_too:
            return as_ever || trial.ran_too ? "" : "the run was another beside one that is refused";
        default: return {};
    }
}

std::string run_case(const Case& one, const Measures& measures, Digest& digest) {
    counts() = Counts();
    const std::int64_t alive = memory().alive;
    std::string wrong;
    {
        Graph graph = one.graph->make();
        const std::int64_t at_rest = counts().alive;
        prepared(graph, one.way);
        const std::chrono::nanoseconds limit = limit_of(measures, one.first);
        const Action first = one.first.action;
        if (first == Action::time_out_attempt) graph.nodes[one.first.node].timeout(limit);
        if (first == Action::time_out_node) graph.nodes[one.first.node].total_timeout(limit);
        Ending ending;
        EventLoop loop{grafo::virtual_time};
        Trial trial(graph, one);
        run_disturbed(trial, ending, loop, limit);
        digest.add(outcome_of(graph, ending).value());
        if (trial.acted == 0) wrong = "the place was not reached";
        if (wrong.empty()) wrong = check_ending(trial, ending, measures.outcome);
        check_nothing_waits(loop, wrong);
        const bool connects = one.has(Action::connect_new) || one.has(Action::connect_back);
        if (!graph.nodes.empty() && !graph.keeps_more && !connects) {
            check_only_outputs_live(graph, at_rest, wrong);
        }
        if (!wrong.empty()) wrong += "\n  " + text_of(graph, ending);
        const bool changed = graph.nodes.empty() || !graph.executor || by_time(first);
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
            for (const Way way : ways) {
                runs_.push_back(
                    {&graph, way, measure(graph, way, false), measure(graph, way, true)});
            }
        }
        for (const Run& run : runs_) run_all(run);
        const std::uint64_t pairs = topic_.pick({100, 30'000, 1'000'000});
        for (std::uint64_t i = 0; i < pairs; ++i) run_pair();
        return topic_.finish();
    }

private:
    struct Run {
        [[nodiscard]] const Measures& measures(const Case& one) const {
            return one.has(Action::drop_run) ? held : rooted;
        }
        const NamedGraph* graph;
        Way way;
        Measures rooted;
        Measures held;
    };

    // Each disturbance at each place.
    void run_all(const Run& run) {
        for (int i = 1; i <= static_cast<int>(Action::time_out_run); ++i) {
            Case one{run.graph, run.way, {static_cast<Action>(i), false, 0, 0}, {}};
            const Action action = one.first.action;
            const Measures& measures = run.measures(one);
            const std::size_t nodes = of_a_node(action) ? measures.nodes : 1;
            for (one.first.node = 0; one.first.node < nodes; ++one.first.node) {
                one.first.inside = false;
                if (by_time(action)) {
                    run_places(run, one, 0, 2 * measures.moments.size());
                    continue;
                }
                if (action != Action::throw_it) run_places(run, one, 1, measures.between);
                one.first.inside = true;
                run_places(run, one, 1, measures.inside);
            }
        }
    }
    void run_places(const Run& run, Case one, std::uint64_t first, std::uint64_t last) {
        for (one.first.place = first; one.first.place <= last; ++one.first.place) {
            const std::uint64_t number = number_++;
            const bool chosen = topic_.alone() || topic_.length() != Length::brief ||
                                topic_.random_of(number).below(one_of) == 0;
            if (chosen) run_one(run, one, number);
        }
    }
    // Two of them, one soon after the other.
    void run_pair() {
        const std::uint64_t number = number_++;
        Random random = topic_.random_of(number);
        const Run& run = runs_[random.below(runs_.size())];
        Case one{run.graph, run.way, {}, {}};
        const int actions = static_cast<int>(Action::time_out_run);
        one.first.action = static_cast<Action>(1 + random.below(actions));
        const int later_actions = static_cast<int>(Action::run_too);
        one.second.action = static_cast<Action>(1 + random.below(later_actions));
        const Measures& measures = run.measures(one);
        const auto draw = [&](Disturbance& part) {
            part.inside = part.action == Action::throw_it || random.one_in(2);
            part.place = 1 + random.below(part.inside ? measures.inside : measures.between);
            if (by_time(part.action)) part.place = random.below(2 * measures.moments.size() + 1);
            part.node = random.below(measures.nodes);
        };
        draw(one.first);
        draw(one.second);
        if (!by_time(one.first.action)) one.second.place = 1 + random.below(12U);
        run_one(run, one, number);
    }
    void run_one(const Run& run, const Case& one, std::uint64_t number) {
        if (!topic_.begin(number)) return;
        if (topic_.alone()) fmt::print("{}\n", text_of(one));  // before it may crash
        std::fflush(stdout);
        const std::string wrong = run_case(one, run.measures(one), topic_.digest());
        if (!wrong.empty()) topic_.fail(number, text_of(one) + ": " + wrong);
    }
    static std::string text_of(const Case& one) {
        std::string text =
            fmt::format("  graph {}, {}: {}", one.graph->name, one.way.name, ::text_of(one.first));
        if (one.second.action != Action::none) text += "; " + ::text_of(one.second);
        return text;
    }

    static constexpr std::uint64_t one_of = 100;  // the short form takes one case of so many
    Topic topic_;
    std::vector<Run> runs_;
    std::uint64_t number_ = 0;
};

}  // namespace

int main(int argc, char** argv) { return Program(argc, argv).run(); }
