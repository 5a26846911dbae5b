/* The shift form: moments of a convolution without its patches. shift_plan.c says which correlations are needed,
 * shift_batch.c how the images lie in memory.
 *
 * A batch is walked row by row: the row's correlations with itself and with the rows below it, then the cross moments
 * of the row of outputs whose first tap reads it. For tap t these are products of the pixels at distance o_t with the
 * targets. Terms of the narrow cells at the left and right border follow at the end, column by column.
 *
 * Products are cut into runs of pixels small enough for OpenBLAS to multiply without packing (SMALL_PRODUCT), which for
 * few channels is up to twice as fast as its packed path; the batch is as large as makes runs of a good length. All
 * shifts of a row follow each other, so that its pixels are read from the cache.
 *
 * Cost: channels^2 multiply-adds for each shift and pixel (13 shifts for 3x3 against 40.5 by patches), channels *
 * outputs for each tap and pixel. Memory: some rows of the batch, and the terms (about the size of the Gram
 * matrix; up to four times as much without padding).
 *
 * Failure modes: none of its own; numbers that are not finite leave moments that are not, as they would by patches. All
 * sums run in an order that is fixed by layer and block.
 */
#include "shift_gram.h"

#include <string.h>

#include "base/numbers.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "shift_batch.h"

static const double SMALL_PRODUCT = 1e6;
/* Pixels of a run, and the channels from which packing pays anyway. */
enum { LEAST_RUN = 64, GOOD_RUN = 256, PACKED_RUN = 384, WIDE = 100 };

struct reap_shift {
  reap_layer layer;
  shift_plan plan;
  shift_batch batch;
  bool cross_only;    /* no terms are wanted */
  double *cell_sums;  /* [cells of y][cells of x][channels] */
  double *square;     /* [m] */
  double *prediction; /* [out_width, images of a batch, m]; this and what follows for held-out images */
  int64_t n_kept, *kept;
  double *weights, *bias; /* [taps][n_kept, m], [m] */
};

int reap_shift_pays(const reap_layer *layer, bool *pays) {
  shift_plan plan;
  *pays = false;
  if (!reap_shift_plan_covers(layer)) return REAP_OK;
  REAP_TRY(reap_shift_plan_create(&layer->window, &plan));
  const double c = (double)layer->channels, n = (double)layer->n;
  static const double SYRK_RATE = 0.75; /* of DGEMM's, patches made and read again */
  *pays = reap_shift_plan_cost(&plan) * c * c <= 0.5 * n * n * (double)layer->positions / SYRK_RATE &&
          (double)plan.n_terms * c * c <= 4 * n * n;
  reap_shift_plan_clear(&plan);
  return REAP_OK;
}

/* Pixels for one product of a by b columns. */
static int64_t run_length(int64_t a, int64_t b) {
  int64_t run = (int64_t)(SMALL_PRODUCT / ((double)a * (double)b));
  return run < LEAST_RUN ? PACKED_RUN : run;
}

static int allocate(reap_shift *s, const reap_samples *samples) {
  const int64_t channels = s->layer.channels;
  REAP_TRY(reap_shift_plan_create(&s->layer.window, &s->plan));
  REAP_TRY(
      reap_shift_batch_create(samples, &s->plan, reap_smaller(run_length(channels, channels), GOOD_RUN), &s->batch));
  REAP_TRY(reap_alloc(&s->cell_sums, (int64_t)s->plan.y.n_cells * s->plan.x.n_cells * channels, sizeof(double)));
  return reap_alloc(&s->square, s->layer.m, sizeof *s->square);
}

int reap_shift_create(const reap_samples *samples, reap_shift **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->layer = samples->layer;
  (*out)->cross_only = samples->cross_only;
  int status = allocate(*out, samples);
  if (status != REAP_OK) reap_shift_destroy(out);
  return status;
}

void reap_shift_destroy(reap_shift **shift) {
  reap_shift *s = *shift;
  if (!s) return;
  reap_shift_batch_clear(&s->batch);
  reap_shift_plan_clear(&s->plan);
  reap_free(&s->cell_sums);
  reap_free(&s->square);
  reap_free(&s->prediction);
  reap_free(&s->kept);
  reap_free(&s->weights);
  reap_free(&s->bias);
  reap_free(shift);
}

int64_t reap_shift_count(const reap_shift *s) { return s->plan.n_terms * s->layer.channels * s->layer.channels; }

double reap_shift_multiply_adds(const reap_shift *s) {
  const double c = (double)s->layer.channels, m = (double)s->layer.m;
  return reap_shift_plan_pairs(&s->plan) * c * c + reap_shift_plan_cross_pairs(&s->plan) * c * m;
}

