#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <grafo/detail/driver.hpp>
#include <grafo/detail/edge_task.hpp>
#include <grafo/detail/event_queue.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/look_ahead.hpp>
#include <grafo/detail/make_plan.hpp>
#include <grafo/detail/node_failure.hpp>
#include <grafo/detail/pipe.hpp>
#include <grafo/detail/plan.hpp>
#include <grafo/detail/ready_queue.hpp>
#include <grafo/detail/rewiring.hpp>
#include <grafo/detail/run_options.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/event.hpp>
#include <grafo/observer.hpp>
#include <grafo/run_report.hpp>

// One run of a graph.
//
// A node *starts* when its pending count, of parents that have not settled, is zero; it *settles*
// with a final state, and then each of its edges counts its child down, at once or after the edge's
// transform. The run is a job of the loop (`pump`) that ends what has finished and starts what is
// ready; it stops for the reader of its events after each. Nodes that wait are in `active_`.
//
// The run belongs to a holder in the frame of the coroutine that runs it. If that frame is dropped,
// the nodes' frames are destroyed; those that something outside still uses keep the run alive until
// it has let go.
namespace grafo::detail {

// What makes a run more than starting the next node, together so that one look tells.
struct RunSpecials {
    bool watched_ = false;   // it is observed, shuffled, or has edges to nodes that are not in it
    bool stopping_ = false;  // nothing more starts
    bool dropped_ = false;   // the holder is gone
    bool frozen_ = false;    // the holder will be gone once nothing here is busy
    bool rewired_ = false;   // edges were made or cut, or nodes joined
    bool queued_ = false;    // somebody may be in `finished_`, `finished_edges_` or `line_`
    bool unused_[2] = {};
};

class Run final : public RunHooks, Job, WaitList, RunSpecials {
public:
    Run(Plan& plan, RunOptions options)
        : Job(&Run::pump),
          WaitList(&Run::describe),
          loop_(EventLoop::current()),
          core_(LoopAccess::core(loop_)),
          options_(std::move(options)),
          plan_id_(plan.id),
          stamp_(next_stamp()),
          observed_(!options_.observers.empty()) {
        watched_ = observed_ || options_.shuffled || plan.open;
        keeps_book_ = options_.timing || options_.streaming;
        looks_ahead_ = plan.node_count > nodes_in_cache;
        active_.reserve(16);
        report_->completed.reserve(plan.node_count);
        report_->reserve_graphs(plan.graphs);
        for (Graph* graph : plan.graphs) graph->runs.reserve_one();
        report_->name = options_.name;
        for (Graph* graph : plan.graphs) {  // nothing throws from here on
            report_->join_graph(*graph);
            graph->runs.push_back(this);
        }
        started_ = loop_.now();
        boundary_ = started_;
        core_.waiting.push_back(*this);
        for_each_observer([this](Observer& o) { o.run_started(options_.name, started_); });
        for (NodeCore* node : plan.starts) {
            reset(*node);
            make_ready(*node);
        }
        schedule();
    }

    // ---- for the coroutine that runs it -------------------------------------------------------

    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] bool has_event() const noexcept { return !events_.empty(); }
    [[nodiscard]] const Shared<ReportData>& report() const noexcept { return report_; }

    // What the run itself ran into, out of memory say; its nodes were cancelled for it.
    [[nodiscard]] const std::exception_ptr& fatal() const noexcept { return fatal_; }

    // The next event, which the reader then holds. Its chunk is taken by `release`.
    [[nodiscard]] Event take_event();
    // The reader has moved on.
    void release() noexcept {
        if (NodeCore* node = std::exchange(held_by_, nullptr); node != nullptr) {
            moved_on(*node, std::exchange(held_, HeldChunk()));
        }
    }

    // Nothing more starts, but what runs whatever happens; what runs is cancelled, again on each
    // call, those from the second on.
    void stop() override {
        interrupted_.store(false, std::memory_order_relaxed);
        if (ended_ || dropped_) return;
        report_->stopped = true;
        stopping_ = true;
        ++stops_;
        cancel_active();
    }
    void interrupt() noexcept override { interrupted_.store(true, std::memory_order_relaxed); }
    // The coroutine that awaits the run was cancelled: its events have no reader any more.
    void cancel_from_outside() {
        cancelled_ = true;
        options_.streaming = false;
        drop_events();
        stop();
    }
    [[nodiscard]] bool cancelled() const noexcept { return cancelled_; }

