#pragma once
#include <grafo/grafo.hpp>
#include <grafo/offload.hpp>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "command_line.hpp"
#include "fetch.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "store.hpp"

/// A graph that grows while it runs: each page is three nodes, added by the page that was first to
/// lead there.
class Crawl {
public:
    /// The pages where it begins. All arguments outlive it.
    Crawl(const Options& options, grafo::ThreadPool& worker, Store& store);
    Crawl(const Crawl&) = delete;
    Crawl& operator=(const Crawl&) = delete;

    /// What everything else depends on: a node for each host.
    [[nodiscard]] std::vector<grafo::AnyNode> roots() const;

    /// Shows what has happened; if a page cannot be had, it gives what to write about it. Throws
    /// what `Store::save` has thrown.
    [[nodiscard]] std::optional<Miss> happened(const grafo::Event& event, Progress& progress);

    [[nodiscard]] const Visits& visits() const { return visits_; }
    [[nodiscard]] const Counts& counts() const { return counts_; }

private:
    struct HostNode {
        explicit HostNode(const Options& options) : host(options) {}
        Host host;
        std::optional<grafo::Node<Robots>> robots;
    };
    struct Step {
        enum Kind { fetching, parsing, saving };
        Kind kind;
        std::string url;
        grafo::AnyNode fetch;  // of the same page
    };

    HostNode& host_of_page(const std::string& url);
    void found(const std::string& url, unsigned depth, unsigned redirects,
               const grafo::AnyNode& from);
    void add_nodes(const std::string& url, const grafo::AnyNode& from);
    void read(const std::string& url, const grafo::Node<Page>& node);
    void follow(const std::string& url, const Visit& visit, const grafo::AnyNode& from);
    void need_end_of_redirects(const std::string& url, const std::string& target) const;
    [[nodiscard]] std::optional<std::string> why_skipped(const Step& step) const;
    static void robots_happened(const grafo::Event& event, Progress& progress);
    [[nodiscard]] grafo::RetryPolicy retry_policy() const;

    const Options& options_;
    grafo::ThreadPool& worker_;
    Store& store_;
    grafo::Http http_;
    std::map<std::string, HostNode> hosts_;
    Visits visits_;
    Counts counts_;
    std::unordered_map<grafo::AnyNode, Step> steps_;
};
