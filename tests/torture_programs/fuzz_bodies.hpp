// The bodies of a fuzzed program's nodes: each plays the script that it was made with.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "fuzz_program.hpp"

namespace torture::fuzz {

/// A body from its start to its end.
class Visit {
public:
    Visit(const Body& body, const NodeContext& context) : body_(body) {
        body.program->begins(body.number, context.node());
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit() { body_.program->ends(body_.number); }

    void received(const Item& x) const { body_.program->received(body_.number, x); }
    void received(const std::vector<Item>& xs) const {
        for (const Item& x : xs) received(x);
    }
    void received(const std::vector<const Item*>& xs) const {
        for (const Item* x : xs) received(*x);
    }
    void play_now() const { body_.program->play_now(body_.script, body_.number); }
    [[nodiscard]] Task<> play(AsyncGenerator<Item>* in = nullptr) const {
        return Program::play_all(body_.program, body_.script, body_.number, in);
    }
    /// Up to the next chunk.
    [[nodiscard]] Task<Step> go_on(AsyncGenerator<Item>* in = nullptr) {
        return Program::play(body_.program, &body_.script, body_.number, in);
    }
    [[nodiscard]] Item issue() const { return body_.program->issue(body_.number); }

private:
    Body body_;
};

inline Item source(Body body, NodeContext& context) {
    const Visit visit(body, context);
    visit.play_now();
    return visit.issue();
}
inline Item plain(Body body, NodeContext& context, const Item& x) {
    const Visit visit(body, context);
    visit.play_now();
    visit.received(x);
    return visit.issue();
}
inline Task<Item> task(Body body, NodeContext& context, Item x) {
    const Visit visit(body, context);
    visit.received(x);
    co_await visit.play();
    co_return visit.issue();
}
inline Task<Item> pair(Body body, NodeContext& context, const Item& x, Item y) {
    const Visit visit(body, context);
    co_await visit.play();
    visit.received(x);
    visit.received(y);
    co_return visit.issue();
}
inline Task<Item> list(Body body, NodeContext& context, std::vector<Item> xs) {
    const Visit visit(body, context);
    visit.received(xs);
    co_await visit.play();
    co_return visit.issue();
}
inline Item pointers(Body body, NodeContext& context, const std::vector<const Item*>& xs) {
    const Visit visit(body, context);
    visit.play_now();
    visit.received(xs);
    return visit.issue();
}
inline Task<Item> maybe(Body body, NodeContext& context, std::optional<Item> x, const Item* y) {
    const Visit visit(body, context);
    co_await visit.play();
    if (x) visit.received(*x);
    if (y != nullptr) visit.received(*y);
    co_return visit.issue();
}
inline AsyncGenerator<Item> chunks(Body body, NodeContext& context, std::vector<const Item*> xs) {
    Visit visit(body, context);
    for (;;) {
        const Step step = co_await visit.go_on();
        visit.received(xs);
        if (step == Step::end) break;
        const Item item = visit.issue();
        co_yield item;
    }
}
inline AsyncGenerator<Item, Item> result(Body body, NodeContext& context, Item x) {
    Visit visit(body, context);
    visit.received(x);
    for (;;) {
        const Step step = co_await visit.go_on();
        if (step == Step::end) break;
        const Item item = visit.issue();
        co_yield item;
    }
    co_return visit.issue();
}
inline Task<Item> reader(Body body, NodeContext& context, AsyncGenerator<Item> in,
                         std::vector<Item> xs) {
    const Visit visit(body, context);
    visit.received(xs);
    co_await visit.play(&in);
    co_return visit.issue();
}
inline AsyncGenerator<Item> relay(Body body, NodeContext& context, AsyncGenerator<Item> in) {
    Visit visit(body, context);
    while (const Item* item = co_await in.next()) {
        visit.received(*item);
        const Step step = co_await visit.go_on(&in);
        if (step == Step::end) break;
        const Item relayed = visit.issue();
        co_yield relayed;
    }
}
inline Item whole(Body body, NodeContext& context, const std::vector<Item>& all) {
    const Visit visit(body, context);
    visit.play_now();
    visit.received(all);
    return visit.issue();
}
inline Task<Sole> sole(Body body, NodeContext& context) {
    const Visit visit(body, context);
    co_await visit.play();
    co_return Sole(visit.issue().value);
}
inline Item taker(Body body, NodeContext& context, Sole x) {
    const Visit visit(body, context);
    visit.received(x.item);
    visit.play_now();
    return visit.issue();
}
inline Task<> nothing(Body body, NodeContext& context) {
    const Visit visit(body, context);
    co_await visit.play();
}
inline Task<Item> each(Body body, Item x) {
    body.program->received(body.number, x);
    co_await Program::play_all(body.program, body.script, body.number, nullptr);
    co_return body.program->issue(body.number);
}

}  // namespace torture::fuzz
