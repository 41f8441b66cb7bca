// What docs/gcc12.md says to write where g++ 12.2 destroys a temporary twice, and the library's own
// types written as temporaries: every object is destroyed once, however the coroutine ends.
#include <chrono>
#include <coroutine>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::Counted;

namespace {

enum class End { completes, cancelled, dropped };
End ending = End::completes;

// Where the bodies below are when they are cancelled or dropped.
Task<> stay() {
    if (ending == End::completes) {
        co_await grafo::yield();
    } else {
        co_await std::suspend_always();
    }
}

Task<> turns() {
    for (int i = 0; i < 20; ++i) co_await grafo::yield();
}

Task<> drop_stream_of(TreeExecutor executor) {
    AsyncGenerator<Event> events = executor.yielding();
    Event* first = co_await events.next();
    CHECK((first != nullptr && first->kind() == EventKind::started));
    co_await turns();
    events = AsyncGenerator<Event>();
}

// Runs the body, which gives `expected`, to its end, then up to a pause in which it is cancelled,
// then up to one in which it is dropped. Each time every object was destroyed exactly once.
template <class Body>
void check_once(int expected, const Body& body) {
    for (const End end : {End::completes, End::cancelled, End::dropped}) {
        ending = end;
        CAPTURE(static_cast<int>(end));
        Counted::reset();
        {
            EventLoop loop{virtual_time};
            bool over = false;
            const auto watched = [&]() -> Task<int> {
                const int value = co_await body();
                over = true;
                co_return value;
            };
            if (end == End::completes) {
                CHECK(loop.run(watched()) == expected);
            } else if (end == End::cancelled) {
                loop.spawn(watched());
                loop.run(turns());
            } else {
                loop.run(drop_stream_of(TreeExecutor{Node{"body", watched}}));
            }
            CHECK(over == (end == End::completes));
        }
        CHECK(Counted::constructed() > 0);
        CHECK(Counted::live() == 0);
    }
    ending = End::completes;
}

// An aggregate, with memory of its own beside the counted object.
struct Order {
    Counted counted;
    std::string text = "a text that does not fit into the string itself";
};

// The same with a constructor.
struct BuiltOrder {
    explicit BuiltOrder(int value) : counted(value) {}
    Counted counted;
    std::string text = "a text that does not fit into the string itself";
};

template <class O>
Task<int> take(O order) {
    co_await stay();
    co_return order.text.empty() ? -1 : order.counted.value;
}

template <class O>
Task<int> look_at(const O& order) {
    co_await stay();
    co_return order.text.empty() ? -1 : order.counted.value;
}

Task<int> take_default(BuiltOrder order = BuiltOrder(9)) {
    co_await stay();
    co_return order.counted.value;
}

template <class F>
Task<int> call(F f) {
    co_await stay();
    co_return f();
}

Task<Counted> make(int value) {
    co_await grafo::yield();
    co_return Counted(value);
}

Task<bool> decide(bool value) {
    co_await grafo::yield();
    co_return value;
}

Task<int> sum_of(std::vector<Counted> parts) {
    co_await stay();
    int sum = 0;
    for (const Counted& part : parts) sum += part.value;
    co_return sum;
}

template <class T>
Task<int> sum_of_items(AsyncGenerator<T> items) {
    int sum = 0;
    while (auto* item = co_await items.next()) {
        sum += item->counted.value;
        co_await stay();
    }
    co_return sum;
}

Task<int> use(Counted counted) {
    co_await stay();
    co_return counted.value;
}

// Functions, not lambdas: there g++ 12.2 ends a body early at a co_await in a condition.
Task<int> choose_by_name(Counted counted) {
    const bool first = co_await decide(counted.value == 1);
    if (first) {
        co_await stay();
        counted.value += 10;
    } else {
        co_await stay();
        counted.value += 20;
    }
    co_return counted.value + 100;
}

Task<int> loop_by_name(Counted counted) {
    for (;;) {
        const bool more = co_await decide(counted.value < 3);
        if (!more) break;
        co_await stay();
        ++counted.value;
    }
    const int value = co_await take(BuiltOrder(counted.value));
    switch (value) {
        case 3: co_return 30;
        default: co_return -1;
    }
}

int add(int a, int b) { return a + b; }
int total(const std::vector<int>& parts) {
    int sum = 0;
    for (const int part : parts) sum += part;
    return sum;
}

std::chrono::hours hours_of(const Counted& counted) { return std::chrono::hours(counted.value); }

}  // namespace

