#pragma once
#include <filesystem>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <string>
#include <unordered_map>

struct Customer {
    std::string name;
    std::string country;
};

/// By id.
using Customers = std::unordered_map<std::string, Customer>;

/// Reads `[{"id": …, "name": …, "country": …}, …]`, on a thread of the pool.
/// Throws `std::runtime_error`, naming the file and the place in it.
grafo::Task<Customers> extract_customers(grafo::ThreadPool* pool, std::filesystem::path file);
