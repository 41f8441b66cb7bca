#pragma once
#include <openssl/evp.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "../common/file.hpp"
#include "manifest.hpp"

/// A SHA-256 in the making. Throws `std::runtime_error` where OpenSSL fails.
class Sha256 {
public:
    void update(const void* data, std::size_t size);
    /// In hexadecimal; begins anew.
    [[nodiscard]] std::string finish();

private:
    struct Free {
        void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
    };
    std::unique_ptr<EVP_MD_CTX, Free> context_;
};

/// Packs one file, a piece at a time, on whichever thread calls: reads and hashes it, packs it into
/// a file beside the target, unpacks and hashes that, and only then gives it the target's name. So
/// what has that name is whole. The file beside it goes with the packer.
class Packer {
public:
    Packer(std::filesystem::path source, std::filesystem::path target);
    Packer(const Packer&) = delete;
    Packer& operator=(const Packer&) = delete;
    ~Packer();

    /// Does the next piece, at most 64 KiB; false once all is done. Throws `std::runtime_error`.
    bool step();

    /// Bytes read from the source, and again when they were unpacked.
    [[nodiscard]] std::uintmax_t progress() const { return read_ + checked_; }
    /// What has been packed, once `step` has given false.
    [[nodiscard]] const Entry& entry() const { return entry_; }

private:
    enum class Stage { open, pack, check, done };
    struct CloseGz {
        void operator()(gzFile file) const { gzclose(file); }
    };

    void open();
    void pack();
    void begin_check();
    void check();
    void put_in_place();

    std::filesystem::path source_;
    std::filesystem::path target_;
    std::filesystem::path part_;
    Stage stage_ = Stage::open;
    bool part_is_there_ = false;
    File in_;
    std::unique_ptr<gzFile_s, CloseGz> gz_;
    std::vector<unsigned char> buffer_;
    Sha256 hash_;
    std::uintmax_t read_ = 0;
    std::uintmax_t checked_ = 0;
    Entry entry_;
};
