#pragma once

/// \file
/// The core of the library in one include: coroutine types, the event loop, nodes and executors.
/// Formatting, and what needs another library, is a header of its own.

#include <grafo/arguments.hpp>
#include <grafo/async_generator.hpp>
#include <grafo/combinators.hpp>
#include <grafo/conditions.hpp>
#include <grafo/errors.hpp>
#include <grafo/event.hpp>
#include <grafo/event_loop.hpp>
#include <grafo/iterate.hpp>
#include <grafo/map_each.hpp>
#include <grafo/node.hpp>
#include <grafo/node_context.hpp>
#include <grafo/observer.hpp>
#include <grafo/rate_limiter.hpp>
#include <grafo/reactor.hpp>
#include <grafo/retry.hpp>
#include <grafo/run_report.hpp>
#include <grafo/semaphore.hpp>
#include <grafo/sleep.hpp>
#include <grafo/task.hpp>
#include <grafo/tree_executor.hpp>
