/* Shape rules of operators.def: shapes and types of a node's outputs from those of its inputs. */
#include <string.h>

#include "geometry.h"
#include "layout.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"
#include "slicing.h"

int reap_shape_same(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  return reap_set_shape(graph, node, 0, x->dtype, x->rank, x->dims);
}

/* ONNX's codes of the float types: 1 float32, 10 float16, 11 float64, 16 bfloat16. */
static bool is_real(const reap_node *node) {
  int64_t to = reap_node_int(node, "to", 0);
  return to == 1 || to == 10 || to == 11 || to == 16;
}

int reap_shape_cast(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  return reap_set_shape(graph, node, 0, is_real(node) ? REAP_F32 : REAP_I64, x->rank, x->dims);
}

static int trains(const reap_node *node, const char *what) {
  return reap_node_error(node, "is in training mode, in which it %s; export it for inference (PyTorch: model.eval())",
                         what);
}

/* With training_mode (from opset 12 on) elements are dropped at random. */
int reap_shape_dropout(reap_graph *graph, reap_node *node) {
  const reap_tensor *ratio = reap_node_constant(graph, node, 1), *training = reap_node_constant(graph, node, 2);
  if (reap_node_input(graph, node, 2)) {
    if (!training || training->count != 1) return reap_node_error(node, "its training_mode is not a constant");
    const bool drops = !ratio || ratio->count != 1 || reap_tensor_number(ratio, 0) != 0;
    if (drops && reap_tensor_number(training, 0) != 0) return trains(node, "drops numbers at random");
  }
  return reap_shape_same(graph, node);
}

int reap_shape_norm(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  if (x->rank < 2) return reap_node_error(node, "its input has no channels");
  if (reap_norm_trains(graph, node) && !x->constant) return trains(node, "normalises by the images of a batch");
  for (int slot = 1; slot < 5; slot++) {
    const reap_tensor *t = reap_node_constant(graph, node, slot);
    if (!t || t->dtype != REAP_F32 || t->count != x->dims[REAP_NORM_AXIS])
      return reap_node_error(node, "its input %d is not a constant with one number for each of %lld channels", slot,
                             (long long)x->dims[REAP_NORM_AXIS]);
  }
  return reap_shape_same(graph, node);
}

/* Images [batch, channels, ...] of the input's rank. */
static int set_images(reap_graph *graph, const reap_node *node, int64_t channels, const int64_t sizes[3]) {
  const reap_value *x = reap_node_input(graph, node, 0);
  int64_t dims[REAP_MAX_RANK];
  reap_window_dims(x->dims[0], channels, sizes, x->rank, dims);
  return reap_set_shape(graph, node, 0, REAP_F32, x->rank, dims);
}

int reap_shape_conv(reap_graph *graph, reap_node *node) {
  reap_window w;
  REAP_TRY(reap_conv_window(graph, node, &w));
  return set_images(graph, node, w.outputs, (const int64_t[]){w.out_depth, w.out_height, w.out_width});
}

int reap_shape_conv_transposed(reap_graph *graph, reap_node *node) {
  reap_window w;
  REAP_TRY(reap_transposed_window(graph, node, &w));
  const reap_tensor *weights = reap_node_constant(graph, node, 1), *bias = reap_node_constant(graph, node, 2);
  if (!weights || weights->dtype != REAP_F32 || reap_node_constant(graph, node, 0))
    return reap_node_error(node, "its weights are not constant float32 numbers, or its input is");
  if (reap_node_input(graph, node, 2) && (!bias || bias->dtype != REAP_F32 || bias->count != w.channels))
    return reap_node_error(node, "its bias is not a constant vector of %lld numbers", (long long)w.channels);
  return set_images(graph, node, w.channels, (const int64_t[]){w.depth, w.height, w.width});
}

int reap_shape_pool(reap_graph *graph, reap_node *node) {
  reap_window w;
  REAP_TRY(reap_pool_window(graph, node, &w));
  return set_images(graph, node, w.outputs, (const int64_t[]){w.out_depth, w.out_height, w.out_width});
}

int reap_shape_lrn(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t size = reap_node_int(node, "size", 0);
  if (x->rank < 2) return reap_node_error(node, "its input has no channels");
  if (size < 1) return reap_node_error(node, "size = %lld is not possible", (long long)size);
  return reap_shape_same(graph, node);
}

int reap_shape_global_pool(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  if (x->rank < 3) return reap_node_error(node, "its input has rank %d; there is nothing to pool over", x->rank);
  int64_t dims[REAP_MAX_RANK] = {x->dims[0], x->dims[1]};
  for (int i = 2; i < x->rank; i++) dims[i] = 1;
  return reap_set_shape(graph, node, 0, REAP_F32, x->rank, dims);
}

