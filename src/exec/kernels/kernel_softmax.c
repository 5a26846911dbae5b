/* Softmax and LogSoftmax along an axis.
 *
 * From opset 13 on along `axis` (default -1); before, the input counts as a matrix of the axes in front of `axis`
 * (default 1) by the rest. Either way a line of numbers has one stride in storage order: the rest of a block of rank 4
 * is all of an image, or whole rows of one channel.
 *
 * Method: the maximum is subtracted first, so nothing overflows; sums are in double precision. A NaN or an infinity
 * among the inputs makes its whole line NaN (minus infinity does not, unless there is nothing else). Attention has many
 * lines, along the last of three axes or more: where these are rows in memory, exponentials are vector code.
 */
#include <math.h>
#include <string.h>

#include "base/vector_math.h"
#include "kernels.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct softmax_state {
  bool logarithm, vector;
  int64_t length, step; /* of a line */
  reap_nest lines;      /* operand 0: where lines begin */
} softmax_state;

static int softmax_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  const reap_value *value = reap_node_input(graph, node, 0);
  bool matrix = graph->opset < 13;
  int axis;
  REAP_TRY(reap_axis_resolve(graph, node, matrix ? 1 : -1, &axis));
  int64_t dims[REAP_MAX_RANK], strides[1][REAP_MAX_RANK];
  reap_storage_strides(value, strides[0]);
  memcpy(dims, value->dims, sizeof dims);
  REAP_TRY(reap_alloc(state, 1, sizeof(softmax_state)));
  softmax_state *s = *state;
  s->logarithm = node->op->id == REAP_OP_LogSoftmax;
  s->length = 1;
  s->step = strides[0][axis];
  for (int i = axis; i < (matrix ? value->rank : axis + 1); i++) {
    s->length *= dims[i];
    if (strides[0][i] < s->step) s->step = strides[0][i];
    dims[i] = 1;
  }
  s->vector = !s->logarithm && value->rank > 2 && axis == value->rank - 1 && s->step == 1;
  reap_nest_build(value->rank, dims, 1, strides, &s->lines);
  return REAP_OK;
}

static void softmax_line(int64_t n, int64_t step, bool logarithm, const float *x, float *y) {
  float largest = -INFINITY;
  for (int64_t i = 0; i < n; i++)
    if (x[i * step] > largest) largest = x[i * step];
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    float shifted = x[i * step] - largest, power = expf(shifted);
    sum += (double)power;
    y[i * step] = logarithm ? shifted : power;
  }
  float inverse = (float)(1.0 / sum), log_sum = (float)log(sum);
  for (int64_t i = 0; i < n; i++) y[i * step] = logarithm ? y[i * step] - log_sum : y[i * step] * inverse;
}

/* A line without gaps, in which LANES numbers go side by side. */
FOR_EACH_WIDTH static void softmax_row(int64_t n, const float *x, float *y) {
  enum { LANES = 16 };
  float most[LANES], largest = -INFINITY;
  double part[LANES] = {0}, sum = 0;
  const int64_t whole = n / LANES * LANES;
  for (int k = 0; k < LANES; k++) most[k] = -INFINITY;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int k = 0; k < LANES; k++) most[k] = x[i + k] > most[k] ? x[i + k] : most[k];
  for (int64_t i = whole; i < n; i++) most[0] = x[i] > most[0] ? x[i] : most[0];
  for (int k = 0; k < LANES; k++) largest = most[k] > largest ? most[k] : largest;
  REAP_INDEPENDENT
  for (int64_t i = 0; i < n; i++) y[i] = reap_expf(x[i] - largest);
  for (int64_t i = 0; i < whole; i += LANES)
    for (int k = 0; k < LANES; k++) part[k] += (double)y[i + k];
  for (int64_t i = whole; i < n; i++) sum += (double)y[i];
  for (int k = 0; k < LANES; k++) sum += part[k];
  const float inverse = (float)(1.0 / sum);
  REAP_INDEPENDENT
  for (int64_t i = 0; i < n; i++) y[i] *= inverse;
}

static int softmax_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                       float *output) {
  (void)graph;
  (void)node;
  const softmax_state *s = state;
  reap_cursor cursor = {{0}, {0}};
  do {
    for (int64_t i = 0; i < reap_nest_length(&s->lines); i++) {
      int64_t at = cursor.offset[0] + i * reap_nest_step(&s->lines, 0);
      if (s->vector)
        softmax_row(s->length, inputs[0] + at, output + at);
      else
        softmax_line(s->length, s->step, s->logarithm, inputs[0] + at, output + at);
    }
  } while (reap_nest_next(&s->lines, &cursor));
  return REAP_OK;
}

const reap_kernel reap_kernel_softmax = {softmax_prepare, softmax_run, NULL, false, NULL, false};
