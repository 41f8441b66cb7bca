#include "sales.hpp"

#include <algorithm>
#include <utility>

Checked<Sale> join_sales(Checked<Order> orders, const Customers& customers,
                         const Products& products) {
    Checked<Sale> sales;
    sales.rejects = std::move(orders.rejects);
    for (Order& order : orders.rows) {
        const auto reject = [&](Reason reason) {
            sales.rejects.push_back({std::move(order.source), reason});
        };
        const auto customer = customers.find(order.customer_id);
        const auto product = products.find(order.sku);
        if (customer == customers.end()) {
            reject(Reason::unknown_customer);
        } else if (product == products.end()) {
            reject(Reason::unknown_product);
        } else if (order.quantity * product->second.price < order.discount) {
            reject(Reason::discount_above_price);
        } else {
            const Cents amount = order.quantity * product->second.price - order.discount;
            sales.rows.push_back({std::move(order.id), order.ordered_on, customer->second.name,
                                  customer->second.country, product->second.name, order.quantity,
                                  amount, std::move(order.note)});
        }
    }
    std::sort(sales.rejects.begin(), sales.rejects.end(),
              [](const Reject& left, const Reject& right) {
                  return left.source.line < right.source.line;
              });
    return sales;
}

Revenue sum_revenue(const Checked<Sale>& sales) {
    Revenue revenue;
    for (const Sale& sale : sales.rows) revenue[sale.country] += sale.amount;
    return revenue;
}
