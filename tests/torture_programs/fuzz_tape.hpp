// The bytes of a fuzzed program, read one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace torture {

using Bytes = std::span<const std::uint8_t>;

/// What is read at the end is 0. A copy reads on by itself; the bytes outlive it.
class Tape {
public:
    Tape() noexcept = default;
    explicit Tape(Bytes bytes) noexcept : bytes_(bytes) {}

    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    unsigned next() noexcept {
        if (bytes_.empty()) return 0;
        const unsigned byte = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return byte;
    }
    /// From 0 to n - 1.
    unsigned below(unsigned n) noexcept { return next() % n; }
    bool flag() noexcept { return below(2) != 0; }
    /// The next so many bytes, as a tape of their own.
    Tape cut(std::size_t size) noexcept {
        size = size < bytes_.size() ? size : bytes_.size();
        const Tape front(bytes_.first(size));
        bytes_ = bytes_.subspan(size);
        return front;
    }

private:
    Bytes bytes_;
};

}  // namespace torture
