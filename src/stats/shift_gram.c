/* The shift form: moments of a convolution without its patches. shift_plan.c says which correlations are needed.
 *
 * Storage: the images of a batch are widened to float64 and interleaved by rows, pixel (y, image, x) at
 * ((y * images + image) * pitch + x), each row followed by a margin of zeros. A shift is then one constant distance
 * between pixels for the whole batch, a range of rows of all images is one run of memory, and a single column of all images is
 * one matrix with a long leading dimension. So each term is one product of two views of the same memory:
 *
 *   core column cell    left: a copy with zeros outside the cell; right: the pixels at that distance; all in one run
 *   border column       left and right: that column of the pixels and the one at that distance
 *
 * The cross moments of tap t are the product of the pixels at distance o_t with the targets, stored in the same way.
 *
 * Products are cut into runs of pixels small enough for OpenBLAS to multiply without packing (SMALL_PRODUCT), which for
 * few channels is up to twice as fast as its packed path; runs of all shifts over the same pixels follow each other, so
 * that few channels are read from the cache.
 *
 * Cost: channels^2 multiply-adds for each term and pixel (13 shifts for 3x3 against 40.5 by patches), channels * outputs
 * for each tap and pixel. Memory: the batch twice, its targets, and the terms (about the size of the Gram matrix).
 *
 * Failure modes: none of its own; numbers that are not finite spread to other columns (0 * infinity in the margins) and
 * leave moments that reap_moments_check refuses anyway. All sums run in an order that is fixed by layer and block.
 */
#include "shift_gram.h"

#include <string.h>

#include "reap/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

static const double SMALL_PRODUCT = 1e6;
static const int64_t BATCH_BYTES = 1 << 20, WIDE_BATCH_BYTES = 8 << 20;
enum { LEAST_RUN = 64, PACKED_RUN = 384, WIDE = 100 }; /* WIDE: channels from which packing pays anyway */

