/* Blocks of input images, read from their data set when they are needed; private to src/exec. Local. */
#ifndef REAP_EXEC_IMAGE_BLOCKS_H
#define REAP_EXEC_IMAGE_BLOCKS_H

#include <stdbool.h>

#include "block_store.h"
#include "reap/dataset.h"
#include "reap/graph.h"
#include "shard.h"

/* What the graph's input `input` (0, 1, ...) is given of images [first, first + count), in the order in which the graph
 * stores it. */
int reap_images_read(const reap_graph *graph, int input, reap_dataset *images, int64_t first, int64_t count, float *to);

/* Elements of that for one image. */
int64_t reap_images_size(const reap_graph *graph, int input);

/* Gives blocks[count] of that input, block k being block shard->first + k of all, a maker that reads them; `images` is
 * borrowed. */
int reap_image_blocks_attach(const reap_graph *graph, int input, reap_dataset *images, const reap_shard *shard,
                             block_store *store, int64_t count, value_block *const *blocks);

/* True if the block comes from a data set. */
bool reap_image_blocks_make(const value_block *block);

#endif
