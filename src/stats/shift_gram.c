/* The shift form: moments of a convolution without its patches. shift_plan.c says which correlations are needed.
 *
 * Storage: the images of a batch are widened to float64 and interleaved pixel by pixel: pixel (y, x) of all images of
 * the batch lies in one run, those of (y, x + 1) behind it. A shift is then one constant distance in memory, and any
 * range of columns of a row is one run, for all images at once: one product without padding. A second copy, column by
 * column, does the same for the narrow cells at the left and right border, where it makes ranges of rows one run.
 * The cross moments of tap t are products of the pixels at distance o_t with the targets, stored in the same way.
 *
 * Products are cut into runs of pixels small enough for OpenBLAS to multiply without packing (SMALL_PRODUCT), which for
 * few channels is up to twice as fast as its packed path; the batch is as large as makes runs of a good length. All
 * shifts of a row follow each other, so that few channels are read from the cache.
 *
 * Cost: channels^2 multiply-adds for each shift and pixel (13 shifts for 3x3 against 40.5 by patches), channels *
 * outputs for each tap and pixel. Memory: the batch twice, its targets, and the terms (about the size of the Gram
 * matrix; up to four times as much without padding).
 *
 * Failure modes: none of its own; numbers that are not finite leave moments that are not, as they would by patches. All
 * sums run in an order that is fixed by layer and block.
 */
#include "shift_gram.h"

#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double SMALL_PRODUCT = 1e6;
/* Pixels of a run, and the channels from which packing pays anyway. */
enum { LEAST_RUN = 64, GOOD_RUN = 512, PACKED_RUN = 384, WIDE = 100 };
static const int64_t BATCH_BYTES = 64 << 20;

