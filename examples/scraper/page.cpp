#include "page.hpp"

#include <fmt/format.h>
#include <libxml/HTMLparser.h>
#include <libxml/HTMLtree.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "url.hpp"

namespace {

struct FreeByXml {
    void operator()(xmlDoc* document) const { xmlFreeDoc(document); }
    void operator()(xmlXPathContext* context) const { xmlXPathFreeContext(context); }
    void operator()(xmlXPathCompExpr* expression) const { xmlXPathFreeCompExpr(expression); }
    void operator()(xmlXPathObject* object) const { xmlXPathFreeObject(object); }
    void operator()(xmlChar* text) const { xmlFree(text); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeByXml>;

const xmlChar* chars(const char* text) { return reinterpret_cast<const xmlChar*>(text); }
const char* chars(const xmlChar* text) { return reinterpret_cast<const char*>(text); }

std::string taken(xmlChar* text) {
    const Owned<xmlChar> owned(text);
    return text == nullptr ? std::string() : std::string(chars(text));
}

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Adds `text` with every run of white space as one space.
void add_words(std::string& to, std::string_view text) {
    for (const char c : text) {
        if (!is_blank(c)) {
            to += c;
        } else if (!to.empty() && !is_blank(to.back())) {
            to += ' ';
        }
    }
}
void trim_end(std::string& text) {
    while (!text.empty() && is_blank(text.back())) text.pop_back();
}
std::string words(std::string_view text) {
    std::string result;
    add_words(result, text);
    trim_end(result);
    return result;
}

template <std::size_t N>
bool is_one_of(const xmlNode* node, const std::array<std::string_view, N>& names) {
    return std::ranges::find(names, std::string_view(chars(node->name))) != names.end();
}
bool is_hidden(const xmlNode* node) {
    static constexpr std::array<std::string_view, 5> names{"head", "script", "style", "template",
                                                           "noscript"};
    return node->type == XML_ELEMENT_NODE && is_one_of(node, names);
}
// Whether the text of an element stands in lines of its own.
bool is_block(const xmlNode* node) {
    static constexpr std::array<std::string_view, 22> names{
        "a", "abbr", "b",    "cite",  "code", "dfn", "em",     "font", "i",    "img", "kbd",
        "q", "s",    "samp", "small", "span", "sub", "strong", "sup",  "time", "u",   "var"};
    return node->type == XML_ELEMENT_NODE && !is_one_of(node, names);
}
void end_line(std::string& text) {
    trim_end(text);
    if (!text.empty()) text += '\n';
}

// Without recursion, since a page may nest as deep as it likes.
std::string text_of(xmlDoc* document) {
    std::string text;
    const xmlNode* node = xmlDocGetRootElement(document);
    while (node != nullptr) {
        if (is_block(node)) end_line(text);
        if (node->type == XML_TEXT_NODE) add_words(text, chars(node->content));
        const bool enter = node->type == XML_ELEMENT_NODE && !is_hidden(node);
        if (enter && node->children != nullptr) {
            node = node->children;
            continue;
        }
        while (node != nullptr && node->next == nullptr) {
            node = node->parent;
            if (node != nullptr && is_block(node)) end_line(text);
        }
        if (node != nullptr) node = node->next;
    }
    trim_end(text);
    return text;
}

// libxml2 gives no message there.
std::string what_is_wrong(const xmlError& error) {
    switch (error.code) {
        case XML_XPATH_UNKNOWN_FUNC_ERROR: return "there is no such function";
        case XML_XPATH_UNDEF_VARIABLE_ERROR: return "there is no such variable";
        case XML_XPATH_UNDEF_PREFIX_ERROR: return "there is no such namespace";
        default: return fmt::format("it is wrong after {} characters", error.int1);
    }
}

void print_nothing(void*, const char*, ...) {}

class Query {
public:
    explicit Query(xmlDoc* document) : context_(xmlXPathNewContext(document)) {
        if (context_ == nullptr) throw std::bad_alloc();
        // It would print them, each thread for itself.
        xmlSetGenericErrorFunc(nullptr, &print_nothing);
        context_->userData = this;
        context_->error = [](void* self, xmlErrorPtr error) {
            static_cast<Query*>(self)->error_ = what_is_wrong(*error);
        };
    }

    std::vector<std::string> texts(const std::string& xpath) {
        std::vector<std::string> result;
        const Owned<xmlXPathObject> object = evaluate(xpath);
        if (object->type != XPATH_NODESET) {
            result.push_back(words(taken(xmlXPathCastToString(object.get()))));
        } else {
            for (xmlNode* node : nodes(*object)) {
                result.push_back(words(taken(xmlXPathCastNodeToString(node))));
            }
        }
        return result;
    }
    std::string text(const std::string& xpath) {
        const std::vector<std::string> all = texts(xpath);
        return all.empty() ? std::string() : all.front();
    }
    template <class F>
    void for_each(const std::string& xpath, F&& visit) {
        const Owned<xmlXPathObject> object = evaluate(xpath);
        for (xmlNode* node : nodes(*object)) visit(node);
    }

private:
    Owned<xmlXPathObject> evaluate(const std::string& xpath) {
        Owned<xmlXPathObject> object;
        const Owned<xmlXPathCompExpr> compiled(
            xmlXPathCtxtCompile(context_.get(), chars(xpath.c_str())));
        if (compiled != nullptr) {
            object.reset(xmlXPathCompiledEval(compiled.get(), context_.get()));
        }
        if (object == nullptr) {
            throw std::runtime_error(
                fmt::format("the XPath expression {} cannot be evaluated: {}", xpath, error_));
        }
        return object;
    }
    static std::vector<xmlNode*> nodes(const xmlXPathObject& object) {
        const xmlNodeSet* set = object.nodesetval;
        if (object.type != XPATH_NODESET || set == nullptr || set->nodeNr == 0) return {};
        return {set->nodeTab, set->nodeTab + set->nodeNr};
    }

    Owned<xmlXPathContext> context_;
    std::string error_;
};

// Also of an empty body, which libxml2 makes no document of.
Owned<xmlDoc> parse_html(const Answer& answer) {
    // What the server says, else what it is, else what the page says.
    std::string charset;
    if (const std::size_t at = answer.content_type.find("charset="); at != std::string::npos) {
        charset = answer.content_type.substr(at + 8);
        std::erase(charset, '"');
        charset = charset.substr(0, charset.find_first_of("; "));
    } else if (xmlCheckUTF8(chars(answer.body.c_str())) != 0) {
        charset = "UTF-8";
    }
    const int size = static_cast<int>(std::min<std::size_t>(answer.body.size(), INT_MAX));
    Owned<xmlDoc> document(htmlReadMemory(
        answer.body.data(), size, answer.url.c_str(), charset.empty() ? nullptr : charset.c_str(),
        HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET));
    if (document == nullptr) document.reset(htmlNewDoc(nullptr, nullptr));
    if (document == nullptr) throw std::bad_alloc();
    return document;
}

void add_links(Page& page, Query& query) {
    const std::string base =
        absolute_url(page.url, query.text("string(//base/@href)")).value_or(page.url);
    std::set<std::string> known{page.url};
    query.for_each("//a[@href] | //area[@href]", [&](xmlNode* node) {
        const std::string target = words(taken(xmlGetProp(node, chars("href"))));
        const std::optional<std::string> url = absolute_url(base, target);
        if (!url || !known.insert(*url).second) return;
        page.links.push_back(Link{*url, words(taken(xmlNodeGetContent(node)))});
    });
}

}  // namespace

bool Answer::has_links() const {
    return !location.empty() || content_type.empty() || content_type.starts_with("text/html") ||
           content_type.starts_with("application/xhtml+xml");
}

void init_parser() { xmlInitParser(); }

std::string xpath_error(const std::string& xpath) {
    try {
        const Owned<xmlDoc> document(htmlNewDoc(nullptr, nullptr));
        static_cast<void>(Query(document.get()).texts(xpath));
        return {};
    } catch (const std::runtime_error& error) {
        return error.what();
    }
}

Page parse(const Answer& answer, const std::string& xpath) {
    Page page;
    page.url = answer.url;
    page.status = answer.status;
    page.attempts = answer.attempts;
    if (!answer.location.empty()) {
        page.redirect = true;
        page.links.push_back(Link{answer.location, {}});
        return page;
    }
    const Owned<xmlDoc> document = parse_html(answer);
    Query query(document.get());
    page.title = query.text("string(//title)");
    page.text = text_of(document.get());
    page.found = query.texts(xpath);
    add_links(page, query);
    return page;
}
