/* Layout of values: which axis holds the channels, and how a block of images lies in memory. Local.
 *
 * Both are asked for here. Neither follows from a rank or from axis 1: a MatMul on four axes has its outputs along the
 * last one, and a Transpose moves them.
 */
#ifndef REAP_MODEL_LAYOUT_H
#define REAP_MODEL_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"

/* Axis along which `value` has the outputs of the layer that it comes from (of a network's input: axis 1); -1 where
 * there is no such axis, or where it is not known. It follows from the operators (column `layout` of operators.def)
 * and is valid after preparation. */
static inline int reap_channel_axis(const reap_value *value) { return value->channel_axis; }

/* Entries along that axis; 0 if there is none. */
int64_t reap_value_channels(const reap_value *value);

/* Axis along which BatchNormalization works by ONNX's definition, whatever lies there. */
enum { REAP_NORM_AXIS = 1 };

/* Axis of its input along which a layer (Conv, Gemm, MatMul) sums; its outputs lie along the same axis. */
int reap_linear_axis(const reap_graph *graph, const reap_node *node);

/* Strides, in elements and in ONNX's order of axes, of a value as it is stored: channels last, or row-major. Channels
 * last means [batch, height, width, channels] for axes [batch, channels, height, width], whatever these axes mean, and
 * likewise for other ranks. Most values of rank 4 are stored so, and those of other ranks that windows slide over
 * (prepare/storage.h). `dims` may be those of a constant in the order of some value. */
void reap_storage_strides(const reap_value *value, int64_t strides[REAP_MAX_RANK]);
void reap_storage_strides_of(bool row_major, int rank, const int64_t *dims, int64_t *strides);

/* True for the rank of images, whose values are stored channels last unless something speaks against it. */
static inline bool reap_has_image_rank(const reap_value *value) { return value->rank == 4; }

/* True if that is ONNX's own row-major order of axes. */
bool reap_stored_row_major(const reap_value *value);

/* True if the values' blocks have one shape and one order. */
bool reap_same_storage(const reap_value *a, const reap_value *b);

/* A block of the value with only `count` of its entries along `axis`: entries[count], ascending. `to` is not `from`. */
void reap_storage_pick(const reap_value *value, int axis, int64_t count, const int64_t *entries, const float *from,
                       float *to);

/* Where the rows of a value lie in a block. A row has the entries along one axis; there is one for each position on the
 * other axes of an image, in ONNX's row-major order of these. All zero: one row behind the other, without gaps. */
typedef struct reap_row_layout {
  int rank;                                            /* axes of the positions, outermost first; 0: no gaps */
  int64_t dims[REAP_MAX_RANK], strides[REAP_MAX_RANK]; /* strides in elements */
  int64_t step;                                        /* from one entry of a row to the next */
} reap_row_layout;

/* Rows along `axis`, of a value with `images` images. */
reap_row_layout reap_row_layout_of(const reap_value *value, int axis, int64_t images);

static inline bool reap_rows_have_gaps(const reap_row_layout *rows) { return rows->rank > 0; }
static inline int64_t reap_row_step(const reap_row_layout *rows) { return rows->rank > 0 ? rows->step : 1; }

/* Elements from the image's first to the row's first; rows have `columns` entries. */
int64_t reap_row_start(const reap_row_layout *rows, int64_t columns, int64_t position);

#endif
