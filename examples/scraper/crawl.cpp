#include "crawl.hpp"

#include <chrono>
#include <exception>
#include <utility>

#include "../common/innermost.hpp"
#include "page.hpp"
#include "url.hpp"

using namespace grafo;
using namespace grafo::literals;
using namespace std::chrono_literals;

namespace {

constexpr unsigned most_redirects = 10;

Task<Page> parse_on(ThreadPool* worker, Answer answer, std::string xpath) {
    co_return co_await offload(*worker, [&] { return parse(answer, xpath); });
}

Task<> save_on(ThreadPool* worker, Store* store, Page page) {
    co_await offload(*worker, [&] { store->save(page); });
}

int status_of(const NodeError& failure) {
    try {
        std::rethrow_exception(failure.cause());
    } catch (const PageError& error) {
        return error.status();
    } catch (const std::exception&) {
        return 0;
    }
}

}  // namespace

Crawl::Crawl(const Options& options, ThreadPool& worker, Store& store)
    : options_(options), worker_(worker), store_(store), http_(make_client(options)) {
    for (const std::string& url : options.urls) found(url, 0, 0, AnyNode());
}

std::vector<AnyNode> Crawl::roots() const {
    std::vector<AnyNode> nodes;
    for (const auto& [name, host] : hosts_) nodes.push_back(*host.robots);
    return nodes;
}

RetryPolicy Crawl::retry_policy() const {
    return RetryPolicy{options_.retries + 1}
        .backoff(300ms, 2.0)
        .cap(30s)
        .when([](const PageError& error) { return error.again(); });
}

Crawl::HostNode& Crawl::host_of_page(const std::string& url) {
    const auto [place, is_new] = hosts_.try_emplace(host_of(url), options_);
    HostNode& at = place->second;
    if (is_new) {
        const std::string file = origin_of(url) + "/robots.txt";
        Node robots{file,
                    read_robots,
                    "http"_a = http_,
                    "host"_a = &at.host,
                    "url"_a = file,
                    "agent"_a = options_.user_agent};
        robots.limit(at.host.at_once).limit(at.host.rate).retry(retry_policy());
        at.robots = robots;
    }
    return at;
}

// A link leads to `url`; `from` is the node that tells of it, empty at the start.
void Crawl::found(const std::string& url, unsigned depth, unsigned redirects, const AnyNode& from) {
    if (depth > options_.depth) return;
    const auto known = visits_.find(url);
    if (known == visits_.end()) {
        if (visits_.size() == options_.max_pages) return;
        Visit& visit = visits_[url];
        visit.depth = depth;
        visit.redirects = redirects;
        ++counts_.pages;
        add_nodes(url, from);
    } else if (depth < known->second.depth) {  // on a way that was slower, but is shorter
        known->second.depth = depth;
        follow(url, known->second, from);
    }
}

// robots ─┬─ if allowed ─> fetch ─> parse ─┬─> save
//         │                                │
//         └─ if allowed ─> fetch <─────────┘ for each link
void Crawl::add_nodes(const std::string& url, const AnyNode& from) {
    HostNode& at = host_of_page(url);
    Node fetching{"fetch " + url, fetch, "http"_a = http_, "host"_a = &at.host, "url"_a = url};
    Node parsing{"parse " + url, parse_on, "worker"_a = &worker_, "answer"_a,
                 "xpath"_a = options_.xpath};
    Node saving{"save " + url, save_on, "worker"_a = &worker_, "store"_a = &store_, "page"_a};
    fetching.limit(at.host.at_once).limit(at.host.rate).retry(retry_policy());
    parsing.on_after_run([this, url](const Node<Page>& node) { read(url, node); });

    at.robots->connect(
        fetching, when([path = path_of(url)](const Robots& robots) { return robots.allow(path); }));
    fetching.connect(parsing, "answer"_a,
                     when([](const Answer& answer) { return answer.has_links(); }));
    parsing.connect(saving, "page"_a);
    if (from) from.connect(fetching);

    steps_.emplace(fetching, Step{Step::fetching, url, fetching});
    steps_.emplace(parsing, Step{Step::parsing, url, fetching});
    steps_.emplace(saving, Step{Step::saving, url, fetching});
}

