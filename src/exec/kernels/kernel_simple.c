/* Element-wise kernels of one input: Relu, Clip, Cast, the functions of model/operators/elementwise.h, and the copy
 * that Identity and Dropout are at inference.
 *
 * Memory-bound: one pass, in place if asked. A comparison with NaN is false, and both kernels are written so that the
 * false branch keeps the input: a NaN stays visible instead of turning into 0 or a bound.
 */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "model/operators/elementwise.h"
#include "reap/error.h"
#include "reap/memory.h"

static int check_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  (void)state;
  return reap_kernel_needs_input(graph, node, 0);
}

static int relu_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  (void)state;
  const float *x = inputs[0];
  int64_t n = reap_value_count(reap_node_output(graph, node, 0));
  REAP_INDEPENDENT
  for (int64_t i = 0; i < n; i++) output[i] = x[i] < 0.0f ? 0.0f : x[i];
  return REAP_OK;
}

const reap_kernel reap_kernel_relu = {check_prepare, relu_run, NULL, true, NULL, false};

/* ---------------------------------------------------------------- Clip */

void reap_kernel_clamp(int64_t n, const float *x, float low, float high, float *out) {
  REAP_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    float raised = x[i] < low ? low : x[i];
    out[i] = raised > high ? high : raised;
  }
}

bool reap_kernel_clip_bounds(const reap_graph *graph, const reap_node *node, float *low, float *high) {
  return reap_kernel_number(graph, node, 1, "min", -INFINITY, low) == REAP_OK &&
         reap_kernel_number(graph, node, 2, "max", INFINITY, high) == REAP_OK;
}

typedef struct clip_state {
  float low, high;
} clip_state;

static int clip_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  REAP_TRY(check_prepare(graph, node, backend, state));
  REAP_TRY(reap_alloc(state, 1, sizeof(clip_state)));
  clip_state *s = *state;
  REAP_TRY(reap_kernel_number(graph, node, 1, "min", -INFINITY, &s->low));
  return reap_kernel_number(graph, node, 2, "max", INFINITY, &s->high);
}

static int clip_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  const clip_state *s = state;
  reap_kernel_clamp(reap_value_count(reap_node_output(graph, node, 0)), inputs[0], s->low, s->high, output);
  return REAP_OK;
}

const reap_kernel reap_kernel_clip = {clip_prepare, clip_run, NULL, true, NULL, false};

/* ---------------------------------------------------------------- functions */

static int elementwise_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  REAP_TRY(check_prepare(graph, node, backend, state));
  REAP_TRY(reap_alloc(state, 1, sizeof(reap_elementwise)));
  return reap_elementwise_of(node, *state);
}

static int elementwise_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                           float *output) {
  const reap_elementwise *f = state;
  f->apply(reap_value_count(reap_node_output(graph, node, 0)), inputs[0], f->a, f->b, output);
  return REAP_OK;
}

const reap_kernel reap_kernel_elementwise = {elementwise_prepare, elementwise_run, NULL, true, NULL, false};

/* ---------------------------------------------------------------- copy */

static int copy_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  (void)state;
  int64_t n = reap_value_count(reap_node_output(graph, node, 0));
  if (output != inputs[0]) memcpy(output, inputs[0], (size_t)n * sizeof *output);
  return REAP_OK;
}

const reap_kernel reap_kernel_copy = {check_prepare, copy_run, NULL, true, NULL, false};

/* ---------------------------------------------------------------- Cast */

/* To booleans (ONNX's type 9), to integers, or to floats, which what depends on the images is held as anyway. */
static int cast_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  const reap_value *y = reap_node_output(graph, node, 0);
  const float *x = inputs[0];
  const int64_t n = reap_value_count(y), boolean = 9;
  if (y->dtype == REAP_F32) return copy_run(graph, node, state, inputs, output);
  if (reap_node_int(node, "to", 0) == boolean) {
    for (int64_t i = 0; i < n; i++) output[i] = x[i] != 0.0f;
  } else {
    for (int64_t i = 0; i < n; i++) output[i] = truncf(x[i]);
  }
  return REAP_OK;
}

const reap_kernel reap_kernel_cast = {check_prepare, cast_run, NULL, true, NULL, false};
