/* How far coupled groups take part in a choice of sizes: settled by trial. */
#ifndef REAP_PRUNE_SESSION_SCOPE_TRIALS_H
#define REAP_PRUNE_SESSION_SCOPE_TRIALS_H

#include "session_state.h"

/* How many there are at most: the network with all coupled units, its shares and factors (scope_trials.c). */
enum { REAP_SCOPE_SHARES = 4, REAP_SCOPE_FACTORS = 3, REAP_SCOPE_TRIALS = 1 + REAP_SCOPE_SHARES + REAP_SCOPE_FACTORS };

/* Collective. Finishes the session's plan; the same on all ranks. */
int reap_session_finish_plan(reap_session *session);

#endif