struct reap_shift {
  reap_layer layer;
  reap_shard shard;
  shift_plan plan;
  int64_t capacity;    /* images of a batch */
  int64_t *chosen;     /* [capacity] images of the block that make up the batch */
  double *x, *masked;  /* [margin + rows + margin, channels]; masked is NULL where the core is the whole row */
  double *y;           /* [rows, m]; the prediction when measuring errors */
  double *cell_sums;   /* [cells of y][cells of x][channels] */
  double *square;      /* [m] */
  int64_t n_kept, *kept;
  double *weights, *bias; /* [taps][n_kept, m], [m] */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

bool reap_shift_pays(const reap_layer *layer) {
  shift_plan plan;
  if (!shift_plan_covers(layer) || shift_plan_create(&layer->window, &plan) != REAP_OK) return false;
  const double c = (double)layer->channels, n = (double)layer->n;
  bool pays = shift_plan_padded_pairs(&plan) * c * c <= 0.5 * n * n * (double)layer->positions &&
              (double)plan.n_terms * c * c <= 2 * n * n;
  shift_plan_clear(&plan);
  return pays;
}

static int64_t rows_of(const reap_layer *layer) {
  return layer->window.height > layer->window.out_height ? layer->window.height : layer->window.out_height;
}

static int64_t batch_capacity(const reap_shift *s) {
  const reap_layer *layer = &s->layer;
  const int64_t widest = layer->channels > layer->m ? layer->channels : layer->m;
  const int64_t image = rows_of(layer) * s->plan.pitch * widest * (int64_t)sizeof(double);
  int64_t capacity = (widest < WIDE ? BATCH_BYTES : WIDE_BATCH_BYTES) / image;
  return capacity < 1 ? 1 : smaller(capacity, s->shard.block);
}

static bool whole_rows(const shift_plan *p) {
  return p->margin == 0 && p->x.n_cells == 1 && p->x.last[0] - p->x.first[0] == p->x.size;
}

static int allocate(reap_shift *s) {
  const reap_layer *layer = &s->layer;
  REAP_TRY(shift_plan_create(&layer->window, &s->plan));
  s->capacity = batch_capacity(s);
  int64_t pixels = 0, size_x = 0, size_y = 0;
  REAP_TRY(reap_multiply(s->capacity * s->plan.pitch, rows_of(layer), &pixels));
  REAP_TRY(reap_multiply(pixels + 2 * s->plan.margin, layer->channels, &size_x));
  REAP_TRY(reap_multiply(pixels, layer->m, &size_y));
  REAP_TRY(reap_alloc(&s->chosen, s->capacity, sizeof *s->chosen));
  REAP_TRY(reap_calloc(&s->x, size_x, sizeof *s->x));
  if (!whole_rows(&s->plan)) REAP_TRY(reap_calloc(&s->masked, size_x, sizeof *s->masked));
  REAP_TRY(reap_alloc(&s->y, size_y, sizeof *s->y));
  REAP_TRY(reap_alloc(&s->cell_sums, (int64_t)s->plan.y.n_cells * s->plan.x.n_cells * layer->channels, sizeof(double)));
  return reap_alloc(&s->square, layer->m, sizeof *s->square);
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
  reap_free(&s->masked);
  reap_free(&s->y);
  reap_free(&s->cell_sums);
  reap_free(&s->square);
  reap_free(&s->kept);
  reap_free(&s->weights);
  reap_free(&s->bias);
  reap_free(shift);
}

int64_t reap_shift_count(const reap_shift *s) { return s->plan.n_terms * s->layer.channels * s->layer.channels; }

/* ---- batches */

/* The next images of the block, from *next on, that are (not) held out; their number. */
static int64_t choose_batch(reap_shift *s, int64_t block, bool held_out, int64_t *next) {
  int64_t first, count, n = 0;
  reap_shard_block(&s->shard, block, &first, &count);
  for (; *next < count && n < s->capacity; ++*next)
    if ((reap_held_out(first + *next) != 0) == held_out) s->chosen[n++] = *next;
  return n;
}

static void widen(double *restrict to, const float *restrict from, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = (double)from[i];
}

static void widen_channels(double *restrict to, const float *restrict from, int64_t pixels, int64_t channels,
                           int64_t n_kept, const int64_t *kept) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t k = 0; k < n_kept; k++) to[i * n_kept + k] = (double)from[i * channels + kept[k]];
}

static void clear(double *to, int64_t count) { memset(to, 0, (size_t)count * sizeof *to); }

/* Inputs of a batch of `images` into s->x, of the channels kept if that is given. */
static void load_inputs(reap_shift *s, int64_t images, const float *x, const int64_t *kept, int64_t channels) {
  const reap_window *w = &s->layer.window;
  const shift_plan *p = &s->plan;
  clear(s->x, p->margin * channels);
  for (int64_t row = 0; row < w->height * images; row++) {
    const float *from = x + (s->chosen[row % images] * w->height + row / images) * w->width * w->channels;
    double *to = s->x + (p->margin + row * p->pitch) * channels;
    if (kept)
      widen_channels(to, from, w->width, w->channels, channels, kept);
    else
      widen(to, from, w->width * channels);
    clear(to + w->width * channels, (p->pitch - w->width) * channels);
  }
  clear(s->x + (p->margin + w->height * images * p->pitch) * channels, p->margin * channels);
}

/* The copy with zeros outside the core columns. */
static void mask_inputs(reap_shift *s, int64_t images) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels;
  if (!s->masked || p->x.n_cells == 0) return;
  const int64_t first = p->x.first[p->x.core], last = p->x.last[p->x.core];
  for (int64_t row = 0; row < s->layer.window.height * images; row++) {
    const int64_t at = (p->margin + row * p->pitch) * channels;
    clear(s->masked + at, first * channels);
    memcpy(s->masked + at + first * channels, s->x + at + first * channels, (size_t)((last - first) * channels) * sizeof(double));
    clear(s->masked + at + last * channels, (p->pitch - last) * channels);
  }
}

static void add_squares(int64_t pixels, int64_t m, const double *restrict y, double *restrict sum, double *restrict square) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t j = 0; j < m; j++) {
      sum[j] += y[i * m + j];
      square[j] += y[i * m + j] * y[i * m + j];
    }
}

