#pragma once
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <grafo/arguments.hpp>
#include <grafo/conditions.hpp>
#include <grafo/detail/build.hpp>
#include <grafo/detail/driver.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/forward.hpp>
#include <grafo/detail/inspect.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/wiring.hpp>

namespace grafo {

template <class T, class Sig>
class Node;

namespace detail {

// The output type, or the chunk type, of a handle that does not know it.
struct Unknown {};

template <class Sig>
using ChunkOfSig =
    std::conditional_t<std::is_same_v<Sig, Erased>, Unknown, typename Sig::ChunkType>;

template <class C>
struct HandleTraits {
    using Output = Unknown;
    using Chunk = Unknown;
    using Sig = Erased;
};
template <class T, class S>
struct HandleTraits<Node<T, S>> {
    using Output = T;
    using Chunk = ChunkOfSig<S>;
    using Sig = S;
};
template <class C>
using ChildOf = typename HandleTraits<C>::Sig;

[[noreturn]] void throw_type_error(const NodeCore& parent, TypeId given, const NodeCore& child,
                                   std::uint32_t param);

[[noreturn]] void throw_erased_pipe(const NodeCore& parent, const NodeCore& child,
                                    std::uint32_t param);

// What an edge carries into the parameter: the parent's output, or its chunks.
[[nodiscard]] inline TypeId given_type(const NodeCore& parent, const NodeCore& child,
                                       std::uint32_t param) noexcept {
    return child.type().params[param].pipe ? parent.type().chunk : parent.type().output;
}

[[nodiscard]] Forward* need_erased_forward(const NodeCore& parent, NodeCore& child,
                                           std::uint32_t param);

// What a transform gives for an output of type T; NotCallable if it does not take that.
struct NotCallable {};
template <class F, class T>
struct TransformCall {
    using type = NotCallable;
};
template <class F, class T>
    requires(std::is_void_v<T> && std::is_invocable_v<F&>)
struct TransformCall<F, T> {
    using type = std::invoke_result_t<F&>;
};
template <class F, class T>
    requires(!std::is_void_v<T> && std::is_invocable_v<F&, const T&>)
struct TransformCall<F, T> {
    using type = std::invoke_result_t<F&, const T&>;
};
template <class F, class T>
using TransformResult = typename TransformCall<F, T>::type;

// How a whole output, or a stream of chunks, goes into a parameter.
enum class WholeFit : unsigned char { fits, at_run_time, nothing, no_chunks, wrong };

template <class T, class C, class SlotType>
constexpr WholeFit whole_fit() {
    using Element = typename SlotType::Element;
    if constexpr (PipeTraits<Element>::is_pipe) {
        if constexpr (std::is_same_v<C, Unknown>) {
            return WholeFit::at_run_time;
        } else if constexpr (std::is_void_v<C>) {
            return WholeFit::no_chunks;
        } else {
            return pipeable<C, typename PipeTraits<Element>::Item> ? WholeFit::fits
                                                                   : WholeFit::no_chunks;
        }
    } else if constexpr (std::is_same_v<T, Unknown>) {
        return WholeFit::at_run_time;
    } else if constexpr (std::is_void_v<T>) {
        return WholeFit::nothing;
    } else {
        return forwardable<T, Element> ? WholeFit::fits : WholeFit::wrong;
    }
}

template <class T, class C, class SlotType>
[[nodiscard]] Forward* make_whole() {
    using Element = typename SlotType::Element;
    if constexpr (PipeTraits<Element>::is_pipe) {
        return new Pipe<C, Element>(NoMap());
    } else {
        return make_forward<T, Element, SlotType::by_reference>();
    }
}

// A transform of the output, or of each chunk; null, and a sentence, where it does not fit.
template <class T, class C, class Element, class F>
[[nodiscard]] Forward* make_mapped(F&& f) {
    constexpr bool pipe = PipeTraits<Element>::is_pipe;
    using From = std::conditional_t<pipe, C, T>;
    constexpr bool known = !std::is_same_v<From, Unknown>;
    static_assert(known,
                  "grafo: a transform needs a parent whose output type is known: convert the "
                  "AnyNode to a Node<T> first (a pipe: keep the type that Node{…} deduced)");
    static_assert(!pipe || !std::is_void_v<From>,
                  "grafo: the parameter reads a stream, but the parent yields no chunks");
    if constexpr (known && !(pipe && std::is_void_v<From>)) {
        using Result = TransformResult<F, From>;
        constexpr bool fits = !std::is_same_v<Result, NotCallable>;
        static_assert(pipe || fits,
                      "grafo: the transform cannot be called with the parent's output");
        static_assert(!pipe || fits,
                      "grafo: the transform cannot be called with what the parent yields");
        if constexpr (fits) {
            using Made = std::remove_cvref_t<awaited_t<Result>>;
            using Wanted = std::conditional_t<pipe, typename PipeTraits<Element>::Item, Element>;
            static_assert(!std::is_void_v<Made>, "grafo: the transform gives nothing to forward");
            constexpr bool converts = std::is_convertible_v<Made, Wanted>;
            static_assert(converts || std::is_void_v<Made>,
                          "grafo: what the transform gives does not convert to the parameter's "
                          "type");
            if constexpr (converts && pipe) {
                return new Pipe<C, Element, F>(not_null(std::move(f), "an edge"));
            } else if constexpr (converts) {
                return new Transform<T, F, Element>(not_null(std::move(f), "an edge"));
            }
        }
    }
    return nullptr;
}

using Guard = Owned<EdgePredicate>;  // null: the edge is taken whenever the parent completes

// The predicate of `when(p)` on an edge from a parent that gives T.
template <class T, class P>
[[nodiscard]] Guard make_guard(When<P>&& when) {
    constexpr bool plain = std::is_invocable_v<P&>;
    static_assert(plain || !std::is_same_v<T, Unknown>,
                  "grafo: a predicate that takes the output needs a parent whose output type is "
                  "known: convert the AnyNode to a Node<T> first");
    using Result = TransformResult<P, std::conditional_t<plain, void, T>>;
    constexpr bool fits = !std::is_same_v<Result, NotCallable>;
    static_assert(fits || std::is_same_v<T, Unknown>,
                  "grafo: the predicate of when cannot be called with the parent's output");
    if constexpr (fits) {
        constexpr bool answers = std::is_constructible_v<bool, awaited_t<Result>>;
        static_assert(answers, "grafo: the predicate of when gives a bool, or an awaitable of one");
        if constexpr (answers) {
            return Guard(new EdgePredicateOf<T, P>(not_null(std::move(when.predicate), "when")));
        }
    }
    return nullptr;
}

// connect(child, how) from a parent that gives T, or chunks of type C (both may be Unknown), to a
// child of signature Sig.
template <class T, class C, class Sig>
struct TypedWiring {
    static constexpr bool typed_parent = !std::is_same_v<T, Unknown>;
    static constexpr bool typed_child = !std::is_same_v<Sig, Erased>;
    using Params = typename Sig::Params;

