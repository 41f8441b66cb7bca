#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "smtp_sink.hpp"
#include "webhook_receiver.hpp"

// A mail server and a webhook to try notify with, until it is told to end:
//     notify_sink FOLDER ["COMMAND CODE [TIMES]"...]
// What arrives is kept in FOLDER: mail.N, envelope.N, post.N (the body) and headers.N. The commands
// are those of SmtpSink and POST: "RCPT 550" refuses every recipient, "POST 503 1" the first post.

namespace {

Refusal parse_refusal(const std::string& text) {
    Refusal refusal;
    std::istringstream in(text);
    if (!(in >> refusal.command >> refusal.code)) {
        throw std::runtime_error("not COMMAND CODE [TIMES]: " + text);
    }
    if (!(in >> refusal.times)) refusal.times = -1;
    return refusal;
}

void keep(const std::string& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fputs("usage: notify_sink FOLDER [\"COMMAND CODE [TIMES]\"...]\n", stderr);
        return 2;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    try {
        const std::string folder = std::string(argv[1]) + "/";
        std::vector<Refusal> refusals;
        for (int i = 2; i < argc; ++i) refusals.push_back(parse_refusal(argv[i]));
        int mails = 0;
        int posts = 0;
        const SmtpSink smtp(refusals, [&](const SmtpSink::Message& message) {
            const std::string number = std::to_string(++mails);
            std::string envelope = message.from + "\n";
            for (const std::string& to : message.to) envelope += to + "\n";
            keep(folder + "envelope." + number, envelope);
            keep(folder + "mail." + number, message.data);
        });
        const WebhookReceiver webhook(refusals, [&](const WebhookReceiver::Post& post) {
            const std::string number = std::to_string(++posts);
            keep(folder + "headers." + number,
                 post.id + "\n" + post.timestamp + "\n" + post.signature + "\n");
            keep(folder + "post." + number, post.body);
        });
        std::printf("%s %s\n", smtp.address().c_str(), webhook.url().c_str());
        std::fflush(stdout);
        int signal = 0;
        sigwait(&signals, &signal);
        std::printf("%zu %zu\n", smtp.refused(), webhook.refused());
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "notify_sink: %s\n", error.what());
        return 1;
    }
}
