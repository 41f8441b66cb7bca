#pragma once
#include <string>
#include <vector>

/// Where mail is handed in, and between whom.
struct MailSettings {
    std::string url;   // smtp://host:port, or smtps://
    std::string user;  // empty: none
    std::string password;
    std::string ca_file;  // empty: the system's
    std::string from;
    std::vector<std::string> to;
};

/// Where a webhook is, and what its receiver and we know.
struct WebhookSettings {
    std::string url;
    std::string secret;
    std::string ca_file;  // empty: the system's
};
