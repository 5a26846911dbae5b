/* Folding of reductions: sums, products and extremes of shapes and tables. Cost: one look at each number, which counts
 * as if it were made: see allowance.h. */
#include <math.h>

#include "folding.h"
#include "model/allowance.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "rules.h"
#include "slicing.h"

static double start_of(reap_operator_id op) {
  return op == REAP_OP_ReduceProd ? 1 : op == REAP_OP_ReduceMax ? -INFINITY : op == REAP_OP_ReduceMin ? INFINITY : 0;
}

static double join(reap_operator_id op, double sum, double x) {
  switch (op) {
    case REAP_OP_ReduceProd:
      return sum * x;
    case REAP_OP_ReduceMax:
      return isnan(x) || x > sum ? x : sum;
    case REAP_OP_ReduceMin:
      return isnan(x) || x < sum ? x : sum;
    case REAP_OP_ReduceL1:
      return sum + fabs(x);
    case REAP_OP_ReduceL2:
    case REAP_OP_ReduceSumSquare:
      return sum + x * x;
    default: /* ReduceSum, ReduceMean */
      return sum + x;
  }
}

/* The same of integers; *sum is not set before the first. */
static int join_integers(const reap_node *node, bool first, int64_t x, int64_t *sum) {
  const reap_operator_id op = node->op->id;
  bool bad = false;
  if (first)
    *sum = x;
  else if (op == REAP_OP_ReduceMax || op == REAP_OP_ReduceMin)
    *sum = (op == REAP_OP_ReduceMax) == (x > *sum) ? x : *sum;
  else if (op == REAP_OP_ReduceProd)
    bad = __builtin_mul_overflow(*sum, x, sum);
  else if (op == REAP_OP_ReduceSum)
    bad = __builtin_add_overflow(*sum, x, sum);
  else
    return reap_node_error(node, "is not supported for integers");
  return bad ? reap_node_error(node, "its integer arithmetic overflows") : REAP_OK;
}

typedef struct sums {
  double *reals;
  bool *begun; /* of integers, which go straight to the output */
} sums;

static int add_all(const reap_node *node, const reap_tensor *x, const int64_t *strides, sums *s, reap_tensor *out) {
  int64_t index[REAP_MAX_RANK] = {0}, at = 0;
  for (int64_t i = 0; i < x->count; i++) {
    if (s->reals) {
      s->reals[at] = join(node->op->id, s->reals[at], (double)x->f32[i]);
    } else {
      REAP_TRY(join_integers(node, !s->begun[at], x->i64[i], &out->i64[at]));
      s->begun[at] = true;
    }
    for (int axis = x->rank - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < x->dims[axis]) break;
      at -= strides[axis] * x->dims[axis];
      index[axis] = 0;
    }
  }
  return REAP_OK;
}

static void finish(reap_operator_id op, const reap_tensor *x, const double *reals, reap_tensor *out) {
  const double scale = op == REAP_OP_ReduceMean && x->count > 0 ? (double)out->count / (double)x->count : 1;
  for (int64_t k = 0; k < out->count; k++)
    out->f32[k] = (float)(op == REAP_OP_ReduceL2 ? sqrt(reals[k]) : reals[k] * scale);
}

static int reduce(const reap_graph *graph, const reap_node *node, sums *s, reap_tensor *out) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  bool gone[REAP_MAX_RANK];
  int64_t strides[REAP_MAX_RANK], step = 1;
  REAP_TRY(reap_axes_resolve(graph, node, x->rank, gone));
  for (int i = x->rank - 1; i >= 0; i--) {
    strides[i] = gone[i] ? 0 : step;
    if (!gone[i]) step *= x->dims[i];
  }
  if (x->count == 0) return reap_node_error(node, "reduces nothing");
  if (x->dtype != REAP_F32) {
    REAP_TRY(reap_calloc(&s->begun, out->count, sizeof *s->begun));
    return add_all(node, x, strides, s, out);
  }
  REAP_TRY(reap_alloc(&s->reals, out->count, sizeof *s->reals));
  for (int64_t k = 0; k < out->count; k++) s->reals[k] = start_of(node->op->id);
  REAP_TRY(add_all(node, x, strides, s, out));
  finish(node->op->id, x, s->reals, out);
  return REAP_OK;
}

int reap_fold_reduce(reap_graph *graph, reap_node *node) {
  const reap_tensor *x = reap_node_constant(graph, node, 0);
  sums s = {NULL, NULL};
  reap_tensor *out = NULL;
  REAP_TRY(reap_graph_charge_work(graph, node, reap_tensor_bytes(x)));
  REAP_TRY(reap_fold_output(graph, node, x->dtype, &out));
  int status = reduce(graph, node, &s, out);
  reap_free(&s.reals);
  reap_free(&s.begun);
  if (status == REAP_OK) return reap_set_constant(graph, node, out);
  reap_tensor_destroy(&out);
  return status;
}
