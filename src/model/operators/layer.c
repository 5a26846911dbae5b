#include "layer.h"

#include <string.h>

#include "model/operators.h"
#include "reap/error.h"

int64_t reap_layer_channels(const reap_graph *graph, const reap_node *node) {
  const int64_t columns = reap_weights_inputs(reap_node_constant(graph, node, 1));
  int value = node->inputs[0];
  if (reap_is_convolution(node)) return columns;
  while (graph->values[value].rank == 2 && graph->values[value].producer >= 0) {
    const reap_node *before = graph->nodes[graph->values[value].producer];
    if (before->linear || before->n_inputs < 1 || before->inputs[0] < 0) break;
    value = before->inputs[0];
  }
  const reap_value *v = &graph->values[value];
  const bool flattened = reap_channel_axis(v) == 1 && reap_value_count(v) == columns * graph->batch;
  return flattened ? reap_value_channels(v) : columns;
}

int reap_layer_view(const reap_graph *graph, int index, int64_t channels, reap_layer *layer) {
  const reap_node *node = graph->nodes[index];
  const reap_value *y = reap_node_output(graph, node, 0);
  const reap_tensor *weights = reap_node_constant(graph, node, 1);
  memset(layer, 0, sizeof *layer);
  layer->node = index;
  layer->input = node->inputs[0];
  layer->output = node->outputs[0];
  layer->m = weights->dims[0];
  layer->channels = channels;
  layer->groups = 1;
  layer->convolution = reap_is_convolution(node);
  if (layer->convolution) {
    REAP_TRY(reap_conv_window(graph, node, &layer->window));
    layer->groups = layer->window.groups;
    if (layer->window.channels != channels * layer->groups)
      return reap_error(REAP_ERR_INTERNAL, "%s: its windows have %lld channels, not %lld", reap_node_title(node),
                        (long long)layer->window.channels, (long long)(channels * layer->groups));
  }
  layer->n = weights->count / layer->m;
  if (channels < 1 || layer->n % channels != 0)
    return reap_error(REAP_ERR_INTERNAL, "%s: %lld columns are not a multiple of %lld channels", reap_node_title(node),
                      (long long)layer->n, (long long)channels);
  layer->block = layer->n / channels;
  layer->positions = reap_value_count(y) / (layer->m * graph->batch);
  if (layer->convolution) return REAP_OK;
  const int axis = reap_linear_axis(graph, node);
  layer->rows_x = reap_row_layout_of(reap_node_input(graph, node, 0), axis, graph->batch);
  layer->rows_y = reap_row_layout_of(y, axis, graph->batch);
  return REAP_OK;
}

reap_layer reap_layer_group(const reap_layer *layer) {
  reap_layer out = *layer;
  out.m /= layer->groups;
  out.window.channels = layer->channels;
  out.window.outputs = out.m;
  out.groups = out.window.groups = 1;
  return out;
}
