#include "demo_server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <random>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "../common/file.hpp"
#include "../common/local_server.hpp"
#include "json.hpp"

namespace {

using Request = LocalServer::Request;
using Response = LocalServer::Response;

constexpr std::string_view prefix = "/api/users/";

Response error(int status, const std::string& text) {
    Json body = Json::object();
    body["error"] = text;
    return Response(status, body.dump());
}

std::size_t number(const std::string& text, std::size_t otherwise) {
    std::size_t value = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value);
    const bool fits = read.ec == std::errc() && read.ptr == end && value > 0 && value <= 1000;
    return fits ? value : otherwise;
}

std::string etag_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return fmt::format("\"{:016x}\"", hash);
}

std::string new_token() {
    std::random_device random;
    return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

Json read(const std::filesystem::path& file) {
    std::ifstream stream(file);
    if (!stream) throw cannot("read", file, last_error());
    return parse_json(std::string(std::istreambuf_iterator<char>(stream), {}));
}

}  // namespace

class DemoServer::Api {
public:
    Api(const std::filesystem::path& blog, Faults faults)
        : blog_(read(blog)), faults_(std::move(faults)) {}

    [[nodiscard]] std::string url() const { return server_.url("/api"); }

private:
    Response log_in(const Request& request) {
        const Json given = Json::parse(request.body, nullptr, false);
        if (request.method != "POST" || given != Json::parse(credentials)) {
            return error(401, "user name or password is wrong");
        }
        Json body = Json::object();
        body["token"] = *tokens_.insert(new_token()).first;
        return Response(body.dump());
    }

    // users/7, users/7/posts or users/7/comments
    Response user(const Request& request) {
        std::string_view token = request.headers.count("authorization") > 0
                                     ? std::string_view(request.headers.at("authorization"))
                                     : std::string_view();
        token.remove_prefix(token.starts_with("Bearer ") ? 7 : token.size());
        if (tokens_.count(std::string(token)) == 0) return error(401, "the token is not valid");

        std::string part = request.path.substr(prefix.size());
        const std::size_t slash = std::min(part.find('/'), part.size());
        const std::size_t id = number(part.substr(0, slash), 0);
        part.erase(0, slash + 1);
        if (part.empty()) part = "profile";
        const auto fault = faults_.find(part);
        if (fault != faults_.end()) return faulty(fault->second);

        if (part == "profile") {
            const Json users = items("users", "id", id);
            return users.empty() ? error(404, "there is no such user") : answer(request, users[0]);
        }
        if (part != "posts" && part != "comments") return error(404, "there is no such list");
        const Json found = items(part, "userId", id);
        const std::size_t page = number(request.query("_page"), 1);
        const std::size_t size = number(request.query("_limit"), 10);
        if (part == "comments" && page == 2 && !std::exchange(was_busy_, true)) {
            return error(503, "busy").header("Retry-After", "1");
        }
        const std::size_t start = number(request.query("_start"), (page - 1) * size);
        const std::size_t begin = std::min(start, found.size());
        const std::size_t end = std::min(begin + size, found.size());
        Json list = Json::array();
        for (std::size_t i = begin; i < end; ++i) list.push_back(found[i]);
        Response response = answer(request, list);
        if (part == "posts") {
            const bool more = end < found.size();
            response.header("Link",
                            fmt::format("<{}?_page={}&_limit={}>; rel=\"{}\"", request.path,
                                        more ? page + 1 : 1, size, more ? "next" : "first"));
        }
        return response;
    }

    [[nodiscard]] Json items(const std::string& list, const char* key, std::size_t id) const {
        Json found = Json::array();
        for (const Json& item : blog_.at(list)) {
            if (item.at(key) == id) found.push_back(item);
        }
        return found;
    }

    static Response answer(const Request& request, const Json& json) {
        std::string body = json.dump();
        std::string etag = etag_of(body);
        Response response =
            request.header("if-none-match") == etag ? Response(304) : Response(std::move(body));
        return response.header("ETag", std::move(etag)).header("Content-Type", "application/json");
    }

    static Response faulty(Fault fault) {
        switch (fault) {
            case Fault::fail: break;
            case Fault::busy: return error(503, "busy").header("Retry-After", "3600");
            case Fault::hang: return Response().hold();
            case Fault::cut: return Response("[1, 2, 3]").break_after(4);
            case Fault::broken: return Response(R"([{"id": 1, "title": "half an ans)");
            case Fault::deep:
                return Response(std::string(100'000, '[') + std::string(100'000, ']'));
            case Fault::elsewhere:
                return Response("[1]").header("Link", "<http://localhost:1/2>; rel=\"next\"");
        }
        return error(500, "it does not work");
    }

    const Json blog_;
    const Faults faults_;
    std::set<std::string> tokens_;  // those that were given
    bool was_busy_ = false;
    LocalServer server_{
        {{"/api/login", [this](const Request& request) { return log_in(request); }},
         {"/api/users/*", [this](const Request& request) { return user(request); }}}};
};

DemoServer::DemoServer(const std::filesystem::path& blog, Faults faults)
    : api_(std::make_unique<Api>(blog, std::move(faults))) {}

DemoServer::~DemoServer() = default;

std::string DemoServer::url() const { return api_->url(); }
