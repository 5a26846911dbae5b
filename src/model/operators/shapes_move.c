/* Shape rules of operators that move, repeat, pick or compare numbers; see rules.h. */
#include <string.h>

#include "model/operators.h"
#include "moving.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"
#include "slicing.h"

int reap_shape_gather(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0), *index = reap_node_input(graph, node, 1);
  int axis, rank = 0;
  int64_t dims[2 * REAP_MAX_RANK];
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  if (!index->constant || index->dtype != REAP_I64)
    return reap_node_error(node, "its indices are not constant integers, which is not supported");
  for (int i = 0; i < axis; i++) dims[rank++] = x->dims[i];
  for (int i = 0; i < index->rank; i++) dims[rank++] = index->dims[i];
  for (int i = axis + 1; i < x->rank; i++) dims[rank++] = x->dims[i];
  const int64_t length = x->dims[axis];
  for (int64_t k = 0; k < index->constant->count; k++)
    if (index->constant->i64[k] < -length || index->constant->i64[k] >= length)
      return reap_node_error(node, "index %lld is outside axis %d", (long long)index->constant->i64[k], axis);
  return reap_set_shape(graph, node, 0, x->dtype, rank, dims);
}

bool reap_gather_keeps_order(const reap_graph *graph, const reap_node *node) {
  const reap_tensor *index = reap_node_constant(graph, node, 1);
  int axis;
  if (reap_axis_resolve(graph, node, 0, &axis) != REAP_OK) return false;
  bool keeps = index->count == reap_node_input(graph, node, 0)->dims[axis];
  for (int64_t k = 0; keeps && k < index->count; k++) keeps = index->i64[k] == k;
  return keeps;
}

int reap_shape_expand(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *shape;
  int64_t count, dims[REAP_MAX_RANK];
  int rank;
  REAP_TRY(reap_node_int_list(graph, node, 1, "", &shape, &count));
  if (count < 0 || count > REAP_MAX_RANK) return reap_node_error(node, "its shape is missing or has too high a rank");
  for (int64_t i = 0; i < count; i++)
    if (shape[i] < 0) return reap_node_error(node, "its shape has the entry %lld", (long long)shape[i]);
  REAP_TRY(reap_broadcast_dims(node, x->rank, x->dims, (int)count, shape, &rank, dims));
  return reap_set_shape(graph, node, 0, x->dtype, rank, dims);
}

int reap_shape_tile(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *repeats;
  int64_t count, dims[REAP_MAX_RANK];
  REAP_TRY(reap_node_int_list(graph, node, 1, "", &repeats, &count));
  if (count != x->rank) return reap_node_error(node, "does not have one repeat for each of %d axes", x->rank);
  for (int i = 0; i < x->rank; i++)
    if (repeats[i] < 0 || reap_multiply(x->dims[i], repeats[i], &dims[i]) != REAP_OK)
      return reap_node_error(node, "its repeat %lld is out of range", (long long)repeats[i]);
  return reap_set_shape(graph, node, 0, x->dtype, x->rank, dims);
}

static void add_axis(reap_tiling *t, int64_t count, int64_t to, int64_t from) {
  if (count == 1) return;
  if (t->rank < REAP_MAX_RANK) {
    t->dims[t->rank] = count;
    t->to[t->rank] = to;
    t->from[t->rank] = from;
  }
  t->rank++;
}

int reap_tiling_resolve(const reap_graph *graph, const reap_node *node, const int64_t *to, const int64_t *from,
                        reap_tiling *t) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *repeats;
  int64_t count;
  REAP_TRY(reap_node_int_list(graph, node, 1, "", &repeats, &count));
  t->rank = 0;
  for (int i = 0; i < x->rank; i++) {
    add_axis(t, repeats[i], x->dims[i] * to[i], 0);
    add_axis(t, x->dims[i], to[i], from[i]);
  }
  if (t->rank > REAP_MAX_RANK) return reap_node_error(node, "repeats too many axes");
  return REAP_OK;
}

