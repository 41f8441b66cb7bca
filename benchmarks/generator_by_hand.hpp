#pragma once
#include <coroutine>
#include <utility>

#include "floor.hpp"

namespace bench::by_hand {

// A generator of numbers: it and its reader resume each other by symmetric transfer.
class Generator {
public:
    struct promise_type : by_hand::PooledPromise {
        struct ToReader {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(
                std::coroutine_handle<promise_type> self) const noexcept {
                return self.promise().reader;
            }
            void await_resume() const noexcept {}
        };
        Generator get_return_object() noexcept {
            return Generator(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        ToReader yield_value(const int& value) noexcept {
            item = &value;
            return {};
        }
        ToReader final_suspend() noexcept {
            item = nullptr;
            return {};
        }
        void return_void() const noexcept {}
        const int* item = nullptr;
        std::coroutine_handle<> reader;
    };
    explicit Generator(std::coroutine_handle<promise_type> coroutine) noexcept
        : coroutine_(coroutine) {}
    Generator(Generator&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
    ~Generator() {
        if (coroutine_) coroutine_.destroy();
    }
    auto next() const noexcept {
        struct Next {
            std::coroutine_handle<promise_type> generator;
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<> reader) const noexcept {
                generator.promise().reader = reader;
                return generator;
            }
            const int* await_resume() const noexcept { return generator.promise().item; }
        };
        return Next{coroutine_};
    }

private:
    std::coroutine_handle<promise_type> coroutine_;
};

}  // namespace bench::by_hand
