#include <grafo/grafo.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "counted.hpp"
#include "farewell.hpp"

// Loops: a running node connects to one that has settled, which then runs once more.

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using grafo_test::Counted;
using std::chrono::nanoseconds;

namespace {

using Log = std::vector<std::string>;
using Nodes = std::vector<AnyNode>;
using Optional = std::optional<int>;

Log ids(const Nodes& nodes) {
    Log result;
    for (const AnyNode& node : nodes) result.push_back(node.id());
    return result;
}

Log sorted(Log log) {
    std::sort(log.begin(), log.end());
    return log;
}

RunReport run_it(const TreeExecutor& executor) {
    EventLoop loop{virtual_time};
    return loop.run(executor.run());
}

RunReport try_it(TreeExecutor executor, ErrorPolicy policy = ErrorPolicy::keep_going) {
    EventLoop loop{virtual_time};
    executor.on_error(policy);
    return loop.run(executor.try_run());
}

template <class E>
bool holds(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const E&) {
        return true;
    } catch (...) {
        return false;
    }
}

std::string at(const std::string& what) {
    return std::to_string(EventLoop::current().now().time_since_epoch() / 1s) + " " + what;
}

int add_one(int x) { return x + 1; }

std::size_t ended(const RunReport& report) {
    return report.completed().size() + report.failed().size() + report.skipped().size() +
           report.cancelled().size();
}

}  // namespace

// ---- the loop -----------------------------------------------------------------------------------

TEST_CASE("A running node that connects to a settled one makes that run again, lap by lap") {
    Log log;
    int laps = 0;
    const Node<int> work = Node{"work", [&log]() -> Task<int> {
                                    log.push_back(at("work"));
                                    co_await sleep_for(1s);
                                    co_return 1;
                                }};
    const Node<int> check =
        Node{"check", [&](NodeContext& context) -> Task<int> {
                 log.push_back(at("check"));
                 const bool again = ++laps % 3 != 0;
                 if (again) context.node().connect(work);
                 CHECK(work.state() == (again ? NodeState::pending : NodeState::completed));
                 co_await sleep_for(1s);
                 co_return laps;
             }};
    const Node<int> after = Node{"after", add_one, "x"_a = check};
    work.connect(check);
    const TreeExecutor executor{work};
    for (int i = 1; i <= 2; ++i) {
        log.clear();
        const RunReport report = run_it(executor);
        CHECK(log == Log{"0 work", "1 check", "2 work", "3 check", "4 work", "5 check"});
        CHECK(after.output() == 3 * i + 1);
        CHECK(ids(report.completed()) == Log{"work", "check", "after"});
        CHECK(report.elapsed() == 6s);
    }
}

TEST_CASE("What is forwarded around the loop replaces the argument, a bound one for that run") {
    std::vector<int> seen;
    const Node<int> work = Node{"work",
                                [&seen](int x) {
                                    seen.push_back(x);
                                    return x + 1;
                                },
                                "x"_a = 0};
    const Node check{"check",
                     [&](NodeContext& context, int x) {
                         if (x < 5) Node<int>(context.node()).connect(work, "x"_a);
                         return x;
                     },
                     "x"_a = work};
    const TreeExecutor executor{work};
    for (int i = 0; i < 3; ++i) {
        seen.clear();
        const RunReport report = run_it(executor);
        CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
        CHECK(work.output() == 5);
        CHECK(ids(report.completed()) == Log{"work", "check"});
        CHECK(ended(report) == 2);
        CHECK(check.children().empty());
        CHECK(work.parents().empty());
        CHECK(work.level() == 0);
    }
}

TEST_CASE("A node cannot connect to itself while it runs") {
    std::string what;
    const Node alone{"alone", [&what](NodeContext& context) {
                         try {
                             context.node().connect(context.node());
                         } catch (const SafeExecutionError& error) {
                             what = error.what();
                         }
                     }};
    CHECK(run_it(TreeExecutor{alone}).completed().size() == 1);
    CHECK_THAT(what, ContainsSubstring("'alone' is running"));
}

TEST_CASE("A loop may be of ten nodes") {
    Log log;
    std::vector<Node<int>> chain;
    for (int i = 0; i < 10; ++i) {
        const std::string id = std::to_string(i);
        const auto body = [&, i, id](NodeContext& context, int x) -> Task<int> {
            log.push_back(id);
            co_await sleep_for(1s);
            if (i == 9 && x < 29) Node<int>(context.node()).connect(chain[0], "x"_a);
            co_return x + 1;
        };
        if (i == 0) {
            chain.push_back(Node{id, body, "x"_a = 0});
        } else {
            chain.push_back(Node{id, body, "x"_a = chain.back()});
        }
    }
    const RunReport report = run_it(TreeExecutor{chain[0]});
    CHECK(chain[9].output() == 30);
    CHECK(log.size() == 30);
    CHECK(log[10] == "0");
    CHECK(log[29] == "9");
    CHECK(report.completed().size() == 10);
    CHECK(report.elapsed() == 30s);
}

TEST_CASE("Loops may be nested: the way out of the inner one is a condition") {
    Log log;
    int inner = 0;
    int outer = 0;
    const Node<int> a = Node{"a", [&] {
                                 log.push_back("a");
                                 return 1;
                             }};
    const Node b{"b", [&](NodeContext& context) {
                     log.push_back("b");
                     if (++inner % 3 != 0) context.node().connect(a);
                 }};
    const Node c{"c", [&](NodeContext& context) {
                     log.push_back("c");
                     if (++outer < 3) context.node().connect(a);
                 }};
    const Node<int> end = Node{"end", [&] {
                                   log.push_back("end");
                                   return 1;
                               }};
    a.connect(b);
    b.connect(c, when([&] { return inner % 3 == 0; }));
    c.connect(end, when([&] { return outer == 3; }));
    for (int i = 0; i < 2; ++i) {
        log.clear();
        inner = outer = 0;
        const RunReport report = run_it(TreeExecutor{a});
        CHECK(log == Log{"a", "b", "a", "b", "a", "b", "c", "a", "b", "a", "b",
                         "a", "b", "c", "a", "b", "a", "b", "a", "b", "c", "end"});
        CHECK(sorted(ids(report.completed())) == Log{"a", "b", "c", "end"});
    }
}

TEST_CASE("What fans out and in inside a loop runs once a lap, with values of one lap") {
    const bool uneven = GENERATE(false, true);
    std::map<std::string, int> runs;
    std::vector<std::pair<int, int>> joined;
    const auto pass = [&runs](const std::string& id, const Node<int>& from) {
        return Node{id,
                    [&runs, id](int x) {
                        ++runs[id];
                        return x;
                    },
                    "x"_a = from};
    };
    const Node<int> start = Node{"start",
                                 [&runs](int x) {
                                     ++runs["start"];
                                     return x;
                                 },
                                 "x"_a = 0};
    const Node<int> left = pass("left", start);
    Node<int> right = pass("right", start);
    if (uneven) right = pass("longer", pass("long", right));
    const Node join{"join",
                    [&](NodeContext& context, int x, int y) {
                        ++runs["join"];
                        joined.emplace_back(x, y);
                        if (x < 4) Node<int>(context.node()).connect(start, "x"_a);
                        return x + 1;
                    },
                    "x"_a = left, "y"_a = right};
    const Node<int> after = pass("after", join);
    const RunReport report = run_it(TreeExecutor{start});
    CHECK(joined == std::vector<std::pair<int, int>>{{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}});
    for (const auto& [id, count] : runs) {
        CAPTURE(id);
        CHECK(count == 5);
    }
    CHECK(after.output() == 5);
    CHECK(report.completed().size() == runs.size());
}

TEST_CASE("Two edges that one node makes into a loop are one lap") {
    int joins = 0;
    int laps = 0;
    const Node<int> a = Node{"a", [] { return 1; }};
    const Node<int> b = Node{"b", [] { return 1; }};
    const Node<int> long_way = Node{"long way", add_one, "x"_a = b};
    const Node join{"join",
                    [&](NodeContext& context, int, int) {
                        ++joins;
                        if (++laps == 3) return;
                        context.node().connect(a);
                        context.node().connect(b);
                    },
                    "x"_a = a, "y"_a = long_way};
    run_it(TreeExecutor{a, b});
    CHECK(joins == 3);
}

