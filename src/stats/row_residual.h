/* Errors of given weights on a layer's rows, where no rank has its moments. */
#ifndef REAP_STATS_ROW_RESIDUAL_H
#define REAP_STATS_ROW_RESIDUAL_H

#include "held_out.h"
#include "rows.h"

/* Collective, the same on all ranks: squared error of weights [n_kept * block, m] (row-major) and bias [m] on the
 * channels kept[n_kept], and the centred energy of Y, on the images held out or on those in the sums. */
int reap_row_residual(const reap_comm *comm, const reap_samples *samples, bool held_out, int64_t n_kept,
                      const int64_t *kept, const double *weights, const double *bias, reap_held_out_error *out);

#endif
