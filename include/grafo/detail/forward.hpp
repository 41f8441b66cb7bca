#pragma once
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <grafo/detail/node_core.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/signature.hpp>

namespace grafo::detail {

// Where the output of a node lies.
template <class T>
class TypedCore : public NodeCore {
public:
    [[nodiscard]] T& stored() noexcept { return output_; }

    void clear_output() noexcept final {
        const bool had = has_output;
        has_output = false;  // before its destructor, which may come back here
        owns_output = false;
        if (had) std::destroy_at(&output_);
    }

protected:
    TypedCore() noexcept {}
    ~TypedCore() override { TypedCore::clear_output(); }
    template <class... A>
    void set_output(A&&... a) {
        ::new (static_cast<void*>(&output_)) T(std::forward<A>(a)...);
        now_set();
    }

    // In place, even if T can be neither copied nor moved.
    template <class F>
    void set_output_from(F&& f) {
        ::new (static_cast<void*>(&output_)) T(f());
        now_set();
    }

private:
    void now_set() noexcept {
        has_output = true;
        if constexpr (!std::is_trivially_destructible_v<T>) owns_output = true;
    }

    union {
        T output_;
    };
};

template <>
class TypedCore<void> : public NodeCore {
public:
    void clear_output() noexcept final { has_output = false; }

protected:
    void set_output() noexcept { has_output = true; }
};

template <class T>
[[nodiscard]] T& output_of(NodeCore& node) noexcept {
    return static_cast<TypedCore<T>&>(node).stored();
}

// A forward into a parameter, or a list element, of type E.
template <class E>
class ForwardTo : public Forward {
public:
    // Makes the argument.
    virtual E get(NodeCore& parent) = 0;
    // The argument itself, for a parameter that is a reference.
    virtual const E& view(NodeCore& parent) = 0;
};

[[noreturn]] inline void no_such_access() noexcept { std::terminate(); }

// The output itself: seen by reference, copied by value.
template <class E>
class Direct final : public ForwardTo<E> {
public:
    E get(NodeCore& parent) override {
        if constexpr (std::is_copy_constructible_v<E>) {
            return output_of<E>(parent);
        } else {
            no_such_access();
        }
    }
    const E& view(NodeCore& parent) override { return output_of<E>(parent); }
};

// A move-only output, moved out.
template <class S, class E>
class Take final : public ForwardTo<E> {
public:
    constexpr Take() noexcept { this->takes_ = true; }
    E get(NodeCore& parent) override {
        parent.output_moved = true;
        return static_cast<E>(std::move(output_of<S>(parent)));
    }
    const E& view(NodeCore&) override { no_such_access(); }
};

// A pointer to the output.
template <class X>
class AddressOf final : public ForwardTo<const X*> {
public:
    const X* get(NodeCore& parent) override { return std::addressof(output_of<X>(parent)); }
    const X* const& view(NodeCore&) override { no_such_access(); }
};

// Converts as an argument would.
template <class S, class E>
class Convert final : public ForwardTo<E> {
public:
    E get(NodeCore& parent) override {
        return static_cast<E>(static_cast<const S&>(output_of<S>(parent)));
    }
    const E& view(NodeCore&) override { no_such_access(); }
};

// Converts, and keeps what a reference parameter then refers to.
template <class S, class E>
class ConvertKept final : public ForwardTo<E> {
public:
    ConvertKept() noexcept { this->owned_ = true; }
    E get(NodeCore&) override { no_such_access(); }
    const E& view(NodeCore& parent) override {
        if constexpr (std::is_same_v<E, const S*>) {
            return kept_.emplace(std::addressof(output_of<S>(parent)));
        } else {
            return kept_.emplace(static_cast<const S&>(output_of<S>(parent)));
        }
    }
    void reset() noexcept override { kept_.reset(); }

private:
    std::optional<E> kept_;
};

// Calls what takes one value: a callable, or a pointer to a member of it or of what it points to.
template <class F, class T>
decltype(auto) call_with_value(F& f, const T& value) {
    if constexpr (std::is_member_function_pointer_v<F>) {
        return call_member(f, value);
    } else if constexpr (!std::is_member_object_pointer_v<F>) {
        return f(value);
    } else if constexpr (requires { value.*f; }) {
        return (value.*f);
    } else {
        return ((*value).*f);
    }
}

// Calls what takes the parent's output of type T, or nothing.
template <class T, class F>
decltype(auto) call_with_output(F& f, NodeCore& parent) {
    if constexpr (std::is_invocable_v<F&>) {
        static_cast<void>(parent);
        return f();
    } else {
        return call_with_value<F, T>(f, output_of<T>(parent));
    }
}

// What a transform made of the output; one for each edge.
template <class T, class F, class E>
class Transform final : public ForwardTo<E> {
public:
    explicit Transform(F&& f) : f_(std::move(f)) {
        this->owned_ = true;
        this->evaluated_ = true;
    }
    Task<> evaluate(NodeCore& parent) override {
        this->taken = false;
        if constexpr (AwaitableResult<decltype(call(parent))>) {
            return await_into(*this, parent);
        } else {
            kept_.emplace(call(parent));
            this->taken = true;
            return {};
        }
    }
    E get(NodeCore&) override {
        if constexpr (std::is_copy_constructible_v<E>) {
            return *kept_;
        } else {
            return std::move(*kept_);
        }
    }
    const E& view(NodeCore&) override { return *kept_; }
    void reset() noexcept override { kept_.reset(); }

private:
    decltype(auto) call(NodeCore& parent) {
        if constexpr (std::is_void_v<T>) {
            static_cast<void>(parent);
            return f_();
        } else {
            return call_with_value<F, T>(f_, output_of<T>(parent));
        }
    }
    static Task<> await_into(Transform& self, NodeCore& parent) {
        self.kept_.emplace(co_await self.call(parent));
        self.taken = true;
    }

