// Graphs whose bodies do more than wait: combinators, limits, sub-flows, pools, other libraries.
#pragma once

#include <coroutine>

#include "graph.hpp"

namespace torture::graphs {

/// A graph of one node with that body, and what comes after it.
inline Graph of_body(Task<Item> (*body)(Item)) {
    Graph g;
    Node a{"a", body, "x"_a = Item(1)};
    Node b{"b", step, "x"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}

inline Graph all_of_a_pack() {
    return of_body([](Item x) -> Task<Item> {
        const auto both = co_await when_all(source(Item(x.value)), step(Item(5)), pause(3));
        here();
        co_return Item(std::get<0>(both).value + std::get<1>(both).value);
    });
}
inline std::vector<Task<Item>> some_tasks(int n) {
    std::vector<Task<Item>> tasks;
    for (int i = 0; i < n; ++i) {
        Item item(i);
        tasks.push_back(i % 2 == 0 ? source(std::move(item)) : step(std::move(item)));
    }
    return tasks;
}
inline Graph all_of_a_list() {
    return of_body([](Item) -> Task<Item> {
        const std::vector<Item> all = co_await when_all(some_tasks(3));
        here();
        Item sum(0);
        for (const Item& item : all) sum.value = sum.value * 10 + item.value;
        co_return sum;
    });
}
inline Graph all_of_which_one_fails() {
    return of_body([](Item x) -> Task<Item> {
        const auto both = co_await when_all(failing(Item(x.value)), pause(9), step(Item(2)));
        co_return std::get<2>(both);
    });
}
inline Graph any_of_a_pack() {
    Graph g = of_body([](Item x) -> Task<Item> {
        const auto any = co_await when_any(source(Item(x.value)), pause(9));
        here();
        co_return Item(static_cast<int>(any.index));
    });
    g.forgives = true;
    return g;
}
inline Graph any_of_a_list() {
    Graph g = of_body([](Item) -> Task<Item> {
        auto any = co_await when_any(some_tasks(3));
        here();
        co_return any.value;
    });
    g.forgives = true;
    return g;
}
inline Graph settled() {
    Graph g = of_body([](Item x) -> Task<Item> {
        auto all = co_await when_all_settled(failing(Item(x.value)), source(Item(4)), pause(1));
        here();
        const int failures = (std::get<0>(all) ? 0 : 1) + (std::get<1>(all) ? 0 : 1);
        auto list = co_await when_all_settled(some_tasks(2));
        co_return Item(failures * 10 + (list[1] ? list[1]->value : 9));
    });
    g.forgives = true;
    return g;
}
inline Graph limited_in_time() {
    Graph g = of_body([](Item x) -> Task<Item> {
        Item sum(co_await with_timeout(1h, step(Item(x.value))));
        try {
            co_await with_timeout(2ms, pause(9));
        } catch (const grafo::TimeoutError&) {
            here();
            sum.value += 100;
        }
        co_return sum;
    });
    g.forgives = true;
    return g;
}
inline Graph semaphore_in_a_body() {
    Graph g;
    const grafo::Semaphore semaphore{1};
    const auto body = [semaphore](Item x) -> Task<Item> {
        const auto guard = co_await semaphore.acquire();
        co_await pause(2);
        co_return x;
    };
    std::vector<Node<Item>> nodes;
    for (int i = 1; i <= 3; ++i) {
        nodes.push_back(Node{"n", body, "x"_a = Item(i)});
        g.add(nodes.back());
    }
    g.run(nodes).max_concurrency(2);
    return g;
}
inline Graph rate_in_a_body() {
    Graph g;
    const grafo::RateLimiter rate{1, 3ms};
    const auto body = [rate](Item x) -> Task<Item> {
        co_await rate.acquire();
        here();
        co_return x;
    };
    std::vector<Node<Item>> nodes;
    for (int i = 1; i <= 3; ++i) {
        nodes.push_back(Node{"n", body, "x"_a = Item(i)});
        g.add(nodes.back());
    }
    g.run(nodes);
    return g;
}
/// Runs what it is given at once.
struct InlinePool {
    template <class F>
    void enqueue(F fn) {
        fn();
    }
};
inline InlinePool& inline_pool() {
    static InlinePool pool;
    return pool;
}
inline Graph offloaded() {
    return of_body([](Item x) -> Task<Item> {
        const Item local(x.value);
        const auto work = [&local](const grafo::StopFlag&) { return Item(local.value + 1); };
        Item made = co_await offload(inline_pool(), work);
        here();
        co_return made;
    });
}
inline Graph offloaded_detached() {
    return of_body([](Item x) -> Task<Item> {
        const auto work = [x] {
            if (x.value == 1) throw Wanted();
            return Item(x.value);
        };
        Item sum(0);
        try {
            sum = co_await offload_detached(inline_pool(), work);
        } catch (const Wanted&) {
            here();
            sum.value = 7;
        }
        co_return sum;
    });
}
inline Task<> read_to_the_end(const TreeExecutor& executor) {
    auto events = executor.yielding();
    while (co_await events.next()) here();
}
inline Graph sub_flow() {
    Graph g = of_body([](Item x) -> Task<Item> {
        Node a{"inner_a", source, "x"_a = Item(x.value)};
        Node b{"inner_b", step, "x"_a = a};
        const TreeExecutor executor{"inner", b};
        co_await executor.run();
        here();
        co_return b.output();
    });
    g.keeps_more = true;
    return g;
}
inline Graph sub_flow_streamed() {
    Graph g = of_body([](Item x) -> Task<Item> {
        Node a{"inner_a", count_and_sum, "n"_a = Item(x.value + 1)};
        Node b{"inner_b", step, "x"_a = a};
        const TreeExecutor executor{"inner", a};
        co_await read_to_the_end(executor);
        co_return b.output();
    });
    g.keeps_more = true;
    return g;
}
inline Graph sub_flow_failing() {
    Graph g = of_body([](Item x) -> Task<Item> {
        Node a{"inner_a", failing, "x"_a = Item(x.value)};
        Node b{"inner_b", source, "x"_a = Item(2)};
        TreeExecutor executor{"inner", {a, b}};
        executor.on_error(grafo::ErrorPolicy::keep_going);
        co_await executor.run();
        co_return b.output();
    });
    g.keeps_more = true;
    return g;
}
/// An awaitable of another library: it cannot be cancelled, and comes back a turn later.
struct Elsewhere {
    explicit Elsewhere(int v) noexcept : value(v) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const {
        EventLoop::current().post([handle] { handle.resume(); });
    }
    Item await_resume() const {
        here();
        return Item(value);
    }
    int value;
};
inline Graph another_library() {
    Graph g = of_body([](Item x) -> Task<Item> {
        const Item local(x.value);
        Item got = co_await Elsewhere(local.value + 4);
        here();
        const Item more = co_await Elsewhere(got.value);
        co_return more;
    });
    Node c{"c", [](Item x) { return Elsewhere(x.value); }, "x"_a = Item(8)};
    g.add(c);
    const AnyNode first = g.nodes.front();
    g.run({first, AnyNode(c)});
    return g;
}
inline Graph spawned() {
    return of_body([](Item x) -> Task<Item> {
        EventLoop::current().spawn(pause(2));
        co_await pause(1);
        EventLoop::current().post([kept = Item(3)] {});
        co_return x;
    });
}
inline Graph generator_in_a_body() {
    return of_body([](Item x) -> Task<Item> {
        auto items = count(2 + x.value);
        Item sum(0);
        while (const Item* item = co_await items.next()) sum.value += item->value;
        auto more = count_and_sum(Item(2));
        while (co_await more.next()) here();
        co_return Item(sum.value * 10 + more.result().value);
    });
}

}  // namespace torture::graphs