TEST_CASE("The callbacks of a node may close a loop as its body does") {
    const bool before = GENERATE(false, true);
    int laps = 0;
    int works = 0;
    const Node<int> work = Node{"work", [&works] { return ++works; }};
    const Node last{"last", [] {}};
    work.connect(last);
    const auto close = [&](const AnyNode& self) {
        if (++laps % 4 != 0) self.connect(work);
    };
    if (before) last.on_before_run(close);
    if (!before) last.on_after_run(close);
    run_it(TreeExecutor{work});
    CHECK(works == 4);
    run_it(TreeExecutor{work});
    CHECK(works == 8);
}

TEST_CASE(
    "A node that is connected to a settled one by order alone, and leads nowhere, runs again") {
    int runs = 0;
    const Node done{"done", [&runs] { ++runs; }};
    const Node later{"later", [&](NodeContext& context) -> Task<> {
                         co_await sleep_for(1s);
                         context.node().connect(done);
                         co_await sleep_for(1s);
                         CHECK(runs == 1);  // it waits for the end of who asked
                     }};
    const RunReport report = run_it(TreeExecutor{done, later});
    CHECK(runs == 2);
    CHECK(ids(report.completed()) == Log{"later", "done"});
}

TEST_CASE("Who does not run cannot make a node run again") {
    int runs = 0;
    const Node done{"done", [&runs] { ++runs; }};
    const Node settled{"settled", [] {}};
    const Node later{"later", [&]() -> Task<> {
                         co_await sleep_for(1s);
                         settled.connect(done);
                     }};
    const RunReport report = run_it(TreeExecutor{done, settled, later});
    CHECK(runs == 1);
    CHECK(report.completed().size() == 3);
    CHECK(settled.children().empty());
}

TEST_CASE("A node that leads to a looping one by the wiring runs it again whenever it has run") {
    // `second` asks for `first` once; `third` is the settled child of both of them.
    Log log;
    bool asked = false;
    const Node first{"first", [&] { log.push_back("first"); }};
    const Node third{"third", [&] { log.push_back("third"); }};
    const Node second{"second", [&](NodeContext& context) -> Task<> {
                          co_await sleep_for(1s);
                          log.push_back("second");
                          if (!std::exchange(asked, true)) context.node().connect(first);
                      }};
    first.connect(third);
    run_it(TreeExecutor{first, second});
    CHECK(log == Log{"first", "third", "second", "first", "third"});
}

TEST_CASE("An edge that was asked for, but closed no loop, leads on in later laps") {
    // `b` asks for `c`, which is no parent of it; then `a` and `b` loop.
    Log log;
    const Node c{"c", [&log] { log.push_back("c"); }};
    const Node<int> a = Node{"a", []() -> Task<int> {
                                 co_await sleep_for(1s);
                                 co_return 1;
                             }};
    int laps = 0;
    const Node b{"b", [&](NodeContext& context) {
                     log.push_back("b");
                     if (laps == 0) context.node().connect(c);
                     if (++laps < 3) context.node().connect(a);
                 }};
    a.connect(b);
    run_it(TreeExecutor{a, c});
    CHECK(log == Log{"c", "b", "c", "b", "c", "b", "c"});
}

// ---- its arguments ------------------------------------------------------------------------------

TEST_CASE("What runs again keeps its other arguments: transforms and conditions are asked again") {
    Log log;
    int transforms = 0;
    int questions = 0;
    const Node base{"base", [] { return 100; }};
    const Node<int> work =
        Node{"work",
             [&log](const int& x, const int& whole, int later, const int& deferred, Optional maybe,
                    const std::vector<int>& list) {
                 std::string line;
                 for (const int value : {x, whole, later, deferred, maybe.value_or(-1)}) {
                     line += std::to_string(value) + " ";
                 }
                 log.push_back(line + std::to_string(list.size()));
                 return x + 1;
             },
             "x"_a = 0,
             "whole"_a = base,
             "later"_a = base.map([&transforms](int x) -> Task<int> {
                 co_await sleep_for(1s);
                 co_return x + ++transforms;
             }),
             "deferred"_a = [n = 0]() mutable { return ++n; },
             "maybe"_a = 5,
             "list"_args};
    base.connect(work, forward_as("list"), when([&questions] { return ++questions > 0; }));
    const Node check{"check",
                     [&](NodeContext& context, int x) {
                         if (x < 3) Node<int>(context.node()).connect(work, "x"_a);
                         return x;
                     },
                     "x"_a = work};
    const RunReport report = run_it(TreeExecutor{base});
    CHECK(log == Log{"0 100 101 1 5 1", "1 100 102 2 5 1", "2 100 103 3 5 1"});
    CHECK(questions == 3);
    CHECK(report.elapsed() == 3s);
}

TEST_CASE("Move-only values go around a loop by value, each lap's own") {
    using Only = std::unique_ptr<int>;
    const Node<Only> work = Node{"work",
                                 [](Only x) {
                                     ++*x;
                                     return x;
                                 },
                                 "x"_a = [] { return std::make_unique<int>(0); }};
    int seen = 0;
    const Node<Only> check = Node{"check",
                                  [&](NodeContext& context, Only x) {
                                      seen = *x;
                                      if (*x < 5) Node<Only>(context.node()).connect(work, "x"_a);
                                      return x;
                                  },
                                  "x"_a = work};
    for (int i = 0; i < 2; ++i) {
        run_it(TreeExecutor{work});
        CHECK(seen == 5);
        CHECK(*check.output() == 5);
        CHECK_THROWS_AS(work.output(), OutputUnavailableError);
    }
}

TEST_CASE("A move-only argument that an earlier lap has spent is missing in the next one") {
    using Only = std::unique_ptr<int>;
    const bool bound = GENERATE(true, false);
    int calls = 0;
    const Node source{"source", [] { return std::make_unique<int>(1); }};
    const auto body = [&calls](Only x) {
        ++calls;
        return *x;
    };
    std::optional<Node<int>> work;
    if (bound) work = Node{"work", body, "x"_a = std::make_unique<int>(1)};
    if (!bound) work = Node{"work", body, "x"_a = source};
    const Node check{"check", [&](NodeContext& context) { context.node().connect(*work); }};
    work->connect(check);
    const RunReport report = try_it(TreeExecutor{source, *work});
    CHECK(calls == 1);
    REQUIRE(ids(report.failed()) == Log{"work"});
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("'x'") && ContainsSubstring("'work'") &&
                                              ContainsSubstring("move"));
    if (!bound) CHECK_THAT(report.errors()[0].what(), ContainsSubstring("'source'"));
}

TEST_CASE("forward_as, forward_auto and transforms close a loop, each lap anew") {
    const int form = GENERATE(0, 1, 2, 3, 4);
    std::vector<int> seen;
    const Node source{"source", [] { return 0; }};
    const Node<int> work = Node{"work",
                                [&seen](int x) {
                                    seen.push_back(x);
                                    return x + 1;
                                },
                                "x"_a = source};
    const Node check{"check",
                     [&, form](NodeContext& context, int x) {
                         if (x == 5) return x;
                         const Node<int> self(context.node());
                         if (form == 0) self.connect(work, forward_as("x"));
                         if (form == 1) self.connect(work, forward_auto);
                         if (form == 2) self.connect(work, "x"_a = [](int y) { return y; });
                         if (form == 3) {
                             self.connect(
                                 work, "x"_a = [](int y) -> Task<int> {
                                     co_await sleep_for(1s);
                                     co_return y;
                                 });
                         }
                         if (form == 4) self.connect(work, "x"_a, when([] { return true; }));
                         return x;
                     },
                     "x"_a = work};
    run_it(TreeExecutor{work});
    CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(work.parents() == Nodes{source});
}

