/* Milliseconds as a budget of a pruning run; private to src/app. */
#ifndef REAP_APP_PRUNE_LATENCY_H
#define REAP_APP_PRUNE_LATENCY_H

#include "prune_run.h"

/* Collective. Fills inputs->latency if the options ask for --latency and it is not there yet: from --latency-table, or
 * measured by one rank while the others wait. */
int prune_latency_get(const command_context *context, const prune_options *options, const reap_groups *groups,
                      const reap_progress *progress, prune_inputs *inputs);

/* Collective. Under --latency: the pruned network's own time, into run->measured_ms. */
int prune_latency_check(prune_run *run);

#endif
