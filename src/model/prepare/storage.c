/* Storage of values: row-major, or channels last where convolutions and poolings work on them.
 *
 * Method: values that an element-wise operator turns into each other have one order, so that its kernel may walk both
 * as they lie: union-find over them. A class has its channels last if a window slides over one of its values. So have
 * those of rank 4 that neither windows nor matrices touch: a product of two stacks of matrices and a norm over the last
 * axes, as in attention, want rows. Values of rank 2 have no other order. Cost: linear in the nodes' inputs.
 */
#include "storage.h"

#include "model/operators.h"
#include "model/operators/layout.h"
#include "model/operators/layout_rules.h"
#include "model/operators/rules.h"
#include "reap/error.h"
#include "reap/memory.h"

static int root_of(int *parent, int v) {
  while (parent[v] != v) v = parent[v] = parent[parent[v]];
  return v;
}

static bool is_free(const reap_value *v) { return !v->constant && v->rank >= 3 && v->rank <= 5; }

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

/* Works on rows along the last axes, which are no channels of an image. */
static bool has_matrices(const reap_node *node) {
  const reap_operator_id op = node->op->id;
  return (op == REAP_OP_MatMul && !node->linear) || op == REAP_OP_LayerNormalization || op == REAP_OP_RMSNormalization;
}

/* What a class of values is for. */
enum { WINDOWS = 1, MATRICES = 2 };

static void mark(const reap_graph *graph, const reap_node *node, int use, int *parent, int *uses) {
  for (int k = 0; k < node->n_inputs && (k == 0 || use == MATRICES); k++)
    if (node->inputs[k] >= 0 && !graph->values[node->inputs[k]].constant) uses[root_of(parent, node->inputs[k])] |= use;
  uses[root_of(parent, node->outputs[0])] |= use;
}

static void choose(reap_graph *graph, int *parent, int *uses) {
  for (int v = 0; v < graph->n_values; v++) {
    parent[v] = v;
    uses[v] = 0;
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    const reap_operator_rules *rules = reap_rules_of(node->op);
    const bool layer = rules->channel_axis == reap_layout_product && node->linear;
    if (layer || rules->channel_axis == reap_layout_same) unite_inputs(graph, node, 1, parent);
    if (rules->channel_axis == reap_layout_joined) unite_inputs(graph, node, node->n_inputs, parent);
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    if (has_windows(graph->nodes[i])) mark(graph, graph->nodes[i], WINDOWS, parent, uses);
    if (has_matrices(graph->nodes[i])) mark(graph, graph->nodes[i], MATRICES, parent, uses);
  }
  for (int v = 0; v < graph->n_values; v++) {
    const int use = uses[root_of(parent, v)];
    graph->values[v].channels_last =
        is_free(&graph->values[v]) && (reap_has_image_rank(&graph->values[v]) ? use != MATRICES : (use & WINDOWS) != 0);
  }
}

int reap_choose_storage(reap_graph *graph) {
  int *parent = NULL, *uses = NULL;
  int status = reap_alloc(&parent, graph->n_values + 1, sizeof *parent);
  if (status == REAP_OK) status = reap_alloc(&uses, graph->n_values + 1, sizeof *uses);
  if (status == REAP_OK) choose(graph, parent, uses);
  reap_free(&parent);
  reap_free(&uses);
  return status;
}
