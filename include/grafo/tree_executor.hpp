#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/arguments.hpp>
#include <grafo/async_generator.hpp>
#include <grafo/detail/executor_state.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/event.hpp>
#include <grafo/observer.hpp>
#include <grafo/run_report.hpp>
#include <grafo/task.hpp>

namespace grafo {

/// Runs every node that the given ones lead to, and every node that these need, each as soon as its
/// parents are done, on the event loop of the coroutine that awaits the run.
/// A run belongs to its `Task` or stream, which may outlive the executor. Runs of one executor are
/// one after the other. Settings count for the runs that begin after them.
class TreeExecutor {
public:
    /// From one node, several, or a list or range of them.
    template <class... N>
        requires(sizeof...(N) > 0 &&
                 ((detail::NodeHandle<N> && ...) ||
                  (sizeof...(N) == 1 && (std::convertible_to<N, NodeList> && ...))))
    // NOLINTNEXTLINE(google-explicit-constructor): TreeExecutor e = {a, b} reads well
    TreeExecutor(N&&... nodes)
        : TreeExecutor(std::string_view("TreeExecutor"), NodeList(std::forward<N>(nodes)...)) {}
    /// The same, from a list in braces.
    template <class = detail::WhenUsed>
    explicit TreeExecutor(NodeList nodes)
        : TreeExecutor(std::string_view("TreeExecutor"), std::move(nodes)) {}
    /// From a name, which reports and errors carry, and the nodes. Throws `Error` if there are
    /// none, or an empty handle among them.
    template <class Tag = detail::WhenUsed>
    TreeExecutor(std::string_view name, NodeList nodes)
        : state_(new detail::ExecutorState(std::string(name), std::move(nodes),
                                           detail::run_coroutines<Tag>)) {}
    /// The other one's members throw `Error` from then on.
    TreeExecutor(TreeExecutor&&) noexcept;
    TreeExecutor& operator=(TreeExecutor&&) noexcept;
    ~TreeExecutor();

    /// Runs the nodes; the run starts when the task is awaited, and ends with it. Throws `RunError`
    /// if a node failed or the run was stopped; `Cancelled` if the awaiting task was cancelled; and
    /// before any node has started `MissingArgumentError`, `CycleError` or `SafeExecutionError`.
    [[nodiscard]] Task<RunReport> run() const;
    /// The same, but failed nodes and a stop are told in the report only.
    [[nodiscard]] Task<RunReport> try_run() const;
    /// The same run as a stream of what happens in it. A node that yields waits until its chunk was
    /// taken: until the next `next()`. A failed or stopped run ends in `RunError`, after the last
    /// event. Dropping the stream drops the run.
    [[nodiscard]] AsyncGenerator<Event> yielding() const;
    /// Stops the runs of this executor gracefully, from any thread: starts nothing more and cancels
    /// what runs; a run that was not awaited yet will start nothing. Once more: cancels again.
    void stop() const { state().stop(); }

    /// What a run does when a node fails; `fail_fast` unless set.
    TreeExecutor& on_error(ErrorPolicy policy) & {
        state().options.policy = policy;
        return *this;
    }
    TreeExecutor&& on_error(ErrorPolicy policy) && { return std::move(on_error(policy)); }
    /// At most so many nodes run at once. Throws `Error` for 0.
    TreeExecutor& max_concurrency(std::size_t nodes) &;
    TreeExecutor&& max_concurrency(std::size_t nodes) && {
        return std::move(max_concurrency(nodes));
    }
    /// Whether the nodes' run times are taken; a clock read a node. On unless set.
    TreeExecutor& timing(bool on) & {
        state().options.timing = on;
        return *this;
    }
    TreeExecutor&& timing(bool on) && { return std::move(timing(on)); }
    /// Tells the observer, beside those given before, of every step of every node. It must outlive
    /// the runs that begin from now on. A virtual call a step.
    TreeExecutor& observe(Observer& observer) & {
        state().options.observers.push_back(&observer);
        return *this;
    }
    TreeExecutor&& observe(Observer& observer) && { return std::move(observe(observer)); }
    /// For tests: the nodes that are ready start in an order drawn from the seed, the same for the
    /// same seed, instead of the order in which they became ready. Priorities still hold.
    TreeExecutor& shuffle(std::uint64_t seed) & {
        state().options.shuffled = true;
        state().options.seed = seed;
        return *this;
    }
    TreeExecutor&& shuffle(std::uint64_t seed) && { return std::move(shuffle(seed)); }
    /// A text shown beside the name.
    TreeExecutor& description(std::string text) & {
        state().description = std::move(text);
        return *this;
    }
    TreeExecutor&& description(std::string text) && {
        return std::move(description(std::move(text)));
    }

    [[nodiscard]] const std::string& name() const { return state().options.name; }
    [[nodiscard]] const std::string& description() const { return state().description; }
    /// The nodes that the executor was given.
    [[nodiscard]] std::vector<AnyNode> roots() const { return state().roots(); }
    /// Of all nodes of a run those without children, in the order they are found. Linear.
    [[nodiscard]] std::vector<AnyNode> leaves() const { return state().leaves(); }
    /// The failures of the last run, or so far of the one that is on.
    [[nodiscard]] std::vector<NodeError> errors() const;
    /// What became of the last run; empty before the first has begun.
    [[nodiscard]] RunReport report() const;

    /// Calls `visit(parent, child)` for each edge of a run, parents in the order they are found.
    template <class Visit>
    void for_each_edge(Visit&& visit) const {
        detail::ExecutorState::for_each_edge(state().members(), std::forward<Visit>(visit));
    }

private:
    friend struct detail::ExecutorAccess;

    [[nodiscard]] detail::ExecutorState& state() const {
        if (state_ == nullptr) throw_moved_from();
        return *state_;
    }
    [[noreturn]] static void throw_moved_from();

    detail::Shared<detail::ExecutorState> state_;
};

}  // namespace grafo

// Defines what runs the nodes, or declares that another file does.
#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/detail/run_coroutines.hpp>
#include <grafo/impl/tree_executor.hpp>
#else
#define GRAFO_COMPILED_ONCE extern template
#include <grafo/detail/compiled_once.hpp>
#endif
