#pragma once

/// \file
/// Formatting with fmt 9 to 12: `fmt::format("{}", executor)`, and the same of nodes, their states,
/// events, reports and errors. All take the options of a string: width, fill, alignment.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include <fmt/format.h>

#include <grafo/errors.hpp>
#include <grafo/event.hpp>
#include <grafo/node.hpp>
#include <grafo/run_report.hpp>
#include <grafo/tree_executor.hpp>

namespace grafo::detail {

[[nodiscard]] inline std::string_view event_name(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::started: return "started";
        case EventKind::chunk: return "chunk";
        case EventKind::completed: return "completed";
        case EventKind::failed: return "failed";
        case EventKind::retrying: return "retrying";
        case EventKind::skipped: return "skipped";
        case EventKind::cancelled: return "cancelled";
    }
    return "unknown";
}

// Three digits and a unit that a person would choose; from a minute on two whole numbers.
[[nodiscard]] inline std::string elapsed_text(std::chrono::nanoseconds elapsed) {
    if (elapsed == std::chrono::nanoseconds::zero()) return "0 s";
    // Below these limits what is printed stays below the next unit, rounding included.
    const auto count = static_cast<double>(elapsed.count());
    if (count < 999.5) return fmt::format("{} ns", elapsed.count());
    if (count < 999.5e3) return fmt::format("{:.3g} us", count / 1e3);
    if (count < 999.5e6) return fmt::format("{:.3g} ms", count / 1e6);
    if (count < 59.95e9) return fmt::format("{:.3g} s", count / 1e9);
    const auto two = [](std::int64_t small, std::string_view large_unit, std::string_view unit) {
        std::string text = fmt::format("{} {}", small / 60, large_unit);
        if (small % 60 != 0) text += fmt::format(" {} {}", small % 60, unit);
        return text;
    };
    const std::int64_t seconds = std::chrono::round<std::chrono::seconds>(elapsed).count();
    if (seconds < 3600) return two(seconds, "min", "s");
    return two(std::chrono::round<std::chrono::minutes>(elapsed).count(), "h", "min");
}

[[nodiscard]] inline std::string node_text(const AnyNode& node) {
    if (!node) return "(no node)";
    return fmt::format("{} ({})", node.id(), state_name(node.state()));
}

[[nodiscard]] inline std::string event_text(const Event& event) {
    std::string text = fmt::format("{} {}", event_name(event.kind()), event.node().id());
    if (const NodeError* error = event.error(); error != nullptr) {
        text += fmt::format(": {}", error->what());
    }
    return text;
}

[[nodiscard]] inline std::string report_text(const RunReport& report) {
    return fmt::format("{} completed, {} failed, {} skipped, {} cancelled in {}{}",
                       report.completed().size(), report.failed().size(), report.skipped().size(),
                       report.cancelled().size(), elapsed_text(report.elapsed()),
                       report.stopped() ? ", stopped" : "");
}

[[nodiscard]] inline std::string executor_text(const TreeExecutor& executor) {
    std::string text = executor.name();
    if (!executor.description().empty()) text += "\n" + executor.description();
    executor.for_each_edge([&text](const AnyNode& parent, const AnyNode& child) {
        text += fmt::format("\n{} -> {}", parent.id(), child.id());
    });
    // A node without edges is one of those that the executor was given.
    std::unordered_set<AnyNode> seen;
    for (const AnyNode& node : executor.roots()) {
        if (node.children().empty() && node.parents().empty() && seen.insert(node).second) {
            text += "\n" + node.id();
        }
    }
    return text;
}

}  // namespace grafo::detail

/// `completed`, `running`, …
template <>
struct fmt::formatter<grafo::NodeState> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(grafo::NodeState state, Context& context) const {
        return fmt::formatter<std::string_view>::format(grafo::detail::state_name(state), context);
    }
};

/// `started`, `chunk`, …
template <>
struct fmt::formatter<grafo::EventKind> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(grafo::EventKind kind, Context& context) const {
        return fmt::formatter<std::string_view>::format(grafo::detail::event_name(kind), context);
    }
};

/// The id and the state: `extract (completed)`; of an empty handle `(no node)`.
template <>
struct fmt::formatter<grafo::AnyNode> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const grafo::AnyNode& node, Context& context) const {
        return fmt::formatter<std::string_view>::format(grafo::detail::node_text(node), context);
    }
};

/// As of `AnyNode`.
template <class T, class Sig>
struct fmt::formatter<grafo::Node<T, Sig>> : fmt::formatter<grafo::AnyNode> {};

/// What happened and to which node: `completed extract`; of a failure also what its error says.
template <>
struct fmt::formatter<grafo::Event> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const grafo::Event& event, Context& context) const {
        return fmt::formatter<std::string_view>::format(grafo::detail::event_text(event), context);
    }
};

/// One line: `4 completed, 1 failed, 2 skipped, 0 cancelled in 1.25 s`, and `, stopped` if it was.
template <>
struct fmt::formatter<grafo::RunReport> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const grafo::RunReport& report, Context& context) const {
        return fmt::formatter<std::string_view>::format(grafo::detail::report_text(report),
                                                        context);
    }
};

/// The name, the description (if any) on a line of its own, then a line `parent -> child` for each
/// edge and one for each node without any. Linear in the size of the graph.
template <>
struct fmt::formatter<grafo::TreeExecutor> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const grafo::TreeExecutor& executor, Context& context) const {
        return fmt::formatter<std::string_view>::format(grafo::detail::executor_text(executor),
                                                        context);
    }
};

/// What the error says.
template <>
struct fmt::formatter<grafo::Error> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const grafo::Error& error, Context& context) const {
        return fmt::formatter<std::string_view>::format(error.what(), context);
    }
};

// One by one, because a formatter of all that derives from Error would be ambiguous with that of
// <fmt/std.h> for all that derives from std::exception.
template <>
struct fmt::formatter<grafo::NodeError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::RunError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::ForwardingParameterError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::ForwardingTypeError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::ForwardingOverrideError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::AutoForwardError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::MissingArgumentError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::CycleError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::SafeExecutionError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::OutputUnavailableError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::TimeoutError> : fmt::formatter<grafo::Error> {};
template <>
struct fmt::formatter<grafo::DeadlockError> : fmt::formatter<grafo::Error> {};
