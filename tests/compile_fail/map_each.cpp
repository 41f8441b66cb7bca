// What map_each takes: a function of one item that gives one value.
// FLAGS: -Werror=unused-result
// EXPECT: grafo: map_each needs a function of one parameter whose type can be seen
// EXPECT: grafo: map_each needs a function of one parameter whose type can be seen
// EXPECT: grafo: map_each needs a function of one parameter whose type can be seen
// EXPECT: grafo: map_each needs a function that takes its item by value or as const U&
// EXPECT: grafo: map_each needs a function that gives one value, not a generator
// EXPECT: grafo: map_each needs a function that gives a value, not void
// EXPECT: grafo: map_each needs a function that gives a value, not void
// EXPECT: grafo: map_each needs a function that gives a value, not a reference
// EXPECT: grafo: map_each needs a function that takes a bool by value
// EXPECT: an AsyncGenerator does nothing until its items are asked for
#include <string>
#include <vector>

#include <grafo/grafo.hpp>

using namespace grafo;
using namespace grafo::literals;

struct Item {
    int twice() const { return 2 * number; }
    int number = 0;
};

Task<int> work(std::string text);
Task<int> two(std::string a, std::string b);
Task<int> by_reference(std::string& text);
Task<> silent(std::string text);
void silent_at_once(std::string text);
const std::string& refer(const std::string& text);
AsyncGenerator<int> generate(std::string text);
int of_flag(const bool& flag);

void test(std::vector<std::string> texts) {
    const Node node{"node", map_each(work, 8), "texts"_a = texts};
    auto items = map_each([](const std::string& text) { return text.size(); }, 2)(texts);
#if MUST_FAIL == 1
    const auto wrong = map_each([](auto x) { return x; }, 8);
#elif MUST_FAIL == 2
    const auto wrong = map_each(two, 8);
#elif MUST_FAIL == 3
    const auto wrong = map_each(&Item::twice, 8);
#elif MUST_FAIL == 4
    const auto wrong = map_each(by_reference, 8);
#elif MUST_FAIL == 5
    const auto wrong = map_each(generate, 8);
#elif MUST_FAIL == 6
    const auto wrong = map_each(silent, 8);
#elif MUST_FAIL == 7
    const auto wrong = map_each(silent_at_once, 8);
#elif MUST_FAIL == 8
    const auto wrong = map_each(refer, 8);
#elif MUST_FAIL == 9
    const auto wrong = map_each(of_flag, 8);
#elif MUST_FAIL == 10
    map_each(work, 8)(texts);
#endif
}
