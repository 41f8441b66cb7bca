#pragma once
#include <coroutine>
#include <exception>
#include <utility>

#include <grafo/async_generator.hpp>
#include <grafo/detail/executor_state.hpp>
#include <grafo/detail/make_plan.hpp>
#include <grafo/detail/run.hpp>
#include <grafo/detail/run_again.hpp>
#include <grafo/detail/run_end.hpp>
#include <grafo/detail/run_loop.hpp>
#include <grafo/detail/run_nodes.hpp>
#include <grafo/detail/run_plain.hpp>
#include <grafo/detail/run_streams.hpp>
#include <grafo/detail/run_visit.hpp>
#include <grafo/detail/run_wiring.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/run_report.hpp>
#include <grafo/task.hpp>

namespace grafo::detail {

inline Plan& ExecutorState::current_plan() {
    if (!is_current(plan_, given_)) {
        make_plan(plan_, given_);
    } else {
        check_free(plan_);
    }
    return plan_;
}

// A run in the frame of the coroutine that awaits it.
class RunHolder {
public:
    RunHolder(ExecutorState& state, RunControl& control, bool streaming)
        : state_(state), control_(control) {
        RunOptions options = state.options;
        options.streaming = streaming;
        // Lets go of what only the last report held, before the plan looks at the graph.
        if (state.runs == 0) state.report = make_shared_object<ReportData>();
        Plan& plan = state.current_plan();
        run_ = new Run(plan, std::move(options));
        state.report = run_->report();
        ++state.runs;
        if (control.begin(*run_, Mailbox::current())) run_->stop();
    }
    RunHolder(const RunHolder&) = delete;
    RunHolder& operator=(const RunHolder&) = delete;
    ~RunHolder() {
        --state_.runs;
        control_.end();
        run_->drop();
    }
    Run* operator->() const noexcept { return run_; }
    Run& operator*() const noexcept { return *run_; }

private:
    ExecutorState& state_;
    RunControl& control_;
    Run* run_;
};

// Waits for the end of a run, or for its next event as well. A cancellation stops the run, and is
// thrown when that has ended.
class RunAwaiter : Waiter {
public:
    RunAwaiter(Run& run, bool for_event) noexcept
        : Waiter(&RunAwaiter::on_ask), run_(run), for_event_(for_event) {}
    ~RunAwaiter() { run_.set_waiter(nullptr); }

    bool await_ready() const noexcept { return ready(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        const Begin begun = begin(coroutine);
        if (begun == Begin::dropped) {
            run_.freeze(*context);  // it was made, and starts nothing
            return true;
        }
        if (begun == Begin::cancelled) {
            gave_up = false;
            context->waiter = this;
            run_.cancel_from_outside();
        }
        run_.set_waiter(this);
        return true;
    }
    void await_resume() {
        context = nullptr;  // the next await may be in another one, and this one gone by then
        if (run_.cancelled()) throw Cancelled();
    }

private:
    [[nodiscard]] bool ready() const noexcept {
        return run_.ended() || (for_event_ && run_.has_event() && !run_.cancelled());
    }
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<RunAwaiter&>(waiter);
        switch (ask) {
            case Ask::cancel:
                if (self.linked()) return false;  // about to be resumed
                self.run_.cancel_from_outside();
                return true;
            case Ask::busy: return self.run_.busy();
            case Ask::freeze: self.run_.freeze(*self.context); break;
            case Ask::drop: self.run_.drop_inside(); break;
        }
        return false;
    }

    Run& run_;
    bool for_event_;
};

// Awaits by an awaiter that lives longer, and serves for each event.
class AwaitRun {
public:
    explicit AwaitRun(RunAwaiter& awaiter) noexcept : awaiter_(awaiter) {}
    bool await_ready() const noexcept { return awaiter_.await_ready(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) const {
        return awaiter_.await_suspend(coroutine);
    }
    void await_resume() const { awaiter_.await_resume(); }
    using grafo_awaitable = void;

private:
    RunAwaiter& awaiter_;
};

template <class>
Task<RunReport> execute(Shared<ExecutorState> state, ExecutorState::Ticket ticket, bool throwing) {
    const RunHolder run(*state, ticket.control(), false);
    RunAwaiter end(*run, false);
    co_await AwaitRun(end);
    if (run->fatal() != nullptr) std::rethrow_exception(run->fatal());
    RunReport report(run->report());
    if (throwing) report.throw_if_failed();
    co_return report;
}

template <class>
AsyncGenerator<Event> stream(Shared<ExecutorState> state, ExecutorState::Ticket ticket) {
    const RunHolder run(*state, ticket.control(), true);
    RunAwaiter next(*run, true);
    for (;;) {
        co_await AwaitRun(next);
        if (!run->has_event()) break;
        Event event = run->take_event();
        try {
            co_yield event;
        } catch (const Cancelled&) {
            run->cancel_from_outside();  // the reader is ending: the run first
        }
        run->release();
    }
    if (run->fatal() != nullptr) std::rethrow_exception(run->fatal());
    const RunReport report(run->report());
    report.throw_if_failed();
}

}  // namespace grafo::detail
