#include "normalisation.h"

#include "model/operators.h"
#include "reap/error.h"
#include "rules.h"
#include "slicing.h"

/* Strides of parameter `slot`, which has to be constant and to broadcast to the axes from `first` on. */
static int broadcast_parameter(const reap_graph *graph, const reap_node *node, int slot, int first,
                               const reap_normalisation *n, int64_t *strides) {
  const reap_tensor *t = reap_node_constant(graph, node, slot);
  int64_t own[REAP_MAX_RANK];
  for (int i = 0; i < n->rank; i++) strides[i] = 0;
  if (!reap_node_input(graph, node, slot)) return REAP_OK;
  if (!t || t->dtype != REAP_F32 || t->rank > n->rank - first)
    return reap_node_error(node, "its input %d is not a constant of float32 numbers for the axes from %d on", slot,
                           first);
  reap_row_major_strides(t->rank, t->dims, own);
  for (int k = 0; k < t->rank; k++) {
    const int axis = n->rank - t->rank + k;
    if (t->dims[k] != 1 && t->dims[k] != n->dims[axis])
      return reap_node_error(node, "its input %d has %lld numbers along an axis of %lld", slot, (long long)t->dims[k],
                             (long long)n->dims[axis]);
    strides[axis] = t->dims[k] == 1 ? 0 : own[k];
  }
  return REAP_OK;
}

/* Layer and RMS: over all axes from `axis` on. */
static int resolve_trailing(const reap_graph *graph, const reap_node *node, reap_normalisation *n) {
  int first;
  REAP_TRY(reap_axis_resolve(graph, node, -1, &first));
  for (int i = 0; i < n->rank; i++) n->merged[i] = i >= first;
  REAP_TRY(broadcast_parameter(graph, node, 1, first, n, n->scale));
  return broadcast_parameter(graph, node, 2, first, n, n->bias);
}

/* One number for each channel, or (GroupNormalization before opset 21) for each group. */
static int channel_parameter(const reap_graph *graph, const reap_node *node, int slot, const reap_normalisation *n,
                             int64_t channels, int64_t *strides) {
  const reap_tensor *t = reap_node_constant(graph, node, slot);
  const bool of_groups = node->op->id == REAP_OP_GroupNormalization && graph->opset < 21;
  const int64_t count = of_groups ? n->dims[1] : channels;
  if (!t || t->dtype != REAP_F32 || t->count != count)
    return reap_node_error(node, "its input %d is not a constant of %lld float32 numbers", slot, (long long)count);
  for (int i = 0; i < n->rank; i++) strides[i] = 0;
  strides[1] = n->group && !of_groups ? n->group : 1;
  if (n->group) strides[2] = !of_groups;
  return REAP_OK;
}

static int split_channels(const reap_node *node, reap_normalisation *n) {
  const int64_t groups = reap_node_int(node, "num_groups", 0), channels = n->dims[1];
  if (groups < 1 || channels % groups != 0)
    return reap_node_error(node, "%lld channels do not make %lld groups", (long long)channels, (long long)groups);
  if (n->rank == REAP_MAX_RANK) return reap_node_error(node, "an input of rank %d is not supported", n->rank);
  for (int i = n->rank++; i > 1; i--) n->dims[i] = n->dims[i - 1];
  n->dims[1] = groups;
  n->dims[2] = n->group = channels / groups;
  return REAP_OK;
}

static int resolve_channels(const reap_graph *graph, const reap_node *node, reap_normalisation *n) {
  if (n->rank < 3) return reap_node_error(node, "its input of rank %d has no axes behind the channels", n->rank);
  const int64_t channels = n->dims[1];
  if (node->op->id == REAP_OP_GroupNormalization) REAP_TRY(split_channels(node, n));
  for (int i = 0; i < n->rank; i++) n->merged[i] = i >= 2;
  REAP_TRY(channel_parameter(graph, node, 1, n, channels, n->scale));
  return channel_parameter(graph, node, 2, n, channels, n->bias);
}

int reap_normalisation_resolve(const reap_graph *graph, const reap_node *node, reap_normalisation *n) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const reap_operator_id op = node->op->id;
  *n = (reap_normalisation){
      .rank = x->rank, .centred = op != REAP_OP_RMSNormalization, .epsilon = reap_node_float(node, "epsilon", 1e-5f)};
  for (int i = 0; i < x->rank; i++) n->dims[i] = x->dims[i];
  return op == REAP_OP_LayerNormalization || op == REAP_OP_RMSNormalization ? resolve_trailing(graph, node, n)
                                                                            : resolve_channels(graph, node, n);
}

bool reap_normalises_as_one(const reap_graph *graph, const reap_node *node) {
  return node->op->id == REAP_OP_GroupNormalization
             ? reap_node_int(node, "num_groups", 0) == 1
             : node->op->id == REAP_OP_InstanceNormalization && reap_node_input(graph, node, 0)->dims[1] == 1;
}

static bool sums(reap_operator_id id) {
  return id == REAP_OP_ReduceMean || id == REAP_OP_ReduceSum || id == REAP_OP_ReduceSumSquare ||
         id == REAP_OP_ReduceL1 || id == REAP_OP_ReduceL2;
}

bool reap_normalises_over(const reap_graph *graph, const reap_node *node, int axis) {
  const reap_operator_id id = node->op->id;
  int first;
  if (id == REAP_OP_LayerNormalization || id == REAP_OP_RMSNormalization)
    return reap_axis_resolve(graph, node, -1, &first) == REAP_OK && axis >= first;
  bool over[REAP_MAX_RANK];
  if (sums(id))
    return reap_axes_resolve(graph, node, reap_node_input(graph, node, 0)->rank, over) == REAP_OK && over[axis];
  return reap_normalises_as_one(graph, node);
}

int reap_shape_normalisation(reap_graph *graph, reap_node *node) {
  reap_normalisation n;
  REAP_TRY(reap_normalisation_resolve(graph, node, &n));
  return reap_shape_same(graph, node);
}
