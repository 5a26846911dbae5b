/* Parameters of Slice, Split, Pad, Concat and Transpose, resolved per axis; shared by shapes, folding and kernels.
 * Local. */
#ifndef REAP_MODEL_SLICING_H
#define REAP_MODEL_SLICING_H

#include "reap/graph.h"

/* Slice: output index i along an axis reads input index start + i * step; count elements. */
typedef struct reap_slice {
  int rank;
  int64_t start[REAP_MAX_RANK], step[REAP_MAX_RANK], count[REAP_MAX_RANK];
} reap_slice;

/* Of a Slice, or of the part of a Split that the node is. From inputs (of Slice: opset 10 on) or attributes;
 * REAP_ERR_INPUT names the node. */
int reap_slice_resolve(const reap_graph *graph, const reap_node *node, reap_slice *slice);

/* What a Pad fills in: a constant, the image mirrored without its border, its border, the image from its other end. */
typedef enum reap_pad_mode { REAP_PAD_CONSTANT, REAP_PAD_REFLECT, REAP_PAD_EDGE, REAP_PAD_WRAP } reap_pad_mode;

/* Pad: elements added in front of and behind each axis; never negative, and no more than there are to be taken. */
typedef struct reap_padding {
  reap_pad_mode mode;
  int rank;
  int64_t before[REAP_MAX_RANK], after[REAP_MAX_RANK];
  double value;
} reap_padding;

/* Same; REAP_ERR_INPUT for unknown modes, negative pads, and pads that are not constant. */
int reap_padding_resolve(const reap_graph *graph, const reap_node *node, reap_padding *padding);

/* Transpose: output axis i is input axis permutation[i]. */
int reap_permutation_resolve(const reap_graph *graph, const reap_node *node, int permutation[REAP_MAX_RANK]);

/* Axis of Concat, Softmax and others, 0 .. rank-1. */
int reap_axis_resolve(const reap_graph *graph, const reap_node *node, int64_t fallback, int *axis);

/* Axes that a reduction, Squeeze or Unsqueeze names (attribute or input 1), as a mask over `rank` axes; all
 * of them (reductions) or those of length 1 (Squeeze) where none are named. */
int reap_axes_resolve(const reap_graph *graph, const reap_node *node, int rank, bool mask[REAP_MAX_RANK]);

#endif