TEST_CASE("A list keeps the elements of others, and one of the loop's own, not one a lap") {
    std::vector<std::vector<int>> seen;
    const Node a{"a", [] { return 10; }};
    const Node b{"b", [] { return 20; }};
    const Node<int> work = Node{"work",
                                [&seen](const std::vector<int>& xs) {
                                    seen.push_back(xs);
                                    return static_cast<int>(seen.size());
                                },
                                "xs"_args = gather(a, b)};
    const Node check{"check",
                     [&](NodeContext& context, int x) {
                         if (x < 3) Node<int>(context.node()).connect(work, "xs"_a);
                         return x;
                     },
                     "x"_a = work};
    run_it(TreeExecutor{work});
    CHECK(seen == std::vector<std::vector<int>>{{10, 20}, {10, 20, 1}, {10, 20, 2}});
}

TEST_CASE("Parameters by reference see the output of the lap that is on") {
    std::vector<const std::string*> seen;
    std::vector<std::string> texts;
    const Node<std::string> work =
        Node{"work", [](const std::string& x) { return x + "x"; }, "x"_a = std::string()};
    const Node<std::string> check =
        Node{"check",
             [&](NodeContext& context, const std::string& x) {
                 seen.push_back(&x);
                 texts.push_back(x);
                 if (x.size() < 3) {
                     Node<std::string>(context.node()).connect(work, "x"_a);
                 }
                 return x;
             },
             "x"_a = work};
    run_it(TreeExecutor{work});
    CHECK(texts == Log{"x", "xx", "xxx"});
    CHECK(seen.back() == &work.output());
}

// ---- readers of the former output ---------------------------------------------------------------

TEST_CASE("A node runs again once whatever reads its former output has settled") {
    Log log;
    const Node<std::string> work = Node{"work", [&log, n = 0]() mutable {
                                            log.push_back(at("work"));
                                            return std::string(30, static_cast<char>('a' + n++));
                                        }};
    const Node slow{"slow",
                    [&log](const std::string& x) -> Task<> {
                        const char first = x[0];
                        co_await sleep_for(5s);
                        log.push_back(at("slow " + x.substr(0, 2)));
                        CHECK(x == std::string(30, first));
                    },
                    "x"_a = work};
    const Node check{"check", [&, n = 0](NodeContext& context) mutable {
                         log.push_back(at("check"));
                         if (++n < 3) context.node().connect(work);
                     }};
    work.connect(check);
    run_it(TreeExecutor{work});
    CHECK(log == Log{"0 work", "0 check", "5 slow aa", "5 work", "5 check", "10 slow bb", "10 work",
                     "10 check", "15 slow cc"});
}

TEST_CASE("A reader that has not started yet is given the former output, whatever its form") {
    const Trigger trigger = GENERATE(Trigger::any_completed, Trigger::all_settled);
    std::vector<std::string> seen;
    const Node<int> work = Node{"work", [n = 0]() mutable { return ++n; }};
    const Node slow{"slow", []() -> Task<int> {
                        co_await sleep_for(5s);
                        throw Skip("so that the trigger decides");
                    }};
    const Node reader{"reader",
                      [&seen](Optional a, const int* b, const std::vector<int>& c, Optional d) {
                          seen.push_back(std::to_string(a.value_or(-1)) +
                                         std::to_string(b != nullptr ? *b : -1) +
                                         std::to_string(c.size()) + std::to_string(d.value_or(0)));
                      },
                      "a"_a = work,
                      "b"_a = work,
                      "c"_args = gather(work),
                      "d"_a = slow};
    reader.trigger(trigger);
    const Node check{"check", [&, n = 0](NodeContext& context) mutable {
                         if (++n < 2) context.node().connect(work);
                     }};
    work.connect(check);
    const RunReport report = run_it(TreeExecutor{work});
    CHECK(seen == std::vector<std::string>{"1110", "2210"});
    CHECK(ended(report) == 4);
}

TEST_CASE("The reason of a reader that is skipped names how its parent ended in the lap before") {
    const Node<int> work = Node{"work", [n = 0]() mutable -> int {
                                    if (n++ == 0) throw Skip("not yet");
                                    return 1;
                                }};
    const Node slow{"slow", []() -> Task<> { co_await sleep_for(5s); }};
    const Node reader{"reader", [] { return 1; }};
    work.connect(reader);
    slow.connect(reader);
    const Node check{"check", [&](NodeContext& context) -> Task<> {
                         co_await sleep_for(1s);
                         context.node().connect(work);
                     }};
    std::string why;
    const Node watch{"watch", [&] {
                         try {
                             reader.output();
                         } catch (const Error& error) {
                             why = error.what();
                         }
                     }};
    watch.trigger(Trigger::all_settled);
    reader.connect(watch);
    run_it(TreeExecutor{work, check});
    CHECK_THAT(why, ContainsSubstring("parent 'work' was skipped: not yet"));
}

TEST_CASE("Where readers would wait for ever the nodes fail with CycleError, and nothing hangs") {
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    // `reader` needs both laps: it reads the first output of `work`, and waits for `late`, which
    // waits for the second.
    const Node<int> work = Node{"work", [] { return 1; }};
    const Node reader{"reader", [](int) {}, "x"_a = work};
    const Node late{"late", [] {}};
    const Node gate{"gate", [&]() -> Task<> { co_await sleep_for(2s); }};
    gate.connect(late).connect(reader);
    const Node tidy{"tidy", [] { return 1; }};
    tidy.trigger(Trigger::all_settled);
    reader.connect(tidy);
    const Node check{"check", [&](NodeContext& context) -> Task<> {
                         co_await sleep_for(1s);
                         context.node().connect(work);
                         work.connect(late);
                     }};
    const RunReport report = try_it(TreeExecutor{work, gate, check}, policy);
    REQUIRE_FALSE(report.errors().empty());
    for (const NodeError& error : report.errors()) {
        CAPTURE(error.what());
        CHECK(holds<CycleError>(error.cause()));
        CHECK_THAT(error.what(), ContainsSubstring("'work'") && ContainsSubstring("'reader'"));
    }
    CHECK(ended(report) == 6);
    CHECK(tidy.state() == NodeState::completed);
}

TEST_CASE(
    "A transform that still reads the former output, of an edge that is gone, is waited for") {
    Log log;
    const bool fails = GENERATE(false, true);  // the child, by another edge
    const Node<std::string> work = Node{"work", [&log, n = 0]() mutable {
                                            log.push_back(at("work"));
                                            return std::string(30, static_cast<char>('a' + n++));
                                        }};
    const Node child{"child", [](const std::vector<int>&) {}, "xs"_args};
    work.connect(
        child, "xs"_a = [&log](const std::string& x) -> Task<int> {
            const char first = x[0];
            try {
                co_await sleep_for(5s);
            } catch (const Cancelled&) {
            }
            co_await sleep_for(5s);
            log.push_back(at("transform"));
            CHECK(x == std::string(30, first));
            co_return 1;
        });
    if (fails) {
        work.connect(
            child, "xs"_a = [](const std::string& x) -> Task<int> {
                const char first = x[0];
                co_await yield();
                if (first == 'a') throw std::runtime_error("broken");
                co_return 2;
            });
    }
    const Node check{"check", [&, fails, n = 0](NodeContext& context) mutable -> Task<> {
                         const int lap = n++;
                         co_await sleep_for(1s);
                         if (lap > 0) co_return;
                         if (!fails) work.disconnect(child);
                         context.node().connect(work);
                     }};
    work.connect(check);
    const RunReport report = try_it(TreeExecutor{work});
    REQUIRE(log.size() >= 3);
    CHECK(log[0] == "0 work");
    CHECK(log[1] == (fails ? "10 transform" : "6 transform"));
    CHECK(log[2] == (fails ? "10 work" : "6 work"));
    CHECK(ended(report) == 3);
}

