/* Signals that ask a run to end; private to src/app. Local, once in a process.
 *
 * SIGUSR1, and SIGTERM, let a run with a checkpoint finish the step at hand, write, and leave with status 6; the second
 * one ends it at once. Without a checkpoint, and for SIGINT, the run ends at once. Rank 0 says in a line what there is.
 */
#ifndef REAP_APP_STOP_REQUEST_H
#define REAP_APP_STOP_REQUEST_H

#include <signal.h>

#include "reap/comm.h"

/* checkpoint: a file name that lasts, or NULL. The result, which never goes back to 0, is for reap_session_settings. */
const volatile sig_atomic_t *stop_request_watch(const char *checkpoint, const reap_comm *comm);

/* From now on outputs appear, or the run has ended: nothing is said of it any more. */
void stop_request_outputs(void);

#endif
