#pragma once
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <grafo/arguments.hpp>
#include <grafo/detail/signature.hpp>
#include <grafo/detail/slot.hpp>

// What `Node{id, callable, arguments…}` makes of its arguments' types. Everything here fails
// softly, because a deduction guide substitutes it before any constraint is looked at; the
// sentences are said by static_asserts in the constructor.
namespace grafo::detail {

enum class ParamKind : unsigned char { open, filled, list };

// One named parameter in the type of a node.
template <FixedString Name, class P, ParamKind K>
struct Param {
    using Type = P;
    static constexpr ParamKind kind = K;
    static constexpr std::string_view name() noexcept { return Name.view(); }
    using Unfilled = Param<Name, P, K == ParamKind::filled ? ParamKind::open : K>;
};

template <class P>
using SlotOf = Slot<typename P::Type, P::kind == ParamKind::list>;

// What a deduced node type knows beyond its output.
template <class Chunk, class... P>
struct Known {
    using ChunkType = Chunk;
    using Params = TypeList<P...>;
};
struct Erased {
    using ChunkType = void;
    using Params = TypeList<>;
};

template <class A>
struct ArgTraits {
    static constexpr bool is_argument = false;
    static constexpr ParamKind kind = ParamKind::open;
    static constexpr bool is_object = false;
    template <class P>
    using ParamOf = Param<FixedString<1>(""), P, kind>;
};
template <FixedString Name, ParamKind K, class V = void>
struct NamedArg {
    static constexpr bool is_argument = true;
    static constexpr ParamKind kind = K;
    static constexpr bool is_object = !std::is_void_v<V> && !NodeHandle<V> && !is_mapped<V>;
    using Given = V;
    template <class P>
    using ParamOf = Param<Name, P, K>;
};
template <FixedString Name>
struct ArgTraits<Arg<Name>> : NamedArg<Name, ParamKind::open> {};
template <FixedString Name>
struct ArgTraits<Args<Name>> : NamedArg<Name, ParamKind::list> {};
template <FixedString Name, class V>
struct ArgTraits<BoundArg<Name, V>> : NamedArg<Name, ParamKind::filled, V> {};
template <FixedString Name, class Nodes>
struct ArgTraits<FilledArgs<Name, Nodes>> : NamedArg<Name, ParamKind::list> {};

template <class A>
concept IdLike =
    (std::is_convertible_v<A, std::string> || std::is_convertible_v<A, std::string_view>) &&
    !NodeHandle<A>;

// A leading NodeContext& takes no name.
template <class List>
struct SplitContext {
    static constexpr bool has_context = false;
    using Rest = List;
};
template <class... P>
struct SplitContext<TypeList<NodeContext&, P...>> {
    static constexpr bool has_context = true;
    using Rest = TypeList<P...>;
};

// The object of a member-function pointer: as it was bound, or what an edge gives.
template <bool Member, class Params, class Args>
struct ObjectParam {
    using type = Params;
};
template <class C, class... P, class A, class... Rest>
    requires(ArgTraits<A>::is_object)
struct ObjectParam<true, TypeList<C, P...>, TypeList<A, Rest...>> {
    using type = TypeList<BoundObject<typename ArgTraits<A>::Given>, P...>;
};

template <class Params, class Args>
struct Zip {
    static constexpr bool counts_match = false;
    using type = TypeList<>;
};
template <class... P, class... A>
    requires(sizeof...(P) == sizeof...(A))
struct Zip<TypeList<P...>, TypeList<A...>> {
    static constexpr bool counts_match = true;
    using type = TypeList<typename ArgTraits<A>::template ParamOf<P>...>;
};

template <class P>
struct ParamAccepted : std::bool_constant<ParamTraits<P>::accepted> {};
template <class V>
struct ParamAccepted<BoundObject<V>> : std::true_type {};

// A stream is read by whom it belongs to.
template <class P>
struct StreamAccepted
    : std::bool_constant<!(std::is_reference_v<P> && PipeTraits<std::remove_cvref_t<P>>::is_pipe)> {
};
template <class V>
struct StreamAccepted<BoundObject<V>> : std::true_type {};

template <class P, ParamKind K>
inline constexpr bool list_accepted =
    K != ParamKind::list || ListElement<typename ParamTraits<P>::Value>::is_list;

template <class Zipped>
struct CheckParams;
template <class... P>
struct CheckParams<TypeList<P...>> {
    static constexpr bool references_accepted = (ParamAccepted<typename P::Type>::value && ...);
    static constexpr bool lists_accepted = (list_accepted<typename P::Type, P::kind> && ...);
    static constexpr bool streams_accepted = (StreamAccepted<typename P::Type>::value && ...);
};

// What is the same for all nodes that one NodeImpl will do for, whatever their arguments are.
template <class F, bool HasContext, class... P>
struct NodeKind {
    using Callable = F;
    using Return = typename Signature<F>::Result;
    using Params = TypeList<P...>;
    using Output = typename ResultTraits<Return>::Output;
    using Chunk = typename ResultTraits<Return>::Chunk;
    static constexpr BodyKind kind = ResultTraits<Return>::kind;
    static constexpr bool has_context = HasContext;
    static constexpr bool result_is_chunks = is_chunk_output<Return>;
};

// A callable and the arguments beside it.
template <class F, class... A>
struct BuildCall {
    static constexpr bool callable_visible = false;
    static constexpr bool arguments_named = true;
    static constexpr bool counts_match = true;
    static constexpr bool references_accepted = true;
    static constexpr bool lists_accepted = true;
    static constexpr bool streams_accepted = true;
    static constexpr bool result_accepted = true;
    static constexpr bool valid = false;
    using Output = void;
    using Type = Erased;
};
template <class F, class... A>
    requires(Signature<F>::visible)
struct BuildCall<F, A...> {
    using Sig = Signature<F>;
    using Return = typename Sig::Result;
    using Traits = ResultTraits<Return>;
    using Split = SplitContext<typename Sig::Params>;
    using Zipped =
        Zip<typename ObjectParam<Sig::is_member, typename Split::Rest, TypeList<A...>>::type,
            TypeList<A...>>;
    using Params = typename Zipped::type;

