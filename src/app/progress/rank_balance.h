/* How evenly the ranks were busy in a run, for the log; private to src/app. */
#ifndef REAP_APP_RANK_BALANCE_H
#define REAP_APP_RANK_BALANCE_H

#include "prune/run/types.h"
#include "reap/comm.h"

/* Collective, after the run. Rank 0 logs (at the level debug) what the fastest and the slowest rank took for what each
 * does alone: forward passes and sums of moments. */
int rank_balance_log(const reap_comm *comm, const reap_prune_result *result);

#endif
