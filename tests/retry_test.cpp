#include <grafo/grafo.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;
using std::chrono::nanoseconds;

namespace {

using Times = std::vector<nanoseconds>;

constexpr nanoseconds longest = nanoseconds::max();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// The pauses after 1, 2, ... failed attempts.
Times pauses(const RetryPolicy& policy, unsigned count, std::uint64_t stream = 0) {
    Times times;
    for (unsigned failed = 1; failed <= count; ++failed) {
        times.push_back(policy.delay(failed, stream));
    }
    return times;
}

class HttpError : public std::runtime_error {
public:
    explicit HttpError(int status) : runtime_error("HTTP"), status_(status) {}
    int status() const noexcept { return status_; }
    bool may_be_retried() const noexcept { return status_ >= 500; }

private:
    int status_;
};
class GatewayError : public HttpError {
public:
    using HttpError::HttpError;
};

const std::exception_ptr http_503 = std::make_exception_ptr(HttpError(503));
const std::exception_ptr http_404 = std::make_exception_ptr(HttpError(404));
const std::exception_ptr gateway_502 = std::make_exception_ptr(GatewayError(502));
const std::exception_ptr logic = std::make_exception_ptr(std::logic_error("logic"));
const std::exception_ptr number = std::make_exception_ptr(42);

bool is_server_error(const HttpError& error) { return error.status() >= 500; }
bool is_logic(const std::exception_ptr& error) noexcept { return error == logic; }

}  // namespace

// --- attempts --------------------------------------------------------------------------------

TEST_CASE("A policy counts attempts in total, of which there is at least one") {
    CHECK(RetryPolicy{1}.attempts() == 1);
    CHECK(RetryPolicy{3}.attempts() == 3);
    CHECK(RetryPolicy(std::numeric_limits<unsigned>::max()).attempts() ==
          std::numeric_limits<unsigned>::max());
    CHECK_THROWS_AS(RetryPolicy(0), Error);
    CHECK_THROWS_WITH(RetryPolicy(0), ContainsSubstring("attempts") && ContainsSubstring("not 0"));
    STATIC_REQUIRE(!std::is_convertible_v<unsigned, RetryPolicy>);
}

TEST_CASE("Without settings there is no pause, and every error is worth another attempt") {
    const RetryPolicy policy{3};
    CHECK(pauses(policy, 4) == Times{0s, 0s, 0s, 0s});
    CHECK(policy.delay(std::numeric_limits<unsigned>::max(), 0) == 0s);
    for (const auto& error : {http_503, http_404, logic, number}) CHECK(policy.wants(error));
    CHECK(pauses(RetryPolicy{3}.full_jitter(1), 3) == Times{0s, 0s, 0s});
    CHECK(pauses(RetryPolicy{3}.cap(1s), 3) == Times{0s, 0s, 0s});
}

// --- a value ---------------------------------------------------------------------------------

TEST_CASE("Settings are chained on temporaries, and on policies that they change") {
    const RetryPolicy chained =
        RetryPolicy{3}.backoff(100ms, 3.0).cap(500ms).no_jitter().when([](const HttpError&) {
            return true;
        });
    CHECK(pauses(chained, 3) == Times{100ms, 300ms, 500ms});
    CHECK(chained.wants(http_503));
    CHECK(!chained.wants(logic));

    RetryPolicy policy{3};
    RetryPolicy& same =
        policy.backoff(100ms, 3.0).cap(500ms).full_jitter(1).no_jitter().when(is_server_error);
    CHECK(&same == &policy);
    CHECK(pauses(policy, 3) == Times{100ms, 300ms, 500ms});
    CHECK(policy.wants(http_503));
    CHECK(!policy.wants(http_404));

    STATIC_REQUIRE(std::is_same_v<decltype(RetryPolicy{1}.cap(1s)), RetryPolicy>);
    STATIC_REQUIRE(std::is_same_v<decltype(policy.cap(1s)), RetryPolicy&>);
}

TEST_CASE("Copies of a policy are independent") {
    RetryPolicy one = RetryPolicy{3}.backoff(1s).when(is_logic);
    RetryPolicy copy = one;
    copy.backoff(2s).cap(3s).when(is_server_error);
    CHECK(pauses(one, 2) == Times{1s, 2s});
    CHECK(pauses(copy, 2) == Times{2s, 3s});
    CHECK(one.wants(logic));
    CHECK(!one.wants(http_503));
    CHECK(!copy.wants(logic));
    CHECK(copy.wants(http_503));
    one = copy;
    CHECK(pauses(one, 2) == Times{2s, 3s});
    CHECK(one.wants(http_503));
}

