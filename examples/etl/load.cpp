#include "load.hpp"

#include <csv.h>
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "../common/database.hpp"
#include "../common/file.hpp"
#include "values.hpp"

namespace {

constexpr std::size_t sales_between_yields = 500;

constexpr const char* create_table = R"sql(
    CREATE TABLE sales (
        order_id     TEXT PRIMARY KEY,
        ordered_on   TEXT NOT NULL,
        customer     TEXT NOT NULL,
        country      TEXT NOT NULL,
        product      TEXT NOT NULL,
        quantity     INTEGER NOT NULL,
        amount_cents INTEGER NOT NULL,
        note         TEXT NOT NULL
    ))sql";

}  // namespace

std::size_t write_rejects(const Checked<Sale>& sales, const std::filesystem::path& file) {
    File stream(std::fopen(file.c_str(), "wb"));
    if (stream == nullptr) throw_errno("write", file);
    std::fputs("line,reason,row\n", stream.get());
    for (const auto& [source, reason] : sales.rejects) {
        std::fputs(fmt::format("{},{},", source.line, to_string(reason)).c_str(), stream.get());
        csv_fwrite(stream.get(), source.text.data(), source.text.size());
        std::fputc('\n', stream.get());
    }
    const bool failed = std::ferror(stream.get()) != 0;
    if (std::fclose(stream.release()) != 0 || failed) throw_errno("write", file);
    return sales.rejects.size();
}

grafo::AsyncGenerator<Progress, std::size_t> load_sales(const Checked<Sale>& sales,
                                                        std::filesystem::path file) {
    Database database(file, Database::Mode::write);
    Transaction transaction(database);
    database.execute("DROP TABLE IF EXISTS sales");
    database.execute(create_table);
    Statement insert(database, "INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    std::size_t loaded = 0;
    for (const Sale& sale : sales.rows) {
        insert.run(sale.order_id, format_date(sale.ordered_on), sale.customer, sale.country,
                   sale.product, sale.quantity, sale.amount, sale.note);
        if (++loaded % sales_between_yields == 0 || loaded == sales.rows.size()) {
            // Where a stop arrives: it unwinds us, and the transaction is rolled back.
            co_yield Progress(loaded, loaded, sales.rows.size());
        }
    }
    transaction.commit();
    co_return loaded;
}
