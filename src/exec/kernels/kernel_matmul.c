/* MatMul: a layer, which is Gemm's kernel, or the product of two stacks of matrices, of which any may depend on the
 * images.
 *
 * Method of the product: one SGEMM for each matrix of the output; a stack of one matrix meets all of the other's. Where
 * the right operand is a single matrix, the left one's rows are multiplied all at once. Operands that are not stored
 * row-major are brought into rows first, and the output back; that is the only case that needs scratch.
 */
#include <string.h>

#include "chain.h"
#include "kernels.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct matmul_state {
  bool layer;
  void *gemm;       /* the layer's state */
  reap_nest stacks; /* operands: output, left and right, in matrices' elements */
  int64_t rows, columns, depth;
  reap_multiply_call multiply;
  float *scratch[3]; /* output, left, right in rows; NULL where they are stored so */
  reap_fusion fusion;
  reap_chain chain;
} matmul_state;

static void matmul_destroy(void **state) {
  matmul_state *s = *state;
  reap_kernel_release(&reap_kernel_gemm, &s->gemm);
  for (int k = 0; k < 3; k++) reap_free(&s->scratch[k]);
}

/* Row-major strides of the stack of an operand along the output's leading axes, 0 where it is broadcast. */
static void stack_strides(const reap_value *value, int rank, int64_t *strides) {
  int64_t own[REAP_MAX_RANK];
  reap_row_major_strides(value->rank, value->dims, own);
  for (int i = 0; i < rank; i++) {
    const int k = i - (rank + 2 - value->rank);
    strides[i] = k >= 0 && value->dims[k] != 1 ? own[k] : 0;
  }
}

static int build(const reap_graph *graph, const reap_node *node, reap_backend backend, matmul_state *s) {
  const reap_value *operands[] = {reap_node_output(graph, node, 0), reap_node_input(graph, node, 0),
                                  reap_node_input(graph, node, 1)};
  const reap_value *y = operands[0], *a = operands[1];
  int64_t dims[REAP_MAX_RANK], strides[REAP_NEST_OPERANDS][REAP_MAX_RANK];
  int rank = y->rank - 2;
  memcpy(dims, y->dims, sizeof dims);
  for (int k = 0; k < 3; k++) {
    stack_strides(operands[k], rank, strides[k]);
    if (!operands[k]->constant && !reap_stored_row_major(operands[k]))
      REAP_TRY(reap_alloc(&s->scratch[k], reap_value_count(operands[k]), sizeof(float)));
  }
  s->rows = y->dims[rank];
  s->columns = y->dims[rank + 1];
  s->depth = a->dims[a->rank - 1];
  const bool one_right = reap_value_count(operands[2]) == s->depth * s->columns;
  if (one_right && reap_value_count(a) == reap_value_count(y) / s->columns * s->depth) {
    s->rows = reap_value_count(y) / s->columns;
    rank = 0;
  }
  reap_nest_build(rank, dims, REAP_NEST_OPERANDS, strides, &s->stacks);
  return reap_kernel_choose_product(node, backend, s->rows, 0, &s->multiply);
}

static int matmul_prepare_fused(const reap_graph *graph, const reap_node *node, reap_backend backend,
                                const reap_fusion *fusion, void **state) {
  REAP_TRY(reap_calloc(state, 1, sizeof(matmul_state)));
  matmul_state *s = *state;
  s->layer = node->linear != NULL;
  s->fusion = *fusion;
  if (fusion->chain) s->chain = *fusion->chain;
  return s->layer ? reap_kernel_gemm.prepare_fused(graph, node, backend, fusion, &s->gemm)
                  : build(graph, node, backend, s);
}

static int matmul_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  return matmul_prepare_fused(graph, node, backend, &(reap_fusion){.add = false}, state);
}

/* Operand k of the product, in rows. */
static const float *in_rows(const reap_graph *graph, const reap_node *node, const matmul_state *s, int slot,
                            const float *const *inputs) {
  const reap_value *value = reap_node_input(graph, node, slot);
  if (value->constant) return value->constant->f32;
  if (!s->scratch[1 + slot]) return inputs[slot];
  reap_storage_to_rows(value, inputs[slot], s->scratch[1 + slot]);
  return s->scratch[1 + slot];
}

static int multiply(const matmul_state *s, const float *a, const float *b, float *y) {
  return s->multiply('N', 'N', s->columns, s->rows, s->depth, 1.0f, b, s->columns, a, s->depth, 0.0f, y, s->columns);
}

static int matmul_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                      float *output) {
  const matmul_state *s = state;
  if (s->layer) return reap_kernel_gemm.run(graph, node, s->gemm, inputs, output);
  const reap_value *value = reap_node_output(graph, node, 0);
  const float *a = in_rows(graph, node, s, 0, inputs), *b = in_rows(graph, node, s, 1, inputs);
  float *y = s->scratch[0] ? s->scratch[0] : output;
  const reap_nest *nest = &s->stacks;
  reap_cursor cursor = {{0}, {0}};
  do
    for (int64_t i = 0; i < reap_nest_length(nest); i++)
      REAP_TRY(multiply(s, a + cursor.offset[1] + i * reap_nest_step(nest, 1),
                        b + cursor.offset[2] + i * reap_nest_step(nest, 2),
                        y + cursor.offset[0] + i * reap_nest_step(nest, 0)));
  while (reap_nest_next(nest, &cursor));
  if (s->fusion.chain) reap_chain_apply(&s->chain, reap_value_count(value), y, y);
  if (s->fusion.clamp) reap_kernel_clamp(reap_value_count(value), y, s->fusion.low, s->fusion.high, y);
  if (s->scratch[0]) reap_rows_to_storage(value, y, output);
  return REAP_OK;
}

const reap_kernel reap_kernel_matmul = {matmul_prepare, matmul_run, matmul_destroy, false, matmul_prepare_fused, false};
