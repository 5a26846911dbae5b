/* Comparisons, logic and Where, with ONNX's broadcasting. Booleans that depend on the images are held as 0 and 1.
 *
 * Method: output and inputs become operands of one loop nest (kernels.h) with stride 0 on broadcast axes; constants are
 * brought into the output's storage order once. One pass over memory. A comparison with a NaN is false.
 */
#include "kernels.h"
#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { MOST_INPUTS = REAP_NEST_OPERANDS - 1 };

typedef struct compare_state {
  reap_nest nest; /* operands: output, inputs */
  int inputs;
  float *constant[MOST_INPUTS]; /* NULL where the input is computed */
} compare_state;

static void compare_destroy(void **state) {
  compare_state *s = *state;
  for (int i = 0; i < MOST_INPUTS; i++) reap_free(&s->constant[i]);
}

static int fill(const reap_graph *graph, const reap_node *node, compare_state *s) {
  const reap_value *out = reap_node_output(graph, node, 0);
  int64_t strides[REAP_NEST_OPERANDS][REAP_MAX_RANK];
  s->inputs = node->n_inputs;
  reap_storage_strides(out, strides[0]);
  for (int slot = 0; slot < s->inputs; slot++)
    REAP_TRY(reap_kernel_operand(graph, node, slot, out, &s->constant[slot], strides[1 + slot]));
  reap_nest_build(out->rank, out->dims, 1 + s->inputs, strides, &s->nest);
  return REAP_OK;
}

static int compare_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  REAP_TRY(reap_calloc(state, 1, sizeof(compare_state)));
  return fill(graph, node, *state);
}

static bool holds(reap_operator_id op, float x, float y) {
  switch (op) {
    case REAP_OP_Equal:
      return x == y;
    case REAP_OP_Less:
      return x < y;
    case REAP_OP_LessOrEqual:
      return x <= y;
    case REAP_OP_Greater:
      return x > y;
    case REAP_OP_GreaterOrEqual:
      return x >= y;
    case REAP_OP_And:
      return x != 0 && y != 0;
    case REAP_OP_Or:
      return x != 0 || y != 0;
    case REAP_OP_Xor:
      return (x != 0) != (y != 0);
    default: /* Not, of a single input */
      return x == 0;
  }
}

/* Innermost loops; in[k] has the step steps[k]. */
static void compare_line(reap_operator_id op, int64_t n, const float *const *in, const int64_t *steps, float *out,
                         int64_t step) {
  for (int64_t i = 0; i < n; i++) out[i * step] = holds(op, in[0][i * steps[0]], in[1][i * steps[1]]);
}

static void where_line(reap_operator_id op, int64_t n, const float *const *in, const int64_t *steps, float *out,
                       int64_t step) {
  (void)op;
  for (int64_t i = 0; i < n; i++) out[i * step] = in[0][i * steps[0]] != 0 ? in[1][i * steps[1]] : in[2][i * steps[2]];
}

static void run(const reap_node *node, const compare_state *s, const float *const *inputs, float *output,
                void (*line)(reap_operator_id, int64_t, const float *const *, const int64_t *, float *, int64_t)) {
  const float *in[MOST_INPUTS];
  int64_t steps[MOST_INPUTS];
  reap_cursor cursor = {{0}, {0}};
  do {
    for (int k = 0; k < MOST_INPUTS; k++) {
      const int slot = k < s->inputs ? k : 0;
      in[k] = (s->constant[slot] ? s->constant[slot] : inputs[slot]) + cursor.offset[1 + slot];
      steps[k] = reap_nest_step(&s->nest, 1 + slot);
    }
    line(node->op->id, reap_nest_length(&s->nest), in, steps, output + cursor.offset[0], reap_nest_step(&s->nest, 0));
  } while (reap_nest_next(&s->nest, &cursor));
}

static int compare_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                       float *output) {
  (void)graph;
  run(node, state, inputs, output, compare_line);
  return REAP_OK;
}

static int where_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                     float *output) {
  (void)graph;
  run(node, state, inputs, output, where_line);
  return REAP_OK;
}

const reap_kernel reap_kernel_compare = {compare_prepare, compare_run, compare_destroy, false, NULL, false};
const reap_kernel reap_kernel_where = {compare_prepare, where_run, compare_destroy, false, NULL, false};
