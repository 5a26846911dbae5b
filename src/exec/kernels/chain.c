/* Chains of functions of one number; see chain.h.
 *
 * Method: piece by piece, each link a loop over numbers that stay in the cache: one read and one write of the value
 * where the nodes one by one take one of each. Cost of a link: that of its node's loop.
 */
#include "chain.h"

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "model/operators/elementwise.h"
#include "reap/error.h"
#include "reap/memory.h"

/* ---------------------------------------------------------------- links */

static void clamp(int64_t n, const float *x, float low, float high, float *y) { reap_kernel_clamp(n, x, low, high, y); }

/* A function of two: one is the result so far, the other x or a number. */
static bool combines(const reap_graph *graph, const reap_node *node, int x, int at, reap_link *link) {
  if (node->n_inputs != 2) return false;
  link->swapped = node->inputs[0] != at;
  const int other = node->inputs[link->swapped ? 0 : 1];
  if (node->inputs[link->swapped ? 1 : 0] != at || other < 0) return false;
  link->with_x = other == x;
  const reap_tensor *constant = graph->values[other].constant;
  if (link->with_x) return true;
  if (!constant || constant->count != 1) return false;
  link->number = (float)reap_tensor_number(constant, 0);
  return constant->dtype == REAP_F32 || node->op->id == REAP_OP_Pow;
}

static bool make_link(const reap_graph *graph, const reap_node *node, int x, int at, reap_link *link) {
  reap_elementwise f;
  link->combine = reap_arithmetic_loop_of(node->op);
  if (link->combine) return combines(graph, node, x, at, link);
  if (node->n_inputs < 1 || node->inputs[0] != at) return false;
  if (reap_operator_rectifies(node->op)) {
    link->apply = clamp;
    link->b = INFINITY;
    return true;
  }
  if (node->op->id == REAP_OP_Clip) {
    link->apply = clamp;
    return reap_kernel_clip_bounds(graph, node, &link->a, &link->b);
  }
  if (!reap_is_elementwise(node->op) || reap_elementwise_of(node, &f) != REAP_OK) return false;
  link->apply = f.apply;
  link->a = f.a;
  link->b = f.b;
  return true;
}

bool reap_chain_append(const reap_graph *graph, const reap_node *node, int x, int at, reap_chain *chain) {
  const reap_value *before = &graph->values[at], *behind = reap_node_output(graph, node, 0);
  reap_link link = {.apply = NULL};
  if (chain->n == REAP_CHAIN_LINKS || !reap_same_storage(before, behind) || before->dtype != REAP_F32 ||
      behind->dtype != REAP_F32 || !make_link(graph, node, x, at, &link))
    return false;
  chain->links[chain->n++] = link;
  return true;
}

/* ---------------------------------------------------------------- running */

static void apply_link(const reap_link *link, int64_t n, const float *x, const float *from, float *to) {
  if (link->apply) {
    link->apply(n, from, link->a, link->b, to);
    return;
  }
  const float *z = link->with_x ? x : &link->number;
  const int64_t step = link->with_x ? 1 : 0;
  if (link->swapped)
    link->combine(n, to, z, step, from, 1);
  else
    link->combine(n, to, from, 1, z, step);
}

void reap_chain_apply(const reap_chain *chain, int64_t count, const float *x, float *y) {
  enum { PIECE = 2048 };
  float result[PIECE];
  for (int64_t at = 0; at < count; at += PIECE) {
    const int64_t n = count - at < PIECE ? count - at : PIECE;
    const float *from = x + at;
    for (int k = 0; k < chain->n; k++) { /* the last one alone may write over x */
      float *to = k == chain->n - 1 ? y + at : result;
      apply_link(&chain->links[k], n, x + at, from, to);
      from = to;
    }
  }
}

/* ---------------------------------------------------------------- a chain as a step of its own */

static int chain_prepare_fused(const reap_graph *graph, const reap_node *node, reap_backend backend,
                               const reap_fusion *fusion, void **state) {
  (void)graph;
  (void)node;
  (void)backend;
  REAP_TRY(reap_alloc(state, 1, sizeof(reap_chain)));
  *(reap_chain *)*state = *fusion->chain;
  return REAP_OK;
}

/* x is what the first node reads that is not constant. */
static int chain_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                     float *output) {
  const float *x = inputs[0] ? inputs[0] : inputs[1];
  reap_chain_apply(state, reap_value_count(reap_node_output(graph, node, 0)), x, output);
  return REAP_OK;
}

const reap_kernel reap_kernel_chain = {NULL, chain_run, NULL, true, chain_prepare_fused, false};
