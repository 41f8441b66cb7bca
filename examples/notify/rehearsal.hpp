#pragma once
#include "alert.hpp"
#include "command_line.hpp"
#include "smtp_sink.hpp"
#include "webhook_receiver.hpp"

/// What a run without channels sends to: a mail server and a webhook of its own, each of which
/// refuses the first try, and a log in build/notify.
class Rehearsal {
public:
    /// Enters them in the options.
    explicit Rehearsal(Options& options);

    /// After the run: has each channel got the alert once, at the second try, byte by byte as it
    /// was to be? Prints a line for each; throws `std::runtime_error` if not.
    void check(const Options& options, const Alert& alert) const;

private:
    SmtpSink smtp_{{{"MAIL", 451, 1}}};
    WebhookReceiver webhook_{{{"POST", 503, 1}}};
};