int reap_blocks_resolve(const reap_graph *graph, const reap_node *node, reap_blocks *b) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const bool deep = node->op->id == REAP_OP_DepthToSpace;
  const char *mode = deep ? reap_node_string(node, "mode", "DCR") : "DCR";
  b->size = reap_node_int(node, "blocksize", 0);
  b->spread = strcmp(mode, "CRD") == 0;
  if (x->rank != 4) return reap_node_error(node, "its input has rank %d; only images are supported", x->rank);
  if (!b->spread && strcmp(mode, "DCR") != 0) return reap_node_error(node, "mode = %s is not known", mode);
  int64_t area = 0;
  if (b->size < 1 || reap_multiply(b->size, b->size, &area) != REAP_OK ||
      (deep ? x->dims[1] % area : x->dims[2] % b->size + x->dims[3] % b->size) != 0)
    return reap_node_error(node, "blocksize = %lld does not divide its input", (long long)b->size);
  b->channels = deep ? x->dims[1] / area : x->dims[1];
  b->height = deep ? x->dims[2] : x->dims[2] / b->size;
  b->width = deep ? x->dims[3] : x->dims[3] / b->size;
  return REAP_OK;
}

int reap_shape_blocks(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const bool deep = node->op->id == REAP_OP_DepthToSpace;
  reap_blocks b;
  REAP_TRY(reap_blocks_resolve(graph, node, &b));
  int64_t dims[] = {x->dims[0], b.channels, b.height, b.width};
  const int64_t area = b.size * b.size;
  if (reap_multiply(dims[deep ? 2 : 1], deep ? b.size : area, &dims[deep ? 2 : 1]) != REAP_OK ||
      reap_multiply(dims[3], deep ? b.size : 1, &dims[3]) != REAP_OK)
    return reap_node_error(node, "its output is out of range");
  return reap_set_shape(graph, node, 0, x->dtype, 4, dims);
}

/* Comparisons and logic: two inputs, booleans. */
int reap_shape_compare(reap_graph *graph, reap_node *node) {
  const reap_value *a = reap_node_input(graph, node, 0), *b = reap_node_input(graph, node, 1);
  int rank;
  int64_t dims[REAP_MAX_RANK];
  if (a->dtype != b->dtype) return reap_node_error(node, "its inputs have different types");
  REAP_TRY(reap_broadcast_dims(node, a->rank, a->dims, b->rank, b->dims, &rank, dims));
  return reap_set_shape(graph, node, 0, REAP_I64, rank, dims);
}

int reap_shape_where(reap_graph *graph, reap_node *node) {
  int rank = 0;
  int64_t dims[REAP_MAX_RANK] = {0};
  const reap_value *in[3];
  for (int i = 0; i < 3; i++) {
    in[i] = reap_node_input(graph, node, i);
    REAP_TRY(reap_broadcast_dims(node, rank, dims, in[i]->rank, in[i]->dims, &rank, dims));
  }
  if (in[0]->dtype != REAP_I64 || in[1]->dtype != in[2]->dtype)
    return reap_node_error(node, "its inputs have wrong types");
  return reap_set_shape(graph, node, 0, in[1]->dtype, rank, dims);
}

/* ArgMax and ArgMin. */
int reap_shape_arg(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const bool keep = reap_node_int(node, "keepdims", 1) != 0;
  int axis, rank = 0;
  int64_t dims[REAP_MAX_RANK];
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  for (int i = 0; i < x->rank; i++)
    if (i != axis || keep) dims[rank++] = i == axis ? 1 : x->dims[i];
  return reap_set_shape(graph, node, 0, REAP_I64, rank, dims);
}

int reap_top_k_resolve(const reap_graph *graph, const reap_node *node, int *axis, int64_t *k) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t *list;
  int64_t count;
  REAP_TRY(reap_axis_resolve(graph, node, -1, axis));
  REAP_TRY(reap_node_int_list(graph, node, 1, "", &list, &count));
  *k = count == 1 ? list[0] : count < 0 ? reap_node_int(node, "k", -1) : -1;
  if (*k < 0 || *k > x->dims[*axis])
    return reap_node_error(node, "k = %lld is not possible for %lld entries", (long long)*k, (long long)x->dims[*axis]);
  return REAP_OK;
}

/* Values, and as a node of its own their indices. */
int reap_shape_top_k(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  int axis;
  int64_t k, dims[REAP_MAX_RANK];
  REAP_TRY(reap_top_k_resolve(graph, node, &axis, &k));
  memcpy(dims, x->dims, sizeof dims);
  dims[axis] = k;
  return reap_set_shape(graph, node, 0, node->part == 0 ? x->dtype : REAP_I64, x->rank, dims);
}
