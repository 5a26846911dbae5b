/* Windows of convolutions and poolings, resolved from attributes and shapes. Local. */
#ifndef REAP_MODEL_GEOMETRY_H
#define REAP_MODEL_GEOMETRY_H

#include "reap/graph.h"

/* A window that slides over images [batch, channels, depth, height, width]. Output position (oz, oy, ox) reads input
 * row oy * stride_y + ky * dilation_y - pad_top, and likewise for planes and columns; what lies outside is padding.
 * Axes that the node's input does not have (depth; height of a sequence) are one pixel and one tap long. */
typedef struct reap_window {
  int64_t batch, channels, depth, height, width;     /* input */
  int64_t outputs, out_depth, out_height, out_width; /* outputs: channels of the output */
  int64_t kernel_z, kernel_y, kernel_x, stride_z, stride_y, stride_x, dilation_z, dilation_y, dilation_x;
  int64_t pad_front, pad_top, pad_left, pad_back, pad_bottom, pad_right;
  int64_t groups;
  bool count_padding; /* average pooling divides by the full window */
} reap_window;

/* From a Conv node (weights in input 1 give kernel, outputs and groups) or a MaxPool / AveragePool node. The input's
 * shape has to be known. REAP_ERR_INPUT names the node: other than one to three axes, sizes that do not fit,
 * non-positive output. */
int reap_conv_window(const reap_graph *graph, const reap_node *node, reap_window *window);
int reap_pool_window(const reap_graph *graph, const reap_node *node, reap_window *window);

/* Of a ConvTranspose node: the window of the convolution that it is the transpose of, which goes the other way: from
 * the node's output (channels, depth, height, width) to its input (outputs, out_depth, ...). Weights are
 * [outputs, channels / groups, taps]. */
int reap_transposed_window(const reap_graph *graph, const reap_node *node, reap_window *window);

/* Shape of rank `rank` for images of `channels`, with as many of the sizes depth, height and width as there is room
 * for, the last ones. */
void reap_window_dims(int64_t batch, int64_t channels, const int64_t sizes[3], int rank, int64_t *dims);

static inline int64_t reap_window_taps(const reap_window *w) { return w->kernel_z * w->kernel_y * w->kernel_x; }
static inline int64_t reap_window_positions(const reap_window *w) {
  return w->out_depth * w->out_height * w->out_width; /* of an image */
}
static inline int64_t reap_window_pixels(const reap_window *w) { return w->depth * w->height * w->width; }

#endif
