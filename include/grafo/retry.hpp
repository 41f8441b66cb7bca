#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include <grafo/detail/not_null.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/signature.hpp>
#include <grafo/errors.hpp>
#include <grafo/sleep.hpp>

namespace grafo {

namespace detail {

// Is it worth another attempt after that error?
class RetryPredicate : public SharedByThreads {
public:
    virtual ~RetryPredicate() = default;
    virtual bool wants(const std::exception_ptr& error) = 0;
};

template <class F, class P>
class TypedRetryPredicate final : public RetryPredicate {
    using Asked = std::remove_cvref_t<P>;

public:
    template <class G>
    explicit TypedRetryPredicate(G&& fn)
        : fn_(not_null(std::forward<G>(fn), "RetryPolicy::when")) {}

    bool wants(const std::exception_ptr& error) override {
        if constexpr (std::is_same_v<Asked, std::exception_ptr>) {
            return static_cast<bool>(fn_(error));
        } else {
            if (error == nullptr) return false;
            try {
                std::rethrow_exception(error);
            } catch (const Asked& caught) {
                if constexpr (std::is_member_function_pointer_v<F>) {
                    return static_cast<bool>((caught.*fn_)());
                } else {
                    return static_cast<bool>(fn_(caught));
                }
            } catch (...) {
                return false;
            }
        }
    }

private:
    F fn_;
};

template <class List>
inline constexpr bool is_retry_parameter = false;
template <class P>
inline constexpr bool is_retry_parameter<TypeList<P>> =
    !std::is_reference_v<P> ||
    (std::is_lvalue_reference_v<P> && std::is_const_v<std::remove_reference_t<P>>);

template <class F>
Shared<RetryPredicate> make_retry_predicate(F&& fn) {
    using Fn = std::decay_t<F>;
    static_assert(Signature<Fn>::visible,
                  "grafo: RetryPolicy::when needs a function whose parameter can be seen, and that "
                  "of a generic lambda cannot: write its type, [](const MyError& error) or "
                  "[](const std::exception_ptr& error)");
    if constexpr (Signature<Fn>::visible) {
        using Parameters = typename Signature<Fn>::Params;
        constexpr bool accepted = is_retry_parameter<Parameters>;
        constexpr bool answers = std::is_convertible_v<typename Signature<Fn>::Result, bool>;
        static_assert(accepted,
                      "grafo: RetryPolicy::when needs a function of one parameter, a const "
                      "std::exception_ptr& or a const reference to the exception that may be "
                      "retried");
        static_assert(answers, "grafo: RetryPolicy::when needs a function that gives a bool");
        if constexpr (accepted && answers) {
            using Predicate = TypedRetryPredicate<Fn, type_at_t<0, Parameters>>;
            return Shared<RetryPredicate>(new Predicate(std::forward<F>(fn)));
        }
    }
    return nullptr;
}

// splitmix64: its state goes on by the step, and the next number is the mix of it.
inline constexpr std::uint64_t splitmix_step = 0x9e3779b97f4a7c15U;
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t value) noexcept {
    value += splitmix_step;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31U);
}

}  // namespace detail

/// How often a node is tried, when, and after which errors:
/// `RetryPolicy{3}.backoff(100ms, 2.0).cap(5s).full_jitter(seed).when(pred)`.
/// A value: settings change this policy and give it back (a temporary by value), copies are
/// independent but share the predicate.
class RetryPolicy {
public:
    /// At most that many attempts in total, without a pause, whatever the error. Throws `Error` for
    /// 0.
    explicit RetryPolicy(unsigned attempts);

    /// Waits `first_delay` before the second attempt, and `factor` times as long before each
    /// further one; rounded to nanoseconds and held at `nanoseconds::max()`. A factor below 1
    /// shortens the pauses. Throws `Error` if the delay is negative, or the factor is negative or
    /// not a number.
    template <class Rep, class Period>
    RetryPolicy& backoff(const std::chrono::duration<Rep, Period>& first_delay,
                         double factor = 2.0) & {
        const std::chrono::nanoseconds first = not_negative("backoff", first_delay);
        if (!(factor >= 0.0)) {
            throw Error("RetryPolicy::backoff needs a factor of 0 or more, not " +
                        std::to_string(factor));
        }
        first_delay_ = first;
        factor_ = factor;
        return *this;
    }
    template <class Rep, class Period>
    RetryPolicy backoff(const std::chrono::duration<Rep, Period>& first_delay,
                        double factor = 2.0) && {
        return std::move(backoff(first_delay, factor));
    }

