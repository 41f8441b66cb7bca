#pragma once
#include <cstddef>
#include <cstdio>
#include <string>

#include <grafo/detail/extras.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/when_used.hpp>

// In debug builds: a graph that is kept alive only by handles inside its own callables and bound
// values is reported, since nothing will ever free it. Handles that such a callable holds on the
// heap are not seen, nor is a graph of more than a thousand nodes: each handle dropped looks at
// all.
namespace grafo::detail {

// Where the report goes; stderr unless a test looks.
inline void (*report_self_hold)(const std::string& message) = [](const std::string& message) {
    std::fputs(message.c_str(), stderr);
};

#ifndef NDEBUG
// The node being made on this thread, and the nodes whose handles it got inside.
struct Captures {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    FlatList<NodeCore*> held;
    std::size_t ever = 0;

    static Captures& current();
    void note(const void* handle, NodeCore* node);
};

template <class = WhenUsed>
void check_self_hold(Graph& graph);
#endif

// While it lives, the handles that the node being made gets inside are noted (debug builds).
class CaptureScope {
public:
    CaptureScope() noexcept {}
    CaptureScope(const CaptureScope&) = delete;
    CaptureScope& operator=(const CaptureScope&) = delete;
#ifndef NDEBUG
    ~CaptureScope();
    static void keep(NodeCore& node);
#else
    ~CaptureScope() {}
    static void keep(NodeCore&) noexcept {}
#endif
};

}  // namespace grafo::detail
