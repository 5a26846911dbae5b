/* The normal equations (G + R) W = C of one layer, made safe for real networks.
 *
 * Networks have channels that are always zero behind a ReLU and channels that repeat others, so G is singular as a
 * rule. Columns whose centred diagonal is at most 1e-12 of the raw one are dead (zero or constant; what is left is
 * rounding): they get a zero row, zero cross moments and a unit pivot, hence weight zero and removal at no cost. The
 * others are scaled to unit diagonal, which makes the ridge relative to each column's own units: R = ridge * diag(G).
 *
 * Cost: n^2 + n m to set up, n^3 / 3 for a factor. Failure mode: a Gram matrix that is indefinite by rounding beyond the
 * ridge; then the ridge grows tenfold, at most to 1, where the matrix is positive definite for any moments of real data.
 */
#include "normal_equations.h"

#include <math.h>
#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

static const double DEAD = 1e-12;

void reap_normal_destroy(reap_normal_equations **equations) {
  reap_normal_equations *e = *equations;
  if (!e) return;
  reap_free(&e->gram);
  reap_free(&e->cross);
  reap_free(&e->scale);
  reap_free(&e->dead);
  reap_free(equations);
}

static void scale_system(reap_normal_equations *e, const reap_moments *moments) {
  const int64_t n = e->n, m = e->m;
  for (int64_t i = 0; i < n; i++) {
    double centred = e->gram[i * n + i];
    e->dead[i] = centred <= DEAD * moments->gram[i * n + i];
    e->scale[i] = e->dead[i] ? 1 : 1 / sqrt(centred);
  }
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++)
      e->gram[i * n + j] = e->dead[i] || e->dead[j] ? 0 : e->gram[i * n + j] * (e->scale[i] * e->scale[j]);
    e->gram[i * n + i] = 1;
    for (int64_t j = 0; j < m; j++) e->cross[i * m + j] = e->dead[i] ? 0 : e->cross[i * m + j] * e->scale[i];
  }
}

int reap_normal_create(const reap_moments *moments, double ridge, reap_normal_equations **out) {
  reap_normal_equations *e = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&e, 1, sizeof *e));
  e->channels = moments->channels;
  e->block = moments->block;
  e->n = moments->n;
  e->m = moments->m;
  e->ridge = ridge;
  REAP_TRY_OR(reap_alloc(&e->gram, e->n * e->n, sizeof *e->gram), failed);
  REAP_TRY_OR(reap_alloc(&e->cross, e->n * e->m, sizeof *e->cross), failed);
  REAP_TRY_OR(reap_alloc(&e->scale, e->n, sizeof *e->scale), failed);
  REAP_TRY_OR(reap_alloc(&e->dead, e->n, sizeof *e->dead), failed);
  reap_moments_centre(moments, e->gram, e->cross, &e->energy);
  scale_system(e, moments);
  *out = e;
  return REAP_OK;
failed:
  reap_normal_destroy(&e);
  return status;
}

int64_t reap_normal_columns(const reap_normal_equations *e, int64_t count, const int64_t *alive, int64_t *columns) {
  int64_t n = 0;
  for (int64_t k = 0; k < count; k++)
    for (int64_t t = 0; t < e->block; t++) columns[n++] = alive[k] * e->block + t;
  return n;
}

static void copy_ridged(const reap_normal_equations *e, int64_t count, const int64_t *columns, double *out, double *norm) {
  *norm = 0;
  for (int64_t j = 0; j < count; j++) {
    double sum = 0;
    const double *row = e->gram + columns[j] * e->n;
    for (int64_t i = 0; i < count; i++) {
      double g = row[columns[i]];
      if (i == j && !e->dead[columns[j]]) g += e->ridge;
      out[i + j * count] = g;
      sum += fabs(g);
    }
    if (sum > *norm) *norm = sum;
  }
}

int reap_normal_factor(reap_normal_equations *e, int64_t count, const int64_t *columns, double *factor) {
  for (;;) {
    double norm = 0;
    int64_t info = 0;
    copy_ridged(e, count, columns, factor, &norm);
    REAP_TRY(reap_dpotrf_lower(count, factor, count, &info));
    if (info == 0) {
      if (count == e->n) return reap_dpocon_lower(count, factor, count, norm, &e->rcond);
      return REAP_OK;
    }
    if (e->ridge >= 1)
      return reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not that of any data, even with a ridge of %g", e->ridge);
    e->ridge = e->ridge < 1e-12 ? 1e-12 : e->ridge * 10;
    reap_log(REAP_LOG_DEBUG, "the Gram matrix is not positive definite: ridge raised to %g", e->ridge);
  }
}
