#pragma once
#include <cstddef>
#include <iterator>
#include <utility>

namespace grafo::detail {

class NodeCore;

// Nodes in the order they were added; a std::vector whose push_back is in line.
class CoreList {
public:
    CoreList() noexcept = default;
    CoreList(const CoreList&) = delete;
    CoreList& operator=(const CoreList&) = delete;
    ~CoreList() { delete[] data_; }

    void reserve(std::size_t capacity) {
        if (capacity <= capacity_) return;
        auto** grown = new NodeCore*[capacity];
        for (std::size_t i = 0; i < size_; ++i) grown[i] = data_[i];
        delete[] std::exchange(data_, grown);
        capacity_ = capacity;
    }
    void push_back(NodeCore* node) {
        if (size_ == capacity_) reserve(size_ * 2 + 8);
        data_[size_++] = node;
    }
    // Removes the last place of the node, if it has one; keeps the order of the rest.
    void erase_last(const NodeCore* node) noexcept {
        for (std::size_t i = size_; i-- > 0;) {
            if (data_[i] != node) continue;
            for (--size_; i < size_; ++i) data_[i] = data_[i + 1];
            return;
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] NodeCore* const* begin() const noexcept { return data_; }
    [[nodiscard]] NodeCore* const* end() const noexcept { return data_ + size_; }

private:
    NodeCore** data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace grafo::detail
