/* Gathers rows of X and Y from a rank's images as float64, in chunks.
 *
 * A panel of the moments takes one walk over all rows. Gathering a row again costs about two moves of its columns,
 * where the product with a panel of w columns costs w multiply-adds a column: some percent from w = 300 on. A matrix
 * product's rows (a layer behind a Flatten) lie ready in the images' values and are only widened. Chunks hold about
 * CHUNK_BYTES; where all rows of a rank fit into one, as they do in the layers with few rows and many columns that
 * panels are for, they are gathered once.
 */
#include "row_chunks.h"

#include "exec/kernels/im2col.h"
#include "patches.h"
#include "reap/error.h"
#include "reap/memory.h"

static const int64_t CHUNK_BYTES = (int64_t)64 << 20;
enum { LEAST_ROWS = 16 };

struct row_chunks {
  reap_layer_rows rows;
  int64_t slots, *channel; /* [slots] */
  int64_t capacity, outputs;
  int64_t per_image, *positions; /* [per_image] */
  double *x, *y;                 /* [capacity, slots * block], [capacity, outputs] */
  float *patch;                  /* [n] */
  int64_t held, held_first;      /* rows of all images not held out, from that slot on, lie in x; -1: no */
};

void row_chunks_destroy(row_chunks **chunks) {
  row_chunks *c = *chunks;
  if (!c) return;
  reap_free(&c->channel);
  reap_free(&c->positions);
  reap_free(&c->x);
  reap_free(&c->y);
  reap_free(&c->patch);
  reap_free(chunks);
}

/* Rows of this rank's images; those held out are about a tenth as many. */
static int64_t count_rows(const reap_layer_rows *rows, int64_t per_image) {
  const reap_shard *shard = rows->shard;
  const int64_t images = (shard->last - shard->first) * shard->block;
  return images < 1 ? 1 : images * per_image;
}

static int allocate(row_chunks *c) {
  const reap_layer *layer = c->rows.layer;
  const int64_t n = c->slots * layer->block;
  int64_t size_x = 0, size_y = 0;
  REAP_TRY(reap_multiply(c->capacity, n, &size_x));
  REAP_TRY(reap_multiply(c->capacity, c->outputs, &size_y));
  REAP_TRY(reap_alloc(&c->channel, c->slots, sizeof *c->channel));
  REAP_TRY(reap_alloc(&c->positions, c->per_image, sizeof *c->positions));
  REAP_TRY(reap_alloc(&c->x, size_x, sizeof *c->x));
  REAP_TRY(reap_alloc(&c->y, size_y, sizeof *c->y));
  return reap_alloc(&c->patch, layer->n, sizeof *c->patch);
}

int row_chunks_create(const reap_layer_rows *rows, int64_t slots, const int64_t *channel, int64_t outputs,
                      row_chunks **out) {
  row_chunks *c = NULL;
  *out = NULL;
  REAP_TRY(reap_calloc(&c, 1, sizeof *c));
  c->rows = *rows;
  c->slots = slots;
  c->outputs = outputs;
  c->held = -1;
  c->per_image = reap_patches_per_image(rows->layer, rows->sampling);
  const int64_t all = count_rows(rows, c->per_image);
  c->capacity = CHUNK_BYTES / (int64_t)sizeof(double) / (slots * rows->layer->block + outputs);
  if (c->capacity < LEAST_ROWS) c->capacity = LEAST_ROWS;
  if (c->capacity > all) c->capacity = all;
  const int status = allocate(c);
  if (status != REAP_OK) {
    row_chunks_destroy(&c);
    return status;
  }
  for (int64_t k = 0; k < slots; k++) c->channel[k] = channel ? channel[k] : k;
  *out = c;
  return REAP_OK;
}

/* Columns of the channels from slot `first` on, of one position of an image. */
static void take_x(const row_chunks *c, const float *image, int64_t position, int64_t first, double *to) {
  const reap_layer *layer = c->rows.layer;
  const int64_t b = layer->block;
  if (layer->convolution) { /* patches lie tap by tap */
    reap_im2col_rows_f32(&layer->window, image, 0, layer->channels, 1, &position, 0, c->patch);
    const int64_t channels = layer->channels;
    for (int64_t k = first; k < c->slots; k++) {
      const float *from = c->patch + c->channel[k];
      for (int64_t t = 0; t < b; t++) to[k * b + t] = (double)from[t * channels];
    }
    return;
  }
  const float *from = image + reap_row_start(&layer->rows_x, layer->n, position);
  const int64_t step = reap_row_step(&layer->rows_x);
  for (int64_t k = first; k < c->slots; k++)
    for (int64_t t = 0; t < b; t++) to[k * b + t] = (double)from[(c->channel[k] * b + t) * step];
}

