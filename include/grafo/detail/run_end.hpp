#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/run.hpp>
#include <grafo/detail/run_visit.hpp>

// How a run ends, and what happens when its holder is gone before that.
namespace grafo::detail {

inline void Run::drop() noexcept {
    empty();
    free_graph_early();
    unref();
}

// Who reads the events may drop the run inside the pump: but for that and the caller, nobody needs
// the graph then.
[[gnu::always_inline]] inline void Run::free_graph_early() noexcept {
    if (!dropped_ || !telling_ || references_ != 2 || left_) return;
    destroy_producers();
    leave();
    report_ = nullptr;
}

// Of what its nodes hold.
inline void Run::empty() noexcept {
    if (dropped_) return;
    if (ended_) {
        release();
        drop_events();
        return;
    }
    dropped_ = true;
    observed_ = false;
    Job::unlink();
    WaitList::unlink();
    waiter_ = nullptr;
    release();
    drop_events();
    abandon_all();
    while (NodeCore* node = finished_.pop()) destroy(*node);
    mark_unsettled();
}

inline void Run::reap(NodeCore& node) noexcept {
    if (node.Context::busy()) return;
    if (dropped_) {
        node.drop_below();
        destroy(node);
        let_go();
    } else if (frozen_ && reaper_ != nullptr) {
        reaper_->reap();
    }
}

inline void Run::reap(EdgeTask& task) noexcept {
    if (task.busy()) return;
    if (dropped_) {
        task.drop_below();
        task.forward.reset();
        delete &task;
        let_go();
    } else if (frozen_ && reaper_ != nullptr) {
        reaper_->reap();
    }
}

inline void Run::end() {
    if (fatal_ != nullptr) {
        mark_unsettled();
    } else {
        fail_stuck();
        if (!finished_.empty() || !ready_.empty()) return schedule_again();
    }
    ended_ = true;
    const EventLoop::TimePoint now = loop_.now();
    report_->elapsed = now - started_;
    leave();
    for_each_observer([&](Observer& o) { o.run_ended(RunReport(report_), now); });
    if (observer_error_ != nullptr && fatal_ == nullptr) fatal_ = std::move(observer_error_);
    if (waiter_ != nullptr) core_.make_ready(*std::exchange(waiter_, nullptr));
}

inline void Run::fail_stuck() {
    if (!wave_waiters_.empty()) {  // they wait for better arguments, but have some
        const FlatList<NodeCore*> waiters = std::move(wave_waiters_);
        for (NodeCore* node : waiters) {
            if (node->phase != Phase::idle || node->state != NodeState::pending) continue;
            if (node->held_back || node->pending > 0) continue;
            set_state(*node, NodeState::ready);
            enqueue(*node);
        }
        if (!ready_.empty()) return;
    }
    FlatList<NodeCore*> candidates = rewiring_.joined_or_rewired();
    if (!ran_again_.empty()) {  // then it may be any that waits for one of them
        for (const GraphPin& pin : report_->pins) {
            candidates.append(pin.graph().nodes);
        }
    }
    FlatList<NodeCore*> suspects;
    for (NodeCore* node : candidates) {
        const bool waits = has(*node) && !is_settled(*node) && node->phase == Phase::idle;
        if (waits) suspects.push_back(node);
    }
    for (NodeCore* suspect : suspects) {
        const std::uint32_t mark = Graph::next_mark();
        FlatList<NodeCore*> trail;
        NodeCore* at = suspect;
        for (; at != nullptr && at->mark != mark; at = waits_for(*at)) {
            at->mark = mark;
            trail.push_back(at);
        }
        if (at == nullptr) continue;
        trail.erase_front(trail.find_last(at));
        bool reads = false;
        FlatList<const NodeCore*> cycle;
        for (std::size_t i = trail.size(); i-- > 0;) {
            reads = reads || trail[i]->held_back;
            cycle.push_back(trail[i]);
        }
        const std::string why =
            "waits for itself: the edges made during the run form a cycle: " + cycle_text(cycle) +
            (reads ? " (a node that runs again waits for those that read its former output)" : "");
        for (NodeCore* node : trail) fail_stuck(*node, why);
        return;  // what depends on them goes on
    }
    for (NodeCore* node : suspects) {
        fail_stuck(*node, "waits for itself: the edges made during the run form a cycle");
    }
}

inline void Run::fail_stuck(NodeCore& node, const std::string& why) {
    touch(node);
    if (node.phase == Phase::finished) return;
    node.held_back = false;
    if (node.error() == nullptr) {
        node.need_extras().error =
            std::make_exception_ptr(CycleError("node " + in_quotes(node.id) + " " + why));
    }
    end_unstarted(node);
}

// Some node that has to settle before this one can start.
inline NodeCore* Run::waits_for(const NodeCore& node) const noexcept {
    for (const InEdge& edge : node.in) {
        if (!is_settled(*edge.parent) && !reads_former(node, *edge.parent)) return edge.parent;
    }
    for (const Readers& entry : readers_) {
        if (entry.read == &node && !entry.readers.empty()) {
            return const_cast<NodeCore*>(entry.readers[0]);
        }
    }
    return nullptr;
}

inline void Run::leave() noexcept {
    Job::unlink();
    WaitList::unlink();
    rewiring_.restore();
    left_ = true;
    plan_id_ = no_plan;  // what is wired from here on stays
    rewiring_.let_go();
    for (const GraphPin& pin : report_->pins) pin.graph().runs.erase(this);
    for (std::size_t i = 0; i < report_->pins.size(); ++i) {  // settling may clear the pins
        Graph& graph = report_->pins[i].graph();
        if (!graph.cuts.empty() || graph.unsure) settle_graph(graph);
    }
}

inline void Run::abandon_all() noexcept {
    const VisitsPaused paused;  // it may be a destructor that lets go of the run
    if (executing_ != nullptr) {
        abandon(*executing_);
    }
    const FlatList<NodeCore*> nodes = std::move(active_);
    for (NodeCore* node : nodes) {
        if (node == executing_) continue;
        if (node->phase != Phase::parked && node->Context::busy()) {
            abandon(*node);
        } else {
            node->drop_below();
            if (!streams(*node)) destroy(*node);
        }
    }
    edge_tasks_.for_each([this](EdgeTask& task) {
        if (task.busy()) {
            task.freeze();
            take_hold();
        } else {
            task.drop_below();
            delete &task;
        }
    });
    while (!finished_edges_.empty()) delete &finished_edges_.front();
    // Readers before their producers: they may look at the chunk to the last.
    for (std::size_t i = streaming_.size(); i-- > 0;) end_stream(*streaming_[i]);
}

// Is it a producer that has begun?
inline bool Run::streams(const NodeCore& node) noexcept {
    return node.feeds_pipes && node.stream()->open;
}

inline void Run::end_stream(NodeCore& node) noexcept {
    Stream& stream = *node.stream();
    bool looked_at = false;
    for (PipeEnd* end : stream.ends) {
        if (end->reader().stamp == stamp_ && end->reader().abandoned) {
            looked_at = looked_at || end->holds_chunk();
            end->drop();
        } else {
            end->leave();
        }
    }
    stream.ends.clear();
    const bool waits = node.phase == Phase::body || node.phase == Phase::parked;
    if (!waits || node.abandoned) return;
    if (looked_at && node.phase == Phase::parked) {
        node.abandoned = true;  // until the last reader is gone
    } else {
        destroy(node);
    }
}

inline void Run::abandon(NodeCore& node) noexcept {
    node.freeze();
    node.abandoned = true;
    take_hold();
}

inline void Run::take_hold() noexcept {
    ++references_;
    ++core_.abandoned;
}

inline void Run::let_go() noexcept {
    --core_.abandoned;
    unref();
}

inline void Run::destroy(NodeCore& node) noexcept {
    unwind(node);
    node.running = false;
    node.abandoned = false;
    node.phase = Phase::idle;
    node.state = NodeState::cancelled;
    if (node.extras != nullptr) node.extras->driver = Task<>();
    node.destroy_body();
    drop_former(node);
    node.release_arguments();
    release_forwards(node);
}

inline void Run::let_finished_go() noexcept {
    if (!dropped_) {  // it is frozen, and what it has goes with it
        for (NodeCore* node = finished_.front(); node != nullptr; node = node->next) {
            node->running = false;
        }
        if (reaper_ != nullptr) reaper_->reap();
        return;
    }
    while (NodeCore* node = finished_.pop()) {
        node->running = false;
        reap(*node);
    }
    while (!finished_edges_.empty()) {
        EdgeTask& task = finished_edges_.front();
        task.unlink();
        reap(task);
    }
}

inline void Run::mark_unsettled() noexcept {
    for (const GraphPin& pin : report_->pins) {
        for (std::size_t i = 0; i < pin.graph().nodes.size(); ++i) {  // destructors may add some
            NodeCore& node = *pin.graph().nodes[i];
            if (!has(node) || is_settled(node)) continue;
            node.stamp = stamp_;
            node.state = NodeState::cancelled;
            if (node.phase != Phase::idle) continue;
            if (node.owns_forwards) release_forwards(node);
            drop_unread_former(node);
        }
    }
}

// Those that were abandoned until the last of their readers was gone.
inline void Run::destroy_producers() noexcept {
    const FlatList<NodeCore*> producers = std::move(streaming_);
    for (std::size_t i = producers.size(); i-- > 0;) {
        if (producers[i]->abandoned) destroy(*producers[i]);
    }
}

// In line, g++ 12 takes any reference for the last one, and warns of a use after it.
[[gnu::noinline]] inline void Run::unref() noexcept {
    if (references_ > 1) {
        --references_;
        return;
    }
    // The last one stays to the end: destructors wire, and then the run is held again.
    destroy_producers();
    if (!left_) leave();
    delete this;
}

}  // namespace grafo::detail
