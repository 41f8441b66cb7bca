#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <grafo/detail/owned.hpp>
#include <grafo/detail/run.hpp>

// Chunks and their readers, and those who look on.
namespace grafo::detail {

[[gnu::always_inline]] inline Event Run::take_event() {
    const EventRecord record = events_.take();
    Event event(record.kind, *record.node, record.attempt);
    if (record.kind == EventKind::chunk) {
        held_by_ = record.node;
        held_ = record.chunk();
        event.set_chunk(held_.item);
    } else if (record.has_error()) {
        const Owned<ToldError> told(record.told);
        event.set_error(std::move(told->error), told->delay);
    }
    return event;
}

inline bool Run::ends_here(NodeCore& node) noexcept {
    if (!dropped_ && !frozen_) return false;
    push_finished(node);
    schedule();
    return true;
}

inline bool Run::yielded(NodeCore& node, void* item) {
    if (ends_here(node)) return true;
    node.collect_chunk(item);
    if (ends_here(node)) return true;  // the copy's constructor is the user's code
    if (Stream* stream = node.stream(); stream != nullptr) return give(node, *stream, item);
    if (options_.streaming) {
        EventRecord record(EventKind::chunk, node);
        record.item = item;
        events_.push(record);
        park(node);
        return true;
    }
    return let_turn(node);
}

inline void Run::drop_events() noexcept {
    while (!events_.empty()) {
        const EventRecord record = events_.take();
        record.drop();
        if (record.kind == EventKind::chunk) moved_on(*record.node, record.chunk());
    }
}

inline void Run::open_stream(NodeCore& node) {
    Stream& stream = node.need_stream();
    stream.ends.clear();
    stream.readers = 0;
    streaming_.push_back(&node);
    for (const OutEdge& edge : node.out) {
        PipeEnd* end = edge.pipe();
        if (end == nullptr) continue;
        NodeCore& child = edge.child();
        end->open(node, child, touch(child) && !is_settled(child));
        stream.ends.push_back(end);
    }
    stream.open = true;
    // A reader starts beside its producer, once its other edges are settled.
    for (std::uint32_t i = 0; i < node.out.size(); ++i) {
        const OutEdge edge = node.out[i];
        if (edge.pipe() == nullptr) continue;
        NodeCore& child = edge.child();
        if (touch(child) && !is_settled(child)) count_down(child);
    }
}

[[gnu::noinline]] inline bool Run::give(NodeCore& node, Stream& stream, void* item) {
    bool read = options_.streaming;
    for (PipeEnd* end : stream.ends) read = read || end->reads();
    if (!read) return let_turn(node);
    Owned<ChunkCopy> copy;
    if (stream.buffer > 0) copy.reset(node.copy_chunk(item));
    if (ends_here(node)) return true;
    std::uint32_t readers = options_.streaming ? 1 : 0;  // the copy's constructor may cut some off
    for (PipeEnd* end : stream.ends) {
        if (!end->reads()) continue;
        ++readers;
        end->reserve_one();
    }
    if (readers == 0) return let_turn(node);
    const HeldChunk chunk{copy != nullptr ? copy->item() : item, copy.get()};
    if (options_.streaming) {
        EventRecord record(EventKind::chunk, node);
        record.copied = copy != nullptr;
        record.copied ? static_cast<void>(record.copy = copy.get())
                      : static_cast<void>(record.item = item);
        events_.push(record);  // nothing throws from here on
    }
    if (copy != nullptr) {
        copy->producer = &node;
        copy->readers = readers;
        copy->sharers = readers;
        ++stream.copies;
        static_cast<void>(copy.release());  // owned by its readers
    } else {
        stream.readers = readers;
        stream.sharers = readers;
    }
    for (PipeEnd* end : stream.ends) {
        if (end->reads()) end->give(chunk);
    }
    schedule();
    if (chunk.copy != nullptr && stream.copies <= stream.buffer) return let_turn(node);
    park(node);
    return true;
}

inline void Run::moved_on(NodeCore& node, const HeldChunk& chunk) noexcept {
    if (Stream* const stream = node.stream(); stream != nullptr) {
        if (!last_moved_on(node, *stream, chunk)) return;
    }
    if (!dropped_ && !frozen_) unpark(node);
}

// True if that was the last reader.
[[gnu::noinline]] inline bool Run::last_moved_on(const NodeCore& node, Stream& stream,
                                                 const HeldChunk& chunk) const noexcept {
    if (!chunk.own) --(chunk.copy != nullptr ? chunk.copy->sharers : stream.sharers);
    if (chunk.copy == nullptr) return stream.readers == 0 || --stream.readers == 0;
    if (--chunk.copy->readers > 0) return false;
    delete chunk.copy;
    if (node.stamp != stamp_) return false;  // the reader of the events outlives the run
    if (--stream.copies > stream.buffer) return false;
    return node.phase == Phase::parked && !node.queued;
}

template <class>
inline void moved_on(NodeCore& producer, const HeldChunk& chunk) noexcept {
    static_cast<Run&>(*producer.run).moved_on(producer, chunk);
}

// Names the first cause, as Run::skip_blocked does.
inline std::string skip_of_producer(const NodeCore& producer, std::size_t& cause) {
    std::string why = "its producer " + in_quotes(producer.id) + " was skipped";
    const Extras& extras = *producer.extras;
    if (!extras.skip_reason.empty()) {
        why += ": ";
        cause = why.size();
        why.append(extras.skip_reason, extras.skip_cause);
    }
    return why;
}

template <class>
void check_producer(NodeCore& producer) {
    std::size_t cause = 0;
    switch (producer.state) {
        case NodeState::failed: throw make_node_error(producer);
        case NodeState::cancelled: throw Cancelled();
        case NodeState::skipped: throw Skip(skip_of_producer(producer, cause));
        default: break;
    }
}

inline void Run::observe(NodeCore& node, NodeState before, const NodeError* error) {
    if (error == nullptr && node.state == NodeState::failed) error = &report_->errors->list.back();
    unsigned attempt = node.attempts();
    if (node.state == NodeState::running) {  // the one that begins
        attempt = (node.extras != nullptr ? node.extras->attempts : 0) + 1;
    }
    const Transition transition(node, before, node.state, boundary(), attempt, error);
    for_each_observer([&](Observer& observer) { observer.transition(transition); });
}

inline void Run::tell_error(EventKind kind, NodeCore& node, Owned<NodeError> error,
                            std::chrono::nanoseconds delay) {
    Owned<ToldError> told(new ToldError{std::move(error), delay});
    EventRecord record(kind, node);
    record.told = told.get();
    events_.push(record);
    static_cast<void>(told.release());  // owned by the record
}

inline void Run::retrying(NodeCore& node, const std::exception_ptr& error,
                          std::chrono::nanoseconds delay) {
    if (dropped_ || frozen_) return;
    node.state = NodeState::ready;
    if (!options_.streaming && !observed_) return;
    boundary_known_ = false;
    node.need_extras().error = without_handle(error);
    Owned<NodeError> told(new NodeError(make_node_error(node)));
    node.extras->error = nullptr;
    if (observed_) observe(node, NodeState::running, told.get());
    if (options_.streaming) {
        tell_error(EventKind::retrying, node, std::move(told), delay);
        schedule();
    }
}

inline void Run::trying_again(NodeCore& node) {
    boundary_known_ = false;
    set_state(node, NodeState::running);
}

}  // namespace grafo::detail
