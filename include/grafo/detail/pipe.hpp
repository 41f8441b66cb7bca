#pragma once
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include <grafo/async_generator.hpp>
#include <grafo/detail/chunk_copy.hpp>
#include <grafo/detail/context.hpp>
#include <grafo/detail/extras.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/forward.hpp>
#include <grafo/detail/slots.hpp>
#include <grafo/detail/when_used.hpp>

// A pipe: an edge that carries the chunks of a producer to a reader while both run. The reader's
// argument is a generator of ours, which waits in a *pipe end* for chunks; the producer goes on
// when the last of a chunk's readers, the consumer of the run's events among them, has moved on.
namespace grafo::detail {

// A reader has moved on from a chunk of the producer; see run_streams.hpp.
template <class = WhenUsed>
void moved_on(NodeCore& producer, const HeldChunk& chunk) noexcept;
// Why a reader is skipped whose producer was; `cause` is where the first cause begins.
[[nodiscard]] std::string skip_of_producer(const NodeCore& producer, std::size_t& cause);
// Throws what the end of the producer means to a reader; nothing where it completed.
template <class = WhenUsed>
void check_producer(NodeCore& producer);

// The reader has made a copy of its own.
inline void has_own(const NodeCore& producer, HeldChunk& chunk) noexcept {
    --(chunk.copy != nullptr ? chunk.copy->sharers : producer.stream()->sharers);
    chunk.own = true;
}
// Is the chunk not the reader's to change: do others look at it still?
[[nodiscard]] inline bool is_shared(const NodeCore& producer, const HeldChunk& chunk) noexcept {
    if (chunk.copy != nullptr) return chunk.copy->sharers > 1;
    return producer.stream()->sharers > 1 || producer.type().const_chunks;
}

// Waits for a chunk, or for the end, in the place that its pipe end has for it.
class PipeAwaiter : Waiter {
public:
    explicit PipeAwaiter(PipeAwaiter*& place) noexcept
        : Waiter(&PipeAwaiter::on_ask), place_(place) {}
    PipeAwaiter(const PipeAwaiter&) = delete;
    PipeAwaiter& operator=(const PipeAwaiter&) = delete;
    ~PipeAwaiter() {
        if (waits_) place_ = nullptr;
    }
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> coroutine) noexcept {
        switch (begin(coroutine)) {
            case Begin::cancelled: return false;
            case Begin::dropped: return true;
            case Begin::wait: break;
        }
        place_ = this;
        waits_ = true;
        return true;
    }
    void await_resume() const { check(); }
    // The place may be gone from here on.
    void wake() noexcept {
        place_ = nullptr;
        waits_ = false;
        LoopCore::current->make_ready(*this);
    }

private:
    static bool on_ask(Waiter& waiter, Ask ask) {
        auto& self = static_cast<PipeAwaiter&>(waiter);
        if (ask != Ask::cancel || !self.waits_) return false;
        self.gave_up = true;
        self.wake();
        return true;
    }
    PipeAwaiter*& place_;
    bool waits_ = false;
};

// What is awaited; the awaiter itself is neither copied nor moved.
class AwaitPipe {
public:
    explicit AwaitPipe(PipeAwaiter*& place) noexcept : place_(place) {}
    PipeAwaiter operator co_await() const noexcept { return PipeAwaiter(place_); }
    using grafo_awaitable = void;

private:
    PipeAwaiter*& place_;
};

class PipeCursor;

// The reader's side, in the edge.
class PipeEnd {
public:
    PipeEnd() noexcept = default;
    PipeEnd(const PipeEnd&) = delete;
    PipeEnd& operator=(const PipeEnd&) = delete;
    ~PipeEnd() { cut_off(); }

    // The producer begins; `reads`: the reader has not settled before that.
    void open(NodeCore& producer, NodeCore& reader, bool reads) noexcept {
        producer_ = &producer;
        reader_ = &reader;
        reads_ = reads;
        over_ = false;
    }
    // A chunk given now would be read.
    [[nodiscard]] bool reads() const noexcept { return reads_; }
    // Makes room, so that the next give() does not throw.
    void reserve_one() {
        if (first_ > 0 && first_ == queue_.size()) {
            queue_.clear();
            first_ = 0;
        }
        if (queue_.size() == queue_.capacity()) {
            queue_.erase_front(first_);
            first_ = 0;
            queue_.reserve(queue_.size() * 2 + 1);
        }
    }
    void give(const HeldChunk& chunk) noexcept {
        queue_.push_back(chunk);
        wake();
    }
    // The producer has settled.
    void finish() noexcept {
        over_ = true;
        wake();
    }
    // The reader has settled, or has let go of its generator.
    void leave() noexcept;
    // The run was dropped, and the reader will be when it is not busy: what it looks at stays.
    void drop() noexcept {
        reads_ = false;
        over_ = false;
        forget_queue();
    }
    [[nodiscard]] NodeCore& reader() const noexcept { return *reader_; }
    [[nodiscard]] bool holds_chunk() const noexcept { return held_.item != nullptr; }

private:
    friend class PipeCursor;

    void cut_off() noexcept;
    void forget_queue() noexcept {
        while (has_chunk()) moved_on(*producer_, queue_[first_++]);
        queue_.clear();
        first_ = 0;
    }
    [[nodiscard]] bool has_chunk() const noexcept { return first_ < queue_.size(); }
    void wake() noexcept {
        if (waiter_ != nullptr) waiter_->wake();
    }
    void release() noexcept {
        if (held_.item != nullptr) moved_on(*producer_, std::exchange(held_, HeldChunk()));
    }

