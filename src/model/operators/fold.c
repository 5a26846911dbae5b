/* Folding rules of operators.def: values of nodes whose inputs are all known. Shape arithmetic, in the main.
 *
 * Everything is computed on row-major arrays of int64 or float32. Cost is that of copying the tensors, which the
 * graph's allowance limits; see allowance.h.
 */
#include <math.h>
#include <string.h>

#include "elementwise.h"
#include "folding.h"
#include "model/allowance.h"
#include "model/half.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"
#include "slicing.h"

int reap_set_constant(reap_graph *graph, const reap_node *node, reap_tensor *tensor) {
  reap_value *v = reap_node_output(graph, node, 0);
  int status = reap_set_shape(graph, node, 0, tensor->dtype, tensor->rank, tensor->dims);
  if (status != REAP_OK) {
    reap_tensor_destroy(&tensor);
    return status;
  }
  reap_tensor_destroy(&v->constant);
  v->constant = tensor;
  v->charged = true;
  return REAP_OK;
}

void *reap_fold_data(const reap_tensor *t) { return t->dtype == REAP_F32 ? (void *)t->f32 : (void *)t->i64; }
int reap_fold_width(const reap_tensor *t) { return t->dtype == REAP_F32 ? 4 : 8; }

int reap_fold_output(reap_graph *graph, const reap_node *node, reap_dtype dtype, reap_tensor **out) {
  const reap_value *v = reap_node_output(graph, node, 0);
  const int64_t width = dtype == REAP_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(int64_t);
  REAP_TRY(reap_graph_charge(graph, node, reap_value_count(v) * width)); /* no overflow: checked with the shape */
  REAP_TRY(reap_error_prefix(reap_tensor_create(dtype, v->rank, v->dims, out), "%s", reap_node_title(node)));
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  if (x && x->dtype == dtype) (*out)->precision = x->precision;
  return REAP_OK;
}

static int set_copy(reap_graph *graph, const reap_node *node, const reap_tensor *from) {
  reap_tensor *t = NULL;
  REAP_TRY(reap_graph_charge(graph, node, reap_tensor_bytes(from)));
  REAP_TRY(reap_tensor_clone(from, &t));
  return reap_set_constant(graph, node, t);
}

int reap_fold_identity(reap_graph *graph, reap_node *node) {
  return set_copy(graph, node, reap_node_constant(graph, node, 0));
}

int reap_fold_onto(reap_graph *graph, reap_node *node, reap_tensor **out) {
  REAP_TRY(reap_fold_identity(graph, node));
  *out = reap_node_output(graph, node, 0)->constant;
  return reap_tensor_own(*out);
}

/* Same elements, new shape. */
int reap_fold_copy(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  memcpy(reap_fold_data(t), reap_fold_data(x), (size_t)x->count * (size_t)reap_fold_width(x));
  return reap_set_constant(graph, node, t);
}

int reap_fold_elementwise(reap_graph *graph, reap_node *node) {
  const reap_operator_id op = node->op->id;
  reap_elementwise f;
  REAP_TRY(reap_elementwise_of(node, &f));
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  if (t->dtype == REAP_F32) {
    f.apply(t->count, t->f32, f.a, f.b, t->f32);
    return REAP_OK;
  }
  if (op != REAP_OP_Abs && op != REAP_OP_Neg) return reap_node_error(node, "is not supported for integers");
  for (int64_t k = 0; k < t->count; k++)
    if (t->i64[k] == INT64_MIN)
      return reap_node_error(node, "its integer arithmetic overflows");
    else if (op == REAP_OP_Neg || t->i64[k] < 0)
      t->i64[k] = -t->i64[k];
  return REAP_OK;
}

