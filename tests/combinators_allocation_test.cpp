// Allocations of the whole program are counted here, and made to fail one after the other.
#include <grafo/grafo.hpp>

#include <cstddef>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#include "allocations.hpp"
#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace std::chrono_literals;
using grafo_test::allocations;
using grafo_test::Counted;
using grafo_test::fail_at;

namespace {

Task<Counted> later(Counted value) {
    co_await sleep_for(1ms);
    co_return Counted(value.value + 1);
}

// How many allocations a second time takes: the frames come from the pool then.
template <class Body>
Task<std::size_t> count(Body body) {
    co_await body();
    const std::size_t before = allocations;
    co_await body();
    co_return allocations - before;
}

std::vector<Task<Counted>> several() {
    std::vector<Task<Counted>> tasks;
    tasks.reserve(20);
    for (int i = 0; i < 20; ++i) tasks.push_back(later(Counted(i)));
    return tasks;
}

Task<int> everything() {
    int sum = 0;
    const auto [a, b] = co_await when_all(later(Counted(1)), later(Counted(2)));
    sum += a.value + b.value;
    const auto all = co_await when_all(several());
    sum += all[3].value;
    const auto any = co_await when_any(later(Counted(1)), sleep_for(1h));
    sum += std::get<0>(any.value).value;
    const auto first = co_await when_any(several());
    sum += first.value.value;
    const auto settled = co_await when_all_settled(several());
    sum += settled[5].value().value;
    const Counted in_time = co_await with_timeout(1h, later(Counted(1)));
    sum += in_time.value;
    std::vector<Counted> items;
    for (int i = 0; i < 5; ++i) items.emplace_back(i);
    auto mapped = map_each(later, 2)(std::move(items));
    while (const Counted* item = co_await with_timeout(1h, mapped.next())) sum += item->value;
    co_return sum;
}

}  // namespace

TEST_CASE("Combinators of packs allocate nothing, those of vectors one block beside the result") {
#if defined(GRAFO_NO_FRAME_RECYCLING)
    WARN("frames are not recycled under the sanitizers");
#else
    EventLoop loop{virtual_time};
    // One each: a frame of more than 1 KiB is not recycled.
    const auto pack = []() -> Task<> {
        co_await when_all(later(Counted(1)), later(Counted(2)), sleep_for(1ms));
    };
    CHECK(loop.run(count(pack)) == 0);
    const auto settled_pack = []() -> Task<> {
        co_await when_all_settled(later(Counted(1)), later(Counted(2)));
    };
    CHECK(loop.run(count(settled_pack)) == 0);
    const auto any_of_pack = []() -> Task<> {
        co_await when_any(later(Counted(1)), sleep_for(1h));
    };
    CHECK(loop.run(count(any_of_pack)) == 0);
    const auto limited = []() -> Task<> {
        co_await with_timeout(1h, when_all(later(Counted(1)), later(Counted(2))));
    };
    CHECK(loop.run(count(limited)) == 0);
    // The vector given, the block, the result.
    const auto all = []() -> Task<> { co_await when_all(several()); };
    CHECK(loop.run(count(all)) == 3);
    const auto settled = []() -> Task<> { co_await when_all_settled(several()); };
    CHECK(loop.run(count(settled)) == 3);
    const auto any = []() -> Task<> { co_await when_any(several()); };
    CHECK(loop.run(count(any)) == 2);
    // The same for ten items as for a thousand.
    const auto map = [](int items) {
        return [items]() -> Task<> {
            std::vector<Counted> counted(static_cast<std::size_t>(items));
            auto mapped = map_each(later, 2)(std::move(counted));
            while (co_await mapped.next()) {
            }
        };
    };
    CHECK(loop.run(count(map(1'000))) == loop.run(count(map(10))));
#endif
}

TEST_CASE("Wherever an allocation fails, std::bad_alloc comes out and nothing is left behind") {
    const int whole = [] {
        EventLoop loop{virtual_time};
        return loop.run(everything());
    }();
    Counted::reset();
    for (std::size_t n = 1;; ++n) {
        CAPTURE(n);
        bool failed = false;
        int result = 0;
        try {
            EventLoop loop{virtual_time};
            allocations = 0;
            fail_at = n;
            result = loop.run(everything());
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        const bool reached = allocations >= n;
        fail_at = std::numeric_limits<std::size_t>::max();
        REQUIRE(Counted::live() == 0);
        REQUIRE(failed == reached);
        if (!reached) {
            CHECK(result == whole);
            CHECK(n > 10);
            break;
        }
    }
}
