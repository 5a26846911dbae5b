/* The network's input, block by block from a data set; a tail is padded with its last image. See image_blocks.h. */
#include "image_blocks.h"

#include <string.h>

#include "base/timer.h"
#include "model/operators/layout.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct image_maker {
  block_maker maker; /* first: a maker is its image_maker */
  reap_dataset *images;
  bool channels_last;
  reap_shard shard;
  block_store *store;
  int64_t live; /* blocks not yet forgotten */
} image_maker;

static bool channels_last(const reap_graph *graph) { return !reap_stored_row_major(&graph->values[graph->inputs[0]]); }

int reap_images_read(const reap_graph *graph, reap_dataset *images, int64_t first, int64_t count, float *to) {
  return reap_dataset_read(images, first, count, channels_last(graph), to);
}

static int read_images(const image_maker *m, const value_block *b) {
  int64_t first, count;
  reap_shard_block(&m->shard, m->shard.first + b->index, &first, &count);
  const int64_t size = b->count / m->shard.block;
  REAP_TRY(reap_dataset_read(m->images, first, count, m->channels_last, b->data));
  for (int64_t i = count; i < m->shard.block; i++)
    memcpy(b->data + i * size, b->data + (count - 1) * size, (size_t)size * sizeof *b->data);
  return REAP_OK;
}

static int make(block_maker *maker, value_block *b) {
  const image_maker *m = (const image_maker *)maker;
  block_store_facts *facts = reap_block_store_get_facts(m->store);
  REAP_TRY(reap_block_allocate(m->store, b));
  const double start = reap_seconds();
  int status = read_images(m, b);
  facts->seconds_images += reap_seconds() - start;
  facts->images_read += b->count * (int64_t)sizeof(float);
  return status;
}

static void forget(block_maker *maker, const value_block *b) {
  image_maker *m = (image_maker *)maker;
  (void)b;
  if (--m->live == 0) reap_free(&m);
}

int reap_image_blocks_attach(const reap_graph *graph, reap_dataset *images, const reap_shard *shard, block_store *store,
                             int64_t count, value_block *const *blocks) {
  image_maker *m = NULL;
  if (count == 0) return REAP_OK;
  REAP_TRY(reap_calloc(&m, 1, sizeof *m));
  *m = (image_maker){{make, forget}, images, channels_last(graph), *shard, store, count};
  for (int64_t b = 0; b < count; b++) blocks[b]->maker = &m->maker;
  return REAP_OK;
}

bool reap_image_blocks_make(const value_block *block) { return block && block->maker && block->maker->make == make; }
