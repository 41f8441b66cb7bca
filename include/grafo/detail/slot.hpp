#pragma once
#include <optional>
#include <type_traits>
#include <utility>

#include <grafo/detail/forward.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/not_null.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/pipe.hpp>
#include <grafo/detail/signature.hpp>

namespace grafo::detail {

// An argument that is evaluated inside each attempt.
template <class U>
class Deferred {
public:
    Deferred() = default;
    Deferred(const Deferred&) = delete;
    Deferred& operator=(const Deferred&) = delete;
    virtual ~Deferred() = default;
    virtual Task<> evaluate() = 0;
    std::optional<U> value;
};

template <class U, class F>
class DeferredCall final : public Deferred<U> {
public:
    template <class G>
    explicit DeferredCall(std::in_place_t, G&& f) : f_(std::forward<G>(f)) {}
    Task<> evaluate() override {
        this->value.reset();
        if constexpr (std::is_convertible_v<std::invoke_result_t<F&>, U>) {
            this->value.emplace(f_());
            return {};
        } else {
            return await_into(*this);
        }
    }

private:
    static Task<> await_into(DeferredCall& self) { self.value.emplace(co_await self.f_()); }
    F f_;
};

// Can V be called with nothing, and does that, or what awaiting it gives, convert to U?
template <class V, class U>
inline constexpr bool is_deferred = false;
template <class V, class U>
    requires std::is_invocable_v<V&>
inline constexpr bool is_deferred<V, U> =
    std::is_convertible_v<std::invoke_result_t<V&>, U> ||
    std::is_convertible_v<awaited_t<std::invoke_result_t<V&>>, U>;

// One parameter of a node: what it is bound to, and how its argument is assembled.
template <class P, bool List>
class Slot;

template <class P>
class Slot<P, false> {
public:
    using Parameter = P;
    using Value = typename ParamTraits<P>::Value;
    using Element = Value;
    static constexpr bool by_reference = ParamTraits<P>::by_reference;
    static constexpr bool list = false;

    template <class V>
    void bind(V&& value) {
        using D = std::decay_t<V>;
        if constexpr (is_deferred<D, Value>) {
            deferred_.reset(new DeferredCall<Value, D>(
                std::in_place, not_null(std::forward<V>(value), "a deferred argument")));
            value_.reset();
        } else {
            set(std::forward<V>(value));
        }
    }
    // As a value, whatever it is.
    template <class V>
    void set(V&& value) {
        value_.emplace(std::forward<V>(value));
        deferred_.reset();
    }
    [[nodiscard]] bool bound() const noexcept { return value_.has_value() || deferred_ != nullptr; }
    [[nodiscard]] bool deferred() const noexcept { return deferred_ != nullptr; }
    [[nodiscard]] Task<> evaluate() { return deferred_->evaluate(); }

    P get(NodeCore& node, std::uint32_t index) {
        if (const InEdge* edge = node.find_edge(index); edge != nullptr) {
            auto& forward = static_cast<ForwardTo<Value>&>(*edge->forward);
            if constexpr (MayBeEmpty<Value>::value) {
                if (!is_taken(*edge)) return nothing();
            }
            if constexpr (by_reference) {
                return forward.view(*edge->parent);
            } else {
                return forward.get(*edge->parent);
            }
        }
        std::optional<Value>& from = deferred_ != nullptr ? deferred_->value : value_;
        if constexpr (by_reference) {
            return *from;
        } else if constexpr (std::is_copy_constructible_v<Value>) {
            return *from;
        } else {
            Value spent = std::move(*from);
            from.reset();
            if (deferred_ == nullptr) node.graph->planned_by = 0;
            return spent;
        }
    }
    // After the node has settled.
    void release() noexcept {
        if (deferred_ != nullptr) deferred_->value.reset();
    }

private:
    // What an edge gives that was not taken.
    static P nothing() noexcept {
        if constexpr (by_reference) {
            static const Value empty{};
            return empty;
        } else {
            return Value{};
        }
    }

    std::optional<Value> value_;
    Owned<Deferred<Value>> deferred_;
};

template <class P>
class Slot<P, true> {
public:
    using Parameter = P;
    using Value = typename ParamTraits<P>::Value;
    using Element = typename ListElement<Value>::type;
    static constexpr bool by_reference = false;  // each edge gives an element of its own
    static constexpr bool list = true;

