/* Container of a layer's second moments, and what follows from them by plain sums; see moments.h. */
#include "reap/moments.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "dense.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_moments_create(int64_t channels, int64_t block, int64_t m, reap_moments **out) {
  reap_moments *s = NULL;
  int status = REAP_OK;
  int64_t n = 0, square = 0, cross = 0;
  REAP_TRY(reap_multiply(channels, block, &n));
  REAP_TRY(reap_multiply(n, n, &square));
  REAP_TRY(reap_multiply(n, m, &cross));
  REAP_TRY(reap_calloc(&s, 1, sizeof *s));
  s->channels = channels;
  s->block = block;
  s->n = n;
  s->m = m;
  REAP_TRY_OR(reap_calloc(&s->gram, square, sizeof *s->gram), failed);
  REAP_TRY_OR(reap_calloc(&s->cross, cross, sizeof *s->cross), failed);
  REAP_TRY_OR(reap_calloc(&s->sum_x, n, sizeof *s->sum_x), failed);
  REAP_TRY_OR(reap_calloc(&s->sum_y, m, sizeof *s->sum_y), failed);
  *out = s;
  return REAP_OK;
failed:
  reap_moments_destroy(&s);
  return status;
}

void reap_moments_destroy(reap_moments **moments) {
  if (!*moments) return;
  reap_free(&(*moments)->gram);
  reap_free(&(*moments)->cross);
  reap_free(&(*moments)->sum_x);
  reap_free(&(*moments)->sum_y);
  reap_free(moments);
}

static bool all_finite(const double *values, int64_t count) {
  double sum = 0; /* a NaN or an infinity anywhere makes the sum of 0 * value a NaN */
  for (int64_t i = 0; i < count; i++) sum += 0 * values[i];
  return sum == 0;
}

/* Tiles of both triangles that stay in the first-level cache. */
static int check_symmetry(const reap_moments *s) {
  enum { TILE = 32 };
  const int64_t n = s->n;
  for (int64_t ii = 0; ii < n; ii += TILE)
    for (int64_t jj = 0; jj <= ii; jj += TILE)
      for (int64_t i = ii; i < ii + TILE && i < n; i++)
        for (int64_t j = jj; j < jj + TILE && j < i; j++) {
          const double gap = s->gram[i * n + j] - s->gram[j * n + i];
          if (gap * gap > 1e-18 * s->gram[i * n + i] * s->gram[j * n + j])
            return reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not symmetric at (%lld, %lld)", (long long)i,
                              (long long)j);
        }
  return REAP_OK;
}

int reap_moments_check(const reap_moments *s) {
  if (s->samples < 1) return reap_error(REAP_ERR_NUMERIC, "the moments hold no samples");
  if (!all_finite(s->gram, s->n * s->n) || !all_finite(s->cross, s->n * s->m) || !all_finite(s->sum_x, s->n) ||
      !all_finite(s->sum_y, s->m) || !isfinite(s->energy))
    return reap_error(REAP_ERR_NUMERIC, "the moments hold a NaN or an infinity; look at the weights and images");
  if (s->energy < 0) return reap_error(REAP_ERR_NUMERIC, "the energy of the outputs is negative");
  for (int64_t i = 0; i < s->n; i++)
    if (s->gram[i * s->n + i] < 0)
      return reap_error(REAP_ERR_NUMERIC, "the Gram matrix has a negative diagonal at %lld", (long long)i);
  return check_symmetry(s);
}

static int gram_in_memory(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                          int64_t ld) {
  const reap_moments *s = context;
  for (int64_t j = 0; j < columns; j++) /* symmetric: a column is a row */
    memcpy(out + j * ld, s->gram + (column + j) * s->n + row, (size_t)rows * sizeof *out);
  return REAP_OK;
}

static int cross_in_memory(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out,
                           int64_t ld) {
  enum { TILE = 16 };
  const reap_moments *s = context;
  for (int64_t jj = 0; jj < columns; jj += TILE)
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = jj; j < jj + TILE && j < columns; j++) out[i + j * ld] = s->cross[(row + i) * s->m + column + j];
  return REAP_OK;
}