    NodeCore* producer_ = nullptr;
    NodeCore* reader_ = nullptr;
    FlatList<HeldChunk> queue_;
    std::size_t first_ = 0;
    HeldChunk held_;  // which the reader looks at
    PipeAwaiter* waiter_ = nullptr;
    PipeCursor* cursor_ = nullptr;
    bool reads_ = false;
    bool over_ = false;
};

// What the reader's generator holds of its pipe end: each knows when the other is gone.
class PipeCursor {
public:
    explicit PipeCursor(PipeEnd& end) noexcept : end_(&end) { end.cursor_ = this; }
    // Not while somebody waits.
    PipeCursor(PipeCursor&& other) noexcept : end_(std::exchange(other.end_, nullptr)) {
        if (end_ != nullptr) end_->cursor_ = this;
    }
    PipeCursor& operator=(PipeCursor&&) = delete;
    ~PipeCursor() {
        if (end_ != nullptr) end_->leave();
    }

    [[nodiscard]] bool must_wait() const noexcept {
        return end_ != nullptr && !end_->has_chunk() && !end_->over_;
    }
    [[nodiscard]] AwaitPipe wait() const noexcept { return AwaitPipe(end_->waiter_); }
    [[nodiscard]] NodeCore& reader() const noexcept { return *end_->reader_; }
    void waits_without(SlotRelease* slot) noexcept { slot_ = slot; }
    // The next chunk; null at the end. Throws what the producer's end means.
    void* take() {
        if (end_ == nullptr) return nullptr;
        if (!end_->has_chunk()) {
            check_producer(*end_->producer_);
            return nullptr;
        }
        end_->held_ = end_->queue_[end_->first_++];
        return end_->held_.item;
    }
    [[nodiscard]] bool shared() const noexcept { return is_shared(*end_->producer_, end_->held_); }
    void has_own() noexcept { detail::has_own(*end_->producer_, end_->held_); }
    void release() noexcept {
        if (end_ != nullptr) end_->release();
    }

private:
    friend class PipeEnd;
    PipeEnd* end_;
    SlotRelease* slot_ = nullptr;
};

// Without a place under max_concurrency while it waits for a chunk.
class PipeSlot : public SlotRelease {
public:
    explicit PipeSlot(PipeCursor& cursor) : SlotRelease(cursor.reader()), cursor_(cursor) {
        cursor.waits_without(this);
    }
    ~PipeSlot() { cursor_.waits_without(nullptr); }

private:
    PipeCursor& cursor_;
};

inline void PipeEnd::cut_off() noexcept {
    if (cursor_ != nullptr) {
        PipeCursor& cursor = *std::exchange(cursor_, nullptr);
        cursor.end_ = nullptr;
        if (cursor.slot_ != nullptr) cursor.slot_->forget();
    }
    wake();
}

inline void PipeEnd::leave() noexcept {
    cut_off();
    reads_ = false;
    release();
    forget_queue();
}

// A parameter that reads chunks.
template <class E>
struct PipeTraits {
    static constexpr bool is_pipe = false;
    static constexpr bool may_change = false;
    using Item = void;
};
template <class Y>
struct PipeTraits<AsyncGenerator<Y, void>> {
    static constexpr bool is_pipe = true;
    static constexpr bool may_change = !std::is_const_v<std::remove_reference_t<Y>>;
    using Item = std::remove_cvref_t<Y>;
};

struct NoMap {};

// Chunks of type C, as they are or mapped, for a parameter that reads Ys.
template <class C, class E, class F = NoMap>
class Pipe final : public ForwardTo<E>, public PipeEnd {
public:
    explicit Pipe(F map) : map_(std::move(map)) { this->owned_ = true; }
    [[nodiscard]] PipeEnd* pipe() noexcept override { return this; }
    void reset() noexcept override { this->leave(); }
    E get(NodeCore&) override { return read(PipeCursor(*this), *this); }
    const E& view(NodeCore&) override { no_such_access(); }

private:
    // The generator that the reader gets. A chunk is the producer's own, which the last of its
    // readers may move from; those before that may change it get copies, where there can be any.
    static E read(PipeCursor given, Pipe& self) {
        using Y = typename PipeTraits<E>::Item;
        PipeCursor cursor(std::move(given));  // goes with the body, before the frame does
        for (;;) {
            if (cursor.must_wait()) {
                PipeSlot slot(cursor);
                co_await cursor.wait();
                co_await slot.take_back();
            }
            void* item = cursor.take();
            if (item == nullptr) co_return;
            C& chunk = *static_cast<C*>(item);
            if constexpr (!std::is_same_v<F, NoMap>) {
                if constexpr (AwaitableResult<std::invoke_result_t<F&, const C&>>) {
                    Y made(co_await call_with_value<F, C>(self.map_, chunk));
                    co_yield made;
                } else {
                    Y made(call_with_value<F, C>(self.map_, chunk));
                    co_yield made;
                }
            } else if constexpr (!std::is_same_v<C, Y>) {
                static_cast<void>(self);
                Y made(static_cast<const C&>(chunk));
                co_yield made;
            } else {
                static_cast<void>(self);
                bool copied = false;
                if constexpr (std::is_copy_constructible_v<Y> && PipeTraits<E>::may_change) {
                    copied = cursor.shared();
                    if (copied) {
                        Y copy(static_cast<const C&>(chunk));
                        cursor.has_own();
                        co_yield copy;
                    }
                }
                if (!copied) co_yield chunk;
            }
            cursor.release();
        }
    }

    F map_;
};

template <class C, class Y>
inline constexpr bool pipeable = std::is_same_v<C, Y> || std::is_convertible_v<const C&, Y>;

}  // namespace grafo::detail
