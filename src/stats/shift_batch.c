/* Batches of images for the shift form; see shift_batch.h.
 *
 * Pixel (y, x) of all images of the batch lies in one run, that of (y, x + 1) behind it. A shift within a row is then
 * one constant distance in memory, and any range of columns of a row is one run, for all images at once: one product
 * without padding. A second copy of the columns near the border, column by column, does the same for the narrow cells,
 * where it makes ranges of rows one run.
 *
 * Only the rows that one row's correlations meet are held, and one row of targets: small enough for the second-level
 * cache, so that float64 numbers are written and read there and memory sees each float32 number once.
 *
 * Cost: one reading of the images. Memory: `depth` rows of the batch, the border columns, one row of targets.
 */
#include "shift_batch.h"

#include <string.h>

#include "base/numbers.h"
#include "reap/error.h"
#include "reap/memory.h"

static const int64_t BATCH_BYTES = 64 << 20;

static int64_t choose_capacity(const shift_batch *b, int64_t pixels) {
  const reap_window *w = &b->layer.window;
  const shift_axis *x = &b->plan->x;
  const int64_t core = x->n_cells > 0 ? x->last[x->core] - x->first[x->core] : 1;
  const int64_t most = BATCH_BYTES / (w->height * w->width * w->channels * (int64_t)sizeof(double));
  return reap_larger(1, reap_smaller((pixels + core - 1) / core, reap_smaller(b->shard.block, most)));
}

/* Marks the columns that terms of border cells read. */
static void mark_columns(shift_batch *b) {
  const shift_plan *p = b->plan;
  for (int k = 0; k < p->n_terms; k++) {
    int64_t first, last, by = p->terms[k].dx * p->x.step;
    if (p->terms[k].v == p->x.core) continue;
    reap_shift_overlap(&p->x, p->terms[k].v, p->terms[k].dx, &first, &last);
    for (int64_t x = first; x < last; x++) b->at_border[x] = b->at_border[x + by] = true;
  }
}

static int allocate(shift_batch *b) {
  const reap_window *w = &b->layer.window;
  const int64_t shape_x[] = {b->depth, w->width, b->capacity, w->channels};
  const int64_t shape_columns[] = {w->width, w->height, b->capacity, w->channels};
  const int64_t shape_y[] = {w->out_width, b->capacity, b->layer.m};
  int64_t size_x = 0, size_columns = 0, size_y = 0;
  REAP_TRY(reap_product(shape_x, 4, &size_x));
  REAP_TRY(reap_product(shape_columns, 4, &size_columns));
  REAP_TRY(reap_product(shape_y, 3, &size_y));
  REAP_TRY(reap_alloc(&b->chosen, b->capacity, sizeof *b->chosen));
  REAP_TRY(reap_calloc(&b->at_border, w->width, sizeof *b->at_border));
  REAP_TRY(reap_alloc(&b->x, size_x, sizeof *b->x));
  if (b->plan->x.n_cells > 1) REAP_TRY(reap_alloc(&b->columns, size_columns, sizeof *b->columns));
  return reap_alloc(&b->y, size_y, sizeof *b->y);
}

int reap_shift_batch_create(const reap_samples *samples, const shift_plan *plan, int64_t pixels, shift_batch *b) {
  *b = (shift_batch){.layer = samples->layer, .shard = samples->shard, .split = samples->split, .plan = plan};
  b->capacity = choose_capacity(b, pixels);
  b->depth = reap_smaller((plan->y.taps - 1) * plan->y.step + 1, reap_larger(1, plan->y.size));
  int status = allocate(b);
  if (status == REAP_OK)
    mark_columns(b);
  else
    reap_shift_batch_clear(b);
  return status;
}

void reap_shift_batch_clear(shift_batch *b) {
  reap_free(&b->chosen);
  reap_free(&b->at_border);
  reap_free(&b->x);
  reap_free(&b->columns);
  reap_free(&b->y);
}

/* Images of the block from `next` on that are (not) held out. */
static int64_t count_images(const shift_batch *b, int64_t block, bool held_out, int64_t next) {
  int64_t first, count, n = 0;
  reap_shard_block(&b->shard, block, &first, &count);
  for (; next < count; next++) n += reap_split_holds_out(b->split, first + next) == held_out;
  return n;
}

bool reap_shift_batch_begin(shift_batch *b, int64_t block, bool held_out, const float *x, int64_t channels,
                            const int64_t *kept, int64_t *next) {
  int64_t first, count;
  const int64_t left = count_images(b, block, held_out, *next), batches = (left + b->capacity - 1) / b->capacity;
  const int64_t share = batches > 0 ? (left + batches - 1) / batches : 0; /* no batch is left with a rest */
  reap_shard_block(&b->shard, block, &first, &count);
  b->source = x;
  b->channels = channels;
  b->kept = kept;
  b->loaded = 0;
  b->images = 0;
  for (; *next < count && b->images < share; ++*next)
    if (reap_split_holds_out(b->split, first + *next) == held_out) b->chosen[b->images++] = *next;
  return b->images > 0;
}

int64_t reap_shift_batch_first(const shift_batch *b) { return reap_smaller(0, -b->plan->y.pad); }

int64_t reap_shift_batch_last(const shift_batch *b) {
  return reap_larger(b->plan->y.size, b->plan->y.out - b->plan->y.pad);
}

static void load_row(shift_batch *b, int64_t row) {
  const reap_window *w = &b->layer.window;
  for (int64_t i = 0; i < b->images; i++) {
    const float *from = b->source + (b->chosen[i] * w->height + row) * w->width * w->channels;
    double *to = shift_batch_pixel(b, row, 0) + i * b->channels;
    if (b->kept)
      reap_widen_kept(to, b->images * b->channels, from, w->width, w->channels, b->channels, b->kept);
    else
      reap_widen(to, b->images * b->channels, from, w->width, w->channels);
  }
}

static void copy_border(shift_batch *b, int64_t row) {
  const int64_t pixel = b->images * b->channels;
  for (int64_t x = 0; x < b->plan->x.size; x++)
    if (b->at_border[x])
      memcpy(b->columns + (x * b->plan->y.size + row) * pixel, shift_batch_pixel(b, row, x),
             (size_t)pixel * sizeof(double));
}

void reap_shift_batch_advance(shift_batch *b, int64_t row) {
  const int64_t end = reap_smaller(b->plan->y.size, row + (b->plan->y.taps - 1) * b->plan->y.step + 1);
  for (; b->loaded < end; b->loaded++) {
    load_row(b, b->loaded);
    if (b->columns && !b->kept) copy_border(b, b->loaded);
  }
}

void reap_shift_batch_targets(shift_batch *b, int64_t row, const float *y) {
  const int64_t m = b->layer.m, line = b->plan->x.out * m;
  for (int64_t i = 0; i < b->images; i++) {
    const float *from = y + (b->chosen[i] * b->plan->y.out + row) * line;
    reap_widen(b->y + i * m, b->images * m, from, b->plan->x.out, m);
  }
}
