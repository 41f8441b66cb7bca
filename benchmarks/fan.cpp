#include "fan.hpp"

#include "graphs.hpp"
#include "workloads.hpp"

namespace bench {

void fan(Bench& bench) { graph_rows<Fan>(bench); }

}  // namespace bench
