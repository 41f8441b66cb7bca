#pragma once

/// \file
/// For the one file of a program whose others are compiled with `GRAFO_SEPARATE_COMPILATION`
/// defined: what these leave out, the run engine above all, is compiled in this one, which includes
/// it before any other header of the library. With CMake, link to `grafo::compiled` instead, which
/// does both.

#ifndef GRAFO_SEPARATE_COMPILATION
#ifdef GRAFO_INLINE
#error "grafo/separate_compilation.hpp has to come before the other headers of grafo"
#endif
#define GRAFO_SEPARATE_COMPILATION
#endif

#include <grafo/detail/node_failure.hpp>
#include <grafo/detail/run_coroutines.hpp>
#include <grafo/impl/condition_reactor.hpp>
#include <grafo/impl/context.hpp>
#include <grafo/impl/driver.hpp>
#include <grafo/impl/errors.hpp>
#include <grafo/impl/event_loop.hpp>
#include <grafo/impl/graph.hpp>
#include <grafo/impl/handle.hpp>
#include <grafo/impl/mailbox.hpp>
#include <grafo/impl/node.hpp>
#include <grafo/impl/rate_limiter.hpp>
#include <grafo/impl/reactor.hpp>
#include <grafo/impl/retry.hpp>
#include <grafo/impl/run_report.hpp>
#include <grafo/impl/semaphore.hpp>
#include <grafo/impl/tree_executor.hpp>
#include <grafo/impl/wait_room.hpp>
#include <grafo/impl/wiring.hpp>
#include <grafo/tree_executor.hpp>

#define GRAFO_COMPILED_ONCE template
#include <grafo/detail/compiled_once.hpp>
