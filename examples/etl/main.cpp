#include <fmt/format.h>

#include <exception>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <string>

#include "../common/innermost.hpp"
#include "../common/signals.hpp"
#include "command_line.hpp"
#include "customers.hpp"
#include "load.hpp"
#include "orders.hpp"
#include "products.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "sales.hpp"

using namespace grafo;
using namespace grafo::literals;

namespace {

// extract_orders ─> transform_orders ─> validate_orders ─┐               ┌─> sum_revenue
// extract_customers ─────────────────────────────────────┼─> join_sales ─┼─> write_rejects ─┐
// extract_products ──────────────────────────────────────┘               └─> load_sales <───┘
Task<> etl(const Files& files) {
    ThreadPool pool{3};  // reads the three sources, so that none waits for another

    Node orders{"extract_orders", extract_orders, "pool"_a = &pool, "file"_a = files.orders};
    Node customers{"extract_customers", extract_customers, "pool"_a = &pool,
                   "file"_a = files.customers};
    Node products{"extract_products", extract_products, "pool"_a = &pool,
                  "file"_a = files.products};
    Node typed{"transform_orders", transform_orders, "raw"_a = orders};
    Node valid{"validate_orders", validate_orders, "orders"_a = typed};
    Node sales{"join_sales", join_sales, "orders"_a = valid, "customers"_a = customers,
               "products"_a = products};
    Node revenue{"sum_revenue", sum_revenue, "sales"_a = sales};
    Node rejects{"write_rejects", write_rejects, "sales"_a = sales, "file"_a = files.rejects};
    Node load{"load_sales", load_sales, "sales"_a = sales, "file"_a = files.out};
    rejects.connect(load);  // no new table without the list of what it lacks

    TreeExecutor executor{"ETL", {orders, customers, products}};
    auto events = executor.yielding();
    const StopOnSignals stop_on_signals([&executor] { executor.stop(); });
    ProgressLine line;
    try {
        while (auto event = co_await events.next()) {
            if (auto chunk = event->chunk<Progress>()) line.show(chunk->node, chunk->output);
        }
    } catch (const RunError&) {
        if (load.state() != NodeState::completed) throw;  // else a stop came after the commit
    }
    line.clear();
    print_report(executor.report(), sales.output(), revenue.output(), files);
}

}  // namespace

int main(int argc, char** argv) {
    const Files files = parse_command_line(argc, argv);
    block_stop_signals();
    try {
        grafo::run(etl(files));
        return 0;
    } catch (const RunError& error) {
        if (error.errors().empty()) {
            fmt::print(stderr, "etl: stopped, nothing was loaded into {}\n", files.out.string());
            return 130;
        }
        const NodeError& first = error.errors().front();
        fmt::print(stderr, "etl: {}: {}\n", first.node().id(), innermost(first));
    } catch (const std::exception& error) {
        fmt::print(stderr, "etl: {}\n", error.what());
    }
    return 1;
}
