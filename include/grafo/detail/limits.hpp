#pragma once
#include <cstddef>
#include <utility>

#include <grafo/detail/flat_list.hpp>
#include <grafo/rate_limiter.hpp>
#include <grafo/semaphore.hpp>

namespace grafo::detail {

// What a node needs before each of its attempts. Semaphores are taken in one order by all nodes, so
// that no two wait for each other; rates last, when nothing else is in the way.
struct Limits {
    struct Weighted {
        Semaphore semaphore;
        std::size_t weight;
    };
    FlatList<Weighted> semaphores;  // in the order of their ids
    FlatList<RateLimiter> rates;

    [[nodiscard]] bool empty() const noexcept { return semaphores.empty() && rates.empty(); }

    void add(const Semaphore& semaphore, std::size_t weight) {
        for (Weighted& known : semaphores) {
            if (known.semaphore == semaphore) {
                known.weight = weight;
                return;
            }
        }
        semaphores.push_back(Weighted{semaphore, weight});
        for (std::size_t i = semaphores.size() - 1; i > 0; --i) {
            if (id(semaphores[i - 1].semaphore) < id(semaphores[i].semaphore)) break;
            std::swap(semaphores[i - 1], semaphores[i]);
        }
    }
    void add(const RateLimiter& rate) {
        for (const RateLimiter& known : rates) {
            if (known == rate) return;
        }
        rates.push_back(rate);
    }
    [[nodiscard]] const Semaphore* shared_with(const Limits& other) const noexcept {
        for (const Weighted& mine : semaphores) {
            for (const Weighted& theirs : other.semaphores) {
                if (mine.semaphore == theirs.semaphore) return &mine.semaphore;
            }
        }
        return nullptr;
    }

private:
    static std::uint64_t id(const Semaphore& semaphore) noexcept {
        return LimitAccess::id(semaphore);
    }
};

}  // namespace grafo::detail
