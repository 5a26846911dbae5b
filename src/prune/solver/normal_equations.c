/* The normal equations (G + R) W = C of one layer, made safe for real networks.
 *
 * Networks have channels that are always zero behind a ReLU and channels that repeat others, so G is singular as a
 * rule. Columns whose centred diagonal is at most 1e-12 of the raw one are dead (zero or constant; what is left is
 * rounding): they get a zero row, zero cross moments and a unit pivot, hence weight zero and removal at no cost. The
 * others are scaled to unit diagonal, D = diag(G)^(-1/2), which makes the ridge relative to each column's own units:
 * R = ridge * diag(G). With dead columns scaled by zero the whole system is D G D + R and D C, formed piece by piece
 * where it is needed. Outputs that are all constant leave nothing but rounding in C, too: it is zero then, and so are
 * the weights.
 *
 * Cost: 3 n^2 + 2 n m, shared by the ranks of a distributed matrix. Failure mode: a Gram matrix that is indefinite by
 * rounding beyond the ridge; elimination.c then raises the ridge.
 */
#include "normal_equations.h"

#include <math.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

void reap_normal_destroy(reap_normal_equations **equations) {
  reap_normal_equations *e = *equations;
  if (!e) return;
  reap_free(&e->channel);
  reap_free(&e->scale);
  reap_free(equations);
}

static void find_scales(reap_normal_equations *e) {
  const reap_gram *s = &e->gram;
  const double weight = 1.0 / (double)s->samples;
  for (int64_t c = 0; c < s->channels; c++) {
    bool all = true;
    for (int64_t i = c * s->block; i < (c + 1) * s->block; i++) {
      const double centred = reap_normal_centred(s->diagonal[i * s->diagonal_step], s->sum_x[i], weight);
      e->scale[i] = centred == 0 ? 0 : 1 / sqrt(centred);
      all &= e->scale[i] == 0;
    }
    e->dead += all;
  }
  double means = 0;
  for (int64_t j = 0; j < s->m; j++) means += s->sum_y[j] * s->sum_y[j];
  e->energy = reap_centred_energy(s->energy, means * weight);
}

int reap_normal_create(const reap_gram *gram, int64_t count, const int64_t *channels, double ridge,
                       reap_normal_equations **out) {
  reap_normal_equations *e = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&e, 1, sizeof *e));
  e->gram = *gram;
  e->slots = channels ? count : gram->channels;
  e->n = e->slots * gram->block;
  e->ridge = ridge;
  REAP_TRY_OR(reap_alloc(&e->channel, e->slots, sizeof *e->channel), failed);
  REAP_TRY_OR(reap_alloc(&e->scale, gram->n, sizeof *e->scale), failed);
  for (int64_t k = 0; k < e->slots; k++) e->channel[k] = channels ? channels[k] : k;
  find_scales(e);
  *out = e;
  return REAP_OK;
failed:
  reap_normal_destroy(&e);
  return status;
}

double reap_normal_diagonal(const reap_normal_equations *e, int64_t column) {
  return e->scale[column] == 0 ? 1 : 1 + e->ridge;
}

/* First slot behind the run of neighbouring channels that starts at `slot`: a run is one piece of the moments. */
static int64_t run_end(const int64_t *channel, int64_t slot, int64_t last) {
  int64_t end = slot + 1;
  while (end < last && channel[end] == channel[end - 1] + 1) end++;
  return end;
}

/* A piece of X'X becomes one of D G D + R; row and column count in the layer's columns. */
static void scale_piece(const reap_normal_equations *e, int64_t row, int64_t rows, int64_t column, int64_t columns,
                        double *out, int64_t ld) {
  const reap_gram *s = &e->gram;
  const double weight = 1.0 / (double)s->samples;
  for (int64_t j = 0; j < columns; j++) {
    const double sum = s->sum_x[column + j], scale = e->scale[column + j], *sums = s->sum_x + row,
                 *scales = e->scale + row;
    double *to = out + j * ld;
    for (int64_t i = 0; i < rows; i++) to[i] = (to[i] - sums[i] * sum * weight) * (scales[i] * scale);
    if (column + j >= row && column + j < row + rows) to[column + j - row] = reap_normal_diagonal(e, column + j);
  }
}

static int fill(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out, int64_t ld) {
  const reap_normal_equations *e = context;
  const int64_t b = e->gram.block, last_row = (row + rows) / b, last_column = (column + columns) / b;
  for (int64_t j = column / b, j_end; j < last_column; j = j_end) {
    j_end = run_end(e->channel, j, last_column);
    for (int64_t i = row / b, i_end; i < last_row; i = i_end) {
      i_end = run_end(e->channel, i, last_row);
      const int64_t r = e->channel[i] * b, c = e->channel[j] * b, height = (i_end - i) * b, width = (j_end - j) * b;
      double *to = out + (i * b - row) + (j * b - column) * ld;
      REAP_TRY(e->gram.gram(e->gram.context, r, height, c, width, to, ld));
      scale_piece(e, r, height, c, width, to, ld);
    }
  }
  return REAP_OK;
}

/* Where panels of X'X go. */
typedef struct panel_target {
  const reap_normal_equations *equations;
  reap_symmetric *matrix;
} panel_target;

/* A panel of X'X becomes one of D G D + R, channel by channel, and goes into the matrix. */
static int take_panel(void *context, int64_t first, int64_t count, double *columns, int64_t ld) {
  const panel_target *target = context;
  const reap_normal_equations *e = target->equations;
  const int64_t b = e->gram.block;
  for (int64_t k = first; k < first + count; k++)
    for (int64_t i = first; i < e->slots; i++)
      scale_piece(e, e->channel[i] * b, b, e->channel[k] * b, b, columns + (i - first) * b + (k - first) * b * ld, ld);
  return reap_symmetric_put_panel(target->matrix, first, count, columns, ld);
}

