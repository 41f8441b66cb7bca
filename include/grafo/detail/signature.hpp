#pragma once
#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/async_generator.hpp>
#include <grafo/task.hpp>

namespace grafo {

class NodeContext;

namespace detail {

template <class... T>
struct TypeList {
    static constexpr std::size_t size = sizeof...(T);
};

template <std::size_t I, class List>
struct TypeAt;
template <std::size_t I, class Head, class... Tail>
struct TypeAt<I, TypeList<Head, Tail...>> : TypeAt<I - 1, TypeList<Tail...>> {};
template <class Head, class... Tail>
struct TypeAt<0, TypeList<Head, Tail...>> {
    using type = Head;
};
template <std::size_t I, class List>
using type_at_t = typename TypeAt<I, List>::type;

// The object of a member-function pointer whose object is bound: called upon as it is.
template <class V>
struct BoundObject {};

// What a callable takes and gives. `visible` is false where that cannot be seen.
template <class F>
struct Signature {
    static constexpr bool visible = false;
};
template <class R, class... P>
struct Signature<R (*)(P...)> {
    static constexpr bool visible = true;
    static constexpr bool is_member = false;
    using Result = R;
    using Params = TypeList<P...>;
};
template <class R, class... P>
struct Signature<R (*)(P...) noexcept> : Signature<R (*)(P...)> {};

template <class M>
struct MemberSignature;
#define GRAFO_DETAIL_MEMBER(QUALIFIERS, OBJECT)         \
    template <class R, class C, class... P>             \
    struct MemberSignature<R (C::*)(P...) QUALIFIERS> { \
        using Call = R (*)(P...);                       \
        using Result = R;                               \
        using Params = TypeList<OBJECT, P...>;          \
        using CallParams = TypeList<P...>;              \
    };
GRAFO_DETAIL_MEMBER(, C&)
GRAFO_DETAIL_MEMBER(&, C&)
GRAFO_DETAIL_MEMBER(const, const C&)
GRAFO_DETAIL_MEMBER(const&, const C&)
GRAFO_DETAIL_MEMBER(noexcept, C&)
GRAFO_DETAIL_MEMBER(& noexcept, C&)
GRAFO_DETAIL_MEMBER(const noexcept, const C&)
GRAFO_DETAIL_MEMBER(const& noexcept, const C&)
#undef GRAFO_DETAIL_MEMBER

template <class F>
    requires std::is_member_function_pointer_v<F>
struct Signature<F> {
    static constexpr bool visible = true;
    static constexpr bool is_member = true;
    using Result = typename MemberSignature<F>::Result;
    using Params = typename MemberSignature<F>::Params;
};
template <class F>
    requires requires { typename MemberSignature<decltype(&F::operator())>::CallParams; }
struct Signature<F> {
    static constexpr bool visible = true;
    static constexpr bool is_member = false;
    using Result = typename MemberSignature<decltype(&F::operator())>::Result;
    using Params = typename MemberSignature<decltype(&F::operator())>::CallParams;
};

// std::invoke of a member function, without the cost of <functional>: on an object, or on what
// refers or points to one.
template <class F, class Object, class... A>
decltype(auto) call_member(F function, Object&& object, A&&... a) {
    using Called = type_at_t<0, typename Signature<F>::Params>;
    if constexpr (std::is_convertible_v<Object&&, Called>) {
        return (static_cast<Called>(object).*function)(std::forward<A>(a)...);
    } else {
        return ((*std::forward<Object>(object)).*function)(std::forward<A>(a)...);
    }
}

// What a node makes of a callable's return type.
enum class BodyKind : unsigned char { plain, task, generator, foreign, refused };

template <class R>
struct ResultTraits {
    static constexpr BodyKind kind = std::is_reference_v<R> ? BodyKind::refused : BodyKind::plain;
    using Output = std::remove_cvref_t<R>;
    using Chunk = void;
};
template <class T>
struct ResultTraits<Task<T>> {
    static constexpr BodyKind kind = std::is_reference_v<T> ? BodyKind::refused : BodyKind::task;
    using Output = std::remove_cvref_t<T>;
    using Chunk = void;
};
template <class Y, class R>
struct ResultTraits<AsyncGenerator<Y, R>> {
    static constexpr BodyKind kind = BodyKind::generator;
    using Chunk = std::remove_cvref_t<Y>;
    using Output = R;
};
template <class Y>
struct ResultTraits<AsyncGenerator<Y, void>> {
    static constexpr BodyKind kind = BodyKind::generator;
    using Chunk = std::remove_cvref_t<Y>;
    using Output =
        std::conditional_t<std::is_copy_constructible_v<Chunk>, std::vector<Chunk>, void>;
};
template <class A>
    requires(!std::is_void_v<A> && !std::is_reference_v<A> && Awaitable<A>)
struct ResultTraits<A> {
    static constexpr BodyKind kind = BodyKind::foreign;
    using Output = std::remove_cvref_t<await_result_t<A>>;
    using Chunk = void;
};

// Are the chunks not to be changed by those who read them?
template <class R>
inline constexpr bool yields_const = false;
template <class Y, class R>
inline constexpr bool yields_const<AsyncGenerator<Y, R>> =
    std::is_const_v<std::remove_reference_t<Y>>;

// Is the output the list of the chunks?
template <class R>
inline constexpr bool is_chunk_output = false;
template <class Y>
inline constexpr bool is_chunk_output<AsyncGenerator<Y, void>> = true;

// What awaiting it gives if it can be awaited, else what it is.
template <class R>
struct Awaited {
    using type = R;
};
template <class R>
    requires(!std::is_void_v<R> && Awaitable<R>)
struct Awaited<R> {
    using type = await_result_t<R>;
};
template <class R>
using awaited_t = typename Awaited<R>::type;

template <class R>
concept AwaitableResult = !std::is_void_v<R> && Awaitable<R>;

// One parameter: what is stored for it, and what one edge has to give.
template <class P>
struct ParamTraits {
    static constexpr bool by_reference = std::is_lvalue_reference_v<P>;
    // U& and U&& would promise what a stored argument cannot keep.
    static constexpr bool accepted =
        !std::is_reference_v<P> ||
        (std::is_lvalue_reference_v<P> && std::is_const_v<std::remove_reference_t<P>>);
    using Value = std::remove_cvref_t<P>;
};

template <class V>
struct ListElement {
    static constexpr bool is_list = false;
    using type = V;
};
template <class E, class A>
struct ListElement<std::vector<E, A>> {
    static constexpr bool is_list = true;
    using type = E;
};

// A type that stands for "nothing" as well as for a U: std::optional<U>, const U*.
template <class V>
struct MayBeEmpty {
    static constexpr bool value = false;
    using type = void;
};
template <class U>
struct MayBeEmpty<std::optional<U>> {
    static constexpr bool value = true;
    using type = U;
};
template <class U>
struct MayBeEmpty<const U*> {
    static constexpr bool value = true;
    using type = U;
};

}  // namespace detail

}  // namespace grafo
