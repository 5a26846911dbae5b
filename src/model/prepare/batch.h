/* Images of a block must not meet; private to src/model. */
#ifndef REAP_MODEL_BATCH_H
#define REAP_MODEL_BATCH_H

#include "reap/graph.h"

/* Where the images of a block lie in a value: along one axis, of which each image has `run` consecutive entries. */
typedef struct reap_image_place {
  int axis; /* -1: not known */
  int64_t run;
} reap_image_place;

/* Notes places[value] for what node `node` computes, whose shapes are known. REAP_ERR_INPUT and graph->mixes if it
 * computes anything across the images of a batch: a result would then depend on which images share a block. A block of
 * one image has none that could meet: there all is well. */
int reap_check_batch(reap_graph *graph, const reap_node *node, reap_image_place *places);

/* REAP_ERR_INPUT unless the images of all values lie one behind the other, which blocks of several rely on. */
int reap_check_blocks(const reap_graph *graph, const reap_image_place *places);

#endif
