/* Scaled and ridged normal equations of one layer, and solves with them; private to src/prune. */
#ifndef REAP_PRUNE_NORMAL_EQUATIONS_H
#define REAP_PRUNE_NORMAL_EQUATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/moments.h"

typedef struct reap_normal_equations {
  int64_t channels, block, n, m;
  double *gram;   /* [n, n] symmetric: D G D with unit diagonal, without the ridge */
  double *cross;  /* [n, m] row-major: D C */
  double *scale;  /* [n] D: one over the root of the centred diagonal; 1 for dead columns */
  bool *dead;     /* [n] zero or constant columns: zero row and column, unit pivot, zero cross moments */
  double energy;  /* centred energy of the target */
  double ridge;   /* added to the unit diagonal (dead columns take none) */
  double rcond;   /* estimate for the full system; 0 until factored */
} reap_normal_equations;

/* Centres and scales. */
int reap_normal_create(const reap_moments *moments, double ridge, reap_normal_equations **out);
void reap_normal_destroy(reap_normal_equations **equations);

/* Cholesky factor (lower, column-major, leading dimension `count`) of the rows and columns listed in columns[count], ridge
 * included, into factor [count, count]. If it is not positive definite the ridge is raised tenfold and the
 * factorisation tried again: equations->ridge tells. */
int reap_normal_factor(reap_normal_equations *equations, int64_t count, const int64_t *columns, double *factor);

/* Columns of the channels alive[count], ascending: returns their number. */
int64_t reap_normal_columns(const reap_normal_equations *equations, int64_t count, const int64_t *alive, int64_t *columns);

#endif
