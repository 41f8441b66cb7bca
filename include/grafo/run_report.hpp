#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grafo/node.hpp>

namespace grafo {

namespace detail {

// What a run leaves behind. The pins keep the nodes alive.
struct ReportData {
    std::string name;
    std::vector<GraphPin> pins;
    std::vector<NodeCore*> completed;
    std::vector<NodeCore*> failed;
    std::vector<NodeCore*> skipped;
    std::vector<NodeCore*> cancelled;
    std::shared_ptr<std::vector<NodeError>> errors = std::make_shared<std::vector<NodeError>>();
    std::chrono::nanoseconds elapsed{};
    bool stopped = false;
};

}  // namespace detail

/// What became of a run. Keeps the nodes it names alive; copies share their content.
class RunReport {
public:
    /// An empty report, of no run: `ok()`.
    RunReport() : data_(std::make_shared<detail::ReportData>()) {}

    /// True if no node failed and the run was not stopped.
    [[nodiscard]] bool ok() const noexcept { return data_->errors->empty() && !data_->stopped; }
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
    [[nodiscard]] const std::vector<NodeError>& errors() const noexcept { return *data_->errors; }
    /// From the run's start to its end, by the loop's clock.
    [[nodiscard]] std::chrono::nanoseconds elapsed() const noexcept { return data_->elapsed; }

    /// Throws `RunError` unless `ok()`.
    void throw_if_failed() const {
        if (ok()) return;
        std::string what = "run " + detail::in_quotes(data_->name);
        if (data_->errors->empty()) {
            what += " was stopped";
        } else {
            what += data_->stopped ? " was stopped, and " : ": ";
            what += data_->errors->size() == 1
                        ? std::string("a node failed")
                        : std::to_string(data_->errors->size()) + " nodes failed";
            for (std::size_t i = 0; i < data_->errors->size() && i < 3; ++i) {
                what += (i == 0 ? ": " : "; ");
                what += (*data_->errors)[i].what();
            }
            if (data_->errors->size() > 3) what += "; …";
        }
        throw RunError(what, data_->errors, data_->stopped);
    }

    // Made by the run.
    explicit RunReport(std::shared_ptr<detail::ReportData> data) : data_(std::move(data)) {}

private:
    static std::vector<AnyNode> nodes(const std::vector<detail::NodeCore*>& cores) {
        std::vector<AnyNode> result;
        result.reserve(cores.size());
        for (detail::NodeCore* core : cores) result.push_back(AnyNode(*core));
        return result;
    }

    std::shared_ptr<detail::ReportData> data_;
};

}  // namespace grafo
