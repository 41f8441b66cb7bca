#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include <grafo/detail/extras.hpp>
#include <grafo/detail/node_core.hpp>
#include <grafo/retry.hpp>

namespace grafo::detail {

// The list that nodes are in through their `next`.
class NodeQueue {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    // False if it is the first.
    bool push(NodeCore& node) noexcept {
        node.next = nullptr;
        const bool is_behind = first_ != nullptr;
        (is_behind ? last_->next : first_) = &node;
        last_ = &node;
        return is_behind;
    }
    [[nodiscard]] NodeCore* front() const noexcept { return first_; }
    NodeCore* pop() noexcept {
        NodeCore* node = first_;
        if (node != nullptr) first_ = node->next;
        return node;
    }
    // Brings the node at `place` to the front.
    void bring_forward(std::size_t place) noexcept {
        if (place == 0) return;
        NodeCore* before = first_;
        while (--place > 0) before = before->next;
        NodeCore* node = before->next;
        before->next = node->next;
        if (last_ == node) last_ = before;
        node->next = std::exchange(first_, node);
    }
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t count = 0;
        for (const NodeCore* node = first_; node != nullptr; node = node->next) ++count;
        return count;
    }

private:
    NodeCore* first_ = nullptr;
    NodeCore* last_ = nullptr;
};

// The next of a sequence of numbers that look random.
[[nodiscard]] inline std::uint64_t next_random(std::uint64_t& state) noexcept {
    return mix(std::exchange(state, state + splitmix_step));
}

// The nodes that wait for their turn: the highest priority first, among equals the first come.
// Those with a priority form a list of lists, held together by their extras, so nothing is
// allocated.
class ReadyQueue {
public:
    [[nodiscard]] bool empty() const noexcept { return normal_.empty() && levels_ == nullptr; }
    void push(NodeCore& node) noexcept {
        if (node.has_extras && node.extras->priority != 0) {
            push_level(node, node.extras->priority);
        } else {
            normal_.push(node);
        }
    }
    [[nodiscard]] NodeCore* front() const noexcept {
        return takes_level() ? levels_ : normal_.front();
    }
    NodeCore* pop() noexcept { return takes_level() ? pop_level() : normal_.pop(); }
    // The first if nobody has a priority, else null.
    [[nodiscard]] NodeCore* plain_front() const noexcept {
        return levels_ == nullptr ? normal_.front() : nullptr;
    }
    void pop_plain() noexcept { normal_.pop(); }
    // A node without a priority. False if it is the first.
    bool push_plain(NodeCore& node) noexcept { return normal_.push(node); }
    // For tests: some node of those whose turn it is becomes the next.
    void shuffle(std::uint64_t& state) noexcept {
        if (takes_level()) {
            shuffle_level(state);
            return;
        }
        const std::size_t size = normal_.size();
        if (size > 1) normal_.bring_forward(static_cast<std::size_t>(next_random(state) % size));
    }

private:
    [[nodiscard]] bool takes_level() const noexcept {
        return levels_ != nullptr && (levels_->extras->queued_at > 0 || normal_.empty());
    }
    void push_level(NodeCore& node, int priority) noexcept {
        node.next = nullptr;
        node.extras->queued_at = priority;
        NodeCore** at = &levels_;
        while (*at != nullptr && (*at)->extras->queued_at > priority) {
            at = &(*at)->extras->next_level;
        }
        if (NodeCore* first = *at; first != nullptr && first->extras->queued_at == priority) {
            first->extras->last_of_level->next = &node;
            first->extras->last_of_level = &node;
            return;
        }
        node.extras->last_of_level = &node;
        node.extras->next_level = std::exchange(*at, &node);
    }
    void shuffle_level(std::uint64_t& state) noexcept {
        NodeCore* const first = levels_;
        std::size_t size = 1;
        for (const NodeCore* node = first; node->next != nullptr; node = node->next) ++size;
        std::size_t place = size > 1 ? static_cast<std::size_t>(next_random(state) % size) : 0;
        if (place == 0) return;
        NodeCore* before = first;
        while (--place > 0) before = before->next;
        NodeCore* const node = before->next;
        NodeCore* const last = first->extras->last_of_level;
        before->next = node->next;
        node->next = first;
        node->extras->last_of_level = last == node ? before : last;
        node->extras->next_level = first->extras->next_level;
        levels_ = node;
    }
    NodeCore* pop_level() noexcept {
        NodeCore* node = levels_;
        levels_ = node->extras->next_level;
        if (NodeCore* second = node->next; second != nullptr) {
            second->extras->last_of_level = node->extras->last_of_level;
            second->extras->next_level = std::exchange(levels_, second);
        }
        return node;
    }

    NodeQueue normal_;
    NodeCore* levels_ = nullptr;  // the first node of each priority, the highest first
};

}  // namespace grafo::detail