TEST_CASE("A later setting replaces the former one, in any order") {
    CHECK(pauses(RetryPolicy{3}.backoff(1s, 5.0).backoff(2s), 3) == Times{2s, 4s, 8s});
    CHECK(pauses(RetryPolicy{3}.cap(1s).cap(3s).backoff(2s), 3) == Times{2s, 3s, 3s});
    const RetryPolicy policy = RetryPolicy{3}.when(is_logic).when(is_server_error);
    CHECK(!policy.wants(logic));
    CHECK(policy.wants(http_503));
}

TEST_CASE("A setting that is refused leaves the policy as it was") {
    RetryPolicy policy = RetryPolicy{3}.backoff(1s, 3.0).cap(5s);
    CHECK_THROWS_AS(policy.backoff(2s, -1.0), Error);
    CHECK_THROWS_AS(policy.backoff(-2s, 1.0), Error);
    CHECK_THROWS_AS(policy.cap(-1s), Error);
    CHECK(pauses(policy, 3) == Times{1s, 3s, 5s});
}

// --- backoff ---------------------------------------------------------------------------------

TEST_CASE(
    "The pause before the second attempt is the first delay, the next ones grow by a factor") {
    CHECK(pauses(RetryPolicy{9}.backoff(100ms), 5) == Times{100ms, 200ms, 400ms, 800ms, 1'600ms});
    CHECK(pauses(RetryPolicy{9}.backoff(1s, 10.0), 4) == Times{1s, 10s, 100s, 1'000s});
    CHECK(pauses(RetryPolicy{9}.backoff(1s, 1.0), 3) == Times{1s, 1s, 1s});
    CHECK(pauses(RetryPolicy{9}.backoff(100ms, 1.1), 3) == Times{100ms, 110ms, 121ms});
    CHECK(pauses(RetryPolicy{9}.backoff(3ns, 1.5), 4) == Times{3ns, 5ns, 7ns, 10ns});
}

TEST_CASE("A factor below 1 shortens the pauses, and 0 leaves only the first") {
    CHECK(pauses(RetryPolicy{9}.backoff(1s, 0.5), 4) == Times{1s, 500ms, 250ms, 125ms});
    CHECK(pauses(RetryPolicy{9}.backoff(1s, 0.0), 3) == Times{1s, 0s, 0s});
    CHECK(RetryPolicy{9}.backoff(longest, 0.5).delay(1'000'000, 0) == 0s);
    CHECK(RetryPolicy{9}.backoff(1s, 0.999).delay(std::numeric_limits<unsigned>::max(), 0) == 0s);
}

TEST_CASE("There is no pause before the first attempt") {
    CHECK(RetryPolicy{9}.backoff(1s).delay(0, 0) == 0s);
    CHECK(RetryPolicy{9}.backoff(1s).full_jitter(1).delay(0, 0) == 0s);
}

TEST_CASE("A first delay is taken in any unit, and exactly") {
    CHECK(RetryPolicy{9}.backoff(1h).delay(1, 0) == 3'600s);
    CHECK(RetryPolicy{9}.backoff(std::chrono::duration<double>(0.1)).delay(1, 0) == 100ms);
    CHECK(RetryPolicy{9}.backoff(longest - 1ns, 1.0).delay(100, 0) == longest - 1ns);
    CHECK(RetryPolicy{9}.backoff(longest - 1ns).delay(1, 0) == longest - 1ns);
    CHECK(RetryPolicy{9}.backoff(std::chrono::hours::max()).delay(1, 0) == longest);
    CHECK(pauses(RetryPolicy{9}.backoff(0s), 2) == Times{0s, 0s});
}

TEST_CASE("No factor and no number of attempts overflows: the pause is held at the longest") {
    const unsigned many = std::numeric_limits<unsigned>::max();
    CHECK(RetryPolicy{9}.backoff(1ns).delay(63, 0) == nanoseconds(std::int64_t{1} << 62));
    CHECK(RetryPolicy{9}.backoff(1ns).delay(64, 0) == longest);
    CHECK(RetryPolicy{9}.backoff(1ns).delay(many, 0) == longest);
    CHECK(RetryPolicy{9}.backoff(1ns, 1e300).delay(2, 0) == longest);
    CHECK(RetryPolicy{9}.backoff(1ns, 1e300).delay(many, 0) == longest);
    CHECK(pauses(RetryPolicy{9}.backoff(1s, infinity), 3) == Times{1s, longest, longest});
    CHECK(pauses(RetryPolicy{9}.backoff(0s, infinity), 3) == Times{0s, 0s, 0s});
    CHECK(RetryPolicy{9}.backoff(longest, 1.0000001).delay(many, 0) == longest);
    for (const double factor : {0.0, 0.1, 0.9999, 1.0, 1.0001, 2.0, 1e10, 1e300, infinity}) {
        for (const nanoseconds first : {nanoseconds(0), nanoseconds(1), nanoseconds(1h), longest}) {
            for (const unsigned failed : {0U, 1U, 2U, 3U, 62U, 63U, 64U, 65U, 1'000U, many}) {
                CAPTURE(factor, first.count(), failed);
                const nanoseconds plain = RetryPolicy{9}.backoff(first, factor).delay(failed, 0);
                CHECK(plain >= 0s);
                const nanoseconds drawn =
                    RetryPolicy{9}.backoff(first, factor).full_jitter(1).delay(failed, 0);
                CHECK(drawn >= 0s);
                CHECK(drawn <= plain);
            }
        }
    }
}

TEST_CASE("A negative delay, and a factor that is negative or no number, are refused") {
    CHECK_THROWS_AS(RetryPolicy{3}.backoff(-1ns), Error);
    CHECK_THROWS_WITH(RetryPolicy{3}.backoff(-7ns),
                      ContainsSubstring("backoff") && ContainsSubstring("-7 ns"));
    CHECK_THROWS_AS(RetryPolicy{3}.backoff(nanoseconds::min()), Error);
    CHECK_THROWS_AS(RetryPolicy{3}.backoff(std::chrono::duration<double>(not_a_number)), Error);
    CHECK_THROWS_AS(RetryPolicy{3}.backoff(1s, -0.5), Error);
    CHECK_THROWS_WITH(RetryPolicy{3}.backoff(1s, -0.5), ContainsSubstring("-0.5"));
    CHECK_THROWS_AS(RetryPolicy{3}.backoff(1s, -infinity), Error);
    CHECK_THROWS_AS(RetryPolicy{3}.backoff(1s, not_a_number), Error);
    CHECK_THROWS_WITH(RetryPolicy{3}.backoff(1s, not_a_number), ContainsSubstring("nan"));
    CHECK_THROWS_AS(RetryPolicy{3}.cap(-1ns), Error);
    CHECK_THROWS_WITH(RetryPolicy{3}.cap(-7ns),
                      ContainsSubstring("cap") && ContainsSubstring("-7 ns"));
    CHECK_NOTHROW(RetryPolicy{3}.backoff(1s, -0.0));
}

TEST_CASE("The cap holds the pauses, also the first one and one that would overflow") {
    CHECK(pauses(RetryPolicy{9}.backoff(1s).cap(5s), 5) == Times{1s, 2s, 4s, 5s, 5s});
    CHECK(pauses(RetryPolicy{9}.backoff(10s).cap(5s), 2) == Times{5s, 5s});
    CHECK(pauses(RetryPolicy{9}.backoff(10s, 1.0).cap(5s), 2) == Times{5s, 5s});
    CHECK(pauses(RetryPolicy{9}.backoff(1s).cap(0s), 2) == Times{0s, 0s});
    CHECK(RetryPolicy{9}.backoff(1s, 1e300).cap(5s).delay(1'000, 0) == 5s);
    CHECK(RetryPolicy{9}.backoff(1s).cap(longest).delay(1'000, 0) == longest);
}

// --- jitter ----------------------------------------------------------------------------------

TEST_CASE("The same seed, stream and attempt give the same pause, others give others") {
    const RetryPolicy policy = RetryPolicy{9}.backoff(1h, 1.0).full_jitter(7);
    const RetryPolicy twin = RetryPolicy{2}.full_jitter(7).backoff(1h, 1.0);
    CHECK(pauses(policy, 20, 3) == pauses(twin, 20, 3));
    std::set<nanoseconds> different;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        for (std::uint64_t stream = 0; stream < 20; ++stream) {
            for (const nanoseconds pause :
                 pauses(RetryPolicy{9}.backoff(1h, 1.0).full_jitter(seed), 20, stream)) {
                different.insert(pause);
            }
        }
    }
    CHECK(different.size() == 20 * 20 * 20);
}

TEST_CASE("Without a seed each policy has one of its own, and copies share it") {
    const auto draw = [](const RetryPolicy& policy) { return policy.delay(1, 0); };
    std::set<nanoseconds> different;
    for (int i = 0; i < 100; ++i) {
        const RetryPolicy policy = RetryPolicy{9}.backoff(24h).full_jitter();
        const RetryPolicy copy = policy;
        CHECK(draw(policy) == draw(policy));
        CHECK(draw(policy) == draw(copy));
        different.insert(draw(policy));
    }
    CHECK(different.size() == 100);
}

TEST_CASE("no_jitter takes the jitter back") {
    CHECK(pauses(RetryPolicy{9}.full_jitter(3).backoff(1s).no_jitter(), 3) == Times{1s, 2s, 4s});
}

TEST_CASE("Jitter draws from zero up to the backoff and the cap, both included") {
    for (const std::int64_t most : {0, 1, 2, 5, 16}) {
        CAPTURE(most);
        std::vector<int> hits(static_cast<std::size_t>(most) + 1);
        const RetryPolicy policy = RetryPolicy{9}.backoff(1s).cap(nanoseconds(most)).full_jitter(5);
        for (std::uint64_t stream = 0; stream < 2'000; ++stream) {
            const nanoseconds pause = policy.delay(1, stream);
            REQUIRE(pause >= 0s);
            REQUIRE(pause <= nanoseconds(most));
            ++hits[static_cast<std::size_t>(pause.count())];
        }
        const int fair = 2'000 / (static_cast<int>(most) + 1);
        for (const int count : hits) {
            CHECK(count > fair * 7 / 10);
            CHECK(count < fair * 13 / 10 + 1);
        }
    }
}

TEST_CASE("Jitter is even: mean, extremes and a chi-square over 20 buckets, by any index") {
    // The streams of one attempt, the attempts of one stream, and the seeds, one after the other.
    const std::string by = GENERATE("stream", "attempt", "seed");
    // The last is where a remainder without a correction would favour the lower half.
    const nanoseconds most = GENERATE(nanoseconds(1s), nanoseconds(999'999'937), nanoseconds(24h),
                                      longest, nanoseconds(longest / 4 * 3));
    for (const std::uint64_t fixed : {0U, 1U, 42U, 4'000'000'000U}) {
        CAPTURE(by, most.count(), fixed);
        const RetryPolicy policy = RetryPolicy{9}.backoff(most, 1.0).full_jitter(fixed);
        constexpr unsigned draws = 20'000;
        std::array<double, 20> buckets{};
        double sum = 0;
        double least = 1;
        double greatest = 0;
        for (unsigned i = 1; i <= draws; ++i) {
            nanoseconds pause{};
            if (by == "stream") pause = policy.delay(2, i);
            if (by == "attempt") pause = policy.delay(i, fixed);
            if (by == "seed") pause = RetryPolicy{policy}.full_jitter(i).delay(3, fixed);
            REQUIRE(pause >= 0s);
            REQUIRE(pause <= most);
            const double part =
                static_cast<double>(pause.count()) / static_cast<double>(most.count());
            buckets[std::min<std::size_t>(19, static_cast<std::size_t>(part * 20))] += 1;
            sum += part;
            least = std::min(least, part);
            greatest = std::max(greatest, part);
        }
        // Five standard deviations of the mean; of 19 degrees of freedom 50 is beyond 0.9999.
        CHECK(sum / draws > 0.5 - 5 * 0.289 / 141.4);
        CHECK(sum / draws < 0.5 + 5 * 0.289 / 141.4);
        CHECK(least < 0.001);
        CHECK(greatest > 0.999);
        const double expected = draws / 20.0;
        double chi_square = 0;
        for (const double count : buckets) {
            chi_square += (count - expected) * (count - expected) / expected;
        }
        CHECK(chi_square < 50);
    }
}

TEST_CASE("The pauses of two streams have nothing to do with each other") {
    const RetryPolicy policy = RetryPolicy{9}.backoff(1s, 1.0).full_jitter(11);
    double sum = 0;
    for (unsigned failed = 1; failed <= 10'000; ++failed) {
        const auto part = [&](std::uint64_t stream) {
            return static_cast<double>(policy.delay(failed, stream).count()) / 1e9 - 0.5;
        };
        sum += part(1) * part(2);
    }
    CHECK(sum / 10'000 < 5.0 / 12 / 100);
    CHECK(sum / 10'000 > -5.0 / 12 / 100);
}

// --- when ------------------------------------------------------------------------------------

TEST_CASE("A predicate on an exception type is asked about that type and what derives from it") {
    int asked = 0;
    const RetryPolicy policy = RetryPolicy{3}.when([&](const HttpError& error) {
        ++asked;
        return error.status() >= 500;
    });
    CHECK(policy.wants(http_503));
    CHECK(policy.wants(gateway_502));
    CHECK(!policy.wants(http_404));
    CHECK(asked == 3);
    CHECK(!policy.wants(logic));
    CHECK(!policy.wants(number));
    CHECK(!policy.wants(std::make_exception_ptr(Cancelled())));
    CHECK(asked == 3);
}

TEST_CASE("A predicate on std::exception_ptr is always asked, and sees the error itself") {
    std::vector<std::exception_ptr> asked;
    const RetryPolicy policy = RetryPolicy{3}.when([&](const std::exception_ptr& error) {
        asked.push_back(error);
        return error != http_404;
    });
    CHECK(policy.wants(http_503));
    CHECK(!policy.wants(http_404));
    CHECK(policy.wants(number));
    CHECK(asked == std::vector<std::exception_ptr>{http_503, http_404, number});
    const RetryPolicy by_value =
        RetryPolicy{3}.when([](std::exception_ptr error) { return error == logic; });
    CHECK(by_value.wants(logic));
    CHECK(!by_value.wants(number));
}

TEST_CASE("A predicate is a function, a lambda, a function object or a const member function") {
    CHECK(RetryPolicy{3}.when(is_server_error).wants(http_503));
    CHECK(!RetryPolicy{3}.when(&is_server_error).wants(http_404));
    CHECK(RetryPolicy{3}.when(is_logic).wants(logic));
    CHECK(RetryPolicy{3}.when(&HttpError::may_be_retried).wants(gateway_502));
    CHECK(!RetryPolicy{3}.when(&HttpError::may_be_retried).wants(http_404));
    CHECK(!RetryPolicy{3}.when(&HttpError::may_be_retried).wants(logic));
    const std::function<bool(const HttpError&)> function = is_server_error;
    CHECK(RetryPolicy{3}.when(function).wants(http_503));
    CHECK(RetryPolicy{3}.when([](int value) { return value == 42; }).wants(number));
    CHECK(!RetryPolicy{3}.when([](const int& value) { return value == 41; }).wants(number));
    CHECK(!RetryPolicy{3}.when([](const long&) { return true; }).wants(number));
    CHECK(RetryPolicy{3}.when([](const std::exception&) { return 1; }).wants(logic));
    RetryPolicy counts{3};
    counts.when([left = 2](const std::exception&) mutable { return left-- > 0; });
    CHECK(counts.wants(logic));
    CHECK(counts.wants(logic));
    CHECK(!counts.wants(logic));
}

TEST_CASE("A null pointer is no predicate") {
    bool (*function)(const HttpError&) = nullptr;
    bool (HttpError::*member)() const noexcept = nullptr;
    RetryPolicy policy = RetryPolicy{3}.when(is_logic);
    CHECK_THROWS_AS(policy.when(function), Error);
    CHECK_THROWS_AS(policy.when(member), Error);
    CHECK(policy.wants(logic));
}

TEST_CASE("What a predicate throws comes out of the question, whichever it takes") {
    const RetryPolicy typed = RetryPolicy{3}.when(
        [](const HttpError&) -> bool { throw std::out_of_range("as the test wants it"); });
    CHECK_THROWS_AS(typed.wants(http_503), std::out_of_range);
    CHECK(!typed.wants(logic));
    const RetryPolicy untyped = RetryPolicy{3}.when(
        [](const std::exception_ptr&) -> bool { throw std::out_of_range("as the test wants it"); });
    CHECK_THROWS_AS(untyped.wants(logic), std::out_of_range);
}

TEST_CASE("Without an error a predicate on a type is not asked") {
    CHECK(!RetryPolicy{3}.when([](const std::exception&) { return true; }).wants(nullptr));
    CHECK(RetryPolicy{3}.wants(nullptr));
}

TEST_CASE("A predicate lives as long as a policy that has it, and may be move-only") {
    Counted::reset();
    {
        RetryPolicy outer{1};
        {
            const Counted captured(500);
            const auto pred = [captured](const HttpError& error) {
                return error.status() >= captured.value;
            };
            const RetryPolicy inner = RetryPolicy{3}.backoff(1s).when(pred);
            outer = inner;
        }
        CHECK(Counted::live() == 1);
        CHECK(outer.wants(http_503));
        CHECK(!outer.wants(http_404));
        auto least = std::make_unique<int>(400);
        outer.when([least = std::move(least)](const HttpError& error) {
            return error.status() >= *least;
        });
        CHECK(Counted::live() == 0);
        CHECK(outer.wants(http_404));
    }
    CHECK(Counted::live() == 0);
}
