/* Moments of the groups of a grouped convolution, each of which is a least-squares problem of its own: its inputs, its
 * outputs. Many small systems are summed in one walk over the images. */
#ifndef REAP_STATS_GROUP_MOMENTS_H
#define REAP_STATS_GROUP_MOMENTS_H

#include "reap/comm.h"
#include "reap/moments.h"
#include "samples.h"

/* Of groups first .. first + count. */
typedef struct reap_group_moments {
  int64_t first, count;
  reap_moments **in_sums, **held_out; /* [count] of the images in the sums, and of those held out, the same on all ranks
                                       */
  double multiply_adds;               /* of those in the sums, over all ranks, at best */
} reap_group_moments;

/* How many groups' sums fit what is given to them at once, at least one; multiply-adds of an image for a group's
 * moments, and bytes that so many groups take. Local. */
int reap_group_moments_batch(const reap_samples *samples, int64_t *batch, double *multiply_adds, double *bytes);

/* Collective. samples: of the whole layer, reap_layer.groups > 1. To be cleared also after an error. */
int reap_group_moments_gather(const reap_comm *comm, const reap_samples *samples, int64_t first, int64_t count,
                              reap_group_moments *out);
void reap_group_moments_clear(reap_group_moments *moments);

#endif
