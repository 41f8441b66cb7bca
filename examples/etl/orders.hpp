#pragma once
#include <cstdint>
#include <filesystem>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <string>

#include "csv.hpp"
#include "progress.hpp"
#include "rejects.hpp"
#include "values.hpp"

struct Order {
    Source source;
    std::string id;
    Date ordered_on;
    std::string customer_id;
    std::string sku;
    std::int64_t quantity;
    Cents discount;
    std::string note;
};

/// Reads order_id, ordered_on, customer_id, sku, quantity, discount and note, on a thread of the
/// pool; a chunk every batch of rows. Throws `std::runtime_error`, naming the file.
grafo::AsyncGenerator<Progress, Checked<CsvRow>> extract_orders(grafo::ThreadPool* pool,
                                                                std::filesystem::path file);

/// Gives the fields their types; rejects rows in which that fails.
Checked<Order> transform_orders(Checked<CsvRow> raw);

/// Rejects the second and later orders of an id.
Checked<Order> validate_orders(Checked<Order> orders);
