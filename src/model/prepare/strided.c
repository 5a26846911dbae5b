/* Views by strides: see strided.h. */
#include "strided.h"

#include "model/allowance.h"
#include "model/operators.h"
#include "model/operators/moving.h"
#include "model/tensor.h"
#include "owners.h"
#include "reap/error.h"
#include "reap/memory.h"

/* The Reshape to [-1] that makes what the node reads, or NULL. */
static const reap_node *list_maker(const reap_graph *graph, const reap_node *node) {
  const int maker = graph->values[node->inputs[0]].producer;
  if (maker < 0 || graph->nodes[maker]->op->id != REAP_OP_Reshape) return NULL;
  const reap_tensor *shape = reap_node_constant(graph, graph->nodes[maker], 1);
  return shape->count == 1 && shape->i64[0] == -1 ? graph->nodes[maker] : NULL;
}

/* The shape [-1, ...] serves any batch. */
static int become_reshape(reap_graph *graph, reap_node *node, const reap_node *list) {
  const reap_value *y = reap_node_output(graph, node, 0);
  int64_t shape[REAP_MAX_RANK] = {-1};
  reap_tensor *t = NULL;
  for (int i = 1; i < y->rank; i++) shape[i] = y->dims[i];
  REAP_TRY(reap_tensor_from_ints(shape, y->rank, &t));
  const int status = reap_graph_charge(graph, node, reap_tensor_bytes(t));
  if (status != REAP_OK) reap_tensor_destroy(&t);
  REAP_TRY(status);
  REAP_TRY(reap_graph_own_input(graph, node, 1, "shape", t));
  node->inputs[0] = list->inputs[0];
  node->op = reap_operator_at(REAP_OP_Reshape);
  node->gathers = true;
  return REAP_OK;
}

int reap_strided_collect(reap_graph *graph) {
  for (int i = 0; i < graph->n_nodes; i++) {
    reap_node *node = graph->nodes[i];
    if (node->op->id != REAP_OP_Gather || !reap_gather_keeps_order(graph, node)) continue;
    const reap_value *y = reap_node_output(graph, node, 0);
    const reap_node *list = list_maker(graph, node);
    if (list && y->rank > 1 && y->dims[0] == graph->batch) REAP_TRY(become_reshape(graph, node, list));
  }
  return REAP_OK;
}
