#include "products.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "../common/database.hpp"

namespace {

constexpr Cents highest_price = 1'000'000'000;

Products read_products(const std::filesystem::path& file) {
    Database database(file, Database::Mode::read);
    Statement select(database, "SELECT sku, name, price_cents FROM products");
    Products products;
    while (select.step()) {
        const Cents price = select.integer(2);
        if (!select.is_integer(2) || price < 0 || price > highest_price) {
            throw std::runtime_error(fmt::format("{}: the price of {} is \"{}\", not one in cents",
                                                 file.string(), select.text(0), select.text(2)));
        }
        products.emplace(select.text(0), Product{select.text(1), price});
    }
    return products;
}

}  // namespace

grafo::Task<Products> extract_products(grafo::ThreadPool* pool, std::filesystem::path file) {
    auto read = [&file] { return read_products(file); };
    co_return co_await grafo::offload(*pool, read);
}