    void set_waiter(Waiter* waiter) noexcept { waiter_ = waiter; }
    [[nodiscard]] bool busy() noexcept;
    // The awaiting coroutine will be destroyed once this is not busy.
    void freeze(Context& awaiting) noexcept;
    // The holder will go, and this is not busy: what the nodes hold goes now.
    void drop_inside() noexcept {
        if (!dropped_) visit(Ask::drop);
    }
    // The holder is gone. May delete this.
    void drop() noexcept;

    // ---- for the nodes ------------------------------------------------------------------------

    inline bool yielded(NodeCore& node, void* item) override;

    inline void retrying(NodeCore& node, const std::exception_ptr& error,
                         std::chrono::nanoseconds delay) override;
    inline void trying_again(NodeCore& node) override;
    // The node begins.
    void started(NodeCore& node);
    inline void started_late(NodeCore& node) override;

    // ---- for those who wait without a place, see slots.hpp ------------------------------------

    bool leave_slot(NodeCore& node) override {
        if (options_.max_concurrency == static_cast<std::size_t>(-1) || dropped_) return false;
        if (node.need_extras().without_slot++ == 0) {
            --slots_;
            schedule();
        }
        return true;
    }
    [[nodiscard]] bool could_take_slot(const NodeCore& node) const noexcept override {
        return node.extras->without_slot != 1 || slots_ < options_.max_concurrency;
    }
    void stand_in_line(SlotAwaiter& waiter) noexcept override {
        line_.push_back(waiter);
        queued_ = true;
        schedule();
    }
    void take_slot_anyway(NodeCore& node) noexcept override {
        if (--node.extras->without_slot == 0) ++slots_;
    }

    // A reader has moved on from a chunk of the node.
    void moved_on(NodeCore& node, const HeldChunk& chunk) noexcept;
    bool last_moved_on(const NodeCore& node, Stream& stream, const HeldChunk& chunk) const noexcept;

    void body_ended(NodeCore& node) noexcept override { on_done(&node); }
    // The same, of what drives the body.
    static void on_done(void* target) noexcept {
        auto& node = *static_cast<NodeCore*>(target);
        auto& run = static_cast<Run&>(*node.run);
        node.phase = Phase::finished;
        if (run.executing_ == &node) return;  // whoever resumed it will see
        run.deactivate(node);
        run.push_finished(node);
        run.schedule();
    }

    inline void reap(NodeCore& node) noexcept override;
    void reap(EdgeTask& task) noexcept;
    void edge_done(EdgeTask& task) noexcept {
        task.running = false;
        task.unlink();
        finished_edges_.push_back(task);
        queued_ = true;
        schedule();
    }

    // ---- for the wiring -----------------------------------------------------------------------

    [[nodiscard]] inline bool has(const NodeCore& node) const noexcept override;
    void expect_own_thread() const noexcept override {
        LoopAccess::mailbox(loop_)->expect_here(
            "a node was changed on another thread than that of the run that it is in");
    }
    [[nodiscard]] inline bool replaces(const NodeCore& parent, const NodeCore& child,
                                       const InEdge* edge) const noexcept override;
    [[nodiscard]] inline NodeState state_of(const NodeCore& node) const noexcept override;
    void before_change(NodeCore& node) override {
        expect_own_thread();
        if (observing_) refuse_observer(node);
        rewired_ = true;
        rewiring_.keep(node);
    }
    void keep_gone(Forward& forward) noexcept override { rewiring_.keep_gone(forward); }
    void hold() noexcept override { ++references_; }
    void unhold() noexcept override {
        free_graph_early();
        unref();
    }
    [[nodiscard]] inline const SmallVector<InEdge>* original_edges(
        const NodeCore& node) const noexcept override;

    inline void edge_added(NodeCore& parent, const OutEdge& edge) override;

    inline void edge_removed(NodeCore& parent, NodeCore& child, std::uint32_t position) override;

private:
    ~Run() = default;

    [[noreturn]] static void refuse_observer(const NodeCore& node) {
        throw SafeExecutionError("node " + in_quotes(node.id) +
                                 " was to be wired anew by an observer of its run, which may "
                                 "look on only");
    }

