/* Blocks of input images, read from their data set when they are needed; private to src/exec. Local. */
#ifndef REAP_EXEC_IMAGE_BLOCKS_H
#define REAP_EXEC_IMAGE_BLOCKS_H

#include <stdbool.h>

#include "block_store.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "shard.h"

/* Images [first, first + count) in the order in which the graph stores its input. */
int reap_images_read(const reap_graph *graph, reap_dataset *images, int64_t first, int64_t count, float *to);

/* Gives blocks[count], block k being block shard->first + k of all, a maker that reads them; `images` is
 * borrowed, and they are for the graph's input 0. */
int reap_image_blocks_attach(const reap_graph *graph, reap_dataset *images, const reap_shard *shard, block_store *store,
                             int64_t count, value_block *const *blocks);

/* True if the block comes from a data set. */
bool reap_image_blocks_make(const value_block *block);

#endif