/* Targets of a batch into s->y, with their sums and squares. */
static void load_targets(reap_shift *s, int64_t images, const float *y, double *sum_y) {
  const reap_window *w = &s->layer.window;
  const int64_t m = s->layer.m, run = w->out_width * m;
  for (int64_t row = 0; row < w->out_height * images; row++) {
    const float *from = y + (s->chosen[row % images] * w->out_height + row / images) * run;
    double *to = s->y + row * s->plan.pitch * m;
    widen(to, from, run);
    clear(to + run, s->plan.pitch * m - run);
    add_squares(w->out_width, m, to, sum_y, s->square);
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
    for (int64_t row = p->y.first[u] * images; row < p->y.last[u] * images; row++)
      for (int v = 0; v < p->x.n_cells; v++)
        add_pixels(p->x.last[v] - p->x.first[v], channels,
                   s->x + (p->margin + row * p->pitch + p->x.first[v]) * channels,
                   s->cell_sums + (u * p->x.n_cells + v) * channels);
}

/* ---- products */

/* Pixels for one product of a by b columns. */
static int64_t run_length(int64_t a, int64_t b) {
  int64_t run = (int64_t)(SMALL_PRODUCT / ((double)a * (double)b));
  return run >= LEAST_RUN ? run : PACKED_RUN;
}

/* out [channels, channels], column-major, += sum over `count` pixels of left * right'; `step` pixels apart. */
static int correlate(int64_t channels, int64_t count, int64_t step, const double *left, const double *right, double *out) {
  const int64_t ld = step * channels;
  if (left == right && channels >= WIDE) return reap_dsyrk_lower('N', channels, count, 1, left, ld, 1, out, channels);
  return reap_dgemm('N', 'T', channels, channels, count, 1, left, ld, right, ld, 1, out, channels);
}

/* Terms of the core columns for the rows of cell u: runs of pixels, all shifts for each. */
static int core_terms(reap_shift *s, int64_t images, int u, double *terms) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels, line = images * p->pitch, run = run_length(channels, channels);
  const double *left = s->masked ? s->masked : s->x;
  for (int64_t from = p->y.first[u] * line; from < p->y.last[u] * line; from += run)
    for (int dy = 0; dy < p->y.taps; dy++) {
      int64_t first, last;
      shift_overlap(&p->y, u, dy, &first, &last);
      const int64_t count = smaller(run, last * line - from);
      if (count <= 0) break;
      for (int dx = dy > 0 ? 1 - p->x.taps : 0; dx < p->x.taps; dx++) {
        int term = shift_plan_term(p, dy, dx, u, p->x.core);
        if (term < 0) continue;
        const int64_t distance = dy * p->y.step * line + dx * p->x.step;
        const double *a = left + (p->margin + from) * channels;
        const double *b = (dy == 0 && dx == 0 ? left : s->x) + (p->margin + from + distance) * channels;
        REAP_TRY(correlate(channels, count, 1, a, b, terms + term * channels * channels));
      }
    }
  return REAP_OK;
}

/* One term of a border cell, column by column. */
static int border_term(reap_shift *s, int64_t images, const shift_term *t, double *out) {
  const shift_plan *p = &s->plan;
  const int64_t channels = s->layer.channels, line = images * p->pitch, run = run_length(channels, channels);
  const int64_t distance = t->dy * p->y.step * line + t->dx * p->x.step;
  int64_t rows[2], columns[2];
  shift_overlap(&p->y, t->u, t->dy, &rows[0], &rows[1]);
  shift_overlap(&p->x, t->v, t->dx, &columns[0], &columns[1]);
  for (int64_t x = columns[0]; x < columns[1]; x++)
    for (int64_t row = rows[0] * images; row < rows[1] * images; row += run) {
      const double *at = s->x + (p->margin + row * p->pitch + x) * channels;
      REAP_TRY(correlate(channels, smaller(run, rows[1] * images - row), p->pitch, at, at + distance * channels, out));
    }
  return REAP_OK;
}

