#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <grafo/async_generator.hpp>
#include <grafo/detail/condition_reactor.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/plan.hpp>
#include <grafo/detail/run_options.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/when_used.hpp>
#include <grafo/event.hpp>
#include <grafo/run_report.hpp>
#include <grafo/task.hpp>

// An executor, without what it runs nodes by: that is behind one table of two functions.
namespace grafo::detail {

// How `stop()` reaches a run from any thread.
class RunControl : public Mail, public SharedByThreads {
public:
    RunControl();

    // Any thread.
    void stop();

    // The loop's thread. True if the run must start nothing.
    bool begin(RunHooks& run, const Shared<Mailbox>& mailbox);
    void end() noexcept;

private:
    static void on_mail(Mail& mail);
    static void on_lost(Mail& mail);

    Mutex mutex_;
    bool stop_requested_ = false;
    Shared<Mailbox> mailbox_;
    RunHooks* run_ = nullptr;         // other threads may but interrupt it
    std::atomic<unsigned> asked_{0};  // how often, since the last mail was delivered
    Shared<RunControl> keep_;
};

struct RunCoroutines;

// The signals that stop an executor, for as long as it or a run of it lives: see asio.hpp.
class StopSignals {
public:
    StopSignals() = default;
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;
    virtual ~StopSignals() = default;
};

// What an executor shares with its runs.
class ExecutorState : public SharedByThreads {
public:
    ExecutorState(std::string name, NodeList nodes, const RunCoroutines& made);
    ~ExecutorState();

    // A run that was asked for, and may be stopped from then on.
    class Ticket {
    public:
        Ticket(Shared<ExecutorState> state, Shared<RunControl> control)
            : state_(std::move(state)), control_(std::move(control)) {}
        Ticket(Ticket&&) noexcept = default;
        Ticket& operator=(Ticket&&) = delete;
        ~Ticket();
        [[nodiscard]] RunControl& control() const noexcept { return *control_; }

    private:
        Shared<ExecutorState> state_;
        Shared<RunControl> control_;
    };

    Ticket open_run();
    void stop();

    inline Plan& current_plan();

    [[nodiscard]] std::vector<AnyNode> roots() const;
    // All nodes of a run, as wired now.
    [[nodiscard]] std::vector<AnyNode> members() const;
    // Calls visit(parent, child) for each edge between two of these nodes, once a pair.
    template <class Visit>
    static void for_each_edge(const std::vector<AnyNode>& nodes, Visit&& visit) {
        const std::uint32_t mark = Graph::next_mark();
        for (const AnyNode& node : nodes) node.core()->mark = mark;
        for (const AnyNode& node : nodes) node.core()->scratch = 0;
        struct Edge {
            AnyNode parent;
            AnyNode child;
        };
        FlatList<Edge> edges;  // the visitor may leave marks of its own
        std::uint32_t number = 0;
        for (const AnyNode& node : nodes) {
            ++number;
            for (const OutEdge& edge : node.core()->out) {
                NodeCore& child = edge.child();
                if (child.mark != mark) continue;
                if (std::exchange(child.scratch, number) == number) continue;
                edges.push_back({node, AnyNode(child)});
            }
        }
        for (const Edge& edge : edges) visit(edge.parent, edge.child);
    }
    [[nodiscard]] std::vector<AnyNode> leaves() const;

    const RunCoroutines& coroutines;
    RunOptions options;
    std::string description;
    std::size_t runs = 0;  // that are on
    Shared<ReportData> report = make_shared_object<ReportData>();
    Owned<StopSignals> signals;

private:
    void close_run(const RunControl& closed);

    NodeList given_;
    Plan plan_;
    Mutex mutex_;
    FlatList<Shared<RunControl>> controls_;
};

struct ExecutorAccess {
    template <class Executor>
    [[nodiscard]] static const Shared<ExecutorState>& state(const Executor& executor) {
        static_cast<void>(executor.state());  // throws if it was moved from
        return executor.state_;
    }
};

// The coroutines behind an executor, defined in run_coroutines.hpp. Functions with their state by
// value: the executor may be gone before they start.
template <class = WhenUsed>
Task<RunReport> execute(Shared<ExecutorState> state, ExecutorState::Ticket ticket, bool throwing);
template <class = WhenUsed>
AsyncGenerator<Event> stream(Shared<ExecutorState> state, ExecutorState::Ticket ticket);
struct RunCoroutines {
    Task<RunReport> (*execute)(Shared<ExecutorState>, ExecutorState::Ticket, bool throwing);
    AsyncGenerator<Event> (*stream)(Shared<ExecutorState>, ExecutorState::Ticket);
};
template <class Tag = WhenUsed>
inline constexpr RunCoroutines run_coroutines{&execute<Tag>, &stream<Tag>};

}  // namespace grafo::detail
