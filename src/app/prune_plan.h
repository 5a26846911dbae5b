/* Which groups are pruned and how far, from the command line's wishes; private to src/app. Local. */
#ifndef REAP_APP_PRUNE_PLAN_H
#define REAP_APP_PRUNE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"

typedef struct prune_plan {
  bool *chosen;    /* [groups] */
  int64_t *counts; /* [groups] channels kept */
} prune_plan;

/* keep or flops: a share, the other NaN. exclude: names of groups or layers, comma-separated, or NULL; a layer stands for the
 * group it produces and the one it consumes. REAP_ERR_USAGE for names that do not exist and budgets out of reach. */
int prune_plan_make(const reap_graph *graph, const reap_groups *groups, double keep, double flops, const char *exclude,
                    prune_plan *plan);
void prune_plan_clear(prune_plan *plan);

#endif
