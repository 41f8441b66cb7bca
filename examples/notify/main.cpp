#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <grafo/curl.hpp>
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../common/innermost.hpp"
#include "../common/signals.hpp"
#include "alert.hpp"
#include "channels.hpp"
#include "command_line.hpp"
#include "delivery_error.hpp"
#include "files.hpp"
#include "json.hpp"
#include "mail.hpp"
#include "rehearsal.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

namespace {

// Of many letters. The time of a try begins when it has its place.
constexpr std::size_t mails_at_once = 2;
constexpr std::size_t posts_at_once = 8;

/// An alert, and where it is to go: mail, webhook, log.
struct Job {
    Alert alert;
    std::vector<std::string> channels;
};

/// How a channel of a job ended.
struct Ending {
    std::string channel;
    const Alert* alert = nullptr;
    NodeState state = NodeState::pending;
    unsigned tries = 0;
    std::string text;  // what the server said, or what was wrong

    [[nodiscard]] bool delivered() const { return state == NodeState::completed; }
    [[nodiscard]] bool stopped() const { return state == NodeState::cancelled; }
};
using Endings = std::vector<Ending>;

bool is_worth_a_retry(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const DeliveryError& failure) {
        return failure.is_transient();
    } catch (const TimeoutError&) {
        return true;
    } catch (...) {
        return false;
    }
}

Ending ending_of(const Node<Receipt>& channel, const Alert& alert) {
    Ending ending{channel.id(), &alert, channel.state(), 0, ""};
    try {
        const Receipt& receipt = channel.output();
        ending.tries = receipt.tries;
        ending.text = receipt.answer;
    } catch (const NodeError& error) {
        ending.tries = error.attempts();
        ending.text = printable(innermost(error));
    } catch (const OutputUnavailableError& error) {
        ending.text = ending.stopped() ? "the run was stopped" : error.what();
    }
    return ending;
}

std::size_t count_delivered(const Endings& endings) {
    return static_cast<std::size_t>(std::ranges::count_if(endings, &Ending::delivered));
}

// A node: a line for each channel, however it ended, and the verdict. The channels are its parents,
// in the order of the jobs.
Endings log_endings(NodeContext& context, const std::vector<Job>* jobs, std::size_t quorum) {
    const std::vector<AnyNode> channels = context.node().parents();
    Endings endings;
    for (const Job& job : *jobs) {
        for (std::size_t i = 0; i < job.channels.size(); ++i) {
            const Node<Receipt> channel(channels[endings.size()]);
            const Ending& ending = endings.emplace_back(ending_of(channel, job.alert));
            const char* const how = ending.delivered() ? "delivered"
                                    : ending.stopped() ? "stopped"
                                                       : "failed";
            const std::string tries = ending.tries == 1  ? "1 try"
                                      : ending.tries > 1 ? fmt::format("{} tries", ending.tries)
                                                         : "";
            const std::string title = jobs->size() > 1 ? job.alert.title + ": " : "";
            fmt::print("{:<8} {:<10} {:<8} {}{}\n", ending.channel, how, tries, title, ending.text);
        }
    }
    const std::size_t delivered = count_delivered(endings);
    const std::string count =
        fmt::format("{} of {} delivered, {} needed", delivered, endings.size(), quorum);
    std::fflush(stdout);
    if (std::ranges::any_of(endings, &Ending::stopped)) {
        fmt::print(stderr, "notify: stopped, {}\n", count);
    } else if (delivered < quorum) {
        fmt::print(stderr, "notify: {}\n", count);
    } else {
        fmt::print("{}\n", count);
    }
    return endings;
}

// A node: keeps what was not delivered, after a stop too.
void keep_letters(const Endings* endings, std::filesystem::path file, LetterFile* resent) {
    if (endings == nullptr) throw std::logic_error("there are no endings");
    std::string lines;
    std::size_t letters = 0;
    for (const Ending& ending : *endings) {
        if (ending.delivered()) continue;
        lines +=
            letter_json({ending.channel, ending.text, ending.tries, unix_time(), *ending.alert});
        lines += '\n';
        ++letters;
    }
    if (resent != nullptr) {
        resent->replace(lines);
    } else if (letters > 0) {
        append_lines(file, lines);
    }
    if (letters == 0) return;
    fmt::print("{} {} kept in {}\n", letters, letters == 1 ? "letter is" : "letters are",
               file.string());
}

