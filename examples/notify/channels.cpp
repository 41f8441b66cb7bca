#include "channels.hpp"

#include <fmt/format.h>

#include <grafo/grafo.hpp>

#include "alert.hpp"
#include "delivery_error.hpp"
#include "files.hpp"
#include "mail.hpp"
#include "signature.hpp"

using namespace grafo;

namespace {

// Without method and URL, which may have a secret of its own in its path.
std::string cause(const HttpError& error) {
    const std::string what = error.what();
    const std::string before = "POST " + error.url() + ": ";
    return printable(what.starts_with(before) ? what.substr(before.size()) : what);
}

bool may_pass(const HttpError& error) {
    const int status = error.status();
    if (status == 0) return is_transient(error.code());
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

}  // namespace

Task<Receipt> deliver_mail(NodeContext& context, ThreadPool* pool, MailSettings settings,
                           const std::string& message) {
    const auto send = [&](const StopFlag& stop) { return send_message(settings, message, stop); };
    std::string answer = co_await offload(*pool, send);
    co_return Receipt(context.attempt(), std::move(answer));
}

Task<Receipt> deliver_webhook(NodeContext& context, Http http, WebhookSettings settings,
                              std::string id, const std::string& body) {
    const std::string timestamp = std::to_string(unix_time());
    HttpRequest request = http.post(settings.url, body, "application/json");
    request.header("X-Notify-Id", id)
        .header("X-Notify-Timestamp", timestamp)
        .header("X-Notify-Signature", sign(settings.secret, timestamp, body))
        .redirects(0)  // which would make a GET of it
        .expect_success();
    if (!settings.ca_file.empty()) request.ca_file(settings.ca_file);
    try {
        const HttpResponse response = co_await request;
        co_return Receipt(context.attempt(), fmt::format("answered {}", response.status()));
    } catch (const HttpError& error) {
        throw DeliveryError(cause(error), may_pass(error));
    }
}

Task<Receipt> deliver_log(NodeContext& context, ThreadPool* pool, std::filesystem::path file,
                          const std::string& line) {
    const auto append = [&] { append_lines(file, line + '\n'); };
    co_await offload(*pool, append);
    co_return Receipt(context.attempt(), file.string());
}
