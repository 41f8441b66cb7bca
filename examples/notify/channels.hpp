#pragma once
#include <filesystem>
#include <grafo/curl.hpp>
#include <grafo/node_context.hpp>
#include <grafo/offload.hpp>
#include <grafo/task.hpp>
#include <string>
#include <utility>

#include "settings.hpp"

/// What a channel has delivered.
struct Receipt {
    Receipt(unsigned count, std::string said) : tries(count), answer(std::move(said)) {}
    unsigned tries;
    std::string answer;  // of the server, or where it is now
};

// Nodes. What they throw if they could not deliver is a `DeliveryError`.

/// Hands the message in on a thread of the pool.
grafo::Task<Receipt> deliver_mail(grafo::NodeContext& context, grafo::ThreadPool* pool,
                                  MailSettings settings, const std::string& message);

/// Posts the body, signed anew in each try: X-Notify-Id, -Timestamp and -Signature.
grafo::Task<Receipt> deliver_webhook(grafo::NodeContext& context, grafo::Http http,
                                     WebhookSettings settings, std::string id,
                                     const std::string& body);

/// Appends a line to the file, on a thread of the pool: a disk may take its time.
grafo::Task<Receipt> deliver_log(grafo::NodeContext& context, grafo::ThreadPool* pool,
                                 std::filesystem::path file, const std::string& line);
