/* Flatten, Reshape, Squeeze and Unsqueeze: the same numbers in ONNX's row-major order under another shape.
 *
 * The numbers move unless both sides are stored row-major or have the same shape. Where neither is, they pass through
 * rows. Memory-bound.
 */
#include <string.h>

#include "kernels.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct reshape_state {
  float *rows; /* scratch [count], NULL unless neither side is stored row-major and shapes differ */
} reshape_state;

static void reshape_destroy(void **state) {
  reshape_state *s = *state;
  reap_free(&s->rows);
}

static int reshape_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  if (reap_value_count(in) != reap_value_count(out))
    return reap_error(REAP_ERR_INTERNAL, "%s: the shapes hold different numbers of elements", reap_node_title(node));
  REAP_TRY(reap_calloc(state, 1, sizeof(reshape_state)));
  reshape_state *s = *state;
  if (reap_stored_row_major(in) || reap_stored_row_major(out) ||
      reap_same_dims(in->rank, in->dims, out->rank, out->dims))
    return REAP_OK;
  return reap_alloc(&s->rows, reap_value_count(in), sizeof *s->rows);
}

static int reshape_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                       float *output) {
  const reshape_state *s = state;
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  if (s->rows) {
    reap_storage_to_rows(in, inputs[0], s->rows);
    reap_rows_to_storage(out, s->rows, output);
  } else if (reap_stored_row_major(in) == reap_stored_row_major(out)) {
    memcpy(output, inputs[0], (size_t)reap_value_count(in) * sizeof *output);
  } else if (reap_stored_row_major(out)) {
    reap_storage_to_rows(in, inputs[0], output);
  } else {
    reap_rows_to_storage(out, inputs[0], output);
  }
  return REAP_OK;
}

const reap_kernel reap_kernel_reshape = {reshape_prepare, reshape_run, reshape_destroy, false, NULL, false};
