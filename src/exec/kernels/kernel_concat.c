/* Concat along any axis.
 *
 * All operands have one storage order: in that order every input is [outer, length], and the output
 * [outer, sum of lengths], whose rows are filled by memcpy. Constants are brought into storage order once.
 */
#include <string.h>

#include "kernels.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct concat_state {
  int64_t outer, total;
  int n;
  int64_t *lengths;  /* [n] */
  float **constants; /* [n], NULL where the input is computed */
} concat_state;

static void concat_destroy(void **state) {
  concat_state *s = *state;
  for (int i = 0; i < s->n && s->constants; i++) reap_free(&s->constants[i]);
  reap_free(&s->constants);
  reap_free(&s->lengths);
}

/* Elements of one step along `axis` and of everything further in, in storage order. */
static int64_t row_length(const reap_value *value, bool row_major, int axis) {
  int64_t strides[REAP_MAX_RANK];
  reap_storage_strides_of(row_major, value->rank, value->dims, strides);
  return strides[axis] * value->dims[axis];
}

static int fill(const reap_graph *graph, const reap_node *node, concat_state *s) {
  const reap_value *out = reap_node_output(graph, node, 0);
  const bool row_major = reap_stored_row_major(out);
  int axis;
  REAP_TRY(reap_axis_resolve(graph, node, 1, &axis));
  s->n = node->n_inputs;
  REAP_TRY(reap_calloc(&s->lengths, s->n, sizeof *s->lengths));
  REAP_TRY(reap_calloc(&s->constants, s->n, sizeof *s->constants));
  s->total = row_length(out, row_major, axis);
  s->outer = s->total > 0 ? reap_value_count(out) / s->total : 0;
  for (int i = 0; i < s->n; i++) {
    const reap_value *in = reap_node_input(graph, node, i);
    if (!in || in->rank != out->rank)
      return reap_error(REAP_ERR_INPUT, "%s: input %d is missing or does not fit", reap_node_title(node), i);
    s->lengths[i] = row_length(in, row_major, axis);
    if (in->constant) REAP_TRY(reap_kernel_constant(in->constant, row_major, in->rank, in->dims, &s->constants[i]));
  }
  return REAP_OK;
}

static int concat_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_calloc(state, 1, sizeof(concat_state)));
  return fill(graph, node, *state);
}

static int concat_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                      float *output) {
  (void)graph;
  (void)node;
  const concat_state *s = state;
  int64_t at = 0;
  for (int i = 0; i < s->n; i++) {
    const float *from = s->constants[i] ? s->constants[i] : inputs[i];
    int64_t length = s->lengths[i];
    for (int64_t o = 0; o < s->outer && length > 0; o++)
      memcpy(output + o * s->total + at, from + o * length, (size_t)length * sizeof *output);
    at += length;
  }
  return REAP_OK;
}

const reap_kernel reap_kernel_concat = {concat_prepare, concat_run, concat_destroy, false, NULL, false};
