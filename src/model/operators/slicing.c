/* Parameters of Slice, Pad, Transpose and of axes, resolved; see slicing.h. */
#include "slicing.h"

#include <string.h>

#include "reap/error.h"
#include "rules.h"

/* One axis of Slice, with ONNX's clamping: negative positions count from the end, those outside are cut off. */
static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

static void slice_axis(int64_t size, int64_t start, int64_t end, int64_t step, int64_t *first, int64_t *count) {
  bool forward = step > 0;
  if (start < 0) start = clamp(start, -size - 1, -1) + size;
  if (end < 0) end = clamp(end, -size - 1, -1) + size;
  start = forward ? clamp(start, 0, size) : clamp(start, 0, size - 1);
  end = forward ? clamp(end, 0, size) : clamp(end, -1, size - 1);
  int64_t distance = forward ? end - start : start - end;
  int64_t pace = forward ? step : -step;
  *first = start;
  *count = distance > 0 && size > 0 ? (distance - 1) / pace + 1 : 0;
}

static void whole(const reap_value *x, reap_slice *slice) {
  slice->rank = x->rank;
  for (int i = 0; i < x->rank; i++) {
    slice->start[i] = 0;
    slice->step[i] = 1;
    slice->count[i] = x->dims[i];
  }
}

/* Parts as equal as can be: only the last one may be smaller. */
static int equal_part(const reap_node *node, int64_t size, int64_t *start, int64_t *count) {
  const int64_t each = size / node->parts + (size % node->parts != 0);
  *start = each * node->part;
  *count = node->part + 1 < node->parts ? each : size - *start;
  if (*start > size || *count < 0 || *count > size - *start)
    return reap_node_error(node, "%lld entries cannot be split into %d parts", (long long)size, node->parts);
  return REAP_OK;
}

/* Part `index` by the list of all sizes. */
static int listed_part(const reap_node *node, int64_t size, int64_t n, const int64_t *sizes, int64_t index,
                       int64_t *start, int64_t *count) {
  int64_t left = size;
  for (int64_t i = 0; i < n && left >= 0; i++) {
    if (i == index) *start = size - left;
    left = sizes[i] < 0 || sizes[i] > left ? -1 : left - sizes[i];
  }
  if (left != 0 || index >= n)
    return reap_node_error(node, "its sizes do not make up the %lld entries that it has, one for each output",
                           (long long)size);
  *count = sizes[index];
  return REAP_OK;
}

/* Sizes from input 1 or, up to opset 12, from the attribute, in which the parts in front and behind are one each: see
 * reap_graph_add_node. */
static int split_resolve(const reap_graph *graph, const reap_node *node, reap_slice *slice) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *sizes;
  int64_t n;
  int axis;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  REAP_TRY(reap_node_int_list(graph, node, 1, "split", &sizes, &n));
  whole(x, slice);
  int64_t *start = &slice->start[axis], *count = &slice->count[axis];
  const bool listed = node->n_inputs > 1;
  if (listed && n != node->parts)
    return reap_node_error(node, "has %lld sizes for %d outputs", (long long)n, node->parts);
  if (n >= 0) return listed_part(node, x->dims[axis], n, sizes, listed ? node->part : 1, start, count);
  if (reap_node_int(node, "num_outputs", node->parts) != node->parts)
    return reap_node_error(node, "its num_outputs is not the number of its outputs, %d", node->parts);
  if (graph->opset < 18 && x->dims[axis] % node->parts != 0)
    return reap_node_error(node, "%lld entries cannot be split into %d equal parts", (long long)x->dims[axis],
                           node->parts);
  return equal_part(node, x->dims[axis], start, count);
}

int reap_slice_resolve(const reap_graph *graph, const reap_node *node, reap_slice *slice) {
  if (node->op->id == REAP_OP_Split) return split_resolve(graph, node, slice);
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *starts, *ends, *axes, *steps;
  int64_t n_starts, n_ends, n_axes, n_steps;
  REAP_TRY(reap_node_int_list(graph, node, 1, "starts", &starts, &n_starts));
  REAP_TRY(reap_node_int_list(graph, node, 2, "ends", &ends, &n_ends));
  REAP_TRY(reap_node_int_list(graph, node, 3, "axes", &axes, &n_axes));
  REAP_TRY(reap_node_int_list(graph, node, 4, "", &steps, &n_steps));
  if (n_starts < 0 || n_ends != n_starts || (n_axes >= 0 && n_axes != n_starts) ||
      (n_steps >= 0 && n_steps != n_starts) || n_starts > x->rank)
    return reap_node_error(node, "starts, ends, axes and steps do not have the same length");
  whole(x, slice);
  for (int64_t i = 0; i < n_starts; i++) {
    int axis = 0;
    REAP_TRY(reap_node_axis(node, n_axes >= 0 ? axes[i] : i, x->rank, &axis));
    int64_t step = n_steps >= 0 ? steps[i] : 1;
    if (step == 0 || step == INT64_MIN) return reap_node_error(node, "a step of %lld is not possible", (long long)step);
    slice_axis(x->dims[axis], starts[i], ends[i], step, &slice->start[axis], &slice->count[axis]);
    slice->step[axis] = slice->count[axis] > 1 ? step : 1; /* a single entry has no next one: any number would do */
  }
  return REAP_OK;
}

