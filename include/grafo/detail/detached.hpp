#pragma once
#include <coroutine>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/inline.hpp>
#include <grafo/task.hpp>

namespace grafo::detail {

struct LoopAccess;

// In the list of all that a loop has spawned.
struct Registered : Link {};

// A task that nobody awaits: spawned, or the one that `EventLoop::run` was given.
class Detached : public Context, public Job {
public:
    Detached(std::coroutine_handle<> coroutine, PromiseBase& promise) noexcept;

    [[nodiscard]] bool done() const noexcept { return done_; }
    // The body has ended, but for `finish`.
    [[nodiscard]] bool at_end() const noexcept { return at_end_ && !done_; }
    void finish() noexcept;
    // Destroys the frames whatever they wait for: nothing is out any more that could use them.
    void drop_for_good() noexcept { end(); }
    GRAFO_INLINE void reap() noexcept final;

protected:
    ~Detached() = default;
    virtual void destroy_frame() noexcept = 0;
    // The task has ended or was destroyed; may delete this.
    virtual void ended() noexcept {}

private:
    static void advance(Job& job);
    // Inside the final suspension, where the frame must not be destroyed yet.
    static void on_done(void* target) noexcept;
    void end() noexcept;

    std::coroutine_handle<> coroutine_;
    bool at_end_ = false;
    bool done_ = false;
};

template <class T>
class Root final : public Detached {
public:
    explicit Root(Task<T>&& task)
        : Detached(TaskAccess::handle(task), TaskAccess::handle(task).promise()),
          task_(std::move(task)) {}

    Result<T>& result() noexcept { return TaskAccess::handle(task_).promise().result; }

private:
    void destroy_frame() noexcept override { task_ = Task<T>(); }
    Task<T> task_;
};

}  // namespace grafo::detail
