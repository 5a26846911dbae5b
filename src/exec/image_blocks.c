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
  int data; /* of the data set */
  bool channels_last;
  reap_shard shard;
  block_store *store;
  int64_t live; /* blocks not yet forgotten */
} image_maker;

/* What the data set has for an input, and how the graph stores it. */
static int find_data(const reap_graph *graph, int input, const reap_dataset *images, int *data, bool *channels_last) {
  const reap_value *x = &graph->values[graph->inputs[input]];
  *data = reap_dataset_find(images, x->name);
  *channels_last = !reap_stored_row_major(x);
  if (*data >= 0) return REAP_OK;
  /* told before the run by reap_network_check_images() */
  return reap_error(REAP_ERR_INTERNAL, "%s: no data for the input %s", reap_dataset_path(images), x->name);
}

int reap_images_read(const reap_graph *graph, int input, reap_dataset *images, int64_t first, int64_t count,
                     float *to) {
  int data = 0;
  bool channels_last = false;
  REAP_TRY(find_data(graph, input, images, &data, &channels_last));
  return reap_dataset_read(images, data, first, count, channels_last, to);
}

int64_t reap_images_size(const reap_graph *graph, int input) {
  return reap_value_count(&graph->values[graph->inputs[input]]) / graph->batch;
}

static int read_images(const image_maker *m, const value_block *b) {
  int64_t first, count;
  reap_shard_block(&m->shard, m->shard.first + b->index, &first, &count);
  const int64_t size = b->count / m->shard.block;
  REAP_TRY(reap_dataset_read(m->images, m->data, first, count, m->channels_last, b->data));
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

int reap_image_blocks_attach(const reap_graph *graph, int input, reap_dataset *images, const reap_shard *shard,
                             block_store *store, int64_t count, value_block *const *blocks) {
  image_maker *m = NULL;
  int data = 0;
  bool channels_last = false;
  if (count == 0) return REAP_OK;
  REAP_TRY(find_data(graph, input, images, &data, &channels_last));
  REAP_TRY(reap_calloc(&m, 1, sizeof *m));
  *m = (image_maker){{make, forget}, images, data, channels_last, *shard, store, count};
  for (int64_t b = 0; b < count; b++) blocks[b]->maker = &m->maker;
  return REAP_OK;
}

bool reap_image_blocks_make(const value_block *block) { return block && block->maker && block->maker->make == make; }
