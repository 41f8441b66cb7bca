// A byte string as a program over the public API: whatever it does, each step must work or end in
// an error that the documentation names, and nothing may be left in the end.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <grafo/fmt.hpp>
#include <grafo/grafo.hpp>

#include "form.hpp"
#include "fuzz_tape.hpp"
#include "user_objects.hpp"

namespace torture::fuzz {

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

/// What a fuzzed body throws, beside `Skip`, `Cancelled` and torture::Broken.
struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("thrown by a fuzzed body") {}
};

/// The type of the exception that is being handled; empty if no step of a program may end so.
inline std::string_view expected_error() noexcept {
    try {
        throw;
    } catch (const RunError&) {
        return "RunError";
    } catch (const NodeError&) {
        return "NodeError";
    } catch (const ForwardingParameterError&) {
        return "ForwardingParameterError";
    } catch (const ForwardingTypeError&) {
        return "ForwardingTypeError";
    } catch (const ForwardingOverrideError&) {
        return "ForwardingOverrideError";
    } catch (const AutoForwardError&) {
        return "AutoForwardError";
    } catch (const MissingArgumentError&) {
        return "MissingArgumentError";
    } catch (const CycleError&) {
        return "CycleError";
    } catch (const SafeExecutionError&) {
        return "SafeExecutionError";
    } catch (const OutputUnavailableError&) {
        return "OutputUnavailableError";
    } catch (const TimeoutError&) {
        return "TimeoutError";
    } catch (const DeadlockError&) {
        return "DeadlockError";
    } catch (const Error&) {
        return "Error";
    } catch (const Thrown&) {
        return "Thrown";
    } catch (const Broken&) {
        return "Broken";
    } catch (const Skip&) {
        return "Skip";
    } catch (const Cancelled&) {
        return "Cancelled";
    } catch (...) {
        return {};
    }
}
inline std::string text_of_current() noexcept {
    try {
        throw;
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return {};
    }
}

class Program;

/// What a node's callable knows of itself.
struct Body {
    Program* program;
    int number;
    Tape script;
};

enum class Kind : unsigned char {
    source,
    plain,
    task,
    pair,
    list,
    pointers,
    maybe,
    chunks,
    result,
    reader,
    relay,
    whole,
    sole,
    taker,
    nothing,
    mapped,
};
inline constexpr std::string_view kinds[] = {
    "source", "plain",  "task",  "pair",  "list", "pointers", "maybe",   "chunks",
    "result", "reader", "relay", "whole", "sole", "taker",    "nothing", "mapped"};

// The kinds of nodes. Their coroutines are static functions that take their state by value.
Item source(Body body, NodeContext& context);
Item plain(Body body, NodeContext& context, const Item& x);
Task<Item> task(Body body, NodeContext& context, Item x);
Task<Item> pair(Body body, NodeContext& context, const Item& x, Item y);
Task<Item> list(Body body, NodeContext& context, std::vector<Item> xs);
Item pointers(Body body, NodeContext& context, const std::vector<const Item*>& xs);
Task<Item> maybe(Body body, NodeContext& context, std::optional<Item> x, const Item* y);
AsyncGenerator<Item> chunks(Body body, NodeContext& context, std::vector<const Item*> xs);
AsyncGenerator<Item, Item> result(Body body, NodeContext& context, Item x);
Task<Item> reader(Body body, NodeContext& context, AsyncGenerator<Item> in, std::vector<Item> xs);
AsyncGenerator<Item> relay(Body body, NodeContext& context, AsyncGenerator<Item> in);
Item whole(Body body, NodeContext& context, const std::vector<Item>& all);
Task<Sole> sole(Body body, NodeContext& context);
Item taker(Body body, NodeContext& context, Sole x);
Task<> nothing(Body body, NodeContext& context);
Task<Item> each(Body body, Item x);

