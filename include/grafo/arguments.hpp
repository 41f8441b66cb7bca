#pragma once
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/handle.hpp>

namespace grafo {

namespace detail {

// A parameter's name as part of a type.
template <std::size_t N>
struct FixedString {
    // NOLINTNEXTLINE(google-explicit-constructor): a literal is one
    consteval FixedString(const char (&text)[N]) {
        for (std::size_t i = 0; i < N; ++i) characters[i] = text[i];
    }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {characters, N - 1}; }
    template <std::size_t M>
    [[nodiscard]] constexpr bool operator==(const FixedString<M>& other) const noexcept {
        return view() == other.view();
    }
    char characters[N]{};
};

// Without a default constructor, `"xs"_args = {}` can only mean a list of no nodes.
struct Named {
    constexpr explicit Named() noexcept {}
};

// What a range-for goes over, without the cost of <ranges>.
template <class T>
concept NodeRange = requires(T& range) {
    { *std::begin(range) } -> NodeHandle;
    std::end(range);
};

}  // namespace detail

/// Some nodes: one, several in braces, or any range of them. Made implicitly where an executor or a
/// list parameter takes nodes; holds handles.
class NodeList {
public:
    NodeList() noexcept = default;
    /// From handles of any node type.
    template <class... N>
        requires(sizeof...(N) > 0 && (detail::NodeHandle<N> && ...))
    // NOLINTNEXTLINE(google-explicit-constructor): {a, b} is a list of nodes
    NodeList(const N&... nodes) {
        nodes_.reserve(sizeof...(N));
        (nodes_.push_back(nodes), ...);
    }
    /// From any range of handles.
    template <detail::NodeRange R>
        requires(!std::same_as<std::remove_cvref_t<R>, NodeList> && !detail::NodeHandle<R>)
    // NOLINTNEXTLINE(google-explicit-constructor): a range of nodes is a list of nodes
    NodeList(R&& range) {
        for (const auto& node : range) nodes_.push_back(node);
    }

    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    [[nodiscard]] const detail::Handle& operator[](std::size_t i) const noexcept {
        return nodes_[i];
    }
    [[nodiscard]] auto begin() const noexcept { return nodes_.begin(); }
    [[nodiscard]] auto end() const noexcept { return nodes_.end(); }

private:
    detail::FlatList<detail::Handle> nodes_;
};

/// A named argument and what was given for it; made by `"x"_a = v`.
template <detail::FixedString Name, class V>
struct BoundArg {
    template <class U>
    explicit BoundArg(std::in_place_t, U&& given) : value(std::forward<U>(given)) {}
    static constexpr std::string_view name() noexcept { return Name.view(); }
    V value;
};

/// A parameter by its name: open as it stands (`"x"_a`), or with a value, a callable, a node.
template <detail::FixedString Name>
struct Arg {
    constexpr explicit Arg(detail::Named) noexcept {}
    static constexpr std::string_view name() noexcept { return Name.view(); }

    /// Binds a copy of the value; arrays and functions decay.
    template <class V>
    BoundArg<Name, std::decay_t<V>> operator=(V&& value) const {  // NOLINT: names an argument
        return BoundArg<Name, std::decay_t<V>>(std::in_place, std::forward<V>(value));
    }
};

/// Several nodes whose types the compiler knows; made by `gather(a, b, c)`.
template <class... N>
struct Gathered {
    explicit Gathered(N... n) : nodes(std::move(n)...) {}
    std::tuple<N...> nodes;
};

/// A node and a transform of its output; made by `node.map(f)`.
template <class N, class F>
struct Mapped {
    Mapped(N n, F transform) : node(std::move(n)), f(std::move(transform)) {}
    N node;
    F f;
};

namespace detail {
template <class T>
inline constexpr bool is_mapped = false;
template <class N, class F>
inline constexpr bool is_mapped<Mapped<N, F>> = true;
}  // namespace detail

/// A list parameter and the nodes that fill it; made by `"xs"_args = …`.
template <detail::FixedString Name, class Nodes>
struct FilledArgs {
    explicit FilledArgs(Nodes given) : nodes(std::move(given)) {}
    static constexpr std::string_view name() noexcept { return Name.view(); }
    Nodes nodes;
};

/// A list parameter (`std::vector<U>`) by its name, filled by any number of parents in the order
/// they are connected.
template <detail::FixedString Name>
struct Args {
    constexpr explicit Args(detail::Named) noexcept {}
    static constexpr std::string_view name() noexcept { return Name.view(); }

    /// Fills it from nodes whose types the compiler checks.
    template <class... N>
    FilledArgs<Name, Gathered<N...>> operator=(Gathered<N...> nodes) const {  // NOLINT
        return FilledArgs<Name, Gathered<N...>>(std::move(nodes));
    }
    /// Fills it from any nodes, `{a, b}` or a range; their types are checked when the node is made.
    FilledArgs<Name, NodeList> operator=(NodeList nodes) const {  // NOLINT: names an argument
        return FilledArgs<Name, NodeList>(std::move(nodes));
    }
};

/// Nodes, or `node.map(f)`, to fill a list parameter: `"xs"_args = gather(a, b, c)`.
template <class... N>
    requires((detail::NodeHandle<N> || detail::is_mapped<std::remove_cvref_t<N>>) && ...)
[[nodiscard]] Gathered<std::remove_cvref_t<N>...> gather(N&&... nodes) {
    return Gathered<std::remove_cvref_t<N>...>(std::forward<N>(nodes)...);
}

/// `arg<"x">` is `"x"_a` without the literal.
template <detail::FixedString Name>
inline constexpr Arg<Name> arg{detail::Named()};

/// `args<"xs">` is `"xs"_args` without the literal.
template <detail::FixedString Name>
inline constexpr Args<Name> args{detail::Named()};

/// A parameter whose name is known at run time; made by `forward_as`.
class ForwardAs {
public:
    explicit ForwardAs(std::string parameter) : name_(std::move(parameter)) {}
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    std::string name_;
};

/// Names a parameter at run time, in `connect(child, forward_as(text))`; the child's types are
/// checked then as well.
[[nodiscard]] inline ForwardAs forward_as(std::string_view parameter) {
    return ForwardAs(std::string(parameter));
}

/// Selects the only open parameter of the child that takes the output, at run time.
struct ForwardAuto {
    constexpr explicit ForwardAuto() noexcept {}
};
inline constexpr ForwardAuto forward_auto{};

inline namespace literals {
/// A named parameter: `"x"_a`, or with a value `"x"_a = v`.
template <detail::FixedString Name>
constexpr Arg<Name> operator""_a() noexcept {
    return Arg<Name>(detail::Named());
}
/// A named list parameter: `"xs"_args`.
template <detail::FixedString Name>
constexpr Args<Name> operator""_args() noexcept {
    return Args<Name>(detail::Named());
}
}  // namespace literals

}  // namespace grafo
