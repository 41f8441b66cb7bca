// Graphs about what is forwarded, and how.
#pragma once

#include "graph.hpp"

namespace torture::graphs {

inline Graph one_node() {
    Graph g;
    Node a = node_source("a", 1);
    g.add(a);
    g.run(a);
    return g;
}
inline Graph chain() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    Node c = node_step("c");
    a.connect(b, "x"_a).connect(c, "x"_a);
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph diamond() {
    Graph g;
    Node a = node_source("a", 1);
    Node b{"b", twice, "x"_a = a};
    Node c = node_step("c");
    Node d{"d", add_up, "a"_a = b, "b"_a = c};
    a.connect(c, "x"_a);
    g.add(a, b, c, d);
    g.run(a);
    return g;
}
inline Graph order_only() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_source("b", 2);
    Node c = node_source("c", 3);
    a.connect(c);
    b.connect(c);
    a.connect(b);
    g.add(a, b, c);
    g.run({a, b});
    return g;
}
inline Graph deferred() {
    Graph g;
    const Item captured(5);
    Node a{"a", step, "x"_a = [captured] {
               here();
               return Item(captured.value);
           }};
    g.add(a);
    g.run(a);
    return g;
}
inline Graph deferred_coroutine() {
    Graph g;
    const Item captured(5);
    Node a{"a", add_up,
           "a"_a = [captured]() -> Task<Item> {
               co_await pause(1);
               co_return captured;
           },
           "b"_a = Item(2)};
    g.add(a);
    g.run(a);
    return g;
}
inline Graph transform() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    Node c{"c", twice, "x"_a};
    a.connect(b, "x"_a = Stateful<Item>(plus_ten_of_its_own, 1));
    b.connect(c, "x"_a = plus_ten);
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph transform_coroutine() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    Node c{"c", twice, "x"_a};
    a.connect(b, "x"_a = Stateful<Task<Item>>(source, 1));
    a.connect(c, "x"_a = plus_ten_later);
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph mapped_at_the_child() {
    Graph g;
    Node a = node_source("a", 1);
    Node b{"b", step, "x"_a = a.map(plus_ten)};
    Node c{"c", total, "all"_args = gather(a, b.map(plus_ten_later))};
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph named_at_run_time() {
    Graph g;
    Node a = node_source("a", 1);
    Node b{"b", add_up, "a"_a, "b"_a};
    a.connect(b, grafo::forward_as("b"));
    const Node<Item> c = node_source("c", 2);
    c.connect(Node<Item>(b), "a"_a);
    g.add(a, b, c);
    g.run(b);
    return g;
}
inline Graph forwarded_auto() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_source("b", 2);
    Node c{"c", add_up, "a"_a, "b"_a = Item(3)};
    Node d{"d", total, "all"_args};
    a.connect(c, grafo::forward_auto);
    a.connect(d, grafo::forward_auto);
    b.connect(d, grafo::forward_auto);
    g.add(a, b, c, d);
    g.run({a, b});
    return g;
}
inline Graph list_gathered() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_source("b", 2);
    Node c{"c", total, "all"_args = gather(b, a, b)};
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph list_of_pointers() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    a.connect(b, "x"_a);
    Node c{"c", total_of_pointers, "all"_args = {a, b}};
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph list_of_a_range() {
    Graph g;
    std::vector<Node<Item>> parts;
    for (int i = 1; i <= 4; ++i) parts.push_back(node_source("part", i));
    Node c{"c", total, "all"_args = parts};
    for (const Node<Item>& part : parts) g.add(part);
    g.add(c);
    g.run(parts);
    return g;
}
inline Graph optional_parameters() {
    Graph g;
    Node a = node_source("a", 1);
    Node b{"b", failing, "x"_a = Item(2)};
    Node c = Node{"c", maybe, "a"_a = a, "b"_a = b}.trigger(Trigger::any_completed);
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph only_moved() {
    Graph g;
    Node a{"a",
           [](Item x) -> Task<Sole> {
               co_await pause(1);
               Sole sole(x.value);
               co_return sole;
           },
           "x"_a = Item(4)};
    Node b{"b",
           [](Sole sole) -> Task<Item> {
               co_await pause(1);
               co_return Item(sole.item.value);
           },
           "sole"_a = a};
    g.add(a, b);
    g.run(a);
    g.keeps_more = true;
    return g;
}
class Adder {
public:
    explicit Adder(int value) : state_(value) {}
    Task<Item> add(Item x) const {
        co_await pause(1);
        co_return Item(x.value + state_.value);
    }

private:
    Item state_;
};
inline Graph member_function() {
    Graph g;
    Node a = node_source("a", 1);
    Node b{"b", &Adder::add, "adder"_a = Adder(5), "x"_a = a};
    g.add(a, b);
    g.run(b);
    return g;
}
inline Graph bound_anew() {
    Graph g;
    Node a{"a", add_up, "a"_a = Item(1), "b"_a};
    a.bind("a"_a = Item(3));
    a.bind("b"_a = [state = Item(4)] { return Item(state.value); });
    const AnyNode any = a;
    any.bind("b"_a = Item(6));
    g.add(a);
    g.run(any);
    return g;
}
inline Graph callable_with_state() {
    Graph g;
    Node a{"a", Stateful<Item>(plus_ten_of_its_own, 3), "x"_a = Item(1)};
    Node b{"b", Stateful<Task<Item>>(step, 4), "x"_a = a};
    Node c{"c", [state = Item(5)](std::vector<Item> xs) { return Item(xs[0].value + state.value); },
           "xs"_args = gather(b)};
    g.add(a, b, c);
    g.run(a);
    return g;
}

}  // namespace torture::graphs
