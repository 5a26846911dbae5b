/* Folding of comparisons, logic and remainders: what exporters choose axes and sizes by. */
#include <math.h>
#include <stddef.h>

#include "folding.h"
#include "model/operators.h"
#include "reap/error.h"
#include "rules.h"

/* What a comparison comes to; all false where one side is a NaN. */
typedef struct order {
  bool less, equal, greater;
} order;

static order compare(const reap_tensor *a, int64_t i, const reap_tensor *b, int64_t j) {
  if (a->dtype == REAP_F32) return (order){a->f32[i]<b->f32[j], a->f32[i] == b->f32[j], a->f32[i]> b->f32[j]};
  return (order){a->i64[i]<b->i64[j], a->i64[i] == b->i64[j], a->i64[i]> b->i64[j]};
}

static bool holds(reap_operator_id op, const reap_tensor *a, int64_t i, const reap_tensor *b, int64_t j) {
  const order o = compare(a, i, b, j);
  const bool x = reap_tensor_number(a, i) != 0, y = reap_tensor_number(b, j) != 0;
  switch (op) {
    case REAP_OP_Equal:
      return o.equal;
    case REAP_OP_Less:
      return o.less;
    case REAP_OP_LessOrEqual:
      return o.less || o.equal;
    case REAP_OP_Greater:
      return o.greater;
    case REAP_OP_GreaterOrEqual:
      return o.greater || o.equal;
    case REAP_OP_And:
      return x && y;
    case REAP_OP_Or:
      return x || y;
    default: /* Xor */
      return x != y;
  }
}

int reap_fold_compare(reap_graph *graph, reap_node *node) {
  const reap_tensor *const in[] = {reap_node_constant(graph, node, 0), reap_node_constant(graph, node, 1)};
  const reap_value *y = reap_node_output(graph, node, 0);
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, REAP_I64, &t));
  reap_walk w = reap_walk_start(y->rank, y->dims, 2, in);
  for (int64_t k = 0; k < t->count; k++, reap_walk_on(&w))
    t->i64[k] = holds(node->op->id, in[0], w.at[0], in[1], w.at[1]);
  return reap_set_constant(graph, node, t);
}

int reap_fold_not(reap_graph *graph, reap_node *node) {
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_onto(graph, node, &t));
  if (t->dtype != REAP_I64) return reap_node_error(node, "its input is not of booleans");
  for (int64_t k = 0; k < t->count; k++) t->i64[k] = !t->i64[k];
  return REAP_OK;
}

/* The remainder has the sign of the divisor or, with `fmod`, as in C that of the dividend. */
static int remainder_of(const reap_node *node, bool as_in_c, const reap_tensor *a, int64_t i, const reap_tensor *b,
                        int64_t j, reap_tensor *out, int64_t k) {
  if (out->dtype == REAP_F32) {
    out->f32[k] = fmodf(a->f32[i], b->f32[j]);
    if (!as_in_c) return reap_node_error(node, "fmod = 0 is not possible for floats");
    return REAP_OK;
  }
  const int64_t x = a->i64[i], y = b->i64[j];
  if (y == 0) return reap_node_error(node, "divides by zero");
  const int64_t rest = y == -1 ? 0 : x % y;
  out->i64[k] = rest != 0 && !as_in_c && (rest < 0) != (y < 0) ? rest + y : rest;
  return REAP_OK;
}

int reap_fold_mod(reap_graph *graph, reap_node *node) {
  const reap_tensor *const in[] = {reap_node_constant(graph, node, 0), reap_node_constant(graph, node, 1)};
  const reap_value *y = reap_node_output(graph, node, 0);
  const bool as_in_c = reap_node_int(node, "fmod", 0) != 0;
  int status = REAP_OK;
  reap_tensor *t = NULL;
  REAP_TRY(reap_fold_output(graph, node, y->dtype, &t));
  reap_walk w = reap_walk_start(y->rank, y->dims, 2, in);
  for (int64_t k = 0; k < t->count; k++, reap_walk_on(&w))
    REAP_TRY_OR(remainder_of(node, as_in_c, in[0], w.at[0], in[1], w.at[1], t, k), failed);
  return reap_set_constant(graph, node, t);
failed:
  reap_tensor_destroy(&t);
  return status;
}