struct reap_shift {
  reap_layer layer;
  reap_shard shard;
  shift_plan plan;
  int64_t capacity;    /* images of a batch */
  int64_t *chosen;     /* [capacity] images of the block that make up the batch */
  double *x, *columns; /* [height, width, images, channels], [width, height, images, channels] */
  bool *at_border;     /* [width] columns of the image that border cells need */
  double *y;           /* [out_height, out_width, images, m]; the prediction when measuring errors */
  double *cell_sums;   /* [cells of y][cells of x][channels] */
  double *square;      /* [m] */
  float *scratch;      /* [out_width, m] */
  int64_t n_kept, *kept;
  double *weights, *bias; /* [taps][n_kept, m], [m] */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

bool reap_shift_pays(const reap_layer *layer) {
  shift_plan plan;
  if (!shift_plan_covers(layer) || shift_plan_create(&layer->window, &plan) != REAP_OK) return false;
  const double c = (double)layer->channels, n = (double)layer->n;
  static const double SYRK_RATE = 0.75; /* of DGEMM's, patches made and read again */
  bool pays = shift_plan_cost(&plan) * c * c <= 0.5 * n * n * (double)layer->positions / SYRK_RATE &&
              (double)plan.n_terms * c * c <= 4 * n * n;
  shift_plan_clear(&plan);
  return pays;
}

/* Pixels for one product of a by b columns. */
static int64_t run_length(int64_t a, int64_t b) {
  int64_t run = (int64_t)(SMALL_PRODUCT / ((double)a * (double)b));
  return run < LEAST_RUN ? PACKED_RUN : run;
}

static int64_t batch_capacity(const reap_shift *s) {
  const reap_window *w = &s->layer.window;
  const shift_axis *x = &s->plan.x;
  const int64_t core = x->n_cells > 0 ? x->last[x->core] - x->first[x->core] : 1;
  const int64_t run = smaller(run_length(w->channels, w->channels), GOOD_RUN);
  int64_t wanted = (run + core - 1) / core;
  const int64_t most = BATCH_BYTES / (w->height * w->width * w->channels * (int64_t)sizeof(double));
  wanted = smaller(wanted, smaller(s->shard.block, most));
  return wanted < 1 ? 1 : wanted;
}

/* Marks the columns that terms of border cells read. */
static void mark_columns(reap_shift *s) {
  const shift_plan *p = &s->plan;
  for (int k = 0; k < p->n_terms; k++) {
    int64_t first, last, by = p->terms[k].dx * p->x.step;
    if (p->terms[k].v == p->x.core) continue;
    shift_overlap(&p->x, p->terms[k].v, p->terms[k].dx, &first, &last);
    for (int64_t x = first; x < last; x++) s->at_border[x] = s->at_border[x + by] = true;
  }
}

static int allocate(reap_shift *s) {
  const reap_window *w = &s->layer.window;
  REAP_TRY(shift_plan_create(w, &s->plan));
  s->capacity = batch_capacity(s);
  const int64_t shape_x[] = {w->height, w->width, s->capacity, w->channels};
  const int64_t shape_y[] = {w->out_height, w->out_width, s->capacity, s->layer.m};
  int64_t size_x = 0, size_y = 0;
  REAP_TRY(reap_product(shape_x, 4, &size_x));
  REAP_TRY(reap_product(shape_y, 4, &size_y));
  REAP_TRY(reap_alloc(&s->chosen, s->capacity, sizeof *s->chosen));
  REAP_TRY(reap_calloc(&s->at_border, w->width, sizeof *s->at_border));
  mark_columns(s);
  REAP_TRY(reap_alloc(&s->x, size_x, sizeof *s->x));
  if (s->plan.x.n_cells > 1) REAP_TRY(reap_alloc(&s->columns, size_x, sizeof *s->columns));
  REAP_TRY(reap_alloc(&s->y, size_y, sizeof *s->y));
  REAP_TRY(reap_alloc(&s->cell_sums, (int64_t)s->plan.y.n_cells * s->plan.x.n_cells * w->channels, sizeof(double)));
  REAP_TRY(reap_alloc(&s->scratch, w->out_width * s->layer.m, sizeof *s->scratch));
  return reap_alloc(&s->square, s->layer.m, sizeof *s->square);
}

int reap_shift_create(const reap_layer *layer, const reap_shard *shard, reap_shift **out) {
  REAP_TRY(reap_calloc(out, 1, sizeof **out));
  (*out)->layer = *layer;
  (*out)->shard = *shard;
  int status = allocate(*out);
  if (status != REAP_OK) reap_shift_destroy(out);
  return status;
}

void reap_shift_destroy(reap_shift **shift) {
  reap_shift *s = *shift;
  if (!s) return;
  shift_plan_clear(&s->plan);
  reap_free(&s->chosen);
  reap_free(&s->x);
  reap_free(&s->columns);
  reap_free(&s->at_border);
  reap_free(&s->y);
  reap_free(&s->cell_sums);
  reap_free(&s->square);
  reap_free(&s->scratch);
  reap_free(&s->kept);
  reap_free(&s->weights);
  reap_free(&s->bias);
  reap_free(shift);
}

int64_t reap_shift_count(const reap_shift *s) { return s->plan.n_terms * s->layer.channels * s->layer.channels; }

double reap_shift_multiply_adds(const reap_shift *s) {
  const double c = (double)s->layer.channels, m = (double)s->layer.m;
  return shift_plan_pairs(&s->plan) * c * c + shift_plan_cross_pairs(&s->plan) * c * m;
}

/* ---- batches */

/* The next images of the block, from *next on, that are (not) held out; their number. */
static int64_t choose_batch(reap_shift *s, int64_t block, bool held_out, int64_t *next) {
  int64_t first, count, n = 0;
  reap_shard_block(&s->shard, block, &first, &count);
  for (; *next < count && n < s->capacity; ++*next)
    if ((reap_held_out(first + *next) != 0) == held_out) s->chosen[n++] = *next;
  return n;
}

static void clear(double *to, int64_t count) { memset(to, 0, (size_t)count * sizeof *to); }

/* Pixels [pixels, channels] of one image to every `images`-th pixel of the batch. */
static void widen(double *restrict to, int64_t images, const float *restrict from, int64_t pixels, int64_t channels) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t c = 0; c < channels; c++) to[i * images * channels + c] = (double)from[i * channels + c];
}

