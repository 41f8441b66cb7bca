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
    own.stage =
        VisitPlace::Stage::executing;  // or once more from there, if it is told so meanwhile
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

inline bool Run::ask(NodeCore& node, Ask ask) noexcept {
    switch (ask) {
        case Ask::cancel: cancel(node); break;
        case Ask::busy: return node.phase != Phase::parked && node.Context::busy();
        case Ask::freeze: node.freeze(); break;
        case Ask::drop: node.drop_below(); break;
    }
    return false;
}

inline bool Run::ask_edges(Ask ask) noexcept {
    bool busy = false;
    edge_tasks_.for_each([&](EdgeTask& task) {
        switch (ask) {
            case Ask::cancel:
                if (!runs_anyway(task.child)) task.cancel();
                break;
            case Ask::busy: busy = busy || task.busy(); break;
            case Ask::freeze: task.freeze(); break;
            case Ask::drop: task.drop_below(); break;
        }
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