// ---- the table: what to write instead ---------------------------------------------------------

TEST_CASE("Instead of an aggregate as an argument: a named one that is moved") {
    check_once(1, []() -> Task<int> {
        Order order{.counted = Counted(1)};
        co_return co_await take(std::move(order));
    });
}

TEST_CASE("Instead of an aggregate as an argument: a named one that is referred to") {
    check_once(2, []() -> Task<int> {
        const Order order{.counted = Counted(2)};
        co_return co_await look_at(order);
    });
}

TEST_CASE("Instead of an aggregate as an argument: a type with a constructor") {
    STATIC_REQUIRE(std::is_aggregate_v<Order>);
    STATIC_REQUIRE_FALSE(std::is_aggregate_v<BuiltOrder>);
    check_once(3, []() -> Task<int> { co_return co_await take(BuiltOrder(3)); });
    check_once(4, []() -> Task<int> { co_return co_await look_at(BuiltOrder(4)); });
}

TEST_CASE("Instead of an aggregate default argument: a type with a constructor") {
    check_once(9, []() -> Task<int> { co_return co_await take_default(); });
}

TEST_CASE("Instead of a closure as an argument: a named lambda") {
    check_once(5, []() -> Task<int> {
        const Counted counted(5);
        auto give = [counted] { return counted.value; };
        co_return co_await call(std::move(give));
    });
}

TEST_CASE("Instead of a closure that is called at once: a named lambda") {
    check_once(6, []() -> Task<int> {
        const Counted counted(6);
        const auto body = [counted]() -> Task<int> {
            co_await stay();
            co_return counted.value;
        };
        co_return co_await body();
    });
}

TEST_CASE("A closure with trivially destructible captures may stand in the expression") {
    check_once(7, []() -> Task<int> {
        const Counted counted(7);
        co_return co_await call([&counted] { return counted.value; });
    });
    check_once(8, []() -> Task<int> {
        const Counted counted(8);
        co_return co_await [](const Counted* seen) -> Task<int> {
            co_await stay();
            co_return seen->value;
        }(&counted);
    });
}

TEST_CASE("Instead of yielding an aggregate: yield a named one") {
    const auto orders = []() -> AsyncGenerator<Order> {
        for (int i = 1; i <= 3; ++i) {
            Order order{.counted = Counted(i)};
            co_yield order;
        }
    };
    check_once(6, [&] { return sum_of_items(orders()); });
}

TEST_CASE("Instead of yielding an aggregate: yield a type with a constructor") {
    const auto orders = []() -> AsyncGenerator<BuiltOrder> {
        for (int i = 1; i <= 3; ++i) co_yield BuiltOrder(i);
    };
    check_once(6, [&] { return sum_of_items(orders()); });
}

TEST_CASE("Instead of co_await inside an aggregate's braces: separate statements") {
    check_once(3, []() -> Task<int> {
        Counted counted = co_await make(3);
        Order order{.counted = std::move(counted)};
        co_await stay();
        co_return order.counted.value;
    });
}

TEST_CASE("Instead of co_await in a conditional expression: separate statements") {
    for (const bool first : {true, false}) {
        check_once(first ? 1 : 2, [first]() -> Task<int> {
            const bool decided = co_await decide(first);
            const Counted chosen = decided ? Counted(1) : Counted(2);
            co_await stay();
            co_return chosen.value;
        });
    }
}

TEST_CASE("Instead of co_await in the condition of an if: a named bool") {
    check_once(111, [] { return choose_by_name(Counted(1)); });
    check_once(122, [] { return choose_by_name(Counted(2)); });
}

TEST_CASE("Instead of co_await in the condition of a loop or a switch: a named value") {
    check_once(30, [] { return loop_by_name(Counted(0)); });
}

TEST_CASE("Instead of co_await inside an initializer list: separate statements") {
    check_once(3, []() -> Task<int> {
        std::vector<Counted> both;
        both.push_back(co_await make(1));
        both.push_back(co_await make(2));
        co_await stay();
        co_return both[0].value + both[1].value;
    });
}

TEST_CASE("Instead of an initializer list as an argument: a named container") {
    check_once(7, []() -> Task<int> {
        std::vector<Counted> parts{Counted(3), Counted(4)};
        co_return co_await sum_of(std::move(parts));
    });
}

