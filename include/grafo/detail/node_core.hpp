#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include <grafo/conditions.hpp>
#include <grafo/detail/context.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/small_vector.hpp>
#include <grafo/detail/type_id.hpp>
#include <grafo/task.hpp>

namespace grafo {

/// Where a node is in the last run, or in the one that is on.
enum class NodeState : unsigned char {
    pending,    ///< not run, or waiting for its parents
    ready,      ///< its edges are settled; it waits for its turn, a limit or its next attempt
    running,    ///< started and not yet ended
    completed,  ///< ended with its output
    failed,     ///< ended with an error
    skipped,    ///< not run because of its parents or a condition, or ended by `skip`
    cancelled,  ///< stopped before its end, or never started because the run was stopped
};

namespace detail {

class NodeCore;
class Graph;
class ChunkCopy;
class SlotAwaiter;
class PipeEnd;
class EdgePredicate;
struct Extras;
struct Stream;

// How one parent's output becomes an argument, or an element of a list, of the child. Those
// without state are shared constants; the others are owned by their edge.
class Forward {
public:
    constexpr Forward() noexcept = default;
    Forward(const Forward&) = delete;
    Forward& operator=(const Forward&) = delete;
    virtual ~Forward() = default;

    // Called at the parent's end if `evaluated()`: a task to be awaited, or an empty one if all is
    // done; `taken` is the answer. Throws what the user's predicate or transform throws.
    virtual Task<> evaluate(NodeCore& /*parent*/) { return {}; }
    // Forgets what was evaluated; the child has settled.
    virtual void reset() noexcept {}
    // Where the edge carries chunks, and no output.
    [[nodiscard]] virtual PipeEnd* pipe() noexcept { return nullptr; }

    [[nodiscard]] bool owned() const noexcept { return owned_; }
    [[nodiscard]] bool evaluated() const noexcept { return evaluated_; }
    [[nodiscard]] bool takes() const noexcept { return takes_; }

    bool taken = false;   // the last evaluation came to its end, and has let the edge be taken
    bool asking = false;  // it is at the predicate
    bool in_use = false;  // by a task that evaluates it

protected:
    bool owned_ = false;      // deleted with its edge
    bool evaluated_ = false;  // has a predicate or a transform to run at the parent's end
    bool takes_ = false;      // moves the parent's output out

public:
    bool saved = false;            // belongs to wiring that is restored after the run
    NodeCore* child = nullptr;     // of its edge, if it is owned
    Forward* next_gone = nullptr;  // in the list of those whose edge was cut during a run
};

struct InEdge {
    NodeCore* parent;
    Forward* forward;  // null: order only
    std::uint32_t param;
    std::uint32_t lap;  // of the child, in a loop, that it was made for; 0: made before

    [[nodiscard, gnu::always_inline]] PipeEnd* pipe() const noexcept {
        return forward != nullptr ? forward->pipe() : nullptr;
    }
};

// Eight bytes, so that a node has room for two: the child, or the forward, which knows the child.
class OutEdge {
public:
    // With a forward only if that is evaluated at this node's end, or a pipe. It belongs to the
    // child then.
    [[gnu::always_inline]] OutEdge(NodeCore& child, Forward* forward) noexcept
        : bits_(forward == nullptr ? reinterpret_cast<std::uintptr_t>(&child)
                                   : reinterpret_cast<std::uintptr_t>(forward) | is_forward) {}

