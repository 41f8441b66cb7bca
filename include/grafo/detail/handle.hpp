#pragma once
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <grafo/detail/graph.hpp>
#include <grafo/detail/self_hold.hpp>
#include <grafo/errors.hpp>

namespace grafo::detail {

// What every node handle is: one counted pointer.
class Handle {
public:
    Handle() noexcept = default;
    explicit Handle(NodeCore* core) noexcept : core_(core) {
        if (core_ != nullptr) add_handle(*core_);
        note();
    }
    Handle(const Handle& other) noexcept : Handle(other.core_) {}
    Handle(Handle&& other) noexcept : core_(std::exchange(other.core_, nullptr)) { note(); }
    Handle& operator=(const Handle& other) noexcept {
        Handle copy(other);
        std::swap(core_, copy.core_);
        return *this;
    }
    Handle& operator=(Handle&& other) noexcept {
        Handle moved(std::move(other));
        std::swap(core_, moved.core_);
        return *this;
    }
// https://gcc.gnu.org/bugzilla/show_bug.cgi?id=80635: warns of a std::optional<Node<T>> at -O2.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
    ~Handle() {
        if (core_ == nullptr) return;
#ifndef NDEBUG
        Graph* graph = core_->graph;
        const bool may_self_hold = graph != nullptr && (graph->live > 1 || core_->handles > 1);
        drop_handle(*core_);
        if (may_self_hold) check_self_hold(*graph);
#else
        drop_handle(*core_);
#endif
    }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

    [[nodiscard]] NodeCore* core() const noexcept { return core_; }

    // Identity: two handles are equal if they mean the same node.
    friend bool operator==(const Handle& a, const Handle& b) noexcept { return a.core_ == b.core_; }

private:
    void note() noexcept {
#ifndef NDEBUG
        Captures::current().note(this, core_);
#endif
    }

    NodeCore* core_ = nullptr;
};

[[noreturn]] void throw_empty_handle();

// Its node; throws `Error` if it has none.
[[nodiscard]] inline NodeCore& need_node(const Handle& handle) {
    if (handle.core() == nullptr) throw_empty_handle();
    return *handle.core();
}

template <class T>
concept NodeHandle = std::derived_from<std::remove_cvref_t<T>, Handle>;

}  // namespace grafo::detail

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/handle.hpp>
#endif
