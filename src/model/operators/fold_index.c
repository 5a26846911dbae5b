/* Folding of operators that index, repeat, mask or sum along an axis: GatherND, ScatterND, Tile, Trilu, CumSum. Masks
 * and tables of positions are made so. Cost: that of copying, which the graph's allowance limits. */
#include <string.h>

#include "folding.h"
#include "moving.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"
#include "slicing.h"

/* ---- GatherND and ScatterND: rows of indices, each of which names a slice of the data */

typedef struct index_rows {
  int64_t rows, length; /* indices [rows, length] */
  int batch_axes;       /* leading axes that data and indices share */
  int64_t per_batch;    /* rows for each place on these */
  int64_t slice;        /* elements of a slice */
  int64_t strides[REAP_MAX_RANK];
  const reap_tensor *data, *indices;
} index_rows;

static int index_rows_of(const reap_graph *graph, const reap_node *node, int64_t batch_axes, index_rows *r) {
  const reap_tensor *x = reap_node_constant(graph, node, 0), *index = reap_node_constant(graph, node, 1);
  if (index->dtype != REAP_I64 || index->rank < 1)
    return reap_node_error(node, "its indices are not lists of integers");
  *r = (index_rows){.length = index->dims[index->rank - 1], .data = x, .indices = index};
  if (batch_axes < 0 || batch_axes >= index->rank || r->length > x->rank - batch_axes)
    return reap_node_error(node, "its indices are for more axes than it has (%d)", x->rank);
  int64_t batches = 1;
  r->batch_axes = (int)batch_axes;
  for (int i = 0; i < r->batch_axes; i++, batches *= x->dims[i - 1])
    if (x->dims[i] != index->dims[i]) return reap_node_error(node, "axis %d of its inputs differs", i);
  r->rows = 1;
  for (int i = 0; i < index->rank - 1; i++) r->rows *= index->dims[i];
  r->per_batch = batches > 0 ? r->rows / batches : 0;
  reap_row_major_strides(x->rank, x->dims, r->strides);
  r->slice = 1;
  for (int i = r->batch_axes + (int)r->length; i < x->rank; i++) r->slice *= x->dims[i];
  return REAP_OK;
}

/* Element where the slice of a row begins. */
static int slice_start(const reap_node *node, const index_rows *r, int64_t row, int64_t *start) {
  const int64_t *index = r->indices->i64 + row * r->length;
  *start = 0;
  if (r->batch_axes > 0) *start = row / r->per_batch * r->strides[r->batch_axes - 1];
  for (int64_t i = 0; i < r->length; i++) {
    const int64_t size = r->data->dims[r->batch_axes + i], at = index[i] < 0 ? index[i] + size : index[i];
    if (at < 0 || at >= size)
      return reap_node_error(node, "index %lld is outside axis %lld", (long long)index[i],
                             (long long)(r->batch_axes + i));
    *start += at * r->strides[r->batch_axes + i];
  }
  return REAP_OK;
}

int reap_fold_gather_nd(reap_graph *graph, reap_node *node) {
  index_rows r;
  int64_t dims[2 * REAP_MAX_RANK], start;
  int rank = 0, status = REAP_OK;
  reap_tensor *t = NULL;
  REAP_TRY(index_rows_of(graph, node, reap_node_int(node, "batch_dims", 0), &r));
  for (int i = 0; i < r.indices->rank - 1; i++) dims[rank++] = r.indices->dims[i];
  for (int i = r.batch_axes + (int)r.length; i < r.data->rank; i++) dims[rank++] = r.data->dims[i];
  REAP_TRY(reap_set_shape(graph, node, 0, r.data->dtype, rank, dims));
  REAP_TRY(reap_fold_output(graph, node, r.data->dtype, &t));
  const int64_t width = reap_fold_width(t), bytes = r.slice * width;
  for (int64_t k = 0; k < r.rows && t->count > 0; k++) {
    REAP_TRY_OR(slice_start(node, &r, k, &start), failed);
    memcpy((char *)reap_fold_data(t) + k * bytes, (const char *)reap_fold_data(r.data) + start * width, (size_t)bytes);
  }
  return reap_set_constant(graph, node, t);
failed:
  reap_tensor_destroy(&t);
  return status;
}

