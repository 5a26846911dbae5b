/* What of several outputs is the same for all images. */
#ifndef REAP_EXEC_OUTPUT_MEAN_H
#define REAP_EXEC_OUTPUT_MEAN_H

#include "divergence.h"
#include "reap/comm.h"
#include "shard.h"

/* Rows of the shard's images, block after block; in a block of m images the outputs come one after the other, [m, size]
 * each. */
typedef struct reap_output_rows {
  int n;
  const reap_output_kind *kinds; /* [n] */
  const int64_t *sizes;          /* [n] elements of one image */
  const float *rows;
} reap_output_rows;

/* Collective. of_means[n]: the number of images times |mean y|^2, or times KL(mean p || uniform) (with the soft-max at
 * that temperature, times its square, as in divergence.h). The same to the last bit on any number of ranks. */
int reap_output_means(const reap_comm *comm, const reap_shard *shard, const reap_output_rows *outputs,
                      double temperature, double *of_means);

#endif
