/* Gathers a rank's rows into slabs and writes them with all others.
 *
 * Blocks of images are contiguous on every rank, so a rank's rows are one stretch of the file, and where it begins
 * follows from the images before it. All ranks write as often as the one with most rows: writing is collective. Memory:
 * one slab, and once more its rows while they are packed.
 */
#include "store_rows.h"

#include "patches.h"
#include "reap/error.h"
#include "reap/memory.h"

static const int64_t SLAB_BYTES = (int64_t)64 << 20;

/* Where a rank stands, and its slab. */
typedef struct cursor {
  const rows_source *source;
  int64_t per_image;
  int64_t block, image, done; /* local block, image within it, rows of the image already taken */
  int64_t capacity, filled;   /* rows of the slab */
  float *x, *y, *scratch;
  int64_t *images, *places, *positions;
} cursor;

/* Images below `image` that are not held out. */
static int64_t fitted_before(int64_t image) { return image - reap_split_count(REAP_SPLIT_TENTH, image); }

double store_rows_bytes(const reap_layer *layer, const reap_sampling *sampling, int64_t images) {
  return (double)images * (double)reap_patches_per_image(layer, sampling) * (double)(4 * (layer->n + layer->m) + 24);
}

static int cursor_create(const rows_source *source, int64_t rows, cursor *c) {
  const reap_layer *layer = source->layer;
  *c = (cursor){.source = source, .per_image = reap_patches_per_image(layer, source->sampling)};
  c->capacity = SLAB_BYTES / (4 * (layer->n + layer->m));
  if (c->capacity < 1) c->capacity = 1;
  if (c->capacity > rows) c->capacity = rows;
  REAP_TRY(reap_alloc(&c->x, c->capacity * layer->n, sizeof *c->x));
  REAP_TRY(reap_alloc(&c->y, c->capacity * layer->m, sizeof *c->y));
  REAP_TRY(reap_alloc(&c->scratch, layer->n, sizeof *c->scratch));
  REAP_TRY(reap_alloc(&c->images, c->capacity, sizeof *c->images));
  REAP_TRY(reap_alloc(&c->places, 2 * c->capacity, sizeof *c->places));
  return reap_alloc(&c->positions, c->per_image, sizeof *c->positions);
}

static void cursor_clear(cursor *c) {
  reap_free(&c->x);
  reap_free(&c->y);
  reap_free(&c->scratch);
  reap_free(&c->images);
  reap_free(&c->places);
  reap_free(&c->positions);
}

/* Takes what fits of one image into the slab. */
static void take_image(cursor *c, int64_t image, const float *x, const float *y) {
  const rows_source *s = c->source;
  const reap_layer *layer = s->layer;
  int64_t count = c->per_image - c->done;
  if (count > c->capacity - c->filled) count = c->capacity - c->filled;
  reap_patches_positions(layer, s->name, s->sampling, image, c->positions);
  reap_patches_gather(layer, x, y, count, c->positions + c->done, c->scratch, c->x + c->filled * layer->n,
                      c->y + c->filled * layer->m);
  for (int64_t r = 0; r < count; r++) {
    c->images[c->filled + r] = image;
    reap_patches_place(layer, c->positions[c->done + r], c->places + 2 * (c->filled + r));
  }
  c->filled += count;
  c->done += count;
}

/* Fills the slab as far as this rank has rows left. */
static int fill(cursor *c) {
  const rows_source *s = c->source;
  const int64_t blocks = s->shard->last - s->shard->first;
  for (c->filled = 0; c->filled < c->capacity && c->block < blocks;) {
    int64_t first, count;
    reap_shard_block(s->shard, s->shard->first + c->block, &first, &count);
    const float *x = NULL, *y = NULL;
    REAP_TRY(s->input(s->context, c->block, &x));
    REAP_TRY(s->output(s->context, c->block, &y));
    while (c->image < count && c->filled < c->capacity) {
      const int64_t image = first + c->image;
      if (!reap_split_holds_out(REAP_SPLIT_TENTH, image)) {
        take_image(c, image, x + c->image * reap_patches_input_size(s->layer),
                   y + c->image * reap_patches_output_size(s->layer));
        if (c->done < c->per_image) break; /* the slab is full */
      }
      c->image++;
      c->done = 0;
    }
    if (c->image < count) break;
    c->block++;
    c->image = 0;
  }
  return REAP_OK;
}

/* Rows of this rank: where they begin in the file, and how many; rows of all. Collective. */
static int place_rows(const reap_comm *comm, const rows_source *s, int64_t per_image, int64_t *first, int64_t *count,
                      int64_t *total) {
  const reap_shard *shard = s->shard;
  int64_t start = shard->first * shard->block, end = shard->last * shard->block, origin = start;
  REAP_TRY(reap_comm_broadcast(comm, &origin, sizeof origin, 0)); /* rank 0 has the first images */
  if (end > shard->images) end = shard->images;
  if (start > end) start = end;
  *first = (fitted_before(start) - fitted_before(origin)) * per_image;
  *count = (fitted_before(end) - fitted_before(start)) * per_image;
  *total = (fitted_before(shard->images) - fitted_before(origin)) * per_image;
  return REAP_OK;
}

int store_rows(const reap_comm *comm, const rows_source *source, double energy, reap_activations_file *file) {
  const reap_layer *layer = source->layer;
  cursor c = {0};
  int64_t first = 0, count = 0, total = 0, rounds = 0;
  REAP_TRY(place_rows(comm, source, reap_patches_per_image(layer, source->sampling), &first, &count, &total));
  int status = cursor_create(source, count, &c);
  REAP_TRY_OR(reap_comm_agree(comm, status), done);
  rounds = c.capacity > 0 ? (count + c.capacity - 1) / c.capacity : 0;
  REAP_TRY_OR(reap_comm_max_int64(comm, &rounds, 1), done);
  REAP_TRY_OR(
      reap_activations_file_begin(file, source->name, source->node, layer->channels, layer->block, layer->m, total),
      done);
  for (int64_t r = 0; r < rounds; r++) {
    REAP_TRY_OR(reap_comm_agree(comm, fill(&c)), done);
    REAP_TRY_OR(reap_activations_file_write(file, first, c.filled, c.x, c.y, c.images, c.places), done);
    first += c.filled;
  }
  status = reap_activations_file_end(file, energy);
done:
  cursor_clear(&c);
  return status;
}
