/* Messages for people, on standard error or wherever a program wants them; and how far a long call has come.
 *
 * A library function never prints its own errors (it returns them); it may log
 * warnings and information. Only the rank for which logging is switched on
 * prints, so that a message appears once and not once per rank. Local calls.
 */
#ifndef REAP_LOG_H
#define REAP_LOG_H

#include <stddef.h>

#include "reap/api.h"

REAP_API_BEGIN

typedef enum reap_log_level { REAP_LOG_QUIET, REAP_LOG_WARNING, REAP_LOG_INFO, REAP_LOG_DEBUG } reap_log_level;

/* What is printed from now on in this process; REAP_LOG_QUIET on every rank but one. Default: warnings. */
void reap_log_set_level(reap_log_level level);

/* From now on messages that the level allows go to `sink` (the text alone, valid during the call) and no longer to
 * standard error, where nothing else of the library goes either; NULL: there again. */
typedef void reap_log_sink(void *context, reap_log_level level, const char *message);
void reap_log_set_sink(reap_log_sink *sink, void *context);

/* Prints "reap: warning: ..." (one line) if the level allows. */
void reap_log(reap_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How far a long call has come: reported by callback, shown by the program. A phase begins with an event of which
 * nothing is done. */
typedef struct reap_progress_event {
  const char *phase;  /* "prune", "evaluate", ... */
  const char *item;   /* current layer, or NULL */
  double done, total; /* work so far and in all, in any unit */
  const char *detail; /* of what has been done: "16 -> 8 channels, error 0.012", or NULL */
  const char *part;   /* of the work on the item, which begins now: "moments", or NULL */
} reap_progress_event;

typedef struct reap_progress {
  void (*report)(void *context, const reap_progress_event *event); /* NULL: progress is not reported */
  void *context;
} reap_progress;

static inline void reap_progress_report(const reap_progress *progress, const char *phase, const char *item, double done,
                                        double total, const char *detail) {
  reap_progress_event event = {phase, item, done, total, detail, NULL};
  if (progress && progress->report) progress->report(progress->context, &event);
}

REAP_API_END

#endif
