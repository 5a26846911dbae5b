/* Gemm and MatMul with constant weights: output [rows, m] = input [rows, n] * weights [m, n]' + bias [m].
 *
 * Method: one SGEMM, of the backend, that adds to the bias. Leading axes of the input are flattened to rows. A block
 * that is not stored row-major has to be brought into rows first, and back; that is the only case that needs scratch.
 */
#include <string.h>

#include "base/numbers.h"
#include "chain.h"
#include "kernels.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { LEAST_TILE = 256, TILE_FLOATS = 1 << 19 };

typedef struct gemm_state {
  int64_t rows, m, n;
  const float *weights, *bias; /* in the graph; bias may be NULL */
  reap_multiply_call multiply;
  reap_fusion fusion;
  reap_chain chain;
  int64_t tile;                    /* rows computed at a time */
  float *input_rows, *output_rows; /* scratch, NULL where the tensors are stored as rows */
} gemm_state;

static void gemm_destroy(void **state) {
  gemm_state *s = *state;
  reap_free(&s->input_rows);
  reap_free(&s->output_rows);
}

static int fill(const reap_graph *graph, const reap_node *node, reap_backend backend, gemm_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  const reap_tensor *weights = reap_node_constant(graph, node, 1), *bias = reap_node_constant(graph, node, 2);
  if (!weights || weights->dtype != REAP_F32 || weights->rank != 2)
    return reap_error(REAP_ERR_INPUT, "%s: the weights have to be a constant float32 matrix", reap_node_title(node));
  s->m = weights->dims[0];
  s->n = weights->dims[1];
  if (bias && (bias->dtype != REAP_F32 || bias->count != s->m))
    return reap_error(REAP_ERR_INPUT, "%s: the bias has to hold one float32 per output", reap_node_title(node));
  if (in->rank < 1 || in->dims[in->rank - 1] != s->n)
    return reap_error(REAP_ERR_INPUT, "%s: the input's last axis does not fit weights for %lld columns",
                      reap_node_title(node), (long long)s->n);
  s->rows = 1;
  for (int i = 0; i < in->rank - 1; i++) s->rows *= in->dims[i];
  s->tile = s->fusion.chain && s->rows > LEAST_TILE ? reap_larger(LEAST_TILE, TILE_FLOATS / s->m) : s->rows;
  REAP_TRY(reap_kernel_choose_product(node, backend, s->rows, graph->batch, &s->multiply));
  s->weights = weights->f32;
  s->bias = bias ? bias->f32 : NULL;
  if (!reap_stored_row_major(in)) REAP_TRY(reap_alloc(&s->input_rows, s->rows * s->n, sizeof *s->input_rows));
  if (!reap_stored_row_major(out)) REAP_TRY(reap_alloc(&s->output_rows, s->rows * s->m, sizeof *s->output_rows));
  return REAP_OK;
}

static int gemm_prepare_fused(const reap_graph *graph, const reap_node *node, reap_backend backend,
                              const reap_fusion *fusion, void **state) {
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(gemm_state)));
  gemm_state *s = *state;
  s->fusion = *fusion;
  if (fusion->chain) s->chain = *fusion->chain;
  return fill(graph, node, backend, s);
}

static int gemm_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  return gemm_prepare_fused(graph, node, backend, &(reap_fusion){.add = false}, state);
}

static int multiply(const gemm_state *s, int64_t rows, const float *x, float *y) {
  for (int64_t r = 0; r < rows && s->bias; r++) memcpy(y + r * s->m, s->bias, (size_t)s->m * sizeof *y);
  REAP_TRY(s->multiply('T', 'N', s->m, rows, s->n, 1.0f, s->weights, s->n, x, s->n, s->bias ? 1.0f : 0.0f, y, s->m));
  if (s->fusion.chain) reap_chain_apply(&s->chain, rows * s->m, y, y);
  if (s->fusion.clamp) reap_kernel_clamp(rows * s->m, y, s->fusion.low, s->fusion.high, y);
  return REAP_OK;
}

static int gemm_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  const gemm_state *s = state;
  const float *x = inputs[0];
  float *y = s->output_rows ? s->output_rows : output;
  if (s->input_rows) {
    reap_storage_to_rows(reap_node_input(graph, node, 0), x, s->input_rows);
    x = s->input_rows;
  }
  for (int64_t r = 0; r < s->rows; r += s->tile)
    REAP_TRY(multiply(s, reap_smaller(s->tile, s->rows - r), x + r * s->n, y + r * s->m));
  if (s->output_rows) reap_rows_to_storage(reap_node_output(graph, node, 0), s->output_rows, output);
  return REAP_OK;
}

const reap_kernel reap_kernel_gemm = {gemm_prepare, gemm_run, gemm_destroy, false, gemm_prepare_fused, false};
