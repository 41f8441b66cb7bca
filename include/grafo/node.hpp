#pragma once
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/arguments.hpp>
#include <grafo/detail/construct.hpp>
#include <grafo/detail/driver.hpp>
#include <grafo/detail/inspect.hpp>
#include <grafo/detail/limits.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/shared.hpp>
#include <grafo/detail/typed_wiring.hpp>
#include <grafo/errors.hpp>
#include <grafo/node_context.hpp>
#include <grafo/sleep.hpp>

namespace grafo {

template <class T, class Sig = detail::Erased>
class Node;
template <class T>
class NodeRef;

namespace detail {

template <class A>
inline constexpr bool is_node_ref = requires { typename std::remove_cvref_t<A>::grafo_node_ref; };

template <class A>
inline constexpr bool is_when = false;
template <class P>
inline constexpr bool is_when<When<P>> = true;

// connect(child[, how][, when(predicate)])
template <class... How>
struct ConnectForm {
    static constexpr bool accepted = sizeof...(How) <= 1;
};
template <class How, class P>
struct ConnectForm<How, When<P>> {
    static constexpr bool accepted = !is_when<How>;
};

// The members that all handles have. A handle is a cheap value; copies mean the same node; all
// members are const, because they change the node and not the handle.
template <class Derived, class T, class Sig>
class NodeMembers : public Handle {
public:
    /// The label given at construction, or a readable unique one. Lives as long as the node.
    [[nodiscard]] const std::string& id() const { return need().id; }
    /// Where the node is in the last run, or in the one that is on.
    [[nodiscard]] NodeState state() const { return detail::state_of(need()); }
    /// How long the last run of the node took, callbacks included; zero if times are not taken.
    [[nodiscard]] std::chrono::nanoseconds runtime() const {
        const NodeCore& core = need();
        const bool taken = core.timed && core.phase == Phase::idle;
        return taken ? core.runtime : std::chrono::nanoseconds::zero();
    }
    /// 0 without parents, else one more than the highest of its parents. Computed on each call from
    /// all that the node needs; edges made during a run do not count. Throws `CycleError`.
    [[nodiscard]] std::size_t level() const { return detail::level_of(need()); }
    /// The nodes it leads to, in the order they were connected, each once.
    [[nodiscard]] std::vector<AnyNode> children() const;
    /// The nodes that lead to it, in the order they were connected, each once.
    [[nodiscard]] std::vector<AnyNode> parents() const;

    /// Makes an edge to `child` and gives it back: a reference to an lvalue, else a value.
    /// `how` is nothing (order only), `"x"_a` (the output is forwarded; into an `AsyncGenerator`
    /// parameter, the chunks as they come), `"x"_a = f` (what the plain function or coroutine `f`
    /// makes of it), `forward_as(text)` or `forward_auto`; after it a `when(predicate)` may stand.
    /// From a running node to one of its run that has settled: the child runs again. Happens whole
    /// or not at all. Throws a `Forwarding…Error`, `AutoForwardError`, or `SafeExecutionError` if
    /// the child is running.
    template <NodeHandle C, class... How>
    std::conditional_t<std::is_lvalue_reference_v<C>, C, std::remove_cvref_t<C>> connect(
        C&& child, How&&... how) const {
        static_assert(ConnectForm<std::remove_cvref_t<How>...>::accepted,
                      "grafo: connect takes a child, one way to forward, and one when(predicate)");
        if constexpr (ConnectForm<std::remove_cvref_t<How>...>::accepted) {
            using Wiring = TypedWiring<T, ChunkOfSig<Sig>, ChildOf<std::remove_cvref_t<C>>>;
            connect_as<Wiring>(need(child), std::forward<How>(how)...);
        }
        return std::forward<C>(child);
    }
    /// Removes all edges to `child`. Throws `SafeExecutionError` if the child is running.
    template <NodeHandle C>
    void disconnect(const C& child) const {
        disconnect_nodes(need(), need(child));
    }
    /// Keeps the edges to the listed children with what they forward, removes all others, and adds
    /// plain edges to those that are new. Throws `SafeExecutionError` if a child that is removed or
    /// added is running; nothing has changed then.
    void redirect(const NodeList& children) const { redirect_node(need(), children); }

