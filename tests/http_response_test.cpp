// What the client of curl.hpp gives; how it is filled is tested in curl_test.cpp.
#include <grafo/http_response.hpp>

#include <string>
#include <utility>

#include "catch.hpp"

using grafo::HttpError;
using grafo::HttpResponse;

TEST_CASE("A response that nobody has filled has status 0, and nothing else") {
    HttpResponse response;
    CHECK(response.status() == 0);
    CHECK_FALSE(response.ok());
    CHECK(response.url().empty());
    CHECK(response.headers().empty());
    CHECK(response.header("Content-Type") == nullptr);
    CHECK(response.body().empty());
    CHECK(std::move(response).body().empty());
}

TEST_CASE("An HttpError is an Error that knows the URL, the status and libcurl's cause") {
    try {
        throw HttpError("GET http://a/b: 404", "http://a/b", 404, CURLE_HTTP_RETURNED_ERROR);
    } catch (const grafo::Error& error) {
        CHECK(error.what() == std::string("GET http://a/b: 404"));
        const auto* http = dynamic_cast<const HttpError*>(&error);
        REQUIRE(http != nullptr);
        CHECK(http->url() == "http://a/b");
        CHECK(http->status() == 404);
        CHECK(http->code() == CURLE_HTTP_RETURNED_ERROR);
    }
}
