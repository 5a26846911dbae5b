/* Loops over matrices whose rows are short runs of columns; private to src/stats. Row-major; local. */
#ifndef REAP_STATS_COLUMNS_H
#define REAP_STATS_COLUMNS_H

#include <stdint.h>

/* to[r * pitch + c] = from[r * columns + c]. */
void reap_widen(double *to, int64_t pitch, const float *from, int64_t rows, int64_t columns);

/* to[r * pitch + k] = from[r * columns + kept[k]]. */
void reap_widen_kept(double *to, int64_t pitch, const float *from, int64_t rows, int64_t columns, int64_t n_kept,
                     const int64_t *kept);

/* sum[c] += the column's sum, square[c] += its sum of squares; either may be NULL. */
void reap_add_columns(const double *from, int64_t rows, int64_t columns, double *sum, double *square);

/* square[c] += sums of squares of the columns. */
void reap_add_squares(const float *from, int64_t rows, int64_t columns, double *square);

/* error[c] += sums of squares of value - prediction, both matrices dense. */
void reap_add_differences(const double *value, const double *prediction, int64_t rows, int64_t columns, double *error);

#endif
