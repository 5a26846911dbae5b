/* Kernels that move numbers without changing them: Slice, Split, Transpose, Expand, Tile, DepthToSpace and
 * SpaceToDepth.
 *
 * Method: a loop nest (kernels.h) from the input's storage order to the output's, built once; where both agree it
 * comes down to a few long memcpy. Memory-bound.
 */
#include <string.h>

#include "kernels.h"
#include "model/operators/moving.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

/* A box of the input becomes the output. */
typedef struct move_state {
  reap_nest nest; /* operands: output, input */
  int64_t from;   /* where the box begins */
} move_state;

static int move_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                    float *output) {
  const move_state *s = state;
  (void)graph;
  (void)node;
  reap_nest_copy(&s->nest, output, inputs[0] + s->from);
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

/* ---------------------------------------------------------------- Expand and Tile */

static int expand_build(const reap_graph *graph, const reap_node *node, move_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  int64_t strides[2][REAP_MAX_RANK] = {{0}}, own[REAP_MAX_RANK];
  reap_storage_strides(out, strides[0]);
  reap_storage_strides(in, own);
  for (int i = 0, lead = out->rank - in->rank; i < in->rank; i++) strides[1][lead + i] = in->dims[i] == 1 ? 0 : own[i];
  reap_nest_build(out->rank, out->dims, 2, strides, &s->nest);
  return REAP_OK;
}

static int expand_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return move_prepare(graph, node, state, expand_build);
}

const reap_kernel reap_kernel_expand = {expand_prepare, move_run, NULL, false, NULL, false};

static int tile_build(const reap_graph *graph, const reap_node *node, move_state *s) {
  int64_t to[REAP_MAX_RANK], from[REAP_MAX_RANK], strides[2][REAP_MAX_RANK];
  reap_tiling t;
  reap_storage_strides(reap_node_output(graph, node, 0), to);
  reap_storage_strides(reap_node_input(graph, node, 0), from);
  REAP_TRY(reap_tiling_resolve(graph, node, to, from, &t));
  memcpy(strides[0], t.to, sizeof t.to);
  memcpy(strides[1], t.from, sizeof t.from);
  reap_nest_build(t.rank, t.dims, 2, strides, &s->nest);
  return REAP_OK;
}

static int tile_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return move_prepare(graph, node, state, tile_build);
}

const reap_kernel reap_kernel_tile = {tile_prepare, move_run, NULL, false, NULL, false};

/* ---------------------------------------------------------------- DepthToSpace and SpaceToDepth */

/* Both sides as [batch, channel, row, row in the block, column, column in the block]. */
static int blocks_build(const reap_graph *graph, const reap_node *node, move_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  const bool to_space = node->op->id == REAP_OP_DepthToSpace;
  reap_blocks b;
  REAP_TRY(reap_blocks_resolve(graph, node, &b));
  int64_t deep[REAP_MAX_RANK], wide[REAP_MAX_RANK], strides[2][REAP_MAX_RANK];
  reap_storage_strides(to_space ? in : out, deep);
  reap_storage_strides(to_space ? out : in, wide);
  const int64_t dims[] = {in->dims[0], b.channels, b.height, b.size, b.width, b.size};
  const int64_t place = b.spread ? deep[1] : b.channels * deep[1]; /* from one place in a block to the next */
  const int64_t of_deep[] = {deep[0], b.spread ? b.size * b.size * deep[1] : deep[1], deep[2], b.size * place, deep[3],
                             place};
  const int64_t of_wide[] = {wide[0], wide[1], b.size * wide[2], wide[2], b.size * wide[3], wide[3]};
  memcpy(strides[to_space ? 1 : 0], of_deep, sizeof of_deep);
  memcpy(strides[to_space ? 0 : 1], of_wide, sizeof of_wide);
  reap_nest_build(6, dims, 2, strides, &s->nest);
  return REAP_OK;
}

static int blocks_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return move_prepare(graph, node, state, blocks_build);
}

const reap_kernel reap_kernel_blocks = {blocks_prepare, move_run, NULL, false, NULL, false};
