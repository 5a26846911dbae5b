/* Add, Sub, Mul, Div, Pow, PRelu, and Sum, Min and Max of two, with ONNX's broadcasting.
 *
 * Method: output and inputs become operands of one loop nest (kernels.h) with stride 0 on broadcast axes. Equal shapes
 * collapse to one loop over the block, a constant per channel to rows of channels. Constants are brought into the
 * output's storage order once. One pass over memory; in place if asked and input 0 has the output's shape. Min and Max
 * of a NaN are one.
 */
#include <math.h>

#include "chain.h"
#include "kernels.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct arithmetic_state {
  reap_nest nest; /* operands: output, input 0, input 1 */
  reap_arithmetic_loop loop;
  float *constant[2]; /* in storage order, or NULL if the input is computed */
  reap_fusion fusion; /* clamp only */
} arithmetic_state;

/* The steps that occur in practice get loops of their own, which vectorise. */
#define DEFINE_LOOP(name, expression)                                                                    \
  FOR_EACH_WIDTH static void name(int64_t n, float *out, const float *a, int64_t step_a, const float *b, \
                                  int64_t step_b) {                                                      \
    if (step_a == 1 && step_b == 1) {                                                                    \
      REAP_INDEPENDENT                                                                                   \
      for (int64_t i = 0; i < n; i++) {                                                                  \
        float x = a[i], y = b[i];                                                                        \
        out[i] = expression;                                                                             \
      }                                                                                                  \
    } else if (step_a == 1 && step_b == 0) {                                                             \
      float y = b[0];                                                                                    \
      REAP_INDEPENDENT                                                                                   \
      for (int64_t i = 0; i < n; i++) {                                                                  \
        float x = a[i];                                                                                  \
        out[i] = expression;                                                                             \
      }                                                                                                  \
    } else {                                                                                             \
      for (int64_t i = 0; i < n; i++) {                                                                  \
        float x = a[i * step_a], y = b[i * step_b];                                                      \
        out[i] = expression;                                                                             \
      }                                                                                                  \
    }                                                                                                    \
  }

DEFINE_LOOP(add, x + y)
DEFINE_LOOP(subtract, x - y)
DEFINE_LOOP(multiply, x *y)
DEFINE_LOOP(divide, x / y)
DEFINE_LOOP(power, y == 2.0f ? x * x : powf(x, y))
DEFINE_LOOP(minimum, x != x ? x : (x < y ? x : y))
DEFINE_LOOP(maximum, x != x ? x : (x > y ? x : y))
DEFINE_LOOP(rectify, x < 0 ? x * y : x)

static const reap_arithmetic_loop loops[REAP_OPERATORS] = {
    [REAP_OP_Add] = add,      [REAP_OP_Sum] = add,     [REAP_OP_Sub] = subtract,
    [REAP_OP_Mul] = multiply, [REAP_OP_Div] = divide,  [REAP_OP_Pow] = power,
    [REAP_OP_Min] = minimum,  [REAP_OP_Max] = maximum, [REAP_OP_PRelu] = rectify};

reap_arithmetic_loop reap_arithmetic_loop_of(const reap_operator *op) { return loops[op->id]; }

static void arithmetic_destroy(void **state) {
  arithmetic_state *s = *state;
  reap_free(&s->constant[0]);
  reap_free(&s->constant[1]);
}

static int fill(const reap_graph *graph, const reap_node *node, arithmetic_state *s) {
  s->loop = loops[node->op->id];
  if (!s->loop) return reap_error(REAP_ERR_INTERNAL, "%s: no such arithmetic", reap_node_title(node));
  const reap_value *out = reap_node_output(graph, node, 0);
  int64_t strides[3][REAP_MAX_RANK];
  reap_storage_strides(out, strides[0]);
  for (int slot = 0; slot < 2; slot++)
    REAP_TRY(reap_kernel_operand(graph, node, slot, out, &s->constant[slot], strides[1 + slot]));
  reap_nest_build(out->rank, out->dims, 3, strides, &s->nest);
  return REAP_OK;
}

static int arithmetic_prepare_fused(const reap_graph *graph, const reap_node *node, reap_backend backend,
                                    const reap_fusion *fusion, void **state) {
  (void)backend;
  REAP_TRY(reap_calloc(state, 1, sizeof(arithmetic_state)));
  arithmetic_state *s = *state;
  s->fusion = *fusion;
  return fill(graph, node, s);
}

static int arithmetic_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  return arithmetic_prepare_fused(graph, node, backend, &(reap_fusion){.add = false}, state);
}

/* One innermost loop, piece by piece where results are clamped, so that they are still in the cache. */
static void run_loop(const arithmetic_state *s, int64_t n, float *out, const float *a, int64_t step_a, const float *b,
                     int64_t step_b) {
  enum { PIECE = 4096 };
  if (!s->fusion.clamp) {
    s->loop(n, out, a, step_a, b, step_b);
    return;
  }
  for (int64_t at = 0; at < n; at += PIECE) {
    const int64_t here = n - at < PIECE ? n - at : PIECE;
    s->loop(here, out + at, a + at * step_a, step_a, b + at * step_b, step_b);
    reap_kernel_clamp(here, out + at, s->fusion.low, s->fusion.high, out + at);
  }
}

static int arithmetic_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                          float *output) {
  (void)graph;
  (void)node;
  const arithmetic_state *s = state;
  const reap_nest *nest = &s->nest;
  const float *a = s->constant[0] ? s->constant[0] : inputs[0];
  const float *b = s->constant[1] ? s->constant[1] : inputs[1];
  int64_t n = reap_nest_length(nest), step_a = reap_nest_step(nest, 1), step_b = reap_nest_step(nest, 2);
  reap_cursor cursor = {{0}, {0}};
  do run_loop(s, n, output + cursor.offset[0], a + cursor.offset[1], step_a, b + cursor.offset[2], step_b);
  while (reap_nest_next(nest, &cursor));
  return REAP_OK;
}

const reap_kernel reap_kernel_arithmetic = {arithmetic_prepare,       arithmetic_run, arithmetic_destroy, true,
                                            arithmetic_prepare_fused, false};