TEST_CASE("A transform of the lap before does not speak for the next one") {
    // `child` fails by one edge while the transform of another is at work; then it runs again.
    std::vector<std::vector<int>> seen;
    int calls = 0;
    const Node source{"source", [] { return 1; }};
    const Node broken{"broken", [] { return 1; }};
    const Node child{"child", [&seen](const std::vector<int>& xs) { seen.push_back(xs); },
                     "xs"_args};
    source.connect(
        child, "xs"_a = [&calls](int) -> Task<int> {
            const int call = ++calls;
            try {
                co_await sleep_for(10s);
            } catch (const Cancelled&) {
            }
            co_await sleep_for(call == 1 ? 100s : 1s);
            co_return call;
        });
    bool fine = false;
    broken.connect(
        child, "xs"_a = [&fine](int x) {
            if (!std::exchange(fine, true)) throw std::runtime_error("broken");
            return x * 100;
        });
    const Node asks{"asks", [&](NodeContext& context) -> Task<> {
                        co_await sleep_for(1s);
                        context.node().connect(child);
                    }};
    const RunReport report = try_it(TreeExecutor{source, broken, asks});
    CHECK(seen == std::vector<std::vector<int>>{{2, 100}});
    CHECK(report.ok());
    CHECK(ended(report) == 4);
}

TEST_CASE("A reader of the former output may be cut off, or connected to it once more") {
    const int how = GENERATE(0, 1, 2);
    Log log;
    std::vector<std::vector<int>> seen;
    const Node<int> work = Node{"work", [&log, n = 0]() mutable {
                                    log.push_back(at("work"));
                                    return ++n;
                                }};
    const Node slow{"slow", []() -> Task<int> {
                        co_await sleep_for(5s);
                        co_return 100;
                    }};
    const Node reader{"reader",
                      [&](const std::vector<int>& xs) {
                          log.push_back(at("reader"));
                          seen.push_back(xs);
                      },
                      "xs"_args = gather(work, slow)};
    const Node check{"check", [&, how](NodeContext& context) -> Task<> {
                         co_await sleep_for(1s);
                         if (log.size() > 1) co_return;
                         context.node().connect(work);
                         if (how == 0) work.disconnect(reader);
                         if (how == 1) work.connect(reader, "xs"_a = [](int x) { return x * 10; });
                         if (how == 2) {
                             work.connect(reader, "xs"_a);
                             work.disconnect(reader);
                         }
                     }};
    const RunReport report = run_it(TreeExecutor{work, slow, check});
    CHECK(report.completed().size() == 4);
    if (how == 1) {
        CHECK(log == Log{"0 work", "5 reader", "5 work", "5 reader"});
        CHECK(seen == std::vector<std::vector<int>>{{1, 100, 10}, {2, 100, 20}});
    } else {
        CHECK(log == Log{"0 work", "1 work", "5 reader"});
        CHECK(seen == std::vector<std::vector<int>>{{100}});
    }
}

TEST_CASE("The children of a looping node go by their conditions in each lap") {
    Log log;
    int lap = 0;
    const Node<int> work = Node{"work", [&lap] { return ++lap; }};
    const Node odd{"odd", [&log](int x) { log.push_back("odd " + std::to_string(x)); }, "x"_a};
    const Node even{"even", [&log](int x) { log.push_back("even " + std::to_string(x)); }, "x"_a};
    const Node any{"any", [&log] { log.push_back("any"); }};
    any.trigger(Trigger::any_completed);
    work.connect(odd, "x"_a, when([](int x) { return x % 2 == 1; }));
    work.connect(even, "x"_a, when([](int x) -> Task<bool> {
                     co_await sleep_for(1s);
                     co_return x % 2 == 0;
                 }));
    odd.connect(any);
    even.connect(any);
    const Node check{"check", [&](NodeContext& context) -> Task<> {
                         co_await sleep_for(5s);
                         if (lap < 4) context.node().connect(work);
                     }};
    work.connect(check);
    const RunReport report = run_it(TreeExecutor{work});
    CHECK(log == Log{"odd 1", "any", "even 2", "any", "odd 3", "any", "even 4", "any"});
    CHECK(ids(report.skipped()) == Log{"odd"});
    CHECK(ended(report) == 5);
}

// ---- several that ask ---------------------------------------------------------------------------

TEST_CASE("Two nodes may ask for one settled child: it waits for both, in each lap") {
    const int form = GENERATE(0, 1, 2);  // order, two arguments, order and an argument
    int runs = 0;
    std::vector<int> seen;
    const Node<int> work = Node{"work",
                                [&](int a, int b) {
                                    seen.push_back(a * 100 + b);
                                    return ++runs;
                                },
                                "a"_a = 0, "b"_a = 0};
    const auto asks = [&](const char* name, nanoseconds work_time) {
        return [&, name, work_time, form](NodeContext& context, int x) -> Task<int> {
            const Node<int> self(context.node());
            co_await sleep_for(work_time);
            if (x < 4 && form == 0) self.connect(work);
            if (x < 4 && form == 1) self.connect(work, forward_as(name));
            if (x < 4 && form == 2) {
                if (name[0] == 'a') {
                    self.connect(work);
                } else {
                    self.connect(work, forward_as(name));
                }
            }
            co_await sleep_for(1s);
            co_return x;
        };
    };
    const Node one{"one", asks("a", 0s), "x"_a = work};
    const Node two{"two", asks("b", 500ms), "x"_a = work};
    const RunReport report = run_it(TreeExecutor{work});
    CHECK(runs == 4);
    CHECK(report.elapsed() == 6s);
    if (form == 0) CHECK(seen == std::vector<int>{0, 0, 0, 0});
    if (form == 1) CHECK(seen == std::vector<int>{0, 101, 202, 303});
    if (form == 2) CHECK(seen == std::vector<int>{0, 1, 2, 3});
    CHECK(report.completed().size() == 3);
}

TEST_CASE("In one lap an argument may be forwarded once") {
    std::string what;
    int runs = 0;
    const Node<int> work = Node{"work",
                                [&runs](int x) {
                                    ++runs;
                                    return x;
                                },
                                "x"_a = 0};
    const Node asks{"asks",
                    [&](NodeContext& context, int x) {
                        const Node<int> self(context.node());
                        if (runs == 3) return x;
                        self.connect(work, "x"_a);
                        try {
                            self.connect(work, "x"_a = add_one);
                        } catch (const ForwardingOverrideError& error) {
                            what = error.what();
                        }
                        return x + 1;
                    },
                    "x"_a = work};
    run_it(TreeExecutor{work});
    CHECK(runs == 3);
    CHECK(work.output() == 2);
    CHECK_THAT(what, ContainsSubstring("'x'") && ContainsSubstring("'asks'"));
}

// ---- what ends it -------------------------------------------------------------------------------

TEST_CASE("A node may run 1,000 times in a run, then it fails") {
    int runs = 0;
    const Node<int> work = Node{"work", [&runs] { return ++runs; }};
    const Node asks{"asks", [&](NodeContext& context) { context.node().connect(work); }};
    work.connect(asks);
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    for (int i = 0; i < 2; ++i) {
        runs = 0;
        const RunReport report = try_it(TreeExecutor{work}, policy);
        CHECK(runs == 1000);
        REQUIRE(ids(report.failed()) == Log{"work"});
        CHECK(ids(report.completed()) == Log{"asks"});
        CHECK_THAT(report.errors()[0].what(), ContainsSubstring("1000 times") &&
                                                  ContainsSubstring("max_runs") &&
                                                  ContainsSubstring("'work'"));
        CHECK(report.errors()[0].attempts() == 0);
    }
}

TEST_CASE("max_runs sets how often a node may run in a run") {
    const unsigned most = GENERATE(1U, 2U, 7U);
    unsigned runs = 0;
    const Node work{"work", [&runs] { ++runs; }};
    work.max_runs(most);
    CHECK_THROWS_AS(work.max_runs(0), Error);
    const Node asks{"asks", [&](NodeContext& context) { context.node().connect(work); }};
    work.connect(asks);
    const RunReport report = try_it(TreeExecutor{work});
    CHECK(runs == most);
    CHECK(ids(report.failed()) == Log{"work"});
}