static float combine_floats(reap_operator_id op, float x, float y) {
  switch (op) {
    case REAP_OP_Add:
      return x + y;
    case REAP_OP_Sub:
      return x - y;
    case REAP_OP_Mul:
      return x * y;
    case REAP_OP_Div:
      return x / y;
    case REAP_OP_Pow:
      return powf(x, y);
    case REAP_OP_Min:
      return x < y || isnan(x) ? x : y;
    case REAP_OP_Max:
      return x > y || isnan(x) ? x : y;
    default:
      return x < 0 ? x * y : x; /* PRelu */
  }
}

/* `op` is Add (for Sum as well), Sub, Mul, Div, Pow, Min, Max or PRelu; of integers it is none of Pow and PRelu. */
static int combine(const reap_node *node, reap_operator_id op, const reap_tensor *a, int64_t i, const reap_tensor *b,
                   int64_t j, reap_tensor *out, int64_t k) {
  if (out->dtype == REAP_F32) {
    out->f32[k] = combine_floats(op, a->f32[i], (float)reap_tensor_number(b, j));
  } else {
    int64_t x = a->i64[i], y = b->i64[j], z = 0;
    bool bad = op == REAP_OP_Add   ? __builtin_add_overflow(x, y, &z)
               : op == REAP_OP_Sub ? __builtin_sub_overflow(x, y, &z)
               : op == REAP_OP_Mul ? __builtin_mul_overflow(x, y, &z)
               : op == REAP_OP_Div ? y == 0 || (y == -1 && x == INT64_MIN)
                                   : op == REAP_OP_Pow || op == REAP_OP_PRelu;
    if (bad) return reap_node_error(node, "its integer arithmetic overflows or is not supported");
    if (op == REAP_OP_Div) z = x / y;
    if (op == REAP_OP_Min) z = x < y ? x : y;
    if (op == REAP_OP_Max) z = x > y ? x : y;
    out->i64[k] = z;
  }
  return REAP_OK;
}

/* Strides that walk `t` along the axes of a broadcast shape: 0 where its axis is 1 or missing. */
static void broadcast_strides(const reap_tensor *t, int rank, int64_t *strides) {
  int64_t own[REAP_MAX_RANK];
  reap_row_major_strides(t->rank, t->dims, own);
  for (int i = 0; i < rank; i++) {
    int k = i - (rank - t->rank);
    strides[i] = k >= 0 && t->dims[k] != 1 ? own[k] : 0;
  }
}

reap_walk reap_walk_start(int rank, const int64_t *dims, int tensors, const reap_tensor *const *t) {
  reap_walk w = {.rank = rank, .tensors = tensors};
  for (int i = 0; i < rank; i++) w.dims[i] = dims[i];
  for (int k = 0; k < tensors; k++) broadcast_strides(t[k], rank, w.strides[k]);
  return w;
}

void reap_walk_on(reap_walk *w) {
  for (int i = w->rank - 1; i >= 0; i--) {
    for (int k = 0; k < w->tensors; k++) w->at[k] += w->strides[k][i];
    if (++w->index[i] < w->dims[i]) return;
    for (int k = 0; k < w->tensors; k++) w->at[k] -= w->strides[k][i] * w->dims[i];
    w->index[i] = 0;
  }
}

int reap_fold_arithmetic(reap_graph *graph, reap_node *node) {
  const reap_tensor *a = reap_node_constant(graph, node, 0), *b = reap_node_constant(graph, node, 1);
  const reap_value *y = reap_node_output(graph, node, 0);
  int status = REAP_OK;
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, a->dtype, &t));
  const reap_operator_id op = reap_operator_adds(node->op) ? REAP_OP_Add : node->op->id;
  const reap_tensor *const in[] = {a, b};
  reap_walk w = reap_walk_start(y->rank, y->dims, 2, in);
  for (int64_t k = 0; k < t->count; k++, reap_walk_on(&w))
    REAP_TRY_OR(combine(node, op, a, w.at[0], b, w.at[1], t, k), failed);
  return reap_set_constant(graph, node, t);
