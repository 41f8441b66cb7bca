// Allocations of the whole program are counted here, and made to fail one after the other.
#include <grafo/grafo.hpp>

#include <coroutine>
#include <cstddef>
#include <limits>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "allocations.hpp"
#include "catch.hpp"
#include "counted.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using grafo_test::allocations;
using grafo_test::Counted;
using grafo_test::fail_at;
using grafo_test::frees;
using grafo_test::largest_allocation;

namespace {

Task<Counted> make(int value) {
    co_await sleep_for(1ms);
    co_return Counted(value);
}
Task<Counted> add(Counted a, const Counted& b) {
    co_await grafo::yield();
    co_return Counted(a.value + b.value);
}
AsyncGenerator<Counted> count_to(int n) {
    for (int i = 0; i < n; ++i) {
        const Counted item(i);
        co_yield item;
    }
}
Task<Counted> later(const Counted& value) {
    co_await sleep_for(1ms);
    co_return Counted(value.value + 1);
}

// A graph of everything: coroutines, a generator, a list, a coroutine transform, a deferred
// argument, callbacks, a timeout, an edge made in the run, and a failure that is survived.
int run_everything(bool streaming) {
    const Counted capture(1);
    Node left{"left", make, "value"_a = 1};
    Node right = Node{"right", make, "value"_a = [capture] { return capture.value; }}.timeout(1h);
    Node sum{"sum", add, "a"_a = left, "b"_a = right.map(later)};
    Node items{"items", count_to, "n"_a = 3};
    Node list{"list", [](const std::vector<Counted>& all) { return all.size(); },
              "all"_args = gather(left, sum)};
    Node failing{"failing",
                 [](const std::vector<Counted>& all) {
                     if (!all.empty()) throw std::length_error("too many, as the test wants it");
                 },
                 "all"_a = items};
    sum.on_after_run([&](const Node<Counted>& node) {
        Node late{"late", [](Counted value) { return value.value; }, "value"_a};
        node.connect(late, "value"_a);
    });
    TreeExecutor executor{"everything", {left, right, items}};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    if (streaming) {
        const auto consume = [&]() -> Task<> {
            auto events = executor.yielding();
            try {
                while (co_await events.next() != nullptr) {
                }
            } catch (const RunError&) {
            }
        };
        loop.run(consume());
    } else {
        static_cast<void>(loop.run(executor.try_run()));
    }
    const auto report = executor.report();
    return static_cast<int>(list.output() + report.completed().size() + report.failed().size());
}

// An awaitable of another library that is there at once, after all.
struct AtOnce {
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
    int await_resume() const noexcept { return 3; }
};

// While it lives, no coroutine frame comes from the pool but those that were given back meanwhile.
class EmptyPool {
public:
    EmptyPool() {
        frames_.reserve(10'000);
        for (std::size_t size = 64; size <= 1024; size += 64) {
            const std::size_t before = allocations;
            while (allocations == before) {  // until one is fresh
                frames_.push_back({detail::FramePool::allocate(size), size});
            }
        }
    }
    EmptyPool(const EmptyPool&) = delete;
    EmptyPool& operator=(const EmptyPool&) = delete;
    ~EmptyPool() {
        for (const Frame& frame : frames_) detail::FramePool::deallocate(frame.memory, frame.size);
    }

private:
    struct Frame {
        void* memory;
        std::size_t size;
    };
    std::vector<Frame> frames_;
};

}  // namespace

TEST_CASE("A foreign await for which there is no memory throws bad_alloc, and the loop goes on") {
    int failures = 0;
    const auto ask = []() -> Task<int> { co_return co_await AtOnce(); };
    const auto body = [&]() -> Task<int> {
        int got = 0;
        try {
            got = co_await ask();
        } catch (const std::bad_alloc&) {
            ++failures;
        }
        co_await grafo::yield();
        co_return got;
    };
    for (std::size_t n = 1;; ++n) {
        const EmptyPool empty;
        EventLoop loop{virtual_time};
        int got = 0;
        allocations = 0;
        fail_at = n;
        try {
            got = loop.run(body());
        } catch (const std::bad_alloc&) {
        }
        fail_at = std::numeric_limits<std::size_t>::max();
        CHECK(detail::LoopAccess::core(loop).out == 0);  // it waits for nobody
        if (allocations >= n) continue;
        CHECK(got == 3);
        break;
    }
    CHECK(failures == 2);  // of its frame, and of the one that the other library gets
}

TEST_CASE("Whichever allocation fails, bad_alloc comes out and everything is given back") {
    const bool streaming = GENERATE(false, true);
    Counted::reset();
    CHECK(run_everything(streaming) == 2 + 6 + 1);
    CHECK(Counted::live() == 0);
    std::size_t failures = 0;
    for (std::size_t n = 1;; ++n) {
        Counted::reset();
        bool failed = false;
        allocations = 0;
        fail_at = n;
        try {
            static_cast<void>(run_everything(streaming));
        } catch (const std::bad_alloc&) {
            failed = true;
        } catch (const Error&) {
            failed = true;  // a node's own bad_alloc is its failure: `list` has no output then
        }
        fail_at = std::numeric_limits<std::size_t>::max();
        const bool reached = allocations >= n;
        INFO("allocation " << n);
        CHECK(Counted::live() == 0);
        if (failed) ++failures;
        if (!reached) break;
    }
    CHECK(failures > 50);
}

TEST_CASE(
    "Nodes made in a run go at its end, whichever allocation failed, though the graph lives") {
    const auto grow = [](NodeContext& context) {
        const Node a{"a", [c = Counted(1)] { return c.value; }};
        const Node b{"b", [c = Counted(2)](int x) { return x + c.value; }, "x"_a};
        a.connect(b, "x"_a);
        context.node().connect(a);
    };
    const Node first{"first", grow};
    const Node second{"second", [] {}};
    first.connect(second);
    for (std::size_t n = 1;; ++n) {
        const EmptyPool empty;
        EventLoop loop{virtual_time};
        Counted::reset();
        allocations = 0;
        fail_at = n;
        try {
            loop.run(TreeExecutor{first}.run());
        } catch (const std::bad_alloc&) {
        } catch (const Error&) {
        }
        fail_at = std::numeric_limits<std::size_t>::max();
        INFO("allocation " << n);
        CHECK(Counted::live() == 0);
        CHECK(first.children() == std::vector{AnyNode(second)});
        if (allocations < n) break;
    }
}

TEST_CASE("Whichever allocation fails while many nodes begin to wait, each of them ends once") {
    constexpr int count = 40;
    for (std::size_t n = 1;; ++n) {
        const EmptyPool empty;
        Node root{"root", []() -> Task<> { co_return; }};
        for (int i = 0; i < count; ++i) {
            root.connect(Node{"sleeper" + std::to_string(i), [] { return sleep_for(1ms); }});
        }
        TreeExecutor executor{root};
        executor.on_error(ErrorPolicy::keep_going);
        EventLoop loop{virtual_time};
        Task<RunReport> run = executor.try_run();
        INFO("allocation " << n);
        allocations = 0;
        fail_at = n;
        try {
            const RunReport report = loop.run(std::move(run));
            fail_at = std::numeric_limits<std::size_t>::max();
            CHECK(report.completed().size() + report.failed().size() + report.skipped().size() ==
                  count + 1);
        } catch (const std::bad_alloc&) {
        }
        fail_at = std::numeric_limits<std::size_t>::max();
        if (allocations < n) break;
    }
}

TEST_CASE("Timeouts that are not reached do not gather in the loop, beside a sleep that goes on") {
    const auto sleeper = []() -> Task<> { co_await sleep_for(1h); };
    const auto body = []() -> Task<> {
        const auto nothing = []() -> Task<> { co_return; };
        for (int i = 0; i < 100'000; ++i) co_await with_timeout(1h, nothing());
    };
    EventLoop loop{virtual_time};
    loop.spawn(sleeper());
    largest_allocation = 0;
    loop.run(body());
    CHECK(largest_allocation < 10'000);
}

TEST_CASE("Connecting many small graphs to a large one copies its list of nodes a few times only") {
    const auto allocations_of = [](bool connected) {
        Node hub{"hub", [] {}};
        const std::size_t before = allocations;
        for (int i = 0; i < 4'000; ++i) {
            Node first{"first", [] {}};
            Node second{"second", [] {}};
            first.connect(second);
            if (connected) hub.connect(first);
        }
        return allocations - before;
    };
    const std::size_t apart = allocations_of(false);
    CHECK(allocations_of(true) < apart + 100);
}

TEST_CASE("To cut a child off takes what the child has, however many its parent has") {
    const Node parent{"parent", [] {}};
    for (int i = 0; i < 5'000; ++i) parent.connect(Node{"child", [] {}});
    const Node leaf{"leaf", [] {}};
    const Node branch{"branch", [] {}};
    branch.connect(Node{"twig", [] {}});
    for (const AnyNode& child : {AnyNode(leaf), AnyNode(branch)}) {
        const Node holder{"holder", [] {}};
        for (const bool shared : {false, true}) {
            parent.connect(child);
            if (shared) holder.connect(child);
            largest_allocation = 0;
            parent.disconnect(child);
            CHECK(largest_allocation < 1'000);
        }
        CHECK(child.parents().size() == 1);
    }
}

TEST_CASE("A run in which a node chooses one of its children looks at each of the others once") {
    const auto allocations_of = [](int count) {
        const Node parent{"parent", [] {}};
        const Node chosen{"chosen", [] {}};
        for (int i = 0; i < count; ++i) parent.connect(Node{"child", [] {}});
        parent.connect(chosen);
        parent.on_after_run(
            [ref = chosen.ref()](const Node<void>& node) { node.redirect({ref.lock()}); });
        EventLoop loop;
        const std::size_t before = allocations;
        loop.run(TreeExecutor{parent}.run());
        return allocations - before;
    };
    CHECK(allocations_of(1'000) <= 10 * allocations_of(100));
}

TEST_CASE("A thread that ends gives back the frames that it kept for the next") {
    const std::size_t before = allocations - frees;
    std::size_t kept = 0;
    std::thread([&] {
        const std::size_t before_run = allocations - frees;
        EventLoop().run([]() -> Task<> {
            Task<Counted> one = make(1);
            Task<Counted> two = make(2);
            co_await std::move(one);
            co_await std::move(two);
        }());
        kept = allocations - frees - before_run;
    }).join();
#if !defined(GRAFO_NO_FRAME_RECYCLING)
    CHECK(kept == 3);
#endif
    CHECK(allocations - frees == before);
}

TEST_CASE("A body that has no memory to connect, and goes on, ends in bad_alloc or in success") {
    const bool loops = GENERATE(false, true);
    CAPTURE(loops);
    for (std::size_t nth = 1;; ++nth) {
        CAPTURE(nth);
        bool reached = false;
        Node source{"source", [] { return 1; }};
        const Node ended{"ended", [] { return 1; }};
        source.connect(ended);
        bool once = true;
        Node body{"body", [&](NodeContext& context) -> Task<> {
                      co_await grafo::yield();
                      if (!std::exchange(once, false)) co_return;
                      Node child{"child", [](int x) { return x; }, "x"_a};
                      const Node<void> self(context.node());
                      fail_at = allocations + nth;
                      try {
                          if (loops) {
                              self.connect(ended);
                          } else {
                              source.connect(child, "x"_a);
                          }
                      } catch (const std::bad_alloc&) {
                      }
                      reached = allocations >= fail_at;
                      fail_at = std::numeric_limits<std::size_t>::max();
                  }};
        source.connect(body);
        const TreeExecutor executor{source};
        EventLoop loop{virtual_time};
        try {
            loop.run(executor.run());
        } catch (const std::bad_alloc&) {
        }
        CHECK(loop.run(executor.run()).completed().size() == 3);
        if (!reached) break;
    }
}
