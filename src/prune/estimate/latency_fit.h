/* What a layer's times say of groups of any kind; private to src/prune/estimate. Local. */
#ifndef REAP_PRUNE_ESTIMATE_LATENCY_FIT_H
#define REAP_PRUNE_ESTIMATE_LATENCY_FIT_H

#include "prune/sizes/cost_model.h"

/* The layer's times as a function of inputs and outputs, each to the first power: least squares over the table. */
void reap_latency_fit(const reap_graph *graph, int node, const reap_time_table *table, reap_cost_fit *out);

#endif
