#include "layered.hpp"

#include "graphs.hpp"
#include "workloads.hpp"

namespace bench {

void layered(Bench& bench) { graph_rows<Layered>(bench); }

}  // namespace bench
