/* A layer taken out of its network. */
#include <string.h>

#include "node.h"
#include "reap/error.h"
#include "reap/graph.h"
#include "reap/memory.h"

/* A copy of `value`, for `images` images in place of a block. */
static int add_value(const reap_graph *from, int value, int64_t images, reap_graph *to, int *index) {
  const reap_value *old = &from->values[value];
  REAP_TRY(reap_graph_new_value(to, old->name, index));
  reap_value *v = &to->values[*index];
  v->dtype = old->dtype;
  v->rank = old->rank;
  memcpy(v->dims, old->dims, sizeof v->dims);
  v->known = true;
  v->channel_axis = old->channel_axis;
  if (!old->constant) v->dims[0] = old->dims[0] / from->batch * images;
  return old->constant ? reap_tensor_clone(old->constant, &v->constant) : REAP_OK;
}

static int fill(const reap_graph *from, int index, int64_t images, reap_graph *to) {
  to->batch = images;
  REAP_TRY(reap_calloc(&to->nodes, 1, sizeof *to->nodes));
  to->capacity_nodes = to->n_nodes = 1;
  REAP_TRY(reap_node_clone(from->nodes[index], &to->nodes[0]));
  reap_node *node = to->nodes[0];
  for (int k = 0; k < node->n_inputs; k++)
    if (node->inputs[k] >= 0) REAP_TRY(add_value(from, node->inputs[k], images, to, &node->inputs[k]));
  REAP_TRY(add_value(from, node->outputs[0], images, to, &node->outputs[0]));
  node->n_outputs = 1;
  to->values[node->inputs[0]].is_input = to->values[node->outputs[0]].is_output = true;
  to->values[node->outputs[0]].producer = 0;
  REAP_TRY(reap_copy_indices(&to->inputs, node->inputs, 1));
  to->n_inputs = 1;
  REAP_TRY(reap_copy_indices(&to->outputs, node->outputs, 1));
  to->n_outputs = 1;
  return REAP_OK;
}

int reap_graph_extract(const reap_graph *graph, int node, int64_t images, reap_graph **out) {
  REAP_TRY(reap_graph_create(graph->opset, out));
  int status = fill(graph, node, images, *out);
  if (status != REAP_OK) reap_graph_destroy(out);
  return status;
}
