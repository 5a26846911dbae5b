/* A list of nodes made ready to run on one block of images after another. Local.
 *
 * Values that the nodes read but do not compute, and values marked `kept`, live in memory of the caller; all others
 * share one arena, in which a value takes the place of those that are no longer needed.
 */
#ifndef REAP_EXEC_PLAN_H
#define REAP_EXEC_PLAN_H

#include <stdbool.h>

#include "exec/kernels/kernel.h"
#include "reap/graph.h"

typedef struct reap_plan reap_plan;

/* nodes[n_nodes] ascending; kept[n_values]. The graph must stay as it is until the plan is destroyed. */
int reap_plan_create(const reap_graph *graph, const int *nodes, int n_nodes, const bool *kept, reap_backend backend,
                     reap_plan **out);
void reap_plan_destroy(reap_plan **plan);

/* Runs one block. storage[v] is the caller's memory of value v, in storage order (kernel.h), for all values read from
 * outside and all kept ones; other entries are ignored. */
int reap_plan_run(reap_plan *plan, float *const *storage);

#endif
