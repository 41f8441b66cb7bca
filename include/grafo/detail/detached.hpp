#pragma once
#include <coroutine>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/task.hpp>

namespace grafo::detail {

struct LoopAccess;

// In the list of all that a loop has spawned.
struct Registered : Link {};

// A task that nobody awaits: spawned, or the one that `EventLoop::run` was given.
class Detached : public Context, public Job {
public:
    Detached(std::coroutine_handle<> coroutine, PromiseBase& promise) noexcept
        : Job(&Detached::advance), coroutine_(coroutine) {
        promise.context = this;
        promise.tell_end(&Detached::on_done, this);
    }

    [[nodiscard]] bool done() const noexcept { return done_; }
    // The body has ended, but for `finish`.
    [[nodiscard]] bool at_end() const noexcept { return at_end_ && !done_; }
    void finish() noexcept {
        unlink();
        running = false;
        done_ = true;
        ended();
    }
    // Destroys the frames whatever they wait for: nothing is out any more that could use them.
    void drop_for_good() noexcept { end(); }
    void reap() noexcept final {
        if (!busy()) end();
    }

protected:
    ~Detached() = default;
    virtual void destroy_frame() noexcept = 0;
    // The task has ended or was destroyed; may delete this.
    virtual void ended() noexcept {}

private:
    static void advance(Job& job) {
        auto& self = static_cast<Detached&>(job);
        if (!self.running) {
            self.running = true;
            LoopCore::current->enter(&self);
            LoopCore::current->resume(self.coroutine_);
        } else {
            self.finish();
        }
    }
    // Inside the final suspension, where the frame must not be destroyed yet.
    static void on_done(void* target) noexcept {
        auto& self = *static_cast<Detached*>(target);
        self.at_end_ = true;
        LoopCore::current->make_ready(self);
    }
    void end() noexcept {
        unlink();
        running = false;
        done_ = true;
        unwind(*this);
        destroy_frame();
        ended();
    }

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