    /// Sets or replaces an argument that no edge fills: `bind("x"_a = v)`. Throws
    /// `ForwardingOverrideError` if an edge fills it and `SafeExecutionError` while the node runs;
    /// on a type that does not know its parameters also `ForwardingParameterError`, and
    /// `ForwardingTypeError` unless the types are the same.
    template <FixedString Name, class V>
    Derived bind(BoundArg<Name, V> argument) const {
        bind_argument<Sig>(need(), std::move(argument));
        return self();
    }

    /// Ends an attempt that takes longer, deferred arguments included, callbacks and time parked on
    /// a chunk not: the node is cancelled and fails with `TimeoutError`. `d <= 0` cancels at the
    /// first suspension, `max()` is none.
    template <class Rep, class Period>
    Derived timeout(std::chrono::duration<Rep, Period> d) const {
        return drive([&](Extras& extras) { extras.timeout = to_nanoseconds(d); });
    }
    /// The same for the node as a whole: wall time from its first start.
    template <class Rep, class Period>
    Derived total_timeout(std::chrono::duration<Rep, Period> d) const {
        return drive([&](Extras& extras) { extras.total_timeout = to_nanoseconds(d); });
    }
    /// Tries the body again when it fails or runs into its `timeout`: that often in total, without
    /// a pause (the loop turns in between). Not once it was stopped or out of `total_timeout`, nor
    /// after `Skip`, `Cancelled` or what a callback throws. Arguments are kept for the next
    /// attempt, deferred ones evaluated anew. Events are told as `retrying`, and chunks carry the
    /// number of their attempt; those of a failed one do not enter the output. A run refuses,
    /// before anything has started, to retry a node that takes a move-only value, or that reads or
    /// feeds a pipe.
    Derived retry(unsigned attempts) const { return retry(RetryPolicy(attempts)); }
    /// The same, with pauses and a choice of errors.
    Derived retry(RetryPolicy policy) const {
        return drive([&](Extras& extras) {
            extras.retry.reset(new RetryPolicy(std::move(policy)));
            extras.run_attempts = &detail::run_attempts<>;
        });
    }
    /// Each attempt holds `weight` of the semaphore, which other nodes, runs and tasks of the loop
    /// may share: it waits its turn without a place under `max_concurrency`. A semaphore given
    /// before counts with its new weight. Throws `Error` for a weight of 0 or above its capacity.
    Derived limit(const Semaphore& semaphore, std::size_t weight = 1) const {
        static_cast<void>(semaphore.acquire(weight));  // checks the weight
        return drive([&](Extras& extras) { NodeLimits<>::of(extras).add(semaphore, weight); });
    }
    /// Each attempt is let through by the limiter, and starts at that moment: under
    /// `max_concurrency` only what has a place by then is let through.
    Derived limit(const RateLimiter& rate) const {
        return drive([&](Extras& extras) { NodeLimits<>::of(extras).add(rate); });
    }
    /// Among the nodes that are ready, the higher starts first; equals as they became ready. 0
    /// unless set.
    Derived priority(int value) const {
        return set([&](Extras& extras) { extras.priority = value; });
    }
    /// When it runs, once its edges are settled; see `Trigger`. But for `all_completed`, each
    /// parameter that an edge forwards into must be a `std::optional`, a `const U*` or a list, else
    /// the run throws `ForwardingTypeError` before anything has started.
    Derived trigger(Trigger rule) const {
        return set([&](Extras& extras) { extras.trigger = rule; });
    }
    /// Copies the chunks that this generator yields and lets it run that many ahead of the slowest
    /// of its readers; 0, the default, copies nothing and parks it at each. Throws `Error` if the
    /// node yields no chunks or they cannot be copied. Two allocations a chunk at most.
    Derived buffer(std::size_t chunks) const {
        const NodeCore& core = need();
        if (chunks > 0 && !core.type().copies_chunks) {
            throw Error("node " + in_quotes(core.id) + " cannot buffer chunks: " +
                        (core.type().chunk == type_id<void>() ? "it yields none"
                                                              : "they cannot be copied"));
        }
        return set([&](Extras&) { need().need_stream().buffer = chunks; });
    }
    /// How often the node may run in one run, in a loop; then it fails. 1,000 unless set. Throws
    /// `Error` for 0.
    Derived max_runs(unsigned runs) const {
        if (runs == 0) {
            throw Error("node " + in_quotes(id()) +
                        " cannot run with max_runs(0): it could never start");
        }
        return set([&](Extras& extras) { extras.max_runs = runs; });
    }
    /// `collect(false)`: a generator's chunks are not copied into its output; `output()` then
    /// throws.
    Derived collect(bool on) const {
        return set([&](Extras& extras) { extras.collect = on; });
    }