static int read_mode(const reap_node *node, reap_pad_mode *mode) {
  static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
  const char *name = reap_node_string(node, "mode", names[0]);
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) {
      *mode = (reap_pad_mode)i;
      return REAP_OK;
    }
  return reap_node_error(node, "mode = %s is not supported", name);
}

/* Most elements that can be taken from an axis. */
static int64_t most_pad(reap_pad_mode mode, int64_t size) {
  return mode == REAP_PAD_REFLECT            ? size - 1
         : mode == REAP_PAD_WRAP             ? size
         : mode == REAP_PAD_EDGE && size < 1 ? 0
                                             : INT32_MAX;
}

int reap_padding_resolve(const reap_graph *graph, const reap_node *node, reap_padding *padding) {
  const reap_value *x = reap_node_input(graph, node, 0);
  REAP_TRY(read_mode(node, &padding->mode));
  const int64_t *pads, *axes;
  int64_t n_pads, n_axes;
  REAP_TRY(reap_node_int_list(graph, node, 1, "pads", &pads, &n_pads));
  REAP_TRY(reap_node_int_list(graph, node, 3, "", &axes, &n_axes));
  int64_t n = n_axes >= 0 ? n_axes : x->rank;
  if (n_pads != 2 * n) return reap_node_error(node, "has %lld pads for %lld axes", (long long)n_pads, (long long)n);
  const reap_tensor *value = reap_node_constant(graph, node, 2);
  padding->value = value && value->count > 0 ? reap_tensor_number(value, 0) : (double)reap_node_float(node, "value", 0);
  padding->rank = x->rank;
  memset(padding->before, 0, sizeof padding->before);
  memset(padding->after, 0, sizeof padding->after);
  for (int64_t i = 0; i < n; i++) {
    int axis = 0;
    REAP_TRY(reap_node_axis(node, n_axes >= 0 ? axes[i] : i, x->rank, &axis));
    const int64_t most = most_pad(padding->mode, x->dims[axis]);
    if (pads[i] < 0 || pads[n + i] < 0 || pads[i] > most || pads[n + i] > most)
      return reap_node_error(node, "pads of %lld and %lld are not supported", (long long)pads[i],
                             (long long)pads[n + i]);
    padding->before[axis] = pads[i];
    padding->after[axis] = pads[n + i];
  }
  return REAP_OK;
}

int reap_permutation_resolve(const reap_graph *graph, const reap_node *node, int permutation[REAP_MAX_RANK]) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const reap_attribute *a = reap_node_attribute(node, "perm");
  if (a && (a->kind != REAP_ATTRIBUTE_INTS || a->count != x->rank))
    return reap_node_error(node, "perm does not have %d entries", x->rank);
  unsigned seen = 0;
  for (int i = 0; i < x->rank; i++) {
    REAP_TRY(reap_node_axis(node, a ? a->ints[i] : x->rank - 1 - i, x->rank, &permutation[i]));
    seen |= 1u << permutation[i];
  }
  if (seen != (1u << x->rank) - 1) return reap_node_error(node, "perm is not a permutation");
  return REAP_OK;
}

int reap_axis_resolve(const reap_graph *graph, const reap_node *node, int64_t fallback, int *axis) {
  return reap_node_axis(node, reap_node_int(node, "axis", fallback), reap_node_input(graph, node, 0)->rank, axis);
}

int reap_axes_resolve(const reap_graph *graph, const reap_node *node, int rank, bool mask[REAP_MAX_RANK]) {
  const int64_t *axes;
  int64_t count;
  REAP_TRY(reap_node_int_list(graph, node, 1, "axes", &axes, &count));
  const bool squeeze = node->op->id == REAP_OP_Squeeze;
  bool none = count < 0 || (count == 0 && !reap_node_int(node, "noop_with_empty_axes", 0));
  const reap_value *x = reap_node_input(graph, node, 0);
  for (int i = 0; i < rank; i++) mask[i] = none && (!squeeze || x->dims[i] == 1);
  for (int64_t i = 0; i < count; i++) {
    int axis = 0;
    REAP_TRY(reap_node_axis(node, axes[i], rank, &axis));
    mask[axis] = true;
  }
  return REAP_OK;
}
