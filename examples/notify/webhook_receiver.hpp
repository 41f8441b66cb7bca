#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "refusal.hpp"

/// A webhook of our own, on 127.0.0.1: keeps what is posted to it.
class WebhookReceiver {
public:
    /// A post as it arrived.
    struct Post {
        std::string id;
        std::string timestamp;
        std::string signature;
        std::string body;
    };

    /// The command that may be refused is POST; with code 0 it gets no answer. `arrived` is called
    /// on the server's thread.
    explicit WebhookReceiver(std::vector<Refusal> refusals = {},
                             std::function<void(const Post&)> arrived = {});
    WebhookReceiver(const WebhookReceiver&) = delete;
    WebhookReceiver& operator=(const WebhookReceiver&) = delete;
    ~WebhookReceiver();

    [[nodiscard]] std::string url() const;
    /// What has arrived so far.
    [[nodiscard]] std::vector<Post> posts() const;
    /// How many posts were refused.
    [[nodiscard]] std::size_t refused() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};
