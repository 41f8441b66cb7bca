// What the programs here have in common: their options, their numbers, their line of figures.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace torture {

/// Makes a number of another, all bits of which depend on all bits.
constexpr std::uint64_t mix(std::uint64_t z) noexcept {
    z += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
}

/// Numbers that look random, the same with each compiler and standard library.
class Random {
public:
    explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
    std::uint64_t next() noexcept { return mix(state_++); }
    /// From 0 to n - 1.
    template <std::integral N>
    N below(N n) noexcept {
        return static_cast<N>(next() % static_cast<std::uint64_t>(n));
    }
    /// True once in n times.
    bool one_in(unsigned n) noexcept { return below(n) == 0; }

private:
    std::uint64_t state_;
};

/// A hash of what was added, in that order. Add no addresses, times, or orders of a hash table.
class Digest {
public:
    template <std::integral N>
    void add(N n) noexcept {
        hash_ = mix(hash_ ^ static_cast<std::uint64_t>(n));
    }
    void add(std::string_view text) noexcept {
        add(text.size());
        for (const char c : text) add(static_cast<unsigned char>(c));
    }
    [[nodiscard]] std::uint64_t value() const noexcept { return hash_; }

private:
    std::uint64_t hash_ = 0;
};

enum class Length : unsigned char { brief, middle, full };

/// How many cases each form has.
struct Cases {
    std::uint64_t brief;
    std::uint64_t middle;
    std::uint64_t full;
};

/// One program: it reads the options, knows which case is on, and prints the figures.
///     --short (unless said otherwise), --middle, --long; --seed N; --only K
///     --first ends it with the first case that fails, which is not made smaller
/// --apart, with --only, is what it calls itself with to shrink a case that has ended it.
class Topic {
public:
    Topic(std::string_view name, int argc, char** argv) : name_(name) {
        for (int i = 1; i < argc; ++i) {
            const std::string_view option = argv[i];
            if (option == "--short") {
                length_ = Length::brief;
            } else if (option == "--middle") {
                length_ = Length::middle;
            } else if (option == "--long") {
                length_ = Length::full;
            } else if (option == "--seed" && i + 1 < argc) {
                seed_ = number(argv[++i]);
            } else if (option == "--only" && i + 1 < argc) {
                only_ = number(argv[++i]);
            } else if (option == "--first") {
                first_ = true;
            } else if (option == "--apart") {
                apart_ = true;
            } else {
                refuse(option);
            }
        }
        watch();
    }
    Topic(const Topic&) = delete;
    Topic& operator=(const Topic&) = delete;

    [[nodiscard]] Length length() const noexcept { return length_; }
    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
    [[nodiscard]] bool first() const noexcept { return first_; }
    /// Whether one case is repeated: then it may tell more.
    [[nodiscard]] bool alone() const noexcept { return only_.has_value(); }
    /// `one()` gives what went wrong, and may end the program: then in a process of its own, once
    /// one has. Call `shrinks()` first if that is how cases are made smaller.
    template <class One>
    [[nodiscard]] std::string outcome(One one) const {
        return apart_ ? outcome_apart(one) : one();
    }
    void shrinks() noexcept { shrinks_ = true; }
    [[nodiscard]] std::uint64_t pick(const Cases& cases) const noexcept {
        if (length_ == Length::brief) return cases.brief;
        return length_ == Length::middle ? cases.middle : cases.full;
    }
    /// Numbers for one case: whatever the others draw.
    [[nodiscard]] Random random_of(std::uint64_t number) const noexcept {
        return Random(mix(mix(seed_) ^ number));
    }
    [[nodiscard]] Digest& digest() noexcept { return digest_; }

    /// Begins the case of that number, unless another one is asked for: then false.
    bool begin(std::uint64_t number) noexcept {
        if (only_ && *only_ != number) return false;
        now() = {this, number};
        ++cases_;
        alarm(stuck_after);
        return true;
    }
    /// The case of that number went wrong: what, in lines.
    void fail(std::uint64_t number, std::string_view what) {
        if (++failures_ <= most_shown) {
            fmt::print(
                "{}: case {} of seed {} failed. Repeat it: ./tests/torture {} {} --seed {} --only "
                "{}\n{}\n",
                name_, number, seed_, name_, form(), seed_, number, what);
        }
        std::fflush(stdout);
        if (first_) std::_Exit(1);
    }
    /// All cases of the form: `one(number, random, digest)` gives what went wrong, empty if
    /// nothing.
    template <class One>
    int run(const Cases& cases, One one) {
        const std::uint64_t count = pick(cases);
        for (std::uint64_t number = only_.value_or(0); only_ || number < count; ++number) {
            begin(number);
            const std::string what = one(number, random_of(number), digest_);
            if (!what.empty()) fail(number, what);
            if (only_) break;
        }
        return finish();
    }
    /// Prints the figures; gives what `main` returns.
    int finish() {
        alarm(0);
        now() = {};
        if (cases_ == 0) ++failures_;  // --only names none
        fmt::print("{} {} seed {} cases {} failures {} digest {:016x}\n", name_, form(), seed_,
                   cases_, failures_, digest_.value());
        return failures_ == 0 ? 0 : 1;
    }

private:
    static constexpr std::uint64_t most_shown = 3;
    static constexpr unsigned stuck_after = 120;  // seconds for one case, of the wall's clock