TEST_CASE("A chain of 5,000 nodes runs three laps, and each node is in the report once") {
    constexpr std::size_t length = 5'000;
    const Node start{"start", [] { return 0; }};
    const Node first{"first", [](int x) { return x + 1; }, "x"_a = start};
    Node<int> last = first;
    for (std::size_t i = 0; i < length; ++i) {
        last = Node{"next", [](int x) { return x; }, "x"_a = last};
    }
    const Node check{"check",
                     [](NodeContext& context, int x, const NodeRef<int>& again) {
                         const Node<int> self(context.node());
                         if (x < 3) self.connect(again.lock(), "x"_a);
                         return x;
                     },
                     "x"_a = last, "again"_a = first.ref()};
    const RunReport report = run_it(TreeExecutor{start});
    CHECK(check.output() == 3);
    const std::vector<AnyNode> completed = report.completed();
    CHECK(completed.size() == length + 3);
    CHECK(completed.front() == start);
    CHECK(completed.at(1) == first);
    CHECK(completed.back() == check);
}

TEST_CASE("A loop of 100,000 laps keeps nothing of those that are over") {
    constexpr int laps = 100'000;
    const int form = GENERATE(0, 1, 2, 3);
    Counted::reset();
    {
        int runs = 0;
        int most = 0;
        const Node<int> work = Node{"work",
                                    [&](int x, const std::vector<int>& xs) {
                                        ++runs;
                                        if (xs.size() > 1) FAIL("an element a lap");
                                        return x + 1;
                                    },
                                    "x"_a = 0, "xs"_args = std::vector<AnyNode>()};
        work.max_runs(laps + 1);
        const Node<int> check =
            Node{"check",
                 [&, form](NodeContext& context, int x) {
                     most = std::max(most, Counted::live());
                     if (x == laps) return x;
                     const Node<int> self(context.node());
                     const auto make = [c = Counted(1)](int y) { return y + c.value - 1; };
                     const auto make_later = [c = Counted(1)](int y) -> Task<int> {
                         co_return y + c.value - 1;
                     };
                     const auto asks = [c = Counted(1)] { return c.value == 1; };
                     if (form == 0) self.connect(work, "x"_a);
                     if (form == 1) self.connect(work, "x"_a = make, when(asks));
                     if (form == 2) self.connect(work, "x"_a = make_later);
                     if (form == 3) {
                         self.connect(work, "x"_a = make);
                         self.connect(work, "xs"_a = make);
                         self.connect(work, when(asks));
                     }
                     return x;
                 },
                 "x"_a = work};
        check.max_runs(laps);
        const RunReport report = run_it(TreeExecutor{work});
        CHECK(runs == laps);
        CHECK(check.output() == laps);
        CHECK(most < 20);
        CHECK(report.completed().size() == 2);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE("What fails in a later lap fails the run; what depends on it is skipped") {
    const ErrorPolicy policy = GENERATE(ErrorPolicy::fail_fast, ErrorPolicy::keep_going);
    int runs = 0;
    const Node<int> work = Node{"work", [&runs]() -> int {
                                    if (++runs == 3) throw std::runtime_error("third time");
                                    return runs;
                                }};
    const Node check{"check", [&](NodeContext& context, int) { context.node().connect(work); },
                     "x"_a = work};
    const Node<int> after = Node{"after", add_one, "x"_a = work};
    const RunReport report = try_it(TreeExecutor{work}, policy);
    CHECK(runs == 3);
    CHECK(ids(report.failed()) == Log{"work"});
    CHECK_THAT(report.errors().at(0).what(), ContainsSubstring("third time"));
    CHECK(sorted(ids(report.completed())) == Log{"after", "check"});  // of the lap before
    CHECK(after.output() == 3);
}

TEST_CASE("When the one that asked fails, is skipped or cancelled, the child is skipped") {
    const int how = GENERATE(0, 1, 2);
    int runs = 0;
    const Node work{"work", [&runs] { ++runs; }};
    const Node asks{"asks", [&, how](NodeContext& context) {
                        context.node().connect(work);
                        if (how == 0) throw std::runtime_error("broken");
                        if (how == 1) throw Skip("no");
                        throw Cancelled();
                    }};
    work.connect(asks);
    const RunReport report = try_it(TreeExecutor{work});
    CHECK(runs == 1);
    CHECK(work.state() == NodeState::skipped);
    CHECK(ended(report) == 2);
}

TEST_CASE(
    "What failed, was skipped or cancelled before may be run again, and its last end counts") {
    const int how = GENERATE(0, 1, 2);
    Log log;
    int runs = 0;
    const Node<int> work = Node{"work", [&, how]() -> int {
                                    if (++runs > 1) return 7;
                                    if (how == 0) throw std::runtime_error("broken");
                                    if (how == 1) throw Skip("no");
                                    throw Cancelled();
                                }};
    const Node after{"after", [&log](int x) { log.push_back("after " + std::to_string(x)); },
                     "x"_a = work};
    const Node asks{"asks", [&](NodeContext& context) -> Task<> {
                        co_await sleep_for(1s);
                        CHECK(after.state() == NodeState::skipped);
                        context.node().connect(work);
                    }};
    TreeExecutor executor{work, asks};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.run());
    CHECK(runs == 2);
    CHECK(log == Log{"after 7"});
    CHECK(report.ok());
    CHECK(report.errors().empty());
    CHECK(ids(report.completed()) == Log{"asks", "work", "after"});
    CHECK(ended(report) == 3);
    CHECK(work.output() == 7);
}

TEST_CASE("A child that was skipped for another parent is skipped again, and says so") {
    const Node skipped{"skipped", []() -> int { throw Skip("no"); }};
    const Node child{"child", [](int x) { return x; }, "x"_a = skipped};
    const Node asks{"asks", [&](NodeContext& context) -> Task<> {
                        co_await sleep_for(1s);
                        context.node().connect(child);
                    }};
    run_it(TreeExecutor{skipped, asks});
    CHECK(child.state() == NodeState::skipped);
    CHECK_THROWS_WITH(child.output(), ContainsSubstring("parent 'skipped' was skipped"));
}

TEST_CASE("After stop() nothing runs again, and who asks for it is not in error") {
    const bool forwards = GENERATE(false, true);
    const bool in_time = GENERATE(false, true);
    int runs = 0;
    const TreeExecutor* running = nullptr;
    const Node<int> work = Node{"work",
                                [&runs](int x) {
                                    ++runs;
                                    return x;
                                },
                                "x"_a = 0};
    const Node asks{"asks",
                    [&, forwards, in_time](NodeContext& context, int x) {
                        const Node<int> self(context.node());
                        if (!in_time) running->stop();
                        if (forwards) {
                            self.connect(work, "x"_a);
                        } else {
                            self.connect(work);
                        }
                        if (in_time) running->stop();
                        return x;
                    },
                    "x"_a = work};
    TreeExecutor executor{work};
    running = &executor;
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.stopped());
    CHECK(report.failed().empty());
    CHECK(runs == 1);
    CHECK(ended(report) == 2);
    CHECK(asks.state() == NodeState::cancelled);
    CHECK(work.state() != NodeState::pending);
    if (!in_time) CHECK(work.state() == NodeState::completed);
}

TEST_CASE("A condition on the edge that closes a loop is asked each lap; a no skips the child") {
    int runs = 0;
    const Node<int> work = Node{"work", [&runs] { return ++runs; }};
    const Node asks{"asks",
                    [&](NodeContext& context, int x) {
                        Node<int>(context.node()).connect(work, when([](int y) { return y < 3; }));
                        return x;
                    },
                    "x"_a = work};
    const RunReport report = run_it(TreeExecutor{work});
    CHECK(runs == 3);
    CHECK(ids(report.completed()) == Log{"asks"});
    CHECK(ids(report.skipped()) == Log{"work"});
    CHECK_THROWS_WITH(work.output(), ContainsSubstring("condition of the edge from 'asks'"));
}

TEST_CASE("An edge that asked and is cut again leaves the child to its other parents") {
    const bool has_other = GENERATE(false, true);
    int runs = 0;
    const Node other{"other", [] {}};
    const Node work{"work", [&runs] { ++runs; }};
    if (has_other) other.connect(work);
    const Node asks{"asks", [&](NodeContext& context) -> Task<> {
                        co_await sleep_for(1s);
                        context.node().connect(work);
                        context.node().disconnect(work);
                        co_await sleep_for(1s);
                    }};
    const RunReport report = run_it(TreeExecutor{work, asks});
    CHECK(ended(report) == (has_other ? 3 : 2));
    if (has_other) CHECK(runs == 2);
    if (!has_other) CHECK(work.state() == NodeState::skipped);
}

