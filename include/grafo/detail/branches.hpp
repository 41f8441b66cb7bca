#pragma once
#include <coroutine>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/foreign_awaiter.hpp>
#include <grafo/detail/result.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/task.hpp>

// Several tasks inside one await.
//
// A *branch* is a context of its own, with one task, started as a job of the loop. The *set* of the
// branches is the waiter of the coroutine that awaits them: what is asked of that coroutine's
// context (cancel, busy, freeze) it passes on to the branches, and what a dropped branch tells
// (reap) goes up to that context.
//
// Sets inside sets form a tree, which is walked with the cursors that lie in the sets: no stack is
// used in its depth, nor in the number of branches.
namespace grafo::detail {

class BranchSet;

class Branch : public Context, public Job {
public:
    // Something that was in the way of its destruction is over.
    inline void reap() noexcept final;
    [[nodiscard]] inline std::string_view label() const noexcept final;

    // After its end: what its task threw.
    [[nodiscard]] virtual std::exception_ptr error() const noexcept = 0;

    // No await of its task has received the last request to end.
    [[nodiscard]] bool is_pending() const noexcept { return (flags & pending) != 0; }

protected:
    explicit Branch(Step s) noexcept : Job(s) {}
    ~Branch() = default;

    // Lets the task begin, or, after the end of one that was dropped, lets go of it.
    void advance(std::coroutine_handle<> task) {
        if (queued_) {
            queued_ = false;
            running = true;
            LoopCore::current->resume(task);
        } else {
            running = false;
            reap();
        }
    }
    // Inside the final suspension of its task: the frame must not be destroyed yet.
    void end(bool failed) noexcept;
    virtual void destroy_frame() noexcept = 0;

private:
    friend class BranchSet;

    // The set of branches that its task waits for.
    [[nodiscard]] BranchSet* below() const noexcept;
    void destroy() noexcept {
        unlink();
        running = false;
        queued_ = false;
        unwind(*this);
        destroy_frame();
    }

    bool queued_ = false;  // among the loop's jobs, to be started
    BranchSet* set_ = nullptr;
    Branch* next_ = nullptr;  // in the set
};

// A branch and its task.
template <class T>
class TaskBranch final : public Branch {
public:
    TaskBranch() noexcept : Branch(&TaskBranch::on_step) {}

    // May be given another one once that has ended.
    void adopt(Task<T>&& task) {
        if (!task) throw Error("an empty Task was awaited: it was moved from");
        task_ = std::move(task);
        flags = 0;
        TaskPromise<T>& promise = TaskAccess::handle(task_).promise();
        promise.context = this;
        promise.tell_end(&TaskBranch::on_done, this);
    }
    void destroy_frame() noexcept override { task_ = Task<T>(); }
    [[nodiscard]] Result<T>& result() const noexcept {
        return TaskAccess::handle(task_).promise().result;
    }
    [[nodiscard]] std::exception_ptr error() const noexcept override { return result().error(); }

private:
    static void on_step(Job& job) {
        auto& self = static_cast<TaskBranch&>(job);
        self.advance(TaskAccess::handle(self.task_));
    }
    static void on_done(void* target) noexcept {
        auto& self = *static_cast<TaskBranch*>(target);
        self.end(!self.result().has_value());
    }

    Task<T> task_;
};

// The branches and the wait for them. Does not own them: whoever does calls destroy_branches()
// first.
class BranchSet : public Waiter {
public:
    BranchSet(const BranchSet&) = delete;
    BranchSet& operator=(const BranchSet&) = delete;

    // The id of the node that the branches belong to.
    [[nodiscard]] virtual std::string_view label() const noexcept {
        return context != nullptr ? context->label() : std::string_view();
    }

protected:
    BranchSet() noexcept : Waiter(&BranchSet::on_ask) {}
    ~BranchSet() = default;

    void add(Branch& branch) noexcept {
        branch.set_ = this;
        (last_ == nullptr ? first_ : last_->next_) = &branch;
        last_ = &branch;
    }

    // A branch has ended; called inside the final suspension of its task.
    virtual void ended(Branch& branch, bool failed) noexcept = 0;
    // The awaiting coroutine was asked to end; the branches were, too.
    virtual void on_cancel() noexcept {}
    // Nothing here is resumed any more.
    virtual void on_freeze() noexcept {}
    // A branch of a dropped context is not busy any more.
    virtual void reap(Branch& /*branch*/) noexcept { root_->reap(); }

