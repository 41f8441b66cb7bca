#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

/// A SQLite database file. Everything here throws `std::runtime_error`, naming the file.
class Database {
public:
    enum class Mode { read, write };

    /// `Mode::write` makes the file if there is none.
    Database(std::filesystem::path file, Mode mode);
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    /// Closes it, and removes a file that it made and that stayed empty.
    ~Database();

    void execute(const char* sql);

private:
    friend class Statement;
    friend class Transaction;
    [[noreturn]] void fail() const;

    std::filesystem::path file_;
    bool made_;
    sqlite3* handle_ = nullptr;
};

/// A prepared statement of a database that outlives it.
class Statement {
public:
    Statement(Database& database, std::string_view sql);
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement() { sqlite3_finalize(handle_); }

    /// Goes to the next row; false after the last.
    bool step();
    /// A column of the row, counted from 0.
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] bool is_integer(int column) const;

    /// Runs it once with these values for its `?`s: numbers, or texts.
    template <class... Values>
    void run(const Values&... values) {
        int index = 0;
        (bind(++index, values), ...);
        while (step()) {
        }
        sqlite3_reset(handle_);
    }

private:
    void bind(int index, std::int64_t value);
    void bind(int index, std::string_view value);

    Database& database_;
    sqlite3_stmt* handle_ = nullptr;
};

/// A transaction that is rolled back unless it is committed.
class Transaction {
public:
    /// Takes the write lock at once.
    explicit Transaction(Database& database) : database_(database) {
        database_.execute("BEGIN IMMEDIATE");
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    void commit() { database_.execute("COMMIT"); }

private:
    Database& database_;
};
