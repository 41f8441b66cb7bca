#pragma once
#include <stdexcept>
#include <string>
#include <vector>

/// What a server answered. Moved from node to node, not copied.
struct Answer {
    Answer() {}
    Answer(Answer&&) = default;
    Answer& operator=(Answer&&) = default;

    /// Whether it can be parsed: an HTML page, or a redirect.
    [[nodiscard]] bool has_links() const;

    std::string url;
    int status = 0;
    unsigned attempts = 0;
    std::string content_type;
    std::string location;  // of a redirect, absolute; else empty
    std::string body;
};

struct Link {
    std::string url;
    std::string text;
};

/// What a page says.
struct Page {
    Page() {}
    Page(Page&&) = default;
    Page& operator=(Page&&) = default;

    std::string url;
    int status = 0;
    unsigned attempts = 0;
    bool redirect = false;  // to its only link
    std::string title;
    std::string text;
    std::vector<Link> links;         // to other pages, each once, in their order
    std::vector<std::string> found;  // what the XPath expression gives, in its order
};

/// To be called once, before there are threads.
void init_parser();

/// What is wrong with an XPath expression; empty if nothing is.
[[nodiscard]] std::string xpath_error(const std::string& xpath);

/// Throws `std::runtime_error` if the XPath expression cannot be evaluated on this page.
[[nodiscard]] Page parse(const Answer& answer, const std::string& xpath);