    /// No pause is longer than that. Throws `Error` if it is negative.
    template <class Rep, class Period>
    RetryPolicy& cap(const std::chrono::duration<Rep, Period>& longest) & {
        cap_ = not_negative("cap", longest);
        return *this;
    }
    template <class Rep, class Period>
    RetryPolicy cap(const std::chrono::duration<Rep, Period>& longest) && {
        return std::move(cap(longest));
    }

    /// Each pause is drawn evenly from zero up to what `backoff` and `cap` say, both included, so
    /// that what failed together does not come back together. The same seed gives the same pauses:
    /// to a node by its id, and by how many nodes with a `retry` began before it in its run.
    RetryPolicy& full_jitter(std::uint64_t seed) & noexcept {
        seed_ = seed;
        jitter_ = true;
        return *this;
    }
    RetryPolicy full_jitter(std::uint64_t seed) && noexcept { return std::move(full_jitter(seed)); }
    /// The same with a seed of its own, another one in each call and each program.
    RetryPolicy& full_jitter() & noexcept { return full_jitter(fresh_seed()); }
    RetryPolicy full_jitter() && noexcept { return std::move(full_jitter()); }
    /// Each pause is as long as `backoff` and `cap` say: the default.
    RetryPolicy& no_jitter() & noexcept {
        jitter_ = false;
        return *this;
    }
    RetryPolicy no_jitter() && noexcept { return std::move(no_jitter()); }

    /// Retries only after errors for which `pred` is true. It takes a `const std::exception_ptr&`
    /// and is always asked, or a `const E&` and is asked about an `E` and what derives from it:
    /// other errors are not retried. Replaces the predicate that was there. A function, a lambda
    /// that is not generic, a const member function of `E`; one allocation. Throws `Error` for a
    /// null pointer.
    template <class F>
    RetryPolicy& when(F&& pred) & {
        predicate_ = detail::make_retry_predicate(std::forward<F>(pred));
        return *this;
    }
    template <class F>
    RetryPolicy when(F&& pred) && {
        return std::move(when(std::forward<F>(pred)));
    }

    /// How many attempts there are in total.
    [[nodiscard]] unsigned attempts() const noexcept { return attempts_; }

    /// Is another attempt worth it after that error? Throws what the predicate throws.
    [[nodiscard]] bool wants(const std::exception_ptr& error) const {
        return predicate_ == nullptr || predicate_->wants(error);
    }

    /// The pause after that many failed attempts. With jitter it depends on the seed, `stream`
    /// (whose attempts they are) and `failed_attempts`, and on nothing else.
    [[nodiscard]] std::chrono::nanoseconds delay(unsigned failed_attempts,
                                                 std::uint64_t stream) const noexcept {
        const std::chrono::nanoseconds longest = longest_delay(failed_attempts);
        return jitter_ ? drawn(longest, failed_attempts, stream) : longest;
    }

private:
    using Nanoseconds = std::chrono::nanoseconds;

    template <class Rep, class Period>
    static Nanoseconds not_negative(const char* where,
                                    const std::chrono::duration<Rep, Period>& duration) {
        if (!(duration >= std::chrono::duration<Rep, Period>::zero())) {
            throw Error(std::string("RetryPolicy::") + where + " needs a delay of 0 or more, not " +
                        std::to_string(detail::to_nanoseconds(duration).count()) + " ns");
        }
        return detail::to_nanoseconds(duration);
    }

    // Unlike in each run of the program, and in each call.
    static std::uint64_t fresh_seed() noexcept;

    [[nodiscard]] Nanoseconds longest_delay(unsigned failed_attempts) const noexcept;

    // From 0 to `longest`, each with the same chance.
    [[nodiscard]] Nanoseconds drawn(Nanoseconds longest, unsigned failed_attempts,
                                    std::uint64_t stream) const noexcept;

    unsigned attempts_;
    bool jitter_ = false;
    double factor_ = 1.0;
    Nanoseconds first_delay_{0};
    Nanoseconds cap_ = Nanoseconds::max();
    std::uint64_t seed_ = 0;
    detail::Shared<detail::RetryPredicate> predicate_;
};

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/retry.hpp>
#endif
