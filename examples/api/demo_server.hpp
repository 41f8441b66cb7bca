#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>

/// What goes wrong with a part: "profile", "posts" or "comments".
enum class Fault { fail, busy, hang, cut, broken, deep, elsewhere };
using Faults = std::map<std::string, Fault>;

/// An API in this process, so that the example runs without a network: it wants a token from
/// POST login, knows ETags, gives lists in pages (posts with links from one to the next), and is
/// busy when it is first asked for the second page of comments.
class DemoServer {
public:
    /// Serves the file. Throws `std::runtime_error` if that cannot be read, or there is no port.
    DemoServer(const std::filesystem::path& blog, Faults faults);
    DemoServer(const DemoServer&) = delete;
    DemoServer& operator=(const DemoServer&) = delete;
    ~DemoServer();

    /// Where it is, on 127.0.0.1.
    [[nodiscard]] std::string url() const;

    /// What it takes at POST login.
    static constexpr const char* credentials = R"({"username": "demo", "password": "demo"})";

private:
    class Api;
    std::unique_ptr<Api> api_;
};
