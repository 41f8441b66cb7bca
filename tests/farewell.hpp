// Values and errors whose destructors do what a test gave them to do.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

namespace grafo_test {

/// Calls what is in `on_gone` when it goes, if anything is there by then, and empties it; so only
/// the first to go does something. `on_gone` outlives it.
inline std::shared_ptr<int> make_farewell(std::function<void()>& on_gone, int value = 0) {
    return std::shared_ptr<int>(new int(value), [&on_gone](int* number) {
        delete number;
        if (on_gone) std::exchange(on_gone, nullptr)();
    });
}

/// An error that keeps such a value, or any other.
struct FarewellError : std::runtime_error {
    explicit FarewellError(std::shared_ptr<int> held)
        : std::runtime_error("not yet"), gone(std::move(held)) {}
    std::shared_ptr<int> gone;
};

}  // namespace grafo_test
