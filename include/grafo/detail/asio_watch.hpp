#pragma once
#include <memory>
#include <utility>

#include <grafo/detail/asio_library.hpp>
#include <grafo/detail/link.hpp>
#include <grafo/reactor.hpp>

// The descriptors that a loop has its io_context watch, for other sources of events: each is waited
// for by Asio, and waited for again once its watcher was told.
namespace grafo::detail {

class AsioWatches {
public:
    AsioWatches() = default;
    AsioWatches(const AsioWatches&) = delete;
    AsioWatches& operator=(const AsioWatches&) = delete;
    virtual ~AsioWatches() { end_all(); }

    [[nodiscard]] std::unique_ptr<Watch> begin(net::io_context& io, int descriptor,
                                               Watcher& watcher) {
        auto state = std::make_shared<State>(io, descriptor);
        auto entry = std::make_unique<Entry>(std::move(state), watcher);
        waiting_.push_back(*entry);
        await(entry->state);
        return entry;
    }
    [[nodiscard]] bool any() const noexcept { return !waiting_.empty() || !due_.empty(); }
    // Between two rounds of the loop: a watcher may end its own watch, and others, and begin some.
    void tell() {
        LinkList<Entry> due;
        due.splice_back(due_);
        while (!due.empty()) {
            Entry& entry = due.front();
            entry.unlink();
            waiting_.push_back(entry);
            const std::shared_ptr<State> state = entry.state;
            entry.watcher.readable();
            if (state->entry != nullptr) await(state);
        }
    }
    // Those that are destroyed later are nothing.
    void end_all() noexcept {
        const auto end = [](Entry& entry) { entry.end(); };
        waiting_.for_each(end);
        due_.for_each(end);
    }

protected:
    // A handler of the context's has found one due.
    virtual void found_due() noexcept = 0;

private:
    struct Entry;
    // What a handler uses, which may stay in the context for longer than the watch.
    struct State {
        State(net::io_context& io, int d) : descriptor(io, d) {}
        net::posix::stream_descriptor descriptor;
        Entry* entry = nullptr;  // null once that has ended
    };
    struct Entry final : Watch, Link {
        Entry(std::shared_ptr<State> s, Watcher& w) noexcept : state(std::move(s)), watcher(w) {
            state->entry = this;
        }
        ~Entry() override { end(); }
        // The descriptor stays its owner's, and open.
        void end() noexcept {
            if (state == nullptr) return;
            state->entry = nullptr;
            state->descriptor.release();
            state = nullptr;
            Link::unlink();
        }
        std::shared_ptr<State> state;
        Watcher& watcher;
    };

    void await(const std::shared_ptr<State>& state) {
        state->descriptor.async_wait(net::posix::stream_descriptor::wait_read,
                                     [this, state](const NetErrorCode&) {
                                         if (state->entry == nullptr) return;
                                         state->entry->unlink();
                                         due_.push_back(*state->entry);
                                         found_due();
                                     });
    }

    LinkList<Entry> waiting_;
    LinkList<Entry> due_;
};

}  // namespace grafo::detail
