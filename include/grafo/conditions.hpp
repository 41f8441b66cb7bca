#pragma once
#include <utility>

namespace grafo {

/// When a node runs, once each of its edges has settled. An edge is *taken* if its parent completed
/// and its `when` said so; a node without parents always runs.
enum class Trigger : unsigned char {
    all_completed,  ///< every edge was taken; else the node is skipped
    any_completed,  ///< at least one edge was taken; else the node is skipped
    all_settled,    ///< whatever happened, also after a failure and after the first `stop()`
};

/// A condition of an edge; made by `when`.
template <class P>
class When {
public:
    explicit When(P asks) : predicate(std::move(asks)) {}
    P predicate;
};

/// The last argument of a `connect`: the edge is taken only if `predicate(output)` is true, asked
/// at the parent's end. Plain or a coroutine; it may also take nothing. What it throws fails the
/// child.
template <class P>
[[nodiscard]] When<P> when(P predicate) {
    return When<P>(std::move(predicate));
}

}  // namespace grafo
