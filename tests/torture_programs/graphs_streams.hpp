// Graphs of generators and pipes.
#pragma once

#include "graph.hpp"

namespace torture::graphs {

inline Graph generator_collected() {
    Graph g;
    Node a{"a", count, "n"_a = 3};
    Node b{"b", total, "all"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}
inline Graph generator_with_result() {
    Graph g;
    Node a{"a", count_and_sum, "n"_a = Item(3)};
    Node b{"b", step, "x"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}
inline Graph generators_in_parallel() {
    Graph g;
    Node a{"a", count, "n"_a = 3};
    Node b = Node{"b", count, "n"_a = 2}.collect(false);
    Node c{"c", count_and_sum, "n"_a = Item(2)};
    a.connect(c);
    g.add(a, b, c);
    g.run({a, b}).max_concurrency(1);
    return g;
}
inline Graph pipe() {
    Graph g;
    Node a{"a", count, "n"_a = 3};
    Node b{"b", read_all, "items"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}
inline Graph pipe_mapped() {
    Graph g;
    Node a{"a", count, "n"_a = 3};
    Node b{"b", read_all, "items"_a = a.map(Stateful<Item>(plus_ten_of_its_own, 1))};
    Node c{"c", read_slowly, "items"_a};
    a.connect(c, "items"_a = plus_ten_later);
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph pipe_chain() {
    Graph g;
    Node a = Node{"a", count, "n"_a = 3}.collect(false);
    Node b{"b", relay, "items"_a = a};
    Node c{"c", relay, "items"_a = b};
    Node d{"d", read_slowly, "items"_a = c};
    g.add(a, b, c, d);
    g.run(d);
    return g;
}
inline Graph pipe_of_two_readers() {
    Graph g;
    Node a{"a", count, "n"_a = 3};
    Node b{"b", read_all, "items"_a = a};
    Node c{"c", read_slowly, "items"_a = a};
    Node d{"d", add_up, "a"_a = b, "b"_a = c};
    g.add(a, b, c, d);
    g.run(a);
    return g;
}
inline Graph pipe_buffered() {
    Graph g;
    Node a = Node{"a", count, "n"_a = 4}.buffer(2);
    Node b{"b", read_slowly, "items"_a = a};
    Node c{"c", read_all, "items"_a = a};
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph pipe_left_early() {
    Graph g;
    Node a{"a", count, "n"_a = 4};
    Node b{"b",
           [](AsyncGenerator<Item> items) -> Task<Item> {
               const Item* item = co_await items.next();
               Item first(item != nullptr ? item->value : -1);
               co_await pause(1);
               co_return first;
           },
           "items"_a = a};
    Node c{"c", read_slowly, "items"_a = a};
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph pipe_read_late() {
    Graph g;
    Node a = Node{"a", count, "n"_a = 2};
    Node slow = node_source("slow", 5);
    Node b{"b",
           [](AsyncGenerator<Item> items, Item more) -> Task<Item> {
               Item sum(more.value);
               while (const Item* item = co_await items.next()) sum.value += item->value;
               co_return sum;
           },
           "items"_a = a, "more"_a = slow};
    g.add(a, slow, b);
    g.run({a, slow});
    return g;
}
inline Graph pipe_of_a_failing_producer() {
    Graph g;
    Node a{"a",
           [](Item x) -> AsyncGenerator<Item> {
               Item item(x.value);
               co_yield item;
               co_await pause(1);
               throw Wanted();
           },
           "x"_a = Item(1)};
    Node b{"b", read_all, "items"_a = a};
    Node c{"c",
           [](AsyncGenerator<Item> items) -> Task<Item> {
               Item sum(0);
               try {
                   while (const Item* item = co_await items.next()) sum.value += item->value;
               } catch (const grafo::NodeError&) {
                   here();
                   sum.value += 100;
               }
               co_return sum;
           },
           "items"_a = a};
    g.add(a, b, c);
    g.run(a);
    g.forgives = true;
    return g;
}
inline Graph pipe_of_a_failing_reader() {
    Graph g;
    Node a = Node{"a", count, "n"_a = 4}.buffer(1);
    Node b{"b",
           [](AsyncGenerator<Item> items) -> Task<Item> {
               while (const Item* item = co_await items.next()) {
                   if (item->value == 2) throw Wanted();
               }
               co_return Item(0);
           },
           "items"_a = a};
    Node c{"c", read_slowly, "items"_a = a};
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph pipe_forked_and_joined() {
    Graph g;
    Node a = Node{"a", count, "n"_a = 4}.buffer(4);
    Node b{"b", relay, "items"_a = a};
    Node c{"c",
           [](AsyncGenerator<Item> left, AsyncGenerator<Item> right) -> Task<Item> {
               Item sum(0);
               for (;;) {
                   const Item* l = co_await left.next();
                   const Item* r = co_await right.next();
                   if (l == nullptr || r == nullptr) break;
                   here();
                   sum.value = sum.value * 10 + l->value * r->value;
               }
               co_return sum;
           },
           "left"_a = a, "right"_a = b};
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph pipe_only_moved() {
    Graph g;
    Node a{"a",
           [](Item n) -> AsyncGenerator<Sole> {
               for (int i = 1; i <= n.value; ++i) {
                   Sole sole(i);
                   co_yield sole;
                   here();
               }
           },
           "n"_a = Item(3)};
    Node b{"b",
           [](AsyncGenerator<Sole> soles) -> Task<Item> {
               Item sum(0);
               while (Sole* sole = co_await soles.next()) {
                   const Sole taken = std::move(*sole);
                   co_await pause(1);
                   sum.value = sum.value * 10 + taken.item.value;
               }
               co_return sum;
           },
           "soles"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}
inline Graph mapped_each() {
    Graph g;
    std::vector<Item> items;
    for (int i = 1; i <= 4; ++i) items.emplace_back(i);
    Node a{"a", map_each(step, 2), "items"_a = std::move(items)};
    Node b{"b", total, "all"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}
inline Graph mapped_each_failing() {
    Graph g;
    std::vector<Item> items;
    for (int i = -1; i <= 1; ++i) items.emplace_back(i);
    Node a{"a", map_each(failing, 2), "items"_a = std::move(items)};
    Node b{"b", total, "all"_a = a};
    g.add(a, b);
    g.run(a);
    return g;
}
inline Graph mapped_each_piped() {
    Graph g;
    std::vector<Item> items;
    for (int i = 1; i <= 3; ++i) items.emplace_back(i);
    Node a{"a", map_each(Stateful<Item>(plus_ten_of_its_own, 2), 3), "items"_a = std::move(items)};
    Node b{"b", read_slowly, "items"_a = a};
    g.add(a, b);
    g.run(b);
    return g;
}

}  // namespace torture::graphs
