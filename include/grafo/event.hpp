#pragma once
#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <grafo/detail/owned.hpp>
#include <grafo/node.hpp>

namespace grafo {

/// What an `Event` tells.
enum class EventKind : unsigned char {
    started,    ///< the node's body is about to be called
    chunk,      ///< the generator yielded
    completed,  ///< the output is there
    failed,     ///< the node ended with an error
    retrying,   ///< an attempt failed and another will follow
    skipped,    ///< the node will not run, or ended itself by `skip`
    cancelled,  ///< the node was stopped, or not started because of a stop
};

/// One item that a generator node yielded: refers into the suspended generator, so it is valid as
/// long as the event is.
template <class Y>
struct Chunk {
    Chunk(std::string_view id, const Y& item, unsigned attempt_number) noexcept
        : node(id), output(item), attempt(attempt_number) {}
    std::string_view node;  ///< the id of the node
    const Y& output;        ///< what it yielded
    unsigned attempt;       ///< in which try of its body, from 1: see `Node::retry`
};

namespace detail {
// The chunk type of a deduced node type; void where it has none or is not known.
template <class N>
struct ChunkOf {
    using type = void;
    static constexpr bool known = false;
};
template <class T, class Chunk, class... P>
struct ChunkOf<Node<T, Known<Chunk, P...>>> {
    using type = Chunk;
    static constexpr bool known = true;
};
}  // namespace detail

/// Something that happened in a run. Move-only; valid until the next `next()` of its stream.
class Event {
public:
    Event(Event&&) noexcept = default;
    Event& operator=(Event&&) noexcept = default;

    [[nodiscard]] EventKind kind() const noexcept { return kind_; }
    /// The node it happened to.
    [[nodiscard]] AnyNode node() const { return AnyNode(*core_); }

    /// The chunk, if this is a chunk of `node`; else empty. The node's type is a deduced one, which
    /// knows what it yields.
    template <class N>
        requires detail::NodeHandle<N>
    [[nodiscard]] auto chunk(const N& node) const {
        using Traits = detail::ChunkOf<N>;
        using Y = typename Traits::type;
        static_assert(Traits::known,
                      "grafo: chunk(node) needs the type that Node{…} deduced; of a Node<T> or an "
                      "AnyNode ask for chunk<Y>(node)");
        static_assert(!Traits::known || !std::is_void_v<Y>,
                      "grafo: this node yields no chunks: its callable is not an AsyncGenerator");
        if constexpr (!std::is_void_v<Y>) return chunk<Y>(node);
    }
    /// The chunk, if this is one and its node yields `Y`s; else empty.
    template <class Y>
    [[nodiscard]] std::optional<Chunk<Y>> chunk() const {
        if (kind_ != EventKind::chunk || core_->type().chunk != detail::type_id<Y>()) return {};
        return std::optional<Chunk<Y>>(std::in_place, core_->id, *static_cast<const Y*>(item_),
                                       attempt());
    }
    /// The same, of one node.
    template <class Y>
    [[nodiscard]] std::optional<Chunk<Y>> chunk(const AnyNode& node) const {
        if (node.core() != core_) return {};
        return chunk<Y>();
    }

    /// True if this tells that `node` completed: its `output()` is there.
    [[nodiscard]] bool completed(const AnyNode& node) const noexcept {
        return kind_ == EventKind::completed && node.core() == core_;
    }
    /// The failure if this tells of one, of the node or (`retrying`) of an attempt; else null.
    /// Valid as long as the event.
    [[nodiscard]] const NodeError* error() const noexcept { return error_.get(); }
    /// Which try of the body it is about, from 1; of a failure the last one, 0 if there was none.
    [[nodiscard]] unsigned attempt() const noexcept { return attempt_; }
    /// `retrying`: how long the node waits before its next attempt; else zero.
    [[nodiscard]] std::chrono::nanoseconds delay() const noexcept { return delay_; }

    // Made by the run.
    Event(EventKind kind, detail::NodeCore& core, unsigned attempt) noexcept
        : kind_(kind), attempt_(attempt), core_(&core) {}
    void set_chunk(void* item) noexcept { item_ = item; }
    void set_error(detail::Owned<NodeError> error,
                   std::chrono::nanoseconds delay = std::chrono::nanoseconds(0)) noexcept {
        error_ = std::move(error);
        delay_ = delay;
    }

private:
    EventKind kind_;
    unsigned attempt_;
    detail::NodeCore* core_;
    void* item_ = nullptr;
    std::chrono::nanoseconds delay_{};
    detail::Owned<NodeError> error_;
};

}  // namespace grafo