    static void connect(NodeCore& parent, NodeCore& child, Guard guard) {
        Forward* order = guard != nullptr ? new GuardedOrder(nullptr, std::move(guard)) : nullptr;
        connect_nodes(parent, child, ForwardOwner(order), NodeCore::no_param);
    }

    template <FixedString Name>
    static void connect(NodeCore& parent, NodeCore& child, Guard guard, Arg<Name>) {
        connect_whole<Name>(parent, child, std::move(guard));
    }
    template <FixedString Name>
    static void connect(NodeCore& parent, NodeCore& child, Guard guard, Args<Name>) {
        connect_whole<Name>(parent, child, std::move(guard));
    }

    template <FixedString Name, class F>
    static void connect(NodeCore& parent, NodeCore& child, Guard guard,
                        BoundArg<Name, F> transform) {
        if constexpr (typed_child) {
            constexpr std::size_t index = need_index<Name>();
            if constexpr (index < Params::size) {
                using Element = typename SlotOf<type_at_t<index, Params>>::Element;
                link(parent, child, index, std::move(guard),
                     make_mapped<T, C, Element>(std::move(transform.value)));
            }
        } else {
            static_assert(typed_parent,
                          "grafo: a transform needs a parent whose output type is known: convert "
                          "the AnyNode to a Node<T> first");
            using Result = TransformResult<F, T>;
            constexpr bool fits = !std::is_same_v<Result, NotCallable>;
            static_assert(fits, "grafo: the transform cannot be called with the parent's output");
            if constexpr (typed_parent && fits) {
                using Made = std::remove_cvref_t<awaited_t<Result>>;
                static_assert(!std::is_void_v<Made>,
                              "grafo: the transform gives nothing to forward");
                const std::uint32_t param = need_param(child, Name.view());
                const ParamInfo& info = child.type().params[param];
                if (info.pipe) throw_erased_pipe(parent, child, param);
                if (info.type != type_id<Made>()) {
                    throw_type_error(parent, type_id<Made>(), child, param);
                }
                link(parent, child, param, std::move(guard),
                     new Transform<T, F, Made>(not_null(std::move(transform.value), "an edge")));
            }
        }
    }

