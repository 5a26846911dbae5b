/* Kernels that move numbers without changing them: Slice, Pad, Transpose.
 *
 * Method: a loop nest (kernels.h) from the input's storage order to the output's, built once; where both agree it
 * comes down to a few long memcpy. Memory-bound.
 */
#include "kernels.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Slice, Pad and Transpose: a box of the input goes to a box of the output, the rest of which is `fill`. */
typedef struct move_state {
  reap_nest nest;   /* operands: output, input */
  int64_t to, from; /* where the boxes begin */
  bool filled;
  float fill;
} move_state;

static int move_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  const move_state *s = state;
  if (s->filled) {
    int64_t n = reap_value_count(reap_node_output(graph, node, 0));
    for (int64_t i = 0; i < n; i++) output[i] = s->fill;
  }
  reap_nest_copy(&s->nest, output + s->to, inputs[0] + s->from);
  return REAP_OK;
}

static int move_prepare(const reap_graph *graph, const reap_node *node, void **state,
                        int (*build)(const reap_graph *, const reap_node *, move_state *)) {
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(move_state)));
  return build(graph, node, *state);
}

/* ---------------------------------------------------------------- Slice */

static int slice_build(const reap_graph *graph, const reap_node *node, move_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  reap_slice slice;
  REAP_TRY(reap_slice_resolve(graph, node, &slice));
  int64_t strides[2][REAP_MAX_RANK];
  reap_storage_strides(out, strides[0]);
  reap_storage_strides(in, strides[1]);
  for (int i = 0; i < in->rank; i++) {
    s->from += slice.start[i] * strides[1][i];
    strides[1][i] *= slice.count[i] > 1 ? slice.step[i] : 1; /* the step of a single element may be anything */
  }
  reap_nest_build(out->rank, out->dims, 2, strides, &s->nest);
  return REAP_OK;
}

static int slice_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return move_prepare(graph, node, state, slice_build);
}

const reap_kernel reap_kernel_slice = {slice_prepare, move_run, NULL, false, NULL, false};

/* ---------------------------------------------------------------- Pad */

static int pad_build(const reap_graph *graph, const reap_node *node, move_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  reap_padding padding;
  REAP_TRY(reap_padding_resolve(graph, node, &padding));
  int64_t strides[2][REAP_MAX_RANK];
  reap_storage_strides(out, strides[0]);
  reap_storage_strides(in, strides[1]);
  for (int i = 0; i < in->rank; i++) s->to += padding.before[i] * strides[0][i];
  s->filled = reap_value_count(in) != reap_value_count(out);
  s->fill = (float)padding.value;
  reap_nest_build(in->rank, in->dims, 2, strides, &s->nest);
  return REAP_OK;
}

static int pad_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return move_prepare(graph, node, state, pad_build);
}

const reap_kernel reap_kernel_pad = {pad_prepare, move_run, NULL, false, NULL, false};

/* ---------------------------------------------------------------- Transpose */

static int transpose_build(const reap_graph *graph, const reap_node *node, move_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  int permutation[REAP_MAX_RANK];
  REAP_TRY(reap_permutation_resolve(graph, node, permutation));
  int64_t own[REAP_MAX_RANK], strides[2][REAP_MAX_RANK];
  reap_storage_strides(out, strides[0]);
  reap_storage_strides(in, own);
  for (int i = 0; i < in->rank; i++) strides[1][i] = own[permutation[i]];
  reap_nest_build(out->rank, out->dims, 2, strides, &s->nest);
  return REAP_OK;
}

static int transpose_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return move_prepare(graph, node, state, transpose_build);
}

const reap_kernel reap_kernel_transpose = {transpose_prepare, move_run, NULL, false, NULL, false};
