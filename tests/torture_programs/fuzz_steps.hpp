// What a fuzzed program does at once: it makes and wires nodes, sets them, and looks at them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "fuzz_program.hpp"

namespace torture::fuzz {

inline void Program::perform(unsigned op, Tape& tape, int who) {
    switch (op) {
        case 0:
        case 1: return make(tape, who);
        case 2:
        case 3:
        case 4: return connect(tape, who);
        case 5: {
            const AnyNode from = node(tape);
            const AnyNode to = node(tape);
            say(who, "{}.disconnect({})", name(from), name(to));
            wires();
            return from.disconnect(to);
        }
        case 6: {
            const AnyNode from = node(tape);
            const std::vector<AnyNode> to = some_nodes(tape);
            say(who, "{}.redirect({})", name(from), names(to));
            wires();
            return from.redirect(to);
        }
        case 7: return bind(tape, who);
        case 8: return set(tape, who);
        case 9: return call_back(tape, who);
        case 10: {
            Slot& dropped = slot(tape);
            say(who, "drop the handle of {}", name(dropped.node));
            dropped = Slot();
            return;
        }
        case 11: return look_at(tape, who);
        case 12: return make_executor(tape, who);
        case 13: return set_executor(tape, who);
        case 14: {
            std::optional<TreeExecutor>& dropped = pick(executors_, tape);
            say(who, "drop e{}", place_of(executors_, dropped));
            return dropped.reset();
        }
        case 15: return look_at_executor(tape, who);
        case 16: return open_stream(tape, who);
        case 17: {
            Stream& dropped = pick(streams_, tape);
            say(who, "drop s{}", place_of(streams_, dropped));
            if (!dropped.busy) close_stream(dropped);
            return;
        }
        case 18: {
            Task<RunReport> run = start(tape, who);
            if (run) loop_.spawn(in_background(this, std::move(run)));
            return;
        }
        default: return look_elsewhere(tape, who);
    }
}

inline void Program::make(Tape& tape, int who) {
    if (made_ >= static_cast<int>(most_nodes)) return;
    Slot& to = slot(tape);
    const auto kind = static_cast<Kind>(index(kinds, tape));
    const unsigned size = tape.below(16);
    const Body body{this, made_, tape.cut(size)};
    const std::string id = fmt::format("n{}", made_);
    say(who, "Node {}{{{}, a script of {}}}", id, kinds[static_cast<std::size_t>(kind)], size);
    facts_[static_cast<std::size_t>(made_++)].kind = kind;
    to = make_kind(kind, id, body, tape);
}

template <class N>
Slot Program::with_argument(N made, Tape& tape) {
    const auto now = [this] { return issue(nobody); };
    const auto later = [this]() -> Task<Item> {
        co_await pause(1);
        co_return issue(nobody);
    };
    switch (tape.below(4)) {
        case 0: break;
        case 1: made.bind("x"_a = issue(nobody)); break;
        case 2: made.bind("x"_a = now); break;
        default: made.bind("x"_a = later);
    }
    return {made, {}};
}

inline Slot Program::make_kind(Kind kind, const std::string& id, Body body, Tape& tape) {
    switch (kind) {
        case Kind::source:
            return {Node{id, [body](NodeContext& context) { return source(body, context); }}, {}};
        case Kind::plain:
            return with_argument(Node{id,
                                      [body](NodeContext& context, const Item& x) {
                                          return plain(body, context, x);
                                      },
                                      "x"_a},
                                 tape);
        case Kind::task:
            return with_argument(Node{id,
                                      [body](NodeContext& context, Item x) {
                                          return task(body, context, std::move(x));
                                      },
                                      "x"_a},
                                 tape);
        case Kind::pair:
            return with_argument(Node{id,
                                      [body](NodeContext& context, const Item& x, Item y) {
                                          return pair(body, context, x, std::move(y));
                                      },
                                      "x"_a, "y"_a = issue(nobody)},
                                 tape);
        case Kind::list:
            return {Node{id,
                         [body](NodeContext& context, std::vector<Item> xs) {
                             return list(body, context, std::move(xs));
                         },
                         "xs"_args},
                    {}};
        case Kind::pointers:
            return {Node{id,
                         [body](NodeContext& context, const std::vector<const Item*>& xs) {
                             return pointers(body, context, xs);
                         },
                         "xs"_args = parents(tape)},
                    {}};
        case Kind::maybe:
            return {Node{id,
                         [body](NodeContext& context, std::optional<Item> x, const Item* y) {
                             return maybe(body, context, std::move(x), y);
                         },
                         "x"_a, "y"_a},
                    {}};
        case Kind::chunks: {
            const ChunksNode made = make_chunks(id, body, parents(tape));
            return {made, made};
        }
        case Kind::result: {
            const ResultNode made = make_result(id, body);
            Slot to = with_argument(made, tape);
            to.typed = made;
            return to;
        }
        case Kind::reader: {
            const ReaderNode made = make_reader(id, body, parents(tape));
            return {made, made};
        }
        case Kind::relay: {
            const RelayNode made = make_relay(id, body);
            return {made, made};
        }
        case Kind::whole:
            return {Node{id,
                         [body](NodeContext& context, const std::vector<Item>& all) {
                             return whole(body, context, all);
                         },
                         "all"_a},
                    {}};
        case Kind::sole:
            return {Node{id, [body](NodeContext& context) { return sole(body, context); }}, {}};
        case Kind::taker:
            return {Node{id,
                         [body](NodeContext& context, Sole x) {
                             return taker(body, context, std::move(x));
                         },
                         "x"_a},
                    {}};
        case Kind::nothing:
            return {Node{id, [body](NodeContext& context) { return nothing(body, context); }}, {}};
        case Kind::mapped: break;
    }
    return {Node{id, map_each([body](Item x) { return each(body, std::move(x)); }, 2), "all"_a},
            {}};
}

// A transform of a value.
class PassOn {
public:
    PassOn(Program& program, bool fails) noexcept : program_(&program), fails_(fails) {}
    Item operator()(const Item& x) const {
        if (fails_) throw Thrown();
        return program_->pass_on(x);
    }

private:
    Program* program_;
    bool fails_;
};
// The same, later; of a chunk too.
class PassOnLater {
public:
    PassOnLater(Program& program, bool fails) noexcept : pass_on_(program, fails) {}
    Task<Item> operator()(const Item& x) const { return run(pass_on_, &x); }

private:
    static Task<Item> run(PassOn pass_on, const Item* x) {
        co_await pause(1);
        co_return pass_on(*x);
    }
    PassOn pass_on_;
};

inline void Program::connect(Tape& tape, int who) {
    constexpr std::string_view forms[] = {"order only",   "forward_as",      "forward_auto",
                                          "\"x\"_a = f",  "\"xs\"_a = task", "\"x\"_a",
                                          "\"in\"_a = f", "\"in\"_a = task"};
    constexpr std::string_view conditions[] = {
        "", "", "", "", "", ", when(a flag)", ", when(true, later)", ", when(it throws)"};
    const Slot from = slot(tape);
    const Slot to = slot(tape);
    const std::size_t condition = index(conditions, tape);
    const std::size_t how = index(forms, tape);
    say(who, "{}.connect({}, {}{})", name(from.node), name(to.node), forms[how],
        conditions[condition]);
    wires();
    if (from && to) {
        edge(number_of(from.node), number_of(to.node)).ever = true;
        if (may_pipe(number_of(from.node), number_of(to.node))) may_block_ = true;
    }
    switch (condition) {
        case 5: {
            const bool taken = tape.flag();
            return connect_how(from, to, how, tape, when([taken] { return taken; }));
        }
        case 6:
            return connect_how(from, to, how, tape, when([]() -> Task<bool> {
                                   co_await pause(1);
                                   co_return true;
                               }));
        case 7: return connect_how(from, to, how, tape, when([]() -> bool { throw Thrown(); }));
        default: return connect_how(from, to, how, tape);
    }
}

template <class... When>
void Program::connect_how(const Slot& from, const Slot& to, std::size_t how, Tape& tape,
                          const When&... condition) {
    constexpr std::string_view parameters[] = {"x", "y", "xs", "in", "all", "nope"};
    const bool fails = tape.below(8) == 7;
    const PassOn now(*this, fails);
    const PassOnLater later(*this, fails);
    switch (how) {
        case 0: from.node.connect(to.node, condition...); break;
        case 1:
            from.node.connect(to.node, forward_as(parameters[index(parameters, tape)]),
                              condition...);
            break;
        case 2: from.node.connect(to.node, forward_auto, condition...); break;
        case 3: Node<Item>(from.node).connect(to.node, "x"_a = now, condition...); break;
        case 4: Node<Item>(from.node).connect(to.node, "xs"_a = later, condition...); break;
        case 5: Node<Item>(from.node).connect(to.node, "x"_a, condition...); break;
        default:
            std::visit(
                [&]<class From, class To>(const From& producer, const To& child) {
                    constexpr bool yields = std::is_same_v<From, ChunksNode> ||
                                            std::is_same_v<From, ResultNode> ||
                                            std::is_same_v<From, RelayNode>;
                    constexpr bool reads =
                        std::is_same_v<To, ReaderNode> || std::is_same_v<To, RelayNode>;
                    if constexpr (!yields || !reads) {
                        from.node.connect(to.node, forward_auto, condition...);
                    } else if (how == 6) {
                        producer.connect(child, "in"_a = now, condition...);
                    } else {
                        producer.connect(child, "in"_a = later, condition...);
                    }
                },
                from.typed, to.typed);
    }
}

inline void Program::bind(Tape& tape, int who) {
    constexpr std::string_view forms[] = {"\"x\"_a = Item", "\"y\"_a = Item", "\"x\"_a = text",
                                          "\"nope\"_a = Item"};
    const AnyNode to = node(tape);
    const std::size_t form = index(forms, tape);
    say(who, "{}.bind({})", name(to), forms[form]);
    switch (form) {
        case 0: to.bind("x"_a = issue(nobody)); break;
        case 1: to.bind("y"_a = issue(nobody)); break;
        case 2: to.bind("x"_a = std::string("of another type")); break;
        default: to.bind("nope"_a = issue(nobody));
    }
}

inline void Program::set(Tape& tape, int who) {
    constexpr std::string_view settings[] = {
        "timeout", "total_timeout", "retry",    "retry and pause", "retry and pause with jitter",
        "limit",   "limit by rate", "priority", "trigger",         "collect",
        "buffer",  "max_runs"};
    const AnyNode to = node(tape);
    const std::size_t what = index(settings, tape);
    const unsigned value = tape.next();
    say(who, "{}.{}({})", name(to), settings[what], value);
    switch (what) {
        case 0: to.timeout(time(value)); break;
        case 1: to.total_timeout(time(value)); break;
        case 2: to.retry(value % 4); break;
        case 3: to.retry(RetryPolicy(1 + value % 3).backoff(time(value), 2.0).cap(4ms)); break;
        case 4:
            to.retry(RetryPolicy(3).backoff(2ms).full_jitter(value).when(
                [](const Thrown&) { return true; }));
            break;
        case 5:
            may_block_ = true;
            to.limit(semaphores_[value % 2], value / 2 % 4);
            break;
        case 6: to.limit(rate_); break;
        case 7: to.priority(static_cast<int>(value % 3) - 1); break;
        case 8: to.trigger(static_cast<Trigger>(value % 3)); break;
        case 9: to.collect(value % 2 == 0); break;
        case 10: to.buffer(value % 4); break;
        default: to.max_runs(value % 4);
    }
}

inline void Program::call_back(Tape& tape, int who) {
    constexpr std::string_view callbacks[] = {"on_connect",    "on_disconnect",
                                              "on_before_run", "on_before_run, a task",
                                              "on_after_run",  "on_after_run, a task"};
    const AnyNode to = node(tape);
    const std::size_t what = index(callbacks, tape);
    const Tape script = tape.cut(tape.below(12));
    say(who, "{}.{}", name(to), callbacks[what]);
    if (!to) return;
    const int number = number_of(to);
    const auto now = [this, number, script] { play_now(script, number); };
    const auto later = [this, number, script] { return play_all(this, script, number, nullptr); };
    switch (what) {
        case 0: to.on_connect(now); break;
        case 1: to.on_disconnect(now); break;
        case 2: to.on_before_run(now); break;
        case 3: to.on_before_run(later); break;
        case 4:
            to.on_after_run([now, this](const AnyNode& node) {
                if (node.state() != NodeState::completed) wrong("{} is not completed", node.id());
                now();
            });
            break;
        default: to.on_after_run(later);
    }
}

inline void Program::look_at(Tape& tape, int who) {
    const AnyNode at = node(tape);
    say(who, "look at {}", name(at));
    digest_.add(static_cast<int>(at.state()));
    digest_.add(at.children().size());
    digest_.add(at.parents().size());
    digest_.add(at.runtime().count());
    for (const AnyNode& child : at.children()) {
        bool back = false;
        for (const AnyNode& parent : child.parents()) back = back || parent == at;
        if (!back) wrong("{} leads to {}, which does not know it", at.id(), child.id());
    }
    digest_.add(at.level());
    digest_.add(at.output<Item>().value);
}

inline void Program::make_executor(Tape& tape, int who) {
    const std::size_t at = index(executors_, tape);
    const std::vector<AnyNode> nodes = some_nodes(tape);
    say(who, "TreeExecutor e{}{{{}}}", at, names(nodes));
    executors_[at].emplace("fuzzed", nodes);
    if (tape.flag()) executors_[at]->on_error(ErrorPolicy::keep_going);
}

inline void Program::set_executor(Tape& tape, int who) {
    constexpr std::string_view settings[] = {
        "on_error(fail_fast)", "max_concurrency", "timing", "observe", "shuffle",
        "description",         "stop()",          "stop()"};
    std::optional<TreeExecutor>& executor = pick(executors_, tape);
    const std::size_t what = index(settings, tape);
    if (!executor) return;
    say(who, "e{}.{}", place_of(executors_, executor), settings[what]);
    switch (what) {
        case 0: executor->on_error(ErrorPolicy::fail_fast); break;
        case 1: executor->max_concurrency(tape.below(3)); break;
        case 2: executor->timing(tape.flag()); break;
        case 3: executor->observe(watch_); break;
        case 4: executor->shuffle(tape.next()); break;
        case 5: executor->description("a text"); break;
        default: executor->stop();
    }
}

inline void Program::look_at_executor(Tape& tape, int who) {
    const std::optional<TreeExecutor>& executor = pick(executors_, tape);
    const bool keeps = tape.flag();
    if (!executor) return;
    say(who, "look at e{}", place_of(executors_, executor));
    digest_.add(executor->roots().size());
    digest_.add(executor->leaves().size());
    digest_.add(std::string_view(fmt::format("{}", *executor)));
    check_errors(executor->errors());
    const RunReport report = executor->report();
    digest_.add(report.completed().size());
    digest_.add(report.ok());
    if (keeps && reports_.size() < 4) reports_.push_back(report);
}

inline void Program::open_stream(Tape& tape, int who) {
    Stream& stream = streams_[index(streams_, tape)];
    const std::optional<TreeExecutor>& executor = pick(executors_, tape);
    if (stream.busy || !executor) return;
    say(who, "s{} = e{}.yielding()", place_of(streams_, stream), place_of(executors_, executor));
    close_stream(stream);
    stream.events = executor->yielding();
    stream.open = true;
    ++runs_;
}

inline void Program::close_stream(Stream& stream) {
    if (!std::exchange(stream.open, false)) return;
    const AsyncGenerator<Event> dropped = std::move(stream.events);
    --runs_;
}

inline void Program::look_elsewhere(Tape& tape, int who) {
    constexpr std::string_view steps[] = {"loop.post",       "try_acquire",
                                          "release a guard", "drop the reports",
                                          "drop the errors", "EventLoop::current().now()"};
    const std::size_t what = index(steps, tape);
    const std::size_t at = index(guards_, tape);
    say(who, "{}", steps[what]);
    switch (what) {
        case 0: {
            const Tape script = tape.cut(tape.below(8));
            return loop_.post([this, script] { play_now(script, main_number); });
        }
        case 1:
            may_block_ = true;
            guards_[at] = semaphores_[at].try_acquire();
            break;
        case 2: guards_[at].release(); break;
        case 3: reports_.clear(); break;
        case 4: errors_.clear(); break;
        default: digest_.add(EventLoop::current().now().time_since_epoch().count());
    }
}

}  // namespace torture::fuzz
