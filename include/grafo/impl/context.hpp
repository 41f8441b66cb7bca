#pragma once
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/inline.hpp>

namespace grafo::detail {

GRAFO_INLINE void throw_no_loop() {
    throw Error("no EventLoop is running on this thread: use grafo::run or EventLoop::run");
}

GRAFO_INLINE void unwind(Context& context) noexcept {
    if (context.waiter == nullptr) return;
    PromiseBase* from = context.waiter->promise;
    for (PromiseBase* at = from; at != nullptr; at = at->parent) {
        if (at->parent != nullptr && at->owner == nullptr) from = at->parent;
    }
    while (from != nullptr && from->parent != nullptr) {
        PromiseBase* parent = from->parent;
        from->owner->destroy();
        from = parent;
    }
}

GRAFO_INLINE void Context::cancel() noexcept {
    flags |= cancelled;
    if (waiter == nullptr || !waiter->control(*waiter, Waiter::Ask::cancel)) flags |= pending;
}

GRAFO_INLINE void Context::freeze() noexcept {
    flags |= dropped;
    if (waiter != nullptr) waiter->control(*waiter, Waiter::Ask::freeze);
}

GRAFO_INLINE void Context::drop_below() noexcept {
    if (waiter != nullptr) waiter->control(*waiter, Waiter::Ask::drop);
}

GRAFO_INLINE void Waiter::resume(Job& job) {
    auto& waiter = static_cast<Waiter&>(job);
    Context* const context = waiter.context;
    if (context == nullptr)
        return;  // a generator that outlives the coroutine that read it: it rests
    LoopCore::current->enter(context);
    if ((context->flags & Context::dropped) != 0) {
        context->reap();  // may destroy the waiter
        return;
    }
    context->waiter = nullptr;
    LoopCore::current->resume(waiter.handle);
}

}  // namespace grafo::detail
