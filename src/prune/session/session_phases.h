/* The phases of a session and how long each may take, in seconds of some machine: for whoever shows how far it is. */
#ifndef REAP_PRUNE_SESSION_SESSION_PHASES_H
#define REAP_PRUNE_SESSION_SESSION_PHASES_H

#include "reap/session.h"

enum { REAP_SESSION_PHASES = 8 };

typedef struct reap_session_phase {
  const char *name; /* as its progress is reported */
  double seconds;
} reap_session_phase;

/* Local. Those to come, in their order. Sizes that are not chosen yet are taken to be the same share of all groups. */
int reap_session_phases(const reap_session *session, int *n, reap_session_phase phases[REAP_SESSION_PHASES]);

/* Local, with sizes chosen. The same for the steps: seconds[groups + nodes], of which *n are set. */
int reap_session_step_seconds(const reap_session *session, double *seconds, int *n);

#endif