    static void connect(NodeCore& parent, NodeCore& child, Guard guard, const ForwardAs& how) {
        const std::uint32_t param = need_param(child, how.name());
        link(parent, child, param, std::move(guard), need_erased_forward(parent, child, param));
    }

    static void connect(NodeCore& parent, NodeCore& child, Guard guard, ForwardAuto) {
        const NodeType& type = child.type();
        std::string fitting;
        std::uint32_t found = NodeCore::no_param;
        std::size_t count = 0;
        const auto search = [&](auto&& is_open) {
            for (std::uint32_t i = 0; i < type.param_count; ++i) {
                if (!is_open(i, child.find_edge(i))) continue;
                const ForwardOwner fits(child.erased_forward(i, given_type(parent, child, i)));
                if (fits.get() == nullptr) continue;
                found = i;
                ++count;
                fitting += (count > 1 ? ", " : "") + in_quotes(type.params[i].name);
            }
        };
        // In a loop what the parent itself filled in the lap before counts as open, and where there
        // is nothing else, what it may replace.
        search([&](std::uint32_t i, const InEdge* edge) {
            if (type.params[i].list || (!child.is_bound(i) && edge == nullptr)) return true;
            return edge != nullptr && edge->parent == &parent && replaces(parent, child, edge);
        });
        if (count == 0) {
            search(
                [&](std::uint32_t, const InEdge* edge) { return replaces(parent, child, edge); });
        }
        if (count != 1) {
            throw AutoForwardError(
                "node " + in_quotes(parent.id) + " gives " + type_name(parent.type().output) +
                ", and node " + in_quotes(child.id) +
                (count == 0 ? " has no open parameter that takes it (" + list_params(child) + ")"
                            : " has several open parameters that take it: " + fitting +
                                  "; name one of them"));
        }
        link(parent, child, found, std::move(guard),
             child.erased_forward(found, given_type(parent, child, found)));
    }

private:
    // The place of the parameter; says so at compile time if there is none, or if it is taken.
    template <FixedString Name>
    static constexpr std::size_t need_index() {
        constexpr std::size_t index = FindParam<Name, Params>::value;
        static_assert(index < Params::size, "grafo: the child has no parameter of that name");
        if constexpr (index < Params::size) {
            static_assert(type_at_t<index, Params>::kind != ParamKind::filled,
                          "grafo: that parameter of the child is already bound or forwarded into");
        }
        return index;
    }

