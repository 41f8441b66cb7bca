#pragma once
#include <exception>
#include <string>

/// What was thrown first, inside all that was wrapped around it.
inline std::string innermost(const std::exception& error) {
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception& cause) {
        return innermost(cause);
    }
    return error.what();
}