// message ──> mail ────┐
//    json ┬─> webhook ─┼─> logger ─> dead_letters
//         └─> log ─────┘
Task<int> notify(const Options& options, const std::vector<Job>& jobs, std::size_t quorum,
                 LetterFile* resent) {
    ThreadPool pool{mails_at_once + 1};  // so that the log does not wait for the mail
    const Semaphore mails{mails_at_once};
    const Semaphore posts{posts_at_once};
    const Semaphore lines{1};
    const Http http;
    const RetryPolicy policy = RetryPolicy{options.tries}
                                   .backoff(options.backoff, 2.0)
                                   .cap(60s)
                                   .full_jitter()
                                   .when(is_worth_a_retry);

    Node logger = Node{"logger", log_endings, "jobs"_a = &jobs, "quorum"_a = quorum}.trigger(
        Trigger::all_settled);
    Node letters = Node{"dead_letters", keep_letters, "endings"_a = logger,
                        "file"_a = resent != nullptr ? options.resend : options.dead_letter,
                        "resent"_a = resent}
                       .trigger(Trigger::all_settled);
    for (const auto& [alert, channels] : jobs) {
        const MailSettings mail_settings = options.mail.value_or(MailSettings());
        const WebhookSettings webhook_settings = options.webhook.value_or(WebhookSettings());
        Node message{"message", compose_message, "alert"_a = alert, "settings"_a = mail_settings};
        Node json{"json", alert_json, "alert"_a = alert};
        Node mail{"mail", deliver_mail, "pool"_a = &pool, "settings"_a = mail_settings,
                  "message"_a = message};
        Node webhook{"webhook",         deliver_webhook,
                     "http"_a = http,   "settings"_a = webhook_settings,
                     "id"_a = alert.id, "body"_a = json};
        Node log{"log", deliver_log, "pool"_a = &pool, "file"_a = options.log, "line"_a = json};
        mail.limit(mails);
        webhook.limit(posts);
        log.limit(lines);
        for (const Node<Receipt>& channel :
             {Node<Receipt>(mail), Node<Receipt>(webhook), Node<Receipt>(log)}) {
            if (std::ranges::count(channels, channel.id()) == 0) continue;  // then it does not run
            channel.retry(policy).timeout(options.timeout).connect(logger);
        }
    }

    TreeExecutor executor{"notify", letters};
    executor.on_error(ErrorPolicy::keep_going);  // one that fails does not stop the others
    auto events = executor.yielding();
    const StopOnSignals stop_on_signals([&executor] { executor.stop(); });
    try {
        while (auto event = co_await events.next()) {
            if (event->kind() != EventKind::retrying) continue;
            fmt::print(stderr, "{}: {}, again in {} ms\n", event->node().id(),
                       innermost(*event->error()), event->delay() / 1ms);
        }
    } catch (const RunError&) {
        // the logger has told it
    }
    static_cast<void>(letters.output());  // throws if they could not be kept
    const Endings& endings = logger.output();
    if (std::ranges::any_of(endings, &Ending::stopped)) co_return 130;
    co_return count_delivered(endings) >= quorum ? 0 : 3;
}

// The letters as jobs. Throws `std::runtime_error` if there is one for a channel that was not
// given.
std::vector<Job> jobs_of(const std::vector<Letter>& letters, const Options& options) {
    std::vector<Job> jobs;
    for (const Letter& letter : letters) {
        const std::string& channel = letter.channel;
        const bool given = (channel == "mail" && options.mail) ||
                           (channel == "webhook" && options.webhook) ||
                           (channel == "log" && !options.log.empty());
        if (!given) {
            throw std::runtime_error(
                fmt::format("{} has a letter for the channel {}, which was not given",
                            options.resend.string(), printable(channel)));
        }
        jobs.push_back({letter.alert, {channel}});
    }
    return jobs;
}

int send_again(const Options& options) {
    LetterFile file(options.resend);
    const std::vector<Job> jobs = jobs_of(file.letters(), options);
    if (jobs.empty()) {
        fmt::print("there are no letters in {}\n", options.resend.string());
        return 0;
    }
    return grafo::run(notify(options, jobs, jobs.size(), &file));
}

int send_alert(const Options& options, const Alert& alert) {
    Job job{alert, {}};
    if (options.mail) job.channels.push_back("mail");
    if (options.webhook) job.channels.push_back("webhook");
    if (!options.log.empty()) job.channels.push_back("log");
    const std::vector<Job> jobs{std::move(job)};
    return grafo::run(notify(options, jobs, options.quorum, nullptr));
}

int rehearse(Options options, const Alert& alert) {
    const Rehearsal rehearsal(options);
    fmt::print("no channel was given: a rehearsal, with servers on this machine\n");
    std::fflush(stdout);
    const int code = send_alert(options, alert);
    if (code == 0) rehearsal.check(options, alert);
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse_command_line(argc, argv);
    block_stop_signals();
    std::signal(SIGPIPE, SIG_IGN);  // a connection that breaks is an error of its channel
    curl_global_init(CURL_GLOBAL_ALL);
    try {
        if (!options.resend.empty()) return send_again(options);
        const Alert alert = options.alert ? *options.alert : read_alert(options.alert_file);
        return options.channels() > 0 ? send_alert(options, alert) : rehearse(options, alert);
    } catch (const std::exception& error) {
        fmt::print(stderr, "notify: {}\n", printable(innermost(error)));
    }
    return 1;
}