inline auto make_chunks(const std::string& id, Body body, const NodeList& parents) {
    return Node{id,
                [body](NodeContext& context, std::vector<const Item*> xs) {
                    return chunks(body, context, std::move(xs));
                },
                "xs"_args = parents};
}
inline auto make_result(const std::string& id, Body body) {
    return Node{
        id, [body](NodeContext& context, Item x) { return result(body, context, std::move(x)); },
        "x"_a};
}
inline auto make_reader(const std::string& id, Body body, const NodeList& parents) {
    return Node{id,
                [body](NodeContext& context, AsyncGenerator<Item> in, std::vector<Item> xs) {
                    return reader(body, context, std::move(in), std::move(xs));
                },
                "in"_a, "xs"_args = parents};
}
inline auto make_relay(const std::string& id, Body body) {
    return Node{id,
                [body](NodeContext& context, AsyncGenerator<Item> in) {
                    return relay(body, context, std::move(in));
                },
                "in"_a};
}
using ChunksNode = decltype(make_chunks({}, {}, {}));
using ResultNode = decltype(make_result({}, {}));
using ReaderNode = decltype(make_reader({}, {}, {}));
using RelayNode = decltype(make_relay({}, {}));

/// A place that holds a node, and its deduced type where pipes want that.
struct Slot {
    explicit operator bool() const noexcept { return static_cast<bool>(node); }

    AnyNode node;
    std::variant<std::monostate, ChunksNode, ResultNode, ReaderNode, RelayNode> typed;
};

/// A stream that the main program reads, now and then.
struct Stream {
    explicit operator bool() const noexcept { return open; }

    AsyncGenerator<Event> events;
    bool open = false;
    bool busy = false;  // its `next()` is awaited
};

/// Looks at what it is told.
class Watch : public Observer {
public:
    void transition(const Transition& step) override { last_ = step.node().id(); }

private:
    std::string last_;
};

/// Counts one more as long as it lives.
class Counting {
public:
    explicit Counting(int& count) noexcept : count_(count) { ++count_; }
    Counting(const Counting&) = delete;
    Counting& operator=(const Counting&) = delete;
    ~Counting() { --count_; }

private:
    int& count_;
};

enum class Step : unsigned char { end, chunk };

class Program {
public:
    static constexpr int main_number = -1;
    static constexpr int nobody = -2;  // who makes what is bound

    Program(Bytes bytes, bool telling) : tape_(bytes), telling_(telling) {}
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    ~Program() = default;

    /// Runs the whole tape; gives what was wrong. `digest` gets what every machine must give.
    std::string run(Digest& digest) {
        while (!tape_.empty() && spent_ < fuel) outside();
        finish();
        digest.add(digest_.value());
        return std::move(problems_);
    }

    // ---- for the bodies
    [[nodiscard]] Item issue(int number) {
        issuers_.push_back(number);
        return Item(static_cast<int>(issuers_.size()) - 1);
    }
    [[nodiscard]] Item pass_on(const Item& x) {
        if (!known(x)) wrong("a transform received {}, which nobody sent", x.value);
        return issue(known(x) ? issuers_[static_cast<std::size_t>(x.value)] : nobody);
    }
    /// A value that a body sees was made by a node that led to it, or bound.
    void received(int number, const Item& x) {
        if (!known(x)) return wrong("n{} received {}, which nobody sent", number, x.value);
        const int issuer = issuers_[static_cast<std::size_t>(x.value)];
        if (issuer == nobody || issuer == number || edge(issuer, number).ever) return;
        wrong("n{} received what n{} made, which never led to it", number, issuer);
    }
    void begins(int number, const AnyNode& node) {
        say(number, "begins");
        bool& inside = fact(number).inside;
        if (inside) wrong("n{} begins while it runs", number);
        inside = true;
        ++inside_;
        if (rewired_) return;  // in a loop a parent may run again
        for (const AnyNode& parent : node.parents()) {
            if (is_final(parent.state()) || may_pipe(number_of(parent), number)) continue;
            wrong("n{} begins before its parent {} has ended", number, parent.id());
        }
    }
    void ends(int number) noexcept {
        fact(number).inside = false;
        --inside_;
    }
    /// What a script does at once.
    void play_now(Tape script, int who) {
        while (more(script)) {
            const unsigned op = script.below(ops);
            if (op < waits) {
                act(op, script, who);
            } else if (op >= throws) {
                leave(op, who);
            }
        }
    }
    /// The same, and waits; up to the next chunk.
    static Task<Step> play(Program* self, Tape* script, int who, AsyncGenerator<Item>* in);
    /// To the end.
    static Task<> play_all(Program* self, Tape script, int who, AsyncGenerator<Item>* in);

private:
    static constexpr int fuel = 400;
    static constexpr unsigned waits = 20;   // ops from here on wait
    static constexpr unsigned throws = 30;  // and from here on leave a body
    static constexpr unsigned ops = 34;
    static constexpr std::size_t most_nodes = 32;

