#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <grafo/detail/context.hpp>
#include <grafo/detail/mailbox.hpp>
#include <grafo/detail/misuse.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/sleep.hpp>

namespace grafo {

/// Who has held a loop for too long, and still does.
struct WatchdogReport {
    WatchdogReport(std::string_view who, bool in_node, std::chrono::nanoseconds since) noexcept
        : node(who), is_node(in_node), held(since) {}

    /// The node's id, or "a task of the loop"; valid during the callback. Ids of more than 64 bytes
    /// are cut and end in "…".
    std::string_view node;
    /// False for what belongs to no node: a spawned task, the one that `run` was given, a posted
    /// function.
    bool is_node;
    /// For how long at least: measured from when the watchdog first saw it.
    std::chrono::nanoseconds held;
};

namespace detail {

// Who holds a loop, for another thread to read: a sequence lock whose data are atomics, so that no
// string is read which the loop's thread may free. Release and acquire on each word take the place
// of fences, which thread sanitizers do not know.
class HoldBoard final : public Monitor {
public:
    static constexpr std::size_t capacity = 64;

    struct Hold {
        Hold() noexcept {}
        [[nodiscard]] std::string_view label() const noexcept { return {text.data(), size}; }
        std::uint64_t epoch = 0;  // another one for each hold
        std::array<char, capacity> text{};
        std::size_t size = 0;
    };

    // The loop's thread.
    void enter(std::string_view label) noexcept override {
        std::array<std::uint64_t, words> copy{};
        const std::size_t size = cut(label, reinterpret_cast<char*>(copy.data()));
        epoch_ += step;
        state_.store(epoch_ | writing, std::memory_order_relaxed);
        size_.store(size, std::memory_order_release);
        for (std::size_t i = 0; i * sizeof(std::uint64_t) < size; ++i) {
            text_[i].store(copy[i], std::memory_order_release);
        }
        state_.store(epoch_ | holding, std::memory_order_release);
    }
    void leave() noexcept override {
        epoch_ += step;
        state_.store(epoch_, std::memory_order_release);
    }

    // Any thread. The epoch of the hold that is on; 0 if there is none, or if it is just beginning.
    [[nodiscard]] std::uint64_t epoch() const noexcept {
        const std::uint64_t state = state_.load(std::memory_order_acquire);
        return (state & mask) == holding ? state : 0;
    }
    // Reads who holds the loop; false if that is over meanwhile.
    [[nodiscard]] bool read(std::uint64_t epoch, Hold& hold) const noexcept {
        hold.epoch = epoch;
        hold.size = std::min(size_.load(std::memory_order_acquire), capacity);
        for (std::size_t i = 0; i < words; ++i) {
            const std::uint64_t word = text_[i].load(std::memory_order_acquire);
            std::memcpy(hold.text.data() + i * sizeof word, &word, sizeof word);
        }
        return state_.load(std::memory_order_relaxed) == epoch;
    }

private:
    static constexpr std::size_t words = capacity / sizeof(std::uint64_t);
    // The two low bits of the state; the rest counts.
    static constexpr std::uint64_t writing = 1;
    static constexpr std::uint64_t holding = 2;
    static constexpr std::uint64_t mask = 3;
    static constexpr std::uint64_t step = 4;

    // Copies what fits, in whole UTF-8 characters.
    static std::size_t cut(std::string_view label, char* to) noexcept {
        static constexpr std::string_view ellipsis = "\xe2\x80\xa6";
        if (label.size() <= capacity) {
            if (!label.empty()) std::memcpy(to, label.data(), label.size());
            return label.size();
        }
        std::size_t size = capacity - ellipsis.size();
        while (size > 0 && (static_cast<unsigned char>(label[size]) & 0xc0U) == 0x80U) --size;
        std::memcpy(to, label.data(), size);
        std::memcpy(to + size, ellipsis.data(), ellipsis.size());
        return size + ellipsis.size();
    }

    std::uint64_t epoch_ = 0;  // the loop's thread only
    std::atomic<std::uint64_t> state_{0};
    std::atomic<std::size_t> size_{0};
    std::array<std::atomic<std::uint64_t>, words> text_{};
};

// Finds the holds that are too long, once each, from samples of a board. It measures from the first
// sample that saw a hold: the loop's thread need not read a clock, and what it reports has been
// held for at least that long.
class HoldSampler {
public:
    using TimePoint = std::chrono::steady_clock::time_point;

    HoldSampler(const HoldBoard& board, std::chrono::nanoseconds limit) noexcept
        : board_(board), limit_(limit) {}