static void widen_channels(double *restrict to, int64_t images, const float *restrict from, int64_t pixels,
                           int64_t channels, int64_t n_kept, const int64_t *kept) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t k = 0; k < n_kept; k++) to[i * images * n_kept + k] = (double)from[i * channels + kept[k]];
}

/* Inputs of a batch of `images` into s->x, of the channels kept if that is given. */
static void load_inputs(reap_shift *s, int64_t images, const float *x, const int64_t *kept, int64_t channels) {
  const reap_window *w = &s->layer.window;
  for (int64_t row = 0; row < w->height; row++)
    for (int64_t i = 0; i < images; i++) {
      const float *from = x + (s->chosen[i] * w->height + row) * w->width * w->channels;
      double *to = s->x + (row * w->width * images + i) * channels;
      if (kept)
        widen_channels(to, images, from, w->width, w->channels, channels, kept);
      else
        widen(to, images, from, w->width, channels);
    }
}

/* Columns near the border once more, column by column. */
static void load_columns(reap_shift *s, int64_t images) {
  const reap_window *w = &s->layer.window;
  const int64_t pixel = images * w->channels;
  for (int64_t x = 0; x < w->width && s->columns; x++)
    for (int64_t y = 0; y < w->height && s->at_border[x]; y++)
      memcpy(s->columns + (x * w->height + y) * pixel, s->x + (y * w->width + x) * pixel,
             (size_t)pixel * sizeof(double));
}

static void add_squares(int64_t pixels, int64_t m, const double *restrict y, double *restrict sum,
                        double *restrict square) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t j = 0; j < m; j++) {
      sum[j] += y[i * m + j];
      square[j] += y[i * m + j] * y[i * m + j];
    }
}

/* Targets of a batch into s->y, with their sums and squares. */
static void load_targets(reap_shift *s, int64_t images, const reap_target *target, double *sum_y) {
  const reap_window *w = &s->layer.window;
  const int64_t m = s->layer.m, line = w->out_width * m;
  for (int64_t row = 0; row < w->out_height; row++) {
    for (int64_t i = 0; i < images; i++) {
      const float *from = reap_target_run(target, (s->chosen[i] * w->out_height + row) * line, line, s->scratch);
      widen(s->y + row * line * images + i * m, images, from, w->out_width, m);
    }
    add_squares(w->out_width * images, m, s->y + row * line * images, sum_y, s->square);
  }
}

static void add_pixels(int64_t pixels, int64_t channels, const double *restrict x, double *restrict sum) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t c = 0; c < channels; c++) sum[c] += x[i * channels + c];
}

/* Sums of the pixels in each cell. */
static void add_cell_sums(reap_shift *s, int64_t images) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels;
  for (int u = 0; u < p->y.n_cells; u++)
    for (int64_t row = p->y.first[u]; row < p->y.last[u]; row++)
      for (int v = 0; v < p->x.n_cells; v++)
        add_pixels((p->x.last[v] - p->x.first[v]) * images, channels,
                   s->x + (row * p->x.size + p->x.first[v]) * images * channels,
                   s->cell_sums + (u * p->x.n_cells + v) * channels);
}

/* ---- products */

/* out [channels, channels], column-major, += sum over `count` pixels of left * right'. */
static int correlate(int64_t channels, int64_t count, const double *left, const double *right, double *out) {
  const int64_t run = run_length(channels, channels);
  for (int64_t at = 0; at < count; at += run) {
    const double *a = left + at * channels, *b = right + at * channels;
    const int64_t here = smaller(run, count - at);
    if (left == right && channels >= WIDE)
      REAP_TRY(reap_dsyrk_lower('N', channels, here, 1, a, channels, 1, out, channels));
    else
      REAP_TRY(reap_dgemm('N', 'T', channels, channels, here, 1, a, channels, b, channels, 1, out, channels));
  }
  return REAP_OK;
}

