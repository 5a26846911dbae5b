/* How far the entries that are left of a stream are from the original's; private to src/prune. */
#ifndef REAP_PRUNE_REPAIR_STREAM_DRIFT_H
#define REAP_PRUNE_REPAIR_STREAM_DRIFT_H

#include "prune/run/run.h"

typedef struct stream_drift {
  const run *run;
  int value;                /* that both networks hold, the original's frontier and whoever hands over the other */
  float *wanted;            /* a block of the original's, of the entries left */
  double *errors, *squares; /* [blocks] of the difference, and of the original's */
} stream_drift;

/* To be cleared also after an error. Local. */
int reap_stream_drift_create(const run *r, int value, stream_drift *out);
void reap_stream_drift_clear(stream_drift *d);

/* Local block b of the original's into d->wanted. Local. */
int reap_stream_drift_read(stream_drift *d, int64_t b);

/* Notes block b, which was read, of the pruned network's: images held out, or those in the sums. Noting it again
 * replaces that. Local. */
void reap_stream_drift_note(stream_drift *d, int64_t b, bool held_out, const float *now);

/* Collective: of the blocks noted since the last time, or 0 for none. square: what errors are relative to. */
int reap_stream_drift_sum(stream_drift *d, double *error, double *square);

/* Collective: relative to the original's, of all images held out or in the sums as the pruned network stands. */
int reap_stream_drift_measure(const run *r, int value, bool held_out, double *out);

#endif
