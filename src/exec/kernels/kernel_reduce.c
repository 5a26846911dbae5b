/* Reductions over whole axes: ReduceMean and the others, GlobalAveragePool, GlobalMaxPool.
 *
 * Method: a loop nest (kernels.h) walks the input as it lies in memory; the result's stride is 0 along the axes that
 * go. Over height and width that is one row of channels after the other. Sums and products are formed in double
 * precision, in the order of memory. Cost: one read of the input. A NaN stays visible.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct reduce_state {
  reap_nest nest; /* operands: input, result */
  int64_t results;
  double scale; /* 1 / elements that go into one result */
  double *sums; /* [results], but of extremes */
} reduce_state;

static void reduce_destroy(void **state) {
  reduce_state *s = *state;
  reap_free(&s->sums);
}

/* gone [rank]: axes to reduce over. The result may have them as axes of one element, or not at all. */
static int reduce_build(const reap_graph *graph, const reap_node *node, const bool *gone, bool sums, void **state) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  bool kept = in->rank == out->rank;
  int64_t own[REAP_MAX_RANK], strides[2][REAP_MAX_RANK], merged = 1;
  reap_storage_strides(in, strides[0]);
  reap_storage_strides(out, own);
  for (int i = 0, o = 0; i < in->rank; i++) {
    strides[1][i] = gone[i] ? 0 : own[o];
    if (gone[i]) merged *= in->dims[i];
    if (kept || !gone[i]) o++;
  }
  REAP_TRY(reap_calloc(state, 1, sizeof(reduce_state)));
  reduce_state *s = *state;
  s->results = reap_value_count(out);
  s->scale = 1.0 / (double)(merged > 0 ? merged : 1);
  reap_nest_build(in->rank, in->dims, 2, strides, &s->nest);
  return sums ? reap_alloc(&s->sums, s->results, sizeof *s->sums) : REAP_OK;
}

static void add_line(int64_t n, const float *restrict x, int64_t step_x, double *restrict sum, int64_t step) {
  if (step == 1 && step_x == 1) {
    for (int64_t i = 0; i < n; i++) sum[i] += (double)x[i];
  } else {
    for (int64_t i = 0; i < n; i++) sum[i * step] += (double)x[i * step_x];
  }
}

/* Absolute values, squares, products. */
#define DEFINE_LINE(name, expression)                                                                        \
  static void name(int64_t n, const float *restrict x, int64_t step_x, double *restrict sum, int64_t step) { \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      const double value = (double)x[i * step_x];                                                            \
      sum[i * step] = expression;                                                                            \
    }                                                                                                        \
  }

DEFINE_LINE(add_size_line, sum[i * step] + fabs(value))
DEFINE_LINE(add_square_line, sum[i * step] + value * value)
DEFINE_LINE(multiply_line, sum[i * step] * value)

typedef void (*sum_line)(int64_t n, const float *x, int64_t step_x, double *sum, int64_t step);

static void add_up(const reduce_state *s, const float *x, double start, sum_line line) {
  for (int64_t i = 0; i < s->results; i++) s->sums[i] = start;
  int64_t n = reap_nest_length(&s->nest), step_x = reap_nest_step(&s->nest, 0), step = reap_nest_step(&s->nest, 1);
  reap_cursor cursor = {{0}, {0}};
  do line(n, x + cursor.offset[0], step_x, s->sums + cursor.offset[1], step);
  while (reap_nest_next(&s->nest, &cursor));
}

static int mean_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  (void)graph;
  (void)node;
  const reduce_state *s = state;
  add_up(s, inputs[0], 0, add_line);
  for (int64_t i = 0; i < s->results; i++) output[i] = (float)(s->sums[i] * s->scale);
  return REAP_OK;
}

/* sign: -1 for minima. */
static void extreme_line(int64_t n, float sign, const float *restrict x, int64_t step_x, float *restrict best,
                         int64_t step) {
  for (int64_t i = 0; i < n; i++) {
    float value = x[i * step_x], b = best[i * step];
    float larger = sign * value > sign * b ? value : b; /* b if either is NaN */
    best[i * step] = value != value ? value : larger;
  }
}

static void run_extreme(const reduce_state *s, float sign, const float *x, float *output) {
  for (int64_t i = 0; i < s->results; i++) output[i] = -sign * INFINITY;
  int64_t n = reap_nest_length(&s->nest), step_x = reap_nest_step(&s->nest, 0), step = reap_nest_step(&s->nest, 1);
  reap_cursor cursor = {{0}, {0}};
  do extreme_line(n, sign, x + cursor.offset[0], step_x, output + cursor.offset[1], step);
  while (reap_nest_next(&s->nest, &cursor));
}

static int maximum_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                       float *output) {
  (void)graph;
  (void)node;
  run_extreme(state, 1, inputs[0], output);
  return REAP_OK;
}

static bool is_extreme(const reap_node *node) {
  return node->op->id == REAP_OP_ReduceMax || node->op->id == REAP_OP_ReduceMin;
}

static int reduce_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                      float *output) {
  const reduce_state *s = state;
  const reap_operator_id op = node->op->id;
  if (op == REAP_OP_ReduceMean) return mean_run(graph, node, state, inputs, output);
  if (is_extreme(node)) {
    run_extreme(s, op == REAP_OP_ReduceMin ? -1 : 1, inputs[0], output);
    return REAP_OK;
  }
  const sum_line line = op == REAP_OP_ReduceProd  ? multiply_line
                        : op == REAP_OP_ReduceL1  ? add_size_line
                        : op == REAP_OP_ReduceSum ? add_line
                                                  : add_square_line;
  add_up(s, inputs[0], op == REAP_OP_ReduceProd ? 1 : 0, line);
  for (int64_t i = 0; i < s->results; i++) output[i] = (float)(op == REAP_OP_ReduceL2 ? sqrt(s->sums[i]) : s->sums[i]);
  return REAP_OK;
}

/* ---------------------------------------------------------------- which axes */

static int global_prepare(const reap_graph *graph, const reap_node *node, bool mean, void **state) {
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  bool gone[REAP_MAX_RANK];
  for (int i = 0; i < REAP_MAX_RANK; i++) gone[i] = i >= 2;
  return reduce_build(graph, node, gone, mean, state);
}

static int global_average_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return global_prepare(graph, node, true, state);
}

static int global_max_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return global_prepare(graph, node, false, state);
}

static int reduce_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  bool gone[REAP_MAX_RANK];
  REAP_TRY(reap_axes_resolve(graph, node, reap_node_input(graph, node, 0)->rank, gone));
  return reduce_build(graph, node, gone, !is_extreme(node), state);
}

const reap_kernel reap_kernel_global_average_pool = {
    global_average_prepare, mean_run, reduce_destroy, false, NULL, false};
const reap_kernel reap_kernel_global_max_pool = {global_max_prepare, maximum_run, reduce_destroy, false, NULL, false};
const reap_kernel reap_kernel_reduce = {reduce_prepare, reduce_run, reduce_destroy, false, NULL, false};
