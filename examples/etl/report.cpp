#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

void print_report(const grafo::RunReport& run, const Checked<Sale>& sales, const Revenue& revenue,
                  const Files& files) {
    const std::chrono::duration<double> elapsed = run.elapsed();
    const std::size_t rows = sales.rows.size() + sales.rejects.size();
    fmt::print("{} orders in {:.3f} s, {} rows per second\n\n", format_count(rows), elapsed.count(),
               format_count(static_cast<std::size_t>(static_cast<double>(rows) / elapsed.count())));

    std::map<Reason, std::size_t> reasons;
    for (const Reject& reject : sales.rejects) ++reasons[reject.reason];
    fmt::print("accepted {:>22}  in {}, table sales\n", format_count(sales.rows.size()),
               files.out.string());
    fmt::print("rejected {:>22}  in {}\n", format_count(sales.rejects.size()),
               files.rejects.string());
    for (const auto& [reason, n] : reasons) {
        fmt::print("  {:20} {:>8}\n", to_string(reason), format_count(n));
    }

    std::vector<std::pair<std::string, Cents>> countries(revenue.begin(), revenue.end());
    std::sort(countries.begin(), countries.end(),
              [](const auto& left, const auto& right) { return left.second > right.second; });
    fmt::print("\nrevenue by country\n");
    for (const auto& [country, amount] : countries) {
        fmt::print("  {:12} {:>16}\n", country, format_cents(amount));
    }

    fmt::print("\ntime of each node\n");
    for (const grafo::AnyNode& node : run.completed()) {
        const std::chrono::duration<double, std::milli> time = node.runtime();
        fmt::print("  {:18} {:>7.1f} ms\n", node.id(), time.count());
    }
}
