/* How many channels each group keeps. Local. */
#ifndef REAP_BUDGET_H
#define REAP_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"

/* floor(share * channels + 0.5), at least 1, at most `channels`. */
int64_t reap_budget_round(double share, int64_t channels);

/* Multiply-adds of one image if group g keeps counts[g] channels; groups with chosen[g] false keep all. */
int64_t reap_budget_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen, const int64_t *counts);

/* The same share in every chosen group, as large as possible with at most `share_of_flops` times the network's multiply-adds; what
 * rounding leaves free goes to the groups that rounding cut most, one channel each. counts[groups]. REAP_ERR_USAGE
 * with the least share that can be reached if it cannot. */
int reap_budget_uniform_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                              double share_of_flops, int64_t *counts);

#endif
