/* Gathers a rank's rows into slabs and writes them with all others.
 *
 * Blocks of images are contiguous on every rank, so a rank's rows are one stretch of the file, and where it begins
 * follows from the images before it. All ranks write as often as the one with most rows: writing is collective. Memory:
 * one slab, and once more its rows while they are packed.
 */
#include "store_rows.h"

#include "exec/primitives/im2col.h"
#include "reap/error.h"
#include "reap/memory.h"

static const int64_t SLAB_BYTES = (int64_t)64 << 20;

/* Where a rank stands, and its slab. */
typedef struct slab {
  reap_cursor cursor;
  int64_t capacity, filled; /* rows */
  float *x, *y, *patch;
  int64_t *images, *places;
} slab;

/* Rows of the images below `image` that are not held out. */
static int64_t rows_before(const reap_samples *s, int64_t image) {
  return (image - reap_split_count(s->split, image)) * reap_samples_per_image(s);
}

double reap_store_rows_bytes(const reap_samples *s) {
  return (double)rows_before(s, s->shard.images) * (double)(4 * (s->layer.n + s->layer.m) + 24);
}

static int slab_create(const reap_samples *samples, int64_t rows, slab *s) {
  const reap_layer *layer = &samples->layer;
  s->capacity = SLAB_BYTES / (4 * (layer->n + layer->m));
  if (s->capacity < 1) s->capacity = 1;
  if (s->capacity > rows) s->capacity = rows;
  REAP_TRY(reap_cursor_create(samples, &s->cursor));
  REAP_TRY(reap_alloc(&s->x, s->capacity * layer->n, sizeof *s->x));
  REAP_TRY(reap_alloc(&s->y, s->capacity * layer->m, sizeof *s->y));
  REAP_TRY(reap_alloc(&s->patch, layer->n, sizeof *s->patch));
  REAP_TRY(reap_alloc(&s->images, s->capacity, sizeof *s->images));
  REAP_TRY(reap_alloc(&s->places, 2 * s->capacity, sizeof *s->places));
  reap_cursor_start(&s->cursor, REAP_IN_SUMS, 0, reap_samples_blocks(samples));
  return REAP_OK;
}

static void slab_clear(slab *s) {
  reap_cursor_clear(&s->cursor);
  reap_free(&s->x);
  reap_free(&s->y);
  reap_free(&s->patch);
  reap_free(&s->images);
  reap_free(&s->places);
}

/* One row of a matrix product, or of any layer's outputs. */
static void copy_row(const reap_row_layout *rows, int64_t columns, const float *image, int64_t position, float *to) {
  const float *from = image + reap_row_start(rows, columns, position);
  const int64_t step = reap_row_step(rows);
  for (int64_t i = 0; i < columns; i++) to[i] = from[i * step];
}

/* A row of X: patches lie tap by tap, files have channel by channel. */
static void copy_input(const slab *s, const float *image, int64_t position, float *to) {
  const reap_layer *layer = &s->cursor.samples.layer;
  if (!layer->convolution) {
    copy_row(&layer->rows_x, layer->n, image, position, to);
    return;
  }
  reap_im2col_rows_f32(&layer->window, image, 0, layer->channels, 1, &position, 0, s->patch);
  for (int64_t t = 0; t < layer->block; t++)
    for (int64_t c = 0; c < layer->channels; c++) to[c * layer->block + t] = s->patch[t * layer->channels + c];
}

/* One row into the slab. Its place is the row and column in a convolution's output, (row, 0) in a matrix product's,
 * whose rows count in ONNX's order. */
static void take_row(slab *s, const reap_piece *p, int64_t position) {
  const reap_layer *layer = &s->cursor.samples.layer;
  const int64_t width = layer->convolution ? layer->window.out_width : 1, at = s->filled++;
  copy_input(s, p->x, position, s->x + at * layer->n);
  copy_row(&layer->rows_y, layer->m, p->y, position, s->y + at * layer->m);
  s->images[at] = p->image;
  s->places[2 * at] = position / width;
  s->places[2 * at + 1] = position % width;
}

/* Fills the slab as far as this rank has rows left. */
static int fill(slab *s) {
  reap_piece p;
  for (s->filled = 0; s->filled < s->capacity;) {
    REAP_TRY(reap_cursor_next(&s->cursor, s->capacity - s->filled, &p));
    if (p.count == 0) break;
    for (int64_t r = 0; r < p.count; r++) take_row(s, &p, reap_piece_position(&p, r));
  }
  return REAP_OK;
}

/* Rows of this rank: where they begin in the file, and how many; rows of all. Collective. */
static int place_rows(const reap_comm *comm, const reap_samples *s, int64_t *first, int64_t *count, int64_t *total) {
  const reap_shard *shard = &s->shard;
  int64_t start = shard->first * shard->block, end = shard->last * shard->block, origin = start;
  REAP_TRY(reap_comm_broadcast(comm, &origin, sizeof origin, 0)); /* rank 0 has the first images */
  if (end > shard->images) end = shard->images;
  if (start > end) start = end;
  *first = rows_before(s, start) - rows_before(s, origin);
  *count = rows_before(s, end) - rows_before(s, start);
  *total = rows_before(s, shard->images) - rows_before(s, origin);
  return REAP_OK;
}

int reap_store_rows(const reap_comm *comm, const reap_samples *samples, double energy, reap_activations_file *file) {
  const reap_layer *layer = &samples->layer;
  slab s = {0};
  int64_t first = 0, count = 0, total = 0, rounds = 0;
  REAP_TRY(place_rows(comm, samples, &first, &count, &total));
  int status = slab_create(samples, count, &s);
  REAP_TRY_OR(reap_comm_agree(comm, status), done);
  rounds = s.capacity > 0 ? (count + s.capacity - 1) / s.capacity : 0;
  REAP_TRY_OR(reap_comm_max_int64(comm, &rounds, 1), done);
  REAP_TRY_OR(
      reap_activations_file_begin(file, samples->name, samples->node, layer->channels, layer->block, layer->m, total),
      done);
  for (int64_t r = 0; r < rounds; r++) {
    REAP_TRY_OR(reap_comm_agree(comm, fill(&s)), done);
    REAP_TRY_OR(reap_activations_file_write(file, first, s.filled, s.x, s.y, s.images, s.places), done);
    first += s.filled;
  }
  status = reap_activations_file_end(file, energy);
done:
  slab_clear(&s);
  return status;
}