    struct Fact {
        Kind kind = Kind::source;
        bool inside = false;  // its body
    };
    struct Edge {
        bool ever = false;  // a value may have gone along it
    };

    enum class Wait : unsigned char {
        yield,
        sleep,
        stream,
        run,
        timed_run,
        any_run,
        semaphore,
        rate,
        chunk,
        pipe,
    };

    [[nodiscard]] Fact& fact(int number) { return facts_[static_cast<std::size_t>(number)]; }
    [[nodiscard]] Edge& edge(int from, int to) {
        return edges_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
    }
    [[nodiscard]] bool may_pipe(int from, int to) {
        const Kind kind = fact(from).kind;
        const Kind reads = fact(to).kind;
        return (kind == Kind::chunks || kind == Kind::result || kind == Kind::relay ||
                kind == Kind::mapped) &&
               (reads == Kind::reader || reads == Kind::relay);
    }
    [[nodiscard]] bool known(const Item& x) const noexcept {
        return x.value >= 0 && static_cast<std::size_t>(x.value) < issuers_.size();
    }
    template <class... V>
    void wrong(fmt::format_string<V...> what, V&&... values) {
        std::string text = fmt::format(what, std::forward<V>(values)...);
        if (telling_) fmt::print(stderr, "WRONG: {}\n", text);
        if (problems_.size() < 1000) problems_ += "  " + text + "\n";
    }
    template <class... V>
    void say(int who, fmt::format_string<V...> what, V&&... values) {
        if (!telling_) return;
        const std::string name = who == main_number ? std::string("main") : fmt::format("n{}", who);
        fmt::print(stderr, "{:>5}: {}\n", name, fmt::format(what, std::forward<V>(values)...));
    }
    [[nodiscard]] bool more(const Tape& tape) noexcept { return !tape.empty() && ++spent_ < fuel; }
    template <class Places>
    [[nodiscard]] static std::size_t index(const Places& places, Tape& tape) noexcept {
        return tape.below(static_cast<unsigned>(std::size(places)));
    }
    /// One of those in which there is something; now and then, and where there is none, any.
    template <class Places>
    [[nodiscard]] static auto& pick(Places& places, Tape& tape) noexcept {
        const auto is_full = [](const auto& place) { return static_cast<bool>(place); };
        const auto full = static_cast<unsigned>(std::count_if(begin(places), end(places), is_full));
        const unsigned byte = tape.next();
        if (full == 0 || byte >= 0xf0) return places[byte % std::size(places)];
        unsigned left = byte % full;
        for (auto& place : places) {
            if (is_full(place) && left-- == 0) return place;
        }
        return places.front();
    }
    [[nodiscard]] Slot& slot(Tape& tape) noexcept { return pick(slots_, tape); }
    [[nodiscard]] AnyNode& node(Tape& tape) noexcept { return slot(tape).node; }
    template <class Places, class Place>
    [[nodiscard]] static auto place_of(const Places& places, const Place& place) noexcept {
        return &place - places.data();
    }
    [[nodiscard]] static std::string name(const AnyNode& node) {
        return node ? node.id() : "AnyNode{}";
    }
    [[nodiscard]] static int number_of(const AnyNode& node) {
        return std::atoi(node.id().c_str() + 1);
    }
    [[nodiscard]] static std::chrono::nanoseconds time(Tape& tape) noexcept {
        return time(tape.next());
    }
    [[nodiscard]] static std::chrono::nanoseconds time(unsigned byte) noexcept {
        constexpr std::chrono::nanoseconds times[] = {
            0ms, 1ms, 2ms, 5ms, 20ms, -1ms, std::chrono::nanoseconds::max(), 3ms};
        return times[byte % 8];
    }
    [[nodiscard]] std::vector<AnyNode> some_nodes(Tape& tape) {
        std::vector<AnyNode> nodes;
        for (unsigned i = tape.below(4); i > 0; --i) nodes.push_back(node(tape));
        return nodes;
    }
    /// They lead to the node that is made next.
    [[nodiscard]] NodeList parents(Tape& tape) {
        const std::vector<AnyNode> nodes = some_nodes(tape);
        for (const AnyNode& one : nodes) {
            if (one) edge(number_of(one), made_ - 1).ever = true;
        }
        return nodes;
    }
    [[nodiscard]] static std::string names(const std::vector<AnyNode>& nodes) {
        std::string text;
        for (const AnyNode& one : nodes) text += (text.empty() ? "" : ", ") + name(one);
        return "{" + text + "}";
    }

