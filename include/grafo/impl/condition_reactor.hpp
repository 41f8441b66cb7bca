#pragma once
#include <chrono>

#include <grafo/detail/condition_reactor.hpp>
#include <grafo/detail/inline.hpp>
#if defined(__linux__)
#include <time.h>
#endif

namespace grafo::detail {

#if defined(__linux__)
GRAFO_INLINE ConditionReactor::ConditionReactor() {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);  // that of steady_clock
    pthread_cond_init(&condition_, &attributes);
    pthread_condattr_destroy(&attributes);
}

GRAFO_INLINE ConditionReactor::~ConditionReactor() {
    pthread_cond_destroy(&condition_);
    pthread_mutex_destroy(&mutex_);
}

GRAFO_INLINE void ConditionReactor::wait(const TimePoint* deadline) {
    pthread_mutex_lock(&mutex_);
    if (deadline == nullptr) {
        while (!woken_) pthread_cond_wait(&condition_, &mutex_);
    } else {
        const auto since_epoch = deadline->time_since_epoch();
        const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
        timespec until{};
        until.tv_sec = static_cast<time_t>(seconds.count());
        until.tv_nsec = static_cast<long>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch - seconds).count());
        while (!woken_) {
            if (pthread_cond_timedwait(&condition_, &mutex_, &until) != 0) break;
        }
    }
    woken_ = false;
    pthread_mutex_unlock(&mutex_);
}

GRAFO_INLINE void ConditionReactor::wake() noexcept {
    pthread_mutex_lock(&mutex_);
    woken_ = true;
    pthread_cond_signal(&condition_);
    pthread_mutex_unlock(&mutex_);
}
#endif

}  // namespace grafo::detail
