/* Least squares with fewer rows than columns, in the space of the rows.
 *
 * Method. With the N rows centred and scaled (normal_equations.c) to Z [N, n], outputs centred to Y, and the ridge r,
 * the dual system of elimination.c is, by Woodbury's identity,
 *
 *     H = (Z'Z + r)^-1 = (1 - Z' A Z) / r        A = M^-1, M = r + Z Z'  [N, N]
 *     W = H Z'Y = Z' A Y                         J = r tr(Y' A Y)
 *     |Y - Z W|^2 = r^2 |A Y|^2                  since Y - Z W = r A Y
 *
 * so that everything follows from M, to which every column adds its outer product; H and W are never formed. Centred
 * rows have no part along the constant row: M gets 1 in all elements, which lifts its eigenvalue there from r to r + N
 * and changes nothing else. sample_elimination.c removes channels.
 *
 * Cost: N^2 n for M, N^3 / 3 for its factor, 2 N^2 m + 2 N n m for all weights, against n^3 / 3 + 2 n^2 m by the normal
 * equations. Memory: N (n + m) + N^2. Every rank does the same: there is too little of it to share out.
 *
 * Failure modes. Errors are relative to J, not to E as those of the normal equations, where J is a difference; they
 * grow with the condition of M, which is that of Z'Z + r on the space of the rows alone: good as long as the columns
 * span that space, as n > N columns mostly do. Where fewer than N are left they cannot, and the normal equations are
 * the smaller system. A ridge below LEAST_RIDGE is refused, as the normal equations would be singular: the caller
 * raises it.
 */
#include "sample_space.h"

#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double LEAST_RIDGE = 1e-8;

/* Centred outputs; zero where all of them are constant but for rounding. */
static void take_outputs(sample_space *s) {
  const reap_gram *g = &s->equations->gram;
  const double weight = 1 / (double)s->rows;
  for (int64_t r = 0; r < s->rows; r++)
    for (int64_t j = 0; j < g->m; j++)
      s->y[r * g->m + j] = s->equations->energy == 0 ? 0 : g->rows_y[r * g->m + j] - g->sum_y[j] * weight;
}

int reap_sample_space_create(const reap_normal_equations *e, int64_t slots, sample_space *s) {
  int64_t size_z = 0, size_y = 0, square = 0;
  *s = (sample_space){.equations = e, .rows = e->gram.samples};
  REAP_TRY(reap_multiply(s->rows, slots * e->gram.block, &size_z));
  REAP_TRY(reap_multiply(s->rows, e->gram.m, &size_y));
  REAP_TRY(reap_multiply(s->rows, s->rows, &square));
  REAP_TRY(reap_alloc(&s->z, size_z, sizeof *s->z));
  REAP_TRY(reap_alloc(&s->y, size_y, sizeof *s->y));
  REAP_TRY(reap_alloc(&s->matrix, square, sizeof *s->matrix));
  take_outputs(s);
  return REAP_OK;
}

void reap_sample_space_clear(sample_space *s) {
  reap_free(&s->z);
  reap_free(&s->y);
  reap_free(&s->matrix);
}

/* Z of the channels: columns that lie side by side in the rows become columns. */
static void take_columns(sample_space *s, int64_t slots, const int64_t *channel) {
  const reap_gram *g = &s->equations->gram;
  const int64_t b = g->block, n = g->n, rows = s->rows;
  const double weight = 1 / (double)rows;
  s->columns = slots * b;
  s->live = 0;
  for (int64_t k = 0; k < slots; k++) {
    const double *x = g->rows_x + channel[k] * b, *sum = g->sum_x + channel[k] * b,
                 *scale = s->equations->scale + channel[k] * b;
    for (int64_t t = 0; t < b; t++) s->live += scale[t] != 0;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t t = 0; t < b; t++)
        s->z[r + (k * b + t) * rows] = scale[t] == 0 ? 0 : (x[r * n + t] - sum[t] * weight) * scale[t];
  }
}

