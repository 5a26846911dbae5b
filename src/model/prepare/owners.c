/* Who owns a constant: a file may give one tensor to many nodes; in a prepared graph each has its own. Cost: a copy of
 * each constant per further reader. */
#include "owners.h"

#include <stdio.h>
#include <string.h>

#include "model/allowance.h"
#include "model/node.h"
#include "model/tensor.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_graph_own_input(reap_graph *graph, reap_node *node, int slot, const char *what, reap_tensor *tensor) {
  char *name = NULL;
  int index = -1;
  int status = reap_format(&name, "%s:%s", node->layer, what);
  if (status == REAP_OK) status = reap_graph_new_value(graph, name, &index);
  reap_free(&name);
  if (status != REAP_OK) {
    reap_tensor_destroy(&tensor);
    return status;
  }
  reap_value *v = &graph->values[index];
  v->constant = tensor;
  v->charged = true;
  v->dtype = tensor->dtype;
  v->rank = tensor->rank;
  memcpy(v->dims, tensor->dims, sizeof v->dims);
  v->known = true;
  node->inputs[slot] = index;
  return REAP_OK;
}

static int copy_input(reap_graph *graph, reap_node *node, int slot) {
  char what[32];
  reap_tensor *copy = NULL;
  snprintf(what, sizeof what, "input%d", slot);
  REAP_TRY(reap_graph_charge(graph, node, reap_tensor_bytes(reap_node_constant(graph, node, slot))));
  REAP_TRY(reap_tensor_clone(reap_node_constant(graph, node, slot), &copy));
  const bool measured = reap_node_input(graph, node, slot)->measured;
  REAP_TRY(reap_graph_own_input(graph, node, slot, what, copy));
  reap_node_input(graph, node, slot)->measured = measured;
  return REAP_OK;
}

int reap_graph_own_constants(reap_graph *graph) {
  bool *owned = NULL;
  int status = REAP_OK;
  const int n_values = graph->n_values; /* the copies behind these have one reader */
  REAP_TRY(reap_calloc(&owned, n_values + 1, sizeof *owned));
  for (int i = 0; i < graph->n_nodes; i++)
    for (int slot = 0; slot < graph->nodes[i]->n_inputs; slot++) {
      const int value = graph->nodes[i]->inputs[slot];
      if (value < 0 || value >= n_values || !graph->values[value].constant) continue;
      if (owned[value]) REAP_TRY_OR(copy_input(graph, graph->nodes[i], slot), done);
      owned[value] = true;
    }
done:
  reap_free(&owned);
  return status;
}
