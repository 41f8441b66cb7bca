#pragma once
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include <grafo/detail/asio_library.hpp>
#include <grafo/detail/asio_watch.hpp>
#include <grafo/detail/context.hpp>
#include <grafo/detail/frame_pool.hpp>
#include <grafo/detail/link.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/result.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/reactor.hpp>
#include <grafo/task.hpp>

// One operation of Asio's, awaited. The frame that awaits it, and with it the buffers, stays until
// the operation has let go of its handler, also when it is cancelled or dropped: Asio, or the
// kernel, may use them to the last.
namespace grafo::detail {

class IoReactor;

// A block between the awaiter, the operation's handler and the requests to cancel it, which may all
// be on different threads, and each of which keeps it alive.
class AsioCall : public Mail, public Link {
public:
    AsioCall() noexcept : Mail(&AsioCall::on_mail, &AsioCall::on_lost) {}

    void retain() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    // The loop's thread.
    void begin(Waiter& waiter, EventLoop& loop) noexcept;
    [[nodiscard]] bool out() const noexcept { return waiter_ != nullptr; }
    // Nothing will end the operation any more: whoever awaits it need not wait.
    void cut_off() noexcept {
        if (waiter_ == nullptr) return;
        count(std::size_t(-1));
        Link::unlink();
        LoopCore::current->make_ready(*std::exchange(waiter_, nullptr));
    }
    // The awaiter goes.
    void leave() noexcept {
        if (std::exchange(waiter_, nullptr) != nullptr && is_home()) count(std::size_t(-1));
        Link::unlink();
        release();
    }

