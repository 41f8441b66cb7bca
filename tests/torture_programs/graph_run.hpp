// The real graph of a description: built, run, and compared with what the model says.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <grafo/grafo.hpp>

#include "counted.hpp"
#include "graph_model.hpp"

namespace torture {

using namespace grafo;
using namespace grafo::literals;
using grafo_test::Counted;
using std::chrono::nanoseconds;
using Pointers = std::vector<const Counted*>;
using Values = std::vector<Counted>;

class Bench {
public:
    explicit Bench(const GraphSpec& graph)
        : graph_(graph),
          semaphore_(static_cast<std::size_t>(graph.semaphore)),
          rate_(2, rate_time),
          nodes_(graph.nodes.size()),
          live_(graph.nodes.size()),
          executor_(build()) {
        executor_.on_error(graph.fail_fast ? ErrorPolicy::fail_fast : ErrorPolicy::keep_going);
        executor_.timing(graph.timing);
        if (graph.places > 0) executor_.max_concurrency(static_cast<std::size_t>(graph.places));
        if (graph.shuffled) executor_.shuffle(graph.shuffle);
        if (graph.observed) executor_.observe(watch_);
        loops_ = graph.loops();
        for (const NodeSpec& node : graph.nodes) pipes_ = pipes_ || node.kind == Kind::reader;
        each_node([&](int i) { shape_.push_back(shape_of(i)); });
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    /// One run, and what was wrong with it.
    std::string round(const RoundSpec& round, Digest* digest) {
        problems_.clear();
        round_ = round;
        begun_ = events_ = stops_ = 0;
        stopping_ = threw_ = timed_out_ = false;
        halt_ = EventLoop::TimePoint::max();
        begins_.clear();
        for (int i = 0; i < graph_.size(); ++i) {
            live(i) = Live();
            if (graph_.node(i).made_by >= 0) node(i) = AnyNode();
        }
        run();
        if (inside_ != 0) wrong("{} bodies are still there after the run", inside_);
        std::size_t at = 0;
        each_node([&](int i) {
            if (graph_.node(i).made_by >= 0) return;
            if (shape_of(i) != shape_[at++]) wrong("n{} has kept edges of the run", i);
        });
        if (round.how != How::dropped) compare(digest);
        return std::move(problems_);
    }
    void shuffle(std::uint64_t seed) { executor_.shuffle(seed); }
    /// The nodes whose bodies have begun in the last round, in that order.
    [[nodiscard]] const std::vector<int>& begins() const { return begins_; }

private:
    static constexpr nanoseconds rate_time{3 * step};

    // What happens to a node in one run.
    struct Live {
        int begun = 0;  // bodies
        bool changed = false;
        std::vector<int> items;  // that it has yielded in this attempt
        NodeState state = NodeState::pending;
        int ends = 0;
        // as told by events
        int told_started = 0;
        int told_ended = 0;
        NodeState told = NodeState::pending;
        std::vector<int> told_items;
        unsigned attempt = 0;
    };

    [[nodiscard]] AnyNode& node(int i) { return nodes_[static_cast<std::size_t>(i)]; }
    [[nodiscard]] Live& live(int i) { return live_[static_cast<std::size_t>(i)]; }
    template <class Visit>
    void each_node(Visit visit) {
        for (int i = 0; i < graph_.size(); ++i) {
            if (node(i)) visit(i);
        }
    }
    [[nodiscard]] std::pair<std::size_t, std::size_t> shape_of(int i) {
        return {node(i).parents().size(), node(i).children().size()};
    }
    template <class... V>
    void wrong(fmt::format_string<V...> what, V&&... values) {
        if (problems_.size() < 2000) {
            problems_ += "  " + fmt::format(what, std::forward<V>(values)...) + "\n";
        }
    }

    // ---- building
    // ---------------------------------------------------------------------------------

    TreeExecutor build() {
        std::vector<AnyNode> all;
        for (int i = 0; i < graph_.size(); ++i) {
            if (graph_.node(i).made_by >= 0) continue;
            make(i);
            all.push_back(node(i));
        }
        return TreeExecutor("torture", all);
    }

    struct Deferred {
        Bench* bench;
        int i;
        int operator()() const { return bench->defer(i); }
    };
    void make(int i) {
        const NodeSpec& spec = graph_.node(i);
        const std::string id = "n" + std::to_string(i);
        const Deferred bound{this, i};
        const std::vector<AnyNode> none;
        switch (spec.kind) {
            case Kind::plain:
                node(i) = Node{id,
                               [this, i](NodeContext& context, const Pointers& list, int number) {
                                   return plain(context.attempt(), i, list, number);
                               },
                               "list"_args = none, "bound"_a = bound};
                break;
            case Kind::task:
                node(i) = Node{id,
                               [this, i](NodeContext& context, Values list, int number) {
                                   return task(context.attempt(), this, i, std::move(list), number);
                               },
                               "list"_args = none, "bound"_a = bound};
                break;
            case Kind::result:
                node(i) =
                    Node{id,
                         [this, i](NodeContext& context, Pointers list, int number) {
                             return result(context.attempt(), this, i, std::move(list), number);
                         },
                         "list"_args = none, "bound"_a = bound};
                break;
            case Kind::chunks:
                node(i) =
                    Node{id,
                         [this, i](NodeContext& context, Values list, int number) {
                             return chunks(context.attempt(), this, i, std::move(list), number);
                         },
                         "list"_args = none, "bound"_a = bound};
                break;
            case Kind::reader:
                node(i) = Node{id,
                               [this, i](NodeContext& context, AsyncGenerator<Counted> in,
                                         Values list, int number) {
                                   return reader(context.attempt(), std::move(in), this, i,
                                                 std::move(list), number);
                               },
                               "in"_a, "list"_args = none, "bound"_a = bound};
                break;
        }
        set(node(i), spec, i);
        for (std::size_t e = 0; e < graph_.edges.size(); ++e) {
            const EdgeSpec& edge = graph_.edges[e];
            if (edge.to != i) continue;
            if (graph_.node(edge.from).kind == Kind::chunks) {
                connect_chunks(e);
            } else {
                connect(e);
            }
        }
    }
    void set(const AnyNode& made, const NodeSpec& spec, int i) {
        if (spec.rule != Rule::all_completed) {
            made.trigger(spec.rule == Rule::all_settled ? Trigger::all_settled
                                                        : Trigger::any_completed);
        }
        if (spec.attempts > 1) {
            made.retry(RetryPolicy(static_cast<unsigned>(spec.attempts))
                           .backoff(nanoseconds(step * spec.backoff), 1.0));
        }
        if (spec.timeout >= 0) made.timeout(nanoseconds(step * spec.timeout + 1));
        if (spec.total_timeout >= 0) made.total_timeout(nanoseconds(step * spec.total_timeout + 8));
        if (spec.semaphore) made.limit(semaphore_);
        if (spec.rate) made.limit(rate_);
        if (spec.priority != 0) made.priority(spec.priority);
        if (spec.buffer > 0) made.buffer(static_cast<std::size_t>(spec.buffer));
        if (!spec.collects) made.collect(false);
        if (!spec.loops_to.empty()) made.max_runs(20);
        if (!spec.callbacks) return;
        made.on_before_run([&spec] {
            if (spec.before_throws) throw std::runtime_error("on_before_run");
        });
        made.on_after_run([this, &spec, i] {
            if (spec.changes_late) change(i);
            if (spec.after_throws) throw std::runtime_error("on_after_run");
        });
    }

    // What edges do: at their parent's end, for its output.
    struct Ask {
        const EdgeSpec* edge;
        bool operator()() const {
            if (edge->says == Says::throws) throw std::runtime_error("when");
            return edge->says == Says::yes;
        }
    };
    struct AskLater {
        const EdgeSpec* edge;
        Task<bool> operator()() const { return later(edge); }
        static Task<bool> later(const EdgeSpec* edge) {
            co_await grafo::yield();
            co_return Ask{edge}();
        }
    };
    struct Make {
        const EdgeSpec* edge;
        Counted operator()(const Counted& value) const {
            if (edge->makes == Makes::throws) throw std::runtime_error("transform");
            return Counted(made_of(*edge, value.value));
        }
    };
    struct MakeLater {
        const EdgeSpec* edge;
        Task<Counted> operator()(const Counted& value) const { return later(edge, &value); }
        static Task<Counted> later(const EdgeSpec* edge, const Counted* value) {
            co_await sleep_for(nanoseconds(step));
            co_return Counted(made_of(*edge, value->value));
        }
    };
    struct MakeOfChunks {
        const EdgeSpec* edge;
        const Bench* bench;
        Counted operator()(const std::vector<Counted>& chunks) const {
            if (edge->makes == Makes::throws) throw std::runtime_error("transform");
            return Counted(made_of(*edge, bench->value_of(chunks, edge->from)));
        }
    };
    void connect(std::size_t e) {
        const EdgeSpec& edge = graph_.edges[e];
        const Node<Counted> from(node(edge.from));
        const AnyNode& to = node(edge.to);
        if (edge.pipe) {
            from.connect(to, forward_as("in"));
        } else if (!edge.forwards) {
            edge.asks ? from.connect(to, when(Ask{&edge})) : from.connect(to);
        } else if (edge.makes == Makes::itself) {
            edge.asks ? from.connect(to, "list"_a, when(AskLater{&edge}))
                      : from.connect(to, "list"_a);
        } else if (edge.makes == Makes::task) {
            edge.asks ? from.connect(to, "list"_a = MakeLater{&edge}, when(AskLater{&edge}))
                      : from.connect(to, "list"_a = MakeLater{&edge});
        } else {
            edge.asks ? from.connect(to, "list"_a = Make{&edge}, when(Ask{&edge}))
                      : from.connect(to, "list"_a = Make{&edge});
        }
    }
    void connect_chunks(std::size_t e) {
        const EdgeSpec& edge = graph_.edges[e];
        const Node<std::vector<Counted>> from(node(edge.from));
        const AnyNode& to = node(edge.to);
        if (edge.pipe) {
            from.connect(to, forward_as("in"));
        } else if (!edge.forwards) {
            edge.asks ? from.connect(to, when(Ask{&edge})) : from.connect(to);
        } else {
            const MakeOfChunks make{&edge, this};
            edge.asks ? from.connect(to, "list"_a = make, when(Ask{&edge}))
                      : from.connect(to, "list"_a = make);
        }
    }

    // ---- the bodies
    // -------------------------------------------------------------------------------

    // Counts the bodies that are there.
    class Inside {
    public:
        Inside(Bench& bench, int i) noexcept : bench_(bench), i_(i) {
            ++bench.inside_;
            if (bench.graph_.node(i).semaphore) ++bench.holders_;
        }
        Inside(const Inside&) = delete;
        Inside& operator=(const Inside&) = delete;
        ~Inside() {
            --bench_.inside_;
            if (bench_.graph_.node(i_).semaphore) --bench_.holders_;
        }

    private:
        Bench& bench_;
        int i_;
    };

    int defer(int i) {
        // With the attempt that is not there yet, so the deferred argument counts for itself.
        const NodeSpec& spec = graph_.node(i);
        if (spec.early && live(i).begun++ < spec.fails_in) throw std::runtime_error("deferred");
        return bound_value(i);
    }
    void enter(int i, unsigned attempt) {
        const NodeSpec& spec = graph_.node(i);
        Live& now = live(i);
        if (!spec.early) ++now.begun;
        ++begun_;
        begins_.push_back(i);
        now.items.clear();
        if (holders_ > graph_.semaphore) wrong("{} hold the semaphore", holders_);
        const bool parks = pipes_ || (round_.how != How::try_run && round_.how != How::run);
        if (graph_.places > 0 && !parks && inside_ > graph_.places)
            wrong("{} run at once", inside_);
        if (stopping_ && (spec.rule != Rule::all_settled || stops_ > 1)) {
            wrong("n{} began after the stop", i);
        }
        if (spec.rate) check_rate();
        if (!loops_) {
            if (now.begun > spec.attempts) wrong("n{} began {} times", i, now.begun);
            if (static_cast<int>(attempt) != now.begun) {
                wrong("attempt {} of n{} is said to be {}", now.begun, i, attempt);
            }
            check_parents(i);
        }
        if (begun_ == round_.at) {
            if (round_.how == How::stopped || round_.how == How::stopped_twice) stop();
            if (round_.how == How::stopped_twice) stop();
        }
        if (!spec.changes_late) change(i);
        if (now.begun > spec.laps) return;
        for (const int to : spec.loops_to) {
            try {
                if (now.begun % 2 == 0 || spec.kind == Kind::chunks) {
                    node(i).connect(node(to));
                } else {
                    Node<Counted>(node(i)).connect(node(to), "list"_a);
                }
            } catch (const SafeExecutionError&) {  // it is running
            }
        }
    }
    void check_rate() {
        const auto now = loop_.now();
        if (rated_ >= 2 && now - rate_times_[rated_ % 2] < rate_time) wrong("the rate is too high");
        rate_times_[rated_++ % 2] = now;
    }
    void check_parents(int i) {
        for (const EdgeSpec& edge : graph_.edges) {
            if (edge.to != i || !node(edge.from) || is_cut(edge)) continue;
            const NodeState state = node(edge.from).state();
            if (state < (edge.pipe ? NodeState::running : NodeState::completed)) {
                wrong("n{} began before its parent n{}", i, edge.from);
            }
        }
    }
    [[nodiscard]] bool is_cut(const EdgeSpec& edge) {
        const std::vector<int>& cuts = graph_.node(edge.from).cuts;
        return live(edge.from).changed &&
               std::find(cuts.begin(), cuts.end(), edge.to) != cuts.end();
    }
    // What the node does to the graph, once a run.
    void change(int i) {
        Live& now = live(i);
        if (std::exchange(now.changed, true) || loops_) return;
        for (int made = i + 1; made < graph_.size(); ++made) {
            if (graph_.node(made).made_by == i) make(made);
        }
        for (const int child : graph_.node(i).cuts) node(i).disconnect(node(child));
    }
    void stop() {
        ++stops_;
        stopping_ = true;
        halt();
        executor_.stop();
    }
    void yielded(int i, int value) { live(i).items.push_back(value); }
    [[nodiscard]] static std::vector<int> values(const Pointers& list) {
        std::vector<int> all;
        for (const Counted* value : list) all.push_back(value->value);
        return all;
    }
    [[nodiscard]] static std::vector<int> values(const Values& list) {
        std::vector<int> all;
        for (const Counted& value : list) all.push_back(value.value);
        return all;
    }
    template <class List>
    [[nodiscard]] int input(int i, const List& list, int number) const {
        return input_of(i, values(list), number);
    }
    // The arguments of a node stay as they are until it has settled.
    template <class List>
    void still(int i, int was, const List& list, int number) {
        if (input(i, list, number) != was) wrong("the arguments of n{} have changed", i);
    }
    // From now on nothing goes on but what runs whatever happens.
    void halt() { halt_ = std::min(halt_, loop_.now()); }
    void end(int i, unsigned attempt) {
        const NodeSpec& spec = graph_.node(i);
        const bool fails = spec.fails_in > 0 ? !spec.early : spec.ends == Ends::throws;
        if (graph_.fail_fast && spec.attempts == 1 && fails) halt();
        if (static_cast<int>(attempt) <= spec.fails_in && !spec.early) {
            throw std::runtime_error("an attempt");
        }
        switch (spec.ends) {
            case Ends::value: return;
            case Ends::throws: throw std::runtime_error("broken");
            case Ends::skips: throw Skip("by itself");
            case Ends::cancels: throw Cancelled();
        }
    }
    static Task<> pause(Bench* bench, int i) {
        const NodeSpec* const spec = &bench->graph_.node(i);
        if (spec->pause == 0) co_return;
        bool cancelled = false;
        try {
            co_await sleep_for(nanoseconds(step * spec->pause));
        } catch (const Cancelled&) {
            if (spec->stubborn == Stubborn::no) throw;
            cancelled = true;
        }
        if (!cancelled) {
            const bool asked = spec->rule != Rule::all_settled || bench->stops_ > 1;
            if (asked && bench->loop_.now() > bench->halt_)
                bench->wrong("n{} was not cancelled", i);
            co_return;
        }
        co_await grafo::yield();
        if (spec->stubborn == Stubborn::throws) throw std::runtime_error("clean-up");
    }

    Counted plain(unsigned attempt, int i, const Pointers& list, int number) {
        const Inside inside(*this, i);
        enter(i, attempt);
        const int value = input(i, list, number);
        end(i, attempt);
        return Counted(value);
    }
    static Task<Counted> task(unsigned attempt, Bench* bench, int i, Values list, int number) {
        const Inside inside(*bench, i);
        bench->enter(i, attempt);
        const int value = bench->input(i, list, number);
        co_await pause(bench, i);
        bench->still(i, value, list, number);
        bench->end(i, attempt);
        co_return Counted(value);
    }
    static AsyncGenerator<Counted, Counted> result(unsigned attempt, Bench* bench, int i,
                                                   Pointers list, int number) {
        const Inside inside(*bench, i);
        bench->enter(i, attempt);
        const int value = bench->input(i, list, number);
        co_await pause(bench, i);
        int all = value;
        for (int k = 0; k < bench->graph_.node(i).chunks; ++k) {
            Counted item(join(value, k));
            all = join(all, item.value);
            bench->yielded(i, item.value);
            co_yield item;
        }
        bench->still(i, value, list, number);
        bench->end(i, attempt);
        co_return Counted(all);
    }
    static AsyncGenerator<Counted> chunks(unsigned attempt, Bench* bench, int i, Values list,
                                          int number) {
        const Inside inside(*bench, i);
        bench->enter(i, attempt);
        const int value = bench->input(i, list, number);
        bench->inputs_[static_cast<std::size_t>(i)] = value;
        co_await pause(bench, i);
        for (int k = 0; k < bench->graph_.node(i).chunks; ++k) {
            Counted item(join(value, k));
            bench->yielded(i, item.value);
            co_yield item;
        }
        bench->still(i, value, list, number);
        bench->end(i, attempt);
    }
    static AsyncGenerator<Counted, Counted> reader(unsigned attempt, AsyncGenerator<Counted> in,
                                                   Bench* bench, int i, Values list, int number) {
        const Inside inside(*bench, i);
        bench->enter(i, attempt);
        const int value = bench->input(i, list, number);
        co_await pause(bench, i);
        int all = value;
        for (int k = 0; k != bench->graph_.node(i).at_most; ++k) {
            Counted* const item = co_await in.next();
            if (item == nullptr) break;
            Counted mine(join(item->value, value));
            item->value = -1;  // it is this reader's own
            all = join(all, mine.value);
            bench->yielded(i, mine.value);
            co_yield mine;
        }
        bench->still(i, value, list, number);
        bench->end(i, attempt);
        co_return Counted(all);
    }

    // ---- a run
    // ------------------------------------------------------------------------------------

    void run() {
        try {
            switch (round_.how) {
                case How::run: loop_.run(executor_.run()); break;
                case How::timed_out: loop_.run(run_so_long(this)); break;
                case How::stream:
                case How::slow_stream:
                case How::stopped_stream:
                case How::dropped: loop_.run(read(this, executor_.yielding())); break;
                default: loop_.run(executor_.try_run());
            }
        } catch (const RunError&) {
            threw_ = true;
        } catch (const TimeoutError&) {
            timed_out_ = true;
        } catch (const std::exception& error) {
            wrong("the run threw: {}", error.what());
        }
    }
    static Task<> run_so_long(Bench* bench) {
        co_await with_timeout(nanoseconds(bench->round_.at), bench->executor_.try_run());
    }
    static Task<> read(Bench* bench, AsyncGenerator<Event> events) {
        const RoundSpec round = bench->round_;
        while (const Event* event = co_await events.next()) {
            bench->told(*event);
            const bool now = bench->events_++ == round.at;
            if (now && round.how == How::dropped) co_return;
            if (now && round.how == How::stopped_stream) bench->stop();
            if (round.how == How::slow_stream && event->kind() == EventKind::chunk) {
                co_await sleep_for(nanoseconds(step));
            }
        }
    }
    [[nodiscard]] static int index_of(const AnyNode& node) {
        return std::atoi(node.id().c_str() + 1);
    }
    void told(const Event& event) {
        const int i = index_of(event.node());
        Live& now = live(i);
        switch (event.kind()) {
            case EventKind::started:
                ++now.told_started;
                now.told_items.clear();
                break;
            case EventKind::retrying:
                if (!loops_ && now.told_ended > 0) wrong("n{} retries after its end", i);
                break;
            case EventKind::chunk: {
                if (now.told_started == 0 || (!loops_ && now.told_ended > 0)) {
                    wrong("n{} has a chunk before its start or after its end", i);
                }
                if (std::exchange(now.attempt, event.attempt()) != event.attempt()) {
                    now.told_items.clear();
                }
                const auto chunk = event.chunk<Counted>();
                now.told_items.push_back(chunk ? chunk->output.value : 0);
                break;
            }
            case EventKind::completed: told_end(i, NodeState::completed); break;
            case EventKind::failed: told_end(i, NodeState::failed); break;
            case EventKind::skipped: told_end(i, NodeState::skipped); break;
            case EventKind::cancelled: told_end(i, NodeState::cancelled); break;
        }
    }
    void told_end(int i, NodeState state) {
        Live& now = live(i);
        now.told = state;
        if (++now.told_ended > 1 && !loops_) wrong("the end of n{} was told twice", i);
        const bool all = state == NodeState::completed && !loops_ && yields(graph_.node(i));
        if (all && now.told_items != now.items) {
            wrong("the chunks of n{} that were told are not those it has yielded", i);
        }
    }

    // Every step is one that a node may take.
    class Watch final : public Observer {
    public:
        explicit Watch(Bench& bench) : bench_(bench) {}
        void transition(const Transition& taken) override {
            const int i = index_of(taken.node());
            Live& now = bench_.live(i);
            const NodeState from = std::exchange(now.state, taken.to());
            if (from != taken.from()) bench_.wrong("n{} was not in the state that it left", i);
            if (taken.to() >= NodeState::completed && ++now.ends > 1 && !bench_.loops_) {
                bench_.wrong("n{} has ended twice", i);
            }
            if (from >= NodeState::completed && !bench_.loops_) {
                bench_.wrong("n{} goes on after its end", i);
            }
            if (taken.to() == NodeState::running && from != NodeState::ready) {
                bench_.wrong("n{} runs though it was not ready", i);
            }
            if (taken.to() == NodeState::completed && from != NodeState::running) {
                bench_.wrong("n{} has completed though it did not run", i);
            }
        }

    private:
        Bench& bench_;
    };

    // ---- comparing
    // --------------------------------------------------------------------------------

    [[nodiscard]] static End end_of(NodeState state) {
        switch (state) {
            case NodeState::completed: return End::completed;
            case NodeState::failed: return End::failed;
            case NodeState::skipped: return End::skipped;
            case NodeState::cancelled: return End::cancelled;
            default: return End::absent;
        }
    }
    // The output of a generator as one number.
    [[nodiscard]] int value_of(const std::vector<Counted>& chunks, int i) const {
        int all = inputs_.at(static_cast<std::size_t>(i));
        for (const Counted& chunk : chunks) all = join(all, chunk.value);
        return all;
    }
    [[nodiscard]] int output_of(int i) {
        if (graph_.node(i).kind == Kind::chunks) {
            return value_of(Node<std::vector<Counted>>(node(i)).output(), i);
        }
        return Node<Counted>(node(i)).output().value;
    }
    void compare(Digest* digest) {
        const RunReport report = executor_.report();
        std::size_t count = 0;
        each_node([&](int) { ++count; });
        const std::size_t ended = report.completed().size() + report.failed().size() +
                                  report.skipped().size() + report.cancelled().size();
        if (ended != count) wrong("{} of {} nodes are in the report", ended, count);
        if (report.errors().size() != report.failed().size()) wrong("the report lacks errors");
        if (report.stopped() != (stops_ > 0 || timed_out_))
            wrong("the report is wrong on the stop");
        const bool throws = round_.how == How::run || round_.how == How::stream ||
                            round_.how == How::slow_stream || round_.how == How::stopped_stream;
        if (throws && threw_ == report.ok()) wrong("it threw {}, and its report is not", threw_);
        if (digest != nullptr) digest->add(report.elapsed().count());
        check_report(report.completed(), NodeState::completed);
        check_report(report.failed(), NodeState::failed);
        check_report(report.skipped(), NodeState::skipped);
        check_report(report.cancelled(), NodeState::cancelled);
        const bool streamed = round_.how == How::stream || round_.how == How::slow_stream ||
                              round_.how == How::stopped_stream;
        each_node([&](int i) {
            const NodeState state = node(i).state();
            if (digest != nullptr) digest->add(static_cast<unsigned char>(state));
            if (streamed && live(i).told != state) wrong("the end of n{} was not told", i);
            if (graph_.observed && live(i).state != state) wrong("the end of n{} was not seen", i);
        });
        if (loops_) return;

        Trouble trouble;
        trouble.stops = static_cast<int>(report.stopped()) * std::max(1, stops_);
        std::vector<Result> model(graph_.nodes.size());
        bool fails = false;
        for (int i = 0; i < graph_.size(); ++i) {
            Result& result = model[static_cast<std::size_t>(i)];
            result = expect(graph_, i, model, Trouble()).result;
            fails = fails || result.end == End::failed;
        }
        trouble.failed = fails && graph_.fail_fast;
        if (trouble.failed && trouble.stops == 0 && report.failed().empty())
            wrong("nothing failed");
        std::vector<Result> results(graph_.nodes.size());
        for (int i = 0; i < graph_.size(); ++i) {
            const Expect expected = expect(graph_, i, results, trouble);
            Result& result = results[static_cast<std::size_t>(i)];
            result = expected.result;
            const End end = node(i) ? end_of(node(i).state()) : End::absent;
            if (!expected.allows(end)) {
                wrong("n{} is {}, and should be {}", i, name(end), names(expected.ends));
            }
            if (trouble.any()) {
                result.end = end;
                result.ran = live(i).begun > 0;
                result.changed = live(i).changed;
            } else if (result.changed != live(i).changed) {
                wrong("n{} {} the graph", i, live(i).changed ? "changed" : "did not change");
            }
            if (end != End::completed || !graph_.node(i).collects) continue;
            const int value = output_of(i);
            if (digest != nullptr) digest->add(value);
            if (value != result.value) wrong("the output of n{} is wrong", i);
            if (yields(graph_.node(i)) && live(i).items != result.items) {
                wrong("the chunks of n{} are wrong", i);
            }
        }
        if (problems_.empty()) return;
        for (const NodeError& error : report.errors())
            problems_ += fmt::format("  ({})\n", error.what());
    }
    void check_report(const std::vector<AnyNode>& nodes, NodeState state) {
        for (const AnyNode& one : nodes) {
            if (one.state() != state) wrong("{} is in the wrong list of the report", one.id());
        }
    }
    [[nodiscard]] static std::string_view name(End end) {
        constexpr std::string_view all[] = {"completed", "failed", "skipped", "cancelled",
                                            "absent"};
        return all[static_cast<std::size_t>(end)];
    }
    [[nodiscard]] static std::string names(unsigned ends) {
        std::string text;
        for (unsigned end = 0; end < 5; ++end) {
            if ((ends >> end & 1U) == 0) continue;
            if (!text.empty()) text += " or ";
            text += name(static_cast<End>(end));
        }
        return text;
    }

    const GraphSpec& graph_;
    EventLoop loop_{virtual_time};
    Semaphore semaphore_;
    RateLimiter rate_;
    Watch watch_{*this};
    std::vector<AnyNode> nodes_;
    std::vector<Live> live_;
    TreeExecutor executor_;
    std::vector<std::pair<std::size_t, std::size_t>> shape_;
    bool loops_ = false;
    bool pipes_ = false;
    // of one round
    RoundSpec round_;
    std::string problems_;
    std::vector<int> begins_;
    std::vector<int> inputs_ = std::vector<int>(graph_.nodes.size());  // of generators
    int begun_ = 0;
    int events_ = 0;
    int stops_ = 0;
    bool stopping_ = false;
    bool threw_ = false;
    bool timed_out_ = false;
    EventLoop::TimePoint halt_{};
    int inside_ = 0;
    int holders_ = 0;
    std::size_t rated_ = 0;
    EventLoop::TimePoint rate_times_[2];
};

/// All rounds of a graph, and what is left of it: nothing. Gives what was wrong.
inline std::string check_graph(const GraphSpec& graph, Digest* digest) {
    Counted::reset();
    std::string problems;
    {
        Bench bench(graph);
        for (std::size_t r = 0; r < graph.rounds.size() && problems.empty(); ++r) {
            problems = bench.round(graph.rounds[r], digest);
            if (!problems.empty()) problems = fmt::format("  in round {}:\n", r) + problems;
        }
    }
    if (Counted::live() != 0) problems += fmt::format("  {} values are left\n", Counted::live());
    return problems;
}

}  // namespace torture
