#include <grafo/grafo.hpp>

// A second translation unit: what the headers define must not be defined twice.
int other() {
    return grafo::Node{"seven", [] { return 7; }}.id() == "seven" ? 7 : 0;
}