    static std::uint32_t next_stamp() noexcept {
        static std::atomic<std::uint32_t> last{0};
        return number_after(last);
    }

    // ---- the loop of the run ------------------------------------------------------------------

    [[gnu::always_inline]] void schedule() noexcept {
        if (!pumping_) make_pump_ready();
    }
    [[gnu::noinline]] void make_pump_ready() noexcept {
        if (!Job::linked()) core_.make_ready(*this);
    }

    static void pump(Job& job);

    // True if there is more to do than was done. The user's code throws into its node; what comes
    // out here is the run's own trouble.
    bool work() noexcept;
    bool work_on();

    void push_finished(NodeCore& node) noexcept {
        finished_.push(node);
        queued_ = true;
    }
    [[nodiscard]] bool has_queued() const noexcept {
        return !line_.empty() || !finished_edges_.empty() || !finished_.empty();
    }

    // Is code of the user's what comes next, if anything does?
    [[nodiscard]] bool comes_to_code() const noexcept {
        return (!queued_ || !has_queued()) && (ready_.empty() || runs_code(*ready_.front()));
    }

    // The reader goes on here, and not in a turn of the loop of its own. True if it waits again.
    bool tell_reader();

    [[nodiscard]] bool runs_code(const NodeCore& node) const noexcept;

    // Readers that will not start hold no chunk.
    void leave_unstarted() noexcept;
    // The run's own trouble: nothing more starts, and what runs is cancelled.
    void give_up(std::exception_ptr error) noexcept;
    // After that only what waits is ended. True if there is more to do.
    bool end_fatally();

    [[nodiscard]] bool reader_waits() const noexcept {
        return !events_.empty() && waiter_ != nullptr && !dropped_ && !frozen_;
    }

    // ---- a node's life ------------------------------------------------------------------------

    // The first touch in this run; false for a node that is no part of it.
    bool touch(NodeCore& node);
    // The same, when the last edge of the node is new and will be counted apart.
    bool touch_without_last(NodeCore& node);
    void reset(NodeCore& node);
    void begin_lap(NodeCore& node, std::uint32_t stamp) noexcept;
    static void reset_specials(NodeCore& node) noexcept;
    [[nodiscard]] static bool has_former(const NodeCore& node) noexcept;
    static void drop_former(NodeCore& node) noexcept;
    // The same of a node that never began: in a loop its former output may be read still.
    static void drop_unread_former(NodeCore& node) noexcept;
    static void drop_former_error(NodeCore& node) noexcept;

    [[nodiscard]] bool is_settled(const NodeCore& node) const noexcept;

    void make_ready(NodeCore& node) noexcept;
    void enqueue(NodeCore& node) noexcept {
        if (node.queued) return;
        node.queued = true;
        ready_.push(node);
    }
    void count_down(NodeCore& node) noexcept;
    void go_on(SlotAwaiter& waiter);

    // An edge of the child was not taken.
    static void block(NodeCore& child) noexcept { child.blocked = true; }
    [[nodiscard]] static bool stands(const InEdge& edge) noexcept;
    // Do its edges and its trigger let the node run?
    [[nodiscard]] static bool is_triggered(const NodeCore& node) noexcept;
    // Does it run although the run is stopping?
    [[nodiscard]] bool runs_anyway(const NodeCore& node) const noexcept {
        return stops_ < 2 && node.extras != nullptr && node.extras->trigger == Trigger::all_settled;
    }

    void begin(NodeCore& node);
    // See run_plain.hpp.
    bool run_plain(NodeCore& node);
    bool run_plain_ones(int& budget);
    void become_common() noexcept;
    void leave_plain(NodeCore& node, std::exception_ptr error);
    void leave_stretch(NodeCore& node, NodeCore::Stretch stretch);
    [[nodiscard]] bool is_special() const noexcept {
        return bits_of<std::uint64_t>(static_cast<const RunSpecials&>(*this)) != 0;
    }
    [[nodiscard, gnu::always_inline]] bool interrupted() const noexcept {
        return interrupted_.load(std::memory_order_relaxed);
    }
    void look_ahead(const NodeCore& node) const noexcept;
    void book_start(NodeCore& node);
    void book_end(NodeCore& node);
    void pass_on(NodeCore& child, std::uint32_t stamp);
    void pass_on_all(NodeCore& node);
    void deliver_all_slowly(NodeCore& node);
    // It will not run, and says why by its state.
    void begin_in_vain(NodeCore& node);
    void open_stream(NodeCore& node);
    static void release_forwards(NodeCore& node) noexcept;

