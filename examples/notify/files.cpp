#include "files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "../common/file.hpp"
#include "delivery_error.hpp"

namespace fs = std::filesystem;

namespace {

class Descriptor {
public:
    explicit Descriptor(int descriptor) noexcept : descriptor_(descriptor) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    [[nodiscard]] int get() const noexcept { return descriptor_; }
    [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }

private:
    int descriptor_;
};

// A full disk may have room later, a folder that does not exist stays away.
DeliveryError write_error(const fs::path& file, std::error_code error) {
    const bool transient = error == std::errc::no_space_on_device || error == std::errc::io_error ||
                           error == std::errc::too_many_files_open ||
                           error == std::errc::too_many_files_open_in_system ||
                           error == std::error_code(EDQUOT, std::generic_category());
    return DeliveryError(cannot("write", file, error).what(), transient);
}

[[noreturn]] void cannot_write(const fs::path& file) { throw write_error(file, last_error()); }

// Between processes, until the descriptor is closed or the lock is let go.
void lock(int descriptor, int how, const fs::path& file) {
    while (::flock(descriptor, how) != 0) {
        if (errno != EINTR) cannot_write(file);
    }
}

// False once `LetterFile::replace` has put another one in its place.
bool is_at(int descriptor, const fs::path& file) {
    struct stat mine = {};
    struct stat there = {};
    return ::fstat(descriptor, &mine) == 0 && ::stat(file.c_str(), &there) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

std::size_t size_of(int descriptor) {
    struct stat info = {};
    return ::fstat(descriptor, &info) == 0 ? static_cast<std::size_t>(info.st_size) : 0;
}

bool write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t size = ::write(descriptor, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return false;
        text.remove_prefix(static_cast<std::size_t>(size));
    }
    // what is no ordinary file, /dev/stdout for one, has no disk to be on
    return ::fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS;
}

// What follows the first `offset` bytes.
std::string read_from(int descriptor, std::size_t offset, const fs::path& file) {
    std::string text;
    char buffer[1 << 14];
    for (;;) {
        const ssize_t size =
            ::pread(descriptor, buffer, sizeof buffer, static_cast<off_t>(offset + text.size()));
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) throw_errno("read", file);
        if (size == 0) return text;
        text.append(buffer, static_cast<std::size_t>(size));
    }
}

std::vector<Letter> parse_letters(std::string_view text, const fs::path& file) {
    std::vector<Letter> letters;
    for (std::size_t line = 1; !text.empty(); ++line) {
        const std::size_t end = text.find('\n');
        try {
            letters.push_back(parse_letter(text.substr(0, end)));
        } catch (const std::runtime_error& error) {
            throw std::runtime_error(
                fmt::format("{}: line {} is no letter: {}", file.string(), line, error.what()));
        }
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return letters;
}

}  // namespace

void append_lines(const fs::path& file, std::string_view lines) {
    for (;;) {
        // a pipe that nobody reads must not block
        const Descriptor open(
            ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666));
        if (open.get() < 0) cannot_write(file);
        lock(open.get(), LOCK_EX, file);
        if (!is_at(open.get(), file)) continue;
        const std::size_t before = size_of(open.get());
        if (write_all(open.get(), lines)) return;
        const std::error_code error = last_error();
        // half a line would spoil the next one; where this fails it is no ordinary file
        static_cast<void>(!::ftruncate(open.get(), static_cast<off_t>(before)));
        throw write_error(file, error);
    }
}

LetterFile::LetterFile(const fs::path& file) : file_(-1) {
    Descriptor open(::open(file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (open.get() < 0) throw_errno("read", file);
    struct stat info = {};
    if (::fstat(open.get(), &info) != 0) throw_errno("read", file);
    if (!S_ISREG(info.st_mode)) {
        throw std::runtime_error(fmt::format("{} is no ordinary file", file.string()));
    }
    path_ = fs::canonical(file);  // else `replace` would replace a link
    // A second kind of lock, which does not keep others from appending.
    struct flock whole = {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(open.get(), F_OFD_SETLK, &whole) != 0 || !is_at(open.get(), path_)) {
        throw std::runtime_error(
            fmt::format("another run is trying the letters of {} again", file.string()));
    }
    lock(open.get(), LOCK_SH, file);
    const std::string text = read_from(open.get(), 0, file);
    lock(open.get(), LOCK_UN, file);
    size_ = text.size();
    letters_ = parse_letters(text, file);
    file_ = open.release();
}

LetterFile::~LetterFile() {
    if (file_ >= 0) ::close(file_);
}

void LetterFile::replace(std::string_view lines) {
    lock(file_, LOCK_EX, path_);
    const std::string left = std::string(lines) + read_from(file_, size_, path_);
    if (left.empty()) {
        if (::ftruncate(file_, 0) != 0 || ::fsync(file_) != 0) cannot_write(path_);
    } else {
        const fs::path part = path_.string() + ".part";
        struct stat info = {};
        const Descriptor open(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        if (open.get() < 0) cannot_write(part);
        if (!write_all(open.get(), left) || ::fstat(file_, &info) != 0 ||
            ::fchmod(open.get(), info.st_mode & 07777) != 0 ||
            std::rename(part.c_str(), path_.c_str()) != 0) {
            const std::error_code error = last_error();
            ::unlink(part.c_str());
            throw write_error(path_, error);
        }
    }
    lock(file_, LOCK_UN, path_);
}
