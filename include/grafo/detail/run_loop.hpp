#pragma once
#include <exception>
#include <utility>

#include <grafo/detail/run.hpp>
#include <grafo/detail/run_nodes.hpp>
#include <grafo/detail/run_plain.hpp>

// The job of the loop that a run is: what has finished is ended, then the next is started.
namespace grafo::detail {

inline void Run::pump(Job& job) {
    auto& self = static_cast<Run&>(job);
    ++self.references_;
    self.pumping_ = true;
    self.boundary_known_ = false;  // time may have passed
    const bool more = self.work();
    self.pumping_ = false;
    if (more) self.schedule();
    self.unref();
}

inline bool Run::work() noexcept {
    try {
        return work_on();
    } catch (...) {
        executing_ = nullptr;
        settling_ = nullptr;
        give_up(std::current_exception());
        return true;
    }
}

inline void Run::give_up(std::exception_ptr error) noexcept {
    if (fatal_ == nullptr) fatal_ = std::move(error);
    stopping_ = true;
    cancel_active();
    leave_unstarted();
}

inline bool Run::work_on() {
    for (int budget = 128; budget > 0;) {
        if (interrupted()) return true;
        // Before the user's code goes on, the reader sees what has happened, if it waits.
        if (reader_waits() && comes_to_code() && !tell_reader()) return true;
        if (run_plain_ones(budget)) continue;
        --budget;
        if (dropped_ || frozen_) {
            let_finished_go();
            return false;
        }
        queued_ = has_queued();
        if (rewiring_.any_gone()) rewiring_.free_gone();
        if (observer_error_ != nullptr) {
            std::rethrow_exception(std::exchange(observer_error_, nullptr));
        }
        if (NodeCore* finished = finished_.pop(); finished != nullptr) {
            finish(*finished);
            queued_ = has_queued();  // then the short path is free again
        } else if (!finished_edges_.empty()) {
            finish_edge(finished_edges_.front());
        } else if (fatal_ != nullptr) {
            return end_fatally();
        } else if (!line_.empty() && slots_ < options_.max_concurrency) {
            go_on(line_.front());
        } else if (!ready_.empty() && slots_ < options_.max_concurrency) {
            if (options_.shuffled) ready_.shuffle(options_.seed);
            begin(*ready_.pop());
        } else {
            if (active_.empty() && ready_.empty() && edge_tasks_.empty()) end();
            if (!reader_waits()) return false;
            if (!tell_reader()) return true;
        }
    }
    return true;
}

inline bool Run::tell_reader() {
    boundary_known_ = false;
    telling_ = true;
    Waiter::resume(*std::exchange(waiter_, nullptr));
    telling_ = false;
    return waiter_ != nullptr || dropped_;
}

inline void Run::leave_unstarted() noexcept {
    for (NodeCore* node : streaming_) {
        for (PipeEnd* end : node->stream()->ends) {
            if (end->reads() && end->reader().phase == Phase::idle) end->leave();
        }
    }
}

inline bool Run::end_fatally() {
    while (NodeCore* node = ready_.pop()) {
        if (node->phase == Phase::parked) resume_parked(*node);
    }
    if (active_.empty() && finished_.empty() && edge_tasks_.empty()) end();
    return !finished_.empty();
}

}  // namespace grafo::detail