/* Linear layers that were collected have weights [m, n]; before that they are as in the file. */
int reap_shape_gemm(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0), *w = reap_node_input(graph, node, 1);
  if (x->rank != 2 || w->rank != 2)
    return reap_node_error(node, "its inputs are not matrices (rank %d and %d)", x->rank, w->rank);
  if (reap_node_int(node, "transA", 0)) return reap_node_error(node, "transA is not supported");
  bool by_output = node->linear || reap_node_int(node, "transB", 0);
  int64_t n = by_output ? w->dims[1] : w->dims[0], m = by_output ? w->dims[0] : w->dims[1];
  if (x->dims[1] != n)
    return reap_node_error(node, "its weights are for %lld inputs, it has %lld", (long long)n, (long long)x->dims[1]);
  const int64_t dims[] = {x->dims[0], m};
  return reap_set_shape(graph, node, 0, REAP_F32, 2, dims);
}

/* With a matrix of weights, a layer: these are as for Gemm. Else a product of stacks of matrices. */
int reap_shape_matmul(reap_graph *graph, reap_node *node) {
  const reap_value *a = reap_node_input(graph, node, 0), *b = reap_node_input(graph, node, 1);
  if (a->rank < 2 || b->rank < 2)
    return reap_node_error(node, "its inputs are not matrices (rank %d and %d)", a->rank, b->rank);
  if (a->dtype != REAP_F32 || b->dtype != REAP_F32) return reap_node_error(node, "multiplies matrices of integers");
  int64_t n = node->linear ? b->dims[1] : b->dims[b->rank - 2], m = b->dims[node->linear ? 0 : b->rank - 1];
  if (a->dims[a->rank - 1] != n)
    return reap_node_error(node, "its weights are for %lld inputs, it has %lld", (long long)n,
                           (long long)a->dims[a->rank - 1]);
  int rank;
  int64_t dims[REAP_MAX_RANK];
  REAP_TRY(reap_broadcast_dims(node, a->rank - 2, a->dims, b->rank - 2, b->dims, &rank, dims));
  dims[rank] = a->dims[a->rank - 2];
  dims[rank + 1] = m;
  return reap_set_shape(graph, node, 0, REAP_F32, rank + 2, dims);
}

int reap_shape_broadcast(reap_graph *graph, reap_node *node) {
  const reap_value *a = reap_node_input(graph, node, 0), *b = reap_node_input(graph, node, 1);
  int rank;
  int64_t dims[REAP_MAX_RANK];
  if (a->dtype != b->dtype && node->op->id != REAP_OP_Pow)
    return reap_node_error(node, "its inputs have different types");
  if (a->dtype == REAP_I64 && !(a->constant && b->constant))
    return reap_node_error(node, "computes integers from the images, which is not supported");
  REAP_TRY(reap_broadcast_dims(node, a->rank, a->dims, b->rank, b->dims, &rank, dims));
  return reap_set_shape(graph, node, 0, a->dtype, rank, dims);
}

int reap_shape_reduce(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  bool mask[REAP_MAX_RANK], keep = reap_node_int(node, "keepdims", 1) != 0;
  int64_t dims[REAP_MAX_RANK];
  int rank = 0;
  REAP_TRY(reap_axes_resolve(graph, node, x->rank, mask));
  for (int i = 0; i < x->rank; i++)
    if (!mask[i] || keep) dims[rank++] = mask[i] ? 1 : x->dims[i];
  return reap_set_shape(graph, node, 0, x->dtype, rank, dims);
}

int reap_shape_concat(reap_graph *graph, reap_node *node) {
  const reap_value *first = reap_node_input(graph, node, 0);
  int axis;
  int64_t dims[REAP_MAX_RANK];
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  memcpy(dims, first->dims, sizeof dims);
  for (int k = 1; k < node->n_inputs; k++) {
    const reap_value *x = reap_node_input(graph, node, k);
    bool fits = x && x->rank == first->rank && x->dtype == first->dtype;
    for (int i = 0; fits && i < first->rank; i++)
      if (i != axis && x->dims[i] != first->dims[i]) fits = false;
    if (!fits)
      return reap_node_error(node, "its inputs 0 and %d cannot be put behind each other along axis %d", k, axis);
    if (__builtin_add_overflow(dims[axis], x->dims[axis], &dims[axis]))
      return reap_node_error(node, "its output is out of range");
  }
  return reap_set_shape(graph, node, 0, first->dtype, first->rank, dims);
}

