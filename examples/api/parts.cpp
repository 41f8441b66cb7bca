#include "parts.hpp"

#include <fmt/format.h>

#include <cctype>

using namespace grafo;

namespace {

std::string encoded(const std::string& text) {
    std::string url;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain =
            std::isalnum(byte) != 0 || std::string("-._~").find(c) != std::string::npos;
        url += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
    }
    return url;
}

std::string path_of_page(const Listing& listing, std::size_t number) {
    if (listing.paging.empty()) return listing.path;
    std::string query = fill_in(listing.paging, "page", std::to_string(number));
    query = fill_in(query, "size", std::to_string(listing.page_size));
    query = fill_in(query, "offset", std::to_string((number - 1) * listing.page_size));
    const char* const mark = listing.path.find('?') == std::string::npos ? "?" : "&";
    return listing.path + mark + query;
}

ApiError unexpected(const std::string& url, const std::string& what) {
    return ApiError(fmt::format("GET {}: {}", url, what), ApiError::for_good);
}

Json joined(const std::vector<Page>& pages) {
    Json all = Json::array();
    for (const Page& page : pages) all.insert(all.end(), page.items.begin(), page.items.end());
    return all;
}

}  // namespace

std::string fill_in(std::string text, const std::string& name, const std::string& value) {
    const std::string place = "{" + name + "}";
    const std::string filling = encoded(value);
    for (std::size_t at = text.find(place); at != std::string::npos;
         at = text.find(place, at + filling.size())) {
        text.replace(at, place.size(), filling);
    }
    return text;
}

Task<Token> log_in(Client* client, Login login) {
    if (login.path.empty()) co_return Token{login.token};
    const std::string url = client->url(login.path);
    const Json answer = co_await client->post(url, login.json);
    for (const char* const name : {"token", "access_token", "accessToken"}) {
        if (!answer.is_object() || !answer.contains(name)) continue;
        const Json& token = answer[name];
        if (token.is_string()) co_return Token{token.get<std::string>()};
    }
    throw ApiError(fmt::format("POST {}: there is no token in the answer", url),
                   ApiError::for_good);
}

Task<Profile> fetch_profile(Client* client, std::string path, const Token& token) {
    const std::string url = client->url(path);
    Answer answer = co_await client->get(url, token.text);
    if (!answer.document.is_object()) throw unexpected(url, "the answer is no JSON object");
    co_return Profile{std::move(answer.document)};
}

AsyncGenerator<Page> fetch_pages(Client* client, Listing listing, const Token& token) {
    std::string url = client->url(path_of_page(listing, 1));
    Json before;
    for (std::size_t number = 1;; ++number) {
        Answer answer = co_await client->get(url, token.text);
        if (!answer.document.is_array()) throw unexpected(url, "the answer is no JSON list");
        const std::size_t count = answer.document.size();
        if (count > 0 && answer.document == before) {
            throw unexpected(url, fmt::format("page {} is the one before it again", number));
        }
        before = answer.document;
        if (count > 0) co_yield Page(number, std::move(answer.document));
        if (answer.next) {
            if (answer.next->empty()) break;
            url = *answer.next;
        } else {
            if (listing.paging.empty() || count != listing.page_size) break;
            url = client->url(path_of_page(listing, number + 1));
        }
    }
}

Json merge(const std::string& user, const Profile* profile, const std::vector<Page>* posts,
           const std::vector<Page>* comments) {
    Json all = Json::object();
    all["user"] = user;
    all["profile"] = profile != nullptr ? profile->json : Json();
    all["posts"] = posts != nullptr ? joined(*posts) : Json();
    all["comments"] = comments != nullptr ? joined(*comments) : Json();
    return all;
}