failed:
  reap_tensor_destroy(&t);
  return status;
}

int reap_fold_where(reap_graph *graph, reap_node *node) {
  const reap_tensor *in[3];
  const reap_value *y = reap_node_output(graph, node, 0);
  for (int i = 0; i < 3; i++) in[i] = reap_node_constant(graph, node, i);
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, in[1]->dtype, &t));
  reap_walk w = reap_walk_start(y->rank, y->dims, 3, in);
  for (int64_t k = 0; k < t->count; k++, reap_walk_on(&w)) {
    const int pick = in[0]->i64[w.at[0]] ? 1 : 2;
    const int64_t at = w.at[pick];
    if (t->dtype == REAP_F32)
      t->f32[k] = in[pick]->f32[at];
    else
      t->i64[k] = in[pick]->i64[at];
  }
  return reap_set_constant(graph, node, t);
}

int reap_fold_concat(reap_graph *graph, reap_node *node) {
  reap_tensor *t = NULL;
  int axis;
  int64_t strides[REAP_MAX_RANK], own[REAP_MAX_RANK], at = 0;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  REAP_TRY(reap_fold_output(graph, node, reap_node_constant(graph, node, 0)->dtype, &t));
  reap_row_major_strides(t->rank, t->dims, strides);
  for (int k = 0; k < node->n_inputs; k++) {
    const reap_tensor *x = reap_node_constant(graph, node, k);
    reap_row_major_strides(x->rank, x->dims, own);
    reap_strided_copy(x->rank, x->dims, reap_fold_width(x),
                      (char *)reap_fold_data(t) + at * strides[axis] * reap_fold_width(t), strides, reap_fold_data(x),
                      own);
    at += x->dims[axis];
  }
  return reap_set_constant(graph, node, t);
}

int reap_fold_slice(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  reap_slice slice;
  reap_tensor *t = NULL;
  int64_t from[REAP_MAX_RANK], to[REAP_MAX_RANK], start = 0;
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  reap_row_major_strides(x->rank, x->dims, from);
  reap_row_major_strides(t->rank, t->dims, to);
  for (int i = 0; i < x->rank; i++) {
    start += slice.start[i] * from[i];
    from[i] *= slice.step[i];
  }
  reap_strided_copy(t->rank, t->dims, reap_fold_width(x), reap_fold_data(t), to,
                    (const char *)reap_fold_data(x) + start * reap_fold_width(x), from);
  return reap_set_constant(graph, node, t);
}

int reap_fold_transpose(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  int permutation[REAP_MAX_RANK];
  int64_t own[REAP_MAX_RANK], from[REAP_MAX_RANK], to[REAP_MAX_RANK];
  reap_tensor *t = NULL;
  REAP_TRY(reap_permutation_resolve(graph, node, permutation));
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  reap_row_major_strides(x->rank, x->dims, own);
  reap_row_major_strides(t->rank, t->dims, to);
  for (int i = 0; i < t->rank; i++) from[i] = own[permutation[i]];
  reap_strided_copy(t->rank, t->dims, reap_fold_width(x), reap_fold_data(t), to, reap_fold_data(x), from);
  return reap_set_constant(graph, node, t);
}

int reap_fold_gather(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0), *index = reap_node_constant(graph, node, 1);
  int axis;
  int64_t outer = 1, inner = 1;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  for (int i = 0; i < axis; i++) outer *= x->dims[i];
  for (int i = axis + 1; i < x->rank; i++) inner *= x->dims[i];
  const int64_t length = x->dims[axis];
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  const size_t bytes = (size_t)inner * (size_t)reap_fold_width(x);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t k = 0; k < index->count; k++) {
      int64_t i = index->i64[k] < 0 ? index->i64[k] + length : index->i64[k];
      memcpy((char *)reap_fold_data(t) + (size_t)(o * index->count + k) * bytes,
             (const char *)reap_fold_data(x) + (size_t)(o * length + i) * bytes, bytes);
    }
  return reap_set_constant(graph, node, t);
}