static void take_y(const row_chunks *c, const float *image, int64_t position, const row_walk *walk, double *to) {
  const reap_layer *layer = c->rows.layer;
  const int64_t step = reap_row_step(&layer->rows_y);
  const float *from = image + reap_row_start(&layer->rows_y, layer->m, position) + walk->y_first * step;
  for (int64_t j = 0; j < walk->y_count; j++) to[j] = (double)from[j * step];
}

/* One walk under way. */
typedef struct cursor {
  row_chunks *chunks;
  const row_walk *walk;
  bool gather; /* X is not there yet */
  int64_t filled, flushes;
  int (*use)(void *context, int64_t block, int64_t rows, const double *x, const double *y);
  void *context;
} cursor;

static int flush(cursor *at, int64_t block) {
  const int64_t rows = at->filled;
  if (rows == 0) return REAP_OK;
  at->filled = 0;
  at->flushes++;
  return at->use(at->context, block, rows, at->chunks->x, at->chunks->y);
}

static int take_image(cursor *at, int64_t block, int64_t image, const float *x, const float *y) {
  row_chunks *c = at->chunks;
  const reap_layer_rows *rows = &c->rows;
  const int64_t n = c->slots * rows->layer->block;
  reap_patches_positions(rows->layer, rows->name, rows->sampling, image, c->positions);
  for (int64_t p = 0; p < c->per_image; p++) {
    if (at->filled == c->capacity) REAP_TRY(flush(at, block));
    if (x) take_x(c, x, c->positions[p], at->walk->first, c->x + at->filled * n);
    if (y) take_y(c, y, c->positions[p], at->walk, c->y + at->filled * at->walk->y_count);
    at->filled++;
  }
  return REAP_OK;
}

static int take_block(cursor *at, int64_t b) {
  const reap_layer_rows *rows = &at->chunks->rows;
  const bool wants_x = at->gather && at->walk->first<at->chunks->slots, wants_y = at->walk->y_count> 0;
  const int64_t size_x = reap_patches_input_size(rows->layer), size_y = reap_patches_output_size(rows->layer);
  int64_t first, images;
  reap_shard_block(rows->shard, rows->shard->first + b, &first, &images);
  const float *x = NULL, *y = NULL;
  if (wants_x) REAP_TRY(rows->input(rows->context, b, &x));
  if (wants_y) REAP_TRY(rows->output(rows->context, b, &y));
  for (int64_t i = 0; i < images; i++)
    if (reap_split_holds_out(REAP_SPLIT_TENTH, first + i) == at->walk->held_out)
      REAP_TRY(take_image(at, rows->shard->first + b, first + i, x ? x + i * size_x : NULL, y ? y + i * size_y : NULL));
  return REAP_OK;
}

int row_chunks_walk(row_chunks *c, const row_walk *walk,
                    int (*use)(void *context, int64_t block, int64_t rows, const double *x, const double *y),
                    void *context) {
  const reap_shard *shard = c->rows.shard;
  const bool there = c->held >= 0 && !walk->held_out && !walk->by_block && c->held_first <= walk->first;
  cursor at = {c, walk, !there, 0, 0, use, context};
  if (there && walk->y_count == 0) return c->held > 0 ? use(context, shard->last - 1, c->held, c->x, c->y) : REAP_OK;
  if (!there && walk->first < c->slots) c->held = -1;
  for (int64_t b = 0; b < shard->last - shard->first; b++) {
    REAP_TRY(take_block(&at, b));
    if (walk->by_block) REAP_TRY(flush(&at, shard->first + b));
  }
  const int64_t rows = at.filled;
  REAP_TRY(flush(&at, shard->last - 1));
  if (!there && walk->first < c->slots) { /* one chunk, and its rows are the moments': they stay for the next walk */
    const bool whole = at.flushes <= 1 && !walk->held_out && !walk->by_block;
    c->held = whole ? rows : -1;
    c->held_first = walk->first;
  }
  return REAP_OK;
}
