#pragma once
#include <cstdio>
#include <functional>
#include <string>

namespace bench {

// Calls `job` in a process of its own, so that it inherits neither the heap nor the threads of what
// was measured before, and `read` in this one, on what the job writes. Throws if the job does.
void apart(const std::string& name, const std::function<void(std::FILE* out)>& job,
           const std::function<void(std::FILE* in)>& read);

}  // namespace bench