    // Begins the wait; the branches start as jobs of the loop, in order.
    template <class Promise>
    bool wait_for_all(std::coroutine_handle<Promise> coroutine) {
        LoopCore& core = LoopAccess::core(EventLoop::current());
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        for (Branch* branch = first_; branch != nullptr; branch = branch->next_) {
            queue(core, *branch);
        }
        return true;
    }
    void queue(LoopCore& core, Branch& branch) noexcept {
        branch.queued_ = true;
        ++left_;
        core.make_ready(branch);
    }
    // Not among the loop's jobs any more, if it was: it never starts.
    void forget(Branch& branch) noexcept {
        if (!branch.queued_) return;
        branch.queued_ = false;
        branch.unlink();
        --left_;
    }

    // The branches that run are asked to end, each request anew; the others never start.
    void cancel_branches() noexcept {
        forget_queued();
        const auto enter = [](BranchSet& set) {
            if (set.linked()) {  // about to be resumed
                set.context->flags |= Context::pending;
                return false;
            }
            set.be_cancelled();
            return true;
        };
        const auto leaf = [](Branch& branch) {
            branch.cancel();
            return false;
        };
        walk(Context::cancelled, enter, leaf);
    }
    [[nodiscard]] bool any_busy() noexcept {
        return walk(
            0, [](BranchSet&) { return true; }, [](Branch& branch) { return branch.busy(); });
    }
    void freeze_branches() noexcept {
        root_ = context;
        forget_queued();
        on_freeze();
        const auto enter = [root = root_](BranchSet& set) {
            set.root_ = root;
            set.forget_queued();
            set.on_freeze();
            return true;
        };
        const auto leaf = [](Branch& branch) {
            branch.freeze();
            return false;
        };
        walk(Context::dropped, enter, leaf);
    }

    void drop_below_branches() noexcept {
        walk(
            0, [](BranchSet&) { return true; },
            [](Branch& branch) {
                branch.drop_below();
                return false;
            });
    }

    // The frames, from the innermost outwards.
    void destroy_branches() noexcept {
        be_destroyed();
        for (BranchSet* at = this;;) {
            Branch* const branch = at->cursor_;
            if (branch == nullptr) {
                if (at == this) return;
                at = at->above();
                continue;
            }
            if (BranchSet* below = branch->below(); below != nullptr && !below->destroyed_) {
                below->be_destroyed();
                at = below;
                continue;
            }
            at->cursor_ = branch->next_;
            branch->destroy();
        }
    }
    static void destroy(Branch& branch) noexcept { branch.destroy(); }

    // From `ended`: the coroutine that ends hands over to the one that awaits it.
    void hand_over() noexcept {
        context->waiter = nullptr;
        LoopCore::current->next = handle;
    }
    // From elsewhere: the loop resumes it.
    void wake_if_over() noexcept {
        if (left_ == 0 && !linked()) LoopCore::current->make_ready(*this);
    }
    void be_cancelled() noexcept {
        cancelled_ = true;
        forget_queued();
        on_cancel();
        wake_if_over();
    }

    Branch* first_ = nullptr;
    std::size_t left_ = 0;     // queued or running
    bool cancelled_ = false;   // so was the awaiting coroutine, while it waited
    bool destroyed_ = false;   // so are the branches, or soon
    Context* root_ = nullptr;  // of a dropped context: the one that decides

private:
    friend class Branch;

    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<BranchSet&>(waiter);
        if (self.destroyed_) return false;
        switch (ask) {
            case Ask::cancel:
                if (self.linked()) return false;  // about to be resumed
                self.be_cancelled();
                self.cancel_branches();
                return true;
            case Ask::busy: return self.any_busy();
            case Ask::freeze: self.freeze_branches(); break;
            case Ask::drop: self.drop_below_branches(); break;
        }
        return false;
    }

    void forget_queued() noexcept {
        for (Branch* branch = first_; branch != nullptr; branch = branch->next_) forget(*branch);
    }
    void be_destroyed() noexcept {
        destroyed_ = true;
        cursor_ = first_;
    }
    // The set that the awaiting context is a branch of; only where a walk came from there.
    [[nodiscard]] BranchSet* above() const noexcept { return static_cast<Branch*>(context)->set_; }

