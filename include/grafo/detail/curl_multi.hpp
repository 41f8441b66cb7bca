#pragma once
#include <grafo/detail/poll_reactor.hpp>

#include <curl/curl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <system_error>

#include <grafo/detail/context.hpp>
#include <grafo/errors.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/reactor.hpp>

namespace grafo::detail {

// Holds SIGPIPE back from this thread: libcurl's TLS libraries write to sockets without
// MSG_NOSIGNAL, and what libcurl itself does about that changes the handler of the whole process.
class NoSigpipe {
public:
    NoSigpipe() noexcept {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    NoSigpipe(const NoSigpipe&) = delete;
    NoSigpipe& operator=(const NoSigpipe&) = delete;
    ~NoSigpipe() {
        if (sigismember(&before_, SIGPIPE) == 1) return;
        const int error = errno;
        const timespec at_once{};
        while (sigtimedwait(&pipe_, nullptr, &at_once) == -1 && errno == EINTR) {
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        errno = error;
    }

private:
    sigset_t pipe_;
    sigset_t before_;
};

// A request that a multi handle has at work.
class CurlJob : Link {
public:
    explicit CurlJob(CURL* easy) noexcept : easy_(easy) {}
    CurlJob(const CurlJob&) = delete;
    CurlJob& operator=(const CurlJob&) = delete;

    [[nodiscard]] CURL* easy() const noexcept { return easy_; }
    // Added and neither ended nor removed.
    [[nodiscard]] bool at_work() const noexcept { return linked(); }

protected:
    ~CurlJob() = default;
    // Removed from the multi handle already; must not resume anything.
    virtual void ended(CURLcode code) noexcept = 0;
    // Somebody waits for it, whom a loop would resume.
    [[nodiscard]] virtual bool awaited() const noexcept = 0;

private:
    friend class CurlMulti;
    friend class LinkList<CurlJob>;

    CURL* easy_;
    bool live_ = false;
};

// A multi handle whose sockets and timeout are in one epoll descriptor, which the loop's reactor
// watches while something is under way. Its timeout is not among the loop's timers, since it counts
// real time, also on a loop whose time is virtual.
class CurlMulti final : Watcher {
public:
    CurlMulti(std::size_t per_host, std::size_t in_all)
        : epoll_(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"),
          timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create"),
          multi_(make()) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = timer_.get();
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &event) != 0) {
            throw std::system_error(errno, std::generic_category(), "epoll_ctl");
        }
        curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &CurlMulti::on_socket);
        curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
        curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &CurlMulti::on_timer);
        curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
        curl_multi_setopt(multi_.get(), CURLMOPT_MAX_HOST_CONNECTIONS, limit(per_host));
        curl_multi_setopt(multi_.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, limit(in_all));
        // Idle ones: else libcurl keeps four times the requests that are left at that moment.
        curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS,
                          static_cast<long>(std::min(in_all, std::size_t(INT_MAX))));
    }
    CurlMulti(const CurlMulti&) = delete;
    CurlMulti& operator=(const CurlMulti&) = delete;
    // Each job holds the multi handle: there is none left.
    ~CurlMulti() {
        const NoSigpipe guard;
        multi_.reset();
    }

    // Throws `Error` where no loop runs, or where another loop waits for this handle.
    CURLMcode add(CurlJob& job) {
        attach();
        curl_easy_setopt(job.easy(), CURLOPT_PRIVATE, &job);
        const CURLMcode code = curl_multi_add_handle(multi_.get(), job.easy());
        if (code == CURLM_OK) jobs_.push_back(job);
        set_live(job, code == CURLM_OK);
        return code;
    }
    // Aborts what is not at its end. Anywhere, with or without a loop, but not in a callback.
    void remove(CurlJob& job) noexcept {
        if (!job.at_work()) return;
        const NoSigpipe guard;
        job.unlink();
        curl_multi_remove_handle(multi_.get(), job.easy());
        set_live(job, false);
    }
    // In the callback that says so to libcurl: it does not go on until it is told to.
    void paused(CurlJob& job) noexcept { set_live(job, false); }
    // May call the job's callbacks, and `ended`. Throws as `add` does.
    void go_on(CurlJob& job) {
        attach();
        set_live(job, true);
        const NoSigpipe guard;
        const CURLcode code = curl_easy_pause(job.easy(), CURLPAUSE_CONT);
        if (code != CURLE_OK) end(job, code);
    }
    // The loop of whoever will wait, once it is known that nobody waits in another.
    void attach() {
        EventLoop& loop = EventLoop::current();
        const Shared<Mailbox>& mailbox = LoopAccess::mailbox(loop);
        if (home_ != mailbox) {
            jobs_.for_each([](CurlJob& job) {
                if (!job.awaited()) return;
                throw Error(
                    "an Http was used in one EventLoop while requests of it are under way in "
                    "another: give each loop its own");
            });
            watch_.reset();
            home_ = mailbox;
            core_ = &LoopAccess::core(loop);
        }
        if (watch_ == nullptr) watch_ = watch(loop, epoll_.get(), *this);
    }

    // The loop that waits, if any does. It need not be the current one: handlers of a reactor may
    // be run from outside.
    [[nodiscard]] LoopCore& home() const noexcept { return *core_; }

