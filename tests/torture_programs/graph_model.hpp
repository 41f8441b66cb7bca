// What becomes of a graph, by the tables of docs/running.md. Knows nothing of the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "graph_spec.hpp"

namespace torture {

enum class End : unsigned char { completed, failed, skipped, cancelled, absent };

struct Result {
    End end = End::absent;
    int value = 0;
    std::vector<int> items;  // that it yields
    bool ran = false;        // its body began
    bool changed = false;    // it has made and cut off what it should
};

/// Who or what has stopped the run, by the time it was over.
struct Trouble {
    bool failed = false;  // a node, under fail_fast
    int stops = 0;
    [[nodiscard]] bool any() const { return failed || stops > 0; }
};

struct Expect {
    unsigned ends = 0;  // a bit for each End that it may come to
    Result result;      // what it comes to if nothing stops it

    [[nodiscard]] bool allows(End end) const {
        return (ends >> static_cast<unsigned>(end) & 1U) != 0;
    }
    void allow(End end) { ends |= 1U << static_cast<unsigned>(end); }
};

inline int join(int a, int b) {
    const std::uint64_t both = static_cast<std::uint64_t>(a) << 32U | static_cast<std::uint32_t>(b);
    return 1 + static_cast<int>(mix(both) % 1'000'000'000U);
}
inline int join_all(int first, const std::vector<int>& values) {
    for (const int value : values) first = join(first, value);
    return first;
}
inline int bound_value(int node) { return 7 * node + 1; }
inline int input_of(int node, const std::vector<int>& list, int bound) {
    return join(join_all(node, list), bound);
}
inline int made_of(const EdgeSpec& edge, int value) {
    return edge.makes == Makes::itself ? value : join(value, edge.to);
}

/// What a body comes to whose arguments are there.
inline Result run_body(const GraphSpec& graph, int i, const std::vector<int>& list,
                       const Result* producer) {
    const NodeSpec& node = graph.node(i);
    Result result;
    if (node.before_throws) {
        result.ran = true;
        result.end = End::failed;
        return result;
    }
    const int input = input_of(i, list, bound_value(i));
    int time = 0;
    const bool limited = node.total_timeout >= 0;
    const int limit = step * node.total_timeout + 8;
    result.ran = true;
    for (int attempt = 1;; ++attempt) {
        result.items.clear();
        if (attempt <= node.fails_in && node.early) {
            result.end = End::failed;
        } else {
            result.changed = !node.changes_late;
            const bool out_of_time = node.timeout >= 0 && node.pause > node.timeout;
            time += out_of_time ? step * node.timeout + 1 : step * node.pause;
            bool ended = false;
            if (!out_of_time && node.kind == Kind::reader) {
                for (const int item : producer->items) {
                    if (static_cast<int>(result.items.size()) == node.at_most) break;
                    result.items.push_back(join(item, input));
                }
                ended = static_cast<int>(result.items.size()) != node.at_most;
            } else if (!out_of_time) {
                for (int k = 0; yields(node) && k < node.chunks; ++k) {
                    result.items.push_back(join(input, k));
                }
            }
            if (limited && time > limit) {
                result.end = End::failed;
                return result;
            }
            if (ended && producer->end == End::cancelled) {
                result.end = End::cancelled;  // what came out of its next() is Cancelled
            } else if (ended && producer->end != End::completed) {
                result.end = End::skipped;
            } else if (out_of_time || attempt <= node.fails_in || node.ends == Ends::throws) {
                result.end = End::failed;
            } else if (node.ends == Ends::skips) {
                result.end = End::skipped;
            } else if (node.ends == Ends::cancels) {
                result.end = End::cancelled;
            } else {
                result.end = End::completed;
            }
        }
        if (result.end != End::failed || attempt >= node.attempts) break;
        time += step * node.backoff;
        if (limited && time > limit) return result;
    }
    if (result.end != End::completed) return result;
    result.value = yields(node) ? join_all(input, result.items) : input;
    if (node.changes_late) result.changed = true;
    if (node.after_throws) result.end = End::failed;
    return result;
}

inline bool triggers(Rule rule, bool any_edges, bool all, bool any) {
    if (!any_edges || rule == Rule::all_settled) return true;
    return rule == Rule::all_completed ? all : any;
}

/// What becomes of a node after those before it, which may be what the model or what a run has
/// made of them.
inline Expect expect(const GraphSpec& graph, int i, const std::vector<Result>& before,
                     Trouble trouble) {
    const NodeSpec& node = graph.node(i);
    Expect expected;
    const auto of = [&](int at) -> const Result& { return before[static_cast<std::size_t>(at)]; };
    if (node.made_by >= 0 && !of(node.made_by).changed) {
        expected.allow(End::absent);
        return expected;
    }
    // If all edges are asked; if a stop keeps them from being asked, which then does not block; and
    // if it does so for those only that would throw.
    bool all = true, any = false;
    bool all_unasked = true, any_unasked = false;
    bool all_safe = true, any_safe = false;
    bool has_edges = false, keeps_edges = false, throws = false, after_failure = false;
    const Result* producer = nullptr;
    std::vector<int> list;
    for (const EdgeSpec& edge : graph.edges) {
        if (edge.to != i) continue;
        has_edges = true;
        const Result& parent = of(edge.from);
        const std::vector<int>& cuts = graph.node(edge.from).cuts;
        if (parent.changed && std::find(cuts.begin(), cuts.end(), i) != cuts.end()) continue;
        keeps_edges = true;
        after_failure = after_failure || (parent.end == End::failed && !edge.pipe);
        const bool there = edge.pipe ? parent.ran : parent.end == End::completed;
        const bool edge_throws = there && (edge.says == Says::throws ||
                                           (edge.says == Says::yes && edge.makes == Makes::throws));
        const bool taken = there && edge.says == Says::yes && !edge_throws;
        const bool safe = taken || edge_throws;
        if (edge.pipe) producer = &parent;
        if (taken && edge.forwards && !edge.pipe) list.push_back(made_of(edge, parent.value));
        throws = throws || edge_throws;
        all = all && taken;
        any = any || taken;
        all_unasked = all_unasked && there;
        any_unasked = any_unasked || there;
        all_safe = all_safe && safe;
        any_safe = any_safe || safe;
    }
    const bool cut_off = has_edges && !keeps_edges;
    const bool runs = !cut_off && triggers(node.rule, has_edges, all, any);
    if (throws) {
        expected.result.end = End::failed;
    } else if (!runs) {
        expected.result.end = End::skipped;
    } else {
        expected.result = run_body(graph, i, list, producer);
    }
    const bool whatever = node.rule == Rule::all_settled && trouble.stops < 2;
    if (!trouble.any() || whatever) {
        expected.allow(expected.result.end);
        return expected;
    }
    if (cut_off) {
        expected.allow(End::skipped);
        return expected;
    }
    if (throws) expected.allow(End::failed);
    if (!triggers(node.rule, has_edges, all_safe, any_safe)) expected.allow(End::skipped);
    if (triggers(node.rule, has_edges, all_unasked, any_unasked)) expected.allow(End::cancelled);
    if (producer != nullptr) {
        expected.allow(End::skipped);
        expected.allow(End::cancelled);
    }
    // A failure among its parents has stopped the run before it could start.
    const bool could_run =
        runs && !throws && !(trouble.stops == 0 && after_failure && node.rule != Rule::all_settled);
    if (!could_run) return expected;
    expected.allow(expected.result.end);
    const bool goes_on = node.stubborn == Stubborn::goes_on;
    if (goes_on && node.ends == Ends::skips) expected.allow(End::skipped);
    if ((node.stubborn == Stubborn::throws && node.pause > 0) || node.fails_in > 0 ||
        node.timeout >= 0 || node.total_timeout >= 0 || (goes_on && node.ends == Ends::throws)) {
        expected.allow(End::failed);
    }
    return expected;
}

}  // namespace torture