    template <FixedString Name>
    static void connect_whole(NodeCore& parent, NodeCore& child, Guard guard) {
        if constexpr (typed_child) {
            constexpr std::size_t index = need_index<Name>();
            if constexpr (index < Params::size) {
                using SlotType = SlotOf<type_at_t<index, Params>>;
                constexpr auto param = static_cast<std::uint32_t>(index);
                constexpr WholeFit fit = whole_fit<T, C, SlotType>();
                static_assert(fit != WholeFit::nothing,
                              "grafo: the parent gives nothing to forward (void)");
                static_assert(fit != WholeFit::no_chunks,
                              "grafo: the parameter reads a stream, but the parent yields no "
                              "chunks of a type that converts");
                static_assert(
                    fit != WholeFit::wrong,
                    "grafo: the parent's output does not convert to the parameter's type; "
                    "forward what a transform makes of it: \"x\"_a = transform");
                if constexpr (fit == WholeFit::at_run_time) {
                    link(parent, child, param, std::move(guard),
                         need_erased_forward(parent, child, param));
                } else if constexpr (fit == WholeFit::fits) {
                    link(parent, child, param, std::move(guard), make_whole<T, C, SlotType>());
                }
            }
        } else {
            static_assert(!std::is_void_v<T> || !std::is_void_v<C>,
                          "grafo: the parent gives nothing to forward (void)");
            const std::uint32_t param = need_param(child, Name.view());
            link(parent, child, param, std::move(guard), need_erased_forward(parent, child, param));
        }
    }

