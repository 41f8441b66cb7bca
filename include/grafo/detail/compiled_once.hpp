// No `#pragma once`: what a program needs once, in files with GRAFO_SEPARATE_COMPILATION. They
// include it where GRAFO_COMPILED_ONCE is `extern template`, and the one file with
// separate_compilation.hpp where it is `template`. Templates may be instantiated by each file or by
// one of them, so files with and without the macro go together.

#ifdef GRAFO_COMPILED_ONCE
namespace grafo {

GRAFO_COMPILED_ONCE void EventLoop::drive<detail::WhenUsed>(detail::Detached&);
GRAFO_COMPILED_ONCE void EventLoop::finish<detail::WhenUsed>();

// What a program with an executor asks of its loop.
GRAFO_COMPILED_ONCE RunReport EventLoop::run<RunReport>(Task<RunReport>);
GRAFO_COMPILED_ONCE RunReport run<RunReport>(Task<RunReport>);
GRAFO_COMPILED_ONCE TreeExecutor::TreeExecutor(std::string_view, NodeList);

namespace detail {

GRAFO_COMPILED_ONCE Task<RunReport> execute<WhenUsed>(Shared<ExecutorState>, ExecutorState::Ticket,
                                                      bool);
GRAFO_COMPILED_ONCE AsyncGenerator<Event> stream<WhenUsed>(Shared<ExecutorState>,
                                                           ExecutorState::Ticket);

GRAFO_COMPILED_ONCE void moved_on<WhenUsed>(NodeCore&, const HeldChunk&) noexcept;
GRAFO_COMPILED_ONCE void check_producer<WhenUsed>(NodeCore&);
GRAFO_COMPILED_ONCE void connect_nodes<WhenUsed>(NodeCore&, NodeCore&, ForwardOwner, std::uint32_t);
GRAFO_COMPILED_ONCE void disconnect_nodes<WhenUsed>(NodeCore&, NodeCore&);
GRAFO_COMPILED_ONCE void settle_cuts<WhenUsed>(const FlatList<Cut>&) noexcept;
GRAFO_COMPILED_ONCE void sweep<WhenUsed>(Graph&) noexcept;
GRAFO_COMPILED_ONCE void throw_output_unavailable<WhenUsed>(NodeCore&, TypeId);
#ifndef NDEBUG
GRAFO_COMPILED_ONCE void check_self_hold<WhenUsed>(Graph&);
#endif

}  // namespace detail

}  // namespace grafo
#undef GRAFO_COMPILED_ONCE
#endif
