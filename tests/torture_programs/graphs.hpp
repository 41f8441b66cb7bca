// The graphs that the programs here break, one after the other: the whole of the library, composed.
#pragma once

#include "graph.hpp"
#include "graphs_control.hpp"
#include "graphs_streams.hpp"
#include "graphs_tasks.hpp"
#include "graphs_values.hpp"

namespace torture {

struct NamedGraph {
    const char* name;
    Graph (*make)();
};

#define TORTURE_GRAPH(name) {#name, graphs::name}
// What is added goes to the end: the numbers of cases and the digests then stay.
inline constexpr NamedGraph all_graphs[] = {
    TORTURE_GRAPH(one_node),
    TORTURE_GRAPH(chain),
    TORTURE_GRAPH(diamond),
    TORTURE_GRAPH(order_only),
    TORTURE_GRAPH(deferred),
    TORTURE_GRAPH(deferred_coroutine),
    TORTURE_GRAPH(transform),
    TORTURE_GRAPH(transform_coroutine),
    TORTURE_GRAPH(mapped_at_the_child),
    TORTURE_GRAPH(named_at_run_time),
    TORTURE_GRAPH(forwarded_auto),
    TORTURE_GRAPH(list_gathered),
    TORTURE_GRAPH(list_of_pointers),
    TORTURE_GRAPH(list_of_a_range),
    TORTURE_GRAPH(optional_parameters),
    TORTURE_GRAPH(only_moved),
    TORTURE_GRAPH(member_function),
    TORTURE_GRAPH(bound_anew),
    TORTURE_GRAPH(callable_with_state),
    TORTURE_GRAPH(generator_collected),
    TORTURE_GRAPH(generator_with_result),
    TORTURE_GRAPH(generators_in_parallel),
    TORTURE_GRAPH(pipe),
    TORTURE_GRAPH(pipe_mapped),
    TORTURE_GRAPH(pipe_chain),
    TORTURE_GRAPH(pipe_of_two_readers),
    TORTURE_GRAPH(pipe_buffered),
    TORTURE_GRAPH(pipe_left_early),
    TORTURE_GRAPH(pipe_read_late),
    TORTURE_GRAPH(pipe_of_a_failing_producer),
    TORTURE_GRAPH(pipe_of_a_failing_reader),
    TORTURE_GRAPH(pipe_forked_and_joined),
    TORTURE_GRAPH(pipe_only_moved),
    TORTURE_GRAPH(mapped_each),
    TORTURE_GRAPH(mapped_each_failing),
    TORTURE_GRAPH(mapped_each_piped),
    TORTURE_GRAPH(conditions),
    TORTURE_GRAPH(skipping),
    TORTURE_GRAPH(finally),
    TORTURE_GRAPH(one_fails),
    TORTURE_GRAPH(two_fail),
    TORTURE_GRAPH(retried),
    TORTURE_GRAPH(retried_by_policy),
    TORTURE_GRAPH(retried_in_vain),
    TORTURE_GRAPH(retried_generator),
    TORTURE_GRAPH(timed_out),
    TORTURE_GRAPH(limited),
    TORTURE_GRAPH(rated),
    TORTURE_GRAPH(prioritised),
    TORTURE_GRAPH(callbacks),
    TORTURE_GRAPH(callbacks_that_throw),
    TORTURE_GRAPH(redirected),
    TORTURE_GRAPH(grown_by_a_body),
    TORTURE_GRAPH(grown_by_callbacks),
    TORTURE_GRAPH(loop),
    TORTURE_GRAPH(loop_without_end),
    TORTURE_GRAPH(two_waits_at_once),
    TORTURE_GRAPH(observed),
    TORTURE_GRAPH(all_of_a_pack),
    TORTURE_GRAPH(all_of_a_list),
    TORTURE_GRAPH(all_of_which_one_fails),
    TORTURE_GRAPH(any_of_a_pack),
    TORTURE_GRAPH(any_of_a_list),
    TORTURE_GRAPH(settled),
    TORTURE_GRAPH(limited_in_time),
    TORTURE_GRAPH(semaphore_in_a_body),
    TORTURE_GRAPH(rate_in_a_body),
    TORTURE_GRAPH(offloaded),
    TORTURE_GRAPH(offloaded_detached),
    TORTURE_GRAPH(sub_flow),
    TORTURE_GRAPH(sub_flow_streamed),
    TORTURE_GRAPH(sub_flow_failing),
    TORTURE_GRAPH(another_library),
    TORTURE_GRAPH(spawned),
    TORTURE_GRAPH(generator_in_a_body),
};
#undef TORTURE_GRAPH

}  // namespace torture
