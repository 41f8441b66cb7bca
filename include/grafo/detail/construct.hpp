#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include <grafo/detail/build.hpp>
#include <grafo/detail/node_impl.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/typed_wiring.hpp>

namespace grafo::detail {

// The argument that was given for parameter I, put where it belongs.
template <class Slot, class A>
void give(Slot&, NodeCore&, std::uint32_t, const A&) {}  // open

// An edge from a node, or from node.map(f), written at the child.
template <class S, class N>
void give_edge(NodeCore& child, std::uint32_t param, N&& from) {
    using Given = std::remove_cvref_t<N>;
    if constexpr (is_mapped<Given>) {
        give_mapped<S>(child, param, std::move(from));
    } else {
        using T = typename HandleTraits<Given>::Output;
        using C = typename HandleTraits<Given>::Chunk;
        NodeCore& parent = need_node(from);
        constexpr WholeFit fit = whole_fit<T, C, S>();
        static_assert(fit != WholeFit::nothing, "grafo: the node gives nothing to forward (void)");
        static_assert(fit != WholeFit::no_chunks,
                      "grafo: the parameter reads a stream, but the node yields no chunks of a "
                      "type that converts");
        static_assert(fit != WholeFit::wrong,
                      "grafo: the node's output does not convert to the parameter's type; forward "
                      "what a transform makes of it: \"x\"_a = node.map(transform)");
        if constexpr (fit == WholeFit::at_run_time) {
            connect_nodes(parent, child, ForwardOwner(need_erased_forward(parent, child, param)),
                          param);
        } else if constexpr (fit == WholeFit::fits) {
            connect_nodes(parent, child, ForwardOwner(make_whole<T, C, S>()), param);
        }
    }
}

template <class S, class N, class F>
void give_mapped(NodeCore& child, std::uint32_t param, Mapped<N, F>&& from) {
    using From = HandleTraits<N>;
    NodeCore& parent = need_node(from.node);
    Forward* forward =
        make_mapped<typename From::Output, typename From::Chunk, typename S::Element>(
            std::move(from.f));
    if (forward == nullptr) return;
    connect_nodes(parent, child, ForwardOwner(forward), param);
}

template <class Slot, FixedString Name, class V>
void give(Slot& slot, NodeCore& node, std::uint32_t param, BoundArg<Name, V>& argument) {
    if constexpr ((NodeHandle<V> && !NodeHandle<typename Slot::Value>) || is_mapped<V>) {
        give_edge<Slot>(node, param, std::move(argument.value));
    } else if constexpr (is_deferred<V, typename Slot::Value> &&
                         requires { slot.bind(argument.value); }) {
        slot.bind(std::move(argument.value));
        use_driver(node);
    } else {
        constexpr bool fits = std::is_convertible_v<V&&, typename Slot::Value>;
        static_assert(fits, "grafo: the value does not convert to the parameter's type");
        if constexpr (fits) slot.set(std::move(argument.value));
    }
}

template <class Slot, FixedString Name>
void give(Slot& slot, NodeCore& node, std::uint32_t param, FilledArgs<Name, NodeList>& argument) {
    if (argument.nodes.size() == 0) slot.bind_empty();
    for (const Handle& handle : argument.nodes) {
        NodeCore& parent = need_node(handle);
        connect_nodes(parent, node, ForwardOwner(need_erased_forward(parent, node, param)), param);
    }
}

template <class Slot, FixedString Name, class... N>
void give(Slot& slot, NodeCore& node, std::uint32_t param,
          FilledArgs<Name, Gathered<N...>>& argument) {
    if constexpr (sizeof...(N) == 0) slot.bind_empty();
    std::apply([&](auto&... from) { (give_edge<Slot>(node, param, std::move(from)), ...); },
               argument.nodes.nodes);
}

template <class... A>
struct Refs {};

[[nodiscard]] inline std::string unique_id() {
    static std::atomic<std::uint64_t> last{0};
    return "node_" + std::to_string(last.fetch_add(1, std::memory_order_relaxed) + 1);
}

template <class B, class F, class... A>
Handle construct_node(std::string id, F&& callable, A&&... arguments) {
    const CaptureScope capture_scope;
    auto* core = new NodeImpl<typename B::Kind>(std::in_place,
                                                not_null(std::forward<F>(callable), "a node"));
    const Handle handle(core);
    core->id = std::move(id);
    try {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (give(core->template slot<I>(), *core, static_cast<std::uint32_t>(I), arguments), ...);
        }(std::index_sequence_for<A...>());
        CaptureScope::keep(*core);
    } catch (...) {
        while (!core->in.empty()) disconnect_nodes(*core->in[0].parent, *core);
        throw;
    }
    return handle;
}

template <class T, class C>
constexpr bool check_call() {
    static_assert(C::callable_visible,
                  "grafo: a node needs a callable whose parameters can be seen: a function, a "
                  "member function, a lambda or function object without auto or overloads (first "
                  "the id, which may be left out, then the callable, then its arguments)");
    static_assert(
        C::arguments_named,
        "grafo: each argument of a node is named: \"x\"_a, \"x\"_a = value or \"xs\"_args");
    static_assert(
        C::counts_match,
        "grafo: a node takes one name for each parameter of its callable, in their order: "
        "the counts differ");
    static_assert(
        C::references_accepted,
        "grafo: a parameter of a node's callable is taken by value or as const U&: U& and "
        "U&& would refer to what the node owns");
    static_assert(C::streams_accepted,
                  "grafo: a parameter that reads a stream is taken by value: AsyncGenerator<Y>");
    static_assert(C::lists_accepted,
                  "grafo: a list parameter (\"xs\"_args) is a std::vector<U> or const "
                  "std::vector<U>&");
    static_assert(C::result_accepted,
                  "grafo: a node's callable gives a value, not a reference: the node keeps it");
    if constexpr (C::valid) {
        static_assert(std::is_same_v<T, typename C::Output>,
                      "grafo: the callable gives another type than this Node<T> holds");
        return std::is_same_v<T, typename C::Output>;
    } else {
        return false;
    }
}

// Makes the node that Node{first, rest…} describes.
template <class T, class First, class... Rest>
Handle construct(First&& first, Rest&&... rest) {
    using B = Build<First, Rest...>;
    using Call = typename B::Call;
    if constexpr (check_call<T, Call>()) {
        if constexpr (B::has_id) {
            if constexpr (std::is_convertible_v<First, std::string>) {
                return construct_node<Call>(std::string(std::forward<First>(first)),
                                            std::forward<Rest>(rest)...);
            } else {
                return construct_node<Call>(
                    std::string(static_cast<std::string_view>(std::forward<First>(first))),
                    std::forward<Rest>(rest)...);
            }
        } else {
            return construct_node<Call>(unique_id(), std::forward<First>(first),
                                        std::forward<Rest>(rest)...);
        }
    } else {
        return Handle();
    }
}

}  // namespace grafo::detail
