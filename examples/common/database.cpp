#include "database.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <system_error>
#include <utility>

Database::Database(std::filesystem::path file, Mode mode)
    : file_(std::move(file)), made_(mode == Mode::write && !std::filesystem::exists(file_)) {
    const int flags =
        mode == Mode::read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(file_.c_str(), &handle_, flags, nullptr) != SQLITE_OK) {
        const int system_error = sqlite3_system_errno(handle_);
        const std::string why = system_error != 0 ? std::generic_category().message(system_error)
                                                  : std::string(sqlite3_errmsg(handle_));
        sqlite3_close(handle_);
        throw std::runtime_error(fmt::format("cannot open {}: {}", file_.string(), why));
    }
}

Database::~Database() {
    sqlite3_close(handle_);
    std::error_code error;
    if (made_ && std::filesystem::file_size(file_, error) == 0) {
        std::filesystem::remove(file_, error);
    }
}

void Database::execute(const char* sql) {
    if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

void Database::fail() const {
    throw std::runtime_error(fmt::format("{}: {}", file_.string(), sqlite3_errmsg(handle_)));
}

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
    if (sqlite3_prepare_v2(database_.handle_, sql.data(), static_cast<int>(sql.size()), &handle_,
                           nullptr) != SQLITE_OK) {
        database_.fail();
    }
}

bool Statement::step() {
    switch (sqlite3_step(handle_)) {
        case SQLITE_ROW: return true;
        case SQLITE_DONE: return false;
        default: database_.fail();
    }
}

std::string Statement::text(int column) const {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
    return text == nullptr ? std::string() : std::string(text);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }

bool Statement::is_integer(int column) const {
    return sqlite3_column_type(handle_, column) == SQLITE_INTEGER;
}

void Statement::bind(int index, std::int64_t value) {
    if (sqlite3_bind_int64(handle_, index, value) != SQLITE_OK) database_.fail();
}

void Statement::bind(int index, std::string_view value) {
    // The text outlives the step; an empty view may have no address, which would be a NULL.
    const char* text = value.empty() ? "" : value.data();
    if (sqlite3_bind_text64(handle_, index, text, value.size(), SQLITE_STATIC, SQLITE_UTF8) !=
        SQLITE_OK) {
        database_.fail();
    }
}

Transaction::~Transaction() {
    const bool open = sqlite3_get_autocommit(database_.handle_) == 0;
    if (open) sqlite3_exec(database_.handle_, "ROLLBACK", nullptr, nullptr, nullptr);
}
