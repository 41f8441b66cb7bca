#pragma once
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <grafo/detail/shared.hpp>

namespace grafo {

class AnyNode;

namespace detail {
struct ErrorAccess;
struct NodePath final : SharedByThreads {
    explicit NodePath(std::size_t size);
    ~NodePath();
    std::vector<std::string> ids;
};
// What the copies of a NodeError share; see NodeFailure.
struct FailureData : SharedByThreads {
    FailureData(Shared<NodePath> ids, unsigned count) : path(std::move(ids)), attempts(count) {}
    virtual ~FailureData() = default;
    Shared<NodePath> path;
    unsigned attempts;
};
}  // namespace detail

/// The base of every error of the library; the message names the node, what was wrong and what was
/// there instead.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// A forward, a bind or a redirect names a parameter that the callable does not have; the message
/// lists those it has.
class ForwardingParameterError : public Error {
public:
    using Error::Error;
};

/// The forwarded type is not the one that the parameter takes; the message points to a transform.
class ForwardingTypeError : public Error {
public:
    using Error::Error;
};

/// The parameter is already bound, or another parent already forwards into it.
class ForwardingOverrideError : public Error {
public:
    using Error::Error;
};

/// `forward_auto` found no open parameter that takes the output, or more than one.
class AutoForwardError : public Error {
public:
    using Error::Error;
};

/// A parameter is neither bound nor forwarded into; thrown by the run before any node has started.
class MissingArgumentError : public Error {
public:
    using Error::Error;
};

/// The edges form a cycle, which the message prints; thrown by the run before any node has started.
class CycleError : public Error {
public:
    using Error::Error;
};

/// A node was changed, or run again, while it runs.
class SafeExecutionError : public Error {
public:
    using Error::Error;
};

/// `output()` of a node that is not `completed`, or whose output was moved on to a child.
class OutputUnavailableError : public Error {
public:
    using Error::Error;
};

/// A node did not end within its `timeout`.
class TimeoutError : public Error {
public:
    using Error::Error;
};

/// The loop has nothing ready, nothing timed and nothing out on other threads, but its task waits.
class DeadlockError : public Error {
public:
    using Error::Error;
};

/// One node's failure; what the node threw is nested (`std::rethrow_if_nested`, `cause()`).
/// Holds a handle of its node, so the graph lives while the error does. Copies share their content.
class NodeError : public Error, public std::nested_exception {
public:
    /// The node that failed.
    [[nodiscard]] AnyNode node() const;
    /// The ids from a root down to the node: the path on which it became ready last.
    [[nodiscard]] const std::vector<std::string>& path() const noexcept {
        return failure_->path->ids;
    }
    /// How often the body was tried; 0 if it failed before its body was called.
    [[nodiscard]] unsigned attempts() const noexcept { return failure_->attempts; }
    /// What the node threw.
    [[nodiscard]] std::exception_ptr cause() const noexcept { return nested_ptr(); }

    // Made by the library, inside the handler of the cause.
    NodeError(const std::string& what, detail::Shared<const detail::FailureData> failure)
        : Error(what), failure_(std::move(failure)) {}
    // No moves: an error is never without its content.
    NodeError(const NodeError&) noexcept = default;
    NodeError& operator=(const NodeError&) noexcept = default;
    ~NodeError() override = default;

private:
    friend struct detail::ErrorAccess;
    detail::Shared<const detail::FailureData> failure_;
};

namespace detail {
struct ErrorAccess {
    static const FailureData& failure(const NodeError& error) noexcept { return *error.failure_; }
};
struct NodeErrors final : SharedByThreads {
    NodeErrors() noexcept;
    ~NodeErrors();
    void dispose() noexcept;
    // What std::vector::erase does, with less of its machinery.
    void erase_at(std::size_t place);
    std::vector<NodeError> list;
    // When buried: one of these errors may hold those of a run inside that run, and so on.
    NodeErrors* next = nullptr;
};
}  // namespace detail

/// A run in which nodes failed, or that was stopped. Copies share their content.
class RunError : public Error {
public:
    /// The failures, in the order they happened; empty if the run was only stopped.
    [[nodiscard]] const std::vector<NodeError>& errors() const noexcept { return errors_->list; }
    /// True if `stop()` ended the run.
    [[nodiscard]] bool stopped() const noexcept { return stopped_; }

    // Made by the library.
    RunError(const std::string& what, detail::Shared<detail::NodeErrors> errors, bool stopped)
        : Error(what), errors_(std::move(errors)), stopped_(stopped) {}
    // No moves: an error is never without its content.
    RunError(const RunError&) noexcept = default;
    RunError& operator=(const RunError&) noexcept = default;
    ~RunError() override = default;

private:
    detail::Shared<detail::NodeErrors> errors_;
    bool stopped_;
};

/// Thrown out of an await by a cancellation. Not a `std::exception`, so that
/// `catch (const std::exception&)` does not swallow it; let it pass, or clean up and rethrow.
class Cancelled {
public:
    Cancelled() noexcept {}
};

/// Thrown in a node's body, ends the node as skipped; `co_await skip("why")` does the same.
/// Not a `std::exception`.
class Skip {
public:
    /// A skip without a reason.
    Skip() {}
    /// A skip and its reason.
    explicit Skip(std::string why) : why_(std::move(why)) {}
    /// The reason given.
    [[nodiscard]] const std::string& why() const noexcept { return why_; }

private:
    std::string why_;
};

}  // namespace grafo

#ifndef GRAFO_SEPARATE_COMPILATION
#include <grafo/impl/errors.hpp>
#endif
