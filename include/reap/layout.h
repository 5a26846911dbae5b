/* Layout of values: which axis holds the channels, and how a block of images lies in memory. Local.
 *
 * Whoever needs either asks here. Neither follows from a rank or from axis 1: a MatMul on four axes has its outputs
 * along the last one, a Transpose moves them.
 */
#ifndef REAP_LAYOUT_H
#define REAP_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"

/* Axis along which `value` has the outputs of the layer that it comes from (of a network's input: axis 1); -1 where there
 * is no such axis, or where it is not known. It follows from the operators (column `layout` of operators.def) and is valid
 * after preparation. */
static inline int reap_channel_axis(const reap_value *value) { return value->channel_axis; }

/* Entries along that axis; 0 if there is none. */
int64_t reap_value_channels(const reap_value *value);

/* Axis of its input along which a layer (Conv, Gemm, MatMul) sums. Its outputs lie along the same axis of its output. */
int reap_linear_axis(const reap_graph *graph, const reap_node *node);

/* Strides, in elements and in ONNX's order of axes, of a value as it is stored: values of rank 4 channels last ([batch,
 * height, width, channels] for axes [batch, channels, height, width], whatever these axes mean), all others row-major. */
void reap_storage_strides(const reap_value *value, int64_t strides[REAP_MAX_RANK]);
void reap_storage_strides_of(int rank, const int64_t *dims, int64_t *strides);

/* True if that is ONNX's own row-major order of axes. */
bool reap_stored_row_major(const reap_value *value);

#endif
