/* Images of a block must not meet; private to src/model. */
#ifndef REAP_MODEL_BATCH_H
#define REAP_MODEL_BATCH_H

#include "reap/graph.h"

/* REAP_ERR_INPUT if node `node`, whose shapes are known, computes anything across the images of a batch: a result would
 * then depend on which images share a block. */
int reap_check_batch(const reap_graph *graph, const reap_node *node);

#endif
