// A graph as plain data: drawn from numbers, printed, made smaller. Knows nothing of the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "form.hpp"

namespace torture {

// So that no two times of the same node fall together.
inline constexpr int step = 16;

enum class Kind : unsigned char { plain, task, result, chunks, reader };
enum class Rule : unsigned char { all_completed, any_completed, all_settled };
enum class Ends : unsigned char { value, throws, skips, cancels };
enum class Says : unsigned char { yes, no, throws };
enum class Makes : unsigned char { itself, plain, task, throws };
enum class Stubborn : unsigned char { no, goes_on, throws };
enum class How : unsigned char {
    try_run,
    run,
    stream,
    slow_stream,
    stopped,         // by the body that is the n-th to begin
    stopped_twice,   //
    stopped_stream,  // by the reader, at the n-th event
    dropped,         // at the n-th event
    timed_out,       // cancelled after n ns
};

struct EdgeSpec {
    int from = 0;
    int to = 0;
    bool pipe = false;
    bool forwards = true;  // else it is order only
    bool asks = false;     // a when(…)
    Says says = Says::yes;
    Makes makes = Makes::itself;  // what the transform is
};

struct NodeSpec {
    Kind kind = Kind::plain;
    Rule rule = Rule::all_completed;
    Ends ends = Ends::value;
    Stubborn stubborn = Stubborn::no;  // when it is cancelled in its pause
    int pause = 0;                     // in steps of 16 ns, before it does anything
    int chunks = 0;
    int at_most = -1;        // a reader lets go after so many
    int attempts = 1;        // that it has
    int fails_in = 0;        // so many of them fail first,
    bool early = false;      // while the deferred argument is evaluated
    int backoff = 0;         // in steps of 16 ns
    int timeout = -1;        // in steps of 16 ns, and one
    int total_timeout = -1;  // in steps of 16 ns, and eight
    bool semaphore = false;
    bool rate = false;
    int priority = 0;
    int buffer = 0;
    bool collects = true;
    bool callbacks = false;
    bool before_throws = false;
    bool after_throws = false;
    int made_by = -1;           // by that node, while it runs
    bool changes_late = false;  // in on_after_run, not in the body
    std::vector<int> cuts;      // children that it disconnects
    std::vector<int> loops_to;  // nodes that it connects to in its first laps
    int laps = 0;
};

struct RoundSpec {
    How how = How::try_run;
    int at = 0;
};

struct GraphSpec {
    std::vector<NodeSpec> nodes;
    std::vector<EdgeSpec> edges;
    bool fail_fast = false;
    int places = 0;  // 0: without a limit
    bool shuffled = false;
    std::uint64_t shuffle = 0;
    bool observed = false;
    bool timing = true;
    int semaphore = 1;
    std::vector<RoundSpec> rounds{RoundSpec()};