    std::coroutine_handle<> start_body(NodeCore& node);

    // The body ended inside the call: a plain function, or one that threw instead of beginning.
    void finish_at_once(NodeCore& node, std::exception_ptr error);
    void finish_executed(NodeCore& node);

    // The body's coroutine has ended.
    void finish(NodeCore& node);

    // The word with which the body ended becomes the node's final state.
    void end_body(NodeCore& node, std::exception_ptr error);

    static bool is_failure_of_producer(const NodeCore& node, const NodeError& failure);
    void fail_with(NodeCore& node, std::exception_ptr error);
    void fail(NodeCore& node);

    static void set_skip_reason(NodeCore& node, std::string why);
    static void find_skip_cause(NodeCore& node);
    void skip_blocked(NodeCore& node);

    // The node's final state: told, counted, and passed on to its children.
    void settle(NodeCore& node, NodeState state);
    void settle_lap(NodeCore& node);
    void deliver_all(NodeCore& node);
    void record_end(NodeCore& node, NodeState state);

    void deliver(NodeCore& parent, const OutEdge& edge);
    // Those edges of the child whose parents have settled.
    void deliver_settled(NodeCore& child);

    // False if the edge's transform waits, or has failed the child.
    bool transform(NodeCore& parent, NodeCore& child, Forward& forward);

    void finish_edge(EdgeTask& finished);
    void end_edge(EdgeTask& task);

    // What an edge threw at the parent's end.
    void edge_threw(const NodeCore& parent, NodeCore& child, Forward& forward,
                    std::exception_ptr cause);
    static void count_down_silently(NodeCore& node) noexcept { --node.pending; }

    void end_unstarted(NodeCore& node) noexcept;

    // Nests the exception that is being handled.
    static std::exception_ptr make_edge_error(const NodeCore& parent, const NodeCore& child,
                                              const Forward& forward);

    // ---- running again ------------------------------------------------------------------------

    // The parent, which runs, has a new edge to the child, which has settled.
    void close_loop(NodeCore& parent, NodeCore& child);
    // A node that has settled is pending once more, until its parents have settled again and what
    // reads its former output has as well.
    void run_again(NodeCore& node, std::uint32_t wave);
    [[nodiscard]] FlatList<NodeCore*> settled_children(const NodeCore& node) const;
    [[nodiscard]] bool is_loop(const NodeCore& parent, const NodeCore& child) const noexcept;
    [[nodiscard]] bool leads_to(NodeCore& from, const NodeCore& to) const;
    // Of two edges that fill the same, the one made before gives way to the last.
    void drop_replaced_edges(NodeCore& node);
    // Those that closed a loop in a lap before, and give nothing any more.
    void drop_stale_edges(NodeCore& node);
    void drop_edge(NodeCore& node, std::uint32_t position);
    void forget_end(NodeCore& node) noexcept;
    // Who reads the former output of a node that will run again?
    void hold_back_for_readers(NodeCore& node);
    [[nodiscard]] bool reads_former(const NodeCore& node, const NodeCore& parent) const noexcept;
    void release_reader(const NodeCore& parent, const NodeCore& node) noexcept;
    // The node has settled (null: a transform has ended): it reads no former output any more.
    void release_readers(const NodeCore* node) noexcept;
    // Will a parent of the node, though it has settled, run again for the same reason as the node?
    [[nodiscard]] bool awaits_wave(NodeCore& node) noexcept;
    [[nodiscard]] static bool began_wave(const NodeCore& node, std::uint32_t wave) noexcept;
    void retry_wave_waiters() noexcept;

    // ---- streams ------------------------------------------------------------------------------

    // Its co_yield is the last thing that the producer does.
    bool ends_here(NodeCore& node) noexcept;
    // The chunk goes to all of its readers. True: the producer stays suspended at it.
    bool give(NodeCore& node, Stream& stream, void* item);
    // Lets the loop turn now and then, so that a stop or a timer can reach an endless generator.
    bool let_turn(NodeCore& node) {
        if (++chunks_in_a_row_ % 256 != 0) return false;
        park(node);
        unpark(node);
        return true;
    }
    void drop_events() noexcept;