TEST_CASE("Instead of a closure given to offload: a named lambda") {
    Counted::reset();
    {
        ThreadPool pool{1};
        const auto body = [&pool]() -> Task<int> {
            const Counted counted(11);
            auto work = [counted] { return Counted(counted.value + 1); };
            const Counted result = co_await offload(pool, std::move(work));
            co_return result.value;
        };
        CHECK(run(body()) == 12);
    }
    CHECK(Counted::constructed() == 2);
    CHECK(Counted::live() == 0);
}

// ---- temporaries that need no care ------------------------------------------------------------

TEST_CASE("Temporaries of a type with a constructor live to the end of their co_await") {
    check_once(3, []() -> Task<int> {
        const int value = co_await look_at(BuiltOrder((co_await make(3)).value));
        CHECK(Counted::live() == 0);
        co_return value;
    });
}

TEST_CASE("Tasks as temporaries, inside each other and in sums, are destroyed once") {
    check_once(6, []() -> Task<int> {
        const int nested = co_await use(co_await make(1));
        const int sum = co_await use(Counted(2)) + co_await use(Counted(3));
        co_return nested + sum;
    });
}

TEST_CASE("A task that is a temporary of a condition or a loop is destroyed once a turn") {
    check_once(3, []() -> Task<int> {
        int rounds = 0;
        while (co_await use(Counted(rounds)) < 3) ++rounds;
        if (co_await use(Counted(1)) != 1) co_return -1;
        co_return rounds;
    });
}

TEST_CASE("A sleep, and what its duration was made of, are destroyed once") {
    check_once(4, []() -> Task<int> {
        const auto before = EventLoop::current().now();
        co_await sleep_for(hours_of(Counted(1)));
        co_await sleep_until(EventLoop::current().now() + hours_of(Counted(3)));
        const auto slept = EventLoop::current().now() - before;
        co_return static_cast<int>(std::chrono::duration_cast<std::chrono::hours>(slept).count());
    });
}

TEST_CASE("A yield in one expression with a counted temporary is destroyed once") {
    check_once(2, []() -> Task<int> {
        const int value = (co_await grafo::yield(), co_await use(Counted(2)));
        co_return value;
    });
}

TEST_CASE("next() of a generator that is a temporary is destroyed once") {
    const auto orders = [](Counted start) -> AsyncGenerator<BuiltOrder> {
        co_await stay();
        co_yield BuiltOrder(start.value + 1);
    };
    check_once(
        5, [&]() -> Task<int> { co_return (co_await orders(Counted(4)).next())->counted.value; });
}

TEST_CASE("Yielded temporaries are destroyed once: converted, move-only and counted items") {
    const auto numbers = []() -> AsyncGenerator<Counted> {
        co_yield Counted(1);
        co_yield co_await make(2);
    };
    const auto texts = []() -> AsyncGenerator<std::string> {
        co_yield "a literal that does not fit into the string itself";
        co_yield std::string(40, 'x');
    };
    const auto owners = []() -> AsyncGenerator<std::unique_ptr<Counted>> {
        co_yield std::make_unique<Counted>(3);
    };
    check_once(96, [&]() -> Task<int> {
        int sum = 0;
        AsyncGenerator<Counted> some_numbers = numbers();
        while (const Counted* item = co_await some_numbers.next()) sum += item->value;
        AsyncGenerator<std::string> some_texts = texts();
        while (const std::string* item = co_await some_texts.next()) {
            sum += static_cast<int>(item->size());
        }
        AsyncGenerator<std::unique_ptr<Counted>> some_owners = owners();
        while (const std::unique_ptr<Counted>* item = co_await some_owners.next()) {
            sum += (*item)->value;
            co_await stay();
        }
        co_return sum;
    });
}

TEST_CASE("A value bound in a plain function is destroyed with its node, once") {
    const auto build = [] { return Node{"use", use, "counted"_a = Counted(4)}; };
    check_once(4, [&]() -> Task<int> {
        const Node node = build();
        co_await TreeExecutor{node}.run();
        co_return node.output();
    });
}

TEST_CASE("An executor, its node and its arguments may all be temporaries of one co_await") {
    check_once(1, []() -> Task<int> {
        const RunReport report =
            co_await TreeExecutor{Node{"use", use, "counted"_a = Counted(4)}}.run();
        co_return static_cast<int>(report.completed().size());
    });
    check_once(1, []() -> Task<int> {
        co_return static_cast<int>(
            (co_await TreeExecutor{Node{"use", use, "counted"_a = Counted(5)}}.try_run())
                .completed()
                .size());
    });
}

