/* Channel axes, one rule per entry of the column `layout` of operators.def, and the storage order of blocks; see
 * layout.h.
 *
 * Rules run right behind the shape rules, in topological order, and may take parameters for resolved that a shape
 * rule has accepted. A rule gives the axis of output 0, or -1.
 */
#include "layout.h"

#include <string.h>

#include "layout_rules.h"
#include "model/operators.h"
#include "reap/error.h"
#include "rules.h"
#include "slicing.h"

int64_t reap_value_channels(const reap_value *value) {
  return value->channel_axis < 0 ? 0 : value->dims[value->channel_axis];
}

/* ---------------------------------------------------------------- channel axes */

static int axis_of(const reap_graph *graph, const reap_node *node, int slot) {
  const reap_value *x = reap_node_input(graph, node, slot);
  return x && !x->constant ? x->channel_axis : -1;
}

void reap_layout_input(reap_value *value) { value->channel_axis = value->rank >= 2 ? 1 : -1; }

int reap_layout_none(const reap_graph *graph, const reap_node *node) {
  (void)graph;
  (void)node;
  return -1;
}

int reap_layout_second(const reap_graph *graph, const reap_node *node) {
  (void)graph;
  (void)node;
  return 1;
}

int reap_layout_product(const reap_graph *graph, const reap_node *node) {
  return node->linear || reap_multiplies_weights(graph, node) ? reap_node_output(graph, node, 0)->rank - 1 : -1;
}

int reap_layout_same(const reap_graph *graph, const reap_node *node) { return axis_of(graph, node, 0); }

/* Windows lie over all axes from the third on. */
int reap_layout_windows(const reap_graph *graph, const reap_node *node) {
  const int axis = axis_of(graph, node, 0);
  return axis < 2 ? axis : -1;
}

/* Axes count from the last one, as ONNX broadcasts. What is constant has no say. */
int reap_layout_joined(const reap_graph *graph, const reap_node *node) {
  const int rank = reap_node_output(graph, node, 0)->rank;
  int found = -1;
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_value *x = reap_node_input(graph, node, k);
    if (!x || x->constant) continue;
    if (x->channel_axis < 0) return -1;
    const int axis = x->channel_axis + rank - x->rank;
    if (found >= 0 && axis != found) return -1;
    found = axis;
  }
  return found;
}

int reap_axis_reduced(const reap_graph *graph, const reap_node *node, int axis) {
  const int rank = reap_node_input(graph, node, 0)->rank;
  bool gone[REAP_MAX_RANK];
  if (axis < 0 || reap_axes_resolve(graph, node, rank, gone) != REAP_OK || gone[axis]) return -1;
  const bool kept = rank == reap_node_output(graph, node, 0)->rank;
  int out = axis;
  for (int i = 0; i < axis && !kept; i++) out -= gone[i];
  return out;
}

int reap_layout_reduced(const reap_graph *graph, const reap_node *node) {
  return reap_axis_reduced(graph, node, axis_of(graph, node, 0));
}

/* The first axis that is flattened varies slowest: its entries become runs of columns. Those of others scatter. */
int reap_layout_flattened(const reap_graph *graph, const reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  return axis_of(graph, node, 0) == 1 && y->dims[0] == x->dims[0] ? 1 : -1;
}

static int64_t elements_behind(const reap_value *value, int axis) {
  int64_t count = 1;
  for (int i = axis + 1; i < value->rank; i++) count *= value->dims[i];
  return count;
}

/* The same numbers in row-major order: the axis is still there if one is as long and has as many elements behind it. */
int reap_layout_reshaped(const reap_graph *graph, const reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  const int axis = axis_of(graph, node, 0);
  for (int i = 1; axis >= 0 && i < y->rank; i++)
    if (y->dims[i] == x->dims[axis] && elements_behind(y, i) == elements_behind(x, axis)) return i;
  return -1;
}

