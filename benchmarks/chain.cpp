#include "chain.hpp"

#include "graphs.hpp"
#include "workloads.hpp"

namespace bench {

void chain(Bench& bench) { graph_rows<Chain>(bench); }

}  // namespace bench
