/* Status codes and the message that explains the last failure.
 *
 * Every function that can fail returns `int`: REAP_OK or one of the codes
 * below, which are also the exit statuses of the program. The function that
 * detects a failure calls reap_error() with one line that names the file, node
 * or layer, the reason, and what to do; callers pass the status on with
 * REAP_TRY, or REAP_TRY_OR where something has to be released first.
 *
 * The message belongs to the calling thread. All calls here are local.
 */
#ifndef REAP_ERROR_H
#define REAP_ERROR_H

#include "reap/api.h"

REAP_API_BEGIN

enum {
  REAP_OK = 0,
  REAP_ERR_INTERNAL = 1, /* a broken invariant: a bug in reap */
  REAP_ERR_USAGE = 2,    /* wrong arguments or settings */
  REAP_ERR_INPUT = 3,    /* unusable input or output */
  REAP_ERR_RESOURCE = 4, /* out of memory or disk */
  REAP_ERR_NUMERIC = 5,  /* numbers that cannot be used, or a solver that failed */
  REAP_STOPPED = 6,      /* stopped on request, after writing a checkpoint */
  REAP_ERR_STALLED = 7   /* a peer or a link is gone */
};

/* Sets the thread's message (printf style; its middle is cut out if it is longer than REAP_ERROR_LENGTH) and returns
 * `status`. */
int reap_error(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same after a failed system call: ": " and errno's own words end the message, and errno decides on the status:
 * REAP_ERR_RESOURCE where memory, disk, quota or descriptors ran out, else REAP_ERR_INPUT. */
int reap_error_system(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts "prefix: " in front of the present message; returns `status` unchanged, REAP_OK included. */
int reap_error_prefix(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The thread's message; "" if none. Valid until the next reap_error() of this thread. */
const char *reap_error_message(void);

/* One or two words for a status, for logs. */
const char *reap_status_name(int status);

enum { REAP_ERROR_LENGTH = 1024 };

/* Returns from the enclosing function with the status of `call` unless it is REAP_OK. */
#define REAP_TRY(call)                                        \
  do {                                                        \
    int reap_try_status_ = (call);                            \
    if (reap_try_status_ != REAP_OK) return reap_try_status_; \
  } while (0)

/* Same, for functions that clean up: needs `int status` and jumps to `label`. */
#define REAP_TRY_OR(call, label)       \
  do {                                 \
    status = (call);                   \
    if (status != REAP_OK) goto label; \
  } while (0)

REAP_API_END

#endif