int reap_shape_slice(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  reap_slice slice;
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  return reap_set_shape(graph, node, 0, x->dtype, x->rank, slice.count);
}

int reap_shape_pad(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  reap_padding padding;
  int64_t dims[REAP_MAX_RANK];
  REAP_TRY(reap_padding_resolve(graph, node, &padding));
  for (int i = 0; i < x->rank; i++) dims[i] = x->dims[i] + padding.before[i] + padding.after[i];
  return reap_set_shape(graph, node, 0, x->dtype, x->rank, dims);
}

int reap_shape_flatten(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  int64_t axis = reap_node_int(node, "axis", 1), dims[2] = {1, 1};
  if (axis < -x->rank || axis > x->rank)
    return reap_node_error(node, "axis %lld is outside its input", (long long)axis);
  if (axis < 0) axis += x->rank;
  REAP_TRY(reap_product(x->dims, (int)axis, &dims[0]));
  REAP_TRY(reap_product(x->dims + axis, x->rank - (int)axis, &dims[1]));
  return reap_set_shape(graph, node, 0, x->dtype, 2, dims);
}

int reap_shape_reshape(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *wanted;
  int64_t rank, dims[REAP_MAX_RANK], total = 0, known = 1;
  REAP_TRY(reap_node_int_list(graph, node, 1, "shape", &wanted, &rank));
  if (rank < 0 || rank > REAP_MAX_RANK) return reap_node_error(node, "its new shape is missing or has too high a rank");
  REAP_TRY(reap_product(x->dims, x->rank, &total));
  int inferred = -1;
  bool overflow = false;
  for (int i = 0; i < rank && !overflow; i++) {
    dims[i] = wanted[i];
    if (wanted[i] == 0 && !reap_node_int(node, "allowzero", 0)) {
      if (i >= x->rank) return reap_node_error(node, "its new shape copies an axis that the input does not have");
      dims[i] = x->dims[i];
    }
    if (dims[i] < -1 || (dims[i] == -1 && inferred >= 0)) return reap_node_error(node, "its new shape is not valid");
    if (dims[i] == -1)
      inferred = i;
    else
      overflow |= reap_multiply(known, dims[i], &known) != REAP_OK;
  }
  if (overflow) return reap_node_error(node, "its new shape is out of range");
  if (inferred >= 0) dims[inferred] = known > 0 ? total / known : 0;
  if (inferred >= 0 ? known * dims[inferred] != total : known != total)
    return reap_node_error(node, "%lld elements do not fit its new shape", (long long)total);
  return reap_set_shape(graph, node, 0, x->dtype, (int)rank, dims);
}

int reap_shape_squeeze(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  bool mask[REAP_MAX_RANK];
  int64_t dims[REAP_MAX_RANK];
  int rank = 0;
  REAP_TRY(reap_axes_resolve(graph, node, x->rank, mask));
  for (int i = 0; i < x->rank; i++) {
    if (mask[i] && x->dims[i] != 1)
      return reap_node_error(node, "axis %d has length %lld, not 1", i, (long long)x->dims[i]);
    if (!mask[i]) dims[rank++] = x->dims[i];
  }
  return reap_set_shape(graph, node, 0, x->dtype, rank, dims);
}

int reap_shape_unsqueeze(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *axes;
  int64_t count, dims[REAP_MAX_RANK];
  bool mask[REAP_MAX_RANK] = {false};
  REAP_TRY(reap_node_int_list(graph, node, 1, "axes", &axes, &count));
  if (count < 1 || x->rank + count > REAP_MAX_RANK) return reap_node_error(node, "its axes are missing or too many");
  int rank = x->rank + (int)count, next = 0;
  for (int64_t i = 0; i < count; i++) {
    int axis;
    REAP_TRY(reap_node_axis(node, axes[i], rank, &axis));
    if (mask[axis]) return reap_node_error(node, "axis %d is named twice", axis);
    mask[axis] = true;
  }
  for (int i = 0; i < rank; i++) dims[i] = mask[i] ? 1 : x->dims[next++];
  return reap_set_shape(graph, node, 0, x->dtype, rank, dims);
}

int reap_shape_transpose(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  int permutation[REAP_MAX_RANK];
  int64_t dims[REAP_MAX_RANK];
  REAP_TRY(reap_permutation_resolve(graph, node, permutation));
  for (int i = 0; i < x->rank; i++) dims[i] = x->dims[permutation[i]];
  return reap_set_shape(graph, node, 0, x->dtype, x->rank, dims);
}