    [[nodiscard]] std::string_view form() const noexcept {
        if (length_ == Length::brief) return "--short";
        return length_ == Length::middle ? "--middle" : "--long";
    }
    [[noreturn]] void refuse(std::string_view option) const {
        fmt::print(stderr,
                   "{}: '{}'? It takes --short, --middle or --long, --seed N, --only K, --first\n",
                   name_, option);
        std::exit(2);
    }
    [[nodiscard]] std::uint64_t number(const char* text) const {
        char* end = nullptr;
        const std::uint64_t value = std::strtoull(text, &end, 10);
        if (end == text || *end != '\0') refuse(text);
        return value;
    }

    template <class One>
    [[nodiscard]] static std::string outcome_apart(One& one) {
        std::array<int, 2> ends{};
        if (pipe(ends.data()) != 0) return "  no pipe\n";
        const pid_t child = fork();
        if (child == 0) {
            now() = {};
            for (const Watched& watched_one : watched()) signal(watched_one.signal, SIG_DFL);
            if (freopen("/dev/null", "w", stderr) == nullptr) _exit(3);
            alarm(10);
            const std::string what = one();
            _exit(write(ends[1], what.data(), what.size()) < 0 ? 3 : 0);
        }
        close(ends[1]);
        std::string what;
        std::array<char, 512> some{};
        for (ssize_t size = 1; size > 0;) {
            size = read(ends[0], some.data(), some.size());
            if (size > 0) what.append(some.data(), static_cast<std::size_t>(size));
        }
        close(ends[0]);
        int status = 0;
        if (waitpid(child, &status, 0) < 0) return "  no child\n";
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return "  it does not end\n";
        if (WIFSIGNALED(status)) return fmt::format("  it ends by signal {}\n", WTERMSIG(status));
        return status == 0 ? what : what + "  it ends, as by a sanitizer\n";
    }

    // A case that ends the program, or does not end, is named as well.
    struct Now {
        const Topic* topic = nullptr;
        std::uint64_t number = 0;
    };
    static Now& now() noexcept {
        static Now value;
        return value;
    }
    struct Watched {
        int signal;
        struct sigaction before;
    };
    static std::array<Watched, 5>& watched() noexcept {
        static std::array<Watched, 5> all{
            {{SIGABRT, {}}, {SIGSEGV, {}}, {SIGBUS, {}}, {SIGFPE, {}}, {SIGALRM, {}}}};
        return all;
    }
    static void watch() noexcept {
        for (Watched& one : watched()) {
            struct sigaction action{};
            action.sa_handler = &Topic::tell;
            action.sa_flags = SA_NODEFER;  // it is not held back in the program that it becomes
            sigaction(one.signal, &action, &one.before);
        }
    }
    static void tell(int signal) {
        if (const Topic* topic = now().topic) {
            std::array<char, 256> line;
            const auto end = fmt::format_to_n(
                line.data(), line.size(),
                "{}: {} in case {} of seed {}: ./tests/torture {} {} --seed {} --only {}\n",
                topic->name_, signal == SIGALRM ? "stuck" : "crashed", now().number, topic->seed_,
                topic->name_, topic->form(), topic->seed_, now().number);
            const auto size = end.size < line.size() ? end.size : line.size();
            if (write(STDERR_FILENO, line.data(), size) < 0) _exit(3);
            if (topic->shrinks_ && !topic->alone() && !topic->first()) topic->look_apart();
        }
        if (signal == SIGALRM) _exit(1);
        // What went wrong goes wrong again, and the sanitizer or the system sees it.
        for (const Watched& one : watched()) {
            if (one.signal == signal) sigaction(signal, &one.before, nullptr);
        }
    }

    // The program once more, for the case that has ended it.
    void look_apart() const {
        const auto text = [](std::array<char, 24>& to, std::uint64_t number) {
            *fmt::format_to(to.data(), "{}", number) = '\0';
            return to.data();
        };
        std::array<char, 24> seed{};
        std::array<char, 24> only{};
        execl("/proc/self/exe", name_.data(), form().data(), "--seed", text(seed, seed_), "--only",
              text(only, now().number), "--apart", static_cast<char*>(nullptr));
    }

    std::string_view name_;
    Length length_ = Length::brief;
    std::uint64_t seed_ = 1;
    std::optional<std::uint64_t> only_;
    bool first_ = false;
    bool apart_ = false;
    bool shrinks_ = false;
    std::uint64_t cases_ = 0;
    std::uint64_t failures_ = 0;
    Digest digest_;
};

}  // namespace torture
