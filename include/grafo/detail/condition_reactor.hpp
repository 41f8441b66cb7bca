#pragma once
#include <grafo/detail/inline.hpp>
#include <grafo/reactor.hpp>

#if defined(__linux__)
#include <pthread.h>
#else
#include <condition_variable>
#include <mutex>
#endif

namespace grafo::detail {

// Sleeps in the kernel on a condition variable. POSIX calls on Linux: <condition_variable> and
// <mutex> would cost the core header more to parse than all of its own text.
#if defined(__linux__)
class ConditionReactor final : public Reactor {
public:
    ConditionReactor();
    GRAFO_INLINE ~ConditionReactor() override;
    GRAFO_INLINE void wait(const TimePoint* deadline) override;
    GRAFO_INLINE void wake() noexcept override;

private:
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition_;
    bool woken_ = false;
};

class Mutex {
public:
    void lock() noexcept { pthread_mutex_lock(&mutex_); }
    void unlock() noexcept { pthread_mutex_unlock(&mutex_); }

private:
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};
#else
class ConditionReactor final : public Reactor {
public:
    void wait(const TimePoint* deadline) override {
        std::unique_lock lock(mutex_);
        const auto woken = [this] { return woken_; };
        if (deadline == nullptr) {
            condition_.wait(lock, woken);
        } else {
            condition_.wait_until(lock, *deadline, woken);
        }
        woken_ = false;
    }
    void wake() noexcept override {
        const std::lock_guard lock(mutex_);
        woken_ = true;
        condition_.notify_one();
    }

private:
    std::mutex mutex_;
    std::condition_variable condition_;
    bool woken_ = false;
};

using Mutex = std::mutex;
#endif

class LockGuard {
public:
    explicit LockGuard(Mutex& mutex) noexcept : mutex_(mutex) { mutex_.lock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;
    ~LockGuard() { mutex_.unlock(); }

private:
    Mutex& mutex_;
};

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/condition_reactor.hpp>
#endif
