#pragma once
#include <filesystem>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <string>
#include <unordered_map>

#include "values.hpp"

struct Product {
    std::string name;
    Cents price;
};

/// By SKU.
using Products = std::unordered_map<std::string, Product>;

/// Reads the SQLite table `products(sku, name, price_cents)`, on a thread of the pool.
/// Throws `std::runtime_error`, naming the file.
grafo::Task<Products> extract_products(grafo::ThreadPool* pool, std::filesystem::path file);
