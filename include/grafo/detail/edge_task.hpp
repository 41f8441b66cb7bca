#pragma once
#include <exception>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/node_core.hpp>
#include <grafo/task.hpp>

namespace grafo::detail {

class Run;

// The transform of an edge while it is a coroutine that waits.
class EdgeTask final : public Context, public Link {
public:
    EdgeTask(Run& run, NodeCore& from, NodeCore& to, Forward& made, Task<>&& task)
        : run_(run), parent(from), child(to), forward(made), task_(std::move(task)) {
        forward.in_use = true;
    }
    ~EdgeTask() { forward.in_use = false; }
    void start(LoopCore& core) {
        PromiseBase& promise = TaskAccess::handle(task_).promise();
        promise.context = this;
        promise.tell_end(&EdgeTask::on_done, this);
        running = true;
        core.resume(TaskAccess::handle(task_));
    }
    inline void reap() noexcept override;
    [[nodiscard]] std::string_view label() const noexcept override { return parent.id; }
    [[nodiscard]] std::exception_ptr error() const noexcept {
        return TaskAccess::handle(task_).promise().result.error();
    }

private:
    static void on_done(void* target) noexcept;
    Run& run_;

public:
    NodeCore& parent;
    NodeCore& child;
    Forward& forward;
    bool removed = false;  // the edge is gone, or the child has begun another lap
    bool again = false;    // and asks for what it makes once more

private:
    Task<> task_;
};

}  // namespace grafo::detail
