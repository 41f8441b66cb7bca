#pragma once
#include <grafo/grafo.hpp>

#include "command_line.hpp"
#include "sales.hpp"

/// Prints to stdout how fast the run was, what was accepted, what was rejected and why, the revenue
/// by country, and the time of each node.
void print_report(const grafo::RunReport& run, const Checked<Sale>& sales, const Revenue& revenue,
                  const Files& files);
