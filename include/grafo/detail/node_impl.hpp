#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <grafo/detail/build.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/detail/self_hold.hpp>
#include <grafo/detail/slot.hpp>
#include <grafo/node_context.hpp>

namespace grafo::detail {

template <class Slots>
struct ParamTable;
template <class... P>
struct ParamTable<TypeList<P...>> {
    template <class Slot>
    static constexpr ParamInfo info(std::string_view name) noexcept {
        using E = typename Slot::Element;
        using Pipe = PipeTraits<E>;
        constexpr bool spent =
            !std::is_copy_constructible_v<E> && (Slot::list || !Slot::by_reference);
        if constexpr (Pipe::is_pipe) {
            return {name, type_id<typename Pipe::Item>(), Slot::list, true, false, spent};
        } else {
            return {name, type_id<E>(), Slot::list, false, MayBeEmpty<E>::value, spent};
        }
    }
    static constexpr ParamInfo infos[sizeof...(P) + 1] = {
        info<SlotOf<P>>(P::name())..., ParamInfo{{}, nullptr, false, false, false, false}};
};

// A node of one kind (see NodeKind): callable, arguments and output in one allocation.
template <class B>
class NodeImpl final : public TypedCore<typename B::Output> {
    using Callable = typename B::Callable;
    using Output = typename B::Output;
    using Chunk = typename B::Chunk;
    using Return = typename B::Return;
    static constexpr BodyKind kind = B::kind;

    template <class Params>
    struct SlotTuple;
    template <class... P>
    struct SlotTuple<TypeList<P...>> {
        using type = std::tuple<SlotOf<P>...>;
        using Indices = std::index_sequence_for<P...>;
    };
    using Slots = typename SlotTuple<typename B::Params>::type;
    using Indices = typename SlotTuple<typename B::Params>::Indices;

    // Collected chunks are the output of a generator without a result.
    static constexpr bool collects =
        kind == BodyKind::generator && B::result_is_chunks && !std::is_void_v<Output>;

public:
    template <class F>
    explicit NodeImpl(std::in_place_t, F&& callable) : callable_(std::forward<F>(callable)) {
        this->takes_arguments = B::Params::size > 0;
        this->keeps_arguments = keeps_lists(std::type_identity<Slots>());
    }
    ~NodeImpl() override { NodeImpl::destroy_body(); }

#ifndef NDEBUG
    static void* operator new(std::size_t size) {
        void* memory = ::operator new(size);
        Captures& captures = Captures::current();
        captures.begin = static_cast<std::byte*>(memory);
        captures.end = captures.begin + size;
        return memory;
    }
    static void operator delete(void* memory, std::size_t) noexcept { ::operator delete(memory); }
    static void* operator new(std::size_t size, std::align_val_t alignment) {
        return ::operator new(size, alignment);
    }
    static void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
        ::operator delete(memory, alignment);
    }
#endif

    template <std::size_t I>
    auto& slot() noexcept {
        return std::get<I>(slots_);
    }

    std::coroutine_handle<> call(PromiseBase::Done done, void* target) override {
        if constexpr (kind == BodyKind::plain) {
            call_plain();
            return {};
        } else {
            body_ = make_body();
            body_.promise().tell_end(done, target);
            return body_;
        }
    }

    [[nodiscard]] NodeCore::Stretch run_plainly(LoopCore& core) override {
        if constexpr (kind == BodyKind::plain) {
            call_plain();
        } else {
            const Body body = make_body();
            core.resume(body);  // nobody is told of an end that is seen here
            // A value alone is no end: a destructor after the co_return may throw, and be caught.
            if (!body.done()) [[unlikely]] {
                body_ = body;
                body.promise().tell_end(&on_end, static_cast<NodeCore*>(this));
                return NodeCore::Stretch::waits;
            }
            if (!body.promise().result.has_value()) [[unlikely]] {
                body_ = body;
                return NodeCore::Stretch::threw;
            }
            keep_result(body);
        }
        if constexpr (keeps_lists(std::type_identity<Slots>())) release_lists(Indices());
        return NodeCore::Stretch::ended;
    }

    [[nodiscard]] std::exception_ptr take_result() override {
        if constexpr (kind != BodyKind::plain) {
            const Body body = std::exchange(body_, nullptr);
            if (!body.promise().result.has_value()) {
                const OwnedFrame frame(body);
                return body.promise().result.error();
            }
            keep_result(body);
        }
        return nullptr;
    }

    [[nodiscard]] std::coroutine_handle<> coroutine() const noexcept override {
        if constexpr (kind == BodyKind::plain) {
            return {};
        } else {
            return body_;
        }
    }

    void destroy_body() noexcept override {
        if constexpr (kind != BodyKind::plain) {
            if (body_) std::exchange(body_, nullptr).destroy();
        }
    }