    // Calls enter(set) for the sets below, whose branches are left out if that is false, and
    // leaf(branch) for the branches that run and wait for no set, until it is true. The others get
    // the flag.
    template <class Enter, class Leaf>
    bool walk(unsigned char flag, const Enter& enter, const Leaf& leaf) noexcept {
        cursor_ = first_;
        for (BranchSet* at = this;;) {
            Branch* const branch = at->cursor_;
            if (branch == nullptr) {
                if (at == this) return false;
                at = at->above();
                continue;
            }
            at->cursor_ = branch->next_;
            if (!branch->running) continue;
            if (BranchSet* below = branch->below(); below == nullptr) {
                if (leaf(*branch)) return true;
            } else if (!below->destroyed_) {
                branch->flags = static_cast<unsigned char>(branch->flags | flag);
                if (!enter(*below)) continue;
                below->cursor_ = below->first_;
                at = below;
            }
        }
    }

    Branch* last_ = nullptr;
    Branch* cursor_ = nullptr;  // of a walk
};

inline void Branch::reap() noexcept {
    if (!busy()) set_->reap(*this);
}
inline std::string_view Branch::label() const noexcept { return set_->label(); }
inline void Branch::end(bool failed) noexcept {
    if ((flags & dropped) != 0) {
        LoopCore::current->make_ready(*this);
        return;
    }
    running = false;
    set_->ended(*this, failed);
}
inline BranchSet* Branch::below() const noexcept {
    if (waiter == nullptr || waiter->control != &BranchSet::on_ask) return nullptr;
    return static_cast<BranchSet*>(waiter);
}

// ---- what may be given as a branch --------------------------------------------------------------

template <class A>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<Task<T>> = true;

template <class A>
inline constexpr bool is_named_task = false;
template <class T>
inline constexpr bool is_named_task<Task<T>&> = true;
template <class T>
inline constexpr bool is_named_task<const Task<T>&> = true;

// What a branch that awaits an A gives; A is an lvalue reference for a named awaitable. For what
// cannot be awaited as_branch() says so: clang comes here before it looks at constraints.
template <class A>
struct BranchResult {
    using type = void;
};
template <class T>
struct BranchResult<Task<T>> {
    using type = T;
};
template <class A>
    requires(Awaitable<A> && !is_task<A>)
struct BranchResult<A> {
    using Awaited = await_result_t<A>;
    using type = std::conditional_t<std::is_rvalue_reference_v<Awaited>,
                                    std::remove_reference_t<Awaited>, Awaited>;
};
template <class A>
using branch_result_t = typename BranchResult<A>::type;

// The branch of an awaitable that is no task: owns a temporary, refers to a named one. A member of
// a class, since g++ 12 warns of a frame whose fields have less linkage than what it belongs to.
template <class T, class A>
struct AwaitAsTask {
    static Task<T> make(A awaitable) {
        if constexpr (std::is_void_v<T>) {
            co_await static_cast<A&&>(awaitable);
        } else {
            T value = co_await static_cast<A&&>(awaitable);
            co_return static_cast<T&&>(value);
        }
    }
};

[[noreturn]] inline void throw_empty_task(const char* combinator) {
    throw Error(std::string("an empty Task was given to ") + combinator + ": it was moved from");
}

template <class A>
[[nodiscard]] Task<branch_result_t<A>> as_branch(A&& awaitable, const char* combinator) {
    static_assert(!is_named_task<A>,
                  "grafo: a task is awaited once: give it to a combinator with std::move");
    static_assert(
        Awaitable<A> || is_named_task<A>,
        "grafo: a combinator takes what can be awaited: tasks and other awaitables, or one "
        "std::vector of them");
    if constexpr (is_task<A>) {
        if (!awaitable) throw_empty_task(combinator);
        return std::move(awaitable);
    } else if constexpr (Awaitable<A>) {
        return AwaitAsTask<branch_result_t<A>, A>::make(std::forward<A>(awaitable));
    } else {
        return Task<branch_result_t<A>>();
    }
}

}  // namespace grafo::detail
