/* Gathers X and Y of a layer in chunks of rows, as float64.
 *
 * Chunks hold about CHUNK_BYTES of X, so that products with it run at level-3 speed while it stays in the second-level
 * cache or near it. A chunk may end within an image.
 */
#include "rows.h"

#include <string.h>

#include "base/random.h"
#include "exec/kernels/im2col.h"
#include "reap/error.h"
#include "reap/memory.h"

static const int64_t CHUNK_BYTES = 8 << 20;
enum { LEAST_ROWS = 64 };

/* `count` elements of the target from `at` on, `step` apart: y itself, or what is put together in scratch[count]. */
static const float *target_row(const reap_target *target, int64_t at, int64_t step, int64_t count, float *scratch) {
  const float *y = target->y + at;
  if (!target->before && step == 1) return y;
  const float *before = target->before + at, *now = target->now + at;
  for (int64_t i = 0; i < count; i++)
    scratch[i] = target->before ? y[i * step] + (before[i * step] - now[i * step]) : y[i * step];
  return scratch;
}

int reap_rows_create(const reap_layer *layer, const char *name, const reap_sampling *sampling, reap_rows *rows) {
  memset(rows, 0, sizeof *rows);
  rows->layer = *layer;
  rows->sampling = *sampling;
  rows->key = reap_random_key(name);
  bool all = sampling->positions <= 0 || sampling->positions >= layer->positions;
  rows->sampling.positions = all ? 0 : sampling->positions;
  rows->per_image = all ? layer->positions : sampling->positions;
  rows->capacity = CHUNK_BYTES / (int64_t)sizeof(double) / layer->n;
  if (rows->capacity < LEAST_ROWS) rows->capacity = LEAST_ROWS;
  int64_t size_x = 0, size_y = 0;
  int status = REAP_OK;
  REAP_TRY_OR(reap_multiply(rows->capacity, layer->n, &size_x), failed);
  REAP_TRY_OR(reap_multiply(rows->capacity, layer->m, &size_y), failed);
  REAP_TRY_OR(reap_alloc(&rows->positions, rows->per_image, sizeof *rows->positions), failed);
  REAP_TRY_OR(reap_alloc(&rows->x, size_x, sizeof *rows->x), failed);
  REAP_TRY_OR(reap_alloc(&rows->y, size_y, sizeof *rows->y), failed);
  REAP_TRY_OR(reap_alloc(&rows->scratch, layer->m, sizeof *rows->scratch), failed);
  return REAP_OK;
failed:
  reap_rows_clear(rows);
  return status;
}

void reap_rows_clear(reap_rows *rows) {
  reap_free(&rows->positions);
  reap_free(&rows->x);
  reap_free(&rows->y);
  reap_free(&rows->scratch);
}

/* Rows of a matrix product: columns c * block + t of the file become t * channels + c. */
static void matrix_rows(const reap_layer *layer, const float *x, int64_t count, const int64_t *positions, int64_t first,
                        double *rows) {
  const int64_t step = reap_row_step(&layer->rows_x);
  for (int64_t r = 0; r < count; r++) {
    const float *from = x + reap_row_start(&layer->rows_x, layer->n, positions ? positions[r] : first + r);
    double *to = rows + r * layer->n;
    for (int64_t t = 0; t < layer->block; t++)
      for (int64_t c = 0; c < layer->channels; c++)
        to[t * layer->channels + c] = (double)from[(c * layer->block + t) * step];
  }
}

/* `count` rows of one image, the block's `image`, from row `first` on, into the chunk at row `at`. */
static void gather(reap_rows *rows, int64_t at, const float *x, const reap_target *target, int64_t image, int64_t first,
                   int64_t count) {
  const reap_layer *layer = &rows->layer;
  const int64_t *positions = rows->sampling.positions ? rows->positions + first : NULL;
  double *to = rows->x + at * layer->n;
  if (layer->convolution)
    reap_im2col_rows_f64(&layer->window, x, 0, layer->channels, count, positions, first, to);
  else
    matrix_rows(layer, x, count, positions, first, to);
  for (int64_t r = 0; r < count; r++) {
    const int64_t start = reap_row_start(&layer->rows_y, layer->m, positions ? positions[r] : first + r);
    const float *from = target_row(target, image * layer->positions * layer->m + start, reap_row_step(&layer->rows_y),
                                   layer->m, rows->scratch);
    double *row = rows->y + (at + r) * layer->m;
    for (int64_t j = 0; j < layer->m; j++) row[j] = (double)from[j];
  }
}

int reap_rows_walk(reap_rows *rows, const reap_shard *shard, int64_t block, bool held_out, const float *x,
                   const reap_target *target, int (*use)(void *context, const reap_rows *rows, int64_t count),
                   void *context) {
  const reap_layer *layer = &rows->layer;
  const int64_t image_x =
      layer->convolution ? layer->window.height * layer->window.width * layer->channels : layer->positions * layer->n;
  int64_t first, images, filled = 0;
  reap_shard_block(shard, block, &first, &images);
  for (int64_t i = 0; i < images; i++) {
    if (reap_split_holds_out(REAP_SPLIT_TENTH, first + i) != held_out) continue;
    if (rows->sampling.positions) {
      reap_random random = reap_random_init(rows->sampling.seed, rows->key, (uint64_t)(first + i));
      reap_random_sample(&random, layer->positions, rows->per_image, rows->positions);
    }
    for (int64_t done = 0; done < rows->per_image;) {
      int64_t count = rows->per_image - done;
      if (count > rows->capacity - filled) count = rows->capacity - filled;
      gather(rows, filled, x + i * image_x, target, i, done, count);
      done += count;
      filled += count;
      if (filled == rows->capacity) {
        REAP_TRY(use(context, rows, filled));
        filled = 0;
      }
    }
  }
  return filled > 0 ? use(context, rows, filled) : REAP_OK;
}