TEST_CASE("Neither end of a pipe can run again") {
    const bool producer = GENERATE(false, true);
    const Node source{"source", []() -> AsyncGenerator<int> {
                          co_yield 1;
                          co_yield 2;
                      }};
    const Node reader{"reader",
                      [](AsyncGenerator<int> xs) -> Task<int> {
                          int sum = 0;
                          while (const int* x = co_await xs.next()) sum += *x;
                          co_return sum;
                      },
                      "xs"_a = source};
    const Node asks{"asks", [&, producer](NodeContext& context) {
                        context.node().connect(producer ? AnyNode(source) : AnyNode(reader));
                    }};
    reader.connect(asks);
    const RunReport report = try_it(TreeExecutor{source});
    REQUIRE(ids(report.failed()) == Log{producer ? "source" : "reader"});
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring("pipe"));
    CHECK(ended(report) == 3);
}

// ---- each lap starts afresh ---------------------------------------------------------------------

TEST_CASE("Callbacks, retries, timeouts, limits and the attempt's number start afresh each lap") {
    Log log;
    const Semaphore semaphore(1);
    int calls = 0;
    const Node<int> work = Node{"work", [&](NodeContext& context) -> Task<int> {
                                    ++calls;
                                    log.push_back("try " + std::to_string(context.attempt()));
                                    co_await sleep_for(context.attempt() == 1 ? 10s : 3s);
                                    co_return calls;
                                }};
    work.timeout(4s).total_timeout(8s).retry(2).limit(semaphore);
    work.on_before_run([&log] { log.push_back("before"); });
    work.on_after_run([&log] { log.push_back("after"); });
    const Node check{"check",
                     [&](NodeContext& context, int x) {
                         if (x < 6) context.node().connect(work);
                     },
                     "x"_a = work};
    check.limit(semaphore);
    const RunReport report = try_it(TreeExecutor{work}.max_concurrency(1), ErrorPolicy::fail_fast);
    CHECK(report.ok());
    Log expected;
    for (int i = 0; i < 3; ++i) {
        for (const char* word : {"before", "try 1", "try 2", "after"}) expected.push_back(word);
    }
    CHECK(log == expected);
    CHECK(report.elapsed() == 21s);
    CHECK(work.runtime() == 7s);
}

TEST_CASE("A stream tells of each lap, and the report of each node once") {
    Log log;
    const Node<int> work = Node{"work", [n = 0]() mutable -> AsyncGenerator<int, int> {
                                    ++n;
                                    co_yield n * 10;
                                    co_return n;
                                }};
    const Node check{"check",
                     [&](NodeContext& context, int x) {
                         if (x < 3) context.node().connect(work);
                     },
                     "x"_a = work};
    EventLoop loop{virtual_time};
    const TreeExecutor executor{work};
    for (const Event& event : iterate(loop, executor.yielding())) {
        if (auto chunk = event.chunk<int>()) {
            log.push_back("chunk " + std::to_string(chunk->output));
        } else {
            log.push_back(event.node().id() +
                          (event.kind() == EventKind::started ? " started" : " completed"));
        }
    }
    Log expected;
    for (const char* number : {"10", "20", "30"}) {
        expected.insert(expected.end(), {"work started", std::string("chunk ") + number,
                                         "work completed", "check started", "check completed"});
    }
    CHECK(log == expected);
    CHECK(ids(executor.report().completed()) == Log{"work", "check"});
}

TEST_CASE("An observer sees a node go from its end to pending, and through each lap") {
    class Watch final : public Observer {
    public:
        void transition(const Transition& step) override {
            if (step.node().id() != "work") return;
            CHECK(step.from() == last);
            last = step.to();
            steps.push_back(step.to());
        }
        NodeState last = NodeState::pending;
        std::vector<NodeState> steps;
    };
    using enum NodeState;
    Watch watch;
    int runs = 0;
    const Node<int> work = Node{"work", [&runs] { return ++runs; }};
    work.max_runs(2);
    const Node check{"check", [&](NodeContext& context) { context.node().connect(work); }};
    work.connect(check);
    TreeExecutor executor{work};
    executor.observe(watch);
    EventLoop loop{virtual_time};
    loop.run(executor.try_run());
    CHECK(watch.steps == std::vector<NodeState>{ready, running, completed, pending, ready, running,
                                                completed, pending, failed});
}

TEST_CASE("With one place, and by priority, loops go on as any nodes do") {
    Log log;
    const auto add_loop = [&log](const std::string& id, int priority) {
        const auto laps = std::make_shared<int>(0);
        const Node<int> work = Node{id, [&log, id]() -> Task<int> {
                                        log.push_back(id);
                                        co_await sleep_for(1s);
                                        co_return 1;
                                    }};
        const Node check{id + "?", [laps, ref = work.ref()](NodeContext& context) {
                             if (++*laps < 3) context.node().connect(ref.lock());
                         }};
        work.priority(priority);
        check.priority(priority);
        work.connect(check);
        return work;
    };
    const Node<int> low = add_loop("low", 0);
    const Node<int> high = add_loop("high", 1);
    const RunReport report = run_it(TreeExecutor{low, high}.max_concurrency(1));
    CHECK(log == Log{"high", "high", "high", "low", "low", "low"});
    CHECK(report.elapsed() == 6s);
}