    // A list that was filled with no node is empty, one that nobody filled is missing.
    void bind_empty() noexcept { bound_ = true; }
    [[nodiscard]] bool bound() const noexcept { return bound_; }
    [[nodiscard]] static bool deferred() noexcept { return false; }
    [[nodiscard]] static Task<> evaluate() { return {}; }

    P get(NodeCore& node, std::uint32_t index) {
        if constexpr (std::is_reference_v<P>) {
            kept_.clear();
            fill(kept_, node, index);
            return kept_;
        } else {
            Value values;
            fill(values, node, index);
            return values;
        }
    }
    // Its memory stays for the next run.
    void release() noexcept { kept_.clear(); }

private:
    static void fill(Value& values, const NodeCore& node, std::uint32_t index) {
        values.reserve(node.in.size());
        for (std::uint32_t i = 0; i < node.in.size(); ++i) {
            const InEdge edge = node.in[i];
            if (edge.forward == nullptr || edge.param != index) continue;
            if (!is_taken(edge) && edge.forward->pipe() == nullptr) continue;
            values.push_back(static_cast<ForwardTo<Element>&>(*edge.forward).get(*edge.parent));
        }
    }
    struct Nothing {
        void clear() noexcept {}
    };
    [[no_unique_address]] std::conditional_t<std::is_reference_v<P>, Value, Nothing> kept_;
    bool bound_ = false;
};

// The bound object of a member-function pointer.
template <class V>
class Slot<BoundObject<V>, false> {
public:
    using Parameter = const V&;
    using Value = V;
    using Element = V;
    static constexpr bool by_reference = true;
    static constexpr bool list = false;

    template <class U>
    void set(U&& value) {
        value_.emplace(std::forward<U>(value));
    }
    [[nodiscard]] bool bound() const noexcept { return value_.has_value(); }
    [[nodiscard]] static bool deferred() noexcept { return false; }
    [[nodiscard]] static Task<> evaluate() { return {}; }
    V& get(NodeCore&, std::uint32_t) { return *value_; }
    void release() noexcept {}

private:
    std::optional<V> value_;
};

// The forward of an output, or of chunks, of which only the type id is known: the types must be the
// same.
template <class E, bool ByReference>
[[nodiscard]] Forward* make_erased_forward(TypeId type) {
    if constexpr (PipeTraits<E>::is_pipe) {
        using Item = typename PipeTraits<E>::Item;
        return type == type_id<Item>() ? new Pipe<Item, E>(NoMap()) : nullptr;
    } else {
        if (type == type_id<E>()) return make_forward<E, E, ByReference>();
        if constexpr (MayBeEmpty<E>::value) {
            using X = typename MayBeEmpty<E>::type;
            if (type == type_id<X>()) return make_forward<X, E, ByReference>();
        }
        return nullptr;
    }
}

template <class S>
class SlotActionsOf final : public SlotActions {
    using Value = typename S::Value;
    using Element = typename S::Element;

public:
    [[nodiscard]] bool bound(const void* slot) const noexcept override {
        return static_cast<const S*>(slot)->bound();
    }
    [[nodiscard]] bool deferred(const void* slot) const noexcept override {
        return static_cast<const S*>(slot)->deferred();
    }
    Task<> evaluate(void* slot) const override { return static_cast<S*>(slot)->evaluate(); }
    void release(void* slot) const noexcept override { static_cast<S*>(slot)->release(); }
    [[nodiscard]] Forward* erased_forward(TypeId type) const override {
        return make_erased_forward<Element, S::by_reference>(type);
    }
    [[nodiscard]] Forward* guarded_forward(Forward* forward,
                                           Owned<EdgePredicate> predicate) const override {
        return new Guarded<Element>(forward, std::move(predicate));
    }
    bool bind(void* slot, TypeId type, void* value) const override {
        if constexpr (!S::list && std::is_move_constructible_v<Value>) {
            if (type != type_id<Value>()) return false;
            static_cast<S*>(slot)->set(std::move(*static_cast<Value*>(value)));
            return true;
        } else {
            return false;
        }
    }
};
template <class S>
inline constexpr SlotActionsOf<S> slot_actions{};

}  // namespace grafo::detail