/* The shape rule has set what kind of numbers come out; rounding to 16 bits is what a network of that type does to its
 * weights. */
int reap_fold_cast(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  int64_t to = reap_node_int(node, "to", 0);
  bool real = reap_node_output(graph, node, 0)->dtype == REAP_F32;
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, real ? REAP_F32 : REAP_I64, &t));
  t->precision = to == 10 ? REAP_FLOAT16 : to == 16 ? REAP_BFLOAT16 : REAP_FLOAT32;
  for (int64_t k = 0; k < x->count; k++) {
    double number = reap_tensor_number(x, k);
    if (real)
      t->f32[k] = reap_round_to((float)number, t->precision);
    else if (x->dtype == REAP_I64)
      t->i64[k] = to == 9 ? x->i64[k] != 0 : x->i64[k];
    else
      t->i64[k] = to == 9 ? number != 0 : fabs(number) < 9e18 ? (int64_t)number : 0;
  }
  return reap_set_constant(graph, node, t);
}

static int float_range(reap_graph *graph, reap_node *node, const reap_tensor *const *in) {
  const double start = (double)in[0]->f32[0], step = (double)in[2]->f32[0];
  const double steps = ceil(((double)in[1]->f32[0] - start) / step);
  if (!(steps < 1e15)) return reap_node_error(node, "its limits are out of range");
  const int64_t count = steps > 0 ? (int64_t)steps : 0;
  reap_tensor *t = NULL;
  REAP_TRY(reap_set_shape(graph, node, 0, REAP_F32, 1, &count));
  REAP_TRY(reap_fold_output(graph, node, REAP_F32, &t));
  for (int64_t k = 0; k < count; k++) t->f32[k] = (float)(start + (double)k * step);
  return reap_set_constant(graph, node, t);
}

int reap_fold_range(reap_graph *graph, reap_node *node) {
  const reap_tensor *in[3];
  for (int i = 0; i < 3; i++) {
    in[i] = reap_node_constant(graph, node, i);
    if (in[i]->count != 1 || in[i]->dtype != in[0]->dtype)
      return reap_node_error(node, "is supported for single numbers of one type only");
  }
  if (in[0]->dtype == REAP_F32) return float_range(graph, node, in);
  int64_t start = in[0]->i64[0], step = in[2]->i64[0], distance = 0, count = 0;
  if (step == 0 || step == INT64_MIN || __builtin_sub_overflow(in[1]->i64[0], start, &distance))
    return reap_node_error(node, "its limits are out of range");
  if ((distance > 0) == (step > 0) && distance != 0) count = distance / step + (distance % step != 0);
  REAP_TRY(reap_set_shape(graph, node, 0, REAP_I64, 1, &count));
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, REAP_I64, &t));
  for (int64_t k = 0; k < count; k++) t->i64[k] = start + k * step;
  return reap_set_constant(graph, node, t);
}

/* Bounds are inputs or, of older opsets, attributes. */
int reap_fold_clip(reap_graph *graph, reap_node *node) {
  const reap_tensor *low = reap_node_constant(graph, node, 1), *high = reap_node_constant(graph, node, 2);
  if ((low && low->count != 1) || (high && high->count != 1)) return reap_node_error(node, "its bounds are no numbers");
  const double least = low ? reap_tensor_number(low, 0) : (double)reap_node_float(node, "min", -INFINITY);
  const double most = high ? reap_tensor_number(high, 0) : (double)reap_node_float(node, "max", INFINITY);
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  for (int64_t k = 0; k < t->count; k++) {
    const double x = reap_tensor_number(t, k), raised = x < least ? least : x, found = raised > most ? most : raised;
    if (found == x || found != found) continue;
    if (t->dtype == REAP_F32)
      t->f32[k] = (float)found;
    else
      t->i64[k] = (int64_t)found;
  }
  return REAP_OK;
}