    // Any thread: who is in here may use what the operation works with. False if it is over.
    [[nodiscard]] bool enter() noexcept {
        int inside = inside_.load(std::memory_order_relaxed);
        while (inside != 0) {
            if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }
    // The last one out tells the loop.
    void exit() noexcept {
        if (inside_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
        if (is_home()) {
            cut_off();
            return;
        }
        retain();
        mailbox_->post(*this);
    }

    // Any thread, once entered.
    [[nodiscard]] net::cancellation_signal& signal() noexcept { return signal_; }

protected:
    virtual ~AsioCall() = default;

private:
    static void on_mail(Mail& mail) {
        auto& call = static_cast<AsioCall&>(mail);
        call.cut_off();
        call.release();
    }
    static void on_lost(Mail& mail) { static_cast<AsioCall&>(mail).release(); }
    [[nodiscard]] bool is_home() const noexcept {
        return LoopCore::current != nullptr && Mailbox::current() == mailbox_;
    }
    static void count(std::size_t change) noexcept {
        LoopCore::current->out += change;
        LoopCore::current->holds += change;
    }

    Shared<Mailbox> mailbox_;
    Waiter* waiter_ = nullptr;  // while the operation is out
    std::atomic<int> owners_{1};
    std::atomic<int> inside_{1};  // the handler, and who cancels it
    net::cancellation_signal signal_;
};

// Ownership of such a block.
template <class Call>
class AsioCallRef {
public:
    explicit AsioCallRef(Call& call) noexcept : call_(&call) { call.retain(); }
    AsioCallRef(AsioCallRef&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
    AsioCallRef& operator=(AsioCallRef&&) = delete;
    ~AsioCallRef() {
        if (call_ != nullptr) call_->release();
    }
    [[nodiscard]] explicit operator bool() const noexcept { return call_ != nullptr; }
    Call* operator->() const noexcept { return call_; }

private:
    Call* call_;
};

// Run where the operation's handlers run; does nothing if it is over by then.
class AsioCancel {
public:
    explicit AsioCancel(AsioCall& call) noexcept : call_(call) {}
    void operator()() {
        if (!call_->enter()) return;
        call_->signal().emit(net::cancellation_type::all);
        call_->exit();
    }

private:
    AsioCallRef<AsioCall> call_;
};

// What a loop that sleeps in an io_context, or is driven by one, knows of it.
class IoReactor : public Reactor, protected AsioWatches {
public:
    explicit IoReactor(net::io_context& io) noexcept : io_(io) {}

    [[nodiscard]] net::io_context& io() const noexcept { return io_; }
    [[nodiscard]] const void* kind() const noexcept final { return &kind_; }
    [[nodiscard]] std::unique_ptr<Watch> watch(int descriptor, Watcher& watcher) final {
        return AsioWatches::begin(io_, descriptor, watcher);
    }
    [[nodiscard]] bool busy() const noexcept override { return any(); }
    void poll() override { tell(); }
    // That of a loop; null if it is another's.
    [[nodiscard]] static IoReactor* of(EventLoop& loop) noexcept {
        Reactor& reactor = LoopAccess::reactor(loop);
        return reactor.kind() == &kind_ ? static_cast<IoReactor*>(&reactor) : nullptr;
    }

    LinkList<AsioCall> calls;  // that are out

private:
    static inline constinit char kind_ = 0;
    net::io_context& io_;
};

inline void AsioCall::begin(Waiter& waiter, EventLoop& loop) noexcept {
    mailbox_ = LoopAccess::mailbox(loop);
    waiter_ = &waiter;
    count(1);
    if (IoReactor* reactor = IoReactor::of(loop); reactor != nullptr) {
        reactor->calls.push_back(*this);
    }
}

// The values of a handler's arguments: none, one or several.
template <class... Values>
struct AsioValuesOf {
    using type = std::tuple<Values...>;
};
template <>
struct AsioValuesOf<> {
    using type = void;
};
template <class Value>
struct AsioValuesOf<Value> {
    using type = Value;
};

template <class T>
inline constexpr bool is_asio_error =
    std::is_same_v<T, NetErrorCode> || std::is_same_v<T, std::exception_ptr>;

template <class... Args>
struct AsioValues : AsioValuesOf<std::decay_t<Args>...> {};
template <class First, class... Rest>
    requires is_asio_error<std::decay_t<First>>
struct AsioValues<First, Rest...> : AsioValuesOf<std::decay_t<Rest>...> {};

// What an operation with handlers of these arguments gives.
template <class... Args>
using AsioValue = typename AsioValues<Args...>::type;

template <class Value>
class AsioCallOf final : public AsioCall, public PooledFrame {
public:
    // The operation's end, with what it gives its handler.
    template <class... Args>
    void complete(Args&&... args) noexcept {
        try {
            store(std::forward<Args>(args)...);
        } catch (...) {
            result.set_error(std::current_exception());
        }
    }

    Result<Value> result;

private:
    void store() { result.set_value(); }
    template <class First, class... Rest>
    void store(First&& first, Rest&&... rest) {
        if constexpr (std::is_same_v<std::decay_t<First>, NetErrorCode>) {
            if (first) {
                result.set_error(std::make_exception_ptr(NetSystemError(first)));
            } else {
                store_values(std::forward<Rest>(rest)...);
            }
        } else if constexpr (std::is_same_v<std::decay_t<First>, std::exception_ptr>) {
            if (first) {
                result.set_error(std::forward<First>(first));
            } else {
                store_values(std::forward<Rest>(rest)...);
            }
        } else {
            store_values(std::forward<First>(first), std::forward<Rest>(rest)...);
        }
    }
    template <class... Values>
    void store_values(Values&&... values) {
        if constexpr (sizeof...(Values) > 1) {
            result.set_value(Value(std::forward<Values>(values)...));
        } else {
            result.set_value(std::forward<Values>(values)...);
        }
    }
};

// The handler that the operation is given. Called or destroyed, it ends the operation.
template <class... Args>
class AsioHandler {
    using Call = AsioCallOf<AsioValue<Args...>>;

public:
    using cancellation_slot_type = net::cancellation_slot;

    explicit AsioHandler(Call& call) noexcept : call_(call), slot_(call.signal().slot()) {}
    AsioHandler(AsioHandler&&) noexcept = default;
    AsioHandler& operator=(AsioHandler&&) = delete;
    ~AsioHandler() {
        if (call_) call_->exit();
    }

    void operator()(Args... args) {
        const AsioHandler ended(std::move(*this));
        ended.call_->complete(static_cast<Args&&>(args)...);
    }
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return slot_; }

private:
    AsioCallRef<Call> call_;
    cancellation_slot_type slot_;
};

// Starts an operation by `start(handler)`, and waits until it has ended.
template <class Start, class Executor, class... Args>
class AsioAwaiter : Waiter {
    using Value = AsioValue<Args...>;

public:
    AsioAwaiter(Start& start, const Executor& executor)
        : Waiter(&AsioAwaiter::on_ask),
          start_(start),
          executor_(executor),
          call_(*new AsioCallOf<Value>()) {}
    AsioAwaiter(const AsioAwaiter&) = delete;
    AsioAwaiter& operator=(const AsioAwaiter&) = delete;
    ~AsioAwaiter() { call_.leave(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) {
        EventLoop& loop = EventLoop::current();
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        call_.begin(*this, loop);
        try {
            start_(AsioHandler<Args...>(call_));
        } catch (...) {
            // Its handler is gone, or will be: that resumes us.
            call_.result.set_error(std::current_exception());
        }
        return true;
    }
    Value await_resume() {
        check();
        if (!call_.result.has_value() && call_.result.error() == nullptr) {
            throw Error(
                "an Asio operation dropped its handler and never called it: its io_context was "
                "destroyed too early");
        }
        return call_.result.take();
    }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<AsioAwaiter&>(waiter);
        if (ask == Ask::busy) return self.call_.out();
        if (!self.call_.out()) return false;
        try {
            net::dispatch(self.executor_, AsioCancel(self.call_));
        } catch (...) {
            // No memory: it is waited for as one that cannot be cancelled.
        }
        return ask == Ask::cancel && !std::exchange(self.gave_up, true);
    }

    Start& start_;
    Executor executor_;
    AsioCallOf<Value>& call_;
};

// What is awaited for that.
template <class Start, class Executor, class... Args>
class AsioOperation {
public:
    AsioOperation(Start& start, const Executor& executor) noexcept
        : start_(start), executor_(executor) {}
    AsioAwaiter<Start, Executor, Args...> operator co_await() const {
        return AsioAwaiter<Start, Executor, Args...>(start_, executor_);
    }

    using grafo_awaitable = void;

private:
    Start& start_;
    const Executor& executor_;
};

// What `use_task` makes of an operation; it owns the arguments.
template <class... Args>
struct AsioTask {
    template <class Initiation, class... Given>
    static Task<AsioValue<Args...>> start(Initiation initiation, Given... given) {
        const auto executor = net::get_associated_executor(initiation);
        auto call = [&](AsioHandler<Args...>&& handler) {
            std::move(initiation)(std::move(handler), std::move(given)...);
        };
        using Executor = std::remove_const_t<decltype(executor)>;
        co_return co_await AsioOperation<decltype(call), Executor, Args...>(call, executor);
    }
};

}  // namespace grafo::detail
