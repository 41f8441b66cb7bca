#include "wavefront.hpp"

#include "graphs.hpp"
#include "workloads.hpp"

namespace bench {

void wavefront(Bench& bench) { graph_rows<Wavefront>(bench); }

}  // namespace bench
