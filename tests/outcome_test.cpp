#include <grafo/outcome.hpp>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "catch.hpp"

using grafo::Outcome;
using grafo::WhenAny;

namespace {

std::exception_ptr broken() { return std::make_exception_ptr(std::runtime_error("broken")); }

}  // namespace

TEST_CASE("An outcome with a value has it, in each way of asking, and no error") {
    Outcome<std::string> outcome(std::in_place, 3, 'x');
    CHECK(outcome);
    CHECK(outcome.has_value());
    CHECK(outcome.error() == nullptr);
    CHECK(outcome.value() == "xxx");
    CHECK(*outcome == "xxx");
    CHECK(outcome->size() == 3);
    CHECK(std::as_const(outcome).value() == "xxx");
    CHECK(*std::as_const(outcome) == "xxx");
    CHECK(std::as_const(outcome)->size() == 3);
    outcome.value() = "other";
    CHECK(*outcome == "other");
    STATIC_REQUIRE(std::is_same_v<decltype(outcome)::value_type, std::string>);
}

TEST_CASE("An outcome with an error rethrows it, in each way of asking for the value") {
    Outcome<std::string> outcome(broken());
    CHECK_FALSE(outcome);
    CHECK_FALSE(outcome.has_value());
    CHECK_THROWS_AS(std::rethrow_exception(outcome.error()), std::runtime_error);
    CHECK_THROWS_WITH(outcome.value(), "broken");
    CHECK_THROWS_WITH(std::as_const(outcome).value(), "broken");
    CHECK_THROWS_WITH(std::move(outcome).value(), "broken");
    CHECK_THROWS_WITH(outcome.value(), "broken");  // it is kept
}

TEST_CASE("The value of an outcome that is not needed any more is moved out") {
    Outcome<std::unique_ptr<int>> outcome(std::in_place, std::make_unique<int>(1));
    const std::unique_ptr<int> first = std::move(outcome).value();
    CHECK(*first == 1);
    CHECK(*outcome == nullptr);
    *outcome = std::make_unique<int>(2);
    const std::unique_ptr<int> second = *std::move(outcome);
    CHECK(*second == 2);
}

TEST_CASE("An outcome of a reference refers to the object") {
    int object = 1;
    Outcome<int&> outcome(std::in_place, &object);
    outcome.value() = 2;
    CHECK(object == 2);
    CHECK(&*outcome == &object);
    CHECK(&*std::as_const(outcome) == &object);
    CHECK(&std::as_const(outcome).value() == &object);
    CHECK(&std::move(outcome).value() == &object);
    CHECK(&*std::move(outcome) == &object);
    struct Point {
        int x = 5;
    } point;
    const Outcome<Point&> member(std::in_place, &point);
    CHECK(member->x == 5);
}

TEST_CASE("An outcome of void has ended well, or says the error") {
    Outcome<void> good(std::in_place);
    STATIC_REQUIRE(std::is_void_v<decltype(good.value())>);
    CHECK(good.has_value());
    CHECK_NOTHROW(good.value());
    CHECK_NOTHROW(*good);
    CHECK_NOTHROW(*std::as_const(good));
    CHECK_NOTHROW(std::move(good).value());
    CHECK_NOTHROW(*std::move(good));
    const Outcome<void> failed(broken());
    CHECK_FALSE(failed.has_value());
    CHECK_THROWS_WITH(failed.value(), "broken");
}

TEST_CASE("An outcome is copied and moved as its value is") {
    const Outcome<std::string> value(std::in_place, "text");
    const Outcome<std::string> copy = value;
    CHECK(*copy == "text");
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Outcome<std::unique_ptr<int>>>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Outcome<std::unique_ptr<int>>>);
}

TEST_CASE("An exception_ptr may be the value of an outcome, and is not its error") {
    const Outcome<std::exception_ptr> outcome(std::in_place, broken());
    CHECK(outcome.has_value());
    CHECK(outcome.error() == nullptr);
    CHECK_THROWS_WITH(std::rethrow_exception(outcome.value()), "broken");
}

TEST_CASE("What ended first of several is a place and a value, for structured bindings") {
    auto [index, value] = WhenAny<std::string>(2, "third");
    CHECK(index == 2);
    CHECK(value == "third");
}