/* Signs by a rule of the row's number (a bit of a multiplicative hash), each over the root of its column's raw share:
 * the gap is then that of X'X relative to the roots of its diagonal, however little centring leaves of it. */
static double probe(const reap_normal_equations *e, int64_t i) {
  const int64_t column = e->channel[i / e->gram.block] * e->gram.block + i % e->gram.block;
  const double size = e->scale[column] * sqrt(e->gram.diagonal[column * e->gram.diagonal_step]),
               sign = (uint64_t)i * 0x9E3779B97F4A7C15u >> 63;
  return (sign != 0 ? 1 : -1) / (size > 1 ? size : 1);
}

/* No rank has seen the whole matrix, so the ranks look together; moments in one rank's memory are checked element by
 * element before (reap_moments_check). */
static int check(const reap_normal_equations *e, reap_symmetric *matrix) {
  const double tolerance = 1e-9;
  double *x = NULL, gap = 0;
  REAP_TRY(reap_comm_alloc(reap_symmetric_comm(matrix), &x, e->n, sizeof *x));
  for (int64_t i = 0; i < e->n; i++) x[i] = probe(e, i);
  int status = reap_symmetric_gap(matrix, e->slots, x, &gap);
  reap_free(&x);
  REAP_TRY(status);
  if (!isfinite(gap))
    return reap_error(REAP_ERR_NUMERIC, "the Gram matrix holds a NaN or an infinity; look at the weights and images");
  if (gap > tolerance) return reap_error(REAP_ERR_NUMERIC, "the Gram matrix is not symmetric (by %.1e)", gap);
  return REAP_OK;
}

int reap_normal_set(const reap_normal_equations *e, reap_symmetric *matrix) {
  double *diagonal = reap_symmetric_upper_diagonal(matrix);
  for (int64_t i = 0; i < e->n; i++)
    diagonal[i] = reap_normal_diagonal(e, e->channel[i / e->gram.block] * e->gram.block + i % e->gram.block);
  if (e->gram.gram_panels) {
    panel_target target = {e, matrix};
    return e->gram.gram_panels(e->gram.context, e->slots, e->channel, take_panel, &target);
  }
  REAP_TRY(reap_symmetric_set(matrix, fill, (void *)(uintptr_t)e));
  return reap_symmetric_distributed(matrix) ? check(e, matrix) : REAP_OK;
}

/* X'Y of one piece becomes D C. */
static void scale_cross(const reap_normal_equations *e, int64_t row, int64_t rows, int64_t first, int64_t count,
                        double *out, int64_t ld) {
  const reap_gram *s = &e->gram;
  const double weight = 1.0 / (double)s->samples;
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i < rows; i++) {
      const double mean = s->sum_x[row + i] * weight, scale = e->scale[row + i];
      double *to = out + i + j * ld;
      *to = scale == 0 || e->energy == 0 ? 0 : (*to - mean * s->sum_y[first + j]) * scale;
    }
}

/* A run of neighbouring channels after the other. */
static int cross_by_runs(const reap_normal_equations *e, int64_t slots, const int64_t *channel, int64_t first,
                         int64_t count, double *out) {
  const reap_gram *s = &e->gram;
  const int64_t b = s->block, ld = slots * b;
  for (int64_t k = 0, end; k < slots; k = end) {
    end = run_end(channel, k, slots);
    REAP_TRY(s->cross(s->context, channel[k] * b, (end - k) * b, first, count, out + k * b, ld));
    scale_cross(e, channel[k] * b, (end - k) * b, first, count, out + k * b, ld);
  }
  return REAP_OK;
}

/* Scattered channels: all rows of some outputs at a time, of which the wanted ones are picked. */
static int cross_by_outputs(const reap_normal_equations *e, int64_t slots, const int64_t *channel, int64_t first,
                            int64_t count, double *out) {
  enum { AT_ONCE = 1 << 20 /* elements */ };
  const reap_gram *s = &e->gram;
  const int64_t b = s->block, ld = slots * b, most = 1 + AT_ONCE / s->n;
  double *all = NULL;
  int status = reap_alloc(&all, s->n * (count < most ? count : most), sizeof *all);
  for (int64_t j = 0; status == REAP_OK && j < count; j += most) {
    const int64_t some = count - j < most ? count - j : most;
    status = s->cross(s->context, 0, s->n, first + j, some, all, s->n);
    if (status == REAP_OK) scale_cross(e, 0, s->n, first + j, some, all, s->n);
    for (int64_t t = 0; status == REAP_OK && t < some; t++) {
      double *to = out + (j + t) * ld;
      const double *from = all + t * s->n;
      for (int64_t k = 0; k < slots; k++)
        for (int64_t p = 0; p < b; p++) to[k * b + p] = from[channel[k] * b + p];
    }
  }
  reap_free(&all);
  return status;
}

int reap_normal_cross(const reap_normal_equations *e, int64_t slots, const int64_t *channel, int64_t first,
                      int64_t count, double *out) {
  enum { LONG = 64 /* rows of a run that is worth a call */ };
  int64_t runs = 0;
  if (count == 0) return REAP_OK;
  for (int64_t k = 0; k < slots; k = run_end(channel, k, slots)) runs++;
  return slots * e->gram.block >= runs * LONG || 4 * slots < e->gram.channels
             ? cross_by_runs(e, slots, channel, first, count, out)
             : cross_by_outputs(e, slots, channel, first, count, out);
}
