// Graphs about when a node runs, how often, and what is wired meanwhile.
#pragma once

#include <grafo/observer.hpp>

#include "graph.hpp"

namespace torture::graphs {

inline bool is_odd(const Item& x) {
    here();
    return x.value % 2 == 1;
}
inline Graph conditions() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    Node c = node_step("c");
    Node d = Node{"d", maybe, "a"_a = b, "b"_a = c}.trigger(Trigger::any_completed);
    const Item captured(2);
    a.connect(b, "x"_a, when(is_odd));
    a.connect(c, "x"_a = plus_ten_later, when([captured](const Item& x) {
                  here();
                  return x.value % captured.value == 0;
              }));
    g.add(a, b, c, d);
    g.run(a);
    return g;
}
inline Graph skipping() {
    Graph g;
    Node a{"a",
           [](Item x) -> Task<Item> {
               co_await pause(1);
               co_await grafo::skip("not today, and for a reason that is a long one");
               co_return x;
           },
           "x"_a = Item(1)};
    Node b{"b",
           [](const Item& x) {
               here();
               if (x.value > 0) throw grafo::Skip("nor this");
               return Item(0);
           },
           "x"_a = Item(1)};
    Node c = node_step("c");
    Node d = Node{"d", maybe, "a"_a = c, "b"_a = b}.trigger(Trigger::all_settled);
    a.connect(c, "x"_a);
    g.add(a, b, c, d);
    g.run({a, b});
    return g;
}
inline Graph finally() {
    Graph g;
    Node a{"a", failing, "x"_a = Item(1)};
    Node b{"b",
           [](Item x) -> Task<Item> {
               co_await pause(5);
               co_return x;
           },
           "x"_a = Item(1)};
    Node c = Node{"c", maybe, "a"_a = a, "b"_a = b}.trigger(Trigger::all_settled);
    g.add(a, b, c);
    g.run({a, b});
    return g;
}
inline Graph one_fails() {
    Graph g;
    Node a{"a", failing, "x"_a = Item(1)};
    Node b = node_step("b");
    Node slow{"slow",
              [](Item x) -> Task<Item> {
                  const Item local(x);
                  bool cancelled = false;
                  try {
                      co_await pause(9);
                  } catch (const grafo::Cancelled&) {
                      cancelled = true;
                  }
                  if (cancelled) {
                      co_await pause(1);
                      throw grafo::Cancelled();
                  }
                  co_return local;
              },
              "x"_a = Item(1)};
    Node after = node_step("after");
    a.connect(b, "x"_a);
    slow.connect(after, "x"_a);
    g.add(a, b, slow, after);
    g.run({a, slow});
    return g;
}
inline Graph two_fail() {
    Graph g;
    Node a{"a", failing, "x"_a = Item(1)};
    Node b{"b", failing, "x"_a = Item(2)};
    Node c{"c", total, "all"_args = gather(a, b)};
    g.add(a, b, c);
    g.run(c);
    return g;
}
inline Graph retried() {
    Graph g;
    Node a = Node{"a", flaky, "x"_a = Item(1)}.retry(3);
    Node b{"b", step, "x"_a = a};
    g.add(a, b);
    g.run(a);
    g.forgives = true;
    return g;
}
inline Graph retried_by_policy() {
    Graph g;
    const Item captured(1);
    Node a{"a", flaky, "x"_a = [captured]() -> Task<Item> {
               co_await pause(1);
               co_return captured;
           }};
    a.retry(RetryPolicy{4}.backoff(2ms, 2.0).full_jitter(7).when([captured](const Wanted&) {
        here();
        return captured.value == 1;
    }));
    a.timeout(20ms).total_timeout(1h);
    g.add(a);
    g.run(a);
    g.forgives = true;
    return g;
}
inline Graph retried_in_vain() {
    Graph g;
    Node a = Node{"a", failing, "x"_a = Item(1)}.retry(RetryPolicy{2}.backoff(3ms));
    Node b{"b", step, "x"_a = a};
    Node c = node_source("c", 1);
    g.add(a, b, c);
    g.run({a, c});
    g.forgives = true;
    return g;
}
inline Graph retried_generator() {
    Graph g;
    Node a = Node{"a",
                  [](NodeContext& context, Item x) -> AsyncGenerator<Item> {
                      Item item(x.value);
                      co_yield item;
                      co_await pause(1);
                      if (context.attempt() == 1) throw Wanted();
                      co_yield item;
                  },
                  "x"_a = Item(1)}
                 .retry(2);
    Node b{"b", total, "all"_a = a};
    g.add(a, b);
    g.run(a);
    g.forgives = true;
    return g;
}
inline Task<Item> long_step(Item x) {
    const Item local(x.value);
    co_await pause(50);
    co_return Item(local.value);
}
inline Graph timed_out() {
    Graph g;
    Node a = Node{"a", long_step, "x"_a = Item(1)}.timeout(3ms);
    Node b = Node{"b", long_step, "x"_a = Item(2)}.timeout(4ms).retry(2);
    Node c = Node{"c", long_step, "x"_a = Item(3)}.retry(9).timeout(10ms).total_timeout(25ms);
    g.add(a, b, c);
    g.run({a, b, c});
    g.forgives = true;
    return g;
}
inline Graph limited() {
    Graph g;
    const grafo::Semaphore one{1};
    const grafo::Semaphore three{3};
    std::vector<Node<Item>> nodes;
    for (int i = 1; i <= 3; ++i) {
        nodes.push_back(node_source("n", i).limit(one).limit(three, 2));
        g.add(nodes.back());
    }
    nodes.push_back(node_source("n", 4).limit(three, 1));
    g.add(nodes.back());
    g.run(nodes);
    return g;
}
inline Graph rated() {
    Graph g;
    const grafo::RateLimiter rate{2, 5ms};
    std::vector<Node<Item>> nodes;
    for (int i = 1; i <= 4; ++i) {
        nodes.push_back(node_source("n", i).limit(rate).retry(2));
        g.add(nodes.back());
    }
    g.run(nodes).max_concurrency(2);
    g.forgives = true;
    return g;
}
inline Graph prioritised() {
    Graph g;
    std::vector<Node<Item>> nodes;
    for (int i = 1; i <= 4; ++i) {
        nodes.push_back(node_source("n", i).priority(i % 3 - 1));
        g.add(nodes.back());
    }
    Node all{"all", total, "all"_args = nodes};
    g.add(all);
    g.run(nodes).max_concurrency(1).timing(false);
    return g;
}
inline Task<> callback() {
    const Item local(1);
    co_await pause(1);
}
inline Graph callbacks() {
    Graph g;
    const Item captured(1);
    Node a = node_source("a", 1);
    Node b = node_step("b");
    Node c{"c", twice, "x"_a};
    a.on_connect([captured] { here(); }).on_disconnect([captured] { here(); });
    a.on_before_run([captured] { here(); }).on_after_run(callback);
    b.on_before_run(callback).on_before_run([captured]() -> Task<> {
        co_await pause(0);
        const Item copy(captured);
    });
    b.on_after_run([captured](const Node<Item>& node) {
        here();
        const Item copy(node.output());
    });
    c.on_before_run([] { here(); }).on_after_run([captured] { here(); });
    a.connect(b, "x"_a);
    b.connect(c, "x"_a);
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph callbacks_that_throw() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_source("b", 2);
    Node c = node_step("c");
    Node d = node_step("d");
    Node e = node_source("e", 5);
    a.on_before_run([] {
        here();
        throw Wanted();
    });
    b.on_after_run([]() -> Task<> {
        co_await pause(1);
        throw Wanted();
    });
    e.connect(
        c, "x"_a = [](const Item& x) {
            here();
            if (x.value > 0) throw Wanted();
            return Item(0);
        });
    e.connect(d, "x"_a, when([](const Item& x) {
                  here();
                  if (x.value > 0) throw Wanted();
                  return true;
              }));
    g.add(a, b, c, d, e);
    g.run({a, b, e});
    return g;
}
inline Graph redirected() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    Node c = node_source("c", 2);
    a.connect(b, "x"_a);
    a.connect(c);
    a.on_after_run([ref = b.ref(), captured = Item(1)](const Node<Item>& node) {
        here();
        node.redirect({AnyNode(ref)});
    });
    g.add(a, b, c);
    g.run(a);
    return g;
}
inline Graph grown_by_a_body() {
    Graph g;
    Node tail = node_step("tail");
    Node a{"a",
           [ref = tail.ref()](NodeContext& context, Item x) -> Task<Item> {
               co_await pause(1);
               const Node<Item> self(context.node());
               Node late{"late", twice, "x"_a};
               Node later = node_step("later");
               self.connect(late, "x"_a = plus_ten_later).connect(later, "x"_a);
               const Node<Item> end = ref;
               self.disconnect(end);
               co_await pause(1);
               later.connect(end, "x"_a);
               co_return x;
           },
           "x"_a = Item(3)};
    a.connect(tail, "x"_a);
    Node other = node_step("other");
    a.connect(other, "x"_a);
    g.add(a, tail, other);
    g.run({a, tail});
    g.keeps_more = true;
    return g;
}
inline Graph grown_by_callbacks() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b");
    a.connect(b, "x"_a);
    a.on_after_run([](const Node<Item>& node) {
        here();
        Node late{"late", twice, "x"_a};
        late.on_after_run([](const Node<Item>& self) {
            Node later{"later", count_and_sum, "n"_a};
            self.connect(later, "n"_a = Stateful<Item>(plus_ten_of_its_own, -12));
        });
        node.connect(late, "x"_a);
    });
    g.add(a, b);
    g.run(a);
    g.keeps_more = true;
    return g;
}
// work ──> check ─ ─ ─> work, three laps
inline Task<Item> check(NodeContext& context, Item x, grafo::NodeRef<Item> again) {
    co_await pause(1);
    if (x.value < 6) Node<Item>(context.node()).connect(again.lock(), "x"_a);
    co_return Item(x.value + 1);
}
inline Graph loop() {
    Graph g;
    Node start = node_source("start", 1);
    Node work = node_step("work");
    start.connect(work, "x"_a);
    Node last{"check", check, "x"_a = work, "again"_a = work.ref()};
    Node after{"after", twice, "x"_a = last};
    g.add(start, work, last, after);
    g.run(start);
    g.forgives = true;  // a lap that failed is followed by one that does not
    g.keeps_more = true;
    return g;
}
inline Graph loop_without_end() {
    Graph g;
    Node start = node_source("start", 1);
    Node work = node_step("work").max_runs(2);
    start.connect(work, "x"_a);
    Node last{"check", check, "x"_a = work, "again"_a = work.ref()};
    g.add(start, work, last);
    g.run(start);
    g.keeps_more = true;
    return g;
}
inline Graph two_waits_at_once() {
    Graph g;
    Node a = node_source("a", 1);
    Node b = node_step("b").priority(3).timeout(1h);
    Node c = node_step("c").total_timeout(1h);
    a.connect(b, "x"_a = plus_ten_later);
    a.connect(c, "x"_a = plus_ten_later);
    Node d{"d", add_up, "a"_a, "b"_a};
    b.connect(d, "a"_a = plus_ten_later);
    c.connect(d, "b"_a = plus_ten_later);
    g.add(a, b, c, d);
    g.run(a);
    return g;
}
class Watching : public grafo::Observer {
public:
    void transition(const grafo::Transition& step) override {
        here();
        last_ = step.node().id();
    }

private:
    std::string last_;
};
inline Graph observed() {
    Graph g;
    g.observer = std::make_unique<Watching>();
    Node a = node_source("a", 1);
    Node b = Node{"b", flaky, "x"_a = a}.retry(3);
    Node c{"c", failing, "x"_a = b};
    g.add(a, b, c);
    g.run(a).observe(*g.observer);
    g.forgives = true;
    return g;
}

}  // namespace torture::graphs
