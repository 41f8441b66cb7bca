#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grafo/grafo.hpp>

#include "catch.hpp"

using Catch::Matchers::ContainsSubstring;
using grafo::Node;
using grafo::Task;
using grafo::TreeExecutor;
using namespace grafo::literals;

namespace {

template <class E>
constexpr bool is_library_error =
    std::is_base_of_v<grafo::Error, E> && std::is_convertible_v<E*, grafo::Error*> &&
    std::is_convertible_v<E*, std::exception*> && std::is_nothrow_copy_constructible_v<E>;

int twice(int number) { return 2 * number; }

int fail(int) { throw std::out_of_range("too far"); }

// What the run of these nodes throws.
template <class... N>
std::exception_ptr failure_of(const N&... nodes) {
    try {
        grafo::run(TreeExecutor{nodes...}.run());
    } catch (...) {
        return std::current_exception();
    }
    return nullptr;
}

std::string message_of(const std::exception_ptr& error) {
    if (error == nullptr) return "nothing was thrown";
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "not a std::exception";
    }
}

// The whole chain of nested exceptions.
std::vector<std::string> chain_of(const std::exception& error) {
    std::vector<std::string> texts{error.what()};
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception& nested) {
        for (std::string& text : chain_of(nested)) texts.push_back(std::move(text));
    }
    return texts;
}

}  // namespace

TEST_CASE("Every error of the library derives from Error, which is a std::runtime_error") {
    STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, grafo::Error>);
    STATIC_REQUIRE(is_library_error<grafo::ForwardingParameterError>);
    STATIC_REQUIRE(is_library_error<grafo::ForwardingTypeError>);
    STATIC_REQUIRE(is_library_error<grafo::ForwardingOverrideError>);
    STATIC_REQUIRE(is_library_error<grafo::AutoForwardError>);
    STATIC_REQUIRE(is_library_error<grafo::MissingArgumentError>);
    STATIC_REQUIRE(is_library_error<grafo::CycleError>);
    STATIC_REQUIRE(is_library_error<grafo::SafeExecutionError>);
    STATIC_REQUIRE(is_library_error<grafo::OutputUnavailableError>);
    STATIC_REQUIRE(is_library_error<grafo::TimeoutError>);
    STATIC_REQUIRE(is_library_error<grafo::DeadlockError>);
    STATIC_REQUIRE(is_library_error<grafo::NodeError>);
    STATIC_REQUIRE(is_library_error<grafo::RunError>);
}

TEST_CASE("Cancelled and Skip are no std::exception: catching that does not swallow them") {
    STATIC_REQUIRE_FALSE(std::is_base_of_v<std::exception, grafo::Cancelled>);
    STATIC_REQUIRE_FALSE(std::is_base_of_v<std::exception, grafo::Skip>);
    const auto escapes = [](auto thrown) {
        try {
            try {
                throw thrown;
            } catch (const std::exception&) {
                return false;
            }
        } catch (const decltype(thrown)&) {
            return true;
        }
    };
    CHECK(escapes(grafo::Cancelled()));
    CHECK(escapes(grafo::Skip("why")));
}

TEST_CASE("A Skip carries its reason") {
    CHECK(grafo::Skip("nothing to do").why() == "nothing to do");
    CHECK(grafo::Skip().why().empty());
}

TEST_CASE("A wrong parameter name is told with the node, the name and the names there are") {
    Node parent{"the parent", twice, "number"_a = 1};
    const grafo::AnyNode child = Node{"the child", twice, "number"_a};
    CHECK_THROWS_AS(parent.connect(child, "nmber"_a), grafo::ForwardingParameterError);
    CHECK_THROWS_WITH(parent.connect(child, "nmber"_a), ContainsSubstring("the child") &&
                                                            ContainsSubstring("nmber") &&
                                                            ContainsSubstring("number"));
}

TEST_CASE("A wrong type is told with both nodes and a way out") {
    const auto text = [] { return std::string("a"); };
    Node parent{"the parent", text};
    const grafo::AnyNode child = Node{"the child", twice, "number"_a};
    CHECK_THROWS_AS(parent.connect(child, "number"_a), grafo::ForwardingTypeError);
    CHECK_THROWS_WITH(parent.connect(child, "number"_a),
                      ContainsSubstring("the child") && ContainsSubstring("number"));
}

TEST_CASE("Filling a parameter twice is told with the node and the parameter") {
    Node first{"the first", twice, "number"_a = 1};
    Node second{"the second", twice, "number"_a = 2};
    Node child{"the child", twice, "number"_a};
    first.connect(child, "number"_a);
    CHECK_THROWS_AS(second.connect(child, "number"_a), grafo::ForwardingOverrideError);
    CHECK_THROWS_WITH(second.connect(child, "number"_a),
                      ContainsSubstring("the child") && ContainsSubstring("number"));
}

TEST_CASE("forward_auto without a parameter to go into is told with the node") {
    Node parent{"the parent", twice, "number"_a = 1};
    Node child{"the child", twice, "number"_a = 2};
    CHECK_THROWS_AS(parent.connect(child, grafo::forward_auto), grafo::AutoForwardError);
    CHECK_THROWS_WITH(parent.connect(child, grafo::forward_auto), ContainsSubstring("the child"));
}

TEST_CASE("An open parameter that nobody fills is told before any node has started") {
    bool started = false;
    const auto start = [&started] { started = true; };
    Node first{"the first", start};
    Node child{"the child", twice, "number"_a};
    first.connect(child);
    const std::exception_ptr error = failure_of(first);
    REQUIRE(error != nullptr);
    CHECK_THROWS_AS(std::rethrow_exception(error), grafo::MissingArgumentError);
    CHECK_THAT(message_of(error), ContainsSubstring("the child") && ContainsSubstring("number"));
    CHECK_FALSE(started);
}