    // ---- waiting nodes ------------------------------------------------------------------------

    void activate(NodeCore& node) {
        node.pending = static_cast<std::uint32_t>(active_.size());
        active_.push_back(&node);  // there is room for one,
        active_.reserve_one();     // always
    }
    void deactivate(NodeCore& node) noexcept {
        if (node.pending < active_.size() && active_[node.pending] == &node) {
            active_.back()->pending = node.pending;
            active_[node.pending] = active_.back();
            active_.pop_back();
        }
        node.pending = 0;
    }

    [[gnu::always_inline]] void park(NodeCore& node) {
        node.phase = Phase::parked;
        --slots_;
        if (node.extras != nullptr && node.extras->timer != nullptr) node.extras->timer->pause();
        schedule();  // a place under max_concurrency is free
    }
    void unpark(NodeCore& node) noexcept {
        enqueue(node);
        schedule();
    }
    void resume_parked(NodeCore& node);

    void cancel_active() noexcept;

    // ---- runs inside runs, see run_visit.hpp --------------------------------------------------

    using Ask = Waiter::Ask;
    // Where a visit has come to, of its executing node, those that wait and its edges.
    struct VisitPlace {
        enum class Stage : unsigned char { none, executing, waiting, over };
        Stage stage = Stage::none;
        std::size_t cursor = 0;
        Run* next = nullptr;
    };
    [[nodiscard]] VisitPlace& visit_place(Ask ask) noexcept {
        return visit_places_[static_cast<std::size_t>(ask)];
    }
    bool visit(Ask ask) noexcept;
    bool visit_next(Ask ask) noexcept;
    void end_visit(Ask ask) noexcept;
    bool ask(NodeCore& node, Ask ask) noexcept;
    bool ask_edges(Ask ask) noexcept;

    // ---- telling ------------------------------------------------------------------------------

    void set_state(NodeCore& node, NodeState state) {
        const NodeState before = std::exchange(node.state, state);
        if (observed_) observe(node, before, nullptr);
    }
    void observe(NodeCore& node, NodeState before, const NodeError* error);
    // What they throw comes out where the run can deal with it.
    template <class Call>
    void for_each_observer(Call&& call) noexcept {
        const bool inside = std::exchange(observing_, true);
        for (Observer* observer : options_.observers) {
            try {
                call(*observer);
            } catch (...) {
                if (observer_error_ == nullptr) observer_error_ = std::current_exception();
                schedule();
            }
        }
        observing_ = inside;
    }

    void tell(EventKind kind, NodeCore& node) { events_.push(EventRecord(kind, node)); }
    void tell_error(EventKind kind, NodeCore& node, Owned<NodeError> error,
                    std::chrono::nanoseconds delay);
    void record(FlatList<NodeCore*>& list, EventKind kind, NodeCore& node) {
        list.push_back(&node);
        if (options_.streaming) tell(kind, node);
    }

    // The time, read once between two pieces of the user's code.
    EventLoop::TimePoint boundary() {
        if (!std::exchange(boundary_known_, true)) boundary_ = loop_.now();
        return boundary_;
    }

    static void describe(WaitList& list, std::string& names) {
        for (const NodeCore* node : static_cast<Run&>(list).active_) {
            if (!names.empty()) names += ", ";
            names += in_quotes(node->id);
        }
        static_cast<Run&>(list).edge_tasks_.for_each([&names](const EdgeTask& task) {
            if (!names.empty()) names += ", ";
            names += "the edge " + in_quotes(task.parent.id) + " -> " + in_quotes(task.child.id);
        });
    }

    // ---- nodes made while the run is on -------------------------------------------------------

    void meet_edge(NodeCore& parent, const OutEdge& edge);
    // Makes the node, what it leads to and what that needs, part of the run.
    void join(NodeCore& first);
    [[nodiscard]] bool is_late_pipe(const InEdge& edge) const noexcept;

    // ---- the end ------------------------------------------------------------------------------

    void end();
    void schedule_again() noexcept { core_.make_ready(*this); }

