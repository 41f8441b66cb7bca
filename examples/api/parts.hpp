#pragma once
#include <cstddef>
#include <grafo/grafo.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client.hpp"
#include "json.hpp"

/// What a request has to show; empty if the API wants none.
struct Token {
    std::string text;
};

struct Profile {
    Json json;
};

/// A chunk: some of the items of a list, one or more.
struct Page {
    Page(std::size_t page_number, Json list) : number(page_number), items(std::move(list)) {}

    std::size_t number;  // from 1
    Json items;
};

/// Either a token that is there already, or where and with which JSON to ask for one.
struct Login {
    std::string token;
    std::string path;
    std::string json;
};

/// A list that comes in pages.
struct Listing {
    std::string path;
    std::string paging;  // the query: "_page={page}&_limit={size}", or with {offset}; may be empty
    std::size_t page_size;
};

/// Puts a value, made fit for a URL, in the place of each `{name}`.
[[nodiscard]] std::string fill_in(std::string text, const std::string& name,
                                  const std::string& value);

// The nodes. They throw `ApiError`.

grafo::Task<Token> log_in(Client* client, Login login);

grafo::Task<Profile> fetch_profile(Client* client, std::string path, const Token& token);

/// Follows the links from page to page if the server gives them; if not, it ends with the first
/// page that is not full.
grafo::AsyncGenerator<Page> fetch_pages(Client* client, Listing listing, const Token& token);

/// All in one document; null in the place of what is missing.
[[nodiscard]] Json merge(const std::string& user, const Profile* profile,
                         const std::vector<Page>* posts, const std::vector<Page>* comments);
