/* Multiply-adds, parameters and the block size that follow from a prepared graph. */
#include <stddef.h>

#include "operators.h"
#include "reap/graph.h"

int64_t reap_node_flops(const reap_graph *graph, int index) {
  const reap_node *node = graph->nodes[index];
  if (node->op->id == REAP_OP_ConvTranspose) { /* each input goes into all outputs of its group, tap by tap */
    const reap_tensor *taps = reap_node_constant(graph, node, 1);
    return reap_value_count(reap_node_input(graph, node, 0)) / graph->batch * (taps->count / taps->dims[0]);
  }
  const int64_t outputs = reap_value_count(reap_node_output(graph, node, 0));
  if (!node->linear) { /* the product of two tensors, which has no weights */
    const reap_value *x = node->op->id == REAP_OP_MatMul ? reap_node_input(graph, node, 0) : NULL;
    return x ? outputs / graph->batch * x->dims[x->rank - 1] : 0;
  }
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  /* Each output is a sum over the weights of one output channel. */
  return outputs / graph->batch * (weights->count / weights->dims[0]);
}

int64_t reap_graph_flops(const reap_graph *graph) {
  int64_t sum = 0;
  for (int i = 0; i < graph->n_nodes; i++) sum += reap_node_flops(graph, i);
  return sum;
}

int64_t reap_graph_params(const reap_graph *graph) {
  int64_t sum = 0;
  for (int i = 0; i < graph->n_nodes; i++) {
    const reap_node *node = graph->nodes[i];
    if (node->linear) {
      const reap_tensor *bias = reap_node_constant(graph, node, 2);
      sum += reap_node_constant(graph, node, 1)->count;
      if (node->linear->bias_present) sum += bias->count;
      if (node->linear->norm)
        sum += 2 * node->linear->norm->channels; /* scale and bias; mean and variance are not trained */
    } else if (node->op->id == REAP_OP_ConvTranspose) {
      for (int slot = 1; slot < node->n_inputs; slot++) sum += reap_node_constant(graph, node, slot)->count;
    } else if (node->op->channels == REAP_CHANNELS_NORM) {
      sum += 2 * reap_node_constant(graph, node, 1)->count;
    }
  }
  return sum;
}

int64_t reap_graph_block_size(const reap_graph *graph) {
  const int64_t target = 32 << 20, most = 64; /* bytes of the largest tensor of a block; images */
  int64_t largest = 1;
  for (int v = 0; v < graph->n_values; v++) {
    const reap_value *value = &graph->values[v];
    if (value->constant || !value->known || !(value->is_input || value->producer >= 0)) continue;
    int64_t bytes = reap_value_count(value) / graph->batch * (int64_t)sizeof(float);
    if (bytes > largest) largest = bytes;
  }
  int64_t size = most;
  while (size > 1 && largest > target / size) size /= 2;
  return size;
}