    /// Called, after those set before, when `connect` was called on this node. Plain; may take the
    /// node. If it throws, there is no edge.
    template <class F>
    Derived on_connect(F&& callback) const {
        return set([&](Extras& extras) { add(extras.on_connect, std::forward<F>(callback)); });
    }
    /// Called when an edge of this node to a child was removed. Plain; may take the node.
    template <class F>
    Derived on_disconnect(F&& callback) const {
        return set([&](Extras& extras) { add(extras.on_disconnect, std::forward<F>(callback)); });
    }
    /// Called before the body, once a run of the node. Plain or a coroutine; may take the node.
    /// What it throws fails the node.
    template <class F>
    Derived on_before_run(F&& callback) const {
        return drive([&](Extras& extras) { add(extras.on_before_run, std::forward<F>(callback)); });
    }
    /// Called when the output is there, before it is forwarded. Plain or a coroutine; may take the
    /// node, read `output()`, and `redirect`. What it throws fails the node.
    template <class F>
    Derived on_after_run(F&& callback) const {
        return drive([&](Extras& extras) { add(extras.on_after_run, std::forward<F>(callback)); });
    }

protected:
    using Handle::Handle;
    explicit NodeMembers(const Handle& other) noexcept : Handle(other) {}

    [[nodiscard]] NodeCore& need() const { return need(*this); }
    [[nodiscard]] static NodeCore& need(const Handle& handle) { return need_node(handle); }
    [[nodiscard]] Derived self() const { return static_cast<const Derived&>(*this); }

private:
    template <class Wiring>
    void connect_as(NodeCore& child) const {
        Wiring::connect(need(), child, nullptr);
    }
    template <class Wiring, class How>
    void connect_as(NodeCore& child, How&& how) const {
        Wiring::connect(need(), child, nullptr, std::forward<How>(how));
    }
    template <class Wiring, class P>
    void connect_as(NodeCore& child, When<P> when) const {
        Wiring::connect(need(), child, make_guard<T>(std::move(when)));
    }
    template <class Wiring, class How, class P>
    void connect_as(NodeCore& child, How&& how, When<P> when) const {
        Wiring::connect(need(), child, make_guard<T>(std::move(when)), std::forward<How>(how));
    }
    template <class F>
    Derived set(F&& change) const {
        NodeCore& core = need();
        require_idle(core, "to change");
        change(core.need_extras());
        if (core.graph != nullptr) core.graph->planned_by = 0;  // a run checks what fits together
        return self();
    }
    // The same for what only a driver does.
    template <class F>
    Derived drive(F&& change) const {
        set(std::forward<F>(change));
        use_driver(need());
        return self();
    }
    template <class F>
    static void add(Callbacks& list, F&& callback) {
        using Call = NodeCallback<std::decay_t<F>, Derived>;
        static_assert(Call::accepted,
                      "grafo: a callback takes nothing or the node, and gives nothing, a Task<> or "
                      "another awaitable");
        list.push_back(Owned<Callback>(new Call(std::forward<F>(callback))));
    }
};

}  // namespace detail

/// A handle of a node of any type: checks at run time what `Node` checks at compile time.
/// `AnyNode{}` is empty; its members then throw `Error`.
class AnyNode : public detail::NodeMembers<AnyNode, detail::Unknown, detail::Erased> {
public:
    AnyNode() noexcept = default;
    /// From any handle.
    template <detail::NodeHandle N>
    // NOLINTNEXTLINE(google-explicit-constructor): a node is a node
    AnyNode(const N& node) noexcept : NodeMembers(static_cast<const detail::Handle&>(node)) {}

