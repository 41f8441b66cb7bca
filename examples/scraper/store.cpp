#include "store.hpp"

#include <cstdint>

namespace {

constexpr const char* settings = R"(
    PRAGMA busy_timeout = 1000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
)";

constexpr const char* schema = R"(
    CREATE TABLE IF NOT EXISTS pages (
        url      TEXT PRIMARY KEY,
        state    TEXT NOT NULL,      -- saved, redirect, failed or skipped
        status   INTEGER,            -- of the answer; NULL: there was none
        attempts INTEGER NOT NULL,
        title    TEXT,
        text     TEXT,
        reason   TEXT,               -- why it failed or was skipped
        at       TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE IF NOT EXISTS links (
        page   TEXT NOT NULL,
        number INTEGER NOT NULL,     -- on the page, from 1
        target TEXT NOT NULL,
        text   TEXT NOT NULL,
        PRIMARY KEY (page, number)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS found (
        page   TEXT NOT NULL,
        number INTEGER NOT NULL,     -- on the page, from 1
        text   TEXT NOT NULL,
        PRIMARY KEY (page, number)
    ) WITHOUT ROWID;
)";

constexpr const char* add_saved =
    "INSERT INTO pages (url, state, status, attempts, title, text) VALUES (?, ?, ?, ?, ?, ?)";
constexpr const char* add_missed =
    "INSERT INTO pages (url, state, status, attempts, reason) VALUES (?, ?, nullif(?, 0), ?, ?)";
constexpr const char* add_link =
    "INSERT INTO links (page, number, target, text) VALUES (?, ?, ?, ?)";
constexpr const char* add_found = "INSERT INTO found (page, number, text) VALUES (?, ?, ?)";

}  // namespace

Store::Store(const std::filesystem::path& file) : database_(file, Database::Mode::write) {
    database_.execute(settings);
    Transaction transaction(database_);
    database_.execute(schema);
    // Tables that have these names but are others are refused, and left as they are.
    for (const char* sql : {add_saved, add_missed, add_link, add_found}) {
        const Statement statement(database_, sql);
    }
    database_.execute("DELETE FROM pages; DELETE FROM links; DELETE FROM found");
    transaction.commit();
}

void Store::save(const Page& page) {
    Transaction transaction(database_);
    Statement(database_, add_saved)
        .run(page.url, page.redirect ? "redirect" : "saved", std::int64_t{page.status},
             std::int64_t{page.attempts}, page.title, page.text);
    Statement link(database_, add_link);
    std::int64_t number = 0;
    for (const Link& to : page.links) link.run(page.url, ++number, to.url, to.text);
    Statement found(database_, add_found);
    number = 0;
    for (const std::string& text : page.found) found.run(page.url, ++number, text);
    transaction.commit();
    if (!page.redirect) ++saved_;
}

void Store::miss(const Miss& miss) {
    Statement(database_, add_missed)
        .run(miss.url, miss.state, std::int64_t{miss.status}, std::int64_t{miss.attempts},
             miss.reason);
}
