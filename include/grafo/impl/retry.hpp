#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

#include <grafo/detail/inline.hpp>
#include <grafo/retry.hpp>

namespace grafo {

GRAFO_INLINE std::uint64_t RetryPolicy::fresh_seed() noexcept {
    static constinit std::atomic<std::uint64_t> calls{0};
    std::uint64_t seed = detail::mix(calls.fetch_add(1, std::memory_order_relaxed));
    const auto add = [&](auto ticks) {
        seed = detail::mix(seed ^ static_cast<std::uint64_t>(ticks));
    };
    add(std::chrono::system_clock::now().time_since_epoch().count());
    add(std::chrono::steady_clock::now().time_since_epoch().count());
    add(reinterpret_cast<std::uintptr_t>(&calls));  // differs where addresses are randomized
    return seed;
}

GRAFO_INLINE RetryPolicy::Nanoseconds RetryPolicy::longest_delay(
    unsigned failed_attempts) const noexcept {
    if (failed_attempts == 0 || first_delay_.count() == 0) return Nanoseconds::zero();
    long double times = 1.0L;
    long double square = factor_;
    for (unsigned left = failed_attempts - 1; left != 0; left /= 2) {
        if (left % 2 == 1) times *= square;
        square *= square;
    }
    // In integers where it is exact.
    if (times == 1.0L) return first_delay_ < cap_ ? first_delay_ : cap_;
    const long double delay = static_cast<long double>(first_delay_.count()) * times + 0.5L;
    if (!(delay < static_cast<long double>(cap_.count()))) return cap_;
    return Nanoseconds(static_cast<Nanoseconds::rep>(delay));
}

GRAFO_INLINE RetryPolicy::Nanoseconds RetryPolicy::drawn(Nanoseconds longest,
                                                         unsigned failed_attempts,
                                                         std::uint64_t stream) const noexcept {
    const std::uint64_t choices = static_cast<std::uint64_t>(longest.count()) + 1;
    // 2^64 modulo the choices: so many numbers at the low end would make some more likely.
    const std::uint64_t surplus = (0 - choices) % choices;
    std::uint64_t state = detail::mix(detail::mix(seed_) ^ stream) ^ failed_attempts;
    std::uint64_t number = detail::mix(state);
    while (number < surplus) number = detail::mix(state += detail::splitmix_step);
    return Nanoseconds(static_cast<Nanoseconds::rep>(number % choices));
}

GRAFO_INLINE RetryPolicy::RetryPolicy(unsigned attempts) : attempts_(attempts) {
    if (attempts == 0) {
        throw Error("a RetryPolicy counts attempts in total: it needs 1 or more, not 0");
    }
}

}  // namespace grafo
