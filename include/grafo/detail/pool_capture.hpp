#pragma once
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include <grafo/detail/handle.hpp>
#include <grafo/detail/self_hold.hpp>

// In debug builds: a closure that is given to a pool and holds a node handle is reported, since
// the counts behind handles belong to the loop's thread. Handles that it holds on the heap or by
// reference are not seen.
namespace grafo::detail {

// Where the report goes; the end of the program unless a test looks.
inline void (*report_pool_capture)(const std::string& message) = [](const std::string& message) {
    std::fputs(message.c_str(), stderr);
    std::abort();
};

#ifndef NDEBUG
// While it lives, the handles that are made in a piece of memory are noted. At its end the first
// one is reported.
class PoolCaptureScope {
public:
    PoolCaptureScope(const void* memory, std::size_t size) noexcept
        : begin_(Captures::current().begin),
          end_(Captures::current().end),
          held_(Captures::current().held.size()) {
        Captures::current().begin = static_cast<const std::byte*>(memory);
        Captures::current().end = Captures::current().begin + size;
    }
    PoolCaptureScope(const PoolCaptureScope&) = delete;
    PoolCaptureScope& operator=(const PoolCaptureScope&) = delete;
    ~PoolCaptureScope() {
        Captures& captures = Captures::current();
        captures.begin = begin_;
        captures.end = end_;
        if (captures.held.size() == held_) return;
        const std::string id = captures.held[held_]->id;
        while (captures.held.size() > held_) captures.held.pop_back();
        report_pool_capture(
            "grafo: a function that is given to a pool holds a handle of node '" + id +
            "': handles belong to the loop's thread; give it what it needs of the node by value\n");
    }

private:
    const std::byte* begin_;
    const std::byte* end_;
    std::size_t held_;
};
#endif

// Moves a closure to `place`, where it will be called by a pool.
template <class F>
[[nodiscard]] F move_for_pool(F& fn, [[maybe_unused]] const void* place) {
#ifndef NDEBUG
    const PoolCaptureScope scope(place, sizeof(F));
#endif
    return F(std::move(fn));
}

}  // namespace grafo::detail