void Crawl::read(const std::string& url, const Node<Page>& node) {
    const Page& page = node.output();
    Visit& visit = visits_.at(url);
    if (page.redirect) need_end_of_redirects(url, page.links.front().url);
    visit.status = page.status;
    visit.redirect = page.redirect;
    visit.title = page.title;
    visit.found = page.found.size();
    for (const Link& link : page.links) visit.links.push_back(link.url);
    follow(url, visit, node);
}

void Crawl::follow(const std::string& url, const Visit& visit, const AnyNode& from) {
    const unsigned depth = visit.redirect ? visit.depth : visit.depth + 1;
    const unsigned redirects = visit.redirect ? visit.redirects + 1 : 0;
    for (const std::string& link : visit.links) {
        if (host_of(link) == host_of(url)) found(link, depth, redirects, from);
    }
}

void Crawl::need_end_of_redirects(const std::string& url, const std::string& target) const {
    const std::string* at = &target;
    for (;;) {
        if (*at == url) throw PageError("redirects in a circle", 0, false);
        const auto next = visits_.find(*at);
        if (next == visits_.end() || !next->second.redirect) break;
        at = &next->second.links.front();
    }
    if (visits_.at(url).redirects == most_redirects) {
        throw PageError("more than 10 redirects", 0, false);
    }
}

std::optional<std::string> Crawl::why_skipped(const Step& step) const {
    if (step.kind == Step::fetching) {
        try {
            if (hosts_.at(host_of(step.url)).robots->output().allow(path_of(step.url))) return {};
            return "forbidden by robots.txt";
        } catch (const NodeError& error) {
            return "robots.txt cannot be read: " + innermost(error);
        } catch (const OutputUnavailableError&) {
            return {};  // it was stopped
        }
    }
    if (step.kind != Step::parsing || step.fetch.state() != NodeState::completed) return {};
    return step.fetch.output<Answer>().content_type + " is not HTML";
}

// What has become of it, its pages will tell.
void Crawl::robots_happened(const Event& event, Progress& progress) {
    const std::string& url = event.node().id();
    if (event.kind() == EventKind::started) {
        progress.work(url, "fetch");
    } else if (event.kind() == EventKind::retrying) {
        progress.retry(url, status_of(*event.error()), innermost(*event.error()));
    } else {
        progress.stop(url);
    }
}

std::optional<Miss> Crawl::happened(const Event& event, Progress& progress) {
    const auto place = steps_.find(event.node());
    if (place == steps_.end()) {
        robots_happened(event, progress);
        return {};
    }
    const Step& step = place->second;
    const std::string& url = step.url;
    Visit& visit = visits_.at(url);
    Miss miss{url, "", 0, event.attempt(), ""};
    switch (event.kind()) {
        case EventKind::started: {
            static constexpr const char* names[] = {"fetch", "parse", "save"};
            progress.work(url, names[step.kind]);
            return {};
        }
        case EventKind::retrying:
            progress.retry(url, status_of(*event.error()), innermost(*event.error()));
            return {};
        case EventKind::completed:
            if (step.kind != Step::saving) return {};
            ++(visit.redirect ? counts_.redirects : counts_.saved);
            visit.state = visit.redirect ? "redirect" : "saved";
            progress.end(url, visit.state, visit.status,
                         visit.redirect ? visit.links.front() : visit.title);
            return {};
        case EventKind::failed:
            if (step.kind == Step::saving) std::rethrow_exception(event.error()->cause());
            ++counts_.failed;
            miss.state = "failed";
            miss.reason = innermost(*event.error());
            miss.status = status_of(*event.error());
            break;
        case EventKind::skipped:
            if (const auto why = why_skipped(step)) {
                ++counts_.skipped;
                miss.state = "skipped";
                miss.reason = *why;
                break;
            }
            return {};
        default: progress.stop(url); return {};
    }
    visit.state = miss.state;
    visit.reason = miss.reason;
    progress.end(url, miss.state, miss.status, miss.reason);
    return miss;
}
