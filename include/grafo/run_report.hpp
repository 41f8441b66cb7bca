#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/inline.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/node.hpp>

namespace grafo {

namespace detail {

// What a run leaves behind. Its pins keep the nodes alive, or its handles once something was cut
// off one of their graphs.
struct ReportData final : PinHolder, SharedByThreads {
    ReportData();
    ReportData(const ReportData&) = delete;
    ReportData& operator=(const ReportData&) = delete;
    ~ReportData();

    // Makes room for `join_graph` calls, which then do not throw.
    void reserve_graphs(const FlatList<Graph*>& graphs);
    void join_graph(Graph& graph) noexcept;
    GRAFO_INLINE void hold_nodes_instead() noexcept override;
    void leave_graphs() noexcept;
    template <class Visit>
    void for_each_node(Visit&& visit) const {
        for (const auto* list : {&completed, &failed, &skipped, &cancelled}) {
            for (NodeCore* node : *list) visit(*node);
        }
    }

    bool holds_nodes = false;
    std::string name;
    FlatList<GraphPin> pins;
    FlatList<NodeCore*> completed;
    FlatList<NodeCore*> failed;
    FlatList<NodeCore*> skipped;
    FlatList<NodeCore*> cancelled;
    Shared<NodeErrors> errors = make_shared_object<NodeErrors>();
    std::chrono::nanoseconds elapsed{};
    bool stopped = false;
};

}  // namespace detail

/// What became of a run. Keeps the nodes it names alive; copies share their content.
class RunReport {
public:
    /// An empty report, of no run: `ok()`.
    RunReport();
    // No moves: a report is never without its content.
    RunReport(const RunReport&) noexcept = default;
    RunReport& operator=(const RunReport&) noexcept = default;
    ~RunReport();

    /// True if no node failed and the run was not stopped.
    [[nodiscard]] bool ok() const noexcept;
    /// True if `stop()` ended the run.
    [[nodiscard]] bool stopped() const noexcept { return data_->stopped; }
    /// The nodes that completed, in the order it happened.
    [[nodiscard]] std::vector<AnyNode> completed() const { return nodes(data_->completed); }
    /// The nodes that failed, in the order it happened; `errors()` says why.
    [[nodiscard]] std::vector<AnyNode> failed() const { return nodes(data_->failed); }
    /// The nodes that were skipped, in the order it happened.
    [[nodiscard]] std::vector<AnyNode> skipped() const { return nodes(data_->skipped); }
    /// The nodes that were stopped, or not started because of a stop, in the order it happened.
    [[nodiscard]] std::vector<AnyNode> cancelled() const { return nodes(data_->cancelled); }
    /// The failures, in the order they happened.
    [[nodiscard]] const std::vector<NodeError>& errors() const noexcept {
        return data_->errors->list;
    }
    /// From the run's start to its end, by the loop's clock.
    [[nodiscard]] std::chrono::nanoseconds elapsed() const noexcept { return data_->elapsed; }

    /// Throws `RunError` unless `ok()`.
    void throw_if_failed() const;

    // Made by the run.
    explicit RunReport(detail::Shared<detail::ReportData> data) : data_(std::move(data)) {}

private:
    static std::vector<AnyNode> nodes(const detail::FlatList<detail::NodeCore*>& cores);

    detail::Shared<detail::ReportData> data_;
};

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/run_report.hpp>
#endif
