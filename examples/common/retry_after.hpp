#pragma once
#include <chrono>
#include <grafo/curl.hpp>

/// How long the server asks to be left alone, by its `Retry-After`: a number of seconds, or a date.
/// Zero without one; 10,000 hours for a date later than that, and a number without end.
[[nodiscard]] std::chrono::seconds retry_after(const grafo::HttpResponse& response);
