/* Loops over matrices whose rows are short runs of columns; private to src/stats. Row-major; local. */
#ifndef REAP_STATS_COLUMNS_H
#define REAP_STATS_COLUMNS_H

#include <stdint.h>

/* What a layer is to produce on a block: y, plus before - now where these are given (a shortcut's drift). All of the
 * same shape, in storage order. */
typedef struct reap_target {
  const float *y, *before, *now;
} reap_target;

/* Elements from `at` on. */
reap_target reap_target_at(const reap_target *target, int64_t at);

/* to[r * pitch + c] = from[r * columns + c]. */
void reap_widen(double *to, int64_t pitch, const float *from, int64_t rows, int64_t columns);

/* The same for the sum that makes up a target, which is formed in float32. */
void reap_widen_target(double *to, int64_t pitch, const reap_target *from, int64_t rows, int64_t columns);

/* to[r * pitch + k] = from[r * columns + kept[k]]. */
void reap_widen_kept(double *to, int64_t pitch, const float *from, int64_t rows, int64_t columns, int64_t n_kept,
                     const int64_t *kept);

/* sum[c] += the column's sum, square[c] += its sum of squares; either may be NULL. */
void reap_add_columns(const double *from, int64_t rows, int64_t columns, double *sum, double *square);

/* square[c] += sums of squares of a target's columns. */
void reap_add_squares(const reap_target *from, int64_t rows, int64_t columns, double *square);

/* error[c] += sums of squares of value - prediction, both matrices dense. */
void reap_add_differences(const double *value, const double *prediction, int64_t rows, int64_t columns, double *error);

#endif
