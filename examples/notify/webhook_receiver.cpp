#include "webhook_receiver.hpp"

#include <mutex>
#include <optional>
#include <utility>

#include "../common/local_server.hpp"

struct WebhookReceiver::State {
    State(std::vector<Refusal> list, std::function<void(const Post&)> callback)
        : refusals(std::move(list)),
          arrived(std::move(callback)),
          server(
              {{"/hook", [this](const LocalServer::Request& request) { return take(request); }}}) {}

    LocalServer::Response take(const LocalServer::Request& request) {
        const std::lock_guard lock(mutex);
        if (request.method != "POST") return LocalServer::Response(400);
        if (const std::optional<int> code = refusals.next("POST")) {
            ++refused;
            return *code == 0 ? LocalServer::Response().hold() : LocalServer::Response(*code);
        }
        posts.push_back({request.header("x-notify-id"), request.header("x-notify-timestamp"),
                         request.header("x-notify-signature"), request.body});
        if (arrived) arrived(posts.back());
        return LocalServer::Response("ok\n");
    }

    Refusals refusals;
    std::function<void(const Post&)> arrived;
    std::mutex mutex;
    std::vector<Post> posts;
    std::size_t refused = 0;
    LocalServer server;  // its thread uses all of these
};

WebhookReceiver::WebhookReceiver(std::vector<Refusal> refusals,
                                 std::function<void(const Post&)> arrived)
    : state_(std::make_unique<State>(std::move(refusals), std::move(arrived))) {}

WebhookReceiver::~WebhookReceiver() = default;

std::string WebhookReceiver::url() const { return state_->server.url("/hook"); }

std::vector<WebhookReceiver::Post> WebhookReceiver::posts() const {
    const std::lock_guard lock(state_->mutex);
    return state_->posts;
}

std::size_t WebhookReceiver::refused() const {
    const std::lock_guard lock(state_->mutex);
    return state_->refused;
}
