#pragma once
#if !defined(__linux__)
#error "grafo: descriptors are watched by ppoll and eventfd, which are Linux's"
#endif
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <grafo/detail/owned.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/reactor.hpp>

namespace grafo::detail {

// A file descriptor and its owner.
class Descriptor {
public:
    // What a system call gave; throws `std::system_error` if that is -1.
    Descriptor(int descriptor, const char* call) : descriptor_(descriptor) {
        if (descriptor < 0) throw std::system_error(errno, std::generic_category(), call);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { ::close(descriptor_); }
    [[nodiscard]] int get() const noexcept { return descriptor_; }

private:
    int descriptor_;
};

// Sleeps in ppoll, on an eventfd for `wake` and on what it watches: few descriptors, such as one
// epoll descriptor for all sockets of an HTTP client.
class PollReactor final : public Reactor {
public:
    PollReactor() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd") {}
    ~PollReactor() override {
        for (Entry* entry : entries_) {
            if (entry != nullptr) entry->reactor = nullptr;
        }
    }

    void wait(const TimePoint* deadline) override {
        if (deadline == nullptr) {
            poll_for(nullptr);
            return;
        }
        const auto left = std::max(*deadline - std::chrono::steady_clock::now(),
                                   std::chrono::steady_clock::duration::zero());
        const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
        timespec timeout{};
        timeout.tv_sec = static_cast<time_t>(seconds.count());
        timeout.tv_nsec = static_cast<long>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(left - seconds).count());
        poll_for(&timeout);
    }
    void wake() noexcept override {
        const std::uint64_t one = 1;
        static_cast<void>(!::write(wake_.get(), &one, sizeof one));  // full: it is awake already
    }
    bool busy() const noexcept override { return watched_ > 0; }
    void poll() override {
        if (watched_ == 0) return;
        const timespec at_once{};
        poll_for(&at_once);
    }
    std::unique_ptr<Watch> watch(int descriptor, Watcher& watcher) override {
        entries_.reserve(entries_.size() + 1);
        auto entry = std::make_unique<Entry>(*this, descriptor, watcher);
        entries_.push_back(entry.get());
        ++watched_;
        return entry;
    }

private:
    struct Entry final : Watch {
        Entry(PollReactor& r, int d, Watcher& w) noexcept
            : reactor(&r), descriptor(d), watcher(w) {}
        ~Entry() override {
            if (reactor == nullptr) return;
            *std::find(reactor->entries_.begin(), reactor->entries_.end(), this) = nullptr;
            --reactor->watched_;
        }
        PollReactor* reactor;  // null once that is gone
        int descriptor;
        Watcher& watcher;
    };

    void poll_for(const timespec* timeout) {
        std::erase(entries_, nullptr);
        polled_.clear();
        polled_.push_back(pollfd{wake_.get(), POLLIN, 0});
        for (const Entry* entry : entries_) {
            polled_.push_back(pollfd{entry->descriptor, POLLIN, 0});
        }
        if (::ppoll(polled_.data(), polled_.size(), timeout, nullptr) <= 0) return;
        if (polled_.front().revents != 0) {
            std::uint64_t count = 0;
            static_cast<void>(!::read(wake_.get(), &count, sizeof count));
        }
        for (std::size_t i = 1; i < polled_.size(); ++i) {
            Entry* const entry = entries_[i - 1];  // null if a watcher before has ended it
            if (polled_[i].revents != 0 && entry != nullptr) entry->watcher.readable();
        }
    }

    Descriptor wake_;
    std::vector<Entry*> entries_;  // null where one has ended since the last poll
    std::vector<pollfd> polled_;   // the eventfd, then the entries
    std::size_t watched_ = 0;
};

// Has the loop's reactor watch a descriptor. A loop that sleeps in a reactor of its own, which
// cannot, sleeps in a PollReactor from then on; throws `Error` if it is the user's that cannot.
[[nodiscard]] inline std::unique_ptr<Watch> watch(EventLoop& loop, int descriptor,
                                                  Watcher& watcher) {
    if (descriptor < 0) {
        throw Error("a loop cannot watch the descriptor " + std::to_string(descriptor) +
                    ": descriptors are 0 or more");
    }
    if (LoopAccess::sleeps_in_own(loop)) {
        LoopAccess::sleep_in(loop, Owned<Reactor>(new PollReactor));
    }
    std::unique_ptr<Watch> watch = LoopAccess::reactor(loop).watch(descriptor, watcher);
    if (watch == nullptr) {
        throw Error(
            "the Reactor that this EventLoop was given cannot watch descriptors: it does not "
            "override Reactor::watch");
    }
    return watch;
}

}  // namespace grafo::detail
