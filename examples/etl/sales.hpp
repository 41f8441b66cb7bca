#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "customers.hpp"
#include "orders.hpp"
#include "products.hpp"
#include "rejects.hpp"
#include "values.hpp"

/// An order together with what its customer and its product tell about it.
struct Sale {
    std::string order_id;
    Date ordered_on;
    std::string customer;
    std::string country;
    std::string product;
    std::int64_t quantity;
    Cents amount;
    std::string note;
};

/// Looks customers and products up, and rejects orders of unknown ones. Sorts the rejects by line,
/// as nothing is rejected after it.
Checked<Sale> join_sales(Checked<Order> orders, const Customers& customers,
                         const Products& products);

/// By country.
using Revenue = std::map<std::string, Cents>;

/// Sums the amounts up.
Revenue sum_revenue(const Checked<Sale>& sales);
