/* Storage of values: row-major, or channels last where convolutions and poolings work on them.
 *
 * Method: values that an element-wise operator turns into each other have one order, so that its kernel may walk both
 * as they lie: union-find over them. A class has its channels last if a window slides over one of its values. Values of
 * rank 4 always have, and those of rank 2 have no other order. Cost: linear in the nodes' inputs.
 */
#include "storage.h"

#include "model/operators/layout_rules.h"
#include "model/operators/rules.h"
#include "reap/error.h"
#include "reap/memory.h"

static int root_of(int *parent, int v) {
  while (parent[v] != v) v = parent[v] = parent[parent[v]];
  return v;
}

static bool is_free(const reap_value *v) { return !v->constant && (v->rank == 3 || v->rank == 5); }

/* Unites output 0 with the inputs that it shares the order with: input 0, or all of its rank. */
static void unite_inputs(const reap_graph *graph, const reap_node *node, int n_inputs, int *parent) {
  const reap_value *y = reap_node_output(graph, node, 0);
  for (int k = 0; k < n_inputs && is_free(y); k++) {
    const reap_value *x = reap_node_input(graph, node, k);
    if (x && is_free(x) && x->rank == y->rank)
      parent[root_of(parent, node->inputs[k])] = root_of(parent, node->outputs[0]);
  }
}

static bool has_windows(const reap_node *node) {
  const reap_operator_rules *rules = reap_rules_of(node->op);
  return rules->channel_axis == reap_layout_second || rules->channel_axis == reap_layout_windows;
}

int reap_choose_storage(reap_graph *graph) {
  int *parent = NULL;
  REAP_TRY(reap_alloc(&parent, graph->n_values + 1, sizeof *parent));
  for (int v = 0; v < graph->n_values; v++) {
    parent[v] = v;
    graph->values[v].channels_last = false;
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    const reap_operator_rules *rules = reap_rules_of(node->op);
    if (rules->channel_axis == reap_layout_same) unite_inputs(graph, node, 1, parent);
    if (rules->channel_axis == reap_layout_joined) unite_inputs(graph, node, node->n_inputs, parent);
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (!has_windows(node)) continue;
    graph->values[root_of(parent, node->inputs[0])].channels_last = true;
    graph->values[root_of(parent, node->outputs[0])].channels_last = true;
  }
  for (int v = 0; v < graph->n_values; v++)
    graph->values[v].channels_last = is_free(&graph->values[v]) && graph->values[root_of(parent, v)].channels_last;
  reap_free(&parent);
  return REAP_OK;
}
