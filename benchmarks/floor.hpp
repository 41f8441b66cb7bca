#pragma once
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "shape.hpp"

// The floor: what the same graph costs when it is written by hand for one purpose. One coroutine
// frame a node, from a free list, made when its node is ready; counters of pending parents, reset
// as they reach zero; an intrusive ready list; nodes and edges in flat arrays. No names, no type
// erasure, no events, no errors, no cancellation.
namespace bench::by_hand {

// Frames of one size class are a list; nothing goes back to the heap.
class Frames {
public:
    static void* allocate(std::size_t size) {
        const std::size_t bucket = (size + 63) / 64;
        if (bucket >= buckets) return ::operator new(size);
        if (void* frame = free_[bucket]) {
            free_[bucket] = *static_cast<void**>(frame);
            return frame;
        }
        return ::operator new(bucket * 64);
    }
    static void deallocate(void* frame, std::size_t size) noexcept {
        const std::size_t bucket = (size + 63) / 64;
        if (bucket >= buckets) return ::operator delete(frame);
        ::new (frame) void*(free_[bucket]);
        free_[bucket] = frame;
    }

private:
    static constexpr std::size_t buckets = 40;
    static inline constinit void* free_[buckets] = {};
};

struct PooledPromise {
    static void* operator new(std::size_t size) { return Frames::allocate(size); }
    static void operator delete(void* frame, std::size_t size) noexcept {
        Frames::deallocate(frame, size);
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

// The coroutine of a node. A scheduler knows it by its promise: whoever made it ready, at first or
// after a wait, puts that in the list of what is ready.
template <class T>
class Body {
public:
    struct promise_type : PooledPromise {
        Body get_return_object() noexcept { return Body(*this); }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_value(const T& v) noexcept { value = v; }
        T value;
        promise_type* next = nullptr;  // in the ready list
        std::uint32_t node = 0;
    };
    using Handle = std::coroutine_handle<promise_type>;

    explicit Body(promise_type& promise) noexcept : promise_(&promise) {}
    Body(const Body&) = delete;
    ~Body() {
        if (promise_ != nullptr) handle().destroy();
    }
    [[nodiscard]] promise_type& release() noexcept { return *std::exchange(promise_, nullptr); }
    // To its end, where nothing waits.
    T run() const {
        handle().resume();
        if (!handle().done()) std::terminate();
        return promise_->value;
    }

private:
    [[nodiscard]] Handle handle() const noexcept { return Handle::from_promise(*promise_); }
    promise_type* promise_;
};

// With `Forwards`, an edge pushes its parent's output into a typed slot of its child.
template <class T, bool Forwards>
class Graph {
    struct Nothing {};
    struct OrderEdge {
        std::uint32_t child;
    };
    struct ForwardEdge {
        std::uint32_t child;
        std::uint32_t slot;
    };
    using OutEdge = std::conditional_t<Forwards, ForwardEdge, OrderEdge>;

    struct Node {
        std::uint32_t pending = 0;
        std::uint32_t parents = 0;
        std::uint32_t first_edge = 0;  // its last is before the first of the next node
        [[no_unique_address]] std::conditional_t<Forwards, std::uint32_t, Nothing> first_slot{};
        T output{};
    };
    using Promise = typename Body<T>::promise_type;

public:
    Graph() = default;
    explicit Graph(const Shape& shape) {
        for (std::uint32_t i = 0; i < shape.nodes; ++i) add_node(shape.slots[i]);
        for (const Edge& edge : shape.edges) add_edge(edge.parent, edge.child, edge.slot);
        seal();
    }

    void add_node([[maybe_unused]] std::uint32_t slots = 0) {
        Node& node = nodes_.emplace_back();
        if constexpr (Forwards) {
            node.first_slot = static_cast<std::uint32_t>(slots_.size());
            slots_.resize(slots_.size() + slots);
        }
    }
    void add_edge(std::uint32_t parent, std::uint32_t child, std::uint32_t slot = 0) {
        added_.push_back(Edge{parent, child, slot});
        ++nodes_[parent].first_edge;
        ++nodes_[child].parents;
    }
    // Sorts the edges by parent, in the order they were added.
    void seal() {
        std::uint32_t sum = 0;
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
            Node& node = nodes_[i];
            sum += std::exchange(node.first_edge, sum);
            node.pending = node.parents;
            if (node.parents == 0) starts_.push_back(i);
        }
        nodes_.emplace_back().first_edge = sum;
        edges_.resize(sum);
        for (const Edge& edge : added_) {
            OutEdge& out = edges_[nodes_[edge.parent].first_edge++];
            out.child = edge.child;
            if constexpr (Forwards) out.slot = nodes_[edge.child].first_slot + edge.slot;
        }
        for (std::size_t i = nodes_.size() - 1; i-- > 0;) {
            nodes_[i + 1].first_edge = nodes_[i].first_edge;
        }
        nodes_[0].first_edge = 0;
        added_ = {};
    }

    // `make(slots)` gives the coroutine of a node from its arguments.
    template <class Make>
    void run(const Make& make) {
        for (const std::uint32_t start : starts_) push(make, start);
        while (Promise* ready = first_) {
            first_ = ready->next;
            const auto coroutine = Body<T>::Handle::from_promise(*ready);
            coroutine.resume();
            if (!coroutine.done()) continue;  // it waits, and will be put in the list again
            const std::uint32_t at = ready->node;
            Node& node = nodes_[at];
            node.output = ready->value;
            coroutine.destroy();
            const std::uint32_t end = nodes_[at + 1].first_edge;
            for (std::uint32_t i = node.first_edge; i < end; ++i) {
                const OutEdge& edge = edges_[i];
                if constexpr (Forwards) slots_[edge.slot] = node.output;
                Node& child = nodes_[edge.child];
                if (--child.pending == 0) {
                    child.pending = child.parents;
                    push(make, edge.child);
                }
            }
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size() - 1; }
    [[nodiscard]] const T& output(std::size_t i) const noexcept { return nodes_[i].output; }

private:
    [[nodiscard]] std::span<const T> arguments([[maybe_unused]] std::uint32_t at) const noexcept {
        if constexpr (Forwards) {
            const std::uint32_t from = nodes_[at].first_slot;
            const std::uint32_t to = at + 1 < nodes_.size() - 1
                                         ? nodes_[at + 1].first_slot
                                         : static_cast<std::uint32_t>(slots_.size());
            return {slots_.data() + from, to - from};
        } else {
            return {};
        }
    }
    // Makes the frame of a node, and puts it at the end of the list.
    template <class Make>
    void push(const Make& make, std::uint32_t at) {
        Promise& promise = make(arguments(at)).release();
        promise.node = at;
        (first_ == nullptr ? first_ : last_->next) = &promise;
        last_ = &promise;
    }

    std::vector<Node> nodes_;  // one more than there are, for the end of the last one's edges
    std::vector<OutEdge> edges_;
    std::vector<T> slots_;
    std::vector<std::uint32_t> starts_;
    std::vector<Edge> added_;
    Promise* first_ = nullptr;
    Promise* last_ = nullptr;
};

inline Body<int> step() { co_return ++steps; }
inline Body<int> first() { co_return first_value; }

}  // namespace bench::by_hand