private:
    struct Cleanup {
        void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
    };
    using Multi = std::unique_ptr<CURLM, Cleanup>;

    static Multi make() {
        static const CURLcode initialized = curl_global_init(CURL_GLOBAL_ALL);
        if (initialized != CURLE_OK) {
            throw Error(std::string("libcurl cannot be used: ") + curl_easy_strerror(initialized));
        }
        Multi multi(curl_multi_init());
        if (multi == nullptr) throw std::bad_alloc();
        return multi;
    }
    static long limit(std::size_t n) noexcept {
        return n > INT_MAX ? 0L : static_cast<long>(n);  // 0: none
    }

    // The loop's reactor says that a socket or the timer is ready.
    void readable() noexcept override {
        const NoSigpipe guard;
        std::array<epoll_event, 64> events;
        const int count = ::epoll_wait(epoll_.get(), events.data(), int(events.size()), 0);
        CURLMcode code = CURLM_OK;
        for (int i = 0; i < count && code == CURLM_OK; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            int left = 0;
            if (event.data.fd == timer_.get()) {
                std::uint64_t expired = 0;
                static_cast<void>(!::read(timer_.get(), &expired, sizeof expired));
                code = curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &left);
            } else {
                const int ready =
                    ((event.events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                    ((event.events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                    ((event.events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
                code = curl_multi_socket_action(multi_.get(), event.data.fd, ready, &left);
            }
        }
        collect();
        if (code != CURLM_OK) {  // no more memory or descriptors: the handle is of no use any more
            jobs_.for_each([&](CurlJob& job) { end(job, CURLE_OUT_OF_MEMORY); });
        }
    }

    void collect() noexcept {
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            const CURLcode code = message->data.result;  // gone with the handle
            void* job = nullptr;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &job);
            end(*static_cast<CurlJob*>(job), code);
        }
    }
    void end(CurlJob& job, CURLcode code) noexcept {
        remove(job);
        job.ended(code);
    }

    void set_live(CurlJob& job, bool live) noexcept {
        if (job.live_ != live) live_ += live ? 1 : std::size_t(-1);
        job.live_ = live;
        if (live_ == 0) watch_.reset();
    }

    static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void* known) noexcept {
        auto& multi = *static_cast<CurlMulti*>(self);
        epoll_event event{};
        event.data.fd = socket;
        if (what == CURL_POLL_REMOVE) {
            ::epoll_ctl(multi.epoll_.get(), EPOLL_CTL_DEL, socket, &event);
            return 0;
        }
        event.events = ((what & CURL_POLL_IN) != 0 ? unsigned(EPOLLIN) : 0U) |
                       ((what & CURL_POLL_OUT) != 0 ? unsigned(EPOLLOUT) : 0U);
        const int first = known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        const int other = known == nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
        if (::epoll_ctl(multi.epoll_.get(), first, socket, &event) != 0 &&
            ::epoll_ctl(multi.epoll_.get(), other, socket, &event) != 0) {
            return -1;
        }
        if (known == nullptr) curl_multi_assign(multi.multi_.get(), socket, &multi);
        return 0;
    }

    static int on_timer(CURLM*, long milliseconds, void* self) noexcept {
        itimerspec time{};  // all zero: disarmed
        if (milliseconds == 0) {
            time.it_value.tv_nsec = 1;
        } else if (milliseconds > 0) {
            time.it_value.tv_sec = milliseconds / 1000;
            time.it_value.tv_nsec = milliseconds % 1000 * 1'000'000;
        }
        ::timerfd_settime(static_cast<CurlMulti*>(self)->timer_.get(), 0, &time, nullptr);
        return 0;
    }

    Descriptor epoll_;
    Descriptor timer_;
    Multi multi_;
    Shared<Mailbox> home_;          // of the loop that used it last
    LoopCore* core_ = nullptr;      // of that loop, which may be gone
    std::unique_ptr<Watch> watch_;  // while a job is live
    LinkList<CurlJob> jobs_;
    std::size_t live_ = 0;  // at work and not paused: libcurl will have something to do for them
};

}  // namespace grafo::detail
