#pragma once
#include <string>
#include <string_view>

#include "alert.hpp"
#include "settings.hpp"

namespace grafo {
class StopFlag;
}

/// Throws `std::runtime_error` unless it is an address that can stand in a header and an envelope:
/// name@domain in ASCII, without spaces and brackets.
void check_address(std::string_view address);

/// The alert as an Internet message: in ASCII whatever it says, its lines short and ended by CRLF.
[[nodiscard]] std::string compose_message(const Alert& alert, const MailSettings& settings);

/// Hands a message in, to all recipients or none, and gives what the server said: "250 …". Blocks;
/// throws `DeliveryError`, and `grafo::Cancelled` within a second of a stop.
[[nodiscard]] std::string send_message(const MailSettings& settings, std::string_view message,
                                       const grafo::StopFlag& stop);