    /// True unless empty.
    [[nodiscard]] explicit operator bool() const noexcept { return core() != nullptr; }
    /// The output, if it is a `T`; throws `OutputUnavailableError` if it is of another type, and as
    /// `Node<T>::output` does.
    template <class T>
    [[nodiscard]] const T& output() const {
        return detail::typed_output<T>(need());
    }

    // For the library: a handle of a node.
    explicit AnyNode(detail::NodeCore& core) noexcept : NodeMembers(&core) {}
};

namespace detail {

// What all nodes with an output of type T have.
template <class T, class Sig>
class TypedMembers : public NodeMembers<Node<T, Sig>, T, Sig> {
public:
    /// What the callable gave in the last run; owned by the node, until its next run. Throws
    /// `OutputUnavailableError` unless the node is `completed` and has kept its output; of a failed
    /// node its `NodeError`, the cause nested.
    std::add_lvalue_reference_t<const T> output() const { return typed_output<T>(this->need()); }

    /// `"x"_a = node.map(f)` and `gather(node.map(f))` forward `f(output)`.
    template <class F>
    [[nodiscard]] Mapped<Node<T, Sig>, std::decay_t<F>> map(F&& f) const {
        return Mapped<Node<T, Sig>, std::decay_t<F>>(this->self(), std::forward<F>(f));
    }
    /// A reference that does not keep the node alive, for callables stored in its own graph.
    [[nodiscard]] NodeRef<T> ref() const;

protected:
    using NodeMembers<Node<T, Sig>, T, Sig>::NodeMembers;
};

}  // namespace detail

/// A handle of a node whose output is a `T`. `Node{id, callable, arguments…}` deduces a type that
/// knows the parameters as well, so that `connect` checks their names and types at compile time; it
/// converts to `Node<T>`, which checks them at run time.
/// The id is anything that converts to a string, and may be left out. One argument for each
/// parameter, in order: `"x"_a` (open), `"x"_a = value`, `"x"_a = callable` (evaluated when the
/// node starts), `"x"_a = node`, `"xs"_args` (a list). Throws what `connect` throws; one
/// allocation.
template <class T, class Sig>
class Node : public detail::TypedMembers<T, Sig> {
public:
    template <class A, class... Rest>
        requires(!(sizeof...(Rest) == 0 && (detail::NodeHandle<A> || detail::is_node_ref<A>)))
    // NOLINTNEXTLINE(google-explicit-constructor): Node n = {…} is fine
    Node(A&& first, Rest&&... rest)
        : detail::TypedMembers<T, Sig>(
              detail::construct<T>(std::forward<A>(first), std::forward<Rest>(rest)...)) {}

    /// From a node that knows more of its type.
    template <class Other>
        requires(std::is_same_v<Sig, detail::Erased> && !std::is_same_v<Other, detail::Erased>)
    // NOLINTNEXTLINE(google-explicit-constructor): it is the same node
    Node(const Node<T, Other>& other) noexcept
        : detail::TypedMembers<T, Sig>(static_cast<const detail::Handle&>(other)) {}

    // For the library: a handle of a node.
    explicit Node(detail::NodeCore& core) noexcept : detail::TypedMembers<T, Sig>(&core) {}

