#include "rejects.hpp"

std::string_view to_string(Reason reason) {
    switch (reason) {
        case Reason::not_utf8: return "not UTF-8";
        case Reason::unclosed_quote: return "unclosed quote";
        case Reason::missing_field: return "missing field";
        case Reason::extra_field: return "extra field";
        case Reason::bad_number: return "bad number";
        case Reason::bad_date: return "bad date";
        case Reason::duplicate_order: return "duplicate order";
        case Reason::unknown_customer: return "unknown customer";
        case Reason::unknown_product: return "unknown product";
        case Reason::discount_above_price: return "discount above price";
    }
    return "unknown reason";
}
