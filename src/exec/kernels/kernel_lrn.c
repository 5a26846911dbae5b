/* LRN: y = x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta.
 *
 * Sums are differences of running sums in double precision, which of float32 squares leave no error to be seen. Cost:
 * one power for each number.
 */
#include <math.h>

#include "kernels.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct lrn_state {
  int64_t channels, inner, outer; /* the block as [outer, channels, inner] in storage order */
  int64_t before, behind;         /* neighbours on each side, at most all of them */
  double alpha, beta, bias;       /* alpha: by size */
  double *sums;                   /* [channels + 1] of the squares of the channels before */
} lrn_state;

static void lrn_destroy(void **state) {
  lrn_state *s = *state;
  reap_free(&s->sums);
}

static int fill(const reap_graph *graph, const reap_node *node, lrn_state *s) {
  const reap_value *x = reap_node_input(graph, node, 0);
  const int64_t size = reap_node_int(node, "size", 0);
  int64_t strides[REAP_MAX_RANK];
  reap_storage_strides(x, strides);
  s->channels = x->dims[1];
  s->inner = strides[1];
  s->outer = reap_value_count(x) / (s->channels * s->inner);
  s->before = (size - 1) / 2 < s->channels ? (size - 1) / 2 : s->channels;
  s->behind = size / 2 < s->channels ? size / 2 : s->channels;
  s->alpha = (double)reap_node_float(node, "alpha", 1e-4f) / (double)size;
  s->beta = (double)reap_node_float(node, "beta", 0.75f);
  s->bias = (double)reap_node_float(node, "bias", 1.0f);
  return reap_alloc(&s->sums, s->channels + 1, sizeof *s->sums);
}

static int lrn_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(lrn_state)));
  return fill(graph, node, *state);
}

/* The channels of one position, `inner` apart. */
static void normalise(const lrn_state *s, const float *x, float *y) {
  s->sums[0] = 0;
  for (int64_t c = 0; c < s->channels; c++) {
    const double value = (double)x[c * s->inner];
    s->sums[c + 1] = s->sums[c] + value * value;
  }
  for (int64_t c = 0; c < s->channels; c++) {
    const int64_t first = c > s->before ? c - s->before : 0;
    const int64_t end = c + s->behind < s->channels ? c + s->behind + 1 : s->channels;
    const double power = s->bias + s->alpha * (s->sums[end] - s->sums[first]);
    y[c * s->inner] = (float)((double)x[c * s->inner] / pow(power, s->beta));
  }
}

static int lrn_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                   float *output) {
  (void)graph;
  (void)node;
  const lrn_state *s = state;
  for (int64_t o = 0; o < s->outer; o++)
    for (int64_t i = 0; i < s->inner; i++) {
      const int64_t at = o * s->channels * s->inner + i;
      normalise(s, inputs[0] + at, output + at);
    }
  return REAP_OK;
}

const reap_kernel reap_kernel_lrn = {lrn_prepare, lrn_run, lrn_destroy, false, NULL, false};
