/* Layer-, RMS-, Group- and InstanceNormalization: y = (x - mean) / sqrt(variance + epsilon) * scale + bias.
 *
 * Method: a loop nest (kernels.h) walks the input as it lies in memory, with the cells that share a mean as its second
 * operand: a row of one cell, or one number each of neighbouring cells. Three passes: means; variances around them, so
 * that nothing cancels; the result. Sums are in double precision; in rows they are of eight numbers side by side. In
 * place if asked. A NaN or an infinity makes its whole cell NaN.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "model/operators/normalisation.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct norm_state {
  reap_nest nest; /* operands: input, cell, parameter */
  int64_t cells;
  double inverse; /* 1 / elements of a cell */
  bool centred;
  double epsilon;
  float *scale, *bias;   /* in order of the parameter's elements; bias: 0 if there is none */
  double *mean, *square; /* [cells] */
  float *middle, *factor;
} norm_state;

static void norm_destroy(void **state) {
  norm_state *s = *state;
  reap_free(&s->scale);
  reap_free(&s->bias);
  reap_free(&s->mean);
  reap_free(&s->square);
  reap_free(&s->middle);
  reap_free(&s->factor);
}

/* ---------------------------------------------------------------- preparation */

/* Strides of the input, with its channels split as in `n`. */
static void input_strides(const reap_value *x, const reap_normalisation *n, int64_t *strides) {
  int64_t own[REAP_MAX_RANK];
  reap_storage_strides(x, own);
  for (int i = 0, k = 0; i < n->rank; i++) {
    const bool groups = n->group && i == 1;
    strides[i] = groups ? own[1] * n->group : own[k];
    k += !groups;
  }
}

/* Scale and bias along the axes of `full`, a row-major array over the axes that either varies along. */
static int expand_parameter(const reap_tensor *t, const reap_normalisation *n, const int64_t *own, const int64_t *full,
                            int64_t count, float **out) {
  int64_t dims[REAP_MAX_RANK];
  REAP_TRY(reap_calloc(out, count, sizeof **out));
  for (int i = 0; i < n->rank; i++) dims[i] = full[i] ? n->dims[i] : 1;
  if (t) reap_strided_copy(n->rank, dims, sizeof **out, *out, full, t->f32, own);
  return REAP_OK;
}

static int set_parameters(const reap_graph *graph, const reap_node *node, const reap_normalisation *n, norm_state *s,
                          int64_t *strides) {
  int64_t count = 1;
  for (int i = n->rank - 1; i >= 0; i--) {
    const bool varies = (n->scale[i] || n->bias[i]) && n->dims[i] > 1;
    strides[i] = varies ? count : 0;
    if (varies) count *= n->dims[i]; /* no overflow: not more than elements of the input */
  }
  REAP_TRY(expand_parameter(reap_node_constant(graph, node, 1), n, n->scale, strides, count, &s->scale));
  return expand_parameter(reap_node_constant(graph, node, 2), n, n->bias, strides, count, &s->bias);
}

static int fill(const reap_graph *graph, const reap_node *node, norm_state *s) {
  const reap_value *x = reap_node_input(graph, node, 0);
  reap_normalisation n;
  int64_t strides[REAP_NEST_OPERANDS][REAP_MAX_RANK], elements = 1;
  REAP_TRY(reap_normalisation_resolve(graph, node, &n));
  input_strides(x, &n, strides[0]);
  s->cells = 1;
  for (int i = n.rank - 1; i >= 0; i--) {
    strides[1][i] = n.merged[i] ? 0 : s->cells;
    if (n.merged[i])
      elements *= n.dims[i];
    else
      s->cells *= n.dims[i];
  }
  s->inverse = 1.0 / (double)elements;
  s->centred = n.centred;
  s->epsilon = (double)n.epsilon;
  REAP_TRY(set_parameters(graph, node, &n, s, strides[2]));
  reap_nest_build(n.rank, n.dims, REAP_NEST_OPERANDS, strides, &s->nest);
  REAP_TRY(reap_alloc(&s->mean, s->cells, sizeof *s->mean));
  REAP_TRY(reap_alloc(&s->square, s->cells, sizeof *s->square));
  REAP_TRY(reap_alloc(&s->middle, s->cells, sizeof *s->middle));
  return reap_alloc(&s->factor, s->cells, sizeof *s->factor);
}

