/* How far coupled groups take part in a choice of sizes: settled by trial. */
#ifndef REAP_PRUNE_SESSION_SCOPE_TRIALS_H
#define REAP_PRUNE_SESSION_SCOPE_TRIALS_H

#include "session_state.h"

enum { REAP_SCOPE_TRIALS = 8 }; /* at most */

/* Collective. Finishes the session's plan; the same on all ranks. */
int reap_session_finish_plan(reap_session *session);

#endif
