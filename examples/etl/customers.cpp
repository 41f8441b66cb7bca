#include "customers.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

#include "../common/file.hpp"

namespace {

using nlohmann::json;

json parse(const std::filesystem::path& file) {
    const File stream(std::fopen(file.c_str(), "rb"));
    if (stream == nullptr) throw_errno("read", file);
    try {
        json customers = json::parse(stream.get());
        if (customers.is_array()) return customers;
        throw std::runtime_error(fmt::format("{} is not a list of customers", file.string()));
    } catch (const json::exception&) {
        if (std::ferror(stream.get()) != 0) throw_errno("read", file);
        throw;
    }
}

Customers read_customers(const std::filesystem::path& file) {
    Customers customers;
    std::size_t number = 0;
    try {
        for (const json& entry : parse(file)) {
            ++number;
            Customer customer{entry.at("name"), entry.at("country")};
            if (!customers.emplace(entry.at("id"), std::move(customer)).second) {
                throw std::runtime_error(fmt::format("{}: customer {}: its id {} is taken",
                                                     file.string(), number, entry.at("id").dump()));
            }
        }
    } catch (const json::exception& error) {
        const std::string text = error.what();  // "[json.exception.parse_error.101] parse error …"
        const std::string where = number == 0 ? "" : fmt::format("customer {}: ", number);
        throw std::runtime_error(
            fmt::format("{}: {}{}", file.string(), where, text.substr(text.find(' ') + 1)));
    }
    return customers;
}

}  // namespace

grafo::Task<Customers> extract_customers(grafo::ThreadPool* pool, std::filesystem::path file) {
    auto read = [&file] { return read_customers(file); };
    co_return co_await grafo::offload(*pool, read);
}
