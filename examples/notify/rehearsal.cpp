#include "rehearsal.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>

#include "../common/file.hpp"
#include "json.hpp"
#include "mail.hpp"
#include "signature.hpp"

namespace {

void expect(bool right, const char* what) {
    if (!right) throw std::runtime_error(fmt::format("the rehearsal failed: {}", what));
}

}  // namespace

Rehearsal::Rehearsal(Options& options) {
    ::setenv("no_proxy", "127.0.0.1", 1);
    const std::filesystem::path folder = std::filesystem::path("build") / "notify";
    std::filesystem::create_directories(folder);
    options.mail = MailSettings{"smtp://" + smtp_.address(),
                                "",
                                "",
                                "",
                                "notify@example.org",
                                {"ops@example.org", "boss@example.org"}};
    options.webhook = WebhookSettings{webhook_.url(), "a secret of the rehearsal", ""};
    options.log = folder / "alerts.jsonl";
}

void Rehearsal::check(const Options& options, const Alert& alert) const {
    const auto mails = smtp_.messages();
    expect(smtp_.refused() == 1, "the mail server was to refuse one try");
    expect(mails.size() == 1, "one mail was to arrive");
    const SmtpSink::Message& mail = mails.front();
    expect(mail.from == options.mail->from && mail.to == options.mail->to,
           "the mail came in another envelope");
    expect(mail.data == compose_message(alert, *options.mail), "the mail is not as it was sent");
    fmt::print("arrived: a mail of {} bytes, as it was sent\n", mail.data.size());

    const auto posts = webhook_.posts();
    expect(webhook_.refused() == 1, "the webhook was to refuse one try");
    expect(posts.size() == 1, "one post was to arrive");
    const WebhookReceiver::Post& post = posts.front();
    expect(post.body == alert_json(alert), "the post is not as it was sent");
    expect(post.id == alert.id, "the post has another id");
    const std::string& secret = options.webhook->secret;
    expect(verify(secret, post.timestamp, post.body, post.signature, unix_time()),
           "the signature is wrong");
    expect(!verify(secret, post.timestamp, post.body + " ", post.signature, unix_time()),
           "a signature fits another body");
    fmt::print("arrived: a post of {} bytes, as it was sent and signed\n", post.body.size());

    expect(read_file(options.log).ends_with(post.body + "\n"), "the log does not end with it");
    fmt::print("arrived: a line of {} bytes in {}\n", post.body.size(), options.log.string());
}
