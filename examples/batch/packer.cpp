#include "packer.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace fs = std::filesystem;

namespace {

constexpr std::size_t piece = 1 << 16;

void expect(bool done) {
    if (!done) throw std::runtime_error("OpenSSL cannot compute a SHA-256");
}

}  // namespace

void Sha256::update(const void* data, std::size_t size) {
    if (context_ == nullptr) {
        context_.reset(EVP_MD_CTX_new());
        expect(context_ != nullptr);
        expect(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
    }
    expect(EVP_DigestUpdate(context_.get(), data, size) == 1);
}

std::string Sha256::finish() {
    update("", 0);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    expect(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
    context_.reset();
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
}

Packer::Packer(fs::path source, fs::path target)
    : source_(std::move(source)), target_(std::move(target)), part_(target_.string() + ".part") {}

Packer::~Packer() {
    if (!part_is_there_) return;
    gz_.reset();
    std::error_code ignored;
    fs::remove(part_, ignored);
}

bool Packer::step() {
    switch (stage_) {
        case Stage::open: open(); break;
        case Stage::pack: pack(); break;
        case Stage::check: check(); break;
        case Stage::done: break;
    }
    return stage_ != Stage::done;
}

void Packer::open() {
    in_.reset(std::fopen(source_.c_str(), "rbe"));
    if (in_ == nullptr) throw_errno("read", source_);
    struct stat info = {};
    if (::fstat(::fileno(in_.get()), &info) != 0) throw_errno("read", source_);
    entry_.modified = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;

    std::error_code error;
    fs::create_directories(target_.parent_path(), error);
    if (error) {
        throw std::runtime_error(fmt::format("cannot make the folder {}: {}",
                                             target_.parent_path().string(), error.message()));
    }
    errno = ENOMEM;  // which zlib does not set
    gz_.reset(gzopen(part_.c_str(), "wbe"));
    if (gz_ == nullptr) throw_errno("write", part_);
    part_is_there_ = true;
    buffer_.resize(piece);
    stage_ = Stage::pack;
}

void Packer::pack() {
    const std::size_t size = std::fread(buffer_.data(), 1, piece, in_.get());
    if (std::ferror(in_.get()) != 0) throw_errno("read", source_);
    if (size == 0) {
        begin_check();
        return;
    }
    hash_.update(buffer_.data(), size);
    if (gzwrite(gz_.get(), buffer_.data(), static_cast<unsigned>(size)) <= 0) {
        throw_errno("write", part_);
    }
    read_ += size;
}

void Packer::begin_check() {
    in_.reset();
    if (gzclose(gz_.release()) != Z_OK) throw_errno("write", part_);
    entry_.sha256 = hash_.finish();
    entry_.size = read_;
    errno = ENOMEM;
    gz_.reset(gzopen(part_.c_str(), "rbe"));
    if (gz_ == nullptr) throw_errno("read", part_);
    stage_ = Stage::check;
}

void Packer::check() {
    const int size = gzread(gz_.get(), buffer_.data(), piece);
    int error = Z_OK;
    const char* const message = gzerror(gz_.get(), &error);
    if (error != Z_OK) throw std::runtime_error(fmt::format("cannot unpack {}", message));
    if (size == 0) {
        put_in_place();
        return;
    }
    hash_.update(buffer_.data(), static_cast<std::size_t>(size));
    checked_ += static_cast<std::size_t>(size);
}

void Packer::put_in_place() {
    gz_.reset();
    if (checked_ != read_ || hash_.finish() != entry_.sha256) {
        throw std::runtime_error(
            fmt::format("what was packed of {} is not what was read", source_.string()));
    }
    entry_.packed = fs::file_size(part_);
    if (std::rename(part_.c_str(), target_.c_str()) != 0) throw_errno("write", target_);
    part_is_there_ = false;
    stage_ = Stage::done;
}
