/* Outputs of a network; see output_set.h. */
#include "output_set.h"

#include <string.h>

#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

/* The network has another output that it computes. */
static bool has_others(const reap_graph *graph, int value) {
  for (int i = 0; i < graph->n_outputs; i++)
    if (graph->outputs[i] != value && graph->values[graph->outputs[i]].producer >= 0) return true;
  return false;
}

bool reap_output_set_several(const reap_graph *graph) {
  for (int i = 0; i < graph->n_outputs; i++)
    if (graph->values[graph->outputs[i]].producer >= 0) return has_others(graph, graph->outputs[i]);
  return false;
}

static bool is_read_as_features(const reap_graph *graph, int value) {
  for (int i = 0; i < graph->n_nodes; i++)
    for (int k = 0; k < graph->nodes[i]->n_inputs; k++)
      if (graph->nodes[i]->inputs[k] == value && !reap_operator_normalises(graph->nodes[i]->op)) return true;
  return false;
}

reap_output_kind reap_output_kind_of(const reap_graph *graph, int value) {
  const reap_value *y = &graph->values[value];
  const reap_operator *op = y->producer >= 0 ? graph->nodes[y->producer]->op : NULL;
  if (y->rank != 2 || reap_value_count(y) / y->dims[0] < 2 || y->said == REAP_OUTPUT_IS_VALUES)
    return REAP_OUTPUT_OTHER;
  if (op && reap_operator_normalises(op))
    return op->id == REAP_OP_Softmax ? REAP_OUTPUT_PROBABILITIES : REAP_OUTPUT_LOG_PROBABILITIES;
  if (y->said == REAP_OUTPUT_IS_SCORES) return REAP_OUTPUT_LOGITS;
  return has_others(graph, value) && is_read_as_features(graph, value) ? REAP_OUTPUT_OTHER : REAP_OUTPUT_LOGITS;
}

const char *reap_output_kind_name(reap_output_kind kind) {
  static const char *const names[] = {"values", "logits", "probabilities", "log-probabilities"};
  return names[kind];
}

static bool has(const reap_output_set *set, int value) {
  for (int k = 0; k < set->n; k++)
    if (set->values[k] == value) return true;
  return false;
}

static void add(const reap_graph *graph, int value, reap_output_set *set) {
  const reap_value *y = &graph->values[value];
  const int64_t size = reap_value_count(y) / graph->batch;
  if (y->producer < 0 || has(set, value)) return;
  set->list[set->n] = (reap_output){y->name, value, reap_output_kind_of(graph, value), size, set->size};
  set->values[set->n++] = value;
  set->size += size;
}

int reap_output_set_create(const reap_graph *graph, reap_output_set *out) {
  memset(out, 0, sizeof *out);
  int status = reap_calloc(&out->list, graph->n_outputs, sizeof *out->list);
  if (status == REAP_OK) status = reap_calloc(&out->values, graph->n_outputs, sizeof *out->values);
  for (int i = 0; status == REAP_OK && i < graph->n_outputs; i++) add(graph, graph->outputs[i], out);
  if (status == REAP_OK && out->n == 0) status = reap_error(REAP_ERR_INPUT, "the network computes none of its outputs");
  if (status != REAP_OK) reap_output_set_clear(out);
  return status;
}

void reap_output_set_clear(reap_output_set *set) {
  reap_free(&set->list);
  reap_free(&set->values);
  set->n = 0;
}