/* ---- products */

/* out [channels, channels], column-major, += sum over `count` pixels of left * right'. */
static int correlate(int64_t channels, int64_t count, const double *left, const double *right, double *out) {
  const int64_t run = run_length(channels, channels);
  for (int64_t at = 0; at < count; at += run) {
    const double *a = left + at * channels, *b = right + at * channels;
    const int64_t here = reap_smaller(run, count - at);
    if (left == right && channels >= WIDE)
      REAP_TRY(reap_dsyrk_lower('N', channels, here, 1, a, channels, 1, out, channels));
    else
      REAP_TRY(reap_dgemm('N', 'T', channels, channels, here, 1, a, channels, b, channels, 1, out, channels));
  }
  return REAP_OK;
}

static int cell_of(const shift_axis *axis, int64_t at) {
  for (int i = 0; i < axis->n_cells; i++)
    if (at >= axis->first[i] && at < axis->last[i]) return i;
  return -1;
}

/* Core terms of one row of cell u. */
static int core_row(reap_shift *s, int u, int64_t row, double *terms) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels, images = s->batch.images;
  for (int dy = 0; dy < p->y.taps && row + dy * p->y.step < p->y.size; dy++)
    for (int dx = dy > 0 ? 1 - p->x.taps : 0; dx < p->x.taps; dx++) {
      int term = reap_shift_plan_term(p, dy, dx, u, p->x.core);
      if (term < 0) continue;
      int64_t first, last;
      reap_shift_overlap(&p->x, p->x.core, dx, &first, &last);
      const double *a = shift_batch_pixel(&s->batch, row, first);
      const double *b = shift_batch_pixel(&s->batch, row + dy * p->y.step, first + dx * p->x.step);
      REAP_TRY(correlate(channels, (last - first) * images, a, b, terms + term * channels * channels));
    }
  return REAP_OK;
}

/* One term of a border cell, column by column. */
static int border_term(const reap_shift *s, const shift_term *t, double *out) {
  const shift_plan *p = &s->plan;
  int64_t rows[2], columns[2];
  reap_shift_overlap(&p->y, t->u, t->dy, &rows[0], &rows[1]);
  reap_shift_overlap(&p->x, t->v, t->dx, &columns[0], &columns[1]);
  for (int64_t x = columns[0]; x < columns[1]; x++) {
    const double *a = shift_batch_column(&s->batch, rows[0], x);
    const double *b = shift_batch_column(&s->batch, rows[0] + t->dy * p->y.step, x + t->dx * p->x.step);
    REAP_TRY(correlate(s->layer.channels, (rows[1] - rows[0]) * s->batch.images, a, b, out));
  }
  return REAP_OK;
}

static int border_terms(const reap_shift *s, double *terms) {
  const shift_plan *p = &s->plan;
  const int64_t size = s->layer.channels * s->layer.channels;
  for (int k = 0; k < p->n_terms; k++)
    if (p->terms[k].v != p->x.core) REAP_TRY(border_term(s, &p->terms[k], terms + k * size));
  return REAP_OK;
}

/* What is done with the pixels that a tap reads: `count` pixels at `x` meet the output positions at `y`. */
typedef int (*tap_product)(const reap_shift *s, int64_t tap, int64_t count, const double *x, double *y, double *out);

/* All taps of one row of outputs, which lie at `y`. */
static int walk_taps(const reap_shift *s, int64_t oy, double *y, tap_product product, double *out) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->batch.channels, images = s->batch.images, m = s->layer.m, run = run_length(channels, m);
  for (int64_t t = 0; t < s->layer.block; t++) {
    const int ty = (int)(t / p->x.taps), tx = (int)(t % p->x.taps);
    const int64_t row = oy + ty * p->y.step - p->y.pad, offset = tx * p->x.step - p->x.pad;
    const int64_t count = (p->x.reads_last[tx] - p->x.reads_first[tx]) * images;
    if (row < 0 || row >= p->y.size) continue;
    const double *from = shift_batch_pixel(&s->batch, row, p->x.reads_first[tx]);
    double *to = y + (p->x.reads_first[tx] - offset) * images * m;
    for (int64_t at = 0; at < count; at += run)
      REAP_TRY(product(s, t, reap_smaller(run, count - at), from + at * channels, to + at * m, out));
  }
  return REAP_OK;
}