static int all_terms(reap_shift *s, int64_t images, double *terms) {
  const shift_plan *p = &s->plan;
  const int64_t size = s->layer.channels * s->layer.channels;
  for (int u = 0; u < p->y.n_cells; u++) REAP_TRY(core_terms(s, images, u, terms));
  for (int k = 0; k < p->n_terms; k++)
    if (p->terms[k].v != p->x.core) REAP_TRY(border_term(s, images, &p->terms[k], terms + k * size));
  return REAP_OK;
}

/* Calls that meet tap t's pixels with the output positions: those output rows for which the tap reads the image, run by
 * run; `count` pixels of s->x at `x` belong to those of s->y at `y`. */
typedef int (*tap_product)(reap_shift *s, int64_t tap, int64_t count, const double *x, double *y, double *out);

static int walk_taps(reap_shift *s, int64_t images, int64_t channels, tap_product product, double *out) {
  const shift_plan *p = &s->plan;
  const int64_t m = s->layer.m, line = images * p->pitch, run = run_length(channels, m);
  for (int64_t from = 0; from < p->y.out * line; from += run)
    for (int ty = 0; ty < p->y.taps; ty++) {
      const int64_t offset_y = ty * p->y.step - p->y.pad;
      const int64_t low = (p->y.reads_first[ty] - offset_y) * line, high = (p->y.reads_last[ty] - offset_y) * line;
      const int64_t begin = from > low ? from : low, count = smaller(from + run, high) - begin;
      for (int tx = 0; tx < p->x.taps && count > 0; tx++) {
        if (p->x.reads_first[tx] == p->x.reads_last[tx]) continue;
        const int64_t at = p->margin + begin + offset_y * line + tx * p->x.step - p->x.pad;
        REAP_TRY(product(s, ty * p->x.taps + tx, count, s->x + at * channels, s->y + begin * m, out));
      }
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

int reap_shift_moments(reap_shift *s, int64_t block, const float *x, const float *y, reap_shift_sums *sums) {
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
    mask_inputs(s, images);
    load_targets(s, images, y, sums->sum_y);
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
        for (int64_t a = 0; a < channels; a++) gram[(b * taps + t2) * n + a * taps + t] = gram[(a * taps + t) * n + b * taps + t2];
    }
}

/* ---- held-out images */

int reap_shift_residual_begin(reap_shift *s, int64_t n_kept, const int64_t *kept, const double *weights, const double *bias) {
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

/* Differences of one row of outputs, by output: error [m], square [m], sum [m]. */
static void add_differences(int64_t pixels, int64_t m, const float *restrict y, const double *restrict predicted,
                            double *restrict error, double *restrict square, double *restrict sum) {
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t j = 0; j < m; j++) {
      double value = (double)y[i * m + j], d = value - predicted[i * m + j];
      error[j] += d * d;
      square[j] += value * value;
      sum[j] += value;
    }
}

static int predict_batch(reap_shift *s, int64_t images, const float *x) {
  const int64_t m = s->layer.m;
  load_inputs(s, images, x, s->kept, s->n_kept);
  for (int64_t i = 0; i < s->layer.window.out_height * images * s->plan.pitch; i++)
    memcpy(s->y + i * m, s->bias, (size_t)m * sizeof(double));
  return walk_taps(s, images, s->n_kept, add_prediction, s->weights);
}

int reap_shift_residual_add(reap_shift *s, int64_t block, const float *x, const float *y, reap_shift_residual *out) {
  const reap_window *w = &s->layer.window;
  const int64_t m = s->layer.m;
  double *error = s->square, *square = NULL;
  REAP_TRY(reap_calloc(&square, m, sizeof *square));
  clear(error, m);
  int64_t next = 0, images;
  int status = REAP_OK;
  while (status == REAP_OK && (images = choose_batch(s, block, true, &next)) > 0) {
    status = predict_batch(s, images, x);
    for (int64_t row = 0; row < w->out_height * images; row++) {
      const float *from = y + (s->chosen[row % images] * w->out_height + row / images) * w->out_width * m;
      add_differences(w->out_width, m, from, s->y + row * s->plan.pitch * m, error, square, out->sum_y);
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
