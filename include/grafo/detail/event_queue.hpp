#pragma once
#include <chrono>
#include <cstddef>
#include <utility>

#include <grafo/detail/chunk_copy.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/owned.hpp>
#include <grafo/event.hpp>

namespace grafo::detail {

// What the events `failed` and `retrying` tell. Owned by the event: a node that runs again in a
// loop takes its error off the report's list.
struct ToldError {
    Owned<NodeError> error;
    std::chrono::nanoseconds delay;
};

// An event that the reader has still to see; three words, because there are two for each node.
struct EventRecord {
    EventKind kind;
    bool copied = false;  // of a chunk: it lies in a ChunkCopy
    unsigned attempt;     // of the node, when it happened
    NodeCore* node;
    union {
        void* item;       // of a chunk in its producer's frame
        ChunkCopy* copy;  // of a chunk that was copied
        ToldError* told;  // owned by the record
    };

    EventRecord(EventKind what, NodeCore& which) noexcept
        : kind(what),
          attempt(what == EventKind::started ? 1 : which.attempts()),
          node(&which),
          item(nullptr) {}
    [[nodiscard]] bool has_error() const noexcept {
        return kind == EventKind::failed || kind == EventKind::retrying;
    }
    // Destroys what the record owns, where no reader will.
    void drop() const noexcept {
        if (has_error()) delete told;
    }
    [[nodiscard]] HeldChunk chunk() const noexcept {
        return copied ? HeldChunk{copy->item(), copy} : HeldChunk{item, nullptr};
    }
};

class EventQueue {
public:
    EventQueue() = default;
    EventQueue(const EventQueue&) = delete;
    EventQueue& operator=(const EventQueue&) = delete;
    ~EventQueue() {
        while (!empty()) take().drop();
    }
    [[nodiscard]] bool empty() const noexcept { return first_ == records_.size(); }
    [[gnu::always_inline]] void push(const EventRecord& record) { records_.push_back(record); }
    // The first, with what it owns.
    [[nodiscard, gnu::always_inline]] EventRecord take() noexcept {
        const EventRecord record = records_[first_++];
        if (first_ == records_.size()) {
            records_.clear();
            first_ = 0;
        } else if (first_ >= 1024 && first_ * 2 > records_.size()) {
            drop_popped();
        }
        return record;
    }

private:
    [[gnu::noinline]] void drop_popped() noexcept {
        records_.erase_front(std::exchange(first_, 0));
    }

    FlatList<EventRecord> records_;
    std::size_t first_ = 0;
};

}  // namespace grafo::detail