static int add_cross(const reap_shift *s, int64_t tap, int64_t count, const double *x, double *y, double *cross) {
  const int64_t m = s->layer.m, channels = s->layer.channels;
  return reap_dgemm('N', 'T', m, channels, count, 1, y, m, x, channels, 1, cross + tap * channels * m, m);
}

/* ---- sums of a block */

/* Sums of one row's pixels by cells. */
static void add_cell_sums(reap_shift *s, int u, int64_t row) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels;
  for (int v = 0; v < p->x.n_cells; v++)
    reap_add_columns(shift_batch_pixel(&s->batch, row, p->x.first[v]), (p->x.last[v] - p->x.first[v]) * s->batch.images,
                     channels, s->cell_sums + (u * p->x.n_cells + v) * channels, NULL);
}

/* What row `row` of the input and the row of outputs that begins with it add to the sums. */
static int add_row(reap_shift *s, int64_t row, const float *y, const reap_shift_sums *sums) {
  const shift_plan *p = &s->plan;
  const int64_t oy = row + p->y.pad;
  const int u = cell_of(&p->y, row);
  reap_shift_batch_advance(&s->batch, row);
  if (u >= 0 && p->n_terms > 0) { /* without terms all windows read nothing but padding, and there may be no core */
    add_cell_sums(s, u, row);
    if (!s->cross_only) REAP_TRY(core_row(s, u, row, sums->terms));
  }
  if (oy < 0 || oy >= p->y.out) return REAP_OK;
  reap_shift_batch_targets(&s->batch, oy, y);
  reap_add_columns(s->batch.y, p->x.out * s->batch.images, s->layer.m, sums->sum_y, s->square);
  return walk_taps(s, oy, s->batch.y, add_cross, sums->cross);
}

static void assemble_sums(const reap_shift *s, double *sum_x) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels;
  for (int ty = 0; ty < p->y.taps; ty++)
    for (int tx = 0; tx < p->x.taps; tx++, sum_x += channels)
      for (int u = 0; u < p->y.n_cells; u++)
        for (int v = 0; v < p->x.n_cells; v++)
          if (shift_reads(&p->y, ty, u) && shift_reads(&p->x, tx, v))
            for (int64_t c = 0; c < channels; c++) sum_x[c] += s->cell_sums[(u * p->x.n_cells + v) * channels + c];
}

static void clear(double *to, int64_t count) { memset(to, 0, (size_t)count * sizeof *to); }

static void clear_sums(reap_shift *s, reap_shift_sums *sums) {
  const reap_layer *layer = &s->layer;
  clear(sums->terms, reap_shift_count(s));
  clear(sums->cross, layer->n * layer->m);
  clear(sums->sum_x, layer->n);
  clear(sums->sum_y, layer->m);
  clear(s->square, layer->m);
  clear(s->cell_sums, (int64_t)s->plan.y.n_cells * s->plan.x.n_cells * layer->channels);
  sums->energy = 0;
  sums->samples = 0;
}

int reap_shift_moments(reap_shift *s, int64_t block, const float *x, const float *y, reap_shift_sums *sums) {
  const reap_layer *layer = &s->layer;
  shift_batch *batch = &s->batch;
  clear_sums(s, sums);
  for (int64_t next = 0; reap_shift_batch_begin(batch, block, false, x, layer->channels, NULL, &next);) {
    for (int64_t row = reap_shift_batch_first(batch); row < reap_shift_batch_last(batch); row++)
      REAP_TRY(add_row(s, row, y, sums));
    if (!s->cross_only) REAP_TRY(border_terms(s, sums->terms));
    sums->samples += batch->images * layer->positions;
  }
  assemble_sums(s, sums->sum_x);
  for (int64_t j = 0; j < layer->m; j++) sums->energy += s->square[j];
  return REAP_OK;
}

/* ---- assembly */

/* to [channels of t, channels of t'] of the Gram matrix += one term. Shift 0 has its lower triangle only. */
static void add_term(const reap_layer *layer, int64_t t, int64_t u, const double *term, double *gram) {
  const int64_t channels = layer->channels, taps = layer->block, n = layer->n;
  for (int64_t b = 0; b < channels; b++)
    for (int64_t a = 0; a < channels; a++) {
      double value = t == u && a < b ? term[b + a * channels] : term[a + b * channels];
      gram[(a * taps + t) * n + b * taps + u] += value;
    }
}

