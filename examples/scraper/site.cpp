#include "site.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "../common/file.hpp"

namespace {

namespace fs = std::filesystem;
using Response = LocalServer::Response;

std::string type_of(const std::string& path) {
    if (path.ends_with(".html")) return "text/html";
    return path.ends_with(".csv") ? "text/csv" : "text/plain";
}

}  // namespace

Site::Site(bool log) : log_(log) {
    const fs::path data = fs::path(GRAFO_EXAMPLE_DIR) / "data";
    for (const auto& entry : fs::recursive_directory_iterator(data)) {
        if (!entry.is_regular_file()) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        if (!file) throw_errno("read", entry.path());
        files_["/" + entry.path().lexically_relative(data).generic_string()] =
            std::string(std::istreambuf_iterator<char>(file), {});
    }
    const auto handler = [this](const LocalServer::Request& request) { return answer(request); };
    server_ = std::make_unique<LocalServer>(LocalServer::Routes{{"/*", handler}});
}

Response Site::answer(const LocalServer::Request& request) {
    const std::string& path = request.path;
    const bool first = asked_.insert(path).second;
    if (log_) {
        std::string query;
        for (const auto& [name, value] : request.queries) query += "?" + name + "=" + value;
        fmt::print("{} {}{} {}\n", request.method, path, query, request.header("user-agent"));
        std::fflush(stdout);
    }
    if (path == "/oak") return Response(301).location("/species/english-oak.html");
    if (path == "/walks/spring") return Response(302).location("/walks/autumn");
    if (path == "/walks/autumn") return Response(302).location("spring");
    if (path == "/glossary.html" && first) return Response(500);
    if (path == "/calendar.html") {
        const auto now = std::chrono::steady_clock::now();
        if (first) open_from_ = now + std::chrono::seconds(1);
        if (now < open_from_) return Response(503).header("Retry-After", "1");
    }
    const auto file = files_.find(path == "/" ? "/index.html" : path);
    if (file == files_.end()) return Response(404);
    Response response(file->second);
    response.header("Content-Type", type_of(file->first));
    if (path == "/map.html") response.hold();
    return response;
}