int reap_layout_permuted(const reap_graph *graph, const reap_node *node) {
  const int axis = axis_of(graph, node, 0);
  int permutation[REAP_MAX_RANK];
  if (axis < 0 || reap_permutation_resolve(graph, node, permutation) != REAP_OK) return -1;
  for (int i = 0; i < reap_node_output(graph, node, 0)->rank; i++)
    if (permutation[i] == axis) return i;
  return -1;
}

/* The axis that is picked from becomes those of the indices. */
int reap_layout_gathered(const reap_graph *graph, const reap_node *node) {
  const int found = axis_of(graph, node, 0);
  const reap_value *index = reap_node_input(graph, node, 1);
  int axis;
  if (found < 0 || reap_axis_resolve(graph, node, 0, &axis) != REAP_OK) return -1;
  if (found == axis) return index->rank == 1 ? axis : -1;
  return found < axis ? found : found + index->rank - 1;
}

int reap_layout_expanded(const reap_graph *graph, const reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  const int found = axis_of(graph, node, 0), axis = found + y->rank - x->rank;
  return found >= 0 && x->dims[found] == y->dims[axis] ? axis : -1;
}

/* ---------------------------------------------------------------- storage */

bool reap_stored_row_major(const reap_value *value) { return !value->channels_last; }

void reap_storage_strides_of(bool row_major, int rank, const int64_t *dims, int64_t *strides) {
  if (row_major || rank < 3) {
    reap_row_major_strides(rank, dims, strides);
    return;
  }
  int64_t step = dims[1];
  strides[1] = 1;
  for (int i = rank - 1; i >= 0; i--) {
    if (i == 1) continue;
    strides[i] = step;
    step *= dims[i];
  }
}

void reap_storage_strides(const reap_value *value, int64_t strides[REAP_MAX_RANK]) {
  reap_storage_strides_of(reap_stored_row_major(value), value->rank, value->dims, strides);
}

bool reap_same_storage(const reap_value *a, const reap_value *b) {
  return reap_same_dims(a->rank, a->dims, b->rank, b->dims) && reap_stored_row_major(a) == reap_stored_row_major(b);
}

static void pick(float *restrict to, const float *restrict from, int64_t rows, int64_t width, int64_t count,
                 const int64_t *restrict entries) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < count; k++) to[r * count + k] = from[r * width + entries[k]];
}

void reap_storage_pick(const reap_value *value, int axis, int64_t count, const int64_t *entries, const float *from,
                       float *to) {
  int64_t strides[REAP_MAX_RANK];
  reap_storage_strides(value, strides);
  const int64_t inner = strides[axis], width = value->dims[axis], outer = reap_value_count(value) / (inner * width);
  if (inner == 1) pick(to, from, outer, width, count, entries);
  for (int64_t o = 0; o < outer && inner > 1; o++)
    for (int64_t k = 0; k < count; k++)
      memcpy(to + (o * count + k) * inner, from + (o * width + entries[k]) * inner, (size_t)inner * sizeof(float));
}

/* ---------------------------------------------------------------- rows */

reap_row_layout reap_row_layout_of(const reap_value *value, int axis, int64_t images) {
  reap_row_layout rows = {.rank = 0};
  int64_t strides[REAP_MAX_RANK], inner = value->dims[axis];
  reap_storage_strides(value, strides);
  bool gaps = value->dims[axis] > 1 && strides[axis] != 1;
  for (int i = 0; i < value->rank; i++) {
    if (i == axis) continue;
    rows.dims[rows.rank] = i == 0 ? value->dims[0] / images : value->dims[i];
    rows.strides[rows.rank++] = strides[i];
  }
  for (int i = rows.rank - 1; i >= 0; inner *= rows.dims[i--])
    gaps = gaps || (rows.dims[i] > 1 && rows.strides[i] != inner);
  rows.step = strides[axis];
  return gaps ? rows : (reap_row_layout){.rank = 0};
}

int64_t reap_row_start(const reap_row_layout *rows, int64_t columns, int64_t position) {
  int64_t start = 0;
  if (rows->rank == 0) return position * columns;
  for (int i = rows->rank - 1; i >= 0; i--) {
    start += position % rows->dims[i] * rows->strides[i];
    position /= rows->dims[i];
  }
  return start;
}
