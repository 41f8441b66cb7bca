#pragma once
#include <string_view>
#include <vector>

#include "csv.hpp"

/// Why a row was rejected.
enum class Reason {
    not_utf8,
    unclosed_quote,
    missing_field,
    extra_field,
    bad_number,
    bad_date,
    duplicate_order,
    unknown_customer,
    unknown_product,
    discount_above_price,
};

/// "missing field".
[[nodiscard]] std::string_view to_string(Reason reason);

/// A row that was rejected, and why.
struct Reject {
    Source source;
    Reason reason;
};

/// What a step let through, and all that was rejected up to it. Moves from step to step.
template <class Row>
struct Checked {
    std::vector<Row> rows;
    std::vector<Reject> rejects;

    Checked() = default;
    Checked(Checked&&) = default;
    Checked& operator=(Checked&&) = default;
};