    // True if there is something to report: `hold()`, for `held(now)`.
    [[nodiscard]] bool sample(TimePoint now) noexcept {
        const std::uint64_t epoch = board_.epoch();
        if (epoch != seen_) {
            seen_ = epoch;
            since_ = now;
            reported_ = false;
            return false;
        }
        if (epoch == 0 || reported_ || held(now) < limit_) return false;
        reported_ = board_.read(epoch, hold_);
        return reported_;
    }
    [[nodiscard]] const HoldBoard::Hold& hold() const noexcept { return hold_; }
    [[nodiscard]] std::chrono::nanoseconds held(TimePoint now) const noexcept {
        return now - since_;
    }
    [[nodiscard]] WatchdogReport report(TimePoint now) const noexcept {
        const bool is_node = hold_.size > 0;
        return WatchdogReport(is_node ? hold_.label() : "a task of the loop", is_node, held(now));
    }

private:
    const HoldBoard& board_;
    std::chrono::nanoseconds limit_;
    std::uint64_t seen_ = 0;
    bool reported_ = false;
    TimePoint since_{};
    HoldBoard::Hold hold_;
};

// The user's callback.
class WatchdogCallback {
public:
    WatchdogCallback() = default;
    WatchdogCallback(const WatchdogCallback&) = delete;
    WatchdogCallback& operator=(const WatchdogCallback&) = delete;
    virtual ~WatchdogCallback() = default;
    virtual void call(const WatchdogReport& report) noexcept = 0;
};

template <class F>
class WatchdogCallbackOf final : public WatchdogCallback {
public:
    template <class G>
    explicit WatchdogCallbackOf(G&& f) : f_(std::forward<G>(f)) {}
    void call(const WatchdogReport& report) noexcept override {
        if constexpr (std::is_invocable_v<F&, const WatchdogReport&>) {
            f_(report);
        } else {
            f_(report.node, report.held);
        }
    }

private:
    F f_;
};

inline void print_watchdog_report(const WatchdogReport& report) {
    const char* quote = report.is_node ? "'" : "";
    std::fprintf(
        stderr, "grafo: %s%s%.*s%s has held the loop for %lld ms\n", report.is_node ? "node " : "",
        quote, static_cast<int>(report.node.size()), report.node.data(), quote,
        static_cast<long long>(std::chrono::floor<std::chrono::milliseconds>(report.held).count()));
}

}  // namespace detail

/// Names the node that has held a loop for longer than `limit`, while it still does: a computation
/// that belongs on a pool, a blocking call, a deadlock. Each hold is told once.
/// It has a thread of its own, which looks at the loop four times in `limit`, at most every
/// millisecond, so a hold is told when it has lasted between one and one and a quarter of that;
/// shorter ones never. It measures real time, also of a loop in virtual time. Made and destroyed on
/// the loop's thread, running or not, and must not outlive the loop; the destructor waits for a
/// callback that is at work. Costs the loop some ten stores each time the user's code gets control.
class Watchdog {
public:
    /// Reports by a line on stderr. Throws `Error` if the loop has a watchdog, and
    /// `std::system_error` if there is no thread to be had.
    template <class Rep, class Period>
    Watchdog(EventLoop& loop, const std::chrono::duration<Rep, Period>& limit)
        : Watchdog(loop, limit, &detail::print_watchdog_report) {}
    /// Calls `callback`, which must not throw, on the watchdog's thread: with a
    /// `const WatchdogReport&`, or with `(std::string_view node, std::chrono::nanoseconds held)`.
    /// Throws the same.
    template <class Rep, class Period, class F>
    Watchdog(EventLoop& loop, const std::chrono::duration<Rep, Period>& limit, F&& callback)
        : core_(detail::LoopAccess::core(loop)),
          mailbox_(detail::LoopAccess::mailbox(loop)),
          sampler_(board_, detail::to_nanoseconds(limit)) {
        using Callback = std::decay_t<F>;
        constexpr bool accepted =
            std::is_invocable_v<Callback&, const WatchdogReport&> ||
            std::is_invocable_v<Callback&, std::string_view, std::chrono::nanoseconds>;
        static_assert(accepted,
                      "grafo: a watchdog's callback takes a const WatchdogReport&, or a "
                      "std::string_view and a std::chrono::nanoseconds");
        if constexpr (accepted) {
            static_cast<void>(detail::not_null(callback, "a Watchdog"));
            callback_ =
                std::make_unique<detail::WatchdogCallbackOf<Callback>>(std::forward<F>(callback));
        }
        start(detail::to_nanoseconds(limit));
    }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
    /// Waits for the callback if it is at work.
    ~Watchdog() {
        if constexpr (detail::checks_misuse) {
            detail::refuse_misuse(mailbox_->closed(), "a Watchdog outlived its loop");
        }
        if (!mailbox_->closed()) core_.monitor = nullptr;
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        end_.notify_one();
        thread_.join();
    }

private:
    void start(std::chrono::nanoseconds limit) {
        mailbox_->expect_here("a Watchdog was made on another thread than its loop's");
        if (core_.monitor != nullptr) throw Error("the loop has a watchdog already");
        const std::chrono::nanoseconds period =
            std::max<std::chrono::nanoseconds>(limit / 4, std::chrono::milliseconds(1));
        thread_ = std::thread([this, period] { watch(period); });
        core_.monitor = &board_;
    }
    void watch(std::chrono::nanoseconds period) {
        std::unique_lock lock(mutex_);
        while (!ending_) {
            const auto now = std::chrono::steady_clock::now();
            if (sampler_.sample(now)) {
                lock.unlock();
                callback_->call(sampler_.report(now));
                lock.lock();
            }
            end_.wait_until(lock, detail::after(now, period), [this] { return ending_; });
        }
    }

    detail::LoopCore& core_;
    detail::Shared<detail::Mailbox> mailbox_;  // of the loop, to see whether that is there still
    detail::HoldBoard board_;
    detail::HoldSampler sampler_;  // the watchdog's thread only
    std::unique_ptr<detail::WatchdogCallback> callback_;
    std::mutex mutex_;
    std::condition_variable end_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace grafo
