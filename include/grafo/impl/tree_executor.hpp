#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <grafo/detail/inline.hpp>
#include <grafo/tree_executor.hpp>

namespace grafo::detail {

GRAFO_INLINE RunControl::RunControl() : Mail(&RunControl::on_mail, &RunControl::on_lost) {}

GRAFO_INLINE void RunControl::stop() {
    Shared<Mailbox> mailbox;
    {
        const LockGuard lock(mutex_);
        stop_requested_ = true;
        mailbox = mailbox_;
        if (run_ != nullptr) run_->interrupt();
    }
    if (mailbox == nullptr) return;  // not begun: it will start nothing
    if (LoopCore::current != nullptr && Mailbox::current() == mailbox) {
        if (run_ != nullptr) run_->stop();
        return;
    }
    if (asked_.fetch_add(1) > 0) return;  // what was posted has not been delivered yet
    keep_ = Shared<RunControl>(this);
    mailbox->post(*this);
}

GRAFO_INLINE bool RunControl::begin(RunHooks& run, const Shared<Mailbox>& mailbox) {
    const LockGuard lock(mutex_);
    run_ = &run;
    mailbox_ = mailbox;
    return stop_requested_;
}

GRAFO_INLINE void RunControl::end() noexcept {
    const LockGuard lock(mutex_);
    run_ = nullptr;
    mailbox_ = nullptr;
}

GRAFO_INLINE void RunControl::on_mail(Mail& mail) {
    auto& control = static_cast<RunControl&>(mail);
    const Shared<RunControl> keep = std::move(control.keep_);
    // The second one cancels again; a third would do nothing more.
    const unsigned asked = control.asked_.exchange(0);
    for (unsigned i = 0; i < asked && i < 2 && control.run_ != nullptr; ++i) control.run_->stop();
}

GRAFO_INLINE void RunControl::on_lost(Mail& mail) {
    const Shared<RunControl> keep = std::move(static_cast<RunControl&>(mail).keep_);
}

GRAFO_INLINE ExecutorState::ExecutorState(std::string name, NodeList nodes,
                                          const RunCoroutines& made)
    : coroutines(made), given_(std::move(nodes)) {
    options.name = std::move(name);
    if (given_.size() == 0) {
        throw Error("executor " + in_quotes(options.name) + " was given no nodes");
    }
    for (const Handle& handle : given_) {
        if (handle.core() == nullptr) {
            throw Error("executor " + in_quotes(options.name) + " was given an empty AnyNode");
        }
    }
}

GRAFO_INLINE ExecutorState::~ExecutorState() = default;

GRAFO_INLINE ExecutorState::Ticket::~Ticket() {
    if (control_ == nullptr) return;
    control_->end();
    state_->close_run(*control_);
}

GRAFO_INLINE ExecutorState::Ticket ExecutorState::open_run() {
    Shared<RunControl> control(new RunControl);
    const LockGuard lock(mutex_);
    controls_.push_back(control);
    return Ticket(Shared<ExecutorState>(this), std::move(control));
}

GRAFO_INLINE void ExecutorState::stop() {
    FlatList<Shared<RunControl>> controls;
    {
        const LockGuard lock(mutex_);
        controls = controls_;
    }
    for (const auto& control : controls) control->stop();
}

GRAFO_INLINE std::vector<AnyNode> ExecutorState::roots() const {
    std::vector<AnyNode> nodes;
    for (const Handle& handle : given_) nodes.push_back(AnyNode(*handle.core()));
    return nodes;
}

GRAFO_INLINE std::vector<AnyNode> ExecutorState::members() const {
    std::vector<AnyNode> nodes;
    const std::uint32_t mark = Graph::next_mark();
    const auto add = [&](NodeCore& node) {
        if (std::exchange(node.mark, mark) != mark) nodes.push_back(AnyNode(node));
    };
    for (const Handle& handle : given_) add(*handle.core());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        for (const OutEdge& edge : nodes[i].core()->out) add(edge.child());
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        for (const InEdge& edge : nodes[i].core()->in) add(*edge.parent);
    }
    return nodes;
}

GRAFO_INLINE std::vector<AnyNode> ExecutorState::leaves() const {
    const std::vector<AnyNode> nodes = members();
    FlatList<NodeCore*> inner;
    for_each_edge(nodes,
                  [&](const AnyNode& parent, const AnyNode&) { inner.push_back(parent.core()); });
    const std::uint32_t mark = Graph::next_mark();
    for (NodeCore* node : inner) node->mark = mark;
    std::vector<AnyNode> outer;
    for (const AnyNode& node : nodes) {
        if (node.core()->mark != mark) outer.push_back(node);
    }
    return outer;
}

GRAFO_INLINE void ExecutorState::close_run(const RunControl& closed) {
    const LockGuard lock(mutex_);
    for (std::size_t i = controls_.size(); i-- > 0;) {
        if (controls_[i].get() == &closed) controls_.erase_at(i);
    }
}

}  // namespace grafo::detail

namespace grafo {

GRAFO_INLINE TreeExecutor::TreeExecutor(TreeExecutor&&) noexcept = default;

GRAFO_INLINE TreeExecutor& TreeExecutor::operator=(TreeExecutor&&) noexcept = default;

GRAFO_INLINE TreeExecutor::~TreeExecutor() = default;

GRAFO_INLINE Task<RunReport> TreeExecutor::run() const {
    return state().coroutines.execute(state_, state_->open_run(), true);
}

GRAFO_INLINE Task<RunReport> TreeExecutor::try_run() const {
    return state().coroutines.execute(state_, state_->open_run(), false);
}

GRAFO_INLINE AsyncGenerator<Event> TreeExecutor::yielding() const {
    return state().coroutines.stream(state_, state_->open_run());
}

GRAFO_INLINE TreeExecutor& TreeExecutor::max_concurrency(std::size_t nodes) & {
    if (nodes == 0) {
        throw Error("executor " + detail::in_quotes(name()) +
                    " cannot run with max_concurrency(0): no node could ever start");
    }
    state().options.max_concurrency = nodes;
    return *this;
}

GRAFO_INLINE void TreeExecutor::throw_moved_from() {
    throw Error("a TreeExecutor was used that was moved from");
}

GRAFO_INLINE std::vector<NodeError> TreeExecutor::errors() const {
    return state().report->errors->list;
}

GRAFO_INLINE RunReport TreeExecutor::report() const { return RunReport(state().report); }

}  // namespace grafo
