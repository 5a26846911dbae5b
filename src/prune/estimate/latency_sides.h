/* In what sizes of its inputs and outputs a layer is timed; private to src/prune/estimate. Local. */
#ifndef REAP_PRUNE_ESTIMATE_LATENCY_SIDES_H
#define REAP_PRUNE_ESTIMATE_LATENCY_SIDES_H

#include <stdbool.h>

#include "reap/groups.h"

/* Sizes on either side are counted in channels of the inner group there or, where coupled groups have entries, in the
 * layer's own: inputs of one of a convolution's groups, outputs of all of them. If whole groups of a convolution leave,
 * outputs are counted in these. 0: there is one size. */
typedef struct latency_sides {
  int64_t in, out;
  bool groups_leave;
} latency_sides;

/* coupled: entries of coupled groups count. */
int reap_latency_sides(const reap_graph *graph, const reap_groups *groups, int node, bool coupled, latency_sides *out);

/* Whether a chosen coupled group has entries of linear layer `node`. */
bool reap_latency_coupled(const reap_graph *graph, const reap_groups *groups, const bool *chosen, int node);

#endif
