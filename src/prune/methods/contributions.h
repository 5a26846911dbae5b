/* What the channels contribute to the outputs of the layer that reads them, by inner products; private to
 * src/prune/methods. Local. */
#ifndef REAP_PRUNE_METHODS_CONTRIBUTIONS_H
#define REAP_PRUNE_METHODS_CONTRIBUTIONS_H

#include "reap/method.h"

/* Z_c = X_c W_c [samples, m] is the contribution of channel c with the layer's present weights W, b its bias. Sums are
 * over all samples and outputs, and not centred. */
typedef struct reap_contributions {
  int64_t channels;
  double *product; /* [channels, channels] tr(Z_c' Z_d), symmetric */
  double *target;  /* [channels] tr(Z_c' (Y - 1 b')) */
  double *weights; /* [n, m] row-major, W */
  double *bias;    /* [m] b */
} reap_contributions;

/* From the moments and the weights of the group's reader. Cost: n^2 m flops; memory: a matrix [n, n] for a while. */
int reap_contributions_make(const reap_evidence *evidence, reap_contributions *out);
void reap_contributions_clear(reap_contributions *contributions);

#endif