    static constexpr bool has_context = Split::has_context;
    static constexpr BodyKind kind = Traits::kind;
    static constexpr bool callable_visible = true;
    static constexpr bool arguments_named = (ArgTraits<A>::is_argument && ...);
    static constexpr bool counts_match = Zipped::counts_match;
    static constexpr bool references_accepted = CheckParams<Params>::references_accepted;
    static constexpr bool lists_accepted = CheckParams<Params>::lists_accepted;
    static constexpr bool streams_accepted = CheckParams<Params>::streams_accepted;
    static constexpr bool result_accepted = kind != BodyKind::refused;
    static constexpr bool valid = arguments_named && counts_match && references_accepted &&
                                  lists_accepted && streams_accepted && result_accepted;
    using Output = typename Traits::Output;
    using Chunk = typename Traits::Chunk;

    template <class List>
    struct ToKnown;
    template <class... P>
    struct ToKnown<TypeList<P...>> {
        using type = Known<Chunk, P...>;
        using Kind = NodeKind<F, has_context, typename P::Unfilled...>;
    };
    using Type = typename ToKnown<Params>::type;
    using Kind = typename ToKnown<Params>::Kind;
};

template <class... A>
struct Build {
    using Call = BuildCall<void>;
    static constexpr bool has_id = false;
};
template <class F, class... A>
    requires(!IdLike<F>)
struct Build<F, A...> {
    using Call = BuildCall<std::decay_t<F>, std::remove_cvref_t<A>...>;
    static constexpr bool has_id = false;
};
template <class Id, class F, class... A>
    requires(IdLike<Id>)
struct Build<Id, F, A...> {
    using Call = BuildCall<std::decay_t<F>, std::remove_cvref_t<A>...>;
    static constexpr bool has_id = true;
};

// The place of a name among the parameters; their number if there is none such.
template <FixedString Name, class Params>
struct FindParam;
template <FixedString Name, class... P>
struct FindParam<Name, TypeList<P...>> {
    static constexpr std::size_t find() noexcept {
        std::size_t i = 0;
        const bool found = ((P::name() == Name.view() || (++i, false)) || ...);
        return found ? i : sizeof...(P);
    }
    static constexpr std::size_t value = find();
};

}  // namespace grafo::detail