int reap_fold_scatter_nd(reap_graph *graph, reap_node *node) {
  const reap_tensor *updates = reap_node_constant(graph, node, 2);
  const char *reduction = reap_node_string(node, "reduction", "none");
  index_rows r;
  int64_t start, count;
  REAP_TRY(index_rows_of(graph, node, 0, &r));
  if (strcmp(reduction, "none") != 0) return reap_node_error(node, "reduction = %s is not supported", reduction);
  if (updates->dtype != r.data->dtype || reap_multiply(r.rows, r.slice, &count) != REAP_OK || updates->count != count)
    return reap_node_error(node, "its updates do not have one slice for each index");
  REAP_TRY(reap_set_shape(graph, node, 0, r.data->dtype, r.data->rank, r.data->dims));
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  const int64_t width = reap_fold_width(t), bytes = r.slice * width;
  for (int64_t k = 0; k < r.rows && count > 0; k++) {
    REAP_TRY(slice_start(node, &r, k, &start));
    memcpy((char *)reap_fold_data(t) + start * width, (const char *)reap_fold_data(updates) + k * bytes, (size_t)bytes);
  }
  return REAP_OK;
}

/* ---- Tile */

int reap_fold_tile(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  int64_t to[REAP_MAX_RANK], from[REAP_MAX_RANK];
  reap_tiling tiling;
  reap_tensor *t = NULL;
  const reap_value *y = reap_node_output(graph, node, 0);
  reap_row_major_strides(x->rank, x->dims, from);
  reap_row_major_strides(y->rank, y->dims, to);
  REAP_TRY(reap_tiling_resolve(graph, node, to, from, &tiling));
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  reap_strided_copy(tiling.rank, tiling.dims, reap_fold_width(x), reap_fold_data(t), tiling.to, reap_fold_data(x),
                    tiling.from);
  return reap_set_constant(graph, node, t);
}

/* ---- Trilu */

int reap_fold_trilu(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0), *diagonal = reap_node_constant(graph, node, 1);
  const bool upper = reap_node_int(node, "upper", 1) != 0;
  if (x->rank < 2 || (diagonal && (diagonal->count != 1 || diagonal->dtype != REAP_I64)))
    return reap_node_error(node, "its input is no matrix, or its diagonal is not one integer");
  const int64_t k = diagonal ? diagonal->i64[0] : 0, rows = x->dims[x->rank - 2], columns = x->dims[x->rank - 1];
  REAP_TRY(reap_set_shape(graph, node, 0, x->dtype, x->rank, x->dims));
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  for (int64_t i = 0; i < t->count; i++) {
    const int64_t row = i / columns % rows, column = i % columns;
    /* column - row lies within the matrix, so that k may be any number */
    if (upper ? column - row >= k : column - row <= k) continue;
    if (t->dtype == REAP_F32)
      t->f32[i] = 0;
    else
      t->i64[i] = 0;
  }
  return REAP_OK;
}

/* ---- CumSum */

int reap_fold_cum_sum(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0), *along = reap_node_constant(graph, node, 1);
  const bool exclusive = reap_node_int(node, "exclusive", 0) != 0, reverse = reap_node_int(node, "reverse", 0) != 0;
  int axis, status = REAP_OK;
  int64_t strides[REAP_MAX_RANK];
  reap_tensor *t = NULL;
  if (along->count != 1 || along->dtype != REAP_I64) return reap_node_error(node, "its axis is not one integer");
  REAP_TRY(reap_node_axis(node, along->i64[0], x->rank, &axis));
  REAP_TRY(reap_set_shape(graph, node, 0, x->dtype, x->rank, x->dims));
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  reap_row_major_strides(x->rank, x->dims, strides);
  const int64_t n = x->dims[axis], step = strides[axis];
  for (int64_t i = 0; i < x->count; i++) { /* in the order of the axis, or against it */
    const int64_t k = reverse ? x->count - 1 - i : i, place = k / step % n, before = reverse ? k + step : k - step;
    const bool first = place == (reverse ? n - 1 : 0);
    const int64_t term = exclusive ? before : k;
    if (t->dtype == REAP_F32)
      t->f32[k] = (first ? 0 : t->f32[before]) + (first && exclusive ? 0 : x->f32[term]);
    else if (__builtin_add_overflow(first ? 0 : t->i64[before], first && exclusive ? 0 : x->i64[term], &t->i64[k]))
      REAP_TRY_OR(reap_node_error(node, "its sums overflow"), failed);
  }
  return reap_set_constant(graph, node, t);
failed:
  reap_tensor_destroy(&t);
  return status;
}
