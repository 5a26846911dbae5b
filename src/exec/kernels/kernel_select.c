/* ArgMax, ArgMin and TopK: places and values of the largest or smallest numbers along an axis.
 *
 * Method: a loop nest (kernels.h) over the lines; a line of TopK is sorted. Indices are held as float32, exact below
 * 2^24. Of equal numbers the first comes first. A NaN is taken for smaller than any number.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "model/operators/moving.h"
#include "model/operators/slicing.h"
#include "reap/error.h"
#include "reap/memory.h"

typedef struct entry {
  float key; /* larger is better */
  int64_t at;
} entry;

typedef struct select_state {
  reap_nest lines; /* operands: output, input; where lines begin */
  int64_t length, step, out_step;
  int64_t k;
  float sign;     /* -1 where small numbers are asked for */
  entry *entries; /* [length], of TopK */
} select_state;

static void select_destroy(void **state) {
  select_state *s = *state;
  reap_free(&s->entries);
}

/* Lines along `axis` of the input; the output has that axis, or lacks it. */
static int build(const reap_graph *graph, const reap_node *node, int axis, select_state *s) {
  const reap_value *in = reap_node_input(graph, node, 0), *out = reap_node_output(graph, node, 0);
  int64_t dims[REAP_MAX_RANK], own[REAP_MAX_RANK], to[REAP_MAX_RANK], strides[2][REAP_MAX_RANK];
  const bool kept = in->rank == out->rank;
  reap_storage_strides(in, own);
  reap_storage_strides(out, to);
  for (int i = 0; i < in->rank; i++) {
    dims[i] = i == axis ? 1 : in->dims[i];
    strides[0][i] = i == axis ? 0 : to[kept || i < axis ? i : i - 1];
    strides[1][i] = i == axis ? 0 : own[i];
  }
  reap_nest_build(in->rank, dims, 2, strides, &s->lines);
  s->length = in->dims[axis];
  s->step = own[axis];
  s->out_step = kept ? to[axis] : 0;
  return REAP_OK;
}

static int fill_arg(const reap_graph *graph, const reap_node *node, select_state *s) {
  int axis;
  REAP_TRY(reap_axis_resolve(graph, node, 0, &axis));
  s->sign = node->op->id == REAP_OP_ArgMin ? -1 : 1;
  return build(graph, node, axis, s);
}

static int fill_top_k(const reap_graph *graph, const reap_node *node, select_state *s) {
  int axis;
  REAP_TRY(reap_top_k_resolve(graph, node, &axis, &s->k));
  s->sign = reap_node_int(node, "largest", 1) ? 1 : -1;
  REAP_TRY(build(graph, node, axis, s));
  return reap_alloc(&s->entries, s->length, sizeof *s->entries);
}

static int prepare(const reap_graph *graph, const reap_node *node, void **state,
                   int (*fill)(const reap_graph *, const reap_node *, select_state *)) {
  REAP_TRY(reap_kernel_needs_input(graph, node, 0));
  REAP_TRY(reap_calloc(state, 1, sizeof(select_state)));
  return fill(graph, node, *state);
}

static int arg_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return prepare(graph, node, state, fill_arg);
}

static int top_k_prepare(const reap_graph *graph, const reap_node *node, reap_backend backend, void **state) {
  (void)backend;
  return prepare(graph, node, state, fill_top_k);
}

/* Calls `line` with the place of each line in output and input. */
static void for_lines(const reap_node *node, const select_state *s, const float *x, float *out,
                      void (*line)(const reap_node *, const select_state *, const float *, float *)) {
  reap_cursor cursor = {{0}, {0}};
  do {
    for (int64_t i = 0; i < reap_nest_length(&s->lines); i++)
      line(node, s, x + cursor.offset[1] + i * reap_nest_step(&s->lines, 1),
           out + cursor.offset[0] + i * reap_nest_step(&s->lines, 0));
  } while (reap_nest_next(&s->lines, &cursor));
}

static void arg_line(const reap_node *node, const select_state *s, const float *x, float *out) {
  const bool last = reap_node_int(node, "select_last_index", 0) != 0;
  int64_t best = 0;
  for (int64_t i = 1; i < s->length; i++) {
    const float value = s->sign * x[i * s->step], most = s->sign * x[best * s->step];
    if (value > most || (last && value == most) || isnan(most)) best = i;
  }
  *out = (float)best;
}

static int arg_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                   float *output) {
  (void)graph;
  for_lines(node, state, inputs[0], output, arg_line);
  return REAP_OK;
}

static int by_key(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->key != y->key) return x->key > y->key ? -1 : 1;
  return x->at < y->at ? -1 : 1;
}

static void top_k_line(const reap_node *node, const select_state *s, const float *x, float *out) {
  for (int64_t i = 0; i < s->length; i++) {
    const float key = s->sign * x[i * s->step];
    s->entries[i] = (entry){isnan(key) ? -INFINITY : key, i};
  }
  qsort(s->entries, (size_t)s->length, sizeof *s->entries, by_key);
  for (int64_t i = 0; i < s->k; i++) {
    const int64_t at = s->entries[i].at;
    out[i * s->out_step] = node->part == 0 ? x[at * s->step] : (float)at;
  }
}

static int top_k_run(const reap_graph *graph, const reap_node *node, void *state, const float *const *inputs,
                     float *output) {
  (void)graph;
  for_lines(node, state, inputs[0], output, top_k_line);
  return REAP_OK;
}

const reap_kernel reap_kernel_arg = {arg_prepare, arg_run, select_destroy, false, NULL, false};
const reap_kernel reap_kernel_top_k = {top_k_prepare, top_k_run, select_destroy, false, NULL, false};
