// What ends the program on purpose, in a process of its own.
#pragma once
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>

namespace grafo_test {

// What `fn` writes to stderr before it ends by abort(); of any other end, an account of that.
template <class F>
[[nodiscard]] std::string last_words(F&& fn) {
    int ends[2];
    if (::pipe(ends) != 0) return "no pipe";
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child < 0) return "no process";
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);  // Catch2's would report the test
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        ::alarm(60);
        try {
            std::forward<F>(fn)();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "threw: %s\n", error.what());
        } catch (...) {
            std::fprintf(stderr, "threw something\n");
        }
        std::fprintf(stderr, "and lived\n");
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string words;
    char some[512];
    for (ssize_t size = 0; (size = ::read(ends[0], some, sizeof some)) > 0;) {
        words.append(some, static_cast<std::size_t>(size));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) return words;
    return "not aborted (status " + std::to_string(status) + "): " + words;
}

}  // namespace grafo_test
