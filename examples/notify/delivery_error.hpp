#pragma once
#include <curl/curl.h>

#include <stdexcept>
#include <string>

/// Why a channel did not deliver.
class DeliveryError : public std::runtime_error {
public:
    DeliveryError(const std::string& what, bool transient)
        : std::runtime_error(what), transient_(transient) {}
    /// Is it worth another try? A busy server is, a mailbox that does not exist is not.
    [[nodiscard]] bool is_transient() const noexcept { return transient_; }

private:
    bool transient_;
};

/// The same of what libcurl says when there was no answer: not of a wrong certificate, say.
[[nodiscard]] inline bool is_transient(CURLcode code) noexcept {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:  // a name server that does not answer looks the same
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
        case CURLE_OPERATION_TIMEDOUT:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_PARTIAL_FILE:
        case CURLE_GOT_NOTHING: return true;
        default: return false;
    }
}
