/* Progress of a sweep: settings done of all, time to go; private to src/app. Local, but for the shared count.
 *
 * Rank 0 shows how far all are, the first rank of each group what its setting came to.
 */
#ifndef REAP_APP_SWEEP_SWEEP_PROGRESS_H
#define REAP_APP_SWEEP_SWEEP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/progress_view.h"
#include "comm/counter.h"
#include "reap/comm.h"

typedef struct sweep_progress {
  progress_view view;
  reap_counter *done; /* settings finished, by all groups */
  int64_t total;
  bool first;           /* rank 0 of all */
  double fraction;      /* of the current setting */
  double last;          /* when something was shown */
  reap_progress inside; /* to hand to the runs */
} sweep_progress;

/* leader: first rank of a group; style: the command line's. The clock starts here. */
void sweep_progress_start(sweep_progress *p, const reap_comm *all, bool leader, const char *style, reap_counter *done,
                          int64_t total);

/* By the group's leader: a setting is finished, and what it came to. */
void sweep_progress_finished(sweep_progress *p, const char *what);

void sweep_progress_end(sweep_progress *p);

#endif
