#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <grafo/detail/driver.hpp>
#include <grafo/detail/extras.hpp>
#include <grafo/detail/flat_list.hpp>
#include <grafo/detail/graph.hpp>
#include <grafo/detail/rate_turn.hpp>
#include <grafo/detail/wiring.hpp>
#include <grafo/rate_limiter.hpp>
#include <grafo/semaphore.hpp>

namespace grafo::detail {

// Semaphores are taken in one order by all nodes, so that no two wait for each other; rates last,
// when nothing else is in the way.
template <class = WhenUsed>
class NodeLimits final : public Limits {
public:
    static NodeLimits& of(Extras& extras) {
        if (extras.limits == nullptr) extras.limits.reset(new NodeLimits);
        return static_cast<NodeLimits&>(*extras.limits);
    }
    void add(const Semaphore& semaphore, std::size_t weight) {
        for (Weighted& known : semaphores_) {
            if (known.semaphore == semaphore) {
                known.weight = weight;
                return;
            }
        }
        // Not by swapping: in line, g++ 12 takes the reference that goes for the last one.
        const Weighted added{semaphore, weight};
        FlatList<Weighted> all;
        for (const Weighted& known : semaphores_) {
            if (id(known) < id(added)) all.push_back(known);
        }
        all.push_back(added);
        for (const Weighted& known : semaphores_) {
            if (id(known) > id(added)) all.push_back(known);
        }
        semaphores_ = std::move(all);
    }
    void add(const RateLimiter& rate) {
        if (!rates_.contains(rate)) rates_.push_back(rate);
    }

    Task<> acquire(HeldLimits& held, NodeCore& node) override {
        return acquire(held, node, semaphores_, rates_);
    }
    [[nodiscard]] bool shares_with(const Limits& other) const noexcept override {
        for (const Weighted& mine : semaphores_) {
            for (const Weighted& theirs : static_cast<const NodeLimits&>(other).semaphores_) {
                if (mine.semaphore == theirs.semaphore) return true;
            }
        }
        return false;
    }
    void check_side_by_side(const NodeCore& producer,
                            const FlatList<NodeCore*>& readers) const override;

private:
    struct Weighted {
        Semaphore semaphore;
        std::size_t weight;
    };
    static std::uint64_t id(const Weighted& limit) noexcept {
        return LimitAccess::id(limit.semaphore);
    }

    // Copies of the lists: they may be changed while it waits, without a place under
    // max_concurrency.
    static Task<> acquire(HeldLimits& held, NodeCore& node, FlatList<Weighted> semaphores,
                          FlatList<RateLimiter> rates) {
        SlotRelease slot(node);
        held.reserve(semaphores.size());
        for (;;) {
            for (const Weighted& limit : semaphores) {
                Semaphore::Guard guard = co_await limit.semaphore.acquire(limit.weight);
                held.add(std::move(guard));
            }
            for (std::size_t i = 0; i + 1 < rates.size(); ++i) co_await rates[i].acquire();
            if (rates.empty()) {
                if (slot.take_at_once()) co_return;
            } else if (co_await RateTurn(rates[rates.size() - 1], slot)) {
                co_return;
            }
            // Without a place it holds nothing: who has one may be waiting for that. And with a
            // place it waits for nothing: who holds that may need a place. What a rate granted is
            // too old.
            held.release();
            co_await slot.take_back();
            if (take_all(held, semaphores) && take_all(rates)) co_return;
            held.release();
            slot.leave_again(node);
        }
    }
    static bool take_all(HeldLimits& held, const FlatList<Weighted>& semaphores) {
        for (const Weighted& limit : semaphores) {
            Semaphore::Guard guard = limit.semaphore.try_acquire(limit.weight);
            if (!guard) return false;
            held.add(std::move(guard));
        }
        return true;
    }
    static bool take_all(const FlatList<RateLimiter>& rates) {
        const EventLoop::TimePoint now = EventLoop::current().now();
        for (const RateLimiter& rate : rates) {
            if (!LimitAccess::state(rate)->take(now)) return false;
        }
        return true;
    }

    FlatList<Weighted> semaphores_;  // in the order of their ids
    FlatList<RateLimiter> rates_;
};

template <class Tag>
void NodeLimits<Tag>::check_side_by_side(const NodeCore& producer,
                                         const FlatList<NodeCore*>& readers) const {
    struct Use {
        Semaphore semaphore;
        std::size_t weight;
        const NodeCore* first;
    };
    FlatList<Use> uses;
    const std::uint32_t counted = Graph::next_mark();
    for (NodeCore* reader : readers) {
        if (!has_limits(*reader) || std::exchange(reader->mark, counted) == counted) continue;
        for (const Weighted& limit : of(*reader->extras).semaphores_) {
            Use* use = nullptr;
            for (Use& known : uses) {
                if (known.semaphore == limit.semaphore) use = &known;
            }
            if (use == nullptr) {
                uses.push_back({limit.semaphore, limit.weight, reader});
                continue;
            }
            if (use->semaphore.capacity() - use->weight >= limit.weight) {
                use->weight += limit.weight;
                continue;
            }
            throw Error("nodes " + in_quotes(use->first->id) + " and " + in_quotes(reader->id) +
                        " read the chunks of node " + in_quotes(producer.id) +
                        " side by side, and one semaphore does not let both in (its capacity is " +
                        std::to_string(use->semaphore.capacity()) +
                        "): each could wait for the "
                        "other");
        }
    }
}

}  // namespace grafo::detail
