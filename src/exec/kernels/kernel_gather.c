/* Gather along an axis, by constant indices: one copy of a slice for each index.
 *
 * Method: a loop nest (kernels.h) over the axes that stay, from the input's storage order to the output's. Memory-bound
 * where slices are long; a list of many indices into the innermost axis costs a call for each number.
 */
#include "kernels.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct gather_state {
  reap_nest nest;     /* operands: output, input */
  int64_t count;      /* of indices */
  int64_t *to, *from; /* [count] where slices begin */
} gather_state;

static void gather_destroy(void **state) {
  gather_state *s = *state;
  reap_free(&s->to);
  reap_free(&s->from);
}

static int fill(const reap_graph *graph, const reap_node *node, gather_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  const reap_tensor *index = reap_node_constant(graph, node, 1);
  int axis;
  int64_t own[REAP_MAX_RANK], to[REAP_MAX_RANK], dims[REAP_MAX_RANK], strides[2][REAP_MAX_RANK];
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  reap_storage_strides(in, own);
  reap_storage_strides(out, to);
  for (int i = 0; i < in->rank; i++) {
    dims[i] = i == axis ? 1 : in->dims[i];
    strides[0][i] = i == axis ? 0 : to[i < axis ? i : i + index->rank - 1];
    strides[1][i] = i == axis ? 0 : own[i];
  }
  reap_nest_build(in->rank, dims, 2, strides, &s->nest);
  s->count = index->count;
  REAP_TRY(reap_alloc(&s->to, s->count, sizeof *s->to));
  REAP_TRY(reap_alloc(&s->from, s->count, sizeof *s->from));
  for (int64_t k = 0; k < s->count; k++) {
    s->from[k] = (index->i64[k] < 0 ? index->i64[k] + in->dims[axis] : index->i64[k]) * own[axis];
    s->to[k] = 0;
    for (int64_t i = index->rank - 1, rest = k; i >= 0; rest /= index->dims[i--])
      s->to[k] += rest % index->dims[i] * to[axis + i];
  }
  return REAP_OK;
}

static int gather_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(gather_state)));
  return fill(graph, node, *state);
}

static int gather_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                      float *output) {
  (void)graph;
  (void)node;
  const gather_state *s = state;
  for (int64_t k = 0; k < s->count; k++) reap_nest_copy(&s->nest, output + s->to[k], inputs[0] + s->from[k]);
  return REAP_OK;
}

const reap_kernel reap_kernel_gather = {gather_prepare, gather_run, gather_destroy, false, NULL, false};