/* Core terms of one row of cell u. */
static int core_row(reap_shift *s, int64_t images, int u, int64_t row, double *terms) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels, pixel = images * channels;
  for (int dy = 0; dy < p->y.taps && row + dy * p->y.step < p->y.size; dy++)
    for (int dx = dy > 0 ? 1 - p->x.taps : 0; dx < p->x.taps; dx++) {
      int term = shift_plan_term(p, dy, dx, u, p->x.core);
      if (term < 0) continue;
      int64_t first, last;
      shift_overlap(&p->x, p->x.core, dx, &first, &last);
      const double *a = s->x + (row * p->x.size + first) * pixel;
      const double *b = a + (dy * p->y.step * p->x.size + dx * p->x.step) * pixel;
      REAP_TRY(correlate(channels, (last - first) * images, a, b, terms + term * channels * channels));
    }
  return REAP_OK;
}

/* One term of a border cell, column by column. */
static int border_term(reap_shift *s, int64_t images, const shift_term *t, double *out) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels, pixel = images * channels;
  const int64_t distance = (t->dx * p->x.step * p->y.size + t->dy * p->y.step) * pixel;
  int64_t rows[2], columns[2];
  shift_overlap(&p->y, t->u, t->dy, &rows[0], &rows[1]);
  shift_overlap(&p->x, t->v, t->dx, &columns[0], &columns[1]);
  for (int64_t x = columns[0]; x < columns[1]; x++) {
    const double *a = s->columns + (x * p->y.size + rows[0]) * pixel;
    REAP_TRY(correlate(channels, (rows[1] - rows[0]) * images, a, a + distance, out));
  }
  return REAP_OK;
}

static int all_terms(reap_shift *s, int64_t images, double *terms) {
  const shift_plan *p = &s->plan;
  const int64_t size = s->layer.channels * s->layer.channels;
  if (p->n_terms == 0) return REAP_OK; /* all windows read nothing but padding: there may be no core */
  for (int u = 0; u < p->y.n_cells; u++)
    for (int64_t row = p->y.first[u]; row < p->y.last[u]; row++) REAP_TRY(core_row(s, images, u, row, terms));
  for (int k = 0; k < p->n_terms; k++)
    if (p->terms[k].v != p->x.core) REAP_TRY(border_term(s, images, &p->terms[k], terms + k * size));
  return REAP_OK;
}

/* What is done with the pixels that a tap reads: `count` pixels of s->x at `x` meet the output positions of s->y at
 * `y`. */
typedef int (*tap_product)(reap_shift *s, int64_t tap, int64_t count, const double *x, double *y, double *out);

static int walk_taps(reap_shift *s, int64_t images, int64_t channels, tap_product product, double *out) {
  const shift_plan *p = &s->plan;
  const int64_t m = s->layer.m, run = run_length(channels, m);
  for (int64_t oy = 0; oy < p->y.out; oy++)
    for (int64_t t = 0; t < s->layer.block; t++) {
      const int ty = (int)(t / p->x.taps), tx = (int)(t % p->x.taps);
      const int64_t row = oy + ty * p->y.step - p->y.pad, offset = tx * p->x.step - p->x.pad;
      const int64_t count = (p->x.reads_last[tx] - p->x.reads_first[tx]) * images;
      if (row < 0 || row >= p->y.size) continue;
      const double *x = s->x + (row * p->x.size + p->x.reads_first[tx]) * images * channels;
      double *y = s->y + (oy * p->x.out + p->x.reads_first[tx] - offset) * images * m;
      for (int64_t at = 0; at < count; at += run)
        REAP_TRY(product(s, t, smaller(run, count - at), x + at * channels, y + at * m, out));
    }
  return REAP_OK;
}

