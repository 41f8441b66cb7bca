#pragma once
#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <grafo/detail/asio_library.hpp>
#include <grafo/detail/asio_operation.hpp>
#include <grafo/detail/loop_driver.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/task.hpp>

// The loop that an io_context drives: a service of it, made by the first task that is spawned
// there, and dropped with it.
namespace grafo::detail {

class AsioDriver final : public net::execution_context::service, public IoReactor {
public:
    using key_type = AsioDriver;
    static inline net::execution_context::id id;

    explicit AsioDriver(net::io_context& context)
        : net::execution_context::service(context),
          IoReactor(context),
          driver_(*this),
          timer_(std::in_place, context) {}

    [[nodiscard]] static AsioDriver& of(net::io_context& context) {
        return net::use_service<AsioDriver>(context);
    }
    // From any thread.
    [[nodiscard]] EventLoop& loop() noexcept { return driver_.loop(); }

    void wait(const TimePoint*) override {
        throw std::logic_error("grafo: a loop that is driven does not wait");
    }
    void wake() noexcept override {
        if (posted_.exchange(true)) return;
        net::post(io(), [this] {
            posted_ = false;
            turn();
        });
    }

private:
    void turn() {
        // A task may run its context itself: its loop is at work then.
        if (std::exchange(turning_, true)) {
            missed_ = true;
            return;
        }
        LoopDriver::Next next = driver_.turn();
        turning_ = false;
        if (std::exchange(missed_, false) || next.ready) {
            wake();
        } else {
            set_timer(next.deadline);
        }
        if (next.idle) {
            work_.reset();
        } else if (!work_) {
            work_.emplace(io().get_executor());
        }
        if (next.error != nullptr) std::rethrow_exception(std::move(next.error));
    }
    void set_timer(const std::optional<TimePoint>& deadline) {
        if (deadline == deadline_) return;
        deadline_ = deadline;
        if (!deadline) {
            timer_->cancel();
            return;
        }
        timer_->expires_at(*deadline);
        timer_->async_wait([this, at = *deadline](const NetErrorCode& error) {
            if (error || deadline_ != at) return;
            deadline_.reset();
            turn();
        });
    }
    void shutdown() override {
        driver_.drop([this] { calls.for_each([](AsioCall& call) { call.cut_off(); }); });
        end_all();
        timer_.reset();
        work_.reset();
    }
    void found_due() noexcept override { wake(); }

    LoopDriver driver_;
    std::optional<net::steady_timer> timer_;
    std::optional<TimePoint> deadline_;  // that the timer is set to
    std::optional<net::executor_work_guard<net::io_context::executor_type>> work_;
    std::atomic<bool> posted_{false};
    bool turning_ = false;
    bool missed_ = false;  // a round, meanwhile
};

// Reaches a task that was spawned, to cancel it.
class SpawnControl {
public:
    void cancel() noexcept {
        cancelled_ = true;
        if (context_ != nullptr) context_->cancel();
    }

    // The task has begun, and is the awaiting coroutine's.
    class Begin {
    public:
        explicit Begin(SpawnControl& control) noexcept : control_(control) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> coroutine) const noexcept {
            control_.context_ = &context_of(coroutine);
            if (control_.cancelled_) control_.context_->cancel();
            return false;
        }
        void await_resume() const noexcept {}

        using grafo_awaitable = void;

    private:
        SpawnControl& control_;
    };
    void end() noexcept { context_ = nullptr; }

private:
    Context* context_ = nullptr;
    bool cancelled_ = false;
};

template <class T>
struct SpawnSignature {
    using type = void(std::exception_ptr, T);
};
template <>
struct SpawnSignature<void> {
    using type = void(std::exception_ptr);
};

// Awaits the task, and hands its end to the handler, which is called where it belongs.
template <class T, class Handler, class Executor>
class SpawnedCall {
    using Guard = net::executor_work_guard<Executor>;

public:
    SpawnedCall(Handler&& handler, const Executor& executor)
        : handler_(std::move(handler)), work_(executor) {}
    SpawnedCall(SpawnedCall&&) = default;
    SpawnedCall& operator=(SpawnedCall&&) = delete;
    ~SpawnedCall() = default;

    static Task<> run(SpawnedCall call, Task<T> task, std::shared_ptr<SpawnControl> control) {
        const Scope scope(*control);
        co_await SpawnControl::Begin(*control);
        std::exception_ptr error;
        Result<T> result;
        try {
            if constexpr (std::is_void_v<T>) {
                co_await std::move(task);
                result.set_value();
            } else {
                result.set_value(co_await std::move(task));
            }
        } catch (const Cancelled&) {
            error = std::make_exception_ptr(
                NetSystemError(NetErrorCode(net::error::operation_aborted)));
        } catch (...) {
            error = std::current_exception();
        }
        net::get_associated_cancellation_slot(call.handler_).clear();
        const Guard work = std::move(call.work_);
        if constexpr (std::is_void_v<T>) {
            net::post(work.get_executor(), [handler = std::move(call.handler_), error]() mutable {
                std::move(handler)(error);
            });
        } else {
            T value = error == nullptr ? result.take() : T();
            net::post(work.get_executor(), [handler = std::move(call.handler_), error,
                                            value = std::move(value)]() mutable {
                std::move(handler)(error, std::move(value));
            });
        }
    }

private:
    struct Scope {
        explicit Scope(SpawnControl& c) noexcept : control(c) {}
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        ~Scope() { control.end(); }
        SpawnControl& control;
    };

    Handler handler_;
    Guard work_;
};

// Starts a task in the loop of a context.
class SpawnInitiation {
public:
    using executor_type = net::io_context::executor_type;

    explicit SpawnInitiation(net::io_context& context) noexcept : context_(&context) {}
    [[nodiscard]] executor_type get_executor() const noexcept { return context_->get_executor(); }

    template <class Handler, class T>
    void operator()(Handler&& handler, Task<T> task) const {
        using Given = std::decay_t<Handler>;
        EventLoop& loop = AsioDriver::of(*context_).loop();
        auto control = std::make_shared<SpawnControl>();
        auto slot = net::get_associated_cancellation_slot(handler);
        if (slot.is_connected()) {
            slot.assign([&loop, control](net::cancellation_type) {
                loop.post([control] { control->cancel(); });
            });
        }
        const auto executor = net::get_associated_executor(handler, context_->get_executor());
        using Call = SpawnedCall<T, Given, std::decay_t<decltype(executor)>>;
        Task<> spawned = Call::run(Call(std::forward<Handler>(handler), executor), std::move(task),
                                   std::move(control));
        loop.post(
            [&loop, spawned = std::move(spawned)]() mutable { loop.spawn(std::move(spawned)); });
    }

private:
    net::io_context* context_;
};

}  // namespace grafo::detail