/* The reciprocal condition of Z'Z + R in the norm of the largest column sum, that of Z Z' standing for it: the least
 * eigenvalue is the ridge. */
static double condition(const sample_space *s) {
  double norm = 0;
  for (int64_t j = 0; j < s->rows; j++) {
    double sum = 0;
    for (int64_t i = 0; i < s->rows; i++) sum += fabs(s->matrix[i + j * s->rows]);
    norm = fmax(norm, sum);
  }
  return s->equations->ridge / (norm + s->equations->ridge);
}

int reap_sample_space_factor(sample_space *s, int64_t slots, const int64_t *channel, bool *singular) {
  const int64_t rows = s->rows;
  int64_t info = 0;
  *singular = s->equations->ridge < LEAST_RIDGE;
  if (*singular) return REAP_OK;
  take_columns(s, slots, channel);
  REAP_TRY(reap_dsyrk_lower('N', rows, s->columns, 1, s->z, rows, 0, s->matrix, rows));
  reap_mirror_lower(rows, s->matrix, rows);
  s->rcond = condition(s);
  for (int64_t i = 0; i < rows * rows; i++) s->matrix[i] += 1;
  for (int64_t i = 0; i < rows; i++) s->matrix[i * (rows + 1)] += s->equations->ridge;
  REAP_TRY(reap_dpotrf_lower(rows, s->matrix, rows, &info));
  *singular = info != 0;
  return REAP_OK;
}

/* ------------------------------------------------------------------ weights */

/* Bias, and unscaled weights, from t = (A Y)' [m, N]; z is scaled once more. */
static int unscale(sample_space *s, const double *t, double *mean, reap_path *path) {
  const reap_gram *g = &s->equations->gram;
  const int64_t b = g->block, m = g->m, rows = s->rows;
  memset(mean, 0, (size_t)rows * sizeof *mean); /* of the columns, in the rows' space */
  for (int64_t i = 0; i < s->columns; i++) {
    const int64_t column = path->kept[i / b] * b + i % b;
    const double scale = s->equations->scale[column], share = g->sum_x[column] / (double)rows;
    for (int64_t r = 0; r < rows; r++) {
      s->z[r + i * rows] *= scale;
      mean[r] += s->z[r + i * rows] * share;
    }
  }
  for (int64_t j = 0; j < m; j++) path->bias[j] = g->sum_y[j] / (double)rows;
  REAP_TRY(reap_dgemm('N', 'N', m, 1, rows, -1, t, m, mean, rows, 1, path->bias, m));
  if (!path->weights) return REAP_OK;
  return reap_dgemm('N', 'N', m, s->columns, rows, 1, t, m, s->z, rows, 0, path->weights, m);
}

int reap_sample_space_fit(const reap_normal_equations *e, reap_path *path, double *error, double *plain,
                          bool *singular) {
  const int64_t m = e->gram.m, rows = e->gram.samples;
  sample_space s;
  double *mean = NULL;
  int status = reap_sample_space_create(e, path->n_kept, &s);
  REAP_TRY_OR(status, done);
  REAP_TRY_OR(reap_alloc(&mean, rows, sizeof *mean), done);
  REAP_TRY_OR(reap_sample_space_factor(&s, path->n_kept, path->kept, singular), done);
  if (*singular) goto done;
  REAP_TRY_OR(reap_dtrsm('R', 'L', 'T', m, rows, s.matrix, rows, s.y, m), done);
  *error = e->ridge * reap_sum_of_squares(m, rows, s.y, m);
  REAP_TRY_OR(reap_dtrsm('R', 'L', 'N', m, rows, s.matrix, rows, s.y, m), done);
  *plain = e->ridge * e->ridge * reap_sum_of_squares(m, rows, s.y, m);
  if (path->rcond == 0) path->rcond = s.rcond;
  status = unscale(&s, s.y, mean, path);
done:
  reap_sample_space_clear(&s);
  reap_free(&mean);
  return status;
}