    // ---- steps that end at once
    void act(unsigned op, Tape& tape, int who) {
        try {
            perform(op, tape, who);
            digest_.add(1);
        } catch (...) {
            note_error(who);
        }
    }
    std::string_view note_error(int who) {
        const std::string_view error = expected_error();
        say(who, "  threw {} {}", error, text_of_current());
        if (error.empty()) wrong("an exception of another kind: {}", text_of_current());
        digest_.add(error);
        return error;
    }
    void perform(unsigned op, Tape& tape, int who);
    void make(Tape& tape, int who);
    [[nodiscard]] Slot make_kind(Kind kind, const std::string& id, Body body, Tape& tape);
    template <class N>
    Slot with_argument(N made, Tape& tape);
    void connect(Tape& tape, int who);
    template <class... When>
    void connect_how(const Slot& from, const Slot& to, std::size_t how, Tape& tape,
                     const When&... condition);
    void bind(Tape& tape, int who);
    void set(Tape& tape, int who);
    void call_back(Tape& tape, int who);
    void look_at(Tape& tape, int who);
    void make_executor(Tape& tape, int who);
    void set_executor(Tape& tape, int who);
    void look_at_executor(Tape& tape, int who);
    void open_stream(Tape& tape, int who);
    void close_stream(Stream& stream);
    void look_elsewhere(Tape& tape, int who);
    void wires() noexcept { rewired_ = rewired_ || runs_ > 0; }
    [[nodiscard]] static bool is_final(NodeState state) noexcept {
        return state >= NodeState::completed;
    }
    void leave(unsigned op, int who) {
        say(who, "throw kind {}", op - throws);
        switch (op - throws) {
            case 0: throw Thrown();
            case 1: throw Skip("a reason");
            case 2: throw Cancelled();
            default: throw Broken(1);
        }
    }

    // ---- steps that wait
    static Task<> wait(Program* self, Wait what, Tape* script, int who, AsyncGenerator<Item>* in);
    static Task<RunReport> timed(Task<RunReport> run, std::chrono::nanoseconds limit);
    static Task<> await_run(Program* self, Task<RunReport> run, int who);
    static Task<> in_background(Program* self, Task<RunReport> run);
    static Task<> read_on(Program* self, Stream& stream, unsigned events);
    static Task<> read_some(Program* self, AsyncGenerator<Event> stream, unsigned events, int who);
    static Task<> in_loop(Program* self) {
        static_cast<void>(co_await play(self, &self->tape_, main_number, nullptr));
    }
    [[nodiscard]] Task<RunReport> start(Tape& tape, int who);
    void note_run_error(int who);
    void note_event(const Event& event, int who);
    void check_report(const RunReport& report);
    void check_errors(const std::vector<NodeError>& errors);

    // ---- beside the loop
    void outside();
    void iterate_some();
    void finish();

    Tape tape_;
    bool telling_;
    int spent_ = 0;
    int inside_ = 0;  // bodies
    int runs_ = 0;    // that are awaited, or have an open stream
    bool rewired_ = false;
    bool may_block_ = false;
    std::string problems_;
    Digest digest_;
    std::vector<int> issuers_;  // of each value
    int made_ = 0;              // nodes
    std::array<Fact, most_nodes> facts_;
    std::array<std::array<Edge, most_nodes>, most_nodes> edges_;
    Watch watch_;
    EventLoop loop_{virtual_time};
    std::array<Semaphore, 2> semaphores_{Semaphore(1), Semaphore(2)};
    RateLimiter rate_{2, 3ms};
    std::array<Slot, 8> slots_;
    std::array<std::optional<TreeExecutor>, 3> executors_;
    std::array<Stream, 2> streams_;
    std::array<Semaphore::Guard, 2> guards_;
    std::vector<RunReport> reports_;
    std::vector<std::exception_ptr> errors_;
};

}  // namespace torture::fuzz
