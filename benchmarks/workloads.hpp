#pragma once
#include "harness.hpp"

// One file each; main.cpp lists them.
namespace bench {

void chain(Bench& bench);
void fan(Bench& bench);
void wavefront(Bench& bench);
void layered(Bench& bench);
void runs(Bench& bench);
void large_values(Bench& bench);
void chunks(Bench& bench);
void pipe(Bench& bench);
void generator(Bench& bench);
void task_call(Bench& bench);
void timers(Bench& bench);
void build(Bench& bench);
void memory(Bench& bench);
void destroy(Bench& bench);

// How a run grows with the graph; writes an SVG picture.
void growth(const std::string& file, bool quick);

// What one side does in `runs` runs, for counting its instructions. The way is order, forwarding,
// or yielding: plain edges, every event read.
void probe(std::string_view shape, std::string_view way, std::string_view side, int runs);

}  // namespace bench
