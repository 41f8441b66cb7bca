#pragma once
#include <memory>

#include <grafo/detail/inline.hpp>
#include <grafo/reactor.hpp>

namespace grafo {

GRAFO_INLINE std::unique_ptr<Watch> Reactor::watch(int /*descriptor*/, Watcher& /*watcher*/) {
    return nullptr;
}

}  // namespace grafo