reap_gram reap_gram_of(const reap_moments *s) {
  if (!s) return (reap_gram){0};
  return (reap_gram){.channels = s->channels,
                     .block = s->block,
                     .n = s->n,
                     .m = s->m,
                     .samples = s->samples,
                     .energy = s->energy,
                     .diagonal = s->gram,
                     .diagonal_step = s->n + 1,
                     .sum_x = s->sum_x,
                     .sum_y = s->sum_y,
                     .moments = s,
                     .context = (void *)(uintptr_t)s,
                     .gram = gram_in_memory,
                     .cross = cross_in_memory};
}

double reap_centred_energy(double energy, double of_means) {
  const double left = energy - of_means;
  return left > 1e-12 * energy ? left : 0;
}

double reap_moments_centred_energy(const reap_moments *s) {
  double mean_part = 0;
  for (int64_t j = 0; j < s->m; j++) mean_part += s->sum_y[j] * s->sum_y[j];
  return reap_centred_energy(s->energy, mean_part / (double)s->samples);
}

void reap_moments_centre(const reap_moments *s, double *gram, double *cross, double *energy) {
  double weight = 1.0 / (double)s->samples;
  for (int64_t i = 0; i < s->n; i++) {
    double mean = s->sum_x[i] * weight;
    for (int64_t j = 0; j < s->n; j++) {
      /* The product is formed in one order for both triangles, so that the result stays symmetric to the last bit. */
      double product = i < j ? s->sum_x[i] * s->sum_x[j] : s->sum_x[j] * s->sum_x[i];
      gram[i * s->n + j] = s->gram[i * s->n + j] - product * weight;
    }
    for (int64_t j = 0; j < s->m; j++) cross[i * s->m + j] = s->cross[i * s->m + j] - mean * s->sum_y[j];
  }
  *energy = reap_moments_centred_energy(s);
}

/* With means taken out, |Y - XW - 1b'|^2 = E - 2 tr(W'C) + tr(W'GW) + N |ybar - W'xbar - b|^2. */
int reap_moments_error(const reap_moments *s, int64_t n_kept, const int64_t *kept, const double *weights,
                       const double *bias, double *error) {
  const int64_t n = n_kept * s->block, m = s->m;
  const double count = (double)s->samples;
  double *g = NULL, *gw = NULL;
  int status = REAP_OK;
  REAP_TRY_OR(reap_alloc(&g, n * n, sizeof *g), done);
  REAP_TRY_OR(reap_alloc(&gw, n * m, sizeof *gw), done);
  for (int64_t i = 0; i < n; i++) {
    int64_t gi = kept[i / s->block] * s->block + i % s->block;
    for (int64_t j = 0; j < n; j++) {
      int64_t gj = kept[j / s->block] * s->block + j % s->block;
      g[i * n + j] = s->gram[gi * s->n + gj] - s->sum_x[gi] * s->sum_x[gj] / count;
    }
  }
  /* Row-major W [n, m] is column-major [m, n]: W' G, and G is symmetric. */
  REAP_TRY_OR(reap_dgemm('N', 'N', m, n, n, 1, weights, m, g, n, 0, gw, m), done);
  double sum = reap_moments_centred_energy(s);
  for (int64_t i = 0; i < n; i++) {
    int64_t gi = kept[i / s->block] * s->block + i % s->block;
    const double mean = s->sum_x[gi] / count;
    for (int64_t j = 0; j < m; j++) {
      double c = s->cross[gi * m + j] - mean * s->sum_y[j];
      sum += weights[i * m + j] * (gw[i * m + j] - 2 * c);
    }
  }
  for (int64_t j = 0; j < m; j++) {
    double shift = s->sum_y[j] / count - bias[j];
    for (int64_t i = 0; i < n; i++)
      shift -= s->sum_x[kept[i / s->block] * s->block + i % s->block] / count * weights[i * m + j];
    sum += count * shift * shift;
  }
  *error = sum > 0 ? sum : 0;
done:
  reap_free(&g);
  reap_free(&gw);
  return status;
}