static void add_tap_pair(const reap_shift *s, int t, int t2, const double *terms, double *gram) {
  const shift_plan *p = &s->plan;
  const int ty = t / p->x.taps, tx = t % p->x.taps, dy = t2 / p->x.taps - ty, dx = t2 % p->x.taps - tx;
  for (int u = 0; u < p->y.n_cells; u++)
    for (int v = 0; v < p->x.n_cells; v++) {
      int term = shift_reads(&p->y, ty, u) && shift_reads(&p->x, tx, v) ? reap_shift_plan_term(p, dy, dx, u, v) : -1;
      if (term >= 0) add_term(&s->layer, t, t2, terms + term * s->layer.channels * s->layer.channels, gram);
    }
}

void reap_shift_assemble(const reap_shift *s, const double *terms, double *gram) {
  const int64_t n = s->layer.n, taps = s->layer.block, channels = s->layer.channels;
  memset(gram, 0, (size_t)n * (size_t)n * sizeof *gram);
  for (int64_t t = 0; t < taps; t++)
    for (int64_t t2 = t; t2 < taps; t2++) {
      add_tap_pair(s, (int)t, (int)t2, terms, gram);
      for (int64_t b = 0; b < channels && t2 > t; b++)
        for (int64_t a = 0; a < channels; a++)
          gram[(b * taps + t2) * n + a * taps + t] = gram[(a * taps + t) * n + b * taps + t2];
    }
}

/* ---- held-out images */

int reap_shift_residual_begin(reap_shift *s, int64_t n_kept, const int64_t *kept, const double *weights,
                              const double *bias) {
  const int64_t m = s->layer.m, taps = s->layer.block;
  s->n_kept = n_kept;
  reap_free(&s->kept); /* of weights measured before */
  reap_free(&s->prediction);
  reap_free(&s->weights);
  reap_free(&s->bias);
  REAP_TRY(reap_alloc(&s->kept, n_kept, sizeof *s->kept));
  REAP_TRY(reap_alloc(&s->prediction, s->plan.x.out * s->batch.capacity * m, sizeof *s->prediction));
  REAP_TRY(reap_alloc(&s->weights, n_kept * taps * m, sizeof *s->weights));
  REAP_TRY(reap_alloc(&s->bias, m, sizeof *s->bias));
  memcpy(s->kept, kept, (size_t)n_kept * sizeof *kept);
  memcpy(s->bias, bias, (size_t)m * sizeof *bias);
  for (int64_t k = 0; k < n_kept; k++)
    for (int64_t t = 0; t < taps; t++)
      memcpy(s->weights + (t * n_kept + k) * m, weights + (k * taps + t) * m, (size_t)m * sizeof *weights);
  return REAP_OK;
}

static int add_prediction(const reap_shift *s, int64_t tap, int64_t count, const double *x, double *y,
                          double *weights) {
  const int64_t m = s->layer.m;
  return reap_dgemm('N', 'N', m, count, s->n_kept, 1, weights + tap * s->n_kept * m, m, x, s->n_kept, 1, y, m);
}

/* One row of outputs: what is predicted, and how far it is from the target. */
static int measure_row(reap_shift *s, int64_t row, const float *y, double *error, double *sum_y) {
  const int64_t m = s->layer.m, oy = row + s->plan.y.pad, pixels = s->plan.x.out * s->batch.images;
  reap_shift_batch_advance(&s->batch, row);
  if (oy < 0 || oy >= s->plan.y.out) return REAP_OK;
  for (int64_t i = 0; i < pixels; i++) memcpy(s->prediction + i * m, s->bias, (size_t)m * sizeof(double));
  REAP_TRY(walk_taps(s, oy, s->prediction, add_prediction, s->weights));
  reap_shift_batch_targets(&s->batch, oy, y);
  reap_add_columns(s->batch.y, pixels, m, sum_y, s->square);
  reap_add_differences(s->batch.y, s->prediction, pixels, m, error);
  return REAP_OK;
}

int reap_shift_residual_add(reap_shift *s, int64_t block, const float *x, const float *y, reap_shift_residual *out) {
  const int64_t m = s->layer.m;
  shift_batch *batch = &s->batch;
  double *error = NULL;
  int status = reap_calloc(&error, m, sizeof *error);
  clear(s->square, m);
  for (int64_t next = 0;
       status == REAP_OK && reap_shift_batch_begin(batch, block, true, x, s->n_kept, s->kept, &next);) {
    for (int64_t row = reap_shift_batch_first(batch); status == REAP_OK && row < reap_shift_batch_last(batch); row++)
      status = measure_row(s, row, y, error, out->sum_y);
    out->samples += batch->images * s->layer.positions;
  }
  for (int64_t j = 0; status == REAP_OK && j < m; j++) {
    out->error += error[j];
    out->square += s->square[j];
  }
  reap_free(&error);
  return status;
}
