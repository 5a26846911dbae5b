/* Windows of convolutions and poolings, resolved from attributes and shapes. Local. */
#ifndef REAP_MODEL_GEOMETRY_H
#define REAP_MODEL_GEOMETRY_H

#include "reap/graph.h"

/* A window that slides over images [batch, channels, height, width]. Output position (oy, ox) reads input row
 * oy * stride_y + ky * dilation_y - pad_top, and likewise for columns; what lies outside is padding. */
typedef struct reap_window {
  int64_t batch, channels, height, width; /* input */
  int64_t outputs, out_height, out_width; /* outputs: channels of the output */
  int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x;
  int64_t pad_top, pad_left, pad_bottom, pad_right;
  int64_t groups;
  bool count_padding; /* average pooling divides by the full window */
} reap_window;

/* From a Conv node (weights in input 1 give kernel, outputs and groups) or a MaxPool / AveragePool node. The input's
 * shape has to be known. REAP_ERR_INPUT names the node: not two-dimensional, sizes that do not fit, non-positive
 * output. */
int reap_conv_window(const reap_graph *graph, const reap_node *node, reap_window *window);
int reap_pool_window(const reap_graph *graph, const reap_node *node, reap_window *window);

#endif