    [[nodiscard]] NodeSpec& node(int i) { return nodes[static_cast<std::size_t>(i)]; }
    [[nodiscard]] const NodeSpec& node(int i) const { return nodes[static_cast<std::size_t>(i)]; }
    [[nodiscard]] int size() const { return static_cast<int>(nodes.size()); }
    [[nodiscard]] bool loops() const {
        return std::any_of(nodes.begin(), nodes.end(),
                           [](const NodeSpec& node) { return !node.loops_to.empty(); });
    }
};

// Their list is of pointers to the outputs themselves, and takes no transforms.
inline bool takes_pointers(const NodeSpec& node) {
    return node.kind == Kind::plain || node.kind == Kind::result;
}
inline bool yields(const NodeSpec& node) { return node.kind >= Kind::result; }

/// Takes out what the library refuses, and what would wait for ever.
inline void make_valid(GraphSpec& graph) {
    const int size = graph.size();
    const bool loops = graph.loops();
    const auto made = [&](int i) { return graph.node(i).made_by >= 0; };
    for (int i = 0; i < size; ++i) {
        NodeSpec& node = graph.node(i);
        if (node.made_by >= i || loops || (node.made_by >= 0 && made(node.made_by))) {
            node.made_by = -1;
        }
        if (node.made_by >= 0 && node.kind > Kind::task) node.kind = Kind::task;
    }
    // Nodes that are tied by pipes begin together, so whatever one of them needs has to be before
    // the first of them.
    std::vector<int> group(graph.nodes.size());
    std::vector<bool> piped(graph.nodes.size());
    std::vector<EdgeSpec> edges;
    for (int i = 0; i < size; ++i) {
        NodeSpec& node = graph.node(i);
        const auto at = static_cast<std::size_t>(i);
        group[at] = i;
        if (node.kind == Kind::reader) {
            bool found = false;
            for (const EdgeSpec& edge : graph.edges) {
                if (edge.to != i || !edge.pipe || loops || edge.from >= i) continue;
                if (!yields(graph.node(edge.from)) || made(edge.from)) continue;
                found = true;
                group[at] = group[static_cast<std::size_t>(edge.from)];
                piped[at] = piped[static_cast<std::size_t>(edge.from)] = true;
                break;
            }
            if (!found) node.kind = Kind::result;
        }
    }
    for (int i = 0; i < size; ++i) {
        const NodeSpec& node = graph.node(i);
        bool has_pipe = node.kind != Kind::reader;
        for (EdgeSpec edge : graph.edges) {
            if (edge.to != i || edge.from >= i || made(edge.from)) continue;
            if (edge.pipe && has_pipe) continue;
            if (edge.pipe) {
                if (!yields(graph.node(edge.from))) continue;
                has_pipe = true;
                edge.asks = edge.forwards = false;
                edge.says = Says::yes;
                edge.makes = Makes::itself;
            } else if (group[static_cast<std::size_t>(edge.from)] >=
                       group[static_cast<std::size_t>(i)]) {
                continue;
            }
            if (graph.node(edge.from).kind == Kind::chunks) {
                if (!edge.pipe && !graph.node(edge.from).collects)
                    edge.asks = edge.forwards = false;
                if (edge.forwards && edge.makes == Makes::itself) edge.makes = Makes::plain;
                if (edge.makes == Makes::task) edge.makes = Makes::plain;
            }
            if (takes_pointers(node)) {
                edge.forwards = edge.forwards && graph.node(edge.from).kind != Kind::chunks;
                edge.makes = Makes::itself;
            }
            if (!edge.forwards) edge.makes = Makes::itself;
            if (!edge.asks) edge.says = Says::yes;
            // Its other edges are refused to a new node that is about to fail.
            if (made(i) && edge.makes == Makes::throws) edge.makes = Makes::plain;
            if (made(i) && edge.says == Says::throws) edge.says = Says::no;
            edges.push_back(edge);
        }
        // The one that makes a node connects to it.
        if (node.made_by < 0) continue;
        const bool connected = std::any_of(edges.begin(), edges.end(), [&](const EdgeSpec& edge) {
            return edge.to == i && edge.from == node.made_by;
        });
        if (!connected) {
            EdgeSpec edge;
            edge.from = node.made_by;
            edge.to = i;
            edge.forwards = graph.node(edge.from).kind != Kind::chunks;
            edges.push_back(edge);
        }
    }
    graph.edges = std::move(edges);
    for (int i = 0; i < size; ++i) {
        NodeSpec& node = graph.node(i);
        if (piped[static_cast<std::size_t>(i)]) {
            node.rule = Rule::all_completed;
            node.attempts = 1;
            node.fails_in = 0;
            node.semaphore = node.before_throws = false;
            node.timeout = node.total_timeout = -1;
        }
        if (node.kind != Kind::reader) node.at_most = -1;
        if (!yields(node)) node.chunks = node.buffer = 0;
        if (node.kind == Kind::plain) {
            node.pause = 0;
            node.timeout = -1;
            node.stubborn = Stubborn::no;
        }
        if (node.kind != Kind::chunks) node.collects = true;
        if (yields(node) || node.semaphore || node.rate || graph.places > 0) {
            node.total_timeout = -1;
        }
        node.before_throws = node.before_throws && node.callbacks;
        node.after_throws = node.after_throws && node.callbacks;
        node.changes_late = node.changes_late && node.callbacks;
        std::erase_if(node.cuts, [&](int child) {
            if (loops || child <= i || child >= size || made(child)) return true;
            bool plain = false;
            for (const EdgeSpec& edge : graph.edges) {
                if (edge.from == i && edge.to == child) plain = !edge.pipe;
                if (edge.from == i && edge.to == child && edge.pipe) return true;
            }
            return !plain;
        });
        std::erase_if(node.loops_to, [&](int to) { return to >= size; });
        if (node.loops_to.empty()) node.laps = 0;
    }
    if (graph.rounds.empty()) graph.rounds.emplace_back();
}

/// Some of all that is possible; each graph has its own choice of what it may have at all.
inline GraphSpec draw_graph(Random& random) {
    const std::uint64_t choice = random.one_in(8) ? 0 : random.next() & random.next();
    const std::uint64_t other = random.next();
    int bit = 0;
    const auto may = [&] {
        const std::uint64_t mask = 1ULL << (bit++ % 48);
        return (choice & mask) != 0 || (choice != 0 && (other & mask) != 0 && bit % 3 == 0);
    };
    const bool tasks = may() || random.one_in(2);
    const bool generators = may();
    const bool pipes = may();
    const bool pauses = may() || random.one_in(3);
    const bool asks = may();
    const bool transforms = may();
    const bool edge_throws = may();
    const bool rules = may();
    const bool failures = may() || random.one_in(4);
    const bool skips = may();
    const bool cancels = may();
    const bool retries = may();
    const bool timeouts = may();
    const bool semaphores = may();
    const bool rates = may();
    const bool priorities = may();
    const bool callbacks = may();
    const bool makes = may();
    const bool cuts = may();
    const bool stubborn = may();
    const bool loops = may() && random.one_in(2);
    const bool order_only = may();

    GraphSpec graph;
    const int size = random.one_in(32) ? 12 + random.below(24) : 1 + random.below(12);
    const unsigned density = 1 + random.below(4U);
    for (int i = 0; i < size; ++i) {
        NodeSpec node;
        if (tasks && !random.one_in(3)) node.kind = Kind::task;
        if (generators && random.one_in(3)) {
            node.kind = random.one_in(2) ? Kind::result : Kind::chunks;
        }
        if (pipes && random.one_in(2)) node.kind = i > 0 ? Kind::reader : Kind::result;
        if (pauses && random.one_in(2)) node.pause = random.below(6);
        if (rules && random.one_in(3)) node.rule = static_cast<Rule>(1 + random.below(2));
        if (failures && random.one_in(6)) node.ends = Ends::throws;
        if (skips && random.one_in(6)) node.ends = Ends::skips;
        if (cancels && random.one_in(8)) node.ends = Ends::cancels;
        if (stubborn && random.one_in(2)) node.stubborn = static_cast<Stubborn>(random.below(3));
        node.chunks = random.below(5);
        if (random.one_in(4)) node.at_most = random.below(4);
        if (retries && random.one_in(3)) {
            node.attempts = 1 + random.below(4);
            node.fails_in = random.below(4);
            node.early = random.one_in(2);
            node.backoff = random.below(4);
        }
        if (timeouts && random.one_in(3)) node.timeout = random.below(6);
        if (timeouts && random.one_in(4)) node.total_timeout = random.below(10);
        node.semaphore = semaphores && random.one_in(2);
        node.rate = rates && random.one_in(3);
        if (priorities && random.one_in(2)) node.priority = random.below(5) - 2;
        if (random.one_in(4)) node.buffer = 1 + random.below(3);
        node.collects = !random.one_in(5);
        node.callbacks = callbacks && random.one_in(3);
        node.before_throws = failures && random.one_in(8);
        node.after_throws = failures && random.one_in(8);
        if (makes && i > 0 && random.one_in(3)) node.made_by = random.below(i);
        node.changes_late = random.one_in(2);
        if (cuts && i + 1 < size && random.one_in(2)) {
            node.cuts.push_back(i + 1 + random.below(size - i - 1));
        }
        if (loops && random.one_in(2)) {
            node.loops_to.push_back(random.below(size));
            node.laps = 1 + random.below(3);
        }
        if (node.kind == Kind::reader) {
            EdgeSpec edge;
            edge.from = random.below(i);
            edge.to = i;
            edge.pipe = true;
            graph.edges.push_back(edge);
        }
        for (int k = i - 1; k >= 0 && k > i - 8; --k) {
            if (!random.one_in(density)) continue;
            EdgeSpec edge;
            edge.from = k;
            edge.to = i;
            edge.forwards = !(order_only && random.one_in(3));
            if (transforms && random.one_in(2)) edge.makes = static_cast<Makes>(random.below(3));
            edge.asks = asks && random.one_in(3);
            if (random.one_in(3)) edge.says = Says::no;
            if (edge_throws && random.one_in(6)) edge.says = Says::throws;
            if (edge_throws && random.one_in(6)) edge.makes = Makes::throws;
            graph.edges.push_back(edge);
            if (random.one_in(3)) break;
        }
        graph.nodes.push_back(std::move(node));
    }
    graph.fail_fast = random.one_in(3);
    if (random.one_in(3)) graph.places = 1 + random.below(3);
    graph.shuffled = random.one_in(3);
    graph.shuffle = random.next();
    graph.observed = random.one_in(3);
    graph.timing = !random.one_in(4);
    graph.semaphore = 1 + random.below(2);
    graph.rounds.clear();
    const int rounds = 1 + random.below(3);
    for (int i = 0; i < rounds; ++i) {
        RoundSpec round;
        round.how = static_cast<How>(random.one_in(2) ? random.below(4) : random.below(9));
        round.at = random.below(round.how == How::timed_out ? 16 * step : 1 + 2 * size);
        graph.rounds.push_back(round);
    }
    make_valid(graph);
    return graph;
}

/// The graph in lines, without what is as usual.
inline std::string text_of(const GraphSpec& graph) {
    constexpr const char* kinds[] = {"plain", "task", "generator with result", "generator",
                                     "reader"};
    constexpr const char* rules[] = {"", ", any_completed", ", all_settled"};
    constexpr const char* ends[] = {"", ", throws", ", skips", ", throws Cancelled"};
    constexpr const char* hows[] = {"try_run",        "run",     "stream",
                                    "slow_stream",    "stopped", "stopped_twice",
                                    "stopped_stream", "dropped", "timed_out"};
    std::string text = graph.fail_fast ? "fail_fast" : "keep_going";
    const auto say = [&text](bool that, std::string_view what, auto... values) {
        if (that) text += fmt::format(fmt::runtime(what), values...);
    };
    say(graph.places > 0, ", max_concurrency({})", graph.places);
    say(graph.shuffled, ", shuffle({})", graph.shuffle);
    say(graph.observed, ", observed");
    say(!graph.timing, ", no timing");
    text += ", rounds:";
    for (const RoundSpec& round : graph.rounds) {
        say(true, " {}", hows[static_cast<std::size_t>(round.how)]);
        say(round.how >= How::stopped, "({})", round.at);
    }
    text += '\n';
    for (int i = 0; i < graph.size(); ++i) {
        const NodeSpec& node = graph.node(i);
        text += fmt::format("  n{} {}{}{}", i, kinds[static_cast<std::size_t>(node.kind)],
                            rules[static_cast<std::size_t>(node.rule)],
                            ends[static_cast<std::size_t>(node.ends)]);
        say(node.chunks > 0, ", {} chunks", node.chunks);
        say(node.at_most >= 0, ", reads at most {}", node.at_most);
        say(node.pause > 0, ", pause {} ns", step * node.pause);
        say(node.stubborn == Stubborn::goes_on, ", goes on when cancelled");
        say(node.stubborn == Stubborn::throws, ", throws when cancelled");
        say(node.attempts > 1, ", {} attempts {} ns apart", node.attempts, step * node.backoff);
        say(node.fails_in > 0, ", fails in {}", node.fails_in);
        say(node.fails_in > 0 && node.early, " (in its deferred argument)");
        say(node.timeout >= 0, ", timeout {} ns", step * node.timeout + 1);
        say(node.total_timeout >= 0, ", total_timeout {} ns", step * node.total_timeout + 8);
        say(node.semaphore, ", limit(semaphore of {})", graph.semaphore);
        say(node.rate, ", limit(rate)");
        say(node.priority != 0, ", priority {}", node.priority);
        say(node.buffer > 0, ", buffer {}", node.buffer);
        say(!node.collects, ", collects nothing");
        say(node.callbacks, ", callbacks");
        say(node.before_throws, ", on_before_run throws");
        say(node.after_throws, ", on_after_run throws");
        say(node.made_by >= 0, ", made by n{}", node.made_by);
        say(node.changes_late, ", changes in on_after_run");
        for (const int child : node.cuts) say(true, ", cuts off n{}", child);
        for (const int to : node.loops_to) say(true, ", loops to n{}, {} laps", to, node.laps);
        text += '\n';
    }
    for (const EdgeSpec& edge : graph.edges) {
        text += fmt::format("  n{} {} n{}", edge.from, edge.pipe ? "~~>" : "-->", edge.to);
        say(!edge.pipe && !edge.forwards, ", order only");
        say(edge.makes == Makes::plain, ", transform");
        say(edge.makes == Makes::task, ", transform by a coroutine");
        say(edge.makes == Makes::throws, ", transform throws");
        say(edge.asks && edge.says == Says::yes, ", when true");
        say(edge.asks && edge.says == Says::no, ", when false");
        say(edge.asks && edge.says == Says::throws, ", when throws");
        text += '\n';
    }
    return text;
}

/// Without that node and its edges.
inline GraphSpec without_node(GraphSpec graph, int gone) {
    graph.nodes.erase(graph.nodes.begin() + gone);
    std::erase_if(graph.edges,
                  [&](const EdgeSpec& edge) { return edge.from == gone || edge.to == gone; });
    const auto shift = [gone](int& i) { i -= i > gone ? 1 : 0; };
    for (EdgeSpec& edge : graph.edges) {
        shift(edge.from);
        shift(edge.to);
    }
    for (NodeSpec& node : graph.nodes) {
        if (node.made_by == gone) node.made_by = -1;
        shift(node.made_by);
        std::erase(node.cuts, gone);
        std::erase(node.loops_to, gone);
        for (int& child : node.cuts) shift(child);
        for (int& to : node.loops_to) shift(to);
    }
    return graph;
}

/// The smallest graph on the way down for which `fails` is still true: without nodes, edges, rounds
/// and features, with smaller numbers.
template <class Fails>
GraphSpec shrink(GraphSpec graph, Fails fails) {
    int tries = 5000;
    bool smaller = true;
    const auto attempt = [&](GraphSpec candidate) {
        make_valid(candidate);
        if (tries == 0) return false;
        if (text_of(candidate) == text_of(graph) || !(--tries, fails(std::as_const(candidate)))) {
            return false;
        }
        graph = std::move(candidate);
        smaller = true;
        return true;
    };
    const auto change = [&](auto&& edit) {
        GraphSpec candidate = graph;
        edit(candidate);
        return attempt(std::move(candidate));
    };
    const auto reset = [&](int i, auto member) {
        change([&](GraphSpec& g) { g.node(i).*member = NodeSpec().*member; });
    };
    const auto lower = [&](int i, int NodeSpec::* member) {
        while (graph.node(i).*member > 1 && change([&](GraphSpec& g) { --(g.node(i).*member); })) {
        }
    };
    while (std::exchange(smaller, false)) {
        for (int i = graph.size() - 1; i >= 0 && graph.size() > 1; --i) {
            if (i < graph.size()) attempt(without_node(graph, i));
        }
        for (std::size_t e = graph.edges.size(); e-- > 0;) {
            if (e >= graph.edges.size()) continue;
            const auto at = static_cast<std::ptrdiff_t>(e);
            if (change([&](GraphSpec& g) { g.edges.erase(g.edges.begin() + at); })) continue;
            change([&](GraphSpec& g) { g.edges[e].asks = false; });
            change([&](GraphSpec& g) { g.edges[e].makes = Makes::itself; });
            change([&](GraphSpec& g) { g.edges[e].forwards = false; });
        }
        for (std::size_t r = graph.rounds.size(); r-- > 0 && graph.rounds.size() > 1;) {
            const auto at = static_cast<std::ptrdiff_t>(r);
            change([&](GraphSpec& g) { g.rounds.erase(g.rounds.begin() + at); });
        }
        for (std::size_t r = 0; r < graph.rounds.size(); ++r) {
            change([&](GraphSpec& g) { g.rounds[r] = RoundSpec(); });
            while (graph.rounds[r].at > 0 && change([&](GraphSpec& g) { --g.rounds[r].at; })) {
            }
        }
        change([](GraphSpec& g) { g.fail_fast = false; });
        change([](GraphSpec& g) { g.places = 0; });
        change([](GraphSpec& g) { g.shuffled = false; });
        change([](GraphSpec& g) { g.observed = false; });
        change([](GraphSpec& g) { g.timing = true; });
        for (int i = 0; i < graph.size(); ++i) {
            if (change([&](GraphSpec& g) {
                    NodeSpec plain;
                    plain.kind = g.node(i).kind;
                    plain.made_by = g.node(i).made_by;
                    g.node(i) = plain;
                })) {
                reset(i, &NodeSpec::kind);
                reset(i, &NodeSpec::made_by);
                continue;
            }
            reset(i, &NodeSpec::kind);
            if (graph.node(i).kind > Kind::task) {
                change([&](GraphSpec& g) { g.node(i).kind = Kind::task; });
            }
            reset(i, &NodeSpec::rule);
            reset(i, &NodeSpec::ends);
            reset(i, &NodeSpec::stubborn);
            reset(i, &NodeSpec::pause);
            reset(i, &NodeSpec::chunks);
            reset(i, &NodeSpec::at_most);
            reset(i, &NodeSpec::fails_in);
            reset(i, &NodeSpec::early);
            reset(i, &NodeSpec::attempts);
            reset(i, &NodeSpec::backoff);
            reset(i, &NodeSpec::timeout);
            reset(i, &NodeSpec::total_timeout);
            reset(i, &NodeSpec::semaphore);
            reset(i, &NodeSpec::rate);
            reset(i, &NodeSpec::priority);
            reset(i, &NodeSpec::buffer);
            reset(i, &NodeSpec::collects);
            reset(i, &NodeSpec::before_throws);
            reset(i, &NodeSpec::after_throws);
            reset(i, &NodeSpec::changes_late);
            reset(i, &NodeSpec::callbacks);
            reset(i, &NodeSpec::made_by);
            reset(i, &NodeSpec::cuts);
            reset(i, &NodeSpec::loops_to);
            lower(i, &NodeSpec::pause);
            lower(i, &NodeSpec::chunks);
            lower(i, &NodeSpec::laps);
        }
    }
    return graph;
}

}  // namespace torture
