/* Parameters of Gather, DepthToSpace, SpaceToDepth, Tile and TopK, resolved; shared by shapes and kernels. Local. */
#ifndef REAP_MODEL_MOVING_H
#define REAP_MODEL_MOVING_H

#include <stdbool.h>

#include "reap/graph.h"

/* DepthToSpace and SpaceToDepth: the images of one side are [batch, channels * size * size, height, width], those of
 * the other [batch, channels, height * size, width * size]. Of the former's channels, the place in a block varies
 * slower than the channel of the latter, or faster (`spread`). */
typedef struct reap_blocks {
  int64_t size, channels, height, width;
  bool spread;
} reap_blocks;

int reap_blocks_resolve(const reap_graph *graph, const reap_node *node, reap_blocks *blocks);

/* True for a Gather of all entries of its axis in their order, which does what a Reshape does: how PyTorch exports a
 * view by strides. */
bool reap_gather_keeps_order(const reap_graph *graph, const reap_node *node);

/* TopK: the axis, and how many of its entries. */
int reap_top_k_resolve(const reap_graph *graph, const reap_node *node, int *axis, int64_t *k);

/* Tile as a copy of one box: an axis that is repeated becomes two. `to` and `from` are strides of output and input. */
typedef struct reap_tiling {
  int rank;
  int64_t dims[REAP_MAX_RANK], to[REAP_MAX_RANK], from[REAP_MAX_RANK];
} reap_tiling;

/* For an output and an input with these strides along their axes. */
int reap_tiling_resolve(const reap_graph *graph, const reap_node *node, const int64_t *to, const int64_t *from,
                        reap_tiling *tiling);

#endif
