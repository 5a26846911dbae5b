/* A network's outputs kept in memory, for others to be compared with; private to src/exec. Local. */
#ifndef REAP_EXEC_REFERENCE_H
#define REAP_EXEC_REFERENCE_H

#include "evaluate.h"
#include "output_set.h"

struct reap_reference {
  int64_t images, first, size; /* images of all ranks, this rank's first block, elements of an image's outputs */
  int n;                       /* outputs */
  reap_output_kind *kinds;     /* [n] */
  int64_t *sizes;              /* [n] elements of one image */
  double *of_means;            /* [n] see output_mean.h; of several outputs */
  float *rows;                 /* of this rank's blocks, one after the other */
};

/* Room for `n` outputs, `size` elements of an image in all, of the shard's images; kinds and sizes are zero. To be
 * destroyed also after an error. */
int reap_reference_create(const reap_shard *shard, int n, int64_t size, reap_reference **out);

/* Notes what the outputs are. */
void reap_reference_describe(const reap_output_set *outputs, reap_reference *reference);

/* REAP_ERR_INPUT unless the outputs are as many and as large as those kept. */
int reap_reference_check(const reap_reference *against, const reap_output_set *outputs, const reap_shard *shard);

#endif
