/* How far a long call has come: reported upwards by callback, shown by the program. Local. */
#ifndef REAP_PROGRESS_H
#define REAP_PROGRESS_H

#include "reap/api.h"

REAP_API_BEGIN

typedef struct reap_progress_event {
  const char *phase;  /* "prune", "evaluate", ... */
  const char *item;   /* current layer, or NULL */
  double done, total; /* work so far and in all, in any unit */
  const char *detail; /* "16 -> 8 channels, error 0.012", or NULL */
} reap_progress_event;

typedef struct reap_progress {
  void (*report)(void *context, const reap_progress_event *event); /* NULL: progress is not reported */
  void *context;
} reap_progress;

static inline void reap_progress_report(const reap_progress *progress, const char *phase, const char *item, double done,
                                        double total, const char *detail) {
  reap_progress_event event = {phase, item, done, total, detail};
  if (progress && progress->report) progress->report(progress->context, &event);
}

REAP_API_END

#endif
