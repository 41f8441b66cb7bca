#pragma once
#include <cstddef>
#include <utility>

#include <grafo/detail/run.hpp>

// Runs inside runs.
//
// What is asked of the coroutine that awaits a run is asked of the run's own nodes, some of which
// await runs as well. To take no stack in their depth, such a run is only put on the list of the
// visit that is on, above the run that its node belongs to, and the visit goes there next: what is
// inside a node comes before the node after it. Of a node's own branches those that await no run
// come first.
namespace grafo::detail {

// The runs whose nodes have not all been asked yet, the innermost first.
struct RunVisit {
    Run* first = nullptr;
    Run** place = nullptr;  // where the next run goes; null while no visit is on
};

// The visits that a thread is on, one of each kind at most.
struct RunVisits {
    RunVisit of[Waiter::asks];
};
inline constinit thread_local RunVisits current_visits{};

[[nodiscard]] inline RunVisit& current_visit(Waiter::Ask ask) noexcept {
    return current_visits.of[static_cast<std::size_t>(ask)];
}

// What is asked while it lives is asked at once.
class VisitsPaused {
public:
    VisitsPaused() noexcept : paused_(std::exchange(current_visits, RunVisits())) {}
    VisitsPaused(const VisitsPaused&) = delete;
    VisitsPaused& operator=(const VisitsPaused&) = delete;
    ~VisitsPaused() { current_visits = paused_; }

private:
    const RunVisits paused_;
};

// True if the visit found something busy, and then it has ended.
inline bool Run::visit(Ask ask) noexcept {
    RunVisit& visit = current_visit(ask);
    VisitPlace& own = visit_place(ask);
    const bool outermost = visit.place == nullptr;
    if (outermost) visit.place = &visit.first;
    if (own.stage == VisitPlace::Stage::none) {
        ++references_;
        own.next = std::exchange(*visit.place, this);
        visit.place = &own.next;
    }
    // Or from there once more, if it is told so meanwhile.
    own.stage = VisitPlace::Stage::executing;
    own.cursor = 0;
    if (!outermost) return false;
    bool found = false;
    while (visit.first != nullptr) {
        visit.place = &visit.first;
        Run& run = *visit.first;
        found = found || run.visit_next(ask);
        if (visit.first != &run && !found) continue;  // first those that it has come upon
        if (found || run.visit_place(ask).stage == VisitPlace::Stage::over) {
            visit.first->end_visit(ask);
        }
    }
    visit.place = nullptr;
    return found;
}

inline bool Run::visit_next(Ask ask) noexcept {
    VisitPlace& own = visit_place(ask);
    switch (own.stage) {
        case VisitPlace::Stage::executing:
            own.stage = VisitPlace::Stage::waiting;
            return executing_ != nullptr && this->ask(*executing_, ask);
        case VisitPlace::Stage::waiting:
            if (own.cursor < active_.size()) {
                NodeCore& node = *active_[own.cursor++];
                return &node != executing_ && this->ask(node, ask);
            }
            own.stage = VisitPlace::Stage::over;
            return ask_edges(ask);
        default: return false;
    }
}

// Nothing is asked of it any more, nor of what it waits for.
inline void Run::end_visit(Ask ask) noexcept {
    VisitPlace& own = visit_place(ask);
    current_visit(ask).first = own.next;
    own.stage = VisitPlace::Stage::none;
    if (ask == Ask::cancel && !dropped_) schedule();  // in its turn: after what it has cancelled
    if (ask == Ask::drop) empty();
    unref();
}

// The answer is false to all but `busy`.
inline bool ask_context(Context& context, Waiter::Ask ask) noexcept {
    switch (ask) {
        case Waiter::Ask::cancel: context.cancel(); break;
        case Waiter::Ask::busy: return context.busy();
        case Waiter::Ask::freeze: context.freeze(); break;
        case Waiter::Ask::drop: context.drop_below(); break;
    }
    return false;
}

inline bool Run::ask(NodeCore& node, Ask ask) noexcept {
    if (ask == Ask::cancel) {
        if (runs_anyway(node)) return false;
        node.stop_asked = true;
    }
    if (ask == Ask::busy && node.phase == Phase::parked) return false;
    return ask_context(node, ask);
}

inline bool Run::ask_edges(Ask ask) noexcept {
    bool busy = false;
    edge_tasks_.for_each([&](EdgeTask& task) {
        if (ask == Ask::cancel && runs_anyway(task.child)) return;
        busy = busy || ask_context(task, ask);
    });
    return busy;
}

inline void Run::cancel_active() noexcept { visit(Ask::cancel); }

inline bool Run::busy() noexcept {
    return executing_ != nullptr || transforming_ || visit(Ask::busy);
}

inline void Run::freeze(Context& awaiting) noexcept {
    frozen_ = true;
    observed_ = false;
    const Run* const above = current_visit(Ask::freeze).first;
    reaper_ = above != nullptr ? above->reaper_ : &awaiting;
    visit(Ask::freeze);
}

}  // namespace grafo::detail