    [[nodiscard]] const NodeType& type() const noexcept override { return node_type; }

    [[nodiscard]] AnySlot any_slot(std::uint32_t param) noexcept override {
        return any_slot(param, Indices());
    }

    void collect_chunk(void* item) override {
        if constexpr (collects) {
            if (this->has_output) this->stored().push_back(*static_cast<const Chunk*>(item));
        } else {
            static_cast<void>(item);
        }
    }

    [[nodiscard]] ChunkCopy* copy_chunk(void* item) const override {
        if constexpr (std::is_copy_constructible_v<Chunk>) {
            return new ChunkCopyOf<Chunk>(*static_cast<const Chunk*>(item));
        } else {
            static_cast<void>(item);
            return nullptr;
        }
    }

    void dispose() noexcept override { delete this; }

    static constexpr NodeType node_type{
        type_id<Output>(),   type_id<Chunk>(), ParamTable<typename B::Params>::infos,
        B::Params::size,     collects,         std::is_copy_constructible_v<Chunk>,
        yields_const<Return>};

private:
    struct NoContext {
        explicit NoContext(NodeCore&) noexcept {}
    };
    struct NoBody {};
    template <class R, BodyKind K>
    struct BodyOf {
        using type = std::coroutine_handle<typename R::promise_type>;
    };
    template <class R>
    struct BodyOf<R, BodyKind::plain> {
        using type = NoBody;
    };
    template <class R>
    struct BodyOf<R, BodyKind::foreign> {
        using type = std::coroutine_handle<TaskPromise<Output>>;
    };
    using Body = typename BodyOf<Return, kind>::type;

    template <std::size_t... I>
    Return invoke(std::index_sequence<I...>) {
        if constexpr (B::has_context) {
            return callable_(context_,
                             std::get<I>(slots_).get(*this, static_cast<std::uint32_t>(I))...);
        } else if constexpr (std::is_member_function_pointer_v<Callable>) {
            return call_member(callable_,
                               std::get<I>(slots_).get(*this, static_cast<std::uint32_t>(I))...);
        } else {
            return callable_(std::get<I>(slots_).get(*this, static_cast<std::uint32_t>(I))...);
        }
    }

    void call_plain() {
        if constexpr (std::is_void_v<Output>) {
            invoke(Indices());
            this->set_output();
        } else {
            this->set_output_from([this]() -> Return { return invoke(Indices()); });
        }
    }

    // The coroutine, not yet begun.
    Body make_body() {
        Body body;
        if constexpr (kind == BodyKind::foreign) {
            body = body_handle(adapt(*this));
        } else {
            body = body_handle(invoke(Indices()));
        }
        if (!body) throw Error("the callable gave an empty coroutine");
        body.promise().context = this;
        if constexpr (kind == BodyKind::generator) {
            body.promise().yielded = &on_chunk;
            body.promise().yield_target = static_cast<NodeCore*>(this);
            if constexpr (collects) {
                if (this->extras == nullptr || this->extras->collect) this->set_output();
            }
        }
        return body;
    }

    // Of a coroutine that has ended in one, which goes.
    void keep_result(Body body) {
        const OwnedFrame frame(body);
        if constexpr (std::is_void_v<Output>) {
            this->set_output();
        } else if constexpr (!collects) {
            this->set_output(std::move(body.promise().result.value()));
        }
    }

    static Task<Output> adapt(NodeImpl& self) { co_return co_await self.invoke(Indices()); }

    // The frame, which is the node's from then on.
    template <class Coroutine>
    static auto body_handle(Coroutine&& body) noexcept {
        if constexpr (kind == BodyKind::generator) {
            return GeneratorAccess::release(std::move(body));
        } else {
            return TaskAccess::release(std::move(body));
        }
    }
    template <class... S>
    static constexpr bool keeps_lists(std::type_identity<std::tuple<S...>>) noexcept {
        return ((S::list && std::is_reference_v<typename S::Parameter>) || ...);
    }

    template <std::size_t... I>
    AnySlot any_slot(std::uint32_t param, std::index_sequence<I...>) noexcept {
        AnySlot found{nullptr, nullptr};
        ((param == I ? static_cast<void>(found = any_slot_of(std::get<I>(slots_)))
                     : static_cast<void>(0)),
         ...);
        return found;
    }
    template <class S>
    static AnySlot any_slot_of(S& slot) noexcept {
        return AnySlot{&slot, &slot_actions<S>};
    }
    template <std::size_t... I>
    void release_lists(std::index_sequence<I...>) noexcept {
        (std::get<I>(slots_).release(), ...);
    }

    [[no_unique_address]] Callable callable_;
    [[no_unique_address]] std::conditional_t<B::has_context, NodeContext, NoContext> context_{
        *this};
    [[no_unique_address]] Slots slots_;
    [[no_unique_address]] Body body_{};
};

}  // namespace grafo::detail
