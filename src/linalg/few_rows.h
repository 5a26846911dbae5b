/* Moments of a layer that has fewer rows than columns: the rows themselves, from which pieces of X'X and X'Y are formed
 * whenever they are wanted. Local. */
#ifndef REAP_LINALG_FEW_ROWS_H
#define REAP_LINALG_FEW_ROWS_H

#include "reap/moments.h"

typedef struct reap_few_rows {
  int64_t channels, block, n, m, samples;
  double *x, *y;                    /* [samples, n], [samples, m] row-major; column = channel * block + t */
  double *diagonal, *sum_x, *sum_y; /* [n], [n], [m] */
  double energy;
} reap_few_rows;

/* Rows of zeros; the caller fills in x and y and then calls reap_few_rows_sum(). */
int reap_few_rows_create(int64_t channels, int64_t block, int64_t m, int64_t samples, reap_few_rows **out);
void reap_few_rows_destroy(reap_few_rows **rows);

/* Column sums and squares of the rows, in the order of the rows. */
void reap_few_rows_sum(reap_few_rows *rows);

/* The handle for the solver, with rows_x and rows_y; valid as long as the rows. */
reap_gram reap_few_rows_gram(const reap_few_rows *rows);

#endif
