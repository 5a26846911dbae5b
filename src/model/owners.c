#include "owners.h"

#include <string.h>

#include "node.h"
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
  v->dtype = tensor->dtype;
  v->rank = tensor->rank;
  memcpy(v->dims, tensor->dims, sizeof v->dims);
  v->known = true;
  node->inputs[slot] = index;
  return REAP_OK;
}
