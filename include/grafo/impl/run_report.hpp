#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include <grafo/detail/inline.hpp>
#include <grafo/run_report.hpp>

namespace grafo::detail {

GRAFO_INLINE ReportData::ReportData() = default;

GRAFO_INLINE ReportData::~ReportData() {
    leave_graphs();
    if (!holds_nodes) return;
    for_each_node([](NodeCore& node) { drop_handle(node); });
}

GRAFO_INLINE void ReportData::reserve_graphs(const FlatList<Graph*>& graphs) {
    pins.reserve(graphs.size());
    for (Graph* graph : graphs) graph->holders.reserve_one();
}

GRAFO_INLINE void ReportData::join_graph(Graph& graph) noexcept {
    pins.push_back(GraphPin(graph));
    graph.holders.push_back(this);
}

GRAFO_INLINE void ReportData::hold_nodes_instead() noexcept {
    if (!holds_nodes) for_each_node([](NodeCore& node) { add_handle(node); });
    holds_nodes = true;
    leave_graphs();
}

GRAFO_INLINE void ReportData::leave_graphs() noexcept {
    for (const GraphPin& pin : pins) pin.graph().holders.erase(this);
    pins.clear();
}

}  // namespace grafo::detail

namespace grafo {

GRAFO_INLINE RunReport::RunReport() : data_(new detail::ReportData) {}

GRAFO_INLINE RunReport::~RunReport() = default;

GRAFO_INLINE void RunReport::throw_if_failed() const {
    if (ok()) return;
    std::string what = "run " + detail::in_quotes(data_->name);
    if (data_->errors->list.empty()) {
        what += " was stopped";
    } else {
        what += data_->stopped ? " was stopped, and " : ": ";
        what += data_->errors->list.size() == 1
                    ? std::string("a node failed")
                    : std::to_string(data_->errors->list.size()) + " nodes failed";
        for (std::size_t i = 0; i < data_->errors->list.size() && i < 3; ++i) {
            what += (i == 0 ? ": " : "; ");
            what += data_->errors->list[i].what();
        }
        if (data_->errors->list.size() > 3) what += "; …";
    }
    throw RunError(what, data_->errors, data_->stopped);
}

GRAFO_INLINE std::vector<AnyNode> RunReport::nodes(
    const detail::FlatList<detail::NodeCore*>& cores) {
    std::vector<AnyNode> result;
    result.reserve(cores.size());
    for (detail::NodeCore* core : cores) result.push_back(AnyNode(*core));
    return result;
}

GRAFO_INLINE bool RunReport::ok() const noexcept {
    return data_->errors->list.empty() && !data_->stopped;
}

}  // namespace grafo
