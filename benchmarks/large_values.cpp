// A value of 1 KiB from one node to 100 children, which take it by value or by reference.
#include <array>
#include <span>
#include <vector>

#include "allocations.hpp"
#include "floor.hpp"
#include "harness.hpp"
#include "workloads.hpp"

#include <grafo/grafo.hpp>

namespace bench {

namespace {

using Large = std::array<int, 256>;
constexpr int children = 100;

Large make(int seed) {
    Large made;
    made.fill(seed);
    return made;
}

class Ours {
public:
    explicit Ours(bool by_value) : executor_(source_) {
        using namespace grafo::literals;
        for (int i = 0; i < children; ++i) {
            if (by_value) {
                children_.push_back(grafo::Node{"n", copy, "x"_a = source_});
            } else {
                children_.push_back(grafo::Node{"n", look, "x"_a = source_});
            }
        }
        executor_.timing(false);
    }
    void run() { loop_.run(executor_.run()); }
    [[nodiscard]] int sum() const {
        int total = 0;
        for (const auto& child : children_) total += child.output();
        return total;
    }

private:
    static grafo::Task<Large> source() { co_return make(++steps); }
    static grafo::Task<int> copy(Large x) { co_return x[17]; }
    static grafo::Task<int> look(const Large& x) { co_return x[17]; }

    grafo::Node<Large> source_{"source", source};
    std::vector<grafo::Node<int>> children_;
    grafo::TreeExecutor executor_;
    grafo::EventLoop loop_;
};

// Typed slots: a copy in each child, or a pointer to what the parent keeps.
class ByHand {
public:
    explicit ByHand(bool by_value) : by_value_(by_value) {}
    void run() {
        output_ = source().run();
        for (int i = 0; i < children; ++i) {
            if (by_value_) {
                slots_[static_cast<std::size_t>(i)] = output_;
            } else {
                views_[static_cast<std::size_t>(i)] = &output_;
            }
        }
        for (int i = 0; i < children; ++i) {
            const auto at = static_cast<std::size_t>(i);
            outputs_[at] = by_value_ ? copy(slots_[at]).run() : look(*views_[at]).run();
        }
    }
    [[nodiscard]] int sum() const {
        int total = 0;
        for (const int output : outputs_) total += output;
        return total;
    }

private:
    static by_hand::Body<Large> source() { co_return make(++steps); }
    static by_hand::Body<int> copy(Large x) { co_return x[17]; }
    static by_hand::Body<int> look(const Large& x) { co_return x[17]; }

    bool by_value_;
    Large output_{};
    std::vector<Large> slots_{std::vector<Large>(children)};
    std::vector<const Large*> views_{std::vector<const Large*>(children)};
    std::vector<int> outputs_{std::vector<int>(children)};
};

void rows(Bench& bench, bool by_value) {
    Ours ours(by_value);
    ByHand floor(by_value);
    steps = 7;
    ours.run();
    steps = 7;
    floor.run();
    require(ours.sum() == 8 * children && floor.sum() == ours.sum(), "the large values differ");
    Contest contest = bench.contest();
    contest.add("ours", repeated(bench.least(), children, [&] { ours.run(); }));
    contest.add("floor", repeated(bench.least(), children, [&] { floor.run(); }));
    contest.run();
    bench.row(by_value ? "1 KiB by value" : "1 KiB by const&", "ns/child", contest["ours"],
              contest["floor"]);
}

}  // namespace

void large_values(Bench& bench) {
    rows(bench, true);
    rows(bench, false);
}

}  // namespace bench