TEST_CASE("An executor with a name and a list in braces may be a temporary of a co_await") {
    check_once(9, []() -> Task<int> {
        const Node first{"first", use, "counted"_a = Counted(4)};
        const Node second{"second", use, "counted"_a = Counted(5)};
        co_await TreeExecutor{"both", NodeList(first, second)}.run();
        co_return first.output() + second.output();
    });
}

TEST_CASE("An executor with settings, and several nodes, may be a temporary of a co_await") {
    check_once(9, []() -> Task<int> {
        const Node first{"first", use, "counted"_a = Counted(4)};
        const Node second{"second", use, "counted"_a = Counted(5)};
        co_await TreeExecutor{first, second}
            .on_error(ErrorPolicy::keep_going)
            .max_concurrency(2)
            .timing(false)
            .description("a description that does not fit into the string itself")
            .run();
        co_return first.output() + second.output();
    });
}

TEST_CASE("A stream of a temporary executor may be a temporary itself: that drops its run") {
    check_once(1, []() -> Task<int> {
        const Node node{"use", use, "counted"_a = Counted(4)};
        const EventKind kind = (co_await TreeExecutor{node}.yielding().next())->kind();
        CHECK(kind == EventKind::started);
        CHECK(node.state() != NodeState::completed);
        co_await stay();
        co_return 1;
    });
}

TEST_CASE("Settings, transforms and lists may be written inside the co_await that runs them") {
    check_once(1, []() -> Task<int> {
        const Node first{"first", use, "counted"_a = Counted(4)};
        const Node second{"second", add, "a"_a = 3, "b"_a = first};
        const auto negate = [](int x) { return -x; };
        const RunReport report = co_await TreeExecutor{
            Node{"total", total, "parts"_args = gather(first, second.map(negate))}
                .timeout(1h)
                .collect(false)
                .on_before_run(
                    [] {})}.run();
        co_return report.completed().size() == 3 ? 1 : 0;
    });
}

TEST_CASE("connect may be called with temporaries inside a co_await expression") {
    check_once(8, []() -> Task<int> {
        const Node source{"source", use, "counted"_a = Counted(4)};
        const Node sum{"sum", add, "a"_a, "b"_a};
        source.connect(sum, forward_as(std::string("a")));
        co_await TreeExecutor{source.connect(sum, "b"_a)}.run();
        co_return sum.output();
    });
}

TEST_CASE("skip, and what its reason was made of, are destroyed once, and the body unwinds") {
    for (const bool thrown : {false, true}) {
        CAPTURE(thrown);
        check_once(1, [thrown]() -> Task<int> {
            int past = 0;
            const auto reason = [](const Counted& counted) {
                return std::string(40, static_cast<char>('a' + counted.value));
            };
            const auto body = [&past, thrown, reason](Counted counted) -> Task<int> {
                co_await stay();
                if (thrown) throw Skip{reason(Counted(1))};
                co_await skip(reason(Counted(1)));
                ++past;
                co_return counted.value;
            };
            const Node node{"skips", body, "counted"_a = Counted(4)};
            co_await TreeExecutor{node}.run();
            CHECK(past == 0);
            co_return node.state() == NodeState::skipped ? 1 : 0;
        });
    }
}

TEST_CASE("An exception out of an awaited temporary destroys it, and its siblings, once") {
    const auto fail = [](const Counted& counted) -> Task<int> {
        co_await stay();
        throw std::to_string(counted.value);
    };
    check_once(7, [&]() -> Task<int> {
        std::string caught;
        try {
            co_await take(BuiltOrder(co_await fail(Counted(7))));
        } catch (const std::string& text) {
            caught = text;
        }
        CHECK(Counted::live() == 0);
        co_return caught == "7" ? 7 : 0;
    });
}

TEST_CASE("iterate over the stream of a temporary executor destroys everything once") {
    Counted::reset();
    ending = End::completes;
    int completed = 0;
    const auto build = [] { return Node{"use", use, "counted"_a = Counted(4)}; };
    for (const Event& event : iterate(TreeExecutor{build()}.yielding())) {
        if (event.kind() == EventKind::completed) ++completed;
    }
    CHECK(completed == 1);
    CHECK(Counted::constructed() == 1);
    CHECK(Counted::live() == 0);
}