TEST_CASE("A cycle is printed before any node has started") {
    bool started = false;
    const auto start = [&started] { started = true; };
    Node root{"the root", start};
    Node first{"the first", start};
    Node second{"the second", start};
    root.connect(first).connect(second).connect(first);
    const std::exception_ptr error = failure_of(root);
    REQUIRE(error != nullptr);
    CHECK_THROWS_AS(std::rethrow_exception(error), grafo::CycleError);
    CHECK_THAT(message_of(error),
               ContainsSubstring("the first") && ContainsSubstring("the second"));
    CHECK_FALSE(started);
}

TEST_CASE("An output that is not there is told with the node and its state") {
    Node node{"the node", twice, "number"_a = 1};
    CHECK_THROWS_AS(node.output(), grafo::OutputUnavailableError);
    CHECK_THROWS_WITH(node.output(), ContainsSubstring("the node") && ContainsSubstring("pending"));
    grafo::run(TreeExecutor{node}.run());
    CHECK(node.output() == 2);
}

TEST_CASE("The output of a failed node is its NodeError, the cause nested") {
    Node node{"the node", fail, "number"_a = 1};
    REQUIRE(failure_of(node) != nullptr);
    CHECK_THROWS_AS(node.output(), grafo::NodeError);
    try {
        node.output();
    } catch (const grafo::NodeError& error) {
        const std::vector<std::string> chain = chain_of(error);
        REQUIRE(chain.size() == 2);
        CHECK_THAT(chain[0], ContainsSubstring("the node"));
        CHECK(chain[1] == "too far");
    }
}

TEST_CASE("A NodeError knows its node, the path from its root, its attempts and its cause") {
    Node root{"the root", twice, "number"_a = 1};
    Node node{"the node", fail, "number"_a};
    root.connect(node, "number"_a);
    const std::exception_ptr thrown = failure_of(root);
    REQUIRE(thrown != nullptr);
    REQUIRE_THROWS_AS(std::rethrow_exception(thrown), grafo::RunError);
    try {
        std::rethrow_exception(thrown);
    } catch (const grafo::RunError& run_error) {
        REQUIRE(run_error.errors().size() == 1);
        const grafo::NodeError& error = run_error.errors().front();
        CHECK(error.node() == node);
        CHECK(error.path() == std::vector<std::string>{"the root", "the node"});
        CHECK(error.attempts() == 1);
        CHECK_THROWS_AS(std::rethrow_exception(error.cause()), std::out_of_range);
        CHECK_THAT(error.what(), ContainsSubstring("the node") && ContainsSubstring("too far"));
    }
}

TEST_CASE("A RunError tells every failure, and that it was not stopped") {
    Node first{"the first", fail, "number"_a = 1};
    Node second{"the second", fail, "number"_a = 2};
    const auto body = [&]() -> Task<> {
        co_await TreeExecutor{first, second}.on_error(grafo::ErrorPolicy::keep_going).run();
    };
    try {
        grafo::run(body());
        FAIL("nothing was thrown");
    } catch (const grafo::RunError& error) {
        CHECK(error.errors().size() == 2);
        CHECK_FALSE(error.stopped());
        CHECK_THAT(error.what(), ContainsSubstring("the first") && ContainsSubstring("the second"));
    }
}

TEST_CASE("The RunError of a stopped run says stopped") {
    Node node{"the node", twice, "number"_a = 1};
    TreeExecutor executor{node};
    Task<grafo::RunReport> run = executor.run();
    executor.stop();
    try {
        grafo::run(std::move(run));
        FAIL("nothing was thrown");
    } catch (const grafo::RunError& error) {
        CHECK(error.errors().empty());
        CHECK(error.stopped());
        CHECK_THAT(error.what(), ContainsSubstring("stopped"));
    }
}

TEST_CASE("A node that takes longer than its timeout fails with TimeoutError, naming it") {
    const auto slow = []() -> Task<> { co_await grafo::sleep_for(std::chrono::hours(1)); };
    Node node{"the slow node", slow};
    node.timeout(std::chrono::seconds(1));
    grafo::EventLoop loop{grafo::virtual_time};
    const grafo::RunReport report = loop.run(TreeExecutor{node}.try_run());
    REQUIRE(report.failed().size() == 1);
    try {
        report.throw_if_failed();
        FAIL("nothing was thrown");
    } catch (const grafo::RunError& error) {
        REQUIRE(error.errors().size() == 1);
        CHECK_THAT(error.what(), ContainsSubstring("the slow node"));
        CHECK_THROWS_AS(std::rethrow_exception(error.errors().front().cause()),
                        grafo::TimeoutError);
    }
}

TEST_CASE("Running a node that runs is refused with SafeExecutionError, naming it") {
    std::string message;
    const auto change = [&message](grafo::NodeContext& context) -> Task<> {
        const grafo::AnyNode self = context.node();
        try {
            co_await TreeExecutor{self}.run();
        } catch (const grafo::SafeExecutionError& error) {
            message = error.what();
        }
    };
    Node node{"the running one", change};
    grafo::run(TreeExecutor{node}.run());
    CHECK_THAT(message, ContainsSubstring("the running one"));
}

TEST_CASE("Errors may outlive the graph that they came from") {
    std::exception_ptr thrown;
    {
        Node node{"the node", fail, "number"_a = 1};
        thrown = failure_of(node);
    }
    REQUIRE(thrown != nullptr);
    try {
        std::rethrow_exception(thrown);
    } catch (const grafo::RunError& error) {
        REQUIRE(error.errors().size() == 1);
        CHECK(error.errors().front().node().id() == "the node");
    }
}
