/* Progress of a sweep: what runs report of themselves becomes a share of one of many; private to src/app. Local, but
 * for the shared count.
 *
 * Rank 0 shows how far all are, the first rank of each group what its setting came to.
 */
#ifndef REAP_APP_SWEEP_SWEEP_PROGRESS_H
#define REAP_APP_SWEEP_SWEEP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/progress/progress_model.h"
#include "comm/counter.h"
#include "reap/comm.h"
#include "reap/log.h"

typedef struct sweep_progress {
  const char *phase;    /* "choices" or "sweep" */
  reap_counter *shared; /* settings finished, by all groups; NULL: own counts */
  int64_t own, total;
  progress_model model; /* of the run at hand: its phases are expected by whoever starts it */
  double last;          /* when something was shown */
  reap_progress inside; /* to hand to the runs */
} sweep_progress;

/* Of `total` runs that are said to be over by sweep_progress_next(); shared: counts those of all groups, or NULL.
 * first: this process speaks for the sweep. */
void sweep_progress_start(sweep_progress *p, const char *phase, bool first, reap_counter *shared, int64_t total);

/* A run begins; its phases may be expected from here on. */
void sweep_progress_begin(sweep_progress *p);

/* A run is over: by the leader of its group; what it came to, or NULL. */
void sweep_progress_next(sweep_progress *p, const char *what);

#endif