    [[nodiscard, gnu::always_inline]] NodeCore& child() const noexcept {
        // Not a look at forward(): g++ 12 at -O2 then warns of a null one, which there is not.
        if ((bits_ & is_forward) == 0) return *reinterpret_cast<NodeCore*>(bits_);
        return *reinterpret_cast<Forward*>(bits_ - is_forward)->child;
    }
    // The same, of an edge without a forward.
    [[nodiscard, gnu::always_inline]] NodeCore& plain_child() const noexcept {
        return *reinterpret_cast<NodeCore*>(bits_);
    }
    // Null for an edge that only orders, or whose forward nothing asks before the child runs.
    [[nodiscard, gnu::always_inline]] Forward* forward() const noexcept {
        if ((bits_ & is_forward) == 0) return nullptr;
        return reinterpret_cast<Forward*>(bits_ - is_forward);
    }
    [[nodiscard, gnu::always_inline]] PipeEnd* pipe() const noexcept {
        Forward* const found = forward();
        return found != nullptr ? found->pipe() : nullptr;
    }
    [[nodiscard]] bool operator==(const OutEdge&) const noexcept = default;

private:
    static constexpr std::uintptr_t is_forward = 1;
    std::uintptr_t bits_;
};

// What the slot of a parameter can do, for those who do not know its type; see slot.hpp. Without
// state.
class SlotActions {
public:
    // Is it bound to a value or deferred?
    [[nodiscard]] virtual bool bound(const void* slot) const noexcept = 0;
    [[nodiscard]] virtual bool deferred(const void* slot) const noexcept = 0;
    // Evaluates the deferred argument.
    virtual Task<> evaluate(void* slot) const = 0;
    // After the node has settled: lets go of what was assembled for the attempt.
    virtual void release(void* slot) const noexcept = 0;
    // A forward of a whole output (into a pipe: of the chunks) of `type`; null if the type does not
    // fit.
    [[nodiscard]] virtual Forward* erased_forward(TypeId type) const = 0;
    // The same forward behind a predicate; takes both over.
    [[nodiscard]] virtual Forward* guarded_forward(Forward* forward,
                                                   Owned<EdgePredicate> predicate) const = 0;
    // Binds a value of `type`, moved from; false if the type is not the parameter's.
    virtual bool bind(void* slot, TypeId type, void* value) const = 0;

protected:
    ~SlotActions() = default;
};

// A slot, and what it can do.
struct AnySlot {
    void* slot;
    const SlotActions* actions;
};

// A parameter of a callable, for errors and for wiring that the compiler did not see.
struct ParamInfo {
    std::string_view name;
    TypeId type;  // of what one edge must give; of a pipe, of one chunk
    bool list;
    bool pipe;          // reads the parent's chunks as they come
    bool may_be_empty;  // an edge may give nothing: optional, pointer
    bool single_use;    // by value and move-only: an attempt spends it
};

// What is the same for all nodes made of one callable type.
struct NodeType {
    TypeId output;  // type_id<void>() where there is none
    TypeId chunk;   // type_id<void>() where there is none
    const ParamInfo* params;
    std::uint32_t param_count;
    bool output_is_chunks;  // collected from a generator without a result
    bool copies_chunks;     // they can be copied
    bool const_chunks;      // it yields them as const
};

// A named point at which nodes hold each other together; see graph.hpp.
struct WeakCell {
    std::uint32_t references;
    NodeCore* node;
};

// What a run is to wiring, and to what drives a node.
class RunHooks {
public:
    RunHooks() = default;
    RunHooks(const RunHooks&) = delete;
    RunHooks& operator=(const RunHooks&) = delete;

    [[nodiscard]] virtual bool has(const NodeCore& node) const noexcept = 0;
    // Debug builds end the program here if another thread runs it.
    virtual void expect_own_thread() const noexcept = 0;
    [[nodiscard]] virtual NodeState state_of(const NodeCore& node) const noexcept = 0;
    // The child has settled, or will run once more: what the running parent forwards replaces an
    // argument of the lap before, that of `edge` (null: a bound one).
    [[nodiscard]] virtual bool replaces(const NodeCore& parent, const NodeCore& child,
                                        const InEdge* edge) const noexcept = 0;
    // About to change the edges of a node: keep those it has for the end of the run.
    virtual void before_change(NodeCore& node) = 0;
    // The parent has a new out-edge.
    virtual void edge_added(NodeCore& parent, const OutEdge& edge) = 0;
    // An edge is about to go; `position` among the parent's out-edges.
    virtual void edge_removed(NodeCore& parent, NodeCore& child, std::uint32_t position) = 0;
    // The edge of a forward is gone; its transform may be at work still: deletes it after the run.
    virtual void keep_gone(Forward& forward) noexcept = 0;
    // The run outlives what lies between the two, whatever the user's code does.
    virtual void hold() noexcept = 0;
    virtual void unhold() noexcept = 0;
    // The in-edges that the node had before this run changed them; null if it did not.
    [[nodiscard]] virtual const SmallVector<InEdge>* original_edges(
        const NodeCore& node) const noexcept = 0;

    // The body, or what drives it, has ended; the frame must not be destroyed yet.
    virtual void body_ended(NodeCore& node) noexcept = 0;
    // A generator node reached a co_yield. True: it stays suspended there.
    virtual bool yielded(NodeCore& node, void* item) = 0;
    // What stop() of its executor asks for.
    virtual void stop() = 0;
    // Any thread: stop() will be called by the loop's mail, before another node starts.
    virtual void interrupt() noexcept = 0;

    // A dropped node may not be busy any more.
    virtual void reap(NodeCore& node) noexcept = 0;
    // The node begins, after a wait for a limit.
    virtual void started_late(NodeCore& node) = 0;
    // An attempt failed and another will follow.
    virtual void retrying(NodeCore& node, const std::exception_ptr& error,
                          std::chrono::nanoseconds delay) = 0;
    // The next attempt begins.
    virtual void trying_again(NodeCore& node) = 0;