TEST_CASE("A node that a run has made may loop, and goes with its run") {
    Counted::reset();
    {
        int runs = 0;
        const Node maker{"maker", [&runs](NodeContext& context) {
                             const Node<int> made =
                                 Node{"made", [&runs, c = Counted(1)] { return runs += c.value; }};
                             const Node back{
                                 "back",
                                 [ref = made.ref(), c = Counted(1)](NodeContext& self, int x) {
                                     if (x < 4) self.node().connect(ref.lock());
                                 },
                                 "x"_a = made};
                             context.node().connect(made);
                         }};
        for (int i = 0; i < 2; ++i) {
            runs = 0;
            CHECK(run_it(TreeExecutor{maker}).completed().size() == 3);
            CHECK(runs == 4);
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(Counted::live() == 0);
}

TEST_CASE(
    "A loop that is dropped or stopped at any event leaves nothing, and the next run is sound") {
    const bool drop = GENERATE(true, false);
    for (std::size_t at_event = 0; at_event < 28; ++at_event) {
        CAPTURE(drop, at_event);
        Counted::reset();
        {
            const Node<Counted> work = Node{"work",
                                            [](const Counted& x) -> Task<Counted> {
                                                const Counted local(x.value + 1);
                                                co_await sleep_for(1s);
                                                co_return Counted(local.value);
                                            },
                                            "x"_a = Counted(0)};
            const Node reader{"reader",
                              [](const Counted& x) -> Task<> {
                                  const Counted local(x.value);
                                  co_await sleep_for(2s);
                              },
                              "x"_a = work};
            const Node<Counted> check = Node{
                "check",
                [ref = work.ref()](NodeContext& context,
                                   Counted x) -> AsyncGenerator<int, Counted> {
                    co_yield x.value;
                    co_await sleep_for(1s);
                    if (x.value < 3) {
                        const auto makes = [c = Counted(1)](const Counted& y) -> Task<Counted> {
                            const Counted local(y.value);
                            co_await sleep_for(1s);
                            co_return Counted(local.value);
                        };
                        Node<Counted>(context.node()).connect(ref.lock(), "x"_a = makes);
                    }
                    co_return Counted(x.value);
                },
                "x"_a = work};
            const TreeExecutor executor{work};
            EventLoop loop{virtual_time};
            const auto program = [&]() -> Task<> {
                auto events = executor.yielding();
                std::size_t count = 0;
                try {
                    while (co_await events.next()) {
                        if (count++ < at_event) continue;
                        if (drop) co_return;
                        executor.stop();
                    }
                } catch (const RunError&) {
                }
            };
            loop.run(program());
            CHECK(work.parents().empty());
            const RunReport report = loop.run(executor.run());
            CHECK(report.completed().size() == 3);
            CHECK(check.output().value == 3);
        }
        CHECK(Counted::live() == 0);
    }
}

TEST_CASE(
    "A node that fails in a lap before it starts waits for those that read its former output") {
    const bool by_edge = GENERATE(true, false);
    CAPTURE(by_edge);
    Log log;
    const Node<int> source = Node{"source", [] { return 1; }};
    const Node<int> work = Node{"work", [](std::vector<int> xs) { return xs.at(0); }, "xs"_args};
    const auto breaks = [laps = 0, by_edge](int x) mutable {
        if (by_edge && ++laps == 2) throw std::runtime_error("broken");
        return x;
    };
    source.connect(work, "xs"_a = breaks);
    work.max_runs(by_edge ? 10 : 1);
    const Node slow{"slow", [&log]() -> Task<> {
                        co_await sleep_for(3s);
                        log.push_back(at("slow"));
                    }};
    const Node check{"check",
                     [&, ref = work.ref()](NodeContext& context, const int& x) -> Task<> {
                         context.node().connect(ref.lock());
                         co_await sleep_for(2s);
                         log.push_back(at("check " + std::to_string(x)));
                     },
                     "x"_a = work};
    // It has what it reads, and waits for another.
    const Node late{"late",
                    [&log](const int& x) { log.push_back(at("late " + std::to_string(x))); },
                    "x"_a = work};
    slow.connect(late);
    const RunReport report = try_it(TreeExecutor{source, slow});
    CHECK(log == Log{"2 check 1", "3 slow", "3 late 1"});
    CHECK(ids(report.failed()) == Log{"work"});
    CHECK(sorted(ids(report.completed())) == Log{"check", "late", "slow", "source"});
    CHECK(ended(report) == 5);
    REQUIRE(report.errors().size() == 1);
    CHECK_THAT(report.errors()[0].what(), ContainsSubstring(by_edge ? "broken" : "max_runs"));
}

TEST_CASE(
    "Who has read the former output of a node that fails in a circle does not wait for it again") {
    // n1 -> n2 -> n3 -> n4 -> n5 -> n6 -> n7, and some that skip one; three ask for another lap.
    std::vector<Node<void>> nodes;
    const std::map<int, int> asks{{3, 2}, {4, 1}, {6, 4}};
    std::map<int, int> runs;
    for (int i = 1; i <= 7; ++i) {
        nodes.push_back(Node{"n" + std::to_string(i), [&, i](NodeContext& context) -> Task<> {
                                 if (++runs[i] == 1 && asks.count(i) > 0) {
                                     const int to = asks.at(i);
                                     context.node().connect(
                                         nodes[static_cast<std::size_t>(to - 1)]);
                                 }
                                 if (i == 7) co_await sleep_for(1s);
                             }});
    }
    nodes[6].trigger(Trigger::all_settled);
    const std::vector<std::pair<std::size_t, std::size_t>> edges{
        {1, 2}, {2, 3}, {3, 4}, {2, 4}, {4, 5}, {2, 5}, {5, 6}, {2, 6}, {6, 7}, {4, 7}};
    for (const auto& [from, to] : edges) nodes[from - 1].connect(nodes[to - 1]);
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        runs.clear();
        TreeExecutor executor{Nodes(nodes.begin(), nodes.end())};
        executor.shuffle(seed);
        CHECK(ended(try_it(std::move(executor))) == nodes.size());
        for (const Node<void>& node : nodes) CHECK(node.state() >= NodeState::completed);
    }
}

TEST_CASE("A failure is told though the node runs again before the reader comes to it") {
    int runs = 0;
    const Node<int> work = Node{"work", [&runs] {
                                    if (++runs == 1) throw std::runtime_error("broken");
                                    return runs;
                                }};
    const Node other{"other", [] { throw std::runtime_error("broken as well"); }};
    const Node check{"check", [&](NodeContext& context) {
                         if (runs == 1) context.node().connect(work);
                     }};
    work.connect(check);
    other.connect(check);
    check.trigger(Trigger::all_settled);
    TreeExecutor executor{work};
    executor.on_error(ErrorPolicy::keep_going);
    Log log;
    const auto read_late = [](AsyncGenerator<Event> events, Log* told) -> Task<> {
        try {
            while (const Event* event = co_await events.next()) {
                if (event->kind() == EventKind::failed) told->push_back(event->error()->what());
                co_await sleep_for(1h);
            }
        } catch (const RunError& error) {
            for (const NodeError& failure : error.errors()) told->push_back(failure.what());
        }
    };
    EventLoop loop{virtual_time};
    loop.run(read_late(executor.yielding(), &log));
    CHECK(log == Log{"node 'work' failed: broken", "node 'other' failed: broken as well",
                     "node 'other' failed: broken as well"});
    CHECK(work.output() == 2);
}

// ---- random loops -------------------------------------------------------------------------------

namespace {

struct RandomNode {
    std::vector<std::size_t> parents;
    std::vector<std::size_t> asks;  // for these, in its first laps
    int laps = 0;                   // in which it asks
    nanoseconds work{};
    bool plain = false;
    int fails_in = 0;
    int skips_in = 0;
    Trigger trigger = Trigger::all_completed;
    bool conditional = false;
};

std::vector<RandomNode> random_nodes(std::uint32_t seed) {
    std::mt19937 random(seed);
    const auto below = [&random](std::uint32_t n) {
        return static_cast<std::uint32_t>(random()) % n;
    };
    std::vector<RandomNode> nodes(2 + below(8));
    const bool troubled = below(2) == 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        RandomNode& node = nodes[i];
        for (std::size_t k = 0; k < i; ++k) {
            if (below(3) == 0) node.parents.push_back(k);
        }
        if (below(2) == 0) {
            node.laps = static_cast<int>(below(4));
            for (std::uint32_t k = 0; k <= below(2); ++k) {
                node.asks.push_back(below(static_cast<std::uint32_t>(nodes.size())));
            }
        }
        node.plain = below(3) == 0;
        node.work = node.plain ? 0ns : nanoseconds(below(5));
        if (troubled && below(5) == 0) node.fails_in = 1 + static_cast<int>(below(3));
        if (troubled && below(5) == 0) node.skips_in = 1 + static_cast<int>(below(3));
        if (troubled && below(4) == 0) {
            node.trigger = below(2) == 0 ? Trigger::any_completed : Trigger::all_settled;
        }
        node.conditional = troubled && below(6) == 0;
    }
    return nodes;
}

// Each node starts only when it may, ends once a start, and goes from its end to pending alone.
class CheckSteps final : public Observer {
public:
    void transition(const Transition& step) override {
        NodeState& last = states_[step.node().id()];
        CHECK(step.from() == last);
        last = step.to();
        if (step.to() == NodeState::pending) {
            // Or it was about to start when an edge was added.
            CHECK((step.from() >= NodeState::completed || step.from() == NodeState::ready));
        }
        if (step.to() == NodeState::running) CHECK(step.from() == NodeState::ready);
        if (step.to() == NodeState::completed) CHECK(step.from() == NodeState::running);
        ++steps;
    }
    std::size_t steps = 0;
    void reset() { states_.clear(); }

private:
    std::map<std::string, NodeState> states_;
};

}  // namespace

