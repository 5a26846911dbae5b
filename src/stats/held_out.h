/* Errors of given weights on the rows of held-out images, gathered block by block. */
#ifndef REAP_STATS_HELD_OUT_H
#define REAP_STATS_HELD_OUT_H

#include <stdint.h>

#include "reap/comm.h"

/* Squared error and centred energy on the images that are held out, for weights on the channels kept. */
typedef struct reap_held_out_error {
  int64_t samples;
  double error, energy;
} reap_held_out_error;

/* The sums that it is formed of. Each block has its own place in errors and squares, which one rank fills. */
typedef struct reap_held_out_sums {
  int64_t blocks, m, samples;
  double *errors, *squares; /* [blocks] sums of |Y - XW - b|^2 and |Y|^2 */
  double *y;                /* [m] sums of Y */
} reap_held_out_sums;

/* Local. Zero sums, in place of those before. */
int reap_held_out_begin(int64_t blocks, int64_t m, reap_held_out_sums *sums);
void reap_held_out_clear(reap_held_out_sums *sums);

/* Collective: from the sums of all ranks; the same on all. */
int reap_held_out_finish(const reap_comm *comm, reap_held_out_sums *sums, reap_held_out_error *out);

#endif