/* Floor, Ceil and Round (a half to the even neighbour). */
int reap_fold_round(reap_graph *graph, reap_node *node) {
  float (*const rounded)(float) = node->op->id == REAP_OP_Floor ? floorf : node->op->id == REAP_OP_Ceil ? ceilf : rintf;
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  for (int64_t k = 0; t->dtype == REAP_F32 && k < t->count; k++) t->f32[k] = rounded(t->f32[k]);
  return REAP_OK;
}

int reap_fold_expand(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  const reap_value *y = reap_node_output(graph, node, 0);
  int64_t from[REAP_MAX_RANK], to[REAP_MAX_RANK];
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &t));
  broadcast_strides(x, y->rank, from);
  reap_row_major_strides(y->rank, y->dims, to);
  reap_strided_copy(y->rank, y->dims, reap_fold_width(x), reap_fold_data(t), to, reap_fold_data(x), from);
  return reap_set_constant(graph, node, t);
}

/* ---- shape rules of operators that exist in shape arithmetic only: they give the value at once */

int reap_shape_constant(reap_graph *graph, reap_node *node) {
  const reap_attribute *a = reap_node_attribute(node, "value");
  if (!a || !a->tensor) return reap_node_error(node, "its value is of a kind that is not supported");
  return set_copy(graph, node, a->tensor);
}

/* Shape and Size: known from the shape alone. */
int reap_shape_size_of(reap_graph *graph, reap_node *node) {
  const reap_value *x = reap_node_input(graph, node, 0);
  reap_tensor *t = NULL;
  if (node->op->id == REAP_OP_Size) {
    REAP_TRY(reap_graph_charge(graph, node, (int64_t)sizeof(int64_t)));
    REAP_TRY(reap_tensor_create(REAP_I64, 0, NULL, &t));
    t->i64[0] = reap_value_count(x);
    return reap_set_constant(graph, node, t);
  }
  int64_t start = reap_node_int(node, "start", 0), end = reap_node_int(node, "end", x->rank);
  if (start < 0) start += x->rank;
  if (end < 0) end += x->rank;
  start = start < 0 ? 0 : start > x->rank ? x->rank : start;
  end = end < start ? start : end > x->rank ? x->rank : end;
  REAP_TRY(reap_graph_charge(graph, node, (end - start) * (int64_t)sizeof(int64_t)));
  REAP_TRY(reap_tensor_from_ints(x->dims + start, end - start, &t));
  return reap_set_constant(graph, node, t);
}

int reap_shape_filled(reap_graph *graph, reap_node *node) {
  const int64_t *dims;
  int64_t rank;
  REAP_TRY(reap_node_int_list(graph, node, 0, "", &dims, &rank));
  const reap_attribute *a = reap_node_attribute(node, "value");
  const reap_tensor *value = a && a->tensor && a->tensor->count == 1 ? a->tensor : NULL;
  if (rank > REAP_MAX_RANK) return reap_node_error(node, "its rank is too high");
  reap_tensor *t = NULL;
  REAP_TRY(reap_set_shape(graph, node, 0, value ? value->dtype : REAP_F32, (int)rank, dims));
  REAP_TRY(reap_fold_output(graph, node, value ? value->dtype : REAP_F32, &t));
  for (int64_t k = 0; value && k < t->count; k++) {
    if (t->dtype == REAP_F32)
      t->f32[k] = value->f32[0];
    else
      t->i64[k] = value->i64[0];
  }
  return reap_set_constant(graph, node, t);
}

/* The folding rule sets the shape as well; if it could not be folded there is nothing that could compute it. */
int reap_shape_folded(reap_graph *graph, reap_node *node) {
  (void)graph;
  return reap_node_error(node, "depends on the images; %s is supported only where its inputs are constant",
                         node->op->name);
}
