/* Scaled and ridged normal equations of one layer or of some of its channels; private to src/prune. */
#ifndef REAP_PRUNE_SOLVER_NORMAL_EQUATIONS_H
#define REAP_PRUNE_SOLVER_NORMAL_EQUATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "linalg/symmetric.h"
#include "reap/moments.h"

/* Scales and facts, the same on all ranks; the matrices are made on demand from the moments. */
typedef struct reap_normal_equations {
  reap_gram gram;
  int64_t slots;    /* channels taken part, each `block` rows */
  int64_t *channel; /* [slots] ascending */
  int64_t n;        /* slots * block */
  double *scale;    /* [gram.n] D: one over the root of the centred diagonal; 0 for dead columns */
  double energy;    /* centred energy of the target */
  double ridge;     /* added to the unit diagonal (dead columns take none) */
  int64_t dead;     /* channels of the layer whose columns are all dead */
} reap_normal_equations;

/* All channels of the layer (channels NULL) or `count` of them, ascending. The arrays of `gram` must outlive it. Local.
 */
int reap_normal_create(const reap_gram *gram, int64_t count, const int64_t *channels, double ridge,
                       reap_normal_equations **out);
void reap_normal_destroy(reap_normal_equations **equations);

/* The ridge to try next where one is too small. A singular system needs one at which rounding stays below the tie
 * rule's 1e-9 E, not just one at which the factorisation happens to go through. */
static inline double reap_normal_raise(double ridge) { return ridge < 1e-8 ? 1e-7 : ridge * 10; }

/* Diagonal of D G D + R for a column of the layer: 1 + ridge, or 1 where it is dead. */
double reap_normal_diagonal(const reap_normal_equations *equations, int64_t column);

/* D G D + R into both triangles of `matrix`, with the upper diagonal. Collective if it is distributed; REAP_ERR_NUMERIC
 * then if G is not symmetric or holds a NaN. */
int reap_normal_set(const reap_normal_equations *equations, reap_symmetric *matrix);

/* D C: rows of `slots` channels in the order given, columns first .. first + count: out [slots * block, count]
 * column-major without gaps. Local. */
int reap_normal_cross(const reap_normal_equations *equations, int64_t slots, const int64_t *channel, int64_t first,
                      int64_t count, double *out);

/* Centred sum of squares of a column: 0 if it is dead, constant but for rounding. weight: 1 / samples. */
static inline double reap_normal_centred(double squares, double sum, double weight) {
  const double centred = squares - sum * sum * weight;
  return centred <= 1e-12 * squares ? 0 : centred;
}

#endif
