#pragma once
#include <cstddef>
#include <cstdint>
#include <new>

// Under AddressSanitizer a recycled frame would hide a use after its end, so each frame is a fresh
// allocation there; GRAFO_NO_FRAME_RECYCLING asks for the same elsewhere.
#if !defined(GRAFO_NO_FRAME_RECYCLING)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GRAFO_NO_FRAME_RECYCLING
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GRAFO_NO_FRAME_RECYCLING
#endif
#endif
#endif

namespace grafo::detail {

struct FreeFrame {
    FreeFrame* next;
};

// Room for one frame; closed while nobody empties it at the thread's end.
class FrameSlot {
public:
    // Null if there is none.
    [[nodiscard]] void* take() noexcept {
        if (content_ <= open_and_empty) return nullptr;
        void* const frame = reinterpret_cast<void*>(content_);
        content_ = open_and_empty;
        return frame;
    }
    // False if it is closed, or has one.
    [[nodiscard]] bool put(void* frame) noexcept {
        if (content_ != open_and_empty) return false;
        content_ = reinterpret_cast<std::uintptr_t>(frame);
        return true;
    }
    void open() noexcept { content_ = open_and_empty; }
    void close() noexcept {
        ::operator delete(take());
        content_ = 0;
    }

private:
    static constexpr std::uintptr_t open_and_empty = 1;
    std::uintptr_t content_ = 0;
};

struct FramePoolState {
    // In units of 64 bytes; 16 MiB a thread.
    static constexpr std::size_t most_kept = (std::size_t{16} << 20) / 64;
    FrameSlot slots[17] = {};
    FreeFrame* free[17] = {};
    std::size_t kept = most_kept;  // while nobody empties the lists at the thread's end
};

// Coroutine frames, recycled per thread in size classes of 64 bytes up to 1 KiB: one of a class in
// a slot, since most go before the next is made, and what more there is in lists that are counted.
// A frame may be freed on another thread than it came from; it then serves that thread.
class FramePool {
public:
    static void* allocate(std::size_t size) {
#if !defined(GRAFO_NO_FRAME_RECYCLING)
        const std::size_t bucket = (size + 63) / 64;
        if (bucket < bucket_count) {
            FramePoolState& state = state_;
            if (void* frame = state.slots[bucket].take(); frame != nullptr) [[likely]] {
                return frame;
            }
            if (FreeFrame* free = state.free[bucket]; free != nullptr) {
                state.free[bucket] = free->next;
                state.kept -= bucket;
                return free;
            }
            if (state.kept >= most_kept) register_thread();
            return ::operator new(bucket * 64);
        }
#endif
        return ::operator new(size);
    }

    static void deallocate(void* memory, std::size_t size) noexcept {
#if !defined(GRAFO_NO_FRAME_RECYCLING)
        const std::size_t bucket = (size + 63) / 64;
        if (bucket < bucket_count) {
            FramePoolState& state = state_;
            if (state.slots[bucket].put(memory)) [[likely]]
                return;
            if (state.kept < most_kept) {
                FreeFrame* free = ::new (memory) FreeFrame{state.free[bucket]};
                state.free[bucket] = free;
                state.kept += bucket;
                return;
            }
        }
#else
        static_cast<void>(size);
#endif
        ::operator delete(memory);
    }

private:
    static constexpr std::size_t bucket_count = 17;
    static constexpr std::size_t most_kept = FramePoolState::most_kept;

    struct Cleanup {
        Cleanup() noexcept {
            for (FrameSlot& slot : state_.slots) slot.open();
            state_.kept = 0;
        }
        Cleanup(const Cleanup&) = delete;
        Cleanup& operator=(const Cleanup&) = delete;
        ~Cleanup() {
            for (FrameSlot& slot : state_.slots) slot.close();
            for (FreeFrame*& list : state_.free) {
                while (list != nullptr) {
                    FreeFrame* next = list->next;
                    ::operator delete(list);
                    list = next;
                }
            }
            state_.kept = most_kept;  // what is freed later on this thread goes straight back
        }
    };

    static void register_thread() { static thread_local Cleanup cleanup; }

    // Constant-initialised and trivially destroyed: reached without a thread-local guard.
    static inline constinit thread_local FramePoolState state_{};
};

// A base of promises: their frames come from the pool.
struct PooledFrame {
    static void* operator new(std::size_t size) { return FramePool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        FramePool::deallocate(memory, size);
    }
};

}  // namespace grafo::detail
