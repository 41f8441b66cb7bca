// What a graph of the set is, and the callables of which nearly all of them are made: few types, so
// that many graphs are quick to compile.
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>

#include "user_objects.hpp"

namespace torture {

using grafo::AnyNode;
using grafo::AsyncGenerator;
using grafo::EventLoop;
using grafo::map_each;
using grafo::Node;
using grafo::NodeContext;
using grafo::offload;
using grafo::offload_detached;
using grafo::RetryPolicy;
using grafo::Task;
using grafo::TreeExecutor;
using grafo::Trigger;
using grafo::when;
using namespace grafo::literals;
using namespace std::chrono_literals;

struct Graph {
    /// Their ends belong to the outcome, and the values of those that give an Item.
    template <class... N>
    void add(const N&... node) {
        (nodes.push_back(node), ...);
        (add_result(node), ...);
    }
    TreeExecutor& run(grafo::NodeList from) {
        executor.emplace("graph", std::move(from));
        return *executor;
    }

    std::unique_ptr<grafo::Observer> observer;
    std::optional<TreeExecutor> executor;
    std::vector<AnyNode> nodes;
    std::vector<Node<Item>> results;
    /// An error may be outlived in it, and no word of it be left.
    bool forgives = false;
    /// More than outputs may be kept after a run: a former output, a node that the report names,
    /// one of another graph in an error, what was moved from.
    bool keeps_more = false;

private:
    template <class Sig>
    void add_result(const Node<Item, Sig>& node) {
        results.push_back(node);
    }
    void add_result(const AnyNode&) {}
};

/// What a graph throws where its author wants it to.
struct Wanted : std::runtime_error {
    Wanted() : std::runtime_error("as wanted") {}
};

inline Task<Item> source(Item x) {
    co_await pause(1);
    co_return Item(x.value);
}
inline Task<Item> step(Item x) {
    const Item local(x.value);
    co_await pause(1);
    co_return Item(local.value + 1);
}
inline Item twice(const Item& x) {
    here();
    return Item(2 * x.value);
}
inline Task<Item> add_up(Item a, const Item& b) {
    here();
    co_await pause(0);
    co_return Item(a.value + b.value);
}
inline Task<Item> total(std::vector<Item> all) {
    Item sum(0);
    for (const Item& item : all) sum.value = sum.value * 10 + item.value;
    co_await pause(1);
    co_return sum;
}
inline Item total_of_pointers(const std::vector<const Item*>& all) {
    here();
    Item sum(0);
    for (const Item* item : all) sum.value = sum.value * 10 + item->value;
    return sum;
}
inline Task<Item> failing(Item x) {
    co_await pause(2);
    if (x.value >= 0) throw Wanted();
    co_return x;
}
inline AsyncGenerator<Item> count(int n) {
    Item item(0);
    for (int i = 1; i <= n; ++i) {
        co_await pause(i % 2);
        item.value = i;
        co_yield item;
        here();
    }
}
inline AsyncGenerator<Item, Item> count_and_sum(Item n) {
    Item sum(0);
    for (int i = 1; i <= n.value; ++i) {
        here();
        sum.value += i;
        co_yield Item(i);
    }
    co_await pause(1);
    co_return sum;
}
inline Task<Item> read_all(AsyncGenerator<Item> items) {
    Item sum(0);
    while (const Item* item = co_await items.next()) {
        here();
        sum.value = sum.value * 10 + item->value;
    }
    co_return sum;
}
inline Task<Item> read_slowly(AsyncGenerator<Item> items) {
    Item sum(0);
    while (const Item* item = co_await items.next()) {
        const Item copy(*item);
        co_await pause(2);
        sum.value = sum.value * 10 + copy.value;
    }
    co_return sum;
}
inline AsyncGenerator<Item> relay(AsyncGenerator<Item> items) {
    while (const Item* item = co_await items.next()) {
        Item next(item->value + 1);
        co_yield next;
        here();
    }
}
inline Task<Item> maybe(std::optional<Item> a, const Item* b) {
    co_await pause(1);
    co_return Item((a ? a->value : -1) * 100 + (b != nullptr ? b->value : -1));
}
// It fails in its first two attempts.
inline Task<Item> flaky(NodeContext& context, Item x) {
    co_await pause(1);
    if (context.attempt() < 3) throw Wanted();
    co_return Item(x.value + 1);
}

// Plain and coroutine, to transform what is forwarded.
inline Item plus_ten(const Item& x) {
    here();
    return Item(x.value + 10);
}
inline Item plus_ten_of_its_own(Item x) {
    x.value += 10;
    return x;
}
inline Task<Item> plus_ten_later(const Item& x) {
    co_await pause(1);
    co_return Item(x.value + 10);
}

/// A callable with a state of its own, which is copied and moved with it.
template <class R>
class Stateful {
public:
    Stateful(R (*fn)(Item), int value) : fn_(fn), state_(value) {}
    R operator()(const Item& x) const {
        here();
        return fn_(Item(x.value + state_.value));
    }

private:
    R (*fn_)(Item);
    Item state_;
};

inline auto node_source(const char* id, int value) { return Node{id, source, "x"_a = Item(value)}; }
inline auto node_step(const char* id) { return Node{id, step, "x"_a}; }

}  // namespace torture
