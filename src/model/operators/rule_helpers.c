/* What shape and folding rules share: parameters, output shapes; see rules.h. */
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"

int reap_set_shape(reap_graph *graph, const reap_node *node, int slot, reap_dtype dtype, int rank,
                   const int64_t *dims) {
  reap_value *v = reap_node_output(graph, node, slot);
  if (!v) return REAP_OK;
  if (rank > REAP_MAX_RANK)
    return reap_node_error(node, "its output has rank %d; at most %d is supported", rank, REAP_MAX_RANK);
  int64_t bytes = (int64_t)sizeof(double);
  for (int i = 0; i < rank; i++)
    if (dims[i] < 0 || reap_multiply(bytes, dims[i], &bytes) != REAP_OK)
      return reap_node_error(node, "the shape of its output is out of range");
  v->dtype = dtype;
  v->rank = rank;
  for (int i = 0; i < rank; i++) v->dims[i] = dims[i];
  v->known = true;
  return REAP_OK;
}

int reap_node_int_list(const reap_graph *graph, const reap_node *node, int slot, const char *attribute,
                       const int64_t **list, int64_t *count) {
  *count = -1;
  *list = NULL;
  const reap_value *v = reap_node_input(graph, node, slot);
  if (v) {
    if (!v->constant || v->constant->dtype != REAP_I64 || v->constant->rank > 1)
      return reap_node_error(node, "its input \"%s\" is not a constant list of integers", v->name);
    *list = v->constant->i64;
    *count = v->constant->count;
    return REAP_OK;
  }
  const reap_attribute *a = reap_node_attribute(node, attribute);
  if (!a) return REAP_OK;
  if (a->kind != REAP_ATTRIBUTE_INTS)
    return reap_node_error(node, "its attribute %s is not a list of integers", attribute);
  *list = a->ints;
  *count = a->count;
  return REAP_OK;
}

int reap_node_axis(const reap_node *node, int64_t axis, int rank, int *out) {
  if (axis < -rank || axis >= rank)
    return reap_node_error(node, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return REAP_OK;
}

int reap_broadcast_dims(const reap_node *node, int rank_a, const int64_t *a, int rank_b, const int64_t *b, int *rank,
                        int64_t *dims) {
  *rank = rank_a > rank_b ? rank_a : rank_b;
  for (int i = 1; i <= *rank; i++) {
    int64_t da = i <= rank_a ? a[rank_a - i] : 1, db = i <= rank_b ? b[rank_b - i] : 1;
    if (da != db && da != 1 && db != 1)
      return reap_node_error(node, "shapes do not fit: %lld and %lld along an axis", (long long)da, (long long)db);
    dims[*rank - i] = da == 1 ? db : da;
  }
  return REAP_OK;
}

bool reap_multiplies_weights(const reap_graph *graph, const reap_node *node) {
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  if (node->op->id != REAP_OP_MatMul) return node->op->channels == REAP_CHANNELS_LINEAR;
  return weights && weights->rank == 2 && !reap_node_constant(graph, node, 0);
}
