#pragma once
#include <cstdint>
#include <utility>

namespace grafo::detail {

class NodeCore;

// A chunk that left the frame of its producer, so that this can run ahead (`buffer(n)`); gone when
// the last of its readers has moved on.
class ChunkCopy {
public:
    ChunkCopy() = default;
    ChunkCopy(const ChunkCopy&) = delete;
    ChunkCopy& operator=(const ChunkCopy&) = delete;
    virtual ~ChunkCopy() = default;
    [[nodiscard]] virtual void* item() noexcept = 0;

    NodeCore* producer = nullptr;
    std::uint32_t readers = 0;  // that have not moved on
    std::uint32_t sharers = 0;  // those among them that have no copy of their own
};

template <class Y>
class ChunkCopyOf final : public ChunkCopy {
public:
    explicit ChunkCopyOf(const Y& value) : value_(value) {}
    [[nodiscard]] void* item() noexcept override { return &value_; }

private:
    Y value_;
};

// A chunk as one of its readers has it: in the producer's frame, or copied.
struct HeldChunk {
    void* item = nullptr;
    ChunkCopy* copy = nullptr;
    bool own = false;  // the reader has a copy of its own
};

}  // namespace grafo::detail
