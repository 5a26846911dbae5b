/* A linear layer as the method sees it: rows of patches times a matrix of weights. Local. */
#ifndef REAP_MODEL_LAYER_H
#define REAP_MODEL_LAYER_H

#include <stdbool.h>

#include "geometry.h"
#include "layout.h"
#include "model/operators.h"
#include "reap/graph.h"

/* X [samples, n], n = channels * block, column = channel * block + t; Y [samples, m]. A sample is an output position
 * of an image: (oy, ox) of a convolution, a row of a matrix product: the axes in front of the last one in ONNX's
 * row-major order. */
typedef struct reap_layer {
  int node;
  int input, output; /* values of the graph */
  bool convolution;
  reap_window window; /* of a convolution */
  int64_t channels;   /* input channels: entries that leave together */
  int64_t block;      /* columns per channel: kernel_y * kernel_x, height * width behind a Flatten, or 1 */
  int64_t n, m;
  int64_t groups;    /* of a convolution, else 1. With several every m / groups outputs have n columns of their own:
                        channels    and n are those of a group, m is of them all */
  int64_t positions; /* per image */
  reap_row_layout rows_x, rows_y; /* where the rows of a matrix product lie in a block; a convolution's outputs
                                     have no gaps, and its inputs are not rows */
} reap_layer;

/* View of linear node `node`; `channels` is the number of channels its input has (for a matrix product behind a
 * Flatten fewer than columns; of a grouped convolution those of a group). */
int reap_layer_view(const reap_graph *graph, int node, int64_t channels, reap_layer *layer);

/* One group of it, any, as a layer by itself, whose input and output have that group's channels alone. */
reap_layer reap_layer_group(const reap_layer *layer);

/* True for a convolution, false for a matrix product; of a layer. */
static inline bool reap_is_convolution(const reap_node *node) { return node->op->id == REAP_OP_Conv; }

/* A batch normalisation that stands by itself: input 1 holds its scales. */
static inline bool reap_is_batch_norm(const reap_node *node) { return node->op->id == REAP_OP_BatchNormalization; }

/* Weights in computation form: of each output, the input channels of its group or the columns of a matrix. */
static inline int64_t reap_weights_inputs(const reap_tensor *weights) { return weights->dims[1]; }

/* Input channels of a layer that is no grouped convolution. Of a matrix product they are those of the images that a
 * Flatten made columns of, else the columns. */
int64_t reap_layer_channels(const reap_graph *graph, const reap_node *node);

#endif