    // Places under max_concurrency, see slots.hpp. False where nothing is limited: there is nothing
    // to take back then.
    virtual bool leave_slot(NodeCore& node) = 0;
    // True if the node need not stand in line.
    [[nodiscard]] virtual bool could_take_slot(const NodeCore& node) const noexcept = 0;
    virtual void stand_in_line(SlotAwaiter& waiter) noexcept = 0;
    // Without standing in line.
    virtual void take_slot_anyway(NodeCore& node) noexcept = 0;

    std::uint64_t retriers = 0;  // how many nodes with retries have begun

protected:
    ~RunHooks() = default;
};

// Where a node is between its start and its end.
enum class Phase : unsigned char {
    idle,      // not started
    body,      // suspended in, or executing, its body or callbacks
    parked,    // holds a chunk until its readers moved on
    finished,  // its body has ended and the run has not seen it yet
};

enum class TimedOut : unsigned char { no, attempt, total };

// The bytes of a small struct of flags as one number, zero if none is set.
template <class Bits, class Flags>
[[nodiscard, gnu::always_inline]] inline Bits bits_of(const Flags& flags) noexcept {
    static_assert(sizeof(Flags) == sizeof(Bits));
    Bits bits = 0;
    std::memcpy(&bits, &flags, sizeof bits);
    return bits;
}

// What each run of a node begins with, together so that one store resets it.
struct NodeLap {
    NodeState state = NodeState::pending;
    NodeState ended = NodeState::pending;  // as what, at its last end in this run
    Phase phase = Phase::idle;
    TimedOut timed_out : 2 = TimedOut::no;
    bool queued : 1 = false;        // in the run's list of ready nodes
    bool called : 1 = false;        // the body was called
    bool output_moved : 1 = false;  // taken by a child
    bool stop_asked : 1 = false;    // cancelled by the run, and not by a timeout of its own
    bool timed : 1 = false;         // its runtime was taken
    bool unused_lap_bit : 1 = false;
};

// What only few nodes have, and what they hold, in one byte so that one look tells that a node has
// none of it.
struct NodeSpecials {
    bool blocked : 1 = false;       // some edge was not taken: its trigger decides
    bool held_back : 1 = false;     // it will run again, once its former output has no readers
    bool runs_again : 1 = false;    // it has been through more than one lap of a loop in this run
    bool needs_driver : 1 = false;  // has callbacks, a timeout, limits, retries, deferred arguments
    bool owns_forwards : 1 = false;  // some in-edge has a forward with state
    bool feeds_pipes : 1 = false;    // some out-edge carries its chunks
    bool has_extras : 1 = false;     // see Extras
    bool owns_output : 1 = false;    // the output, of this run or the one before, is destroyed

    // But for the output.
    [[nodiscard]] bool any() const noexcept {
        NodeSpecials rest = *this;
        rest.owns_output = false;
        return rest.any_or_output();
    }
    [[nodiscard]] bool any_or_output() const noexcept { return bits_of<unsigned char>(*this) != 0; }
};

// The members that each run touches fill the first two cache lines, in the order of use.
class NodeCore : public Context, public NodeLap, public NodeSpecials {
public:
    using Clock = std::chrono::steady_clock;

    NodeCore() noexcept = default;

    // Assembles the arguments and calls the callable. Gives the coroutine to resume, whose end
    // calls done(target), or null if the output is already there. Throws what they throw.
    virtual std::coroutine_handle<> call(PromiseBase::Done done, void* target) = 0;
    // After the coroutine's end: keeps its result as the output, or gives what it threw; its frame
    // is gone then. Throws what moving the result throws.
    [[nodiscard]] virtual std::exception_ptr take_result() = 0;
    // call(), the coroutine's first stretch, and, where that was all and has not thrown,
    // take_result() and release_arguments().
    enum class Stretch : unsigned char { ended, threw, waits };
    [[nodiscard]] virtual Stretch run_plainly(LoopCore& core) = 0;
    // The coroutine that call() gave, to resume a generator that holds a chunk.
    [[nodiscard]] virtual std::coroutine_handle<> coroutine() const noexcept = 0;
    // Destroys the coroutine, started or not.
    virtual void destroy_body() noexcept = 0;
    virtual void clear_output() noexcept = 0;
    [[nodiscard]] virtual const NodeType& type() const noexcept = 0;
    [[nodiscard]] virtual AnySlot any_slot(std::uint32_t param) noexcept = 0;
    // Puts a copy of the chunk into the output.
    virtual void collect_chunk(void* item) = 0;
    // A copy of the chunk; null where it cannot be copied.
    [[nodiscard]] virtual ChunkCopy* copy_chunk(void* item) const = 0;
    virtual void dispose() noexcept = 0;