    /// From a handle of any type. Throws `ForwardingTypeError` unless the output is a `T`.
    explicit Node(const AnyNode& node)
        requires(std::is_same_v<Sig, detail::Erased>)
        : detail::TypedMembers<T, Sig>(detail::checked_handle<T>(node)) {}
};

template <class A, class... Rest>
Node(A&&, Rest&&...) -> Node<typename detail::Build<A, Rest...>::Call::Output,
                             typename detail::Build<A, Rest...>::Call::Type>;
template <class T, class Sig>
Node(const Node<T, Sig>&) -> Node<T, Sig>;
template <class T, class Sig>
Node(Node<T, Sig>&&) -> Node<T, Sig>;
template <class T, class Sig>
Node(Node<T, Sig>&) -> Node<T, Sig>;

template <class T>
Node(const NodeRef<T>&) -> Node<T>;
template <class T>
Node(NodeRef<T>&&) -> Node<T>;
template <class T>
Node(NodeRef<T>&) -> Node<T>;

/// A reference to a node that does not keep its graph alive: what a callable stored in a node holds
/// of another node of the same graph. Valid while the node is; used after that, it throws `Error`.
template <class T>
class NodeRef {
public:
    /// True once the node is gone.
    [[nodiscard]] bool expired() const noexcept { return node_.get() == nullptr; }
    /// An owning handle. Throws `Error` once the node is gone.
    [[nodiscard]] Node<T> lock() const {
        if (expired()) throw Error("a NodeRef was used after its node was gone");
        return Node<T>(AnyNode(*node_.get()));
    }
    /// The same, where a handle is wanted.
    // NOLINTNEXTLINE(google-explicit-constructor): it names a node
    operator Node<T>() const { return lock(); }
    // NOLINTNEXTLINE(google-explicit-constructor): it names a node
    operator AnyNode() const { return lock(); }
    /// As of the node.
    std::add_lvalue_reference_t<const T> output() const { return lock().output(); }
    /// As of the node.
    [[nodiscard]] const std::string& id() const { return lock().id(); }

    using grafo_node_ref = void;

    // Made by `node.ref()`.
    explicit NodeRef(detail::NodeCore& core) : node_(core) {}

private:
    detail::WeakNode node_;
};

template <class Derived, class T, class Sig>
std::vector<AnyNode> detail::NodeMembers<Derived, T, Sig>::children() const {
    std::vector<AnyNode> nodes;
    for_each_child(need(), [&](NodeCore& core) { nodes.push_back(AnyNode(core)); });
    return nodes;
}

template <class Derived, class T, class Sig>
std::vector<AnyNode> detail::NodeMembers<Derived, T, Sig>::parents() const {
    std::vector<AnyNode> nodes;
    for_each_parent(need(), [&](NodeCore& core) { nodes.push_back(AnyNode(core)); });
    return nodes;
}

template <class T, class Sig>
NodeRef<T> detail::TypedMembers<T, Sig>::ref() const {
    return NodeRef<T>(this->need());
}

inline AnyNode NodeContext::node() const { return AnyNode(core_); }

inline unsigned NodeContext::attempt() const noexcept {
    return core_.extras != nullptr && core_.extras->attempts > 0 ? core_.extras->attempts : 1;
}

namespace detail {
struct NodeFailure final : FailureData {
    NodeFailure(const AnyNode& owned, NodeCore& failed, Shared<NodePath> ids, unsigned count)
        : FailureData(std::move(ids), count), node(owned), weak(failed) {}
    AnyNode node;  // empty where the graph itself keeps the error
    WeakNode weak;
};
}  // namespace detail

inline AnyNode NodeError::node() const {
    detail::NodeCore* node = static_cast<const detail::NodeFailure&>(*failure_).weak.get();
    return node != nullptr ? AnyNode(*node) : AnyNode();
}

}  // namespace grafo

/// Handles as keys: by identity.
template <>
struct std::hash<grafo::AnyNode> {
    std::size_t operator()(const grafo::AnyNode& node) const noexcept {
        return std::hash<const void*>()(node.core());
    }
};

// Defines what tells of a missing output.
#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/detail/node_failure.hpp>
#include <grafo/impl/node.hpp>
#endif
