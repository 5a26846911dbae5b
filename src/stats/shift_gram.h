/* Moments of stride-1 convolutions at all positions from shifted correlations; private to src/stats. See
 * shift_gram.c. */
#ifndef REAP_STATS_SHIFT_GRAM_H
#define REAP_STATS_SHIFT_GRAM_H

#include "reap/moments.h"
#include "samples.h"
#include "shift_plan.h"

typedef struct reap_shift reap_shift;

/* Whether the shift form computes this layer's moments with fewer operations than patches do. */
int reap_shift_pays(const reap_layer *layer, bool *pays);

/* For all positions of the samples; nothing is read. */
int reap_shift_create(const reap_samples *samples, reap_shift **out);
void reap_shift_destroy(reap_shift **shift);

/* Numbers in all terms: [terms][channels, channels], which stand for the Gram matrix until assembly. */
int64_t reap_shift_count(const reap_shift *shift);

/* Sums over the images of one block that are not held out; columns of cross and sum_x are tap-major. */
typedef struct reap_shift_sums {
  double *terms;         /* [reap_shift_count] */
  double *cross;         /* [n, m] */
  double *sum_x, *sum_y; /* [n], [m] */
  double energy;
  int64_t samples;
} reap_shift_sums;

int reap_shift_moments(reap_shift *shift, int64_t block, const float *x, const float *y, reap_shift_sums *sums);

/* Multiply-adds needed for one image. */
double reap_shift_multiply_adds(const reap_shift *shift);

/* Writes gram [n, n] in the order of the files (channel * block + t) from terms summed over whatever. */
void reap_shift_assemble(const reap_shift *shift, const double *terms, double *gram);

/* Held-out images: weights [n_kept * block, m] on channels kept[n_kept], bias [m]. */
int reap_shift_residual_begin(reap_shift *shift, int64_t n_kept, const int64_t *kept, const double *weights,
                              const double *bias);

/* Sums over the block's images that are held out. */
typedef struct reap_shift_residual {
  double error, square; /* of y - prediction, of y */
  double *sum_y;        /* [m], added to */
  int64_t samples;
} reap_shift_residual;

int reap_shift_residual_add(reap_shift *shift, int64_t block, const float *x, const float *y, reap_shift_residual *out);

#endif