    void reap() noexcept override { run->reap(*this); }
    [[nodiscard]] std::string_view label() const noexcept override { return id; }

    [[nodiscard]] bool is_bound(std::uint32_t param) const noexcept {
        const AnySlot at = const_cast<NodeCore*>(this)->any_slot(param);
        return at.actions->bound(at.slot);
    }
    [[nodiscard]] bool is_deferred(std::uint32_t param) const noexcept {
        const AnySlot at = const_cast<NodeCore*>(this)->any_slot(param);
        return at.actions->deferred(at.slot);
    }
    [[nodiscard]] bool has_deferred() const noexcept {
        const std::uint32_t count = type().param_count;
        for (std::uint32_t i = 0; i < count; ++i) {
            if (is_deferred(i)) return true;
        }
        return false;
    }
    // After the node has settled: what was assembled for the attempt.
    void release_arguments() noexcept {
        const std::uint32_t count = type().param_count;
        for (std::uint32_t i = 0; i < count; ++i) {
            const AnySlot at = any_slot(i);
            at.actions->release(at.slot);
        }
    }
    [[nodiscard]] Forward* erased_forward(std::uint32_t param, TypeId given) {
        return any_slot(param).actions->erased_forward(given);
    }

    [[nodiscard]] std::uint32_t find_param(std::string_view name) const noexcept {
        const NodeType& t = type();
        for (std::uint32_t i = 0; i < t.param_count; ++i) {
            if (t.params[i].name == name) return i;
        }
        return no_param;
    }
    [[nodiscard]] const InEdge* find_edge(std::uint32_t param) const noexcept {
        const InEdge* found = nullptr;
        for (const InEdge& edge : in) {
            if (edge.forward != nullptr && edge.param == param) found = &edge;
        }
        return found;
    }
    [[nodiscard]] Extras& need_extras();
    // False if its output would be its chunks, and these are not kept.
    [[nodiscard]] bool collects() const noexcept;
    [[nodiscard]] Trigger trigger() const noexcept;
    // What it failed with in the last run; null if it did not.
    [[nodiscard]] std::exception_ptr error() const noexcept;
    // Null for a node whose chunks are neither copied nor read in pipes.
    [[nodiscard]] Stream* stream() const noexcept;
    [[nodiscard]] Stream& need_stream();
    // How often the body was tried in the last run.
    [[nodiscard]] unsigned attempts() const noexcept;

    static constexpr std::uint32_t no_param = 0xffffffff;

    bool has_output : 1 = false;       // of this run, or until it begins of the one before
    bool keeps_arguments : 1 = false;  // keeps for the body what its parameters refer to
    bool rewired : 1 = false;          // its edges of before the run are kept by the run
    bool abandoned : 1 = false;        // its run was dropped, and something uses it still
    bool takes_arguments : 1 = false;  // has parameters
    bool asks_edges : 1 = false;       // some out-edge has, or had, a forward
    // Unsettled in-edges; while it waits, its place in Run::active_; settled, its number in that
    // was.
    std::uint32_t pending = 0;
    std::uint32_t stamp = 0;   // of the run that touched it last
    std::uint32_t plan = 0;    // the plan that counts it as a member
    std::uint32_t mark = 0;    // of the last traversal
    NodeCore* next = nullptr;  // in the run's list of ready or finished nodes
    RunHooks* run = nullptr;   // valid while it runs
    SmallVector<OutEdge, 2> out;
    SmallVector<InEdge> in;
    Owned<Extras> extras;
    std::chrono::nanoseconds runtime{};

    // Touched by wiring and by handles.
    Graph* graph = nullptr;  // null while it has never been connected or run
    std::string id;
    std::uint32_t place = 0;    // in the graph's list
    std::uint32_t scratch = 0;  // of the last traversal
    std::uint32_t handles = 0;  // the last, so that a small output fits behind it

protected:
    inline virtual ~NodeCore();
};

// What the coroutine of a node's body calls at its end and at each co_yield.
inline void on_end(void* node) noexcept {
    auto& core = *static_cast<NodeCore*>(node);
    core.run->body_ended(core);
}
inline bool on_chunk(void* node, void* item) {
    auto& core = *static_cast<NodeCore*>(node);
    return core.run->yielded(core, item);
}

}  // namespace detail

}  // namespace grafo
