/* What the units of a group contribute to the outputs of the layers that read them, by inner products; private to
 * src/prune/methods. Local. */
#ifndef REAP_PRUNE_METHODS_CONTRIBUTIONS_H
#define REAP_PRUNE_METHODS_CONTRIBUTIONS_H

#include "reap/method.h"

/* Z_u = X_u W_u [samples, m] is the contribution of unit u to a layer's outputs with its present weights W; T is what
 * the outputs are to be, less the bias and less what columns of no unit contribute. Sums are over all samples and
 * outputs, not centred; of several layers, each relative to the energy of its outputs, they are added up. */
typedef struct reap_contributions {
  int64_t units;
  double *product; /* [units, units] tr(Z_u' Z_v), symmetric */
  double *target;  /* [units] tr(Z_u' T) */
} reap_contributions;

/* From the moments and the weights of the group's readers. Cost: n^2 m flops for each; memory: a matrix [n, n] and the
 * weights of one for a while. */
int reap_contributions_make(const reap_evidence *evidence, reap_contributions *out);
void reap_contributions_clear(reap_contributions *contributions);

#endif