    F f_;
    std::optional<E> kept_;
};

// Asked at the parent's end whether an edge is taken.
class EdgePredicate {
public:
    EdgePredicate() = default;
    EdgePredicate(const EdgePredicate&) = delete;
    EdgePredicate& operator=(const EdgePredicate&) = delete;
    virtual ~EdgePredicate() = default;
    // Evaluates the edge that it guards: asks, and if it is taken evaluates the forward behind.
    virtual Task<> evaluate(Forward& edge, Forward* behind, NodeCore& parent) = 0;
};

template <class T, class P>
class EdgePredicateOf final : public EdgePredicate {
public:
    explicit EdgePredicateOf(P&& asks) : asks_(std::move(asks)) {}
    Task<> evaluate(Forward& edge, Forward* behind, NodeCore& parent) override {
        edge.taken = false;
        edge.asking = true;
        if constexpr (AwaitableResult<decltype(call_with_output<T>(asks_, parent))>) {
            return await_answer(*this, edge, behind, parent);
        } else {
            const bool answer = static_cast<bool>(call_with_output<T>(asks_, parent));
            Task<> forwarding = forward(edge, behind, parent, answer);
            if (forwarding) return await_forward(edge, std::move(forwarding));
            return {};
        }
    }

private:
    static Task<> forward(Forward& edge, Forward* behind, NodeCore& parent, bool answer) {
        edge.asking = false;
        if (!answer) return {};
        Task<> forwarding;
        if (behind != nullptr && behind->evaluated()) forwarding = behind->evaluate(parent);
        edge.taken = !forwarding;
        return forwarding;
    }
    static Task<> await_answer(EdgePredicateOf& self, Forward& edge, Forward* behind,
                               NodeCore& parent) {
        const bool answer = static_cast<bool>(co_await call_with_output<T>(self.asks_, parent));
        Task<> forwarding = forward(edge, behind, parent, answer);
        if (forwarding) co_await await_forward(edge, std::move(forwarding));
    }
    static Task<> await_forward(Forward& edge, Task<> forwarding) {
        co_await std::move(forwarding);
        edge.taken = true;
    }
    P asks_;
};

// A forward, or an edge that only orders, behind a predicate.
template <class Base>
class GuardedBase : public Base {
public:
    GuardedBase(Forward* behind, Owned<EdgePredicate> predicate)
        : predicate_(std::move(predicate)), behind_(behind) {
        this->owned_ = true;
        this->evaluated_ = true;
        this->takes_ = behind != nullptr && behind->takes();
    }
    ~GuardedBase() override {
        if (behind_ != nullptr && behind_->owned()) delete behind_;
    }
    Task<> evaluate(NodeCore& parent) override {
        return predicate_->evaluate(*this, behind_, parent);
    }
    void reset() noexcept override {
        if (behind_ != nullptr && behind_->owned()) behind_->reset();
    }

protected:
    [[nodiscard]] Forward* behind() const noexcept { return behind_; }

private:
    Owned<EdgePredicate> predicate_;
    Forward* behind_;
};

using GuardedOrder = GuardedBase<Forward>;

template <class E>
class Guarded final : public GuardedBase<ForwardTo<E>> {
public:
    using GuardedBase<ForwardTo<E>>::GuardedBase;
    E get(NodeCore& parent) override {
        return static_cast<ForwardTo<E>&>(*this->behind()).get(parent);
    }
    const E& view(NodeCore& parent) override {
        return static_cast<ForwardTo<E>&>(*this->behind()).view(parent);
    }
};

template <class F>
inline constinit F shared_forward{};

// Can an S, given as const S& or moved out of its node, become an E?
template <class S, class E>
inline constexpr bool forwards_by_move =
    !std::is_copy_constructible_v<S> && std::is_convertible_v<S&&, E>;
template <class S, class E>
inline constexpr bool forwardable = std::is_same_v<S, E> || std::is_convertible_v<const S&, E> ||
                                    std::is_same_v<E, const S*> || forwards_by_move<S, E>;

// The forward of an output of type S into a parameter that stores E; null if it does not fit.
template <class S, class E, bool ByReference>
[[nodiscard]] Forward* make_forward() {
    if constexpr (ByReference) {
        if constexpr (std::is_same_v<S, E>) {
            return &shared_forward<Direct<E>>;
        } else if constexpr (std::is_convertible_v<const S&, E> || std::is_same_v<E, const S*>) {
            return new ConvertKept<S, E>();
        } else {
            return nullptr;
        }
    } else if constexpr (std::is_same_v<S, E> && std::is_copy_constructible_v<E>) {
        return &shared_forward<Direct<E>>;
    } else if constexpr (forwards_by_move<S, E>) {
        return &shared_forward<Take<S, E>>;
    } else if constexpr (std::is_convertible_v<const S&, E>) {
        return &shared_forward<Convert<S, E>>;
    } else if constexpr (std::is_same_v<E, const S*>) {
        return &shared_forward<AddressOf<S>>;
    } else {
        return nullptr;
    }
}

}  // namespace grafo::detail