static int add_cross(reap_shift *s, int64_t tap, int64_t count, const double *x, double *y, double *cross) {
  const int64_t m = s->layer.m, channels = s->layer.channels;
  return reap_dgemm('N', 'T', m, channels, count, 1, y, m, x, channels, 1, cross + tap * channels * m, m);
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

int reap_shift_moments(reap_shift *s, int64_t block, const float *x, const reap_target *target, reap_shift_sums *sums) {
  const reap_layer *layer = &s->layer;
  const shift_plan *p = &s->plan;
  clear(sums->terms, reap_shift_count(s));
  clear(sums->cross, layer->n * layer->m);
  clear(sums->sum_x, layer->n);
  clear(sums->sum_y, layer->m);
  clear(s->square, layer->m);
  clear(s->cell_sums, (int64_t)p->y.n_cells * p->x.n_cells * layer->channels);
  sums->energy = 0;
  sums->samples = 0;
  int64_t next = 0, images;
  while ((images = choose_batch(s, block, false, &next)) > 0) {
    load_inputs(s, images, x, NULL, layer->channels);
    load_columns(s, images);
    load_targets(s, images, target, sums->sum_y);
    add_cell_sums(s, images);
    REAP_TRY(all_terms(s, images, sums->terms));
    REAP_TRY(walk_taps(s, images, layer->channels, add_cross, sums->cross));
    sums->samples += images * layer->positions;
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
      int term = shift_reads(&p->y, ty, u) && shift_reads(&p->x, tx, v) ? shift_plan_term(p, dy, dx, u, v) : -1;
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
  REAP_TRY(reap_alloc(&s->kept, n_kept, sizeof *s->kept));
  REAP_TRY(reap_alloc(&s->weights, n_kept * taps * m, sizeof *s->weights));
  REAP_TRY(reap_alloc(&s->bias, m, sizeof *s->bias));
  memcpy(s->kept, kept, (size_t)n_kept * sizeof *kept);
  memcpy(s->bias, bias, (size_t)m * sizeof *bias);
  for (int64_t k = 0; k < n_kept; k++)
    for (int64_t t = 0; t < taps; t++)
      memcpy(s->weights + (t * n_kept + k) * m, weights + (k * taps + t) * m, (size_t)m * sizeof *weights);
  return REAP_OK;
}

static int add_prediction(reap_shift *s, int64_t tap, int64_t count, const double *x, double *y, double *weights) {
  const int64_t m = s->layer.m;
  return reap_dgemm('N', 'N', m, count, s->n_kept, 1, weights + tap * s->n_kept * m, m, x, s->n_kept, 1, y, m);
}

/* Differences of one image's row of outputs, by output: error [m], square [m], sum [m]. */
static void add_differences(int64_t pixels, int64_t images, int64_t m, const float *restrict y,
                            const double *restrict predicted, double *restrict error, double *restrict square,
                            double *restrict sum) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t j = 0; j < m; j++) {
      double value = (double)y[i * m + j], d = value - predicted[i * images * m + j];
      error[j] += d * d;
      square[j] += value * value;
      sum[j] += value;
    }
}

static int predict_batch(reap_shift *s, int64_t images, const float *x) {
  const int64_t m = s->layer.m;
  load_inputs(s, images, x, s->kept, s->n_kept);
  for (int64_t i = 0; i < s->layer.positions * images; i++) memcpy(s->y + i * m, s->bias, (size_t)m * sizeof(double));
  return walk_taps(s, images, s->n_kept, add_prediction, s->weights);
}

int reap_shift_residual_add(reap_shift *s, int64_t block, const float *x, const reap_target *target,
                            reap_shift_residual *out) {
  const reap_window *w = &s->layer.window;
  const int64_t m = s->layer.m, line = w->out_width * m;
  double *error = s->square, *square = NULL;
  REAP_TRY(reap_calloc(&square, m, sizeof *square));
  clear(error, m);
  int64_t next = 0, images;
  int status = REAP_OK;
  while (status == REAP_OK && (images = choose_batch(s, block, true, &next)) > 0) {
    status = predict_batch(s, images, x);
    for (int64_t row = 0; row < w->out_height; row++)
      for (int64_t i = 0; i < images; i++) {
        const float *y = reap_target_run(target, (s->chosen[i] * w->out_height + row) * line, line, s->scratch);
        add_differences(w->out_width, images, m, y, s->y + row * line * images + i * m, error, square, out->sum_y);
      }
    out->samples += images * s->layer.positions;
  }
  for (int64_t j = 0; j < m; j++) {
    out->error += error[j];
    out->square += square[j];
  }
  reap_free(&square);
  return status;
}
