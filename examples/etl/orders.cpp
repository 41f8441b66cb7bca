#include "orders.hpp"

#include <utf8.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t rows_at_once = 1000;
constexpr std::int64_t highest_quantity = 1'000'000;

enum Field { id, ordered_on, customer_id, sku, quantity, discount, note, field_count };

const std::vector<std::string> header{"order_id", "ordered_on", "customer_id", "sku",
                                      "quantity", "discount",   "note"};

// Fills the order with the row, or says why not.
std::optional<Reason> parse_order(CsvRow& row, Order& order) {
    auto& fields = row.fields;
    if (!utf8::is_valid(row.source.text.begin(), row.source.text.end())) return Reason::not_utf8;
    if (row.unclosed) return Reason::unclosed_quote;
    if (fields.size() < field_count) return Reason::missing_field;
    if (fields.size() > field_count) return Reason::extra_field;
    const auto is_empty = [](const std::string& field) { return field.empty(); };
    if (std::any_of(fields.begin(), fields.begin() + note, is_empty)) return Reason::missing_field;
    const auto count = parse_count(fields[quantity]);
    const auto cents = parse_cents(fields[discount]);
    if (!count || *count < 1 || *count > highest_quantity || !cents) return Reason::bad_number;
    const auto date = parse_date(fields[ordered_on]);
    if (!date) return Reason::bad_date;

    order.source = std::move(row.source);
    order.id = std::move(fields[id]);
    order.ordered_on = *date;
    order.customer_id = std::move(fields[customer_id]);
    order.sku = std::move(fields[sku]);
    order.quantity = *count;
    order.discount = *cents;
    order.note = std::move(fields[note]);
    return std::nullopt;
}

}  // namespace

grafo::AsyncGenerator<Progress, Checked<CsvRow>> extract_orders(grafo::ThreadPool* pool,
                                                                std::filesystem::path file) {
    std::error_code no_size;  // that of a pipe, say
    const auto size = std::filesystem::file_size(file, no_size);
    const std::size_t total = no_size ? 0 : size;

    Checked<CsvRow> raw;
    CsvReader reader(file, header);
    auto read = [&reader] { return reader.read(rows_at_once); };
    for (;;) {
        std::vector<CsvRow> rows = co_await grafo::offload(*pool, read);
        if (rows.empty()) break;
        std::move(rows.begin(), rows.end(), std::back_inserter(raw.rows));
        co_yield Progress(raw.rows.size(), reader.bytes(), total);
    }
    co_return raw;
}

Checked<Order> transform_orders(Checked<CsvRow> raw) {
    Checked<Order> orders;
    orders.rejects = std::move(raw.rejects);
    for (CsvRow& row : raw.rows) {
        Order order;
        if (const auto reason = parse_order(row, order)) {
            orders.rejects.push_back({std::move(row.source), *reason});
        } else {
            orders.rows.push_back(std::move(order));
        }
    }
    return orders;
}

Checked<Order> validate_orders(Checked<Order> orders) {
    Checked<Order> unique;
    unique.rejects = std::move(orders.rejects);
    std::unordered_set<std::string> ids;
    for (Order& order : orders.rows) {
        if (ids.insert(order.id).second) {
            unique.rows.push_back(std::move(order));
        } else {
            unique.rejects.push_back({std::move(order.source), Reason::duplicate_order});
        }
    }
    return unique;
}
