// Byte strings as programs over the public API. Built by itself it replays the corpus and runs
// programs made of it; built with GRAFO_LIBFUZZER it is what ./tests/fuzz runs.
//     FUZZ_SHOW=1 shows what each program does
#define GRAFO_NO_FRAME_RECYCLING

#include "memory.hpp"  // first: it looks whether frames are recycled

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz_bodies.hpp"
#include "fuzz_program.hpp"
#include "fuzz_steps.hpp"
#include "fuzz_waits.hpp"
#include "leftovers.hpp"

namespace torture::fuzz {

/// What was wrong, empty if nothing.
std::string run_program(Bytes bytes, Digest& digest, bool telling) {
    counts() = {};
    const std::int64_t alive = memory().alive;
    std::string problems = Program(bytes, telling).run(digest);
    check_nothing_lives(alive, problems);
    return problems;
}

}  // namespace torture::fuzz

using namespace torture;

#if defined(GRAFO_LIBFUZZER)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const bool telling = std::getenv("FUZZ_SHOW") != nullptr;
    Digest digest;
    const std::string problems = fuzz::run_program({data, size}, digest, telling);
    if (problems.empty()) return 0;
    std::fprintf(stderr, "%s\n", problems.c_str());
    std::abort();
}

#else

namespace {

using Text = std::vector<std::uint8_t>;

std::vector<Text> read_corpus() {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(TORTURE_FUZZ_CORPUS)) {
        paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<Text> corpus;
    for (const auto& path : paths) {
        std::ifstream file(path, std::ios::binary);
        corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return corpus;
}

Text some_bytes(Random& random, std::size_t size) {
    Text text(size);
    for (std::uint8_t& byte : text) byte = static_cast<std::uint8_t>(random.below(256));
    return text;
}

/// The front of one program, the back of another, and a few other bytes.
Text draw_program(const std::vector<Text>& corpus, Random& random) {
    constexpr std::size_t longest = 256;
    if (corpus.empty() || random.one_in(8)) return some_bytes(random, random.below(longest));
    Text text = corpus[random.below(corpus.size())];
    if (random.one_in(2)) {
        const Text& other = corpus[random.below(corpus.size())];
        text.resize(random.below(text.size() + 1));
        const std::size_t from = random.below(other.size() + 1);
        text.insert(text.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
    }
    for (std::uint64_t changes = random.below(8U); changes > 0 && !text.empty(); --changes) {
        const std::size_t at = random.below(text.size());
        const auto place = text.begin() + static_cast<std::ptrdiff_t>(at);
        const auto byte = static_cast<std::uint8_t>(random.below(256));
        switch (random.below(3)) {
            case 0: *place = byte; break;
            case 1: text.insert(place, byte); break;
            default: text.erase(place);
        }
    }
    if (text.size() > longest) text.resize(longest);
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    Topic topic("fuzz", argc, argv);
    const std::vector<Text> corpus = read_corpus();
    const auto files = static_cast<std::uint64_t>(corpus.size());
    const bool telling = topic.alone() || std::getenv("FUZZ_SHOW") != nullptr;
    return topic.run({files + 1'000, files + 20'000, files + 1'000'000},
                     [&](std::uint64_t number, Random random, Digest& digest) {
                         const Text text = number < files ? corpus[static_cast<std::size_t>(number)]
                                                          : draw_program(corpus, random);
                         return fuzz::run_program(text, digest, telling);
                     });
}

#endif