static int norm_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(norm_state)));
  return fill(graph, node, *state);
}

/* ---------------------------------------------------------------- passes */

/* Sum of x, or of its squares around `mean`. */
FOR_EACH_WIDTH static double sum_row(int64_t n, const float *x, int64_t step, double mean, bool squares) {
  enum { LANES = 8 };
  double part[LANES] = {0}, sum = 0;
  int64_t i = 0;
  for (; step == 1 && i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) {
      const double d = (double)x[i + k] - mean;
      part[k] += squares ? d * d : d;
    }
  for (; i < n; i++) {
    const double d = (double)x[i * step] - mean;
    sum += squares ? d * d : d;
  }
  for (int k = 0; k < LANES; k++) sum += part[k];
  return sum;
}

/* One number each of cells in a row. */
FOR_EACH_WIDTH static void add_numbers(int64_t n, const float *x, int64_t step_x, const double *mean, double *sum,
                                       int64_t step, bool squares) {
  REAP_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const double d = (double)x[i * step_x] - mean[i * step];
    sum[i * step] += squares ? d * d : d;
  }
}

/* sums[cells] of the numbers' distances from mean[cells], or of their squares. */
static void add_all(const norm_state *s, const float *x, bool squares, double *sums) {
  const int64_t n = reap_nest_length(&s->nest), step_x = reap_nest_step(&s->nest, 0),
                step = reap_nest_step(&s->nest, 1);
  reap_cursor cursor = {{0}, {0}};
  memset(sums, 0, (size_t)s->cells * sizeof *sums);
  do {
    const float *row = x + cursor.offset[0];
    const int64_t cell = cursor.offset[1];
    if (step == 0)
      sums[cell] += sum_row(n, row, step_x, s->mean[cell], squares);
    else
      add_numbers(n, row, step_x, s->mean + cell, sums + cell, step, squares);
  } while (reap_nest_next(&s->nest, &cursor));
}

/* One innermost loop of the result. */
FOR_EACH_WIDTH static void apply(const norm_state *s, const float *x, float *y, int64_t cell, int64_t at) {
  const int64_t n = reap_nest_length(&s->nest), step_x = reap_nest_step(&s->nest, 0),
                step_cell = reap_nest_step(&s->nest, 1), step = reap_nest_step(&s->nest, 2);
  const float *middle = s->middle + cell, *factor = s->factor + cell, *scale = s->scale + at, *bias = s->bias + at;
  if (step_x == 1 && step_cell == 0 && step == 1) {
    REAP_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle[0]) * factor[0] * scale[i] + bias[i];
  } else if (step_x == 1 && step_cell == 1 && step == 1) {
    REAP_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle[i]) * factor[i] * scale[i] + bias[i];
  } else {
    REAP_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i * step_x] =
          (x[i * step_x] - middle[i * step_cell]) * factor[i * step_cell] * scale[i * step] + bias[i * step];
  }
}

static int norm_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  (void)graph;
  (void)node;
  const norm_state *s = state;
  reap_cursor cursor = {{0}, {0}};
  memset(s->mean, 0, (size_t)s->cells * sizeof *s->mean);
  if (s->centred) {
    add_all(s, inputs[0], false, s->square);
    for (int64_t c = 0; c < s->cells; c++) s->mean[c] = s->square[c] * s->inverse;
  }
  add_all(s, inputs[0], true, s->square);
  for (int64_t c = 0; c < s->cells; c++) {
    s->middle[c] = (float)s->mean[c];
    s->factor[c] = (float)(1.0 / sqrt(s->square[c] * s->inverse + s->epsilon));
  }
  do apply(s, inputs[0] + cursor.offset[0], output + cursor.offset[0], cursor.offset[1], cursor.offset[2]);
  while (reap_nest_next(&s->nest, &cursor));
  return REAP_OK;
}

const reap_kernel reap_kernel_normalisation = {norm_prepare, norm_run, norm_destroy, true, NULL, false};