TEST_CASE("Random graphs with random loops end, with one end for each node, and leave nothing") {
    std::size_t laps = 0;
    for (std::uint32_t seed = 0; seed < 1500; ++seed) {
        CAPTURE(seed);
        const std::vector<RandomNode> specs = random_nodes(seed);
        const ErrorPolicy policy = seed % 3 == 0 ? ErrorPolicy::fail_fast : ErrorPolicy::keep_going;
        Counted::reset();
        {
            std::vector<Node<Counted>> nodes;
            std::vector<int> runs(specs.size());
            std::vector<int> active(specs.size());
            const auto ask = [&](std::size_t i, NodeContext& context) {
                const RandomNode& spec = specs[i];
                const int run = ++runs[i];
                CHECK(active[i]++ == 0);
                if (run <= spec.laps) {
                    for (const std::size_t to : spec.asks) {
                        const Node<Counted> self(context.node());
                        try {
                            if (run % 2 == 0) {
                                self.connect(nodes[to]);
                            } else {
                                self.connect(nodes[to], "xs"_a);
                            }
                        } catch (const SafeExecutionError&) {  // it is running
                        }
                    }
                }
                return run;
            };
            const auto end = [&](std::size_t i, int run) {
                --active[i];
                if (run == specs[i].fails_in) throw std::runtime_error("broken");
                if (run == specs[i].skips_in) throw Skip("random");
                return Counted(run);
            };
            for (std::size_t i = 0; i < specs.size(); ++i) {
                const std::string id = std::to_string(i);
                if (specs[i].plain) {
                    nodes.push_back(
                        Node{id,
                             [&, i](NodeContext& context, const std::vector<const Counted*>& xs) {
                                 for (const Counted* x : xs) CHECK(x->value > 0);
                                 return end(i, ask(i, context));
                             },
                             "xs"_args = std::vector<AnyNode>()});
                } else {
                    nodes.push_back(Node{id,
                                         [&, i](NodeContext& context,
                                                std::vector<const Counted*> xs) -> Task<Counted> {
                                             std::vector<int> values;
                                             for (const Counted* x : xs) values.push_back(x->value);
                                             const int run = ask(i, context);
                                             co_await sleep_for(specs[i].work);
                                             // They are there, and as they were, until the node has
                                             // settled.
                                             for (std::size_t k = 0; k < xs.size(); ++k) {
                                                 CHECK(xs[k]->value == values[k]);
                                             }
                                             co_return end(i, run);
                                         },
                                         "xs"_args = std::vector<AnyNode>()});
                }
                nodes.back().max_runs(20).trigger(specs[i].trigger);
                for (const std::size_t from : specs[i].parents) {
                    if (specs[i].conditional) {
                        nodes[from].connect(nodes[i], forward_as("xs"),
                                            when([&, i] { return runs[i] % 2 == 0; }));
                    } else if (seed % 2 == 0) {
                        nodes[from].connect(nodes[i], forward_as("xs"));
                    } else {
                        nodes[from].connect(nodes[i]);
                    }
                }
            }
            TreeExecutor executor{Nodes(nodes.begin(), nodes.end())};
            CheckSteps steps;
            executor.on_error(policy).observe(steps);
            if (seed % 5 == 0) executor.max_concurrency(1);
            if (seed % 7 == 0) executor.shuffle(seed);
            for (int i = 0; i < 2; ++i) {
                std::fill(runs.begin(), runs.end(), 0);
                std::fill(active.begin(), active.end(), 0);
                steps.reset();
                EventLoop loop{virtual_time};
                const RunReport report = loop.run(executor.try_run());
                CHECK(ended(report) == specs.size());
                CHECK(report.errors().size() == report.failed().size());
                for (std::size_t k = 0; k < nodes.size(); ++k) {
                    CHECK(nodes[k].state() >= NodeState::completed);
                    CHECK(nodes[k].parents().size() == specs[k].parents.size());
                    laps += static_cast<std::size_t>(runs[k]);
                }
            }
        }
        CHECK(Counted::live() == 0);
    }
    CHECK(laps > 10'000);
}

TEST_CASE("A node that fails in a circle before its next lap keeps what its readers still read") {
    const Node work{"work", [] { return std::string(60, 'a'); }};
    const Node reader{"reader", [](const std::string&) {}, "x"_a = work};
    std::string read;
    const Node later{"later", [&](const std::string& x) { read = x; }, "x"_a = work};
    const Node late{"late", [] {}};
    const Node gate{"gate", []() -> Task<> { co_await sleep_for(2s); }};
    gate.connect(late).connect(reader);
    const Node tidy{"tidy", [] {}};
    tidy.trigger(Trigger::all_settled);
    reader.connect(tidy);
    tidy.connect(later);
    const Node check{"check", [&](NodeContext& context) -> Task<> {
                         co_await sleep_for(1s);
                         context.node().connect(work);
                         work.connect(late);
                     }};
    EventLoop loop{virtual_time};
    TreeExecutor executor{work, gate, check};
    executor.on_error(ErrorPolicy::keep_going);
    const RunReport report = loop.run(executor.try_run());
    CHECK(report.failed().size() == 3);
    CHECK(read == std::string(60, 'a'));
}

TEST_CASE("A reader that drops the run goes on reading a node that was to run again after it") {
    std::optional<AsyncGenerator<Event>> events;
    const Node work{"work", [] { return std::string(60, 'a'); }};
    std::string read;
    const Node slow{"slow",
                    [&](const std::string& x) -> Task<> {
                        co_await sleep_for(1s);
                        events.reset();
                        read = x;
                        co_await sleep_for(5s);
                    },
                    "x"_a = work};
    const Node check{"check", [&, n = 0](NodeContext& context) mutable {
                         if (++n < 2) context.node().connect(work);
                     }};
    work.connect(check);
    const TreeExecutor executor{work};
    const auto consume = [&]() -> Task<> {
        events.emplace(executor.yielding());
        for (int i = 0; i < 4; ++i) static_cast<void>(co_await events->next());
        co_await sleep_for(20s);
        CHECK_FALSE(events.has_value());
    };
    EventLoop loop{virtual_time};
    loop.run(consume());
    CHECK(read == std::string(60, 'a'));
}

TEST_CASE("The error of a lap before, in a run that was dropped, is gone by the next run") {
    std::function<void()> on_gone;
    std::weak_ptr<int> error;
    std::optional<AsyncGenerator<Event>> events;
    bool first_lap = true;
    Node first{"first", [] {}};
    const Node failing{"failing", [&] {
                           if (!std::exchange(first_lap, false)) return;
                           auto held = grafo_test::make_farewell(on_gone);
                           error = held;
                           throw grafo_test::FarewellError(std::move(held));
                       }};
    Node asking{"asking", [&](NodeContext& context) -> Task<> {
                    co_await sleep_for(1ms);
                    if (!events.has_value()) co_return;
                    Node<void>(context.node()).connect(failing);
                    events.reset();
                    co_await sleep_for(1ms);
                }};
    first.connect(failing);
    first.connect(asking);
    TreeExecutor executor{first};
    executor.on_error(ErrorPolicy::keep_going);
    const auto read = [&]() -> Task<> {
        while (co_await events->next() != nullptr) {
        }
    };
    const auto drop = [&]() -> Task<> {
        events.emplace(executor.yielding());
        EventLoop::current().spawn(read());
        co_await sleep_for(1s);
        CHECK(failing.state() == NodeState::cancelled);
        CHECK(error.expired());
        CHECK((co_await executor.try_run()).ok());
    };
    EventLoop loop{virtual_time};
    loop.run(drop());
}

TEST_CASE("In a later lap a transform may cut an edge of its child that has not been asked yet") {
    Node first{"first", [] { return 1; }};
    Node second{"second", [] { return 2; }};
    const Node third{"third", [] { return 3; }};
    Node child{"child", [](const std::vector<int>& x) { return x.size(); }, "x"_args};
    int asked = 0;
    first.connect(
        child, "x"_a = [&](int x) {
            if (++asked == 2) second.disconnect(child);
            return x;
        });
    second.connect(child, "x"_a);
    third.connect(child, "x"_a);
    bool once = true;
    Node asking{"asking", [&](NodeContext& context) {
                    if (std::exchange(once, false)) Node<void>(context.node()).connect(child);
                }};
    child.connect(asking);
    TreeExecutor executor{first, second, third};
    executor.on_error(ErrorPolicy::keep_going);
    EventLoop loop{virtual_time};
    const RunReport report = loop.run(executor.try_run());
    CHECK(asked == 2);
    CHECK(report.failed().empty());
    CHECK(child.state() == NodeState::completed);
    CHECK(child.output() == 2);
    CHECK(loop.run(executor.try_run()).ok());
    CHECK(child.output() == 3);
}