    // Edges made during the run can form a cycle: its nodes would wait for ever.
    void fail_stuck();
    void fail_stuck(NodeCore& node, const std::string& why);
    [[nodiscard]] NodeCore* waits_for(const NodeCore& node) const noexcept;

    // The wiring is again as it was, and the graph is free for another run.
    void leave() noexcept;

    // ---- a run that was dropped ---------------------------------------------------------------

    void empty() noexcept;
    void abandon_all() noexcept;
    [[nodiscard]] static bool streams(const NodeCore& node) noexcept;
    void end_stream(NodeCore& node) noexcept;
    void abandon(NodeCore& node) noexcept;
    void take_hold() noexcept;
    void let_go() noexcept;
    void destroy(NodeCore& node) noexcept;
    // What was abandoned while it executed has come to an end or to a co_yield.
    void let_finished_go() noexcept;
    void mark_unsettled() noexcept;
    void free_graph_early() noexcept;
    void destroy_producers() noexcept;
    void unref() noexcept;

    EventLoop& loop_;
    LoopCore& core_;
    RunOptions options_;
    std::uint32_t plan_id_;
    std::uint32_t stamp_;
    std::uint32_t references_ = 1;
    // By another thread, whose stop() lies in the loop's mailbox.
    std::atomic<bool> interrupted_{false};
    bool pumping_ = false;
    bool observed_ = false;
    bool keeps_book_ = false;   // of times, or of events
    bool looks_ahead_ = false;  // see look_ahead.hpp
    bool telling_ = false;      // the reader runs inside the pump
    unsigned stops_ = 0;        // how often it was asked for
    bool cancelled_ = false;    // the awaiting coroutine was cancelled
    bool ended_ = false;
    bool left_ = false;  // the graph is free again
    bool boundary_known_ = true;
    ReadyQueue ready_;
    LinkList<SlotAwaiter> line_;  // started nodes that wait for a place again
    NodeQueue finished_;
    std::uint32_t settled_ = 0;
    std::size_t slots_ = 0;  // nodes that count against max_concurrency
    unsigned chunks_in_a_row_ = 0;
    NodeCore* executing_ = nullptr;  // its first stretch, or the one after a chunk
    bool transforming_ = false;      // in the plain transform of an edge
    NodeCore* held_by_ = nullptr;    // whose chunk the reader holds
    HeldChunk held_;
    NodeCore* settling_ = nullptr;  // whose edges are being delivered, from cursor_ to end_
    std::uint32_t cursor_ = 0;
    std::uint32_t end_ = 0;
    FlatList<NodeCore*> active_;  // started, and waiting
    LinkList<EdgeTask> edge_tasks_;
    LinkList<EdgeTask> finished_edges_;
    EventQueue events_;
    Waiter* waiter_ = nullptr;   // the coroutine that awaits the end, or the next event
    Context* reaper_ = nullptr;  // of a frozen run: the outermost that is to be destroyed
    VisitPlace visit_places_[Waiter::asks];
    std::exception_ptr fatal_;
    Rewiring rewiring_;
    // A node that will run again, and those that still read its former output.
    struct Readers {
        NodeCore* read;
        FlatList<const NodeCore*> readers;
    };
    FlatList<Readers> readers_;
    FlatList<NodeCore*> ran_again_;
    std::uint32_t waves_ = 0;
    std::size_t running_again_ = 0;      // that have not settled yet
    FlatList<NodeCore*> wave_waiters_;   // see awaits_wave
    FlatList<const NodeCore*> visited_;  // its stack
    struct Loop {
        const NodeCore* parent;
        const NodeCore* child;
    };
    FlatList<Loop> loops_;           // edges that closed one
    FlatList<NodeCore*> streaming_;  // producers whose chunks go through pipes
    std::exception_ptr observer_error_;
    bool observing_ = false;  // an observer is being told something
    EventLoop::TimePoint started_{};
    EventLoop::TimePoint boundary_{};
    Shared<ReportData> report_ = make_shared_object<ReportData>();
};

inline void EdgeTask::reap() noexcept { run_.reap(*this); }
inline void EdgeTask::on_done(void* target) noexcept {
    auto& task = *static_cast<EdgeTask*>(target);
    task.run_.edge_done(task);
}

}  // namespace grafo::detail
