#include "signals.hpp"

#include <pthread.h>

#include <csignal>
#include <cstdlib>
#include <utility>

namespace {

sigset_t stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    return signals;
}

}  // namespace

void block_stop_signals() {
    const sigset_t signals = stop_signals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

StopOnSignals::StopOnSignals(std::function<void()> stop)
    : thread_([this, stop = std::move(stop)] {
          const sigset_t signals = stop_signals();
          int signal = 0;
          for (bool first = true; sigwait(&signals, &signal) == 0 && !done_; first = false) {
              if (!first) std::_Exit(130);
              stop();
          }
      }) {}

StopOnSignals::~StopOnSignals() {
    done_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
}
