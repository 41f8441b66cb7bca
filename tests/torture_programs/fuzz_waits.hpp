// What a fuzzed program waits for: time, limits, pipes, and runs in each of their forms.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz_program.hpp"

namespace torture::fuzz {

inline Task<Step> Program::play(Program* self, Tape* script, int who, AsyncGenerator<Item>* in) {
    while (self->more(*script)) {
        const unsigned op = script->below(ops);
        if (op < waits) {
            self->act(op, *script, who);
            continue;
        }
        if (op >= throws) {
            if (who == main_number) co_return Step::end;
            self->leave(op, who);
        }
        const auto what = static_cast<Wait>(op - waits);
        if (what == Wait::chunk) co_return Step::chunk;
        bool cancelled = false;
        try {
            co_await wait(self, what, script, who, in);
        } catch (const Cancelled&) {
            cancelled = true;
        }
        if (!cancelled) continue;
        self->say(who, "is cancelled");
        const unsigned then = who == main_number ? 0 : script->below(4);
        if (then == 2) co_await yield();
        if (then < 3) throw Cancelled();
    }
    co_return Step::end;
}

inline Task<> Program::play_all(Program* self, Tape script, int who, AsyncGenerator<Item>* in) {
    Step step = Step::chunk;
    while (step == Step::chunk) step = co_await play(self, &script, who, in);
}

inline Task<> Program::wait(Program* self, Wait what, Tape* script, int who,
                            AsyncGenerator<Item>* in) {
    switch (what) {
        case Wait::yield:
            self->say(who, "yield");
            co_await yield();
            break;
        case Wait::sleep: {
            const unsigned milliseconds = script->below(8);
            self->say(who, "sleep for {} ms", milliseconds);
            co_await sleep_for(std::chrono::milliseconds(milliseconds));
            break;
        }
        case Wait::stream: {
            const unsigned events = 1 + script->below(8);
            if (who == main_number) {
                co_await read_on(self, pick(self->streams_, *script), events);
            } else if (const auto& executor = pick(self->executors_, *script); executor) {
                self->say(who, "read {} events of e{}.yielding()", events,
                          place_of(self->executors_, executor));
                co_await read_some(self, executor->yielding(), events, who);
            }
            break;
        }
        case Wait::run: {
            Task<RunReport> run = self->start(*script, who);
            if (run) co_await await_run(self, std::move(run), who);
            break;
        }
        case Wait::timed_run: {
            Task<RunReport> run = self->start(*script, who);
            const auto limit = time(*script);
            if (!run) break;
            self->say(who, "  with_timeout({})", limit.count());
            co_await await_run(self, timed(std::move(run), limit), who);
            break;
        }
        case Wait::any_run: {
            Task<RunReport> run = self->start(*script, who);
            if (!run) break;
            self->say(who, "  when_any, beside 2 ms");
            Task<> awaited = await_run(self, std::move(run), who);
            Task<> beside = pause(2);
            co_await when_any(std::move(awaited), std::move(beside));
            break;
        }
        case Wait::semaphore: {
            const unsigned byte = script->next();
            self->say(who, "acquire semaphore {}", byte % 2);
            self->may_block_ = true;
            const Semaphore semaphore = self->semaphores_[byte % 2];
            Semaphore::Guard guard = co_await semaphore.acquire();
            if (byte / 2 % 4 == 3) {
                self->guards_[byte % 2] = std::move(guard);
            } else {
                co_await sleep_for(std::chrono::milliseconds(byte / 2 % 4));
            }
            break;
        }
        case Wait::rate:
            static_cast<void>(script->next());
            self->say(who, "acquire the rate limiter");
            co_await self->rate_.acquire();
            break;
        case Wait::chunk: break;
        case Wait::pipe: {
            static_cast<void>(script->next());
            if (in == nullptr) break;
            self->say(who, "next()");
            const Item* item = co_await in->next();
            if (item != nullptr) self->received(who, *item);
            break;
        }
    }
}

inline Task<RunReport> Program::start(Tape& tape, int who) {
    const auto& executor = pick(executors_, tape);
    const bool tries = tape.flag();
    if (!executor) return {};
    say(who, "e{}.{}()", place_of(executors_, executor), tries ? "try_run" : "run");
    return tries ? executor->try_run() : executor->run();
}

inline Task<RunReport> Program::timed(Task<RunReport> run, std::chrono::nanoseconds limit) {
    co_return co_await with_timeout(limit, std::move(run));
}

inline Task<> Program::await_run(Program* self, Task<RunReport> run, int who) {
    try {
        std::optional<RunReport> report;
        {
            const Counting counted(self->runs_);
            report = co_await std::move(run);
        }
        self->say(who, "  it has run: {}", report->ok() ? "ok" : "not ok");
        self->check_report(*report);
        if (self->reports_.size() < 4) self->reports_.push_back(*report);
    } catch (const Cancelled&) {
        throw;
    } catch (...) {
        self->note_run_error(who);
    }
}

inline Task<> Program::in_background(Program* self, Task<RunReport> run) {
    co_await await_run(self, std::move(run), main_number);
}

inline void Program::note_run_error(int who) {
    note_error(who);
    try {
        throw;
    } catch (const RunError& error) {
        check_errors(error.errors());
    } catch (...) {
    }
    if (errors_.size() < 4) errors_.push_back(std::current_exception());
}

inline Task<> Program::read_on(Program* self, Stream& stream, unsigned events) {
    if (!stream.open || stream.busy) co_return;
    self->say(main_number, "read {} events of s{}", events, place_of(self->streams_, stream));
    stream.busy = true;
    bool ended = false;
    bool cancelled = false;
    try {
        for (; events > 0 && !ended; --events) {
            const Event* event = co_await stream.events.next();
            ended = event == nullptr;
            if (!ended) self->note_event(*event, main_number);
        }
    } catch (const Cancelled&) {
        cancelled = true;
    } catch (...) {
        self->note_run_error(main_number);
        ended = true;
    }
    stream.busy = false;
    if (ended) self->close_stream(stream);
    if (cancelled) throw Cancelled();
}

inline Task<> Program::read_some(Program* self, AsyncGenerator<Event> stream, unsigned events,
                                 int who) {
    const Counting counted(self->runs_);
    try {
        for (; events > 0; --events) {
            const Event* event = co_await stream.next();
            if (event == nullptr) break;
            self->note_event(*event, who);
        }
    } catch (const Cancelled&) {
        throw;
    } catch (...) {
        self->note_run_error(who);
    }
}

inline void Program::note_event(const Event& event, int who) {
    say(who, "  event {} of {}", static_cast<int>(event.kind()), event.node().id());
    digest_.add(static_cast<int>(event.kind()));
    digest_.add(std::string_view(event.node().id()));
    if (const auto chunk = event.chunk<Item>()) {
        received(number_of(event.node()), chunk->output);
        digest_.add(chunk->output.value);
    }
    if ((event.error() != nullptr) !=
        (event.kind() == EventKind::failed || event.kind() == EventKind::retrying)) {
        wrong("an event of {} has an error, or has none", event.node().id());
    }
}

inline void Program::check_errors(const std::vector<NodeError>& errors) {
    for (const NodeError& error : errors) {
        digest_.add(error.attempts());
        digest_.add(error.path().size());
        try {
            std::rethrow_exception(error.cause());
        } catch (...) {
            if (expected_error().empty()) wrong("{} comes from something else", error.what());
        }
    }
}

inline void Program::check_report(const RunReport& report) {
    check_errors(report.errors());
    if (report.ok() != (report.errors().empty() && !report.stopped())) wrong("ok() is not so");
    if (runs_ > 0 || rewired_) return;  // a node may be on its way again
    const auto check = [this](const std::vector<AnyNode>& nodes, NodeState state) {
        for (const AnyNode& node : nodes) {
            if (node.state() != state) wrong("{} is not as the report says", node.id());
            digest_.add(number_of(node));
        }
    };
    check(report.completed(), NodeState::completed);
    check(report.failed(), NodeState::failed);
    check(report.skipped(), NodeState::skipped);
    check(report.cancelled(), NodeState::cancelled);
}

// A turn of the program beside its loop.
inline void Program::outside() {
    const unsigned what = tape_.below(4);
    ++spent_;
    try {
        if (what < 2) {
            say(main_number, "loop.run");
            loop_.run(in_loop(this));
        } else if (what == 2) {
            iterate_some();
        } else {
            act(tape_.below(waits), tape_, main_number);
        }
    } catch (...) {
        const std::string_view error = note_error(main_number);
        if (error == "DeadlockError" && !may_block_) wrong("nothing here can wait for ever");
        if (error == "Cancelled") wrong("the main program was not cancelled by anybody");
    }
}

inline void Program::iterate_some() {
    const auto& executor = pick(executors_, tape_);
    unsigned events = tape_.below(8);
    if (!executor) return;
    say(main_number, "iterate over e{}", place_of(executors_, executor));
    const Counting counted(runs_);
    for (const Event& event : iterate(loop_, executor->yielding())) {
        note_event(event, main_number);
        if (events-- == 0) break;
        if (tape_.flag()) act(tape_.below(waits), tape_, main_number);
    }
}

inline void Program::finish() {
    say(main_number, "the end");
    for (Stream& stream : streams_) close_stream(stream);
    if (inside_ != 0) wrong("{} bodies are still there", inside_);
    for (std::size_t i = 0; i < guards_.size(); ++i) {
        guards_[i].release();
        if (semaphores_[i].available() != semaphores_[i].capacity()) {
            wrong("semaphore {} was not given back", i);
        }
        if (semaphores_[i].waiting() != 0) wrong("somebody waits for semaphore {}", i);
    }
    if (rate_.waiting() != 0) wrong("somebody waits for the rate limiter");
    if (runs_ != 0) return;  // it was spawned, and never ran
    for (const Slot& slot : slots_) {
        if (!slot.node) continue;
        const NodeState state = slot.node.state();
        digest_.add(static_cast<int>(state));
        if (state == NodeState::running) wrong("{} is {} in the end", slot.node.id(), state);
    }
}

}  // namespace torture::fuzz
