#include "apart.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <stdexcept>

#include "harness.hpp"

namespace bench {

void apart(const std::string& name, const std::function<void(std::FILE* out)>& job,
           const std::function<void(std::FILE* in)>& read) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) throw std::runtime_error("no process");
    if (child == 0) {
        close(ends[0]);
        try {
            std::FILE* out = fdopen(ends[1], "w");
            job(out);
            std::fclose(out);
        } catch (const std::exception& error) {
            std::fprintf(stderr, " %s\n", error.what());
            _exit(1);
        }
        _exit(0);  // the threads of a peer may be alive still
    }
    close(ends[1]);
    std::FILE* in = fdopen(ends[0], "r");
    read(in);
    std::fclose(in);
    int status = 0;
    waitpid(child, &status, 0);
    require(status == 0, "a workload failed: " + name);
}

}  // namespace bench
