#pragma once

/// \file
/// For one file of a program whose others are compiled with `GRAFO_SEPARATE_COMPILATION` defined:
/// what these leave out, the run engine above all, is compiled in this one. With CMake, link to
/// `grafo::compiled` instead, which does both.

#include <grafo/detail/node_failure.hpp>
#include <grafo/detail/run_coroutines.hpp>
#include <grafo/tree_executor.hpp>

#define GRAFO_COMPILED_ONCE template
#include <grafo/detail/compiled_once.hpp>