    // Takes the forward over; null if it was refused at compile time.
    static void link(NodeCore& parent, NodeCore& child, std::size_t at, Guard guard,
                     Forward* forward) {
        const auto param = static_cast<std::uint32_t>(at);
        ForwardOwner owner(forward);
        if (forward == nullptr) return;
        if (guard == nullptr) return connect_nodes(parent, child, std::move(owner), param);
        if (forward->pipe() != nullptr) {
            throw ForwardingTypeError(
                "the edge " + in_quotes(parent.id) + " -> " + in_quotes(child.id) +
                " is a pipe into parameter " + in_quotes(child.type().params[param].name) +
                ": chunks flow before there is an output, so it cannot have a when");
        }
        Forward* guarded =
            child.any_slot(param).actions->guarded_forward(forward, std::move(guard));
        static_cast<void>(owner.release());
        connect_nodes(parent, child, ForwardOwner(guarded), param);
    }
};

template <class Params>
struct Rebind;

// bind("x"_a = v): at compile time where the parameters are known, else at run time.
template <class Sig, FixedString Name, class V>
void bind_argument(NodeCore& node, BoundArg<Name, V> argument) {
    using Params = typename Sig::Params;
    const auto check = [&node](std::uint32_t param) {
        require_idle(node, "to bind an argument of");
        if (const InEdge* edge = node.find_edge(param); edge != nullptr) {
            throw ForwardingOverrideError(
                "parameter " + in_quotes(Name.view()) + " of node " + in_quotes(node.id) +
                " is already forwarded into by node " + in_quotes(edge->parent->id));
        }
    };
    if constexpr (std::is_same_v<Sig, Erased>) {
        const std::uint32_t param = need_param(node, Name.view());
        check(param);
        using Given = std::conditional_t<std::is_same_v<V, const char*>, std::string, V>;
        Given value(std::move(argument.value));
        const AnySlot at = node.any_slot(param);
        if (!at.actions->bind(at.slot, type_id<Given>(), &value)) {
            throw ForwardingTypeError(
                "parameter " + in_quotes(Name.view()) + " of node " + in_quotes(node.id) +
                " takes " + type_name(node.type().params[param].type) + ", not " +
                type_name(type_id<Given>()) +
                "; between types known only at run time they must be the same");
        }
    } else {
        constexpr std::size_t index = FindParam<Name, Params>::value;
        static_assert(index < Params::size, "grafo: the node has no parameter of that name");
        if constexpr (index < Params::size) {
            using SlotType = SlotOf<type_at_t<index, Params>>;
            static_assert(!SlotType::list, "grafo: a list parameter is filled by edges, not bound");
            if constexpr (!SlotType::list) {
                constexpr bool fits = is_deferred<V, typename SlotType::Value> ||
                                      std::is_convertible_v<V&&, typename SlotType::Value>;
                static_assert(fits, "grafo: the value does not convert to the parameter's type");
                if constexpr (fits) {
                    check(static_cast<std::uint32_t>(index));
                    static_cast<SlotType*>(node.any_slot(static_cast<std::uint32_t>(index)).slot)
                        ->bind(std::move(argument.value));
                    if constexpr (is_deferred<V, typename SlotType::Value>) use_driver(node);
                }
            }
        }
    }
#ifndef NDEBUG
    // What it was bound to may have held a handle; no report is better than a wrong one.
    if (node.extras != nullptr) node.extras->captured.clear();
#endif
    if (node.graph != nullptr) node.graph->planned_by = 0;
    update_driver(node);
}

inline void redirect_node(NodeCore& node, const NodeList& children) {
    FlatList<NodeCore*> removed;
    FlatList<NodeCore*> added;
    const std::uint32_t listed = Graph::next_mark();
    for (const Handle& child : children) need_node(child).mark = listed;
    for (const OutEdge& edge : node.out) {
        if (edge.child().mark != listed) removed.push_back(&edge.child());
    }
    const std::uint32_t present = Graph::next_mark();
    for (const OutEdge& edge : node.out) edge.child().mark = present;
    for (const Handle& child : children) {
        if (std::exchange(child.core()->mark, present) != present) added.push_back(child.core());
    }
    for (NodeCore* child : removed) require_idle(*child, "to redirect its parent away from");
    for (NodeCore* child : added) require_idle(*child, "to redirect a parent to");
    // What is removed first may be what kept a later one alive.
    FlatList<Handle> kept;
    for (NodeCore* child : removed) kept.push_back(Handle(child));
    for (std::size_t i = 0; i < added.size(); ++i) {
        try {
            connect_nodes(node, *added[i], ForwardOwner(nullptr), NodeCore::no_param);
        } catch (...) {
            while (i-- > 0) disconnect_nodes(node, *added[i]);
            throw;
        }
    }
    for (NodeCore* child : removed) disconnect_nodes(node, *child);
}

// A user's callback, with or without the node as its argument.
template <class F, class Derived>
class NodeCallback final : public Callback {
    static constexpr bool takes_node = std::is_invocable_v<F&, const Derived&>;
    template <bool Node>
    struct ResultOf {
        using type = void;
    };

public:
    static constexpr bool accepted = takes_node || std::is_invocable_v<F&>;

    template <class G>
    explicit NodeCallback(G&& f) : f_(not_null(std::forward<G>(f), "a callback of a node")) {}

    Task<> call(NodeCore& node) override {
        if constexpr (accepted) {
            const Derived handle(node);
            if constexpr (AwaitableResult<decltype(invoke(handle))>) {
                return await_result(*this, handle);
            } else {
                invoke(handle);
            }
        }
        return {};
    }

private:
    decltype(auto) invoke(const Derived& handle) {
        if constexpr (takes_node) {
            return f_(handle);
        } else {
            static_cast<void>(handle);
            return f_();
        }
    }
    // By value: a coroutine callback may take the handle by reference.
    static Task<> await_result(NodeCallback& self, Derived handle) {
        // Called here, so that what the handle is converted to lives as long as the coroutine.
        if constexpr (takes_node) {
            co_await self.f_(handle);
        } else {
            static_cast<void>(handle);
            co_await self.f_();
        }
    }

    F f_;
};

}  // namespace detail

}  // namespace grafo
