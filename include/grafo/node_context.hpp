#pragma once
#include <coroutine>
#include <string>
#include <string_view>
#include <utility>

#include <grafo/detail/node_core.hpp>
#include <grafo/errors.hpp>

namespace grafo {

class AnyNode;

/// What a body may ask of its own node: `Task<int> body(NodeContext& context, int x)`. Takes no
/// name. Belongs to the node; valid while the body runs.
class NodeContext {
public:
    NodeContext(const NodeContext&) = delete;
    NodeContext& operator=(const NodeContext&) = delete;

    /// A handle of the node itself.
    [[nodiscard]] AnyNode node() const;
    /// Which try of the body this is, from 1.
    [[nodiscard]] unsigned attempt() const noexcept;
    /// True once the node was asked to end: by a timeout, `stop()`, a failure elsewhere. Stays
    /// true.
    [[nodiscard]] bool cancelled() const noexcept {
        return (core_.flags & detail::Context::cancelled) != 0;
    }

    // Made by the node.
    explicit NodeContext(detail::NodeCore& core) noexcept : core_(core) {}

private:
    detail::NodeCore& core_;
};

/// What `skip` gives: to be awaited.
class [[nodiscard("a skip does nothing until it is awaited")]] Skipping {
public:
    explicit Skipping(std::string why) : why_(std::move(why)) {}

    class Awaiter {
    public:
        explicit Awaiter(std::string why) : why_(std::move(why)) {}
        bool await_ready() const noexcept { return true; }
        void await_suspend(std::coroutine_handle<>) const noexcept {}
        [[noreturn]] void await_resume() { throw Skip(std::move(why_)); }

    private:
        std::string why_;
    };
    Awaiter operator co_await() const { return Awaiter(why_); }

    using grafo_awaitable = void;

private:
    std::string why_;
};

/// `co_await skip("why")` in a node's body unwinds it and ends the node as skipped.
inline Skipping skip(std::string_view why = {}) { return Skipping(std::string(why)); }

}  // namespace grafo

// Defines what needs the whole of a node.
#include <grafo/node.hpp>
